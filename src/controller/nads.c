/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "controller/controller.h"

#define OWNER_REF "sriovnetwork.openshift.io/owner-ref"

static const struct store_object *find(const struct store_object *all, size_t n, const char *ns,
				       const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].namespace, ns) && !strcmp(all[i].name, name))
			return &all[i];
	return NULL;
}

/* Whose NAD is it? NULL: nobody's that we know. */
static const char *owner(struct arena *a, const struct store_object *nad)
{
	yyjson_val *v;

	if (doc_parse_json(a, nad->name, nad->json, strlen(nad->json), DOC_SIZE_MAX, &v, NULL) < 0)
		return NULL;
	return doc_str(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "annotations"), OWNER_REF);
}

static void change(struct arena *a, struct store_object **changes, size_t *n, const char *ns,
		   const char *name, const char *json)
{
	struct store_object *o = arena_push(a, changes, n, sizeof(*o));

	*o = (struct store_object){ .kind = "NetworkAttachmentDefinition", .namespace = ns, .name = name, .json = json };
}

int controller_nads(struct store *s, struct arena *a, const struct controller_objects *o, const char *prefix,
		    struct store_object **changes, size_t *n_changes, struct err *e)
{
	const struct api_kind *kind = api_kind_named("NetworkAttachmentDefinition");
	struct store_object *there, *wanted = NULL;
	size_t n_there, n_wanted = 0;
	int r;

	r = store_list(s, a, kind->kind, NULL, &there, &n_there, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < o->n_networks; i++) {
		yyjson_mut_doc *doc = doc_new(a);
		const struct store_object *old;
		const char *json, *mine, *ns, *name;
		struct api_nad *nad;

		r = render_nad(a, o->network_kinds[i], o->networks[i], prefix, &nad, e);
		if (r < 0)
			return r;
		ns = nad->object.meta->namespace;
		name = nad->object.meta->name;
		json = doc_mut_to_json(a, api_encode(kind, doc, nad), false);
		mine = pairs_get(nad->object.meta->annotations, nad->object.meta->n_annotations, OWNER_REF);
		if (find(wanted, n_wanted, ns, name))
			return err_set(e, -EEXIST,
				       "two networks ask for the NetworkAttachmentDefinition %s/%s: rename one",
				       ns, name);
		change(a, &wanted, &n_wanted, ns, name, json);
		old = find(there, n_there, ns, name);
		if (old && (!owner(a, old) || strcmp(owner(a, old), mine)))
			return err_set(e, -EEXIST,
				       "the NetworkAttachmentDefinition %s/%s is there and belongs to somebody else (%s): "
				       "delete it or rename the network",
				       ns, name, owner(a, old) ? owner(a, old) : "no owner-ref");
		if (!old || strcmp(old->json, json))
			change(a, changes, n_changes, ns, name, json);
	}
	for (size_t i = 0; i < n_there; i++)
		if (owner(a, &there[i]) && !find(wanted, n_wanted, there[i].namespace, there[i].name))
			change(a, changes, n_changes, there[i].namespace, there[i].name, NULL);
	return 0;
}
