/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strbuf.h"
#include "ipam/given.h"
#include "ipam/plan.h"
#include "store/ip.h"

#define HOLDERS_NAMED 5
#define WINDOW_MIN 64	       /* addresses */
#define WINDOWS_MAX 256
#define WINDOWED_MAX (1u << 20) /* of a larger range the first so many are cut into windows */

struct plan {
	struct arena *a;
	const struct ipam_view *view;
	struct store_ip *taken; /* sorted; those of the pool, and those given so far */
	size_t n_taken;
	yyjson_mut_doc *doc;
	yyjson_mut_val *tests, *ops; /* tests of the whole object first, then op after op */
	bool *touched; /* entries of the pool that an op is about already */
	bool adds, overlapping;
};

/* The first of the taken ones that is not below @ip. */
static size_t lower_bound(const struct plan *p, const struct store_ip *ip)
{
	size_t lo = 0, hi = p->n_taken;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (store_ip_cmp(&p->taken[mid], ip) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The array has room for all wants. */
static void take(struct plan *p, const struct store_ip *ip)
{
	size_t i = lower_bound(p, ip);

	memmove(p->taken + i + 1, p->taken + i, (p->n_taken - i) * sizeof(*p->taken));
	p->taken[i] = *ip;
	p->n_taken++;
}

static void put_back(struct plan *p, const struct store_ip *ip)
{
	size_t i = lower_bound(p, ip);

	p->n_taken--;
	memmove(p->taken + i, p->taken + i + 1, (p->n_taken - i) * sizeof(*p->taken));
}

static bool is_avoided(const struct ipam_want *w, const struct store_ip *ip)
{
	for (size_t i = 0; i < w->n_avoid; i++)
		if (store_ip_cmp(&w->avoid[i], ip) == 0)
			return true;
	return false;
}

/* Is @ip, which nobody has in this pool, somebody's all the same: by a neighbour, by a reservation, by what this ADD has found out? */
static bool is_elsewhere(const struct plan *p, const struct ipam_job *job, const struct ipam_want *w, const struct store_ip *ip)
{
	const struct ipam_view *v = p->view;

	if (is_avoided(w, ip))
		return true;
	if (!w->conf->overlapping)
		return false;
	for (size_t i = 0; i < v->n_neighbours; i++)
		if (ipam_pool_at(v->neighbours[i], ip))
			return true;
	return v->reserved && v->reserved(v->arg, w->conf->network_name, ip, job->podref, w->ifname);
}

/* The end of the exclude that @ip is in, or NULL. */
static const struct store_ip *exclude_end(const struct ipam_range *range, const struct store_ip *ip)
{
	for (size_t i = 0; i < range->n_excludes; i++)
		if (store_ip_cmp(&range->excludes[i][0], ip) <= 0 && store_ip_cmp(ip, &range->excludes[i][1]) <= 0)
			return &range->excludes[i][1];
	return NULL;
}

/* The lowest free address in [from, to]. */
static bool search(const struct plan *p, const struct ipam_job *job, const struct ipam_want *w, struct store_ip from,
		   const struct store_ip *to, struct store_ip *ret)
{
	struct store_ip ip = from;
	size_t i = lower_bound(p, &ip);

	while (store_ip_cmp(&ip, to) <= 0) {
		const struct store_ip *end;

		if (i < p->n_taken && store_ip_cmp(&p->taken[i], &ip) == 0) {
			i++;
		} else if ((end = exclude_end(w->range, &ip))) {
			ip = *end;
			while (i < p->n_taken && store_ip_cmp(&p->taken[i], &ip) <= 0)
				i++;
		} else if (!is_elsewhere(p, job, w, &ip)) {
			*ret = ip;
			return true;
		}
		if (!store_ip_next(&ip))
			break;
	}
	return false;
}

/* FNV-1a: the same on all nodes and versions. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h ^ h >> 32;
}

struct store_ip ipam_window(const struct ipam_range *range, const char *node)
{
	ipam_number first = ipam_ip_number(&range->first), more = ipam_ip_number(&range->last) - first;
	uint64_t count = more < WINDOWED_MAX ? (uint64_t)more + 1 : WINDOWED_MAX;
	uint64_t size = count / WINDOWS_MAX < WINDOW_MIN ? WINDOW_MIN : count / WINDOWS_MAX;
	uint64_t windows = count < size ? 1 : count / size;

	return ipam_number_ip(first + hash(node) % windows * size);
}

static int exhausted(const struct plan *p, const struct ipam_want *w, struct err *e)
{
	_cleanup_strbuf_ struct strbuf holders = STRBUF_INIT;
	size_t held = 0;

	for (size_t k = 0; k <= (w->conf->overlapping ? p->view->n_neighbours : 0); k++) {
		const struct ipam_pool *pool = k ? p->view->neighbours[k - 1] : p->view->pool;

		for (size_t i = 0; i < pool->n; i++) {
			const struct ipam_entry *entry = &pool->entries[i];

			if (!ipam_range_has(w->range, &entry->ip) || ipam_range_excludes(w->range, &entry->ip))
				continue;
			if (held++ < HOLDERS_NAMED)
				strbuf_addf(&holders, "%s%s %s (%s)", held > 1 ? ", " : "", entry->podref, entry->ifname,
					    ipam_ip_text(p->a, &entry->ip));
		}
	}
	if (held > HOLDERS_NAMED)
		strbuf_addf(&holders, " and %zu more", held - HOLDERS_NAMED);
	return ipam_exhausted(p->a, w->range, holders.s, held, e);
}

static int requested(const struct plan *p, const struct ipam_job *job, const struct ipam_want *w, struct err *e)
{
	const struct ipam_entry *holder = ipam_pool_at(p->view->pool, w->requested);
	size_t i = lower_bound(p, w->requested);
	int r = ipam_check_request(p->a, w->range, w->requested, e);

	if (r < 0)
		return r;
	if ((i == p->n_taken || store_ip_cmp(&p->taken[i], w->requested)) && !is_elsewhere(p, job, w, w->requested))
		return 0;
	return err_set(e, -EADDRINUSE, "address %s, which the pod asks for, is held by %s %s", ipam_ip_text(p->a, w->requested),
		       holder ? holder->podref : "a pod of an overlapping range", holder ? holder->ifname : "");
}

static int choose(const struct plan *p, const struct ipam_job *job, struct ipam_want *w, struct err *e)
{
	struct store_ip start = p->view->windowed ? ipam_window(w->range, p->view->node) : w->range->first;

	if (w->requested) {
		w->ip = *w->requested;
		return requested(p, job, w, e);
	}
	if (search(p, job, w, start, &w->range->last, &w->ip))
		return 0;
	if (store_ip_cmp(&start, &w->range->first) > 0) {
		store_ip_prev(&start);
		if (search(p, job, w, w->range->first, &start, &w->ip))
			return 0;
	}
	return exhausted(p, w, e);
}

static yyjson_mut_val *op(struct plan *p, yyjson_mut_val *to, const char *what, const char *path, yyjson_mut_val *value)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(p->doc, to);

	yyjson_mut_obj_add_strcpy(p->doc, o, "op", what);
	yyjson_mut_obj_add_strcpy(p->doc, o, "path", path);
	if (value)
		yyjson_mut_obj_add_val(p->doc, o, "value", value);
	return o;
}

static const char *path_of(const struct plan *p, const char *offset, const char *member)
{
	return arena_printf(p->a, "/spec/allocations/%s%s", offset, member);
}

static yyjson_mut_val *str(const struct plan *p, const char *s)
{
	return yyjson_mut_strcpy(p->doc, s);
}

static bool touch(struct plan *p, const struct ipam_entry *entry)
{
	bool *touched = &p->touched[entry - p->view->pool->entries], was = *touched;

	*touched = true;
	return !was;
}

static void op_remove(struct plan *p, const struct ipam_entry *entry)
{
	if (!touch(p, entry))
		return;
	op(p, p->ops, "test", path_of(p, entry->offset, "/id"), str(p, entry->id));
	op(p, p->ops, "remove", path_of(p, entry->offset, ""), NULL);
}

static void op_refresh(struct plan *p, const struct ipam_entry *entry, const char *container)
{
	touch(p, entry);
	op(p, p->ops, "test", path_of(p, entry->offset, "/id"), str(p, entry->id));
	op(p, p->ops, "test", path_of(p, entry->offset, "/podref"), str(p, entry->podref));
	op(p, p->ops, "replace", path_of(p, entry->offset, "/id"), str(p, container));
}

static void op_add(struct plan *p, const struct ipam_job *job, const struct ipam_want *w)
{
	const char *path = path_of(p, ipam_offset(p->a, &p->view->pool->net, &w->ip), "");
	yyjson_mut_val *value = yyjson_mut_obj(p->doc);

	yyjson_mut_obj_add_strcpy(p->doc, value, "id", job->container);
	yyjson_mut_obj_add_strcpy(p->doc, value, "podref", job->podref);
	if (*w->ifname)
		yyjson_mut_obj_add_strcpy(p->doc, value, "ifname", w->ifname);
	op(p, p->ops, "test", path, yyjson_mut_null(p->doc));
	op(p, p->ops, "add", path, value);
	p->adds = true;
	p->overlapping |= w->conf->overlapping;
}

/* What an ADD does about one want: the entry that the pod has, and whether it stays. */
struct choice {
	const struct ipam_entry *had;
	bool drop;
};

/* The first of the pod's entries for this interface. */
static const struct ipam_entry *entry_of(const struct ipam_entry *const *of_pod, size_t n, const char *ifname)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(of_pod[i]->ifname, ifname))
			return of_pod[i];
	return NULL;
}

