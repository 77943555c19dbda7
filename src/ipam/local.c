/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of a pod's interfaces out of a store on this node, all in one transaction. */
#include <string.h>

#include "base/strbuf.h"
#include "ipam/given.h"
#include "ipam/ops.h"
#include "store/ip.h"

#define HOLDERS_NAMED 5

struct local {
	struct ipam ipam;
	struct store *store;
};

struct run {
	struct store *s;
	struct arena *a;
	const char *container, *podref;
	struct err *e;
};

static const char *domain_of(const struct ipam_conf *conf)
{
	return conf->network_name ? conf->network_name : "";
}

/* Who holds the addresses of an exhausted range: the first few by name, and how many. */
static int exhausted(const struct run *run, const struct ipam_conf *conf, const struct ipam_range *range)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_strbuf_ struct strbuf holders = STRBUF_INIT;
	struct store_lease *leases;
	size_t n, held = 0;
	int r = store_leases(run->s, a, conf->overlapping ? NULL : range->pool, &leases, &n, run->e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const struct store_lease *l = &leases[i];

		if (!ipam_range_has(range, &l->ip) || ipam_range_excludes(range, &l->ip))
			continue;
		if (strcmp(l->pool, range->pool) && !(l->overlap && !strcmp(l->domain, domain_of(conf))))
			continue;
		if (held++ < HOLDERS_NAMED)
			strbuf_addf(&holders, "%s%s %s (%s)", held > 1 ? ", " : "", l->podref,
				    l->ifname, ipam_ip_text(a, &l->ip));
	}
	if (held > HOLDERS_NAMED)
		strbuf_addf(&holders, " and %zu more", held - HOLDERS_NAMED);
	return ipam_exhausted(run->a, range, holders.s, held, run->e);
}

/* The lowest free address between the excludes, which are sorted by their first address. */
static int lowest_free(const struct run *run, const struct ipam_conf *conf,
		       const struct ipam_range *range, struct store_ip *ret)
{
	const char *domain = conf->overlapping ? domain_of(conf) : NULL;
	struct store_ip from = range->first;

	for (size_t i = 0; i <= range->n_excludes; i++) {
		struct store_ip to = range->last;
		bool some = true;
		int r = -ENOSPC;

		if (i < range->n_excludes && store_ip_cmp(&range->excludes[i][0], &to) <= 0) {
			to = range->excludes[i][0];
			some = store_ip_prev(&to);
		}
		if (some && store_ip_cmp(&from, &to) <= 0)
			r = store_lease_free_ip(run->s, range->pool, domain, from, to, ret);
		if (r != -ENOSPC)
			return r < 0 ? err_errno(run->e, r, "looking for a free address in %s",
						 range->cidr)
				     : 0;
		if (i < range->n_excludes && store_ip_cmp(&range->excludes[i][1], &from) >= 0) {
			from = range->excludes[i][1];
			if (!store_ip_next(&from))
				break;
		}
	}
	return exhausted(run, conf, range);
}

/* The address that the pod asked for: in the window, not excluded, and nobody else's. */
static int requested_free(const struct run *run, const struct ipam_conf *conf, const struct ipam_range *range,
			  const struct store_ip *ip)
{
	const char *text = ipam_ip_text(run->a, ip);
	struct store_lease holder;
	struct store_ip free_ip;
	int r;

	r = ipam_check_request(run->a, range, ip, run->e);
	if (r < 0)
		return r;
	r = store_lease_free_ip(run->s, range->pool, conf->overlapping ? domain_of(conf) : NULL,
				*ip, *ip, &free_ip);
	if (r != -ENOSPC)
		return r < 0 ? err_errno(run->e, r, "looking for address %s", text) : 0;
	r = store_lease_at(run->s, run->a, range->pool, *ip, &holder);
	return err_set(run->e, -EADDRINUSE, "address %s, which the pod asks for, is held by %s %s", text,
		       r < 0 ? "a pod of an overlapping range" : holder.podref, r < 0 ? "" : holder.ifname);
}

