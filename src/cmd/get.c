/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/meta.h"
#include "base/parse.h"
#include "cmd/cmd.h"

struct options {
	const char *namespace;
};

static const struct cmd_option options[] = {
	{ "namespace", 'n', CMD_STRING, offsetof(struct options, namespace), "NS", NULL, "of this namespace only" },
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
	err_set(e, -EINVAL, "there is no kind '%s'%s%s%s", run->args[0], near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
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
	const struct options *o = run->options;
	const struct api_kind *k = kind_of(run, e);
	const char *name = run->n_args > 1 ? run->args[1] : NULL;
	yyjson_val *list;
	int r;

	if (!k)
		return -EINVAL;
	r = cmd_agent(run, "GET", arena_printf(run->arena, "/kvrail/objects/%s/%s%s%s", k->plural, o->namespace ? o->namespace : "",
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
	.name = "get", .summary = "objects of the store: policies, networks, node states, NADs",
	.usage = "KIND [NAME] [-n NS] [-o FORMAT]",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.min_args = 1, .max_args = 2, .output = true, .run = run_get,
};