/* All wants or none. */
static int choose_all(struct plan *p, struct ipam_job *job, struct choice *choices)
{
	const struct ipam_pool *pool = p->view->pool;
	const struct ipam_entry **of_pod = arena_alloc(p->a, pool->n * sizeof(*of_pod));
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < pool->n; i++)
		if (!strcmp(pool->entries[i].podref, job->podref))
			of_pod[n++] = &pool->entries[i];
	for (size_t i = 0; i < job->n_wants; i++) {
		struct ipam_want *w = &job->wants[i];
		const struct ipam_entry *had = entry_of(of_pod, n, w->ifname);

		w->how = IPAM_UNSERVED;
		choices[i].had = had;
		choices[i].drop = had && (is_avoided(w, &had->ip) || (w->requested && store_ip_cmp(w->requested, &had->ip)));
		if (had && !choices[i].drop) {
			w->ip = had->ip;
			w->how = IPAM_KEPT;
			continue;
		}
		r = choose(p, job, w, &job->err);
		if (r < 0)
			break;
		take(p, &w->ip);
		w->how = IPAM_NEW;
	}
	for (size_t i = 0; r < 0 && i < job->n_wants; i++) {
		if (job->wants[i].how == IPAM_NEW)
			put_back(p, &job->wants[i].ip);
		job->wants[i].how = IPAM_UNSERVED;
	}
	return r;
}

