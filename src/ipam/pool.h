/* SPDX-License-Identifier: Apache-2.0 */
/* IPPool and OverlappingRangeIPReservation as values: decode, names, search, and the JSON patches that change them. Pure. */
#ifndef KVRAIL_IPAM_POOL_H
#define KVRAIL_IPAM_POOL_H

#include "ipam/addr.h"
#include "ipam/ipam.h"

#define IPAM_GROUP "whereabouts.cni.cncf.io"
#define IPAM_VERSION "v1alpha1"
#define IPAM_POOLS "ippools"
#define IPAM_RESERVATIONS "overlappingrangeipreservations"
#define IPAM_SLICE_POOLS "nodeslicepools"
/* The mark of a pool that has, or had, a neighbour. */
#define IPAM_OVERLAPS "kvrail.io/overlaps"

struct ipam_entry {
	struct store_ip ip;
	const char *offset; /* decimal, as the key is written */
	const char *id, *podref, *ifname; /* ifname "" when absent */
};

struct ipam_pool {
	const char *name, *uid, *version;
	const char *range;  /* as written */
	struct ipam_net net; /* of range; ip keeps its host bits: offsets count from there, as in Go */
	const char *domain; /* what stands before the range in the name: network_name, or node slice names; "" */
	bool marked;	    /* IPAM_OVERLAPS */
	bool annotated;	    /* has annotations at all */
	bool managed;	    /* the API server keeps account of who wrote which entry */
	bool bare;	    /* has no allocations at all: not even an empty map */
	struct ipam_entry *entries; /* by address */
	size_t n;
	size_t n_bad;	    /* entries whose key is no offset inside of the range: left alone */
};

struct ipam_reservation {
	const char *name, *uid, *podref, *ifname;
};

/* @obj is the whole object. -EINVAL: no name, or a range that is none; @e says which. All in @a. */
int ipam_pool_decode(struct arena *a, yyjson_val *obj, struct ipam_pool *ret, struct err *e);
int ipam_reservation_decode(struct arena *a, yyjson_val *obj, struct ipam_reservation *ret, struct err *e);

/* Is it this pod's, for this interface? One that names no interface is for any. */
bool ipam_reservation_is_of(const struct ipam_reservation *r, const char *podref, const char *ifname);

/* "10.0.132.0/24" under @network_name (NULL or "": none) -> "10.0.132.0-24", "net-10.0.132.0-24". */
const char *ipam_pool_name(struct arena *a, const char *network_name, const char *cidr);
/* What stands before "-RANGE" in a pool's name; the whole name when the range is not in it: somebody else's convention. */
const char *ipam_pool_domain(struct arena *a, const char *name, const char *range);
/* The name of an address' reservation: "10.0.132.5", "net-fd00--5", "fd00--0". */
const char *ipam_reservation_name(struct arena *a, const char *network_name, const struct store_ip *ip);
/* Decimal, of up to 39 digits. */
const char *ipam_offset(struct arena *a, const struct ipam_net *net, const struct store_ip *ip);

/* The entry of @ip, or NULL. */
const struct ipam_entry *ipam_pool_at(const struct ipam_pool *p, const struct store_ip *ip);
/* Is every address that Whereabouts gives out of a whole range taken? What a network leaves out of it (exclude, range_end) a pool does not tell. */
bool ipam_pool_is_full(const struct ipam_pool *p);
/* Do ranges overlap? */
bool ipam_nets_overlap(const struct ipam_net *a, const struct ipam_net *b);

#endif
