/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of a pool: the first who comes serves all who wait meanwhile, with one patch, then hands on. Only it reads and
 * writes the pool's snapshot.
 */
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "ipam/writer.h"

#define BATCH_MAX 64
#define CONTENDED_NS 10000000000u /* after a conflict a pool counts as contended for so long */
#define BACKOFF_FIRST_MS 4
#define BACKOFF_MOST_MS 250
#define MARK "{\"metadata\":{\"annotations\":{\"" IPAM_OVERLAPS "\":\"true\"}}}"

static struct kube_ref ref_of(const struct pools *ps, const char *name)
{
	return (struct kube_ref){ IPAM_GROUP, IPAM_VERSION, IPAM_POOLS, ps->namespace, name, NULL };
}

static void count(struct pools *ps, uint64_t *what)
{
	pthread_mutex_lock(&ps->lock);
	(*what)++;
	pthread_mutex_unlock(&ps->lock);
}

static struct snapshot *snapshot_free(struct snapshot *s)
{
	if (s)
		arena_free(s->a);
	return NULL;
}

/* In an arena of its own; @obj is not kept. */
static int snapshot_new(yyjson_val *obj, struct snapshot **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct snapshot *s = arena_alloc(a, sizeof(*s));
	int r = ipam_pool_decode(a, obj, &s->pool, e);

	if (r < 0) {
		arena_free(a);
		return r;
	}
	s->a = a;
	*ret = s;
	return 0;
}

static int snapshot_parse(const char *json, struct snapshot **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *obj;
	int r = doc_parse_json(a, "IPPool", json, strlen(json), DOC_SIZE_MAX, &obj, e);

	return r < 0 ? r : snapshot_new(obj, ret, e);
}

static int snapshot_get(struct pools *ps, const char *name, struct snapshot **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ref_of(ps, name);
	yyjson_val *obj;
	int r = kube_get(ps->k, a, &ref, &obj, e);

	count(ps, &ps->stats.reads);
	return r < 0 ? r : snapshot_new(obj, ret, e);
}

/*
 * Is version @a newer than @b? They are numbers of the server's store that grow with each change of it; if they are none, the informer's
 * (@b) wins, and the patch's tests find out if that was wrong.
 */
static bool is_newer(const char *a, const char *b)
{
	uint64_t x, y;

	return parse_u64(a, 10, 0, UINT64_MAX, &x) == 0 && parse_u64(b, 10, 0, UINT64_MAX, &y) == 0 && x > y;
}

/* Bring *s up to what the informer knows; -ENOENT: it knows none, and *s is NULL. */
static int snapshot_update(struct pools *ps, const char *name, struct snapshot **s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct informer_object is;
	struct snapshot *fresh;
	int r = informer_get(ps->pools, a, ps->namespace, name, &is);

	if (r == -ENOENT)
		return *s ? 0 : -ENOENT;
	if (r < 0)
		return err_errno(e, r, "IPPool %s", name);
	if (*s && (!strcmp((*s)->pool.version, is.version) || is_newer((*s)->pool.version, is.version)))
		return 0;
	r = snapshot_parse(is.json, &fresh, e);
	if (r < 0)
		return r;
	snapshot_free(*s);
	*s = fresh;
	return 0;
}

static void replace(struct snapshot **s, struct snapshot *by)
{
	if (*s)
		by->next = (*s)->next;
	snapshot_free(*s);
	*s = by;
}

