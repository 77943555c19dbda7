/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RailPolicy and RailNode, kvrail.io/v1alpha1: what became of a SriovNetworkNodePolicy, and of a node's ports. The schemas
 * of the SR-IOV operator's own objects have no room for conditions; these have, so that they can be waited for. The
 * controller writes them; nobody needs to.
 */
#ifndef KVRAIL_API_RAIL_H
#define KVRAIL_API_RAIL_H

#include "api/meta.h"

#define RAIL_GROUP "kvrail.io"

struct api_rail_spec {
	struct object obj;
	const char *policy; /* RailPolicy */
	const char *node;   /* RailNode */
};

struct api_rail_status {
	struct object obj;
	struct api_condition *conditions;
	size_t n_conditions;
	const char *nodes; /* RailPolicy: "2/3", those that are ready of those that have ports for it */
	int64_t ports, vfs;
};

struct api_rail {
	struct api_object object;
	struct api_rail_spec *spec;	/* may be NULL */
	struct api_rail_status *status; /* may be NULL */
};

extern const struct table api_rail_policy_table, api_rail_node_table;

#endif
