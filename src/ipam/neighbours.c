/* SPDX-License-Identifier: Apache-2.0 */
/* What pools there are, what was read of them, and which overlap one that is given from. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipam/writer.h"

#define NEIGHBOUR_NS 2000000000u /* a neighbour read so long ago does */
#define MARK "{\"metadata\":{\"annotations\":{\"" IPAM_OVERLAPS "\":\"true\"}}}"

struct kube_ref ipam_pool_ref(const struct pools *ps, const char *name)
{
	return (struct kube_ref){ IPAM_GROUP, IPAM_VERSION, IPAM_POOLS, ps->namespace, name, NULL };
}

void ipam_pools_count(struct pools *ps, uint64_t *what)
{
	pthread_mutex_lock(&ps->lock);
	(*what)++;
	pthread_mutex_unlock(&ps->lock);
}

struct snapshot *ipam_snapshot_free(struct snapshot *s)
{
	if (s)
		arena_free(s->a);
	return NULL;
}

int ipam_snapshot_new(yyjson_val *obj, struct snapshot **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct snapshot *s = arena_alloc(a, sizeof(*s));
	int r = ipam_pool_decode(a, obj, &s->pool, e);

	if (r < 0) {
		arena_free(a);
		return r;
	}
	s->a = a;
	s->read_ns = clock_ns();
	*ret = s;
	return 0;
}

int ipam_snapshot_get(struct pools *ps, const char *name, struct snapshot **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ipam_pool_ref(ps, name);
	yyjson_val *obj;
	int r = kube_get(ps->k, a, &ref, &obj, e);

	ipam_pools_count(ps, &ps->stats.reads);
	return r < 0 ? r : ipam_snapshot_new(obj, ret, e);
}

void ipam_snapshot_replace(struct snapshot **s, struct snapshot *by)
{
	if (*s)
		by->next = (*s)->next;
	ipam_snapshot_free(*s);
	*s = by;
}

bool ipam_snapshot_is_young(const struct snapshot *s, uint64_t ns)
{
	return s && clock_ns() - s->read_ns < ns;
}

/* Put the mark on a pool; the snapshot is of then or later. -ENOENT: there is no such pool any more. */
static int mark(struct pools *ps, const char *name, struct snapshot **s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ipam_pool_ref(ps, name);
	struct snapshot *fresh;
	yyjson_val *obj;
	int r;

	if (*s && (*s)->pool.marked)
		return 0;
	r = kube_patch(ps->k, a, &ref, KUBE_PATCH_MERGE, MARK, &obj, e);
	if (r == 0)
		r = ipam_snapshot_new(obj, &fresh, e);
	if (r < 0)
		return r;
	log_info("IPPool %s overlaps another one: its addresses are reserved over all of them", name);
	ipam_snapshot_replace(s, fresh);
	return 0;
}

/* Names, in @a, of the pools that overlap @p and share its network_name; a node's slices share it too. */
static const char **find_neighbours(struct pool *p, struct arena *a, size_t *ret_n)
{
	struct pools *ps = p->pools;
	const char **names = NULL, *slice = arena_printf(a, "-%s", ps->node);
	const char *network = p->domain;
	size_t n = 0, len = strlen(p->domain), tail = strlen(slice);
	struct ipam_net net;

	if (!strcmp(p->domain, ps->node))
		network = "";
	else if (len > tail && !strcmp(p->domain + len - tail, slice))
		network = arena_strndup(a, p->domain, len - tail);
	if (ipam_net_parse(p->range, &net) == 0) {
		pthread_mutex_lock(&ps->lock);
		for (size_t i = 0; i < ps->n_ranges; i++)
			if (strcmp(ps->ranges[i].name, p->name) && ipam_nets_overlap(&ps->ranges[i].net, &net) &&
			    (!strcmp(ps->ranges[i].domain, network) || !strcmp(ps->ranges[i].domain, p->domain)))
				*(const char **)arena_push(a, &names, &n, sizeof(*names)) = arena_strdup(a, ps->ranges[i].name);
		pthread_mutex_unlock(&ps->lock);
	}
	*ret_n = n;
	return names;
}

/* The neighbour's snapshot of before, taken out of the list, or NULL. */
static struct snapshot *take_neighbour(struct pool *p, const char *name)
{
	for (struct snapshot **at = &p->neighbours; *at; at = &(*at)->next) {
		struct snapshot *s = *at;

		if (strcmp(s->pool.name, name))
			continue;
		*at = s->next;
		s->next = NULL;
		return s;
	}
	return NULL;
}

