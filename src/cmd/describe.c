/* SPDX-License-Identifier: Apache-2.0 */
/* One object of a cluster for a person: what it asks for, how far that is, what happened to it. */
#include <string.h>

#include "cmd/cluster.h"

struct options {
	struct cluster_options cluster;
	const char *namespace;
};

static const struct cmd_option options[] = {
	CLUSTER_OPTIONS,
	{ "namespace", 'n', CMD_STRING, offsetof(struct options, namespace), "NS", NULL, "of this namespace" },
};

static void print_map(struct arena *a, const char *head, yyjson_val *map)
{
	yyjson_val *key, *val;
	size_t i, max;

	yyjson_obj_foreach(map, i, max, key, val) {
		if (!strcmp(yyjson_get_str(key), "kubectl.kubernetes.io/last-applied-configuration"))
			continue;
		printf("%-12s %s%s%s\n", head, out_plain(a, yyjson_get_str(key)), yyjson_is_str(val) && *yyjson_get_str(val) ? "=" : "",
		       yyjson_is_str(val) ? out_plain(a, yyjson_get_str(val)) : "");
		head = "";
	}
}

/* A member as YAML, one step to the right. */
static void print_yaml(struct arena *a, const char *head, yyjson_mut_val *v)
{
	char *text, *line, *next;

	if (!v || yyjson_mut_is_null(v) || ((yyjson_mut_is_obj(v) || yyjson_mut_is_arr(v)) && !yyjson_mut_get_len(v)))
		return;
	text = doc_mut_to_yaml(a, v);
	printf("%s:\n", head);
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next))
		printf("  %s\n", line);
}

static void print_conditions(struct arena *a, yyjson_val *conditions)
{
	static const char *const heads[] = { "CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE", NULL };
	struct out_table *t = out_table_new(a, heads);
	yyjson_val *c;
	size_t i, max;

	if (!yyjson_arr_size(conditions))
		return;
	yyjson_arr_foreach(conditions, i, max, c) {
		const char *cells[] = { doc_str(c, "type"), doc_str(c, "status"), doc_str(c, "reason"),
					cmd_cluster_age(a, doc_str(c, "lastTransitionTime")), doc_str(c, "message") };

		out_row(t, cells, ARRAY_SIZE(cells));
	}
	out_table_print(t);
}

struct events {
	struct arena *arena;
	struct out_table *table;
	size_t n;
};

static int on_event(void *arg, yyjson_val *obj)
{
	struct events *ev = arg;
	struct arena *a = ev->arena;
	yyjson_val *source = yyjson_obj_get(obj, "source");
	const char *last = doc_str(obj, "lastTimestamp");
	int64_t count = doc_int(obj, "count", 1);
	const char *age = cmd_cluster_age(a, last ? last : doc_str(obj, "eventTime"));
	const char *cells[] = { doc_str(obj, "type"), doc_str(obj, "reason"), count > 1 ? arena_printf(a, "%s (x%lld)", age, (long long)count) : age,
				doc_str(source, "component") ? doc_str(source, "component") : doc_str(obj, "reportingComponent"),
				doc_str(obj, "message") };

	out_row(ev->table, cells, ARRAY_SIZE(cells));
	ev->n++;
	return 0;
}

/* What cannot be read of the events is said and is no failure: the object is there. */
static void print_events(struct cmd_run *run, struct kube *k, const struct cluster_kind *kind, yyjson_val *obj)
{
	static const char *const heads[] = { "EVENT", "REASON", "AGE", "FROM", "MESSAGE", NULL };
	struct events ev = { .arena = run->arena, .table = out_table_new(run->arena, heads) };
	yyjson_val *meta = yyjson_obj_get(obj, "metadata");
	const char *ns = doc_str(meta, "namespace"), *uid = doc_str(meta, "uid");
	struct kube_ref ref = { "", "v1", "events", ns ? ns : "default", NULL, NULL };
	struct kube_select select = { .fields = arena_printf(run->arena, "involvedObject.name=%s%s%s", doc_str(meta, "name"),
							     uid ? ",involvedObject.uid=" : "", uid ? uid : "") };
	struct err e = { 0 };

	if (!strcmp(kind->kind, "Node")) /* kubelet puts the node's name where the uid belongs */
		select.fields = arena_printf(run->arena, "involvedObject.kind=Node,involvedObject.name=%s", doc_str(meta, "name"));
	if (kube_list(k, run->arena, &ref, &select, on_event, &ev, NULL, &e) < 0)
		printf("events: %s\n", e.msg);
	else if (ev.n)
		out_table_print(ev.table);
	else
		puts("no events");
}

static void describe(struct cmd_run *run, struct kube *k, const struct cluster_kind *kind, yyjson_val *obj)
{
	struct arena *a = run->arena;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *status = yyjson_obj_get(obj, "status"), *key, *val;
	yyjson_mut_val *rest = yyjson_val_mut_copy(doc, status);
	size_t i, max;

	printf("%-12s %s\n", "Name:", doc_str(meta, "name"));
	if (doc_str(meta, "namespace"))
		printf("%-12s %s\n", "Namespace:", doc_str(meta, "namespace"));
	printf("%-12s %s, %s\n", "Kind:", kind->kind, cmd_cluster_api_version(a, kind));
	printf("%-12s %s, %s ago\n", "Created:", doc_str(meta, "creationTimestamp") ? doc_str(meta, "creationTimestamp") : "?",
	       cmd_cluster_age(a, doc_str(meta, "creationTimestamp")));
	if (doc_str(meta, "deletionTimestamp"))
		printf("%-12s since %s\n", "Terminating:", cmd_cluster_age(a, doc_str(meta, "deletionTimestamp")));
	print_map(a, "Labels:", yyjson_obj_get(meta, "labels"));
	print_map(a, "Annotations:", yyjson_obj_get(meta, "annotations"));
	yyjson_obj_foreach(obj, i, max, key, val) {
		const char *name = yyjson_get_str(key);

		if (strcmp(name, "apiVersion") && strcmp(name, "kind") && strcmp(name, "metadata") && strcmp(name, "status"))
			print_yaml(a, name, yyjson_val_mut_copy(doc, val));
	}
	if (yyjson_mut_is_obj(rest))
		yyjson_mut_obj_remove_key(rest, "conditions");
	print_yaml(a, "status", rest);
	print_conditions(a, yyjson_obj_get(status, "conditions"));
	print_events(run, k, kind, obj);
}

static int run_describe(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	_cleanup_kube_ struct kube *k = NULL;
	struct cluster_args args;
	struct kube_ref ref;
	yyjson_val *obj;
	int r = cmd_cluster_open(&o->cluster, NULL, &k, e);

	if (r == 0)
		r = cmd_cluster_args(run, k, 1, &args, e);
	if (r < 0)
		return r;
	ref = (struct kube_ref){ args.kind.group, args.kind.version, args.kind.plural,
				 !args.kind.namespaced ? NULL : o->namespace ? o->namespace : kube_namespace(k), NULL, NULL };
	for (size_t i = 0; i < args.n_names; i++) {
		ref.name = args.names[i];
		r = kube_get(k, run->arena, &ref, &obj, e);
		if (r < 0)
			return r;
		if (i)
			putchar('\n');
		describe(run, k, &args.kind, obj);
	}
	return CMD_OK;
}

const struct cmd cmd_describe = {
	.name = "describe", .summary = "one object of a cluster: what it asks for, its conditions, its events",
	.usage = "KIND NAME... [-n NS] [--kubeconfig FILE] [--context NAME]",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.min_args = 1, .max_args = SIZE_MAX, .run = run_describe,
};
