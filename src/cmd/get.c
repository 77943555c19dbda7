/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/meta.h"
#include "base/parse.h"
#include "cmd/cluster.h"

static const struct cmd_option options[] = {
	CLUSTER_OPTIONS,
	{ "namespace", 'n', CMD_STRING, offsetof(struct get_options, namespace), "NS", NULL, "of this namespace" },
	{ "all-namespaces", 'A', CMD_FLAG, offsetof(struct get_options, all), NULL, NULL, "of every namespace" },
	{ "selector", 'l', CMD_STRING, offsetof(struct get_options, selector), "LABELS", NULL, "with these labels, as a=b,c!=d (a cluster's)" },
};

static const struct api_kind *kind_of(struct cmd_run *run, struct err *e)
{
	const struct api_kind *k = api_kind_named(run->args[0]);
	const char **names = NULL, *near;
	size_t n = 0;

	if (k)
		return k;
	for (k = api_kinds; k->kind; k++)
		*(const char **)arena_push(run->arena, &names, &n, sizeof(*names)) = k->plural;
	*(const char **)arena_push(run->arena, &names, &n, sizeof(*names)) = NULL;
	near = parse_nearest(run->args[0], names);
	err_set(e, -EINVAL, "there is no kind '%s' in this host's store%s%s%s; for a cluster's objects give --kubeconfig FILE", run->args[0],
		near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
	return NULL;
}

static void print_table(struct cmd_run *run, yyjson_val *list)
{
	static const char *const heads[] = { "NAMESPACE", "NAME", NULL };
	struct out_table *t = out_table_new(run->arena, heads);
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(list, i, max, v) {
		yyjson_val *meta = yyjson_obj_get(v, "metadata");
		const char *cells[] = { doc_str(meta, "namespace"), doc_str(meta, "name") };

		out_row(t, cells, ARRAY_SIZE(cells));
	}
	out_table_print(t);
}

static int run_get(struct cmd_run *run, struct err *e)
{
	const struct get_options *o = run->options;
	const char *name = run->n_args > 1 ? run->args[1] : NULL;
	const struct api_kind *k;
	yyjson_val *list;
	int r;

	if (cmd_cluster_is_meant(&o->cluster))
		return get_from_cluster(run, o, e);
	if (o->selector)
		return err_set(e, -EINVAL, "--selector is for a cluster: give --kubeconfig FILE");
	if (run->n_args > 2) {
		fprintf(stderr, "kvrail get: '%s' is one argument too many\n", run->args[2]);
		return CMD_USAGE;
	}
	k = kind_of(run, e);
	if (!k)
		return -EINVAL;
	r = cmd_agent(run, "GET", arena_printf(run->arena, "/kvrail/objects/%s/%s%s%s", k->plural, o->namespace && !o->all ? o->namespace : "",
					       name ? "/" : "", name ? name : ""), NULL, &list, e);
	if (r < 0)
		return r;
	if (name && !yyjson_arr_size(list))
		return err_set(e, -ENOENT, "there is no %s %s", k->kind, name);
	if (run->output == OUT_TABLE)
		print_table(run, list);
	else
		out_value(run, yyjson_val_mut_copy(doc_new(run->arena), list));
	return CMD_OK;
}

const struct cmd cmd_get = {
	.name = "get", .summary = "objects of a cluster or of this host's store: policies, networks, node states, NADs",
	.usage = "KIND [NAME...] [-n NS|-A] [-l LABELS] [--kubeconfig FILE] [--context NAME] [-o FORMAT]",
	.about = "A cluster is asked with --kubeconfig or --context; else this host's agent where its socket is; else the cluster\n"
		 "of $KUBECONFIG, of the pod's service account or of ~/.kube/config.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct get_options),
	.min_args = 1, .max_args = SIZE_MAX, .output = true, .run = run_get,
};
