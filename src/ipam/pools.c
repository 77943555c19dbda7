/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "ipam/given.h"
#include "ipam/writer.h"
#include "store/ip.h"

#define READY_ADD_MS 10000
#define READY_DEL_MS 2000
#define AWAY_S 3 /* a watch that is lost for so long, since nobody answers: the server is away */
#define RESERVE_TRIES 64 /* addresses that others turn out to have */

/* ---- what informers tell ---- */

/* Whereabouts' Lease: a Go writer is or was here, until somebody deletes it. */
static void lease_event(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct pools *ps = arg;
	bool first;

	pthread_mutex_lock(&ps->lock);
	first = !ps->go_writers && what != INFORMER_DELETED;
	ps->go_writers = what != INFORMER_DELETED;
	pthread_mutex_unlock(&ps->lock);
	if (first)
		log_info("whereabouts gives out addresses in namespace %s too: each address gets a reservation", ps->namespace);
}

static const char *keep_nothing(void *arg, struct arena *a, yyjson_val *obj)
{
	return "{}";
}

/* Is the server known to be away? Then nobody waits until a request has found that out again. */
static bool is_away(struct pools *ps, struct err *e)
{
	struct err why = { 0 };

	if (informer_stale_s(ps->reservations, &why) < AWAY_S || !kube_is_away(why.code))
		return false;
	err_set(e, -EHOSTUNREACH, "%s", why.msg);
	return true;
}

/* ---- DEL ---- */

/* Reservations first, then entries: an entry never goes before its reservation. */
static int release_from(struct pool *p, struct arena *a, const char *container, const char *const *ifnames, size_t n, struct err *e)
{
	struct ipam_job job = { .kind = IPAM_DEL, .a = a, .container = container, .ifnames = ifnames, .n_ifnames = n };
	struct item first = { .job = &job }, second = { .job = &job };
	int r = 0;

	ipam_pool_serve(p, &first);
	if (job.result == -EINPROGRESS) {
		for (size_t i = 0; i < job.n_held && r == 0; i++)
			r = ipam_reservation_take(p, &job.held[i], e);
		if (r < 0)
			return err_wrap(e, r, "IPPool %s", p->name);
		job.unreserved = true;
		ipam_pool_serve(p, &second);
	}
	if (job.result < 0) {
		if (e)
			*e = job.err;
		return err_wrap(e, job.result, "giving back addresses of container %s to IPPool %s", container, p->name);
	}
	if (!job.keeps) {
		pthread_mutex_lock(&p->pools->lock);
		ipam_held_drop(p->pools, container, p);
		pthread_mutex_unlock(&p->pools->lock);
	}
	return 0;
}

static struct pool **pools_of(struct pools *ps, struct arena *a, const char *container, size_t *ret_n)
{
	struct pool **v;

	pthread_mutex_lock(&ps->lock);
	v = ipam_held_of(ps, a, container, ret_n);
	pthread_mutex_unlock(&ps->lock);
	return v;
}

/* ---- Whereabouts' Lease, for those who want it ---- */

static int lock_lease(struct pools *ps, struct election **ret, struct err *e)
{
	struct election_options o = { .namespace = ps->namespace, .name = "whereabouts", .identity = ps->node, .duration_ms = 1500,
				      .renew_ms = 1000, .retry_ms = 500, .release = true };
	int r;

	*ret = NULL;
	if (!ps->options.lease)
		return 0;
	pthread_mutex_lock(&ps->lease_lock);
	r = election_acquire(ps->k, &o, ps->options.timeout_ms ? ps->options.timeout_ms : 60000, ret, e);
	if (r < 0)
		pthread_mutex_unlock(&ps->lease_lock);
	return r;
}

static void unlock_lease(struct pools *ps, struct election *el)
{
	if (!ps->options.lease)
		return;
	election_stop(el);
	pthread_mutex_unlock(&ps->lease_lock);
}

