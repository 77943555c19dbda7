/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADDs and DELs that wait for one pool, turned into one JSON patch of it. Pure: what the patch tests is what it was decided on, so
 * that applying it to a pool that has changed in what matters fails.
 */
#ifndef KVRAIL_IPAM_PLAN_H
#define KVRAIL_IPAM_PLAN_H

#include "ipam/pool.h"

enum ipam_want_how {
	IPAM_UNSERVED,
	IPAM_KEPT, /* the pod and interface held it already */
	IPAM_NEW,
};

/* One address that an ADD wants out of this pool. */
struct ipam_want {
	const struct ipam_conf *conf;
	const struct ipam_range *range;
	const char *ifname;
	const struct store_ip *requested; /* by the pod; NULL: any */
	struct store_ip *avoid; /* this ADD has found them reserved by others; an entry of ours there is exchanged */
	size_t n_avoid;
	/* out */
	struct store_ip ip;
	enum ipam_want_how how;
};

enum ipam_job_kind { IPAM_ADD, IPAM_DEL };

struct ipam_job {
	enum ipam_job_kind kind;
	struct arena *a; /* for results */
	const char *container;
	const char *podref;	/* ADD */
	struct ipam_want *wants; /* ADD */
	size_t n_wants;
	const char *const *ifnames; /* DEL; none: all of the container */
	size_t n_ifnames;
	bool unreserved; /* DEL: reservations of what it holds are taken away already */
	/* out */
	struct ipam_entry *held; /* DEL: in @a */
	size_t n_held;
	bool keeps; /* DEL: the container has other entries, which stay */
	/*
	 * ADD: -ENOSPC, -EADDRINUSE (both only true of this view), -ERANGE: none of its wants is served.
	 * DEL: -EINPROGRESS: entries that it holds have reservations, which go first; none is removed.
	 */
	int result;
	struct err err;
};

struct ipam_view {
	const struct ipam_pool *pool;
	const struct ipam_pool *const *neighbours; /* pools that overlap, of the same domain */
	size_t n_neighbours;
	/* Is @ip under @network_name reserved by another than this interface of @podref? NULL: nothing is. */
	bool (*reserved)(void *arg, const char *network_name, const struct store_ip *ip, const char *podref, const char *ifname);
	/* May @entry have a reservation? NULL: none has. */
	bool (*has_reservation)(void *arg, const struct ipam_entry *entry);
	void *arg;
	const char *node;
	bool windowed; /* other nodes write too: search the node's window first */
	bool loose;    /* do not test the resourceVersion, only what was decided on */
};

/* The patch, in @a; NULL when nothing is to be changed. ADDs come before DELs; no two ADDs may be of one pod. */
char *ipam_plan(struct arena *a, const struct ipam_view *view, struct ipam_job *const *jobs, size_t n);

/* Where @node's window of @range begins. */
struct store_ip ipam_window(const struct ipam_range *range, const char *node);

#endif