/* Put the mark on a pool; the snapshot is of then or later. -ENOENT: there is no such pool any more. */
static int mark(struct pools *ps, const char *name, struct snapshot **s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ref_of(ps, name);
	struct snapshot *fresh;
	yyjson_val *obj;
	int r;

	if (*s && (*s)->pool.marked)
		return 0;
	r = kube_patch(ps->k, a, &ref, KUBE_PATCH_MERGE, MARK, &obj, e);
	if (r == 0)
		r = snapshot_new(obj, &fresh, e);
	if (r < 0)
		return r;
	log_info("IPPool %s overlaps another one: its addresses are reserved over all of them", name);
	replace(s, fresh);
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

static void drop_neighbours(struct pool *p)
{
	while (p->neighbours) {
		struct snapshot *s = p->neighbours;

		p->neighbours = s->next;
		snapshot_free(s);
	}
}

/*
 * Neighbours as of after they were marked: what they gave without a reservation is in them. The pool itself is marked first, so that who gives
 * out of it without knowing of the neighbour fails.
 */
static int prepare_neighbours(struct pool *p, struct arena *a, struct err *e)
{
	struct pools *ps = p->pools;
	struct snapshot *keep = NULL;
	size_t n;
	const char **names = find_neighbours(p, a, &n);
	int r = n ? mark(ps, p->name, &p->snapshot, e) : 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct snapshot *s = take_neighbour(p, names[i]);

		r = snapshot_update(ps, names[i], &s, e);
		if (r == 0 || r == -ENOENT)
			r = mark(ps, names[i], &s, e);
		if (r == -ENOENT) {
			pthread_mutex_lock(&ps->lock);
			ranges_drop(ps, names[i]);
			pthread_mutex_unlock(&ps->lock);
			s = snapshot_free(s);
			r = 0;
		}
		if (s) {
			s->next = keep;
			keep = s;
		}
	}
	drop_neighbours(p);
	p->neighbours = keep;
	return r;
}

static int listed(void *arg, yyjson_val *obj)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = arg;
	struct ipam_pool pool;

	if (ipam_pool_decode(a, obj, &pool, NULL) == 0) {
		pthread_mutex_lock(&ps->lock);
		ranges_put(ps, &pool);
		pthread_mutex_unlock(&ps->lock);
	}
	return 0;
}

/* A new, empty pool. Then all pools are listed: of two that are made at once, one sees the other. */
static int create(struct pool *p, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = p->pools;
	struct kube_ref ref = ref_of(ps, NULL);
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *v;
	struct snapshot *fresh;
	yyjson_val *obj;
	int r;

	yyjson_mut_obj_add_str(doc, o, "apiVersion", IPAM_GROUP "/" IPAM_VERSION);
	yyjson_mut_obj_add_str(doc, o, "kind", "IPPool");
	v = yyjson_mut_obj_add_obj(doc, o, "metadata");
	yyjson_mut_obj_add_strcpy(doc, v, "name", p->name);
	v = yyjson_mut_obj_add_obj(doc, o, "spec");
	yyjson_mut_obj_add_strcpy(doc, v, "range", p->range);
	yyjson_mut_obj_add_obj(doc, v, "allocations");
	r = kube_create(ps->k, a, &ref, doc_mut_to_json(a, o, false), &obj, e);
	if (r == -EEXIST)
		r = snapshot_get(ps, p->name, &fresh, e);
	else if (r == 0)
		r = snapshot_new(obj, &fresh, e);
	if (r < 0)
		return err_wrap(e, r, "making IPPool %s", p->name);
	replace(&p->snapshot, fresh);
	return kube_list(ps->k, a, &ref, NULL, listed, ps, NULL, e);
}

/* What this process knows of the pool, or, @fresh, what the server does. -ENOENT: there is none. */
static int look(struct pool *p, bool fresh, struct err *e)
{
	struct snapshot *s;
	int r;

	if (!fresh)
		return snapshot_update(p->pools, p->name, &p->snapshot, e);
	r = snapshot_get(p->pools, p->name, &s, e);
	if (r == -ENOENT)
		p->snapshot = snapshot_free(p->snapshot);
	if (r < 0)
		return r;
	replace(&p->snapshot, s);
	return 0;
}

/* The jobs of one patch, and how serving them goes. */
struct batch {
	struct item *items[BATCH_MAX];
	struct ipam_job *jobs[BATCH_MAX];
	size_t n;
	bool adds, dels, overlapping;
	bool fresh; /* the snapshot was read from the server while serving */
	uint64_t deadline_ns;
	unsigned conflicts;
};

