/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy is held to at admission. It is listed for each: policies change rarely, only the leader watches these kinds, and what was
 * admitted a moment ago by another replica counts.
 */
#include "controller/admit-private.h"
#include "controller/world.h"

struct listing {
	struct arena *a;
	struct world *world;
	enum world_kind kind;
	const char *(*keep)(void *arg, struct arena *a, yyjson_val *obj);
};

static int add(void *arg, yyjson_val *obj)
{
	struct listing *l = arg;
	yyjson_val *meta = yyjson_obj_get(obj, "metadata");
	const char *ns = doc_str(meta, "namespace"), *name = doc_str(meta, "name");
	struct informer_object o = { .namespace = ns ? arena_strdup(l->a, ns) : "", .name = arena_strdup(l->a, name ? name : "") };

	o.json = l->keep ? l->keep(NULL, l->a, obj) : doc_to_json(l->a, obj, false);
	if (o.json)
		world_add(l->a, l->world, l->kind, &o, 1);
	return 0;
}

static int list(struct kube *k, const char *namespace, enum world_kind kind, struct arena *a, struct world *w, struct err *e)
{
	struct world_collection c = world_collection(kind, namespace);
	struct listing l = { .a = a, .world = w, .kind = kind, .keep = c.keep };

	return kube_list(k, a, &c.ref, NULL, add, &l, NULL, e);
}

static const struct api_node *as_node(struct arena *a, const struct world_node *from)
{
	struct api_node *node = arena_alloc(a, sizeof(*node));

	node->object.meta = arena_alloc(a, sizeof(*node->object.meta));
	node->object.meta->name = from->name;
	node->object.meta->labels = from->labels;
	node->object.meta->n_labels = from->n_labels;
	return node;
}

int admit_cluster_list(struct kube *k, const char *namespace, struct arena *a, struct admit_cluster *ret, struct err *e)
{
	static const enum world_kind kinds[] = { WORLD_POLICIES, WORLD_NODES, WORLD_STATES };
	struct world *w = arena_alloc(a, sizeof(*w));

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int r = list(k, namespace, kinds[i], a, w, e);

		if (r < 0)
			return r;
	}
	*ret = (struct admit_cluster){ .policies = w->policies, .n_policies = w->n_policies, .states = w->states, .n_states = w->n_states };
	for (size_t i = 0; i < w->n_nodes; i++)
		*(const struct api_node **)arena_push(a, &ret->nodes, &ret->n_nodes, sizeof(void *)) = as_node(a, &w->nodes[i]);
	return 0;
}
