/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind pools.h: the pools that this process gives out of, and the one writer that each has at a time. */
#ifndef KVRAIL_IPAM_WRITER_H
#define KVRAIL_IPAM_WRITER_H

#include <pthread.h>

#include "ipam/ops.h"
#include "ipam/plan.h"
#include "ipam/pools.h"

/* A pool of the cluster as far as it matters to others: where it is. */
struct range_of {
	char *name, *uid, *domain;
	struct ipam_net net;
};

/* A pool as it was read, with the arena that it lives in. */
struct snapshot {
	struct arena *a;
	struct ipam_pool pool;
	uint64_t read_ns; /* when it was true */
	struct snapshot *next;
};

/* A job that waits for its pool's writer. */
struct item {
	struct ipam_job *job;
	bool reserve; /* out: addresses of this pool need reservations */
	bool done;
	struct item *next;
};

struct pool {
	struct pools *pools;
	char *name, *range, *domain;
	struct pool *next;
	/* under the lock of pools */
	pthread_cond_t changed;
	struct item *queue;
	bool writing;
	bool distrust; /* a write's outcome is unknown: read the pool from the server */
	bool reserves; /* this process has made reservations for it */
	/* the writer's own */
	struct snapshot *snapshot;
	struct snapshot *neighbours; /* marked ones */
	bool listed; /* pools were listed since it bears the mark */
	uint64_t contended_until_ns;
	uint64_t patch_ns; /* how long a patch takes */
};

struct pools {
	struct ipam ipam;
	struct kube *k;
	char *node, *namespace;
	struct ipam_pools_options options;
	struct informer *reservations, *lease;
	pthread_mutex_t lease_lock; /* one section of ours under the Lease at a time */
	pthread_mutex_t start_lock; /* pools are listed once */
	pthread_mutex_t lock;	    /* of all below, and of pools where said; nothing slow happens under it */
	struct pool *all;
	struct range_of *ranges;
	size_t n_ranges;
	void *held; /* held.c */
	bool go_writers, ready;
	struct ipam_pools_stats stats;
};

/* The pool of that name; made known if it is new here. @range is its CIDR. */
struct pool *ipam_pool_of(struct pools *ps, const char *name, const char *range);
struct pool *ipam_pool_free(struct pool *p);

/* Has @it served, in one patch with whatever else waits; job->result says how. */
void ipam_pool_serve(struct pool *p, struct item *it);

/* neighbours.c: an object of the API server, NULL: all pools; a counter of stats. */
struct kube_ref ipam_pool_ref(const struct pools *ps, const char *name);
void ipam_pools_count(struct pools *ps, uint64_t *what);

/* A pool in an arena of its own; @obj is not kept. */
int ipam_snapshot_new(yyjson_val *obj, struct snapshot **ret, struct err *e);
int ipam_snapshot_get(struct pools *ps, const char *name, struct snapshot **ret, struct err *e);
void ipam_snapshot_replace(struct snapshot **s, struct snapshot *by);
bool ipam_snapshot_is_young(const struct snapshot *s, uint64_t ns);
struct snapshot *ipam_snapshot_free(struct snapshot *s);

/* List all pools: the index of where they are, and, the first time, who holds something. */
int ipam_ranges_list(struct pools *ps, struct err *e);
void ipam_ranges_drop(struct pools *ps, const char *name); /* under the lock */
int ipam_held_search(struct pools *ps, const char *container, struct err *e); /* look for a container in all pools */

/* held.c: out of which pools a container may hold something. Under the lock. The array is in @a. */
void ipam_held_put(struct pools *ps, const char *container, struct pool *p);
struct pool **ipam_held_of(const struct pools *ps, struct arena *a, const char *container, size_t *ret_n);
void ipam_held_drop(struct pools *ps, const char *container, const struct pool *p);
void ipam_held_clear(struct pools *ps);

/*
 * Neighbours as of after they were marked: what they gave without a reservation is in them. The pool itself is marked first, so that who gives
 * out of it without knowing of the neighbour fails.
 */
int ipam_neighbours_prepare(struct pool *p, struct arena *a, struct err *e);
void ipam_neighbours_drop(struct pool *p);

/* reservations.c: for the informer */
struct kube_ref ipam_reservation_ref(const struct pools *ps, const char *name);
const char *ipam_reservation_keep(void *arg, struct arena *a, yyjson_val *obj);
/* 0: it is this interface's of the pod. -EBUSY: another's. */
int ipam_reservation_make(struct pools *ps, const char *podref, const struct ipam_want *w, struct err *e);
/* Take away the entry's reservation: its own, not another one of the same address. */
int ipam_reservation_take(struct pool *p, const struct ipam_entry *entry, struct err *e);
/* Is the address reserved by another than this interface of @podref? As the informer knows; @arg is the struct pool. */
bool ipam_reservation_is_foreign(void *arg, const char *network_name, const struct store_ip *ip, const char *podref, const char *ifname);
/* Has the entry a reservation, as the informer knows, or may it have one that it does not know yet? @arg is the struct pool. */
bool ipam_reservation_may_be(void *arg, const struct ipam_entry *entry);

#endif
