/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"
#include "api/rail.h"

#define CONDITIONS_FIELD                                                                                       \
	{ .name = "conditions", .type = FIELD_OBJECTS, AT_N(api_rail_status, conditions), .of = &api_condition_table, \
	  .schema = "{\"x-kubernetes-list-type\": \"map\", \"x-kubernetes-list-map-keys\": [\"type\"]}",       \
	  .doc = "Ready, Progressing and Degraded, each with what to do." }
#define PORTS_FIELD                                                                                            \
	{ .name = "ports", .type = FIELD_INT, .flags = FIELD_ALWAYS, AT(api_rail_status, ports), .format = "int64", \
	  .doc = "PFs that are to have VFs." }
#define VFS_FIELD                                                                                              \
	{ .name = "vfs", .type = FIELD_INT, .flags = FIELD_ALWAYS, AT(api_rail_status, vfs), .format = "int64", \
	  .doc = "VFs that these ports are to have." }

static const struct field api_rail_policy_spec_table_fields[] = {
	{ .name = "policy", .type = FIELD_STR, AT(api_rail_spec, policy), .doc = "The SriovNetworkNodePolicy that this is about." },
};
static TABLE(api_rail_policy_spec_table, api_rail_spec, "RailPolicySpec");

static const struct field api_rail_node_spec_table_fields[] = {
	{ .name = "node", .type = FIELD_STR, AT(api_rail_spec, node), .doc = "The node that this is about." },
};
static TABLE(api_rail_node_spec_table, api_rail_spec, "RailNodeSpec");

static const struct field api_rail_policy_status_table_fields[] = {
	CONDITIONS_FIELD,
	{ .name = "nodes", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(api_rail_status, nodes),
	  .doc = "Nodes that are ready, of those that have ports for the policy: \"2/3\"." },
	PORTS_FIELD,
	VFS_FIELD,
};
static TABLE(api_rail_policy_status_table, api_rail_status, "RailPolicyStatus");

static const struct field api_rail_node_status_table_fields[] = {
	CONDITIONS_FIELD,
	PORTS_FIELD,
	VFS_FIELD,
};
static TABLE(api_rail_node_status_table, api_rail_status, "RailNodeStatus");

#define RAIL_FIELDS(spec_table, status_table)                                                                  \
	OBJECT_FIELDS(api_rail),                                                                               \
	{ .name = "spec", .type = FIELD_OBJECT, AT(api_rail, spec), .of = &(spec_table), .doc = "What this is about." }, \
	{ .name = "status", .type = FIELD_OBJECT, AT(api_rail, status), .of = &(status_table), .doc = "What became of it." }

static const struct field api_rail_policy_table_fields[] = {
	RAIL_FIELDS(api_rail_policy_spec_table, api_rail_policy_status_table),
};
TABLE(api_rail_policy_table, api_rail, "RailPolicy");

static const struct field api_rail_node_table_fields[] = {
	RAIL_FIELDS(api_rail_node_spec_table, api_rail_node_status_table),
};
TABLE(api_rail_node_table, api_rail, "RailNode");
