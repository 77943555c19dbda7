/* SPDX-License-Identifier: Apache-2.0 */
/* The register of the kinds. */
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "api/ippool.h"
#include "api/network.h"
#include "api/nodestate.h"
#include "api/operator.h"
#include "api/policy.h"
#include "api/rail.h"

#define SRIOV_GROUP "sriovnetwork.openshift.io"
#define WHEREABOUTS_GROUP "whereabouts.cni.cncf.io"

static void add_column(yyjson_mut_doc *doc, yyjson_mut_val *columns, const char *name,
		       const char *type, const char *path)
{
	yyjson_mut_val *c = yyjson_mut_arr_add_obj(doc, columns);

	yyjson_mut_obj_add_str(doc, c, "name", name);
	yyjson_mut_obj_add_str(doc, c, "type", type);
	yyjson_mut_obj_add_str(doc, c, "jsonPath", path);
}

static yyjson_mut_val *ready_columns(yyjson_mut_doc *doc)
{
	yyjson_mut_val *columns = yyjson_mut_arr(doc);

	add_column(doc, columns, "Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status");
	add_column(doc, columns, "Age", "date", ".metadata.creationTimestamp");
	return columns;
}

static yyjson_mut_val *nodestate_columns(yyjson_mut_doc *doc)
{
	yyjson_mut_val *columns = yyjson_mut_arr(doc);

	add_column(doc, columns, "Sync Status", "string", ".status.syncStatus");
	add_column(doc, columns, "Desired Sync State", "string",
		   ".metadata.annotations.sriovnetwork\\.openshift\\.io/desired-state");
	add_column(doc, columns, "Current Sync State", "string",
		   ".metadata.annotations.sriovnetwork\\.openshift\\.io/current-state");
	add_column(doc, columns, "Age", "date", ".metadata.creationTimestamp");
	return columns;
}

static yyjson_mut_val *rail_columns(yyjson_mut_doc *doc, bool nodes)
{
	yyjson_mut_val *columns = yyjson_mut_arr(doc);

	add_column(doc, columns, "Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status");
	add_column(doc, columns, "Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason");
	if (nodes)
		add_column(doc, columns, "Nodes", "string", ".status.nodes");
	add_column(doc, columns, "Ports", "integer", ".status.ports");
	add_column(doc, columns, "VFs", "integer", ".status.vfs");
	add_column(doc, columns, "Age", "date", ".metadata.creationTimestamp");
	return columns;
}

static yyjson_mut_val *rail_policy_columns(yyjson_mut_doc *doc)
{
	return rail_columns(doc, true);
}

static yyjson_mut_val *rail_node_columns(yyjson_mut_doc *doc)
{
	return rail_columns(doc, false);
}

static const char *const rail_policy_short_names[] = { "rp", NULL };
static const char *const rail_node_short_names[] = { "rn", NULL };
static const char *const nad_short_names[] = { "nad", "net-attach-def", NULL };
static const char *const node_short_names[] = { "no", NULL };