static int pools_release(struct ipam *ip, const char *container, const char *const *ifnames, size_t n, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = (struct pools *)ip;
	struct pool **held;
	struct election *el;
	struct err why;
	size_t n_held;
	bool strange;
	int r, first = 0;

	if (!*container)
		return 0;
	if (is_away(ps, e) || !ipam_pools_ready(ip, READY_DEL_MS, e))
		return -EHOSTUNREACH;
	held = pools_of(ps, a, container, &n_held);
	if (n_held == 0) {
		pthread_mutex_lock(&ps->lock);
		strange = ps->go_writers;
		pthread_mutex_unlock(&ps->lock);
		/* a pod of Whereabouts, from before this node was switched */
		r = strange ? ipam_held_search(ps, container, e) : 0;
		if (r < 0)
			return r;
		held = pools_of(ps, a, container, &n_held);
	}
	if (n_held == 0)
		return 0;
	r = lock_lease(ps, &el, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_held; i++) {
		r = release_from(held[i], a, container, ifnames, n, first ? &why : e);
		if (r < 0 && !first)
			first = r;
	}
	unlock_lease(ps, el);
	return first;
}

/* ---- ADD ---- */

/* One range of one ask. */
struct part {
	size_t ask;
	const struct ipam_range *range;
	struct pool *pool;
	const struct store_ip *requested;
	struct store_ip ip;
	bool is_new;
};

struct add {
	struct pools *ps;
	struct arena *a;
	const char *container, *podref;
	const struct ipam_ask *asks;
	struct part *parts;
	size_t n_parts;
	struct err *e;
};

/* The node's slice of a range, as the node slice controller of Whereabouts wrote it down. */
static int slice_of(struct add *add, const struct ipam_conf *conf, const struct ipam_range *range, const struct ipam_range **ret)
{
	struct pools *ps = add->ps;
	const char *name = conf->network_name ? conf->network_name : conf->name;
	struct kube_ref ref = { IPAM_GROUP, IPAM_VERSION, IPAM_SLICE_POOLS, ps->namespace, name, NULL };
	struct ipam_range *slice = arena_memdup(add->a, range, sizeof(*range));
	yyjson_val *obj, *v;
	struct ipam_net net;
	size_t i, max;
	int r;

	if (!name)
		return err_set(add->e, -EINVAL, "ipam.node_slice_size needs ipam.network_name or the configuration's name: it names the NodeSlicePool");
	if (conf->n_ranges != 1)
		return err_set(add->e, -ENOTSUP, "ipam.node_slice_size works with one range, this network has %zu", conf->n_ranges);
	r = kube_get(ps->k, add->a, &ref, &obj, add->e);
	if (r < 0)
		return err_wrap(add->e, r, "NodeSlicePool %s, for ipam.node_slice_size", name);
	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(obj, "status"), "allocations"), i, max, v) {
		const char *node = doc_str(v, "nodeName"), *cidr = doc_str(v, "sliceRange");

		if (!node || !cidr || strcmp(node, ps->node))
			continue;
		if (ipam_net_parse(cidr, &net) < 0 || net.bits >= 127)
			return err_set(add->e, -EINVAL, "NodeSlicePool %s gives node %s %s, which holds no address", name, node, cidr);
		net.ip = slice->first = ipam_net_first(&net);
		slice->last = ipam_net_last(&net);
		store_ip_next(&slice->first);
		store_ip_prev(&slice->last);
		slice->cidr = ipam_net_text(add->a, &net);
		slice->pool = ipam_pool_name(add->a, conf->network_name ? arena_printf(add->a, "%s-%s", conf->network_name, node) : node, slice->cidr);
		*ret = slice;
		return 0;
	}
	return err_set(add->e, -ENOSPC, "NodeSlicePool %s has no slice for node %s: is the node slice controller running?", name, ps->node);
}

static int split(struct add *add, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct ipam_conf *conf = add->asks[i].conf;

		for (size_t k = 0; conf && k < conf->n_ranges; k++) {
			struct part *part = arena_push(add->a, &add->parts, &add->n_parts, sizeof(*part));
			struct store_ip *requested = arena_alloc(add->a, sizeof(*requested));
			int r;

			part->ask = i;
			part->range = &conf->ranges[k];
			r = ipam_match_request(add->a, &add->asks[i], part->range, requested, add->e);
			if (r > 0)
				part->requested = requested;
			if (r >= 0 && conf->node_slice)
				r = slice_of(add, conf, part->range, &part->range);
			if (r < 0)
				return r;
			part->pool = ipam_pool_of(add->ps, part->range->pool, part->range->cidr);
		}
	}
	return 0;
}

