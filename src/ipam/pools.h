/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses out of the cluster's IP pools: Whereabouts' CRDs on an API server, without its cluster-wide lease. Pool names, offsets, entries and
 * reservations are those that Whereabouts writes, so that Go and C nodes give out of one pool.
 *
 * What makes it safe is that each write tests what it was decided on:
 *   - one JSON patch a pool carries all that it changes. It tests the resourceVersion that was read; for ten seconds after it has lost to
 *     another writer, the pool's UID and its mark (below) instead, since what others took elsewhere in the pool is no matter; and in both
 *     cases that each offset it takes is empty, and that each entry it takes away or refreshes is still this container's. The API server
 *     applies it as one. A Go writer's patch tests the resourceVersion, which ours have changed: nobody is given what another has.
 *   - pools that overlap: an address must be given once over all pools whose ranges overlap under one network_name (the domain), unless
 *     enable_overlapping_ranges is false. Whereabouts makes an OverlappingRangeIPReservation for each address. Here it is made where it decides
 *     something: (1) the pool has a neighbour, a pool of the same domain with an overlapping range; it bears the mark, the annotation
 *     kvrail.io/overlaps, from then on; (2) a Go Whereabouts has written in this namespace, as its Lease "whereabouts" shows, which it takes
 *     before all else (delete the Lease when the last Go node is gone); (3) the option reserve says always: wanted where Go nodes may come
 *     later, since a Go writer in a pool that does not exist yet cannot see what was given without a reservation before. The controller
 *     makes those that are missing for older entries (ipam/reconcile.h).
 *   - the writer that finds a neighbour marks both pools. That changes their resourceVersion and fails the patch of anyone who does not know
 *     yet. Then it reads the neighbour again: what is in it is avoided; whatever comes later has a reservation, and creating one is what
 *     decides between two. Neighbours are found when pools are listed: at the start; by each writer that gives from a pool which was not
 *     in its last list, before it does, so that of two new neighbours at least one writer sees the other; and when a pool is seen to bear the mark.
 *   - order: ADD writes the pool's entry, then the reservation; DEL takes the reservation away, then the entry. Killed in between, an entry
 *     stands without a reservation: still held, found by the next ADD or DEL of the container, by the reconciliation else. A reservation never
 *     stands alone. One that another pod, or another interface of this one, holds makes ADD exchange its entry for another address before it returns.
 *
 * What it costs: an ADD of any number of networks in one pool is one read of the pool, unless it was written a moment ago, and one patch; a DEL
 * the same. Reservations are read from an informer. Pools are not: each of a thousand nodes would be sent the whole pool with each address
 * that any of them takes. ADDs and DELs that wait while a patch of their pool is under way go into the next one together. Writers that meet
 * spread at random over the time of a few patches. The address is the lowest that is free, as in Whereabouts; while a pool is seen
 * contended, the lowest free in the node's own window of it first, so that nodes do not reach for the same one.
 *
 * Offsets are 128 bits wide. Go reads 63: it loses entries beyond that, so mixed pools must not start there.
 */
#ifndef KVRAIL_IPAM_POOLS_H
#define KVRAIL_IPAM_POOLS_H

#include "ipam/ipam.h"
#include "store/kube.h"

enum ipam_reserve {
	IPAM_RESERVE_NEEDED, /* where pools overlap, or a Go Whereabouts was here */
	IPAM_RESERVE_ALWAYS, /* for each address, as Whereabouts does */
};

struct ipam_pools_options {
	const char *node;      /* for windows and node slices; required */
	const char *namespace; /* of pools, reservations and the lease; NULL: that of the configuration's context, else kube-system */
	enum ipam_reserve reserve;
	bool lease;	     /* hold Whereabouts' Lease during each write: never needed, slow, for those who must */
	unsigned timeout_ms; /* for one ADD or DEL, other writers' conflicts included; 0: 60000 */
};

/* What happened since start, for metrics. */
struct ipam_pools_stats {
	uint64_t patches, conflicts; /* patches that were made; that were refused because the pool had changed */
	uint64_t jobs, batches;	     /* ADDs and DELs of a pool; how many times one or more of them were served together */
	uint64_t reservations, reads; /* reservations made; pools read */
};

/*
 * Starts informers; returns without waiting for the API server. Close with ipam_close(). Calls on it while the server is away return
 * -EHOSTUNREACH, and DEL changes nothing then: the caller's journal keeps it.
 */
int ipam_pools_start(struct kube *k, const struct ipam_pools_options *o, struct ipam **ret, struct err *e);

/* Are pools and reservations known? Waits up to @timeout_ms. */
bool ipam_pools_ready(struct ipam *ip, unsigned timeout_ms, struct err *e);

/* @ip must come from ipam_pools_start(). */
struct ipam_pools_stats ipam_pools_stats(struct ipam *ip);

#endif
