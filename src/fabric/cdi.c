/* SPDX-License-Identifier: Apache-2.0 */
/* CDI specification 0.5.0 (device names may begin with a digit from there on), which containerd 1.7, CRI-O 1.23 and newer read. */
#include <string.h>

#include "codec/doc.h"
#include "fabric/cdi.h"

#define SPEC_MAX (4u << 20)

static void add_nodes(yyjson_mut_doc *doc, yyjson_mut_val *edits, const struct cdi_device *dev)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, edits, "deviceNodes");

	for (size_t i = 0; i < dev->n_nodes; i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, v, "path", dev->nodes[i].path);
		yyjson_mut_obj_add_str(doc, v, "type", "c");
		yyjson_mut_obj_add_uint(doc, v, "major", dev->nodes[i].major);
		yyjson_mut_obj_add_uint(doc, v, "minor", dev->nodes[i].minor);
		yyjson_mut_obj_add_str(doc, v, "permissions", "rw");
	}
}

static void add_device(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *list, const struct cdi_device *dev)
{
	yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list), *edits, *env;

	yyjson_mut_obj_add_str(doc, v, "name", dev->name);
	edits = yyjson_mut_obj_add_obj(doc, v, "containerEdits");
	if (dev->n_nodes)
		add_nodes(doc, edits, dev);
	if (!dev->n_env && dev->n_nodes)
		return;
	env = yyjson_mut_obj_add_arr(doc, edits, "env");
	for (size_t i = 0; i < dev->n_env; i++)
		yyjson_mut_arr_add_str(doc, env, dev->env[i]);
	if (!dev->n_env)
		yyjson_mut_arr_add_str(doc, env, arena_printf(a, "KVRAIL_DEVICE=%s", dev->name));
}

static void add_hook(yyjson_mut_doc *doc, yyjson_mut_val *edits, const struct cdi_spec *spec)
{
	yyjson_mut_val *hook = yyjson_mut_arr_add_obj(doc, yyjson_mut_obj_add_arr(doc, edits, "hooks")), *args;
	const char *slash = strrchr(spec->hook, '/');

	yyjson_mut_obj_add_str(doc, hook, "hookName", "createRuntime");
	yyjson_mut_obj_add_str(doc, hook, "path", spec->hook);
	args = yyjson_mut_obj_add_arr(doc, hook, "args");
	yyjson_mut_arr_add_str(doc, args, slash ? slash + 1 : spec->hook);
	for (const char *const *arg = spec->hook_args; arg && *arg; arg++)
		yyjson_mut_arr_add_str(doc, args, *arg);
}

char *cdi_render(struct arena *a, const struct cdi_spec *spec)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	yyjson_mut_obj_add_str(doc, root, "cdiVersion", "0.5.0");
	yyjson_mut_obj_add_str(doc, root, "kind", CDI_KIND);
	list = yyjson_mut_obj_add_arr(doc, root, "devices");
	for (size_t i = 0; i < spec->n_devices; i++)
		add_device(a, doc, list, &spec->devices[i]);
	if (spec->hook)
		add_hook(doc, yyjson_mut_obj_add_obj(doc, root, "containerEdits"), spec);
	return doc_mut_to_json(a, root, true);
}

bool cdi_names(const char *text, size_t len, const char *const *devices, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *kind, *name;
	yyjson_val *root, *v;
	yyjson_arr_iter it;

	if (doc_parse_json(a, "CDI", text, len, SPEC_MAX, &root, NULL) < 0 || !(kind = doc_str(root, "kind")) || strcmp(kind, CDI_KIND))
		return false;
	yyjson_arr_iter_init(yyjson_obj_get(root, "devices"), &it);
	while ((v = yyjson_arr_iter_next(&it)))
		for (size_t i = 0; (name = doc_str(v, "name")) && i < n; i++)
			if (!strcmp(name, devices[i]))
				return true;
	return false;
}
