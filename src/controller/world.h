/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster as one pass of the controller sees it: what the informers hold, decoded. And what the informers keep of each
 * object, so that a large cluster costs little.
 */
#ifndef KVRAIL_CONTROLLER_WORLD_H
#define KVRAIL_CONTROLLER_WORLD_H

#include <time.h>

#include "api/network.h"
#include "api/nodestate.h"
#include "api/operator.h"
#include "api/policy.h"
#include "api/rail.h"
#include "policy/merge.h"
#include "store/kube.h"

#define WORLD_OWNER_REF "sriovnetwork.openshift.io/owner-ref"

/* What is watched. WORLD_NADS is watched by every replica, the others by the leader. */
enum world_kind {
	WORLD_NADS,
	WORLD_POLICIES,
	WORLD_POOLS,
	WORLD_CONFIGS,
	WORLD_STATES,
	WORLD_NODES,
	WORLD_SRIOV_NETWORKS,
	WORLD_IB_NETWORKS,
	WORLD_OVS_NETWORKS,
	WORLD_NAMESPACES,
	WORLD_RAIL_POLICIES,
	WORLD_RAIL_NODES,
	WORLD_PODS,
	WORLD_KINDS,
};

/* The collection, in @namespace where the operator looks there only; @keep as informer_spec's. */
struct world_collection {
	struct kube_ref ref;
	const char *(*keep)(void *arg, struct arena *a, yyjson_val *obj);
};
struct world_collection world_collection(enum world_kind kind, const char *namespace);

/* A policy or network that could not be taken as it is. */
struct world_bad {
	const struct api_kind *kind;
	const char *ns, *name, *uid, *why;
	int64_t generation;
	struct api_network_status status; /* its conditions, as far as they can be read */
};

struct world_node {
	const char *name;
	struct pair *labels;
	size_t n_labels;
	bool ready;
};

struct world_nad {
	const char *ns, *name, *uid, *version;
	const char *owner;    /* our annotation, NULL: none */
	const char *resource; /* NAD_RESOURCE_NAME, NULL: none */
	const char *config;   /* kept only of those with an owner */
	yyjson_val *owner_references;
};

struct world_namespace {
	const char *name;
	bool going;
};

struct world {
	const char *namespace; /* the operator's: policies and node states count there only */
	const char *prefix;    /* RESOURCE_PREFIX */
	time_t now;
	unsigned stale_minutes; /* STALE_NODE_STATE_CLEANUP_DELAY_MINUTES */

	const struct api_policy **policies;
	const char **warnings; /* of each policy: what the admission webhook would refuse, NULL: nothing */
	size_t n_policies;
	const struct api_pool_config **pools;
	size_t n_pools;
	struct pair *daemon_selector; /* of the operator's configuration */
	size_t n_daemon_selector;
	const struct api_nodestate **states;
	size_t n_states;
	struct world_node *nodes;
	size_t n_nodes;
	const struct api_network **networks;
	const struct api_kind **network_kinds;
	size_t n_networks;
	struct world_bad *bad;
	size_t n_bad;
	struct world_nad *nads;
	size_t n_nads;
	struct world_namespace *namespaces;
	size_t n_namespaces;
	const struct api_rail **rail_policies, **rail_nodes;
	size_t n_rail_policies, n_rail_nodes;
};

/* Add what an informer of @kind keeps. Objects that do not decode are in ->bad, or, when only programs write them, left out. */
void world_add(struct arena *a, struct world *w, enum world_kind kind, const struct informer_object *objects, size_t n);

const struct api_nodestate *world_state(const struct world *w, const char *node);
const struct world_nad *world_nad(const struct world *w, const char *ns, const char *name);

#endif