static void plan_add(struct plan *p, struct ipam_job *job)
{
	struct choice *choices = arena_alloc(p->a, job->n_wants * sizeof(*choices));

	job->result = choose_all(p, job, choices);
	for (size_t i = 0; job->result == 0 && i < job->n_wants; i++) {
		const struct ipam_want *w = &job->wants[i];
		const struct ipam_entry *had = choices[i].had;

		if (w->how == IPAM_KEPT && strcmp(had->id, job->container))
			op_refresh(p, had, job->container);
		if (choices[i].drop)
			op_remove(p, had);
		if (w->how == IPAM_NEW)
			op_add(p, job, w);
	}
}

static bool is_meant(const struct ipam_job *job, const struct ipam_entry *entry)
{
	if (strcmp(entry->id, job->container))
		return false;
	for (size_t i = 0; i < job->n_ifnames; i++)
		if (!strcmp(entry->ifname, job->ifnames[i]))
			return true;
	return job->n_ifnames == 0;
}

static void plan_del(struct plan *p, struct ipam_job *job)
{
	const struct ipam_pool *pool = p->view->pool;

	job->held = NULL;
	job->n_held = 0;
	job->keeps = false;
	job->result = 0;
	for (size_t i = 0; i < pool->n; i++) {
		const struct ipam_entry *entry = &pool->entries[i];

		/* one that an ADD of this patch takes over is not the old container's any more */
		if (p->touched[i])
			continue;
		if (!is_meant(job, entry)) {
			job->keeps |= !strcmp(entry->id, job->container);
			continue;
		}
		*(struct ipam_entry *)arena_push(job->a, &job->held, &job->n_held, sizeof(*entry)) =
			(struct ipam_entry){ entry->ip, arena_strdup(job->a, entry->offset), arena_strdup(job->a, entry->id),
					     arena_strdup(job->a, entry->podref), arena_strdup(job->a, entry->ifname) };
		if (!job->unreserved && p->view->has_reservation && p->view->has_reservation(p->view->arg, entry))
			job->result = -EINPROGRESS;
	}
	for (size_t i = 0; i < pool->n && job->result == 0; i++)
		if (is_meant(job, &pool->entries[i]))
			op_remove(p, &pool->entries[i]);
}

