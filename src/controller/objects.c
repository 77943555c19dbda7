/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/operator.h"
#include "controller/controller.h"

static bool same(const struct store_object *x, const struct store_object *y)
{
	return !strcmp(x->kind, y->kind) && !strcmp(x->namespace, y->namespace) && !strcmp(x->name, y->name);
}

/* The object as the last change leaves it; NULL when deleted. */
static const struct store_object *changed(const struct store_object *o,
					  const struct store_object *changes, size_t n)
{
	while (n--)
		if (same(o, &changes[n]))
			return changes[n].json ? &changes[n] : NULL;
	return o;
}

static int decode(struct arena *a, const struct store_object *o, const struct api_kind **kind,
		  void **ret, struct err *e)
{
	struct complaints c = { .arena = a };
	yyjson_val *v;
	int r;

	r = doc_parse_json(a, o->name, o->json, strlen(o->json), DOC_SIZE_MAX, &v, e);
	if (r < 0)
		return err_wrap(e, r, "%s %s/%s", o->kind, o->namespace, o->name);
	r = api_decode_value(a, v, kind, ret, &c);
	if (r == 0 && (*kind)->namespaced) /* where the store has it: a manifest need not say */
		((struct api_object *)*ret)->meta->namespace = o->namespace;
	for (size_t i = 0; r < 0 && i < c.n; i++)
		if (!c.v[i].warning)
			return err_set(e, r, "%s %s/%s: %s: %s", o->kind, o->namespace, o->name,
				       c.v[i].path, c.v[i].text);
	return r < 0 ? err_errno(e, r, "%s %s/%s", o->kind, o->namespace, o->name) : 0;
}

static int add(struct arena *a, const struct store_object *o, struct controller_objects *ret, struct err *e)
{
	const struct api_kind *kind;
	void *object;
	int r;

	r = decode(a, o, &kind, &object, e);
	if (r < 0)
		return r;
	if (!strcmp(kind->kind, "SriovNetworkNodePolicy")) {
		*(const struct api_policy **)arena_push(a, &ret->policies, &ret->n_policies, sizeof(void *)) = object;
	} else if (!strcmp(kind->kind, "SriovNetworkPoolConfig")) {
		const struct api_pool_config *pool = object;

		if (pool->spec->rdma_mode)
			ret->rdma_mode = pool->spec->rdma_mode;
	} else {
		size_t n = ret->n_networks;

		*(const struct api_kind **)arena_push(a, &ret->network_kinds, &n, sizeof(void *)) = kind;
		*(const struct api_network **)arena_push(a, &ret->networks, &ret->n_networks, sizeof(void *)) = object;
	}
	return 0;
}

/* What the store has of @kind, and what @changes adds to it. */
static int collect(struct store *s, struct arena *a, const char *kind, const struct store_object *changes,
		   size_t n_changes, struct store_object **ret, size_t *ret_n, struct err *e)
{
	struct store_object *stored, *all = NULL;
	size_t n_stored, n = 0;
	int r;

	r = store_list(s, a, kind, NULL, &stored, &n_stored, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_stored; i++)
		*(struct store_object *)arena_push(a, &all, &n, sizeof(*all)) = stored[i];
	for (size_t i = 0; i < n_changes; i++) {
		size_t j = 0;

		while (j < n && !same(&all[j], &changes[i]))
			j++;
		if (j == n && !strcmp(changes[i].kind, kind))
			*(struct store_object *)arena_push(a, &all, &n, sizeof(*all)) = changes[i];
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int controller_load(struct store *s, struct arena *a, const struct store_object *changes, size_t n_changes,
		    struct controller_objects *ret, struct err *e)
{
	static const char *const kinds[] = { "SriovNetworkNodePolicy", "SriovNetwork",
					     "SriovIBNetwork", "OVSNetwork",
					     "SriovNetworkPoolConfig" };
	struct controller_objects o = { 0 };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct store_object *all;
		size_t n;
		int r;

		r = collect(s, a, kinds[k], changes, n_changes, &all, &n, e);
		for (size_t i = 0; r == 0 && i < n; i++) {
			const struct store_object *now = changed(&all[i], changes, n_changes);

			r = now ? add(a, now, &o, e) : 0;
		}
		if (r < 0)
			return r;
	}
	*ret = o;
	return 0;
}