const struct api_kind api_kinds[] = {
	{ .kind = "SriovNetworkNodePolicy", .plural = "sriovnetworknodepolicies", .singular = "sriovnetworknodepolicy",
	  .list_kind = "SriovNetworkNodePolicyList", .group = SRIOV_GROUP, .version = "v1", .namespaced = true,
	  .doc = "Which ports of which nodes get how many VFs, and how they are set up.",
	  .table = &api_policy_table, .admit = api_policy_admit, .validate = api_policy_validate, .crd = true, .status_path = "status" },
	{ .kind = "SriovNetworkNodeState", .plural = "sriovnetworknodestates", .singular = "sriovnetworknodestate",
	  .list_kind = "SriovNetworkNodeStateList", .group = SRIOV_GROUP, .version = "v1", .namespaced = true,
	  .doc = "What one node's ports shall be, worked out from the policies, and what they are.",
	  .table = &api_nodestate_table, .validate = api_nodestate_validate, .crd = true, .status_path = "status",
	  .columns = nodestate_columns },
	{ .kind = "SriovNetwork", .plural = "sriovnetworks", .singular = "sriovnetwork", .list_kind = "SriovNetworkList",
	  .group = SRIOV_GROUP, .version = "v1", .namespaced = true, .doc = "An Ethernet network of VFs that pods can be attached to.",
	  .table = &api_sriov_network_table, .validate = api_network_validate, .crd = true, .status_path = "status",
	  .columns = ready_columns },
	{ .kind = "SriovIBNetwork", .plural = "sriovibnetworks", .singular = "sriovibnetwork", .list_kind = "SriovIBNetworkList",
	  .group = SRIOV_GROUP, .version = "v1", .namespaced = true, .doc = "An InfiniBand network of VFs that pods can be attached to.",
	  .table = &api_sriov_ib_network_table, .validate = api_network_validate, .crd = true, .status_path = "status",
	  .columns = ready_columns },
	{ .kind = "OVSNetwork", .plural = "ovsnetworks", .singular = "ovsnetwork", .list_kind = "OVSNetworkList",
	  .group = SRIOV_GROUP, .version = "v1", .namespaced = true, .doc = "A network of VFs behind an Open vSwitch bridge.",
	  .table = &api_ovs_network_table, .validate = api_ovs_network_validate, .crd = true, .status_path = "status",
	  .columns = ready_columns },
	{ .kind = "SriovNetworkPoolConfig", .plural = "sriovnetworkpoolconfigs", .singular = "sriovnetworkpoolconfig",
	  .list_kind = "SriovNetworkPoolConfigList", .group = SRIOV_GROUP, .version = "v1", .namespaced = true,
	  .doc = "How many nodes of a pool may be changed at once, and their RDMA mode.",
	  .table = &api_pool_config_table, .validate = api_pool_config_validate, .crd = true, .status_path = "status" },
	{ .kind = "SriovOperatorConfig", .plural = "sriovoperatorconfigs", .singular = "sriovoperatorconfig",
	  .list_kind = "SriovOperatorConfigList", .group = SRIOV_GROUP, .version = "v1", .namespaced = true,
	  .doc = "Settings of the whole cluster: one object, named default.",
	  .table = &api_operator_config_table, .validate = api_operator_config_validate, .crd = true, .status_path = "status",
	  .columns = ready_columns },
	{ .kind = "NetworkAttachmentDefinition", .plural = "network-attachment-definitions", .singular = "network-attachment-definition",
	  .list_kind = "NetworkAttachmentDefinitionList", .group = "k8s.cni.cncf.io", .version = "v1", .namespaced = true,
	  .short_names = nad_short_names, .doc = "A network that pods name in their annotation k8s.v1.cni.cncf.io/networks.",
	  .table = &api_nad_table, .validate = api_nad_validate, .crd = true },
	{ .kind = "IPPool", .plural = "ippools", .singular = "ippool", .list_kind = "IPPoolList", .group = WHEREABOUTS_GROUP,
	  .version = "v1alpha1", .namespaced = true, .doc = "A range of addresses and who holds which.",
	  .table = &api_ip_pool_table, .validate = api_ip_pool_validate, .crd = true },
	{ .kind = "OverlappingRangeIPReservation", .plural = "overlappingrangeipreservations", .singular = "overlappingrangeipreservation",
	  .list_kind = "OverlappingRangeIPReservationList", .group = WHEREABOUTS_GROUP, .version = "v1alpha1", .namespaced = true,
	  .doc = "An address that is held in one of several ranges that overlap.", .table = &api_reservation_table, .crd = true },
	{ .kind = "NodeSlicePool", .plural = "nodeslicepools", .singular = "nodeslicepool", .list_kind = "NodeSlicePoolList",
	  .group = WHEREABOUTS_GROUP, .version = "v1alpha1", .namespaced = true, .doc = "A range that is cut into one slice per node.",
	  .table = &api_slice_pool_table, .validate = api_slice_pool_validate, .crd = true },
	{ .kind = "RailPolicy", .plural = "railpolicies", .singular = "railpolicy", .list_kind = "RailPolicyList", .group = RAIL_GROUP,
	  .version = "v1alpha1", .namespaced = true, .short_names = rail_policy_short_names,
	  .doc = "What became of the SriovNetworkNodePolicy of the same name: its conditions. Written by kvrail.",
	  .table = &api_rail_policy_table, .crd = true, .status_path = "status", .columns = rail_policy_columns },
	{ .kind = "RailNode", .plural = "railnodes", .singular = "railnode", .list_kind = "RailNodeList", .group = RAIL_GROUP,
	  .version = "v1alpha1", .namespaced = true, .short_names = rail_node_short_names,
	  .doc = "What became of the ports of the node of the same name: its conditions. Written by kvrail.",
	  .table = &api_rail_node_table, .crd = true, .status_path = "status", .columns = rail_node_columns },
	{ .kind = "Node", .plural = "nodes", .singular = "node", .list_kind = "NodeList", .group = "", .version = "v1",
	  .short_names = node_short_names, .doc = "A node of the cluster; only its labels are read.", .table = &api_node_table },
	{ 0 },
};

static size_t group_len(const char *api_version)
{
	const char *slash = strchr(api_version, '/');

	return slash ? (size_t)(slash - api_version) : 0;
}

const struct api_kind *api_kind_find(const char *api_version, const char *kind)
{
	size_t n = group_len(api_version);

	for (const struct api_kind *k = api_kinds; k->kind; k++)
		if (!strcmp(k->kind, kind) && strlen(k->group) == n && !strncmp(k->group, api_version, n))
			return k;
	return NULL;
}

static bool is_short_name(const struct api_kind *k, const char *name)
{
	for (const char *const *s = k->short_names; s && *s; s++)
		if (!strcasecmp(*s, name))
			return true;
	return false;
}

const struct api_kind *api_kind_named(const char *name)
{
	for (const struct api_kind *k = api_kinds; k->kind; k++)
		if (!strcasecmp(k->kind, name) || !strcasecmp(k->plural, name) ||
		    !strcasecmp(k->singular, name) || is_short_name(k, name))
			return k;
	return NULL;
}
