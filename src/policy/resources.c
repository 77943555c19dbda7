/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/resources.h"

#define TEXT_MAX (256u * 1024) /* of all annotations of an object (apimachinery: TotalAnnotationSizeLimitB) */

static const struct api_policy *policy_named(const struct api_policy **policies, size_t n, const char *name)
{
	for (size_t i = 0; name && i < n; i++)
		if (!strcmp(policies[i]->object.meta->name, name))
			return policies[i];
	return NULL;
}

static struct resource_settings *settings_of(struct arena *a, struct resource_settings **list, size_t *n, const char *name)
{
	struct resource_settings *s;

	for (size_t i = 0; i < *n; i++)
		if (!strcmp((*list)[i].name, name))
			return &(*list)[i];
	s = arena_push(a, list, n, sizeof(*s));
	s->name = name;
	return s;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct resource_settings *)x)->name, ((const struct resource_settings *)y)->name);
}

const char *resources_text(struct arena *a, const struct api_policy **policies, size_t n, const struct api_nodestate_spec *spec)
{
	struct resource_settings *list = NULL;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *all = yyjson_mut_obj(doc);
	size_t n_list = 0;

	for (size_t i = 0; spec && i < spec->n_interfaces; i++) {
		for (size_t k = 0; k < spec->interfaces[i].n_vf_groups; k++) {
			const struct api_vf_group *g = &spec->interfaces[i].vf_groups[k];
			const struct api_policy *p = policy_named(policies, n, g->policy_name);
			struct resource_settings *s;

			if (!p || !g->resource_name || (!p->spec->exclude_topology && !p->spec->need_vhost_net))
				continue;
			s = settings_of(a, &list, &n_list, g->resource_name);
			s->exclude_topology |= p->spec->exclude_topology;
			s->need_vhost_net |= p->spec->need_vhost_net;
		}
	}
	if (!n_list)
		return NULL;
	qsort(list, n_list, sizeof(*list), by_name);
	for (size_t i = 0; i < n_list; i++) {
		yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, all, list[i].name);

		if (list[i].exclude_topology)
			yyjson_mut_obj_add_bool(doc, v, "excludeTopology", true);
		if (list[i].need_vhost_net)
			yyjson_mut_obj_add_bool(doc, v, "needVhostNet", true);
	}
	return doc_mut_to_json(a, all, false);
}

void resources_read(struct arena *a, const char *text, struct resource_settings **ret, size_t *ret_n)
{
	yyjson_val *all, *key, *v;
	size_t i, max;

	*ret = NULL;
	*ret_n = 0;
	if (!text || strlen(text) > TEXT_MAX || doc_parse_json(a, RESOURCES_ANNOTATION, text, strlen(text), TEXT_MAX, &all, NULL) < 0)
		return;
	yyjson_obj_foreach(all, i, max, key, v)
		*(struct resource_settings *)arena_push(a, ret, ret_n, sizeof(**ret)) = (struct resource_settings){
			.name = yyjson_get_str(key),
			.exclude_topology = doc_bool(v, "excludeTopology", false),
			.need_vhost_net = doc_bool(v, "needVhostNet", false),
		};
}
