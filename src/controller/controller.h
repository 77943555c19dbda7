/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in the store become node states and NADs. Standalone, the agent calls these in its own
 * process, for its one node; in a cluster the controller role calls them for all.
 */
#ifndef KVRAIL_CONTROLLER_CONTROLLER_H
#define KVRAIL_CONTROLLER_CONTROLLER_H

#include "policy/merge.h"
#include "store/store.h"

/* All that the store holds (and a change that is not stored yet), decoded. */
struct controller_objects {
	const struct api_policy **policies;
	size_t n_policies;
	const struct api_network **networks;
	const struct api_kind **network_kinds; /* of each network */
	size_t n_networks;
	const char *rdma_mode; /* of the pool config, NULL when none says */
};

/*
 * Decode the store's objects with @changes on top (json NULL: as if deleted). An object of the store that no longer decodes is an error that names
 * it.
 */
int controller_load(struct store *s, struct arena *a, const struct store_object *changes, size_t n_changes,
		    struct controller_objects *ret, struct err *e);

/*
 * NADs for all networks: what must be stored or deleted so that exactly the networks' NADs exist, appended
 * to @changes. A NAD that is not ours is left alone, and a network of its name is an error.
 * @prefix is RESOURCE_PREFIX.
 */
int controller_nads(struct store *s, struct arena *a, const struct controller_objects *o, const char *prefix,
		    struct store_object **changes, size_t *n_changes, struct err *e);

/* The SriovNetworkNodeState to store for @node: spec merged, status as measured. */
int controller_nodestate(struct arena *a, const char *namespace, const char *node,
			 const struct merge_result *merged, const struct api_nodestate_status *status,
			 struct store_object *ret, struct err *e);

#endif
