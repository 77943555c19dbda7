/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of a cluster, in the columns that the API server makes of them. */
#include <string.h>

#include "cmd/cluster.h"

static const char *cell_text(struct arena *a, yyjson_val *v)
{
	if (yyjson_is_null(v) || !v)
		return NULL;
	return yyjson_is_str(v) ? yyjson_get_str(v) : doc_to_json(a, v, false);
}

static char *upper(struct arena *a, const char *s)
{
	char *out = arena_strdup(a, s);

	for (char *c = out; *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
	return out;
}

/* The columns that are shown without being asked for. */
static bool is_shown(yyjson_val *column)
{
	return doc_int(column, "priority", 0) == 0;
}

/* A kind whose CRD is of another maker may have conditions and no column for them. */
static bool wants_ready(yyjson_val *table)
{
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(table, "columnDefinitions"), i, max, v)
		if (doc_str(v, "name") && (!strcmp(doc_str(v, "name"), "Ready") || !strcmp(doc_str(v, "name"), "Status")))
			return false;
	yyjson_arr_foreach(yyjson_obj_get(table, "rows"), i, max, v)
		if (cmd_cluster_condition(yyjson_obj_get(v, "object"), "Ready"))
			return true;
	return false;
}

static void print_table(struct cmd_run *run, yyjson_val *table, bool namespaces)
{
	yyjson_val *columns = yyjson_obj_get(table, "columnDefinitions"), *v, *row;
	bool ready = wants_ready(table);
	struct arena *a = run->arena;
	const char **heads = NULL;
	struct out_table *t;
	size_t n = 0, i, max, j, jmax;

	if (namespaces)
		*(const char **)arena_push(a, &heads, &n, sizeof(*heads)) = "NAMESPACE";
	yyjson_arr_foreach(columns, i, max, v)
		if (is_shown(v))
			*(const char **)arena_push(a, &heads, &n, sizeof(*heads)) = upper(a, doc_str(v, "name") ? doc_str(v, "name") : "");
	if (ready)
		*(const char **)arena_push(a, &heads, &n, sizeof(*heads)) = "READY";
	*(const char **)arena_push(a, &heads, &n, sizeof(*heads)) = NULL;
	t = out_table_new(a, heads);
	yyjson_arr_foreach(yyjson_obj_get(table, "rows"), i, max, row) {
		yyjson_val *object = yyjson_obj_get(row, "object"), *cells = yyjson_obj_get(row, "cells");
		const char **line = NULL;
		size_t m = 0;

		if (namespaces)
			*(const char **)arena_push(a, &line, &m, sizeof(*line)) = doc_str(yyjson_obj_get(object, "metadata"), "namespace");
		yyjson_arr_foreach(columns, j, jmax, v) {
			if (is_shown(v))
				*(const char **)arena_push(a, &line, &m, sizeof(*line)) = cell_text(a, yyjson_arr_get(cells, j));
		}
		if (ready)
			*(const char **)arena_push(a, &line, &m, sizeof(*line)) = doc_str(cmd_cluster_condition(object, "Ready"), "status");
		out_row(t, line, m);
	}
	out_table_print(t);
}

struct listing {
	struct arena *arena;
	struct cluster_kind kind;
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
};

/* As kubectl shows it: apiVersion and kind first, without managedFields. */
static int add(void *arg, yyjson_val *obj)
{
	struct listing *l = arg;
	yyjson_mut_val *out = yyjson_mut_obj(l->doc), *v;
	yyjson_val *key, *val;
	size_t i, max;

	yyjson_mut_obj_add_strcpy(l->doc, out, "apiVersion", cmd_cluster_api_version(l->arena, &l->kind));
	yyjson_mut_obj_add_strcpy(l->doc, out, "kind", l->kind.kind);
	yyjson_obj_foreach(obj, i, max, key, val) {
		if (yyjson_equals_str(key, "apiVersion") || yyjson_equals_str(key, "kind"))
			continue;
		v = yyjson_val_mut_copy(l->doc, val);
		if (yyjson_equals_str(key, "metadata"))
			yyjson_mut_obj_remove_key(v, "managedFields");
		yyjson_mut_obj_add(out, yyjson_val_mut_copy(l->doc, key), v);
	}
	yyjson_mut_arr_append(l->list, out);
	return 0;
}

static int get_one(struct cmd_run *run, struct kube *k, const struct kube_ref *ref, const struct kube_select *select, struct listing *l,
		   bool namespaces, struct err *e)
{
	yyjson_val *v;
	int r;

	if (run->output == OUT_TABLE) {
		r = kube_table(k, run->arena, ref, select, &v, e);
		if (r < 0)
			return r;
		if (!yyjson_arr_size(yyjson_obj_get(v, "rows")))
			fprintf(stderr, "kvrail: there are no %s%s%s\n", ref->plural, ref->namespace ? " in namespace " : "",
				ref->namespace ? ref->namespace : "");
		else
			print_table(run, v, namespaces);
		return 0;
	}
	if (!ref->name)
		return kube_list(k, run->arena, ref, select, add, l, NULL, e);
	r = kube_get(k, run->arena, ref, &v, e);
	return r < 0 ? r : add(l, v);
}

/* What one kind has. */
static int get_kind(struct cmd_run *run, const struct get_options *o, struct kube *k, struct listing *l, struct err *e)
{
	struct kube_select select = { .labels = o->selector };
	struct cluster_args args;
	struct kube_ref ref;
	int r = cmd_cluster_args(run, k, 0, &args, e);

	if (r < 0)
		return r;
	if (args.n_names && (o->all || o->selector))
		return err_set(e, -EINVAL, "a name and %s do not go together", o->all ? "--all-namespaces" : "--selector");
	l->kind = args.kind;
	ref = (struct kube_ref){ args.kind.group, args.kind.version, args.kind.plural,
				 !args.kind.namespaced || o->all ? NULL : o->namespace ? o->namespace : kube_namespace(k), NULL, NULL };
	if (!args.n_names)
		return get_one(run, k, &ref, &select, l, o->all && args.kind.namespaced, e);
	for (size_t i = 0; i < args.n_names && r == 0; i++) {
		ref.name = args.names[i];
		r = get_one(run, k, &ref, &select, l, false, e);
	}
	return r;
}

int get_from_cluster(struct cmd_run *run, const struct get_options *o, struct err *e)
{
	struct listing l = { .arena = run->arena, .doc = doc_new(run->arena) };
	_cleanup_kube_ struct kube *k = NULL;
	char *next, *words = arena_strdup(run->arena, run->args[0]);
	bool several = strchr(words, ',');
	struct cmd_run one = *run;
	int r;

	l.list = yyjson_mut_arr(l.doc);
	if (several && run->n_args > 1)
		return err_set(e, -EINVAL, "names and several kinds do not go together: write KIND/NAME");
	r = cmd_cluster_open(&o->cluster, NULL, &k, e);
	one.args = arena_memdup(run->arena, run->args, run->n_args * sizeof(*run->args));
	for (char *word = strtok_r(words, ",", &next); word && r == 0; word = strtok_r(NULL, ",", &next)) {
		one.args[0] = word;
		r = get_kind(&one, o, k, &l, e);
		if (several && next && *next && run->output == OUT_TABLE)
			putchar('\n');
	}
	if (r == 0 && run->output != OUT_TABLE)
		out_value(run, l.list);
	return r;
}
