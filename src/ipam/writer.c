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
#define YOUNG_NS 200000000u	     /* a snapshot so old is tried without reading it again */
#define NEIGHBOUR_NS 2000000000u
#define CONTENDED_NS 10000000000u /* after a conflict a pool counts as contended for so long */
#define PAUSE_MS 4	       /* doubled with each conflict */
#define HEAT_MOST 8
#define LOOSE_AFTER 4	       /* conflicts of one batch */
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
	s->read_ns = clock_ns();
	*ret = s;
	return 0;
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

static void replace(struct snapshot **s, struct snapshot *by)
{
	if (*s)
		by->next = (*s)->next;
	snapshot_free(*s);
	*s = by;
}

static bool is_young(const struct snapshot *s, uint64_t ns)
{
	return s && clock_ns() - s->read_ns < ns;
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
		struct snapshot *s = take_neighbour(p, names[i]), *fresh;

		if (!is_young(s, NEIGHBOUR_NS)) {
			r = snapshot_get(ps, names[i], &fresh, e);
			if (r == 0)
				replace(&s, fresh);
		}
		if (r == 0)
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

void ranges_drop(struct pools *ps, const char *name)
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

	ranges_drop(ps, pool->name);
	r = realloc(ps->ranges, (ps->n_ranges + 1) * sizeof(*r));
	if (!r)
		abort();
	ps->ranges = r;
	r[ps->n_ranges] = (struct range_of){ strdup(pool->name), strdup(pool->uid), strdup(pool->domain), pool->net };
	if (!r[ps->n_ranges].name || !r[ps->n_ranges].uid || !r[ps->n_ranges].domain)
		abort();
	ps->n_ranges++;
}

void held_put(struct pools *ps, const char *container, struct pool *p)
{
	struct held *h;

	for (size_t i = 0; i < ps->n_held; i++)
		if (ps->held[i].pool == p && !strcmp(ps->held[i].container, container))
			return;
	h = realloc(ps->held, (ps->n_held + 1) * sizeof(*h));
	if (!h)
		abort();
	ps->held = h;
	h[ps->n_held] = (struct held){ strdup(container), p };
	if (!h[ps->n_held++].container)
		abort();
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
		struct pool *p = pool_of(ps, pool.name, pool.range);

		pthread_mutex_lock(&ps->lock);
		held_put(ps, pool.entries[i].id, p);
		pthread_mutex_unlock(&ps->lock);
	}
	return 0;
}

int ranges_list(struct pools *ps, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ref_of(ps, NULL);

	return kube_list(ps->k, a, &ref, NULL, listed, ps, NULL, e);
}

/* A new, empty pool. */
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
	return 0;
}

/* The pool as it is, or, if nothing speaks against it, as it was a moment ago. -ENOENT: there is none. */
static int look(struct pool *p, bool fresh, struct err *e)
{
	struct snapshot *s;
	int r;

	if (!fresh && is_young(p->snapshot, YOUNG_NS))
		return 0;
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

static bool is_loose(const struct batch *b)
{
	return b->conflicts >= LOOSE_AFTER;
}

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

/*
 * Writers that meet keep out of each other's way by chance: a server that gets many patches of one object at once does each of them again
 * after each that succeeds. The more often they meet, the longer the pause; who waits meanwhile comes along.
 */
static void cool_down(const struct pool *p)
{
	unsigned random = 0;

	if (p->heat == 0)
		return;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (unsigned)clock_ns();
	clock_sleep_ms(random % (PAUSE_MS << p->heat));
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

/*
 * Must pools be listed before anything is given from this one? Yes unless that was done while it existed: whoever makes a neighbour later sees it. And once
 * when it bears the mark: somebody knows of a neighbour that came later.
 */
static bool must_list(struct pool *p)
{
	struct pools *ps = p->pools;
	bool seen = false;

	pthread_mutex_lock(&ps->lock);
	for (size_t i = 0; i < ps->n_ranges && !seen; i++)
		seen = !strcmp(ps->ranges[i].name, p->name) && !strcmp(ps->ranges[i].uid, p->snapshot->pool.uid);
	pthread_mutex_unlock(&ps->lock);
	return !seen || (p->snapshot->pool.marked && !p->listed);
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
	/* without the version's test an old view does */
	r = is_loose(b) && p->snapshot && !b->fresh ? 0 : look(p, b->fresh, e);
	if (r == 0 && distrust) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = false;
		pthread_mutex_unlock(&ps->lock);
	}
	if (r == -ENOENT && b->adds)
		r = create(p, e);
	if (r == 0 && b->adds && b->overlapping && must_list(p)) {
		r = ranges_list(ps, e);
		p->listed = p->snapshot->pool.marked;
	}
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
				  .node = p->pools->node, .windowed = clock_ns() < p->contended_until_ns,
				  .loose = is_loose(b) };

	for (struct snapshot *s = p->neighbours; s; s = s->next)
		*(const struct ipam_pool **)arena_push(a, &neighbours, &view.n_neighbours, sizeof(*neighbours)) = &s->pool;
	view.neighbours = neighbours;
	return ipam_plan(a, &view, b->jobs, b->n);
}

