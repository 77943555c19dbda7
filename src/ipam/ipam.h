/* SPDX-License-Identifier: Apache-2.0 */
/* Whereabouts' semantics (and static addresses) over the store. */
#ifndef KVRAIL_IPAM_IPAM_H
#define KVRAIL_IPAM_IPAM_H

#include "api/meta.h"
#include "store/store.h"

struct ipam_route {
	const char *dst, *gw; /* CIDR; gw NULL: on link or the interface's gateway */
	int64_t mtu, advmss, priority, table, scope; /* -1: absent (CNI 1.1) */
};

struct ipam_range {
	struct store_ip first, last; /* inclusive, what may be given out before excludes */
	unsigned prefix_len;	     /* of the family: 0..32 or 0..128 */
	bool v4;
	const char *cidr; /* canonical network, "10.0.132.0/24" */
	const char *pool; /* pool name, byte-identical to Whereabouts' */
	struct store_ip (*excludes)[2]; /* first and last of each */
	size_t n_excludes;
};

struct ipam_static {
	const char *address, *gateway; /* CIDR text; gateway may be NULL */
};

struct ipam_conf {
	const char *type; /* "whereabouts", "static", or NULL when the network has none */
	struct ipam_range *ranges;
	size_t n_ranges;
	struct ipam_static *addresses;
	size_t n_addresses;
	struct ipam_route *routes;
	size_t n_routes;
	const char *gateway, *network_name;
	const char *name; /* of the CNI configuration around it: the caller's to set. Names the NodeSlicePool if network_name does not */
	const char *node_slice; /* node_slice_size: in a cluster each node gives out of its slice; NULL: none */
	bool overlapping; /* enable_overlapping_ranges, default true */
	yyjson_val *dns;
};

/* The "ipam" object of a CNI configuration. Errors name the key, the value and the way out ("range_end 10.0.133.9 is outside 10.0.132.0/24"). */
int ipam_conf_parse(struct arena *a, yyjson_val *ipam, struct ipam_conf *ret, struct err *e);

/*
 * @conf with each range narrowed to the @part-th (from 1) of @of equal parts (@of below 2: whole): hosts that have a store each, and no cluster,
 * share a range without speaking to each other. The pool's name stays. -ENOSPC: fewer addresses than parts.
 */
int ipam_share(struct arena *a, const struct ipam_conf *conf, unsigned part, unsigned of,
	       struct ipam_conf *ret, struct err *e);

struct ipam_ask {
	const struct ipam_conf *conf;
	const char *ifname;
	const char *requested; /* addresses that the pod asks for (ips), with commas between; NULL: none. One of a range is leased, others are static */
};

struct ipam_ip {
	const char *address; /* "10.0.132.5/24" */
	const char *gateway; /* or NULL */
	bool v4;
};

struct ipam_given {
	struct ipam_ip *ips;
	size_t n_ips;
};

/* Where addresses are kept: a store of this node, or the cluster's IP pools (ipam/pools.h). Thread safe. */
struct ipam;

/* Leases of @s, which must outlive it. */
struct ipam *ipam_local(struct store *s);
struct ipam *ipam_close(struct ipam *ip); /* NULL is fine; returns NULL */

/*
 * All addresses of one pod: all asks succeed or none (a store: one transaction; a cluster: one patch a pool). The same pod (podref) and
 * interface gets the address it had, with the container refreshed. @ret is an array of @n. -ENOSPC names the range and who holds it;
 * -EHOSTUNREACH: the API server is away.
 */
int ipam_allocate(struct ipam *ip, struct arena *a, const char *container, const char *podref,
		  const struct ipam_ask *asks, size_t n, struct ipam_given **ret, struct err *e);

/*
 * Give back what the container holds for these interfaces, in all ranges; @n 0: for all. Nothing held is success. -EHOSTUNREACH: the API
 * server is away; call again later.
 */
int ipam_release(struct ipam *ip, const char *container, const char *const *ifnames, size_t n, struct err *e);

#endif