/*
 * Nothing at all has changed since the pool was read; or, loose: it is the same object, and nobody has found a neighbour of it in the meantime,
 * which addresses without a reservation must not outlive.
 */
static void guard(struct plan *p)
{
	const struct ipam_pool *pool = p->view->pool;

	if (!p->view->loose) {
		op(p, p->tests, "test", "/metadata/resourceVersion", str(p, pool->version));
		return;
	}
	op(p, p->tests, "test", "/metadata/uid", str(p, pool->uid));
	if (p->adds && p->overlapping && !pool->marked)
		op(p, p->tests, "test", pool->annotated ? "/metadata/annotations/kvrail.io~1overlaps" : "/metadata/annotations",
		   yyjson_mut_null(p->doc));
}

/*
 * metadata.managedFields would name each field of each entry: it doubles the pool, and working it out is most of what a write of a large one
 * costs the API server. An object whose managedFields were emptied is not tracked any more until somebody applies it.
 * kubernetes.io/docs/reference/using-api/server-side-apply, "Clearing managedFields"; k8s.io/apimachinery managedfields/internal/skipnonapplied.go
 */
static void stop_tracking(struct plan *p)
{
	yyjson_mut_val *none = yyjson_mut_arr(p->doc);

	yyjson_mut_arr_add_obj(p->doc, none);
	op(p, p->tests, "replace", "/metadata/managedFields", none);
}

char *ipam_plan(struct arena *a, const struct ipam_view *view, struct ipam_job *const *jobs, size_t n)
{
	struct plan p = { .a = a, .view = view, .doc = doc_new(a) };
	const struct ipam_pool *pool = view->pool;
	size_t wants = 0;
	yyjson_mut_val *v;

	for (size_t i = 0; i < n; i++)
		wants += jobs[i]->n_wants;
	p.taken = arena_alloc(a, (pool->n + wants) * sizeof(*p.taken));
	for (; p.n_taken < pool->n; p.n_taken++)
		p.taken[p.n_taken] = pool->entries[p.n_taken].ip;
	p.touched = arena_alloc(a, pool->n * sizeof(*p.touched));
	p.tests = yyjson_mut_arr(p.doc);
	p.ops = yyjson_mut_arr(p.doc);
	for (size_t i = 0; i < n; i++)
		if (jobs[i]->kind == IPAM_ADD)
			plan_add(&p, jobs[i]);
	for (size_t i = 0; i < n; i++)
		if (jobs[i]->kind != IPAM_ADD)
			plan_del(&p, jobs[i]);
	if (yyjson_mut_arr_size(p.ops) == 0)
		return NULL;
	guard(&p);
	if (pool->managed)
		stop_tracking(&p);
	if (pool->bare) {
		op(&p, p.tests, "test", "/spec/allocations", yyjson_mut_null(p.doc));
		op(&p, p.tests, "add", "/spec/allocations", yyjson_mut_obj(p.doc));
	}
	while ((v = yyjson_mut_arr_remove_first(p.ops)))
		yyjson_mut_arr_append(p.tests, v);
	return doc_mut_to_json(a, p.tests, false);
}