void ipam_neighbours_drop(struct pool *p)
{
	while (p->neighbours) {
		struct snapshot *s = p->neighbours;

		p->neighbours = s->next;
		ipam_snapshot_free(s);
	}
}

int ipam_neighbours_prepare(struct pool *p, struct arena *a, struct err *e)
{
	struct pools *ps = p->pools;
	struct snapshot *keep = NULL;
	size_t n;
	const char **names = find_neighbours(p, a, &n);
	int r = n ? mark(ps, p->name, &p->snapshot, e) : 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct snapshot *s = take_neighbour(p, names[i]), *fresh;

		if (!ipam_snapshot_is_young(s, NEIGHBOUR_NS)) {
			r = ipam_snapshot_get(ps, names[i], &fresh, e);
			if (r == 0)
				ipam_snapshot_replace(&s, fresh);
		}
		if (r == 0)
			r = mark(ps, names[i], &s, e);
		if (r == -ENOENT) {
			pthread_mutex_lock(&ps->lock);
			ipam_ranges_drop(ps, names[i]);
			pthread_mutex_unlock(&ps->lock);
			s = ipam_snapshot_free(s);
			r = 0;
		}
		if (s) {
			s->next = keep;
			keep = s;
		}
	}
	ipam_neighbours_drop(p);
	p->neighbours = keep;
	return r;
}

void ipam_ranges_drop(struct pools *ps, const char *name)
{
	for (size_t i = 0; i < ps->n_ranges; i++) {
		if (strcmp(ps->ranges[i].name, name))
			continue;
		free(ps->ranges[i].name);
		free(ps->ranges[i].uid);
		free(ps->ranges[i].domain);
		ps->ranges[i] = ps->ranges[--ps->n_ranges];
		return;
	}
}

static void ranges_put(struct pools *ps, const struct ipam_pool *pool)
{
	struct range_of *r;

	ipam_ranges_drop(ps, pool->name);
	r = realloc(ps->ranges, (ps->n_ranges + 1) * sizeof(*r));
	if (!r)
		abort();
	ps->ranges = r;
	r[ps->n_ranges] = (struct range_of){ strdup(pool->name), strdup(pool->uid), strdup(pool->domain), pool->net };
	if (!r[ps->n_ranges].name || !r[ps->n_ranges].uid || !r[ps->n_ranges].domain)
		abort();
	ps->n_ranges++;
}

static int listed(void *arg, yyjson_val *obj)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = arg;
	struct ipam_pool pool;
	bool first;
	struct err e;

	if (ipam_pool_decode(a, obj, &pool, &e) < 0) {
		log_warn("%s", e.msg);
		return 0;
	}
	pthread_mutex_lock(&ps->lock);
	ranges_put(ps, &pool);
	first = !ps->ready;
	pthread_mutex_unlock(&ps->lock);
	/* what containers of this node got from an earlier process of it; later ones are ours */
	for (size_t i = 0; first && i < pool.n; i++) {
		struct pool *p = ipam_pool_of(ps, pool.name, pool.range);

		pthread_mutex_lock(&ps->lock);
		ipam_held_put(ps, pool.entries[i].id, p);
		pthread_mutex_unlock(&ps->lock);
	}
	return 0;
}

struct search {
	struct pools *ps;
	const char *container;
};

static int search_pool(void *arg, yyjson_val *obj)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct search *search = arg;
	struct pools *ps = search->ps;
	struct ipam_pool pool;

	if (ipam_pool_decode(a, obj, &pool, NULL) < 0)
		return 0;
	for (size_t i = 0; i < pool.n; i++) {
		struct pool *p;

		if (strcmp(pool.entries[i].id, search->container))
			continue;
		p = ipam_pool_of(ps, pool.name, pool.range);
		pthread_mutex_lock(&ps->lock);
		ipam_held_put(ps, search->container, p);
		pthread_mutex_unlock(&ps->lock);
	}
	return 0;
}

int ipam_held_search(struct pools *ps, const char *container, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ipam_pool_ref(ps, NULL);
	struct search search = { ps, container };

	return kube_list(ps->k, a, &ref, NULL, search_pool, &search, NULL, e);
}

int ipam_ranges_list(struct pools *ps, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ipam_pool_ref(ps, NULL);

	return kube_list(ps->k, a, &ref, NULL, listed, ps, NULL, e);
}