/* Another writer was faster. */
static int lost_race(struct pool *p, struct batch *b, int r, struct err *e)
{
	struct pools *ps = p->pools;

	count(ps, &ps->stats.conflicts);
	p->contended_until_ns = clock_ns() + CONTENDED_NS;
	p->heat += p->heat < HEAT_MOST;
	b->conflicts++;
	b->fresh = true;
	cool_down(p);
	if (clock_ns() < b->deadline_ns)
		return -EAGAIN;
	return err_wrap(e, r, "IPPool %s, after %u tries", p->name, b->conflicts);
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
	if (r == -ESTALE || r == -ENOENT)
		return lost_race(p, b, r, e);
	p->heat -= p->heat && !b->conflicts;
	if (r < 0) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = true;
		pthread_mutex_unlock(&ps->lock);
		/* made or not: what the pool says then decides */
		return r == -EHOSTUNREACH && clock_ns() < b->deadline_ns ? -EAGAIN : r;
	}
	if (b->adds) {
		bool reserve = needs_reservations(p);

		for (size_t i = 0; i < b->n; i++)
			b->items[i]->reserve = reserve;
	}
	return any_refused(b) && b->dels && keep_refused(b) ? -EAGAIN : 0;
}

/* No two ADDs of one pod go together: what one finds depends on the other. */
static bool goes_with(const struct batch *b, const struct item *it)
{
	for (size_t i = 0; i < b->n && it->job->kind == IPAM_ADD; i++)
		if (b->items[i]->job->kind == IPAM_ADD && !strcmp(b->items[i]->job->podref, it->job->podref))
			return false;
	return true;
}

/* Under the lock: take from the queue, in order, what goes together, @most of it. */
static void collect(struct pool *p, struct batch *b, size_t most)
{
	for (struct item **at = &p->queue; *at && most;) {
		struct item *it = *at;

		if (!goes_with(b, it)) {
			at = &it->next;
			continue;
		}
		*at = it->next;
		it->next = NULL;
		b->items[b->n++] = it;
		most--;
	}
}

static void mark_done(struct pool *p, struct item *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		items[i]->done = true;
	pthread_cond_broadcast(&p->changed);
}

/* Under the lock: serve what waits. */
static void serve(struct pool *p)
{
	struct pools *ps = p->pools;
	unsigned timeout_ms = ps->options.timeout_ms ? ps->options.timeout_ms : 30000;
	struct batch b = { .deadline_ns = clock_ns() + timeout_ms * 1000000ull };
	struct item *all[BATCH_MAX];
	struct err e = { 0 };
	size_t n = 0;
	int r;

	p->writing = true;
	pthread_mutex_unlock(&ps->lock);
	cool_down(p);
	do {
		size_t before = b.n;

		pthread_mutex_lock(&ps->lock);
		if (n < BATCH_MAX)
			collect(p, &b, BATCH_MAX - n);
		ps->stats.batches += n == 0;
		pthread_mutex_unlock(&ps->lock);
		memcpy(all + n, b.items + before, (b.n - before) * sizeof(*all));
		n += b.n - before;
		survey(&b);
		r = round_of(p, &b, &e);
	} while (r == -EAGAIN);
	if (r < 0)
		fail_all(&b, r, &e);
	pthread_mutex_lock(&ps->lock);
	p->writing = false;
	mark_done(p, all, n);
}

void pool_serve(struct pool *p, struct item *it)
{
	struct pools *ps = p->pools;
	struct item **last = &p->queue;

	pthread_mutex_lock(&ps->lock);
	ps->stats.jobs++;
	while (*last)
		last = &(*last)->next;
	*last = it;
	while (!it->done) {
		if (p->writing)
			pthread_cond_wait(&p->changed, &ps->lock);
		else
			serve(p);
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
