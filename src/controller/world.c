/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "controller/world.h"

/* What was said of an object that does not decode, so that it is not said again and again. */
static void add_bad(struct arena *a, struct world *w, const struct informer_object *o, yyjson_val *v, const char *why)
{
	const char *version = doc_str(v, "apiVersion"), *word = doc_str(v, "kind");
	const struct api_kind *kind = version && word ? api_kind_find(version, word) : NULL;
	struct world_bad *bad;
	yyjson_val *c;
	size_t i, max;

	if (!kind)
		return;
	bad = arena_push(a, &w->bad, &w->n_bad, sizeof(*bad));
	*bad = (struct world_bad){ .kind = kind, .ns = o->namespace, .name = o->name, .uid = o->uid, .why = why ? why : "it cannot be read" };
	bad->generation = doc_int(yyjson_obj_get(v, "metadata"), "generation", 0);
	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(v, "status"), "conditions"), i, max, c) {
		struct api_condition *condition =
			arena_push(a, &bad->status.conditions, &bad->status.n_conditions, sizeof(*condition));

		*condition = (struct api_condition){
			.type = doc_str(c, "type"), .status = doc_str(c, "status"), .reason = doc_str(c, "reason"),
			.message = doc_str(c, "message"), .last_transition_time = doc_str(c, "lastTransitionTime"),
			.observed_generation = doc_int(c, "observedGeneration", 0),
		};
	}
}

static void decode(struct arena *a, struct world *w, enum world_kind what, const struct informer_object *o)
{
	struct complaints c = { .arena = a, .lenient = true };
	const struct api_kind *kind = NULL;
	const char *why = NULL, *warning = NULL;
	struct api_object *object = NULL;
	yyjson_val *v = NULL;
	struct err e;
	int r;

	r = doc_parse_json(a, o->name, o->json, strlen(o->json), DOC_SIZE_MAX, &v, &e);
	if (r == 0)
		r = api_decode_value(a, v, &kind, (void **)&object, &c);
	for (size_t i = 0; i < c.n; i++) {
		if (c.v[i].warning)
			continue;
		why = arena_printf(a, "%s%s%s: %s", why ? why : "", why ? "; " : "", c.v[i].path, c.v[i].text);
		warning = why;
	}
	if (r < 0) {
		add_bad(a, w, o, v, why);
		return;
	}
	switch (what) {
	case WORLD_POLICIES: {
		size_t n = w->n_policies;

		*(const char **)arena_push(a, &w->warnings, &n, sizeof(char *)) = warning;
		*(void **)arena_push(a, &w->policies, &w->n_policies, sizeof(void *)) = object;
		break;
	}
	case WORLD_POOLS:
		*(void **)arena_push(a, &w->pools, &w->n_pools, sizeof(void *)) = object;
		break;
	case WORLD_CONFIGS: {
		const struct api_operator_config *config = (void *)object;

		if (strcmp(o->name, "default")) /* the only name that the operator looks at */
			break;
		w->daemon_selector = config->spec->config_daemon_node_selector;
		w->n_daemon_selector = config->spec->n_config_daemon_node_selector;
		break;
	}
	case WORLD_STATES:
		*(void **)arena_push(a, &w->states, &w->n_states, sizeof(void *)) = object;
		break;
	case WORLD_RAIL_POLICIES:
		*(void **)arena_push(a, &w->rail_policies, &w->n_rail_policies, sizeof(void *)) = object;
		break;
	case WORLD_RAIL_NODES:
		*(void **)arena_push(a, &w->rail_nodes, &w->n_rail_nodes, sizeof(void *)) = object;
		break;
	default: {
		size_t n = w->n_networks;

		*(const struct api_kind **)arena_push(a, &w->network_kinds, &n, sizeof(void *)) = kind;
		*(void **)arena_push(a, &w->networks, &w->n_networks, sizeof(void *)) = object;
	}
	}
}

static void add_node(struct arena *a, struct world *w, yyjson_val *v)
{
	struct world_node *node = arena_push(a, &w->nodes, &w->n_nodes, sizeof(*node));
	yyjson_val *key, *value;
	size_t i, max;

	node->name = doc_str(v, "name");
	node->ready = doc_bool(v, "ready", false);
	yyjson_obj_foreach(yyjson_obj_get(v, "labels"), i, max, key, value) {
		struct pair *label = arena_push(a, &node->labels, &node->n_labels, sizeof(*label));

		label->key = yyjson_get_str(key);
		label->value = yyjson_is_str(value) ? yyjson_get_str(value) : "";
	}
}

static void add_nad(struct arena *a, struct world *w, const struct informer_object *o, yyjson_val *v)
{
	struct world_nad *nad = arena_push(a, &w->nads, &w->n_nads, sizeof(*nad));

	*nad = (struct world_nad){
		.ns = o->namespace, .name = o->name, .uid = o->uid, .version = o->version,
		.owner = doc_str(v, "owner"), .resource = doc_str(v, "resource"), .config = doc_str(v, "config"),
		.owner_references = yyjson_obj_get(v, "ownerReferences"),
	};
}

void world_add(struct arena *a, struct world *w, enum world_kind kind, const struct informer_object *objects, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct informer_object *o = &objects[i];
		struct world_namespace *ns;
		yyjson_val *v;

		if (kind != WORLD_NODES && kind != WORLD_NADS && kind != WORLD_NAMESPACES) {
			decode(a, w, kind, o);
			continue;
		}
		if (doc_parse_json(a, o->name, o->json, strlen(o->json), DOC_SIZE_MAX, &v, NULL) < 0)
			continue; /* our own text: cannot be */
		if (kind == WORLD_NODES) {
			add_node(a, w, v);
		} else if (kind == WORLD_NADS) {
			add_nad(a, w, o, v);
		} else {
			ns = arena_push(a, &w->namespaces, &w->n_namespaces, sizeof(*ns));
			ns->name = o->name;
			ns->going = doc_bool(v, "going", false);
		}
	}
}

const struct api_nodestate *world_state(const struct world *w, const char *node)
{
	for (size_t i = 0; i < w->n_states; i++)
		if (!strcmp(w->states[i]->object.meta->name, node))
			return w->states[i];
	return NULL;
}

static int compare_nad(const void *key, const void *element)
{
	const struct world_nad *a = key, *b = element;
	int r = strcmp(a->ns, b->ns);

	return r ? r : strcmp(a->name, b->name);
}

const struct world_nad *world_nad(const struct world *w, const char *ns, const char *name)
{
	const struct world_nad key = { .ns = ns, .name = name };

	/* informers give them in this order */
	return w->n_nads ? bsearch(&key, w->nads, w->n_nads, sizeof(*w->nads), compare_nad) : NULL;
}