static void survey(struct batch *b)
{
	b->adds = b->dels = b->overlapping = false;
	for (size_t i = 0; i < b->n; i++) {
		b->jobs[i] = b->items[i]->job;
		b->adds |= b->jobs[i]->kind == IPAM_ADD;
		b->dels |= b->jobs[i]->kind == IPAM_DEL;
		for (size_t k = 0; k < b->jobs[i]->n_wants; k++)
			b->overlapping |= b->jobs[i]->wants[k].conf->overlapping;
	}
}

static void fail_all(struct batch *b, int code, const struct err *e)
{
	for (size_t i = 0; i < b->n; i++) {
		b->jobs[i]->result = code;
		b->jobs[i]->err = *e;
	}
}

static bool was_refused(const struct ipam_job *job)
{
	return job->result == -ENOSPC || job->result == -EADDRINUSE;
}

/* Keep the refused ones for another round. */
static size_t keep_refused(struct batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (was_refused(b->jobs[i]))
			b->items[n++] = b->items[i];
	b->n = n;
	survey(b);
	return n;
}

static bool any_refused(const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (was_refused(b->jobs[i]))
			return true;
	return false;
}

static void pause_for(unsigned conflicts)
{
	unsigned most = conflicts < 7 ? BACKOFF_FIRST_MS << conflicts : BACKOFF_MOST_MS, random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (unsigned)clock_ns();
	clock_sleep_ms(1 + random % most);
}

static bool needs_reservations(struct pool *p)
{
	struct pools *ps = p->pools;
	bool needs;

	pthread_mutex_lock(&ps->lock);
	needs = ps->options.reserve == IPAM_RESERVE_ALWAYS || ps->go_writers || p->snapshot->pool.marked || p->neighbours;
	p->reserves |= needs;
	pthread_mutex_unlock(&ps->lock);
	return needs;
}

/* The snapshot and the neighbours, ready to be planned on. -ENOENT: no pool, and none is needed. */
static int prepare(struct pool *p, struct batch *b, struct arena *a, struct err *e)
{
	struct pools *ps = p->pools;
	bool distrust;
	int r;

	pthread_mutex_lock(&ps->lock);
	distrust = p->distrust;
	pthread_mutex_unlock(&ps->lock);
	b->fresh |= distrust;
	r = look(p, b->fresh, e);
	if (r == 0 && distrust) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = false;
		pthread_mutex_unlock(&ps->lock);
	}
	if (r == -ENOENT && b->adds)
		r = create(p, e);
	if (r == 0 && b->adds && b->overlapping)
		r = prepare_neighbours(p, a, e);
	return r;
}

static int send_patch(struct pool *p, const char *patch, struct arena *a, struct err *e)
{
	struct pools *ps = p->pools;
	struct kube_ref ref = ref_of(ps, p->name);
	struct snapshot *fresh;
	yyjson_val *obj;
	int r = kube_patch(ps->k, a, &ref, KUBE_PATCH_JSON, patch, &obj, e);

	count(ps, &ps->stats.patches);
	if (r == 0)
		r = snapshot_new(obj, &fresh, e);
	if (r == 0)
		replace(&p->snapshot, fresh);
	return r;
}

static char *plan(struct pool *p, struct batch *b, struct arena *a)
{
	const struct ipam_pool **neighbours = NULL;
	struct ipam_view view = { .pool = &p->snapshot->pool, .reserved = reservation_is_foreign, .arg = p->pools,
				  .node = p->pools->node, .contended = clock_ns() < p->contended_until_ns };

	for (struct snapshot *s = p->neighbours; s; s = s->next)
		*(const struct ipam_pool **)arena_push(a, &neighbours, &view.n_neighbours, sizeof(*neighbours)) = &s->pool;
	view.neighbours = neighbours;
	return ipam_plan(a, &view, b->jobs, b->n);
}

