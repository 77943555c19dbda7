/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "attach/annotation.h"
#include "cmd/cmd.h"

struct options {
	const char *annotation, *namespace;
};

static const struct cmd_option options[] = {
	{ "annotation", 'a', CMD_STRING, offsetof(struct options, annotation), "STRING", NULL,
	  "parse just this value of the annotation k8s.v1.cni.cncf.io/networks" },
	{ "namespace", 'n', CMD_STRING, offsetof(struct options, namespace), "NAMESPACE", NULL,
	  "the pod's namespace: of networks that name none (default: default)" },
};

/* What an item asks for beside its network, in one cell; NULL: nothing. */
static const char *asked(struct arena *a, const struct annotation_item *item)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = annotation_json(doc, item);

	yyjson_mut_obj_remove_key(v, "name");
	yyjson_mut_obj_remove_key(v, "namespace");
	yyjson_mut_obj_remove_key(v, "interface");
	yyjson_mut_obj_remove_key(v, "interfaceRequest");
	return yyjson_mut_obj_size(v) ? doc_mut_to_json(a, v, false) : NULL;
}

static void print_items(struct cmd_run *run, const struct annotation_item *items, size_t n)
{
	static const char *const heads[] = { "NETWORK", "INTERFACE", "ASKED", NULL };
	struct out_table *t = out_table_new(run->arena, heads);

	for (size_t i = 0; i < n; i++)
		out_row(t, (const char *[]){ arena_printf(run->arena, "%s/%s", items[i].namespace, items[i].name), items[i].interface,
					     asked(run->arena, &items[i]) }, 3);
	out_table_print(t);
}

static int explain_annotation(struct cmd_run *run, const char *text, const char *namespace, struct err *e)
{
	struct annotation_item *items;
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_obj_add_arr(doc, root, "networks");
	struct err why;
	size_t n;
	int r = annotation_parse(run->arena, text, strlen(text), namespace, &items, &n, e);

	if (r < 0)
		return err_wrap(e, r, ANNOTATION_NETWORKS);
	if (annotation_check(items, n, &why) < 0)
		fprintf(stderr, "warning: %s; Multus reads this too, and no pod can start with it\n", out_plain(run->arena, why.msg));
	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(list, annotation_json(doc, &items[i]));
	if (run->output == OUT_TABLE)
		print_items(run, items, n);
	else
		out_value(run, root);
	return CMD_OK;
}

static int run_explain(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;

	if (!o->annotation) {
		fputs("kvrail explain: give an annotation: --annotation STRING\n", stderr);
		return CMD_USAGE;
	}
	return explain_annotation(run, o->annotation, o->namespace ? o->namespace : "default", e);
}

const struct cmd cmd_explain = {
	.name = "explain",
	.summary = "what an attachment of a pod would do, without a node",
	.usage = "--annotation STRING [--namespace NAMESPACE] [-o FORMAT]",
	.about = "The value of k8s.v1.cni.cncf.io/networks is read as Multus reads it; what is wrong is told with its place.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.output = true,
	.run = run_explain,
};
