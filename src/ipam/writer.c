/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of a pool: the first who comes serves all who wait meanwhile, with one patch, then hands on. Only it reads and
 * writes the pool's snapshot.
 */
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "ipam/writer.h"

#define BATCH_MAX 64
#define YOUNG_NS 200000000u	     /* a snapshot so old is tried without reading it again */
#define CONTENDED_NS 10000000000u /* after a conflict a pool counts as contended for so long */
#define PATCH_NS 4000000u      /* what a patch takes at least, */
#define ADDRESS_NS 1000000u    /* and more for each address in it */
#define SPREAD 16	       /* writers that meet spread over the time of so many patches, */
#define PAUSE_NS 5000000000u   /* but not more than this */

/* A new, empty pool. */
static int create(struct pool *p, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = p->pools;
	struct kube_ref ref = ipam_pool_ref(ps, NULL);
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
		r = ipam_snapshot_get(ps, p->name, &fresh, e);
	else if (r == 0)
		r = ipam_snapshot_new(obj, &fresh, e);
	if (r < 0)
		return err_wrap(e, r, "making IPPool %s", p->name);
	ipam_snapshot_replace(&p->snapshot, fresh);
	return 0;
}

/* The pool as it is, or, if nothing speaks against it, as it was a moment ago. -ENOENT: there is none. */
static int look(struct pool *p, bool fresh, struct err *e)
{
	struct snapshot *s;
	int r;

	if (!fresh && ipam_snapshot_is_young(p->snapshot, YOUNG_NS))
		return 0;
	r = ipam_snapshot_get(p->pools, p->name, &s, e);
	if (r == -ENOENT)
		p->snapshot = ipam_snapshot_free(p->snapshot);
	if (r < 0)
		return r;
	ipam_snapshot_replace(&p->snapshot, s);
	return 0;
}

/* The jobs of one patch, and how serving them goes. */
struct batch {
	struct item *items[BATCH_MAX];
	struct ipam_job *jobs[BATCH_MAX];
	size_t n;
	bool adds, dels, overlapping;
	size_t addresses;
	bool fresh; /* the snapshot was read from the server while serving */
	uint64_t deadline_ns;
	unsigned conflicts, unanswered;
};

static void survey(struct batch *b)
{
	b->adds = b->dels = b->overlapping = false;
	b->addresses = 0;
	for (size_t i = 0; i < b->n; i++) {
		b->jobs[i] = b->items[i]->job;
		b->adds |= b->jobs[i]->kind == IPAM_ADD;
		b->dels |= b->jobs[i]->kind == IPAM_DEL;
		b->addresses += b->jobs[i]->n_wants + b->jobs[i]->n_ifnames;
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

/* Are other nodes writing this pool? */
static bool is_contended(const struct pool *p)
{
	return clock_ns() < p->contended_until_ns;
}

/*
 * Writers that meet keep out of each other's way by chance: a server that gets several patches of one object at once applies each of them again
 * after each that goes before. How long a patch takes says how far apart. Who waits meanwhile comes along.
 */
static void spread(const struct pool *p, size_t addresses)
{
	uint64_t takes = PATCH_NS + addresses * ADDRESS_NS, most = SPREAD * (p->patch_ns > takes ? p->patch_ns : takes);
	uint32_t random = 0;

	if (!is_contended(p))
		return;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)clock_ns();
	if (most > PAUSE_NS)
		most = PAUSE_NS;
	clock_sleep_ms((unsigned)(random % (most / 1000000)));
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
	/* the version is not tested then: an old view does */
	r = is_contended(p) && p->snapshot && !b->fresh ? 0 : look(p, b->fresh, e);
	if (r == 0 && distrust) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = false;
		pthread_mutex_unlock(&ps->lock);
	}
	if (r == -ENOENT && b->adds)
		r = create(p, e);
	if (r == 0 && b->adds && b->overlapping && must_list(p)) {
		r = ipam_ranges_list(ps, e);
		p->listed = p->snapshot->pool.marked;
	}
	if (r == 0 && b->adds && b->overlapping)
		r = ipam_neighbours_prepare(p, a, e);
	return r;
}

/* What a patch takes when nobody else is in the way: less is believed at once, more by and by. */
static void learn(struct pool *p, uint64_t took_ns)
{
	uint64_t most = p->patch_ns + p->patch_ns / 4;

	p->patch_ns = p->patch_ns && took_ns > most ? most : took_ns;
}

static int send_patch(struct pool *p, const char *patch, struct arena *a, struct err *e)
{
	struct pools *ps = p->pools;
	struct kube_ref ref = ipam_pool_ref(ps, p->name);
	struct snapshot *fresh;
	uint64_t begin = clock_ns();
	yyjson_val *obj;
	int r = kube_patch(ps->k, a, &ref, KUBE_PATCH_JSON, patch, &obj, e);

	learn(p, clock_ns() - begin);
	ipam_pools_count(ps, &ps->stats.patches);
	if (r == 0)
		r = ipam_snapshot_new(obj, &fresh, e);
	if (r == 0)
		ipam_snapshot_replace(&p->snapshot, fresh);
	return r;
}

static char *plan(struct pool *p, struct batch *b, struct arena *a)
{
	const struct ipam_pool **neighbours = NULL;
	struct ipam_view view = { .pool = &p->snapshot->pool, .reserved = ipam_reservation_is_foreign, .has_reservation = ipam_reservation_may_be, .arg = p,
				  .node = p->pools->node, .windowed = is_contended(p),
				  .loose = is_contended(p) };

	for (struct snapshot *s = p->neighbours; s; s = s->next)
		*(const struct ipam_pool **)arena_push(a, &neighbours, &view.n_neighbours, sizeof(*neighbours)) = &s->pool;
	view.neighbours = neighbours;
	return ipam_plan(a, &view, b->jobs, b->n);
}

/* Another writer was faster. */
static int lost_race(struct pool *p, struct batch *b, int r, struct err *e)
{
	struct pools *ps = p->pools;

	ipam_pools_count(ps, &ps->stats.conflicts);
	/* a version that was too old says nothing about what is wanted; an offset or an entry that is another's does */
	b->fresh = is_contended(p);
	b->conflicts++;
	p->contended_until_ns = clock_ns() + CONTENDED_NS;
	spread(p, b->addresses);
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
	if (r < 0) {
		pthread_mutex_lock(&ps->lock);
		p->distrust = true;
		pthread_mutex_unlock(&ps->lock);
		/* made or not: what the pool says then decides, unless the server is away */
		return r == -EHOSTUNREACH && !b->unanswered++ && clock_ns() < b->deadline_ns ? -EAGAIN : r;
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
	unsigned timeout_ms = ps->options.timeout_ms ? ps->options.timeout_ms : 60000;
	struct batch b = { .deadline_ns = clock_ns() + timeout_ms * 1000000ull };
	struct item *all[BATCH_MAX];
	struct err e = { 0 };
	size_t n = 0;
	int r;

	p->writing = true;
	pthread_mutex_unlock(&ps->lock);
	spread(p, 0);
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

void ipam_pool_serve(struct pool *p, struct item *it)
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

struct pool *ipam_pool_of(struct pools *ps, const char *name, const char *range)
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

struct pool *ipam_pool_free(struct pool *p)
{
	ipam_snapshot_free(p->snapshot);
	ipam_neighbours_drop(p);
	pthread_cond_destroy(&p->changed);
	free(p->name);
	free(p->range);
	free(p->domain);
	free(p);
	return NULL;
}