/* One round. 0: served; -EAGAIN: another round, of what is left in @b. */
static int round_of(struct pool *p, struct batch *b, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = p->pools;
	char *patch;
	int r = prepare(p, b, a, e);

	if (r == -ENOENT && !b->adds) {
		for (size_t i = 0; i < b->n; i++)
			b->jobs[i]->result = 0;
		return 0;
	}
	if (r < 0)
		return r == -ENOENT ? err_append(e, -ENODEV, ": the CRDs of Whereabouts are part of kvrail's deployment") : r;
	patch = plan(p, b, a);
	/* none left is not said of an old view, nor while others of this patch give back */
	if (any_refused(b) && !b->fresh) {
		b->fresh = true;
		return -EAGAIN;
	}
	r = patch ? send_patch(p, patch, a, e) : 0;
	if (r == -ESTALE || r == -ENOENT) {
		count(ps, &ps->stats.conflicts);
		p->contended_until_ns = clock_ns() + CONTENDED_NS;
		b->fresh = true;
		pause_for(b->conflicts++);
		return clock_ns() < b->deadline_ns ? -EAGAIN : err_wrap(e, r, "IPPool %s, after %u tries", p->name, b->conflicts);
	}
	if (r < 0) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = true;
		pthread_mutex_unlock(&ps->lock);
		return r;
	}
	if (b->adds) {
		bool reserve = needs_reservations(p);

		for (size_t i = 0; i < b->n; i++)
			b->items[i]->reserve = reserve;
	}
	return any_refused(b) && b->dels && keep_refused(b) ? -EAGAIN : 0;
}

static void serve(struct pool *p, struct batch *b)
{
	struct err e = { 0 };
	int r;

	survey(b);
	do
		r = round_of(p, b, &e);
	while (r == -EAGAIN);
	if (r < 0)
		fail_all(b, r, &e);
}

/* No two ADDs of one pod go together: what one finds depends on the other. */
static bool goes_with(const struct batch *b, const struct item *it)
{
	for (size_t i = 0; i < b->n && it->job->kind == IPAM_ADD; i++)
		if (b->items[i]->job->kind == IPAM_ADD && !strcmp(b->items[i]->job->podref, it->job->podref))
			return false;
	return true;
}

/* Under the lock: take from the queue, in order, what goes together. */
static void collect(struct pool *p, struct batch *b)
{
	for (struct item **at = &p->queue; *at && b->n < BATCH_MAX;) {
		struct item *it = *at;

		if (!goes_with(b, it)) {
			at = &it->next;
			continue;
		}
		*at = it->next;
		it->next = NULL;
		b->items[b->n++] = it;
	}
}

void pool_serve(struct pool *p, struct item *it)
{
	struct pools *ps = p->pools;
	struct item **last = &p->queue;
	unsigned timeout_ms = ps->options.timeout_ms ? ps->options.timeout_ms : 30000;

	pthread_mutex_lock(&ps->lock);
	ps->stats.jobs++;
	while (*last)
		last = &(*last)->next;
	*last = it;
	while (!it->done) {
		struct batch b = { .deadline_ns = clock_ns() + timeout_ms * 1000000ull };
		struct item *all[BATCH_MAX];
		size_t n;

		if (p->writing) {
			pthread_cond_wait(&p->changed, &ps->lock);
			continue;
		}
		p->writing = true;
		collect(p, &b);
		ps->stats.batches++;
		n = b.n;
		memcpy(all, b.items, n * sizeof(*all));
		pthread_mutex_unlock(&ps->lock);
		serve(p, &b);
		pthread_mutex_lock(&ps->lock);
		for (size_t i = 0; i < n; i++)
			all[i]->done = true;
		p->writing = false;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&ps->lock);
}

struct pool *pool_of(struct pools *ps, const char *name, const char *range)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	for (p = ps->all; p && strcmp(p->name, name); p = p->next)
		;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			abort();
		p->pools = ps;
		p->name = strdup(name);
		p->range = strdup(range);
		p->domain = strdup(ipam_pool_domain(a, name, range));
		if (!p->name || !p->range || !p->domain)
			abort();
		pthread_cond_init(&p->changed, NULL);
		p->next = ps->all;
		ps->all = p;
	}
	pthread_mutex_unlock(&ps->lock);
	return p;
}

struct pool *pool_free(struct pool *p)
{
	snapshot_free(p->snapshot);
	drop_neighbours(p);
	pthread_cond_destroy(&p->changed);
	free(p->name);
	free(p->range);
	free(p->domain);
	free(p);
	return NULL;
}
