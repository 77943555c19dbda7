/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: the passes. Each looks at the world and says what to write; none does anything. Steady state: no writes. What is
 * only a matter of time (a node state that is kept for a while) is in *@next: seconds until a pass is due, 0: none.
 */
#ifndef KVRAIL_CONTROLLER_PASSES_H
#define KVRAIL_CONTROLLER_PASSES_H

#include "controller/conditions.h"
#include "controller/world.h"
#include "controller/write.h"

/* What became of one node in a pass. */
struct node_outcome {
	const struct world_node *node;
	const struct api_nodestate *state; /* as stored; NULL: not there yet */
	struct merge_result merged;	   /* .spec NULL when it failed */
	struct verdict verdict;
	bool reported;	/* an agent has written a status */
	bool concerned; /* reported, or selected by a policy: worth a RailNode */
	int64_t ports, vfs;
};

/* Node states and RailNodes. @ret: in the order of the world's nodes, without those that are no business of ours. */
void pass_nodes(struct arena *a, const struct world *w, struct memos *m, struct writes *out, struct node_outcome **ret, size_t *ret_n,
		unsigned *next);

/* RailPolicies, from what became of the nodes. */
void pass_policies(struct arena *a, const struct world *w, const struct node_outcome *nodes, size_t n_nodes, struct writes *out);

/* Networks: NADs, finalizers, conditions. */
void pass_networks(struct arena *a, const struct world *w, struct memos *m, struct writes *out);

/*
 * The writes that bring the RailPolicy or RailNode @name to this status; @old may be NULL. @event: what a turn of it is told about, NULL: it is
 * told by somebody else.
 */
void rail_write(struct arena *a, const struct world *w, const struct api_kind *kind, const char *name, const struct api_rail *old,
		const struct verdict *v, int64_t generation, struct api_rail_status *status, const struct write_event *event,
		struct writes *out);

/* The spec of a SriovNetworkNodeState as write.wanted has it, NULL when it has none. */
const char *pass_state_spec(struct arena *a, yyjson_val *obj);

/* The world's time as RFC 3339, in @a. */
const char *pass_time(struct arena *a, time_t t);

#endif
