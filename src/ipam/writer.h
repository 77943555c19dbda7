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

/* An address that a container held when we started, or was given by us. */
struct held {
	char *container;
	struct pool *pool;
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
	unsigned heat; /* how often writers have met lately */
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
	struct held *held;
	size_t n_held;
	bool go_writers, ready;
	struct ipam_pools_stats stats;
};

/* The pool of that name; made known if it is new here. @range is its CIDR. */
struct pool *pool_of(struct pools *ps, const char *name, const char *range);
struct pool *pool_free(struct pool *p);

/* Has @it served, in one patch with whatever else waits; job->result says how. */
void pool_serve(struct pool *p, struct item *it);

/* The index of where pools are. */
int ranges_list(struct pools *ps, struct err *e);
void ranges_drop(struct pools *ps, const char *name);

/* Under the lock: who holds something where. */
void held_put(struct pools *ps, const char *container, struct pool *p);

/* Is the address reserved by another pod than @podref? As the informer knows. */
bool reservation_is_foreign(void *arg, const char *network_name, const struct store_ip *ip, const char *podref);

#endif