/* Addresses whose reservation another pod or interface has are noted in the want. */
static int reserve_all(struct add *add, struct ipam_job *job, bool reserve_pool, bool *ret_again)
{
	*ret_again = false;
	for (size_t i = 0; i < job->n_wants; i++) {
		struct ipam_want *w = &job->wants[i];
		int r;

		if (!w->conf->overlapping || (!reserve_pool && !w->conf->node_slice))
			continue;
		r = ipam_reservation_make(add->ps, add->podref, w, add->e);
		if (r < 0 && r != -EBUSY)
			return r;
		if (r == -EBUSY) {
			*(struct store_ip *)arena_push(add->a, &w->avoid, &w->n_avoid, sizeof(w->ip)) = w->ip;
			*ret_again = true;
		}
	}
	return 0;
}

/* All addresses out of one pool. */
static int from_pool(struct add *add, struct pool *p)
{
	struct ipam_job job = { .kind = IPAM_ADD, .a = add->a, .container = add->container, .podref = add->podref };
	bool again = true;
	int r = 0;

	for (size_t i = 0; i < add->n_parts; i++) {
		struct part *part = &add->parts[i];
		struct ipam_want *w;

		if (part->pool != p)
			continue;
		w = arena_push(add->a, &job.wants, &job.n_wants, sizeof(*w));
		*w = (struct ipam_want){ .conf = add->asks[part->ask].conf, .range = part->range, .ifname = add->asks[part->ask].ifname,
					 .requested = part->requested };
	}
	pthread_mutex_lock(&add->ps->lock);
	ipam_held_put(add->ps, add->container, p);
	pthread_mutex_unlock(&add->ps->lock);
	for (int tries = 0; again && r == 0; tries++) {
		struct item it = { .job = &job };

		ipam_pool_serve(p, &it);
		r = job.result;
		if (r < 0)
			*add->e = job.err;
		for (size_t i = 0, k = 0; r == 0 && i < add->n_parts; i++) {
			struct part *part = &add->parts[i];

			if (part->pool != p)
				continue;
			part->ip = job.wants[k].ip;
			part->is_new |= job.wants[k++].how == IPAM_NEW;
		}
		if (r == 0)
			r = reserve_all(add, &job, it.reserve, &again);
		if (r == 0 && again && tries == RESERVE_TRIES)
			r = err_set(add->e, -EBUSY, "IPPool %s: %d addresses in a row were reserved by others", p->name, tries);
	}
	return r;
}

/* What this ADD has taken goes back; what the pod had before stays. */
static void give_up(struct add *add)
{
	struct err e;

	for (size_t i = 0; i < add->n_parts; i++)
		if (add->parts[i].is_new &&
		    release_from(add->parts[i].pool, add->a, add->container, &add->asks[add->parts[i].ask].ifname, 1, &e) < 0)
			log_warn("%s", e.msg);
}

static int pools_allocate(struct ipam *ip, struct arena *a, const char *container, const char *podref, const struct ipam_ask *asks, size_t n,
			  struct ipam_given **ret, struct err *e)
{
	struct pools *ps = (struct pools *)ip;
	struct ipam_given *given = arena_alloc(a, n * sizeof(*given));
	struct err own;
	struct add add = { ps, a, container, podref, asks, .e = e ? e : &own };
	struct election *el = NULL;
	int r = 0;

	if (ipam_needs_pod(asks, n)) {
		if (is_away(ps, add.e) || !ipam_pools_ready(ip, READY_ADD_MS, add.e))
			return -EHOSTUNREACH;
		r = split(&add, n);
		if (r == 0)
			r = lock_lease(ps, &el, add.e);
		if (r < 0)
			return r;
		for (size_t i = 0; i < add.n_parts && r == 0; i++) {
			bool done = false;

			for (size_t k = 0; k < i; k++)
				done |= add.parts[k].pool == add.parts[i].pool;
			if (!done)
				r = from_pool(&add, add.parts[i].pool);
		}
		if (r < 0)
			give_up(&add);
		unlock_lease(ps, el);
	}
	for (size_t i = 0; i < add.n_parts && r == 0; i++)
		ipam_give_ip(a, &given[add.parts[i].ask], asks[add.parts[i].ask].conf, add.parts[i].range, &add.parts[i].ip);
	for (size_t i = 0; i < n && r == 0; i++)
		r = ipam_give_static(a, &asks[i], &given[i], add.e);
	if (r == 0)
		*ret = given;
	return r;
}

