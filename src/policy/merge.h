/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and one node's status into that node's desired state, as the SR-IOV operator merges them. Pure. */
#ifndef KVRAIL_POLICY_MERGE_H
#define KVRAIL_POLICY_MERGE_H

#include "api/network.h"
#include "api/nodestate.h"
#include "api/policy.h"

/* Why a policy gave this node nothing, or what it gave: for `plan`, conditions and the administrator. */
struct merge_note {
	const struct api_policy *policy;
	bool node_selected;
	size_t ports_selected;
	const char *text; /* "selects no port here: vendor 15b3 matched 2, deviceID 101d matched 0" */
};

struct merge_result {
	struct api_nodestate_spec *spec;
	struct merge_note *notes; /* one per policy, in the order given */
	size_t n_notes;
};

/*
 * @labels of the node; @all_nodes: take every policy whatever its nodeSelector says (a standalone node has no labels).
 * @rdma_mode from the pool config or NULL. Order and replacement are those of the SR-IOV operator (Apply() of its
 * SriovNetworkNodePolicy API type).
 */
int merge_policies(struct arena *a, const struct api_policy **policies, size_t n_policies,
		   const struct pair *labels, size_t n_labels, bool all_nodes,
		   const struct api_nodestate_status *status, const char *rdma_mode,
		   struct merge_result *ret, struct err *e);

/* One PF by one selector; *why (in @a) names the first part that did not match. */
bool merge_selects(struct arena *a, const struct api_nic_selector *s, const struct api_interface_status *pf,
		   const char **why);

/* The NAD of a network, text for text as the operator renders it. @prefix is RESOURCE_PREFIX. */
int render_nad(struct arena *a, const struct api_kind *kind, const struct api_network *network,
	       const char *prefix, struct api_nad **ret, struct err *e);

/*
 * Rules between policies (overlapping VF ranges, mixed externallyManaged, ...), with the webhook's words. No node is known: a conflict is
 * an error where a node of one policy is certainly one of the other's, and a warning where there may be one.
 */
void validate_together(const struct api_policy **policies, size_t n, struct complaints *c);

/*
 * The same rules on the very nodes, a port's alternative names included, and those between a policy and its nodes and ports (nodes without
 * any state in the input: nobody can tell which ports there are).
 */
void validate_on_nodes(const struct api_policy **policies, size_t n, const struct api_node **nodes,
		       size_t n_nodes, const struct api_nodestate **states, size_t n_states,
		       struct complaints *c);

/*
 * One policy that comes or changes, as the operator's webhook looks at it: against its nodes, their ports, and each of @others on the nodes of
 * both. What that webhook lets through is a warning here: a policy that selects nothing yet is refused by it and not by us (the nodes may come
 * later); a policy for a whole port beside one for a part of it, which it does not look at, leaves VFs to the stronger one.
 */
void validate_among(const struct api_policy *p, const struct api_policy **others, size_t n, const struct api_node **nodes,
		    size_t n_nodes, const struct api_nodestate **states, size_t n_states, struct complaints *c);

#endif
