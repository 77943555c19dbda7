/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of IP pools and which reservations belong to nobody any more. Pure: the controller gives what it has watched and applies
 * the fixes, each as one guarded request (ipam_drop_patch()).
 *
 * An entry names its pod and its container (sandbox), not the pod's UID nor its node. It is never dropped
 *   - while its pod lives and may be in ADD: not ended, and its network-status is missing, or lists the address, or has not listed it for less
 *     than five minutes, longer than kubelet lets an ADD last. A pod may get a new sandbox (its node was started again): until that one's ADD
 *     ends, network-status is the old one's;
 *   - while its pod is on a node that is not Ready: the node may only be cut off, its pod still running;
 *   - when its pod is gone and nobody saw on which node it was (the controller was down), while any node is not Ready;
 *   - before the same entry, with the same container, was an orphan for the whole grace period.
 * The patch tests the container, so that an entry taken over by a new sandbox in the meantime stays.
 *
 * A reservation is alive when a pool's entry of the same pod has its name. Names are made from entries and compared, never taken apart: a
 * network_name may hold dashes and digits, and so may an IPv6 address. It is dropped after the same grace, by UID.
 */
#ifndef KVRAIL_IPAM_RECONCILE_H
#define KVRAIL_IPAM_RECONCILE_H

#include "api/ippool.h"
#include "ipam/pool.h"

enum ipam_node_state {
	IPAM_NODE_READY,
	IPAM_NODE_AWAY, /* exists, Ready is False or Unknown */
	IPAM_NODE_GONE, /* no such Node object any more */
};

/* A pod as it is, or as it was last seen before it went. */
struct ipam_pod {
	const char *podref; /* "namespace/name" */
	const char *node;   /* NULL or "": not scheduled */
	bool gone;	    /* the object is deleted; kept by the caller so that its node is known */
	bool ended;	    /* phase Succeeded or Failed */
	bool has_status;    /* the network-status annotation is there */
	const char **ips;   /* all addresses of network-status, without prefix length */
	size_t n_ips;
};

struct ipam_node {
	const char *name;
	enum ipam_node_state state;
};

/* Something that seemed to be an orphan, since when: the caller keeps the last call's and gives them to the next one. */
struct ipam_suspect {
	const char *key; /* "pool/offset/container" or "reservation/uid" */
	uint64_t since_ms;
};

enum ipam_fix_kind {
	IPAM_DROP_ENTRY,
	IPAM_DROP_RESERVATION,
	IPAM_ADD_RESERVATION, /* an entry of a marked pool has none */
};

struct ipam_fix {
	enum ipam_fix_kind kind;
	const char *object; /* pool, or reservation */
	const char *uid;    /* of the reservation to drop */
	const struct ipam_entry *entry; /* NULL for IPAM_DROP_RESERVATION */
	const char *reason; /* "pod llm/a is gone since 300 s" */
};

struct ipam_reconcile_in {
	const struct ipam_pool *pools;
	size_t n_pools;
	const struct ipam_reservation *reservations;
	size_t n_reservations;
	const struct ipam_pod *pods; /* living, and those that went as far as known */
	size_t n_pods;
	const struct ipam_node *nodes;
	size_t n_nodes;
	const struct ipam_suspect *suspects; /* of the last call */
	size_t n_suspects;
	uint64_t now_ms;   /* of a clock that does not jump */
	uint64_t grace_ms; /* 0: 300000 */
	bool partial;	   /* a pool could not be read: no reservation is dropped */
	bool reserve_all;  /* Go writers are about: each entry wants a reservation */
};

struct ipam_reconcile_out {
	struct ipam_fix *fixes;
	size_t n_fixes;
	struct ipam_suspect *suspects;
	size_t n_suspects;
	uint64_t next_ms; /* when the next suspect's grace ends, from now; 0: none waits */
	size_t n_held;	  /* entries without a pod that stay because a node is away */
};

/* All in @a; strings of @in are shared. */
void ipam_reconcile(struct arena *a, const struct ipam_reconcile_in *in, struct ipam_reconcile_out *ret);

/* The JSON patch that drops these entries of one pool, each only while its container holds it. */
const char *ipam_drop_patch(struct arena *a, const struct ipam_entry *const *entries, size_t n);
/* The object to create for IPAM_ADD_RESERVATION. -EEXIST on create is success. */
const char *ipam_reservation_json(struct arena *a, const char *name, const char *podref, const char *ifname);

#endif