/* ---- life ---- */

static void pools_close(struct ipam *ip)
{
	struct pools *ps = (struct pools *)ip;

	informer_stop(ps->reservations);
	informer_stop(ps->lease);
	while (ps->all) {
		struct pool *p = ps->all;

		ps->all = p->next;
		ipam_pool_free(p);
	}
	while (ps->n_ranges)
		ipam_ranges_drop(ps, ps->ranges[0].name);
	free(ps->ranges);
	ipam_held_clear(ps);
	free(ps->node);
	free(ps->namespace);
	pthread_mutex_destroy(&ps->lock);
	pthread_mutex_destroy(&ps->lease_lock);
	pthread_mutex_destroy(&ps->start_lock);
	free(ps);
}

static const struct ipam_ops pools_ops = { pools_allocate, pools_release, pools_close };

int ipam_pools_start(struct kube *k, const struct ipam_pools_options *o, struct ipam **ret, struct err *e)
{
	const char *ns = o->namespace ? o->namespace : kube_namespace(k);
	struct pools *ps = calloc(1, sizeof(*ps));
	struct informer_spec reservations, lease;
	int r;

	if (!ps)
		abort();
	ps->ipam.ops = &pools_ops;
	ps->k = k;
	ps->options = *o;
	/* Whereabouts takes the context's namespace, else kube-system; "default" is what our client says when there is none */
	ps->namespace = strdup(o->namespace || strcmp(ns, "default") ? ns : "kube-system");
	ps->node = strdup(o->node);
	if (!ps->namespace || !ps->node)
		abort();
	pthread_mutex_init(&ps->lock, NULL);
	pthread_mutex_init(&ps->lease_lock, NULL);
	pthread_mutex_init(&ps->start_lock, NULL);
	reservations = (struct informer_spec){ .ref = ipam_reservation_ref(ps, NULL), .keep = ipam_reservation_keep, .arg = ps };
	lease = (struct informer_spec){ .ref = { "coordination.k8s.io", "v1", "leases", ps->namespace, NULL, NULL },
					.select = { .fields = "metadata.name=whereabouts" }, .keep = keep_nothing, .event = lease_event,
					.arg = ps };
	if ((r = informer_start(k, &reservations, &ps->reservations, e)) < 0 || (r = informer_start(k, &lease, &ps->lease, e)) < 0) {
		ipam_close(&ps->ipam);
		return r;
	}
	*ret = &ps->ipam;
	return 0;
}

bool ipam_pools_ready(struct ipam *ip, unsigned timeout_ms, struct err *e)
{
	struct pools *ps = (struct pools *)ip;
	bool ready;

	pthread_mutex_lock(&ps->lock);
	ready = ps->ready;
	pthread_mutex_unlock(&ps->lock);
	if (ready)
		return true;
	pthread_mutex_lock(&ps->start_lock);
	if (!informer_wait(ps->reservations, timeout_ms, e) || !informer_wait(ps->lease, timeout_ms, e) ||
	    (!ps->ready && ipam_ranges_list(ps, e) < 0)) {
		pthread_mutex_unlock(&ps->start_lock);
		err_wrap(e, -EHOSTUNREACH, "IP pools of namespace %s are not known yet", ps->namespace);
		return false;
	}
	pthread_mutex_lock(&ps->lock);
	ps->ready = true;
	pthread_mutex_unlock(&ps->lock);
	pthread_mutex_unlock(&ps->start_lock);
	return true;
}

struct ipam_pools_stats ipam_pools_stats(struct ipam *ip)
{
	struct pools *ps = (struct pools *)ip;
	struct ipam_pools_stats stats;

	pthread_mutex_lock(&ps->lock);
	stats = ps->stats;
	pthread_mutex_unlock(&ps->lock);
	return stats;
}