static int from_range(const struct run *run, const struct ipam_ask *ask, const struct ipam_range *range,
		      const struct store_ip *requested, struct ipam_given *given)
{
	const struct ipam_conf *conf = ask->conf;
	struct store_lease lease;
	int r = store_lease_find(run->s, run->a, range->pool, run->podref, ask->ifname, &lease);

	if (r < 0 && r != -ENOENT)
		return err_errno(run->e, r, "looking for the address of %s %s", run->podref, ask->ifname);
	if (r == -ENOENT) {
		if (requested)
			lease.ip = *requested;
		r = requested ? requested_free(run, conf, range, requested)
			      : lowest_free(run, conf, range, &lease.ip);
		if (r < 0)
			return r;
	}
	lease.pool = range->pool;
	lease.container = run->container;
	lease.ifname = ask->ifname;
	lease.podref = run->podref;
	lease.overlap = conf->overlapping;
	lease.domain = domain_of(conf);
	r = store_lease_put(run->s, &lease, run->e);
	if (r < 0)
		return err_wrap(run->e, r, "address %s", ipam_ip_text(run->a, &lease.ip));
	ipam_give_ip(run->a, given, conf, range, &lease.ip);
	return 0;
}

static int from_ranges(const struct run *run, const struct ipam_ask *ask, struct ipam_given *given)
{
	const struct ipam_conf *conf = ask->conf;
	const struct store_ip **requested = arena_alloc(run->a, conf->n_ranges * sizeof(*requested));
	struct store_ip *ips = arena_alloc(run->a, conf->n_ranges * sizeof(*ips));
	struct store_lease held;
	int r = 0;

	for (size_t i = 0; i < conf->n_ranges && r >= 0; i++) {
		r = ipam_match_request(run->a, ask, &conf->ranges[i], &ips[i], run->e);
		if (r <= 0)
			continue;
		requested[i] = &ips[i];
		/* another address of an earlier life of the pod goes back: it asks for this one now */
		if (store_lease_find(run->s, run->a, conf->ranges[i].pool, run->podref, ask->ifname, &held) == 0 &&
		    store_ip_cmp(&held.ip, &ips[i]))
			r = store_lease_release(run->s, held.container, ask->ifname, run->e);
	}
	for (size_t i = 0; i < conf->n_ranges && r >= 0; i++)
		r = from_range(run, ask, &conf->ranges[i], requested[i], given);
	return r < 0 ? r : 0;
}

static int one(const struct run *run, const struct ipam_ask *ask, struct ipam_given *given)
{
	int r = ask->conf && ask->conf->n_ranges ? from_ranges(run, ask, given) : 0;

	return r < 0 ? r : ipam_give_static(run->a, ask, given, run->e);
}

static int local_allocate(struct ipam *ip, struct arena *a, const char *container, const char *podref,
			  const struct ipam_ask *asks, size_t n, struct ipam_given **ret, struct err *e)
{
	struct store *s = ((struct local *)ip)->store;
	struct run run = { s, a, container, podref, e };
	struct ipam_given *given = arena_alloc(a, n * sizeof(*given));
	bool leasing = ipam_needs_pod(asks, n);
	int r = 0;

	if (leasing)
		r = store_lease_begin(s, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r == 0; i++)
		r = one(&run, &asks[i], &given[i]);
	if (leasing && r < 0)
		store_lease_rollback(s);
	else if (leasing)
		r = store_lease_commit(s, e);
	if (r < 0)
		return r;
	*ret = given;
	return 0;
}

static int local_release(struct ipam *ip, const char *container, const char *const *ifnames, size_t n, struct err *e)
{
	struct store *s = ((struct local *)ip)->store;
	int r = store_lease_begin(s, e), released = 0;

	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && (i < n || (n == 0 && i == 0)); i++) {
		r = store_lease_release(s, container, n ? ifnames[i] : NULL, e);
		released += r > 0;
	}
	if (r >= 0 && released)
		return store_lease_commit(s, e);
	store_lease_rollback(s);
	return r < 0 ? r : 0;
}

static void local_close(struct ipam *ip)
{
	free(ip);
}

static const struct ipam_ops local_ops = { local_allocate, local_release, local_close };

struct ipam *ipam_local(struct store *s)
{
	struct local *local = calloc(1, sizeof(*local));

	if (!local)
		abort();
	local->ipam.ops = &local_ops;
	local->store = s;
	return &local->ipam;
}
