/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"
#include "api/network.h"

/* What the three kinds share, in the order of their schemas. */
#define NAMESPACE_FIELD                                                                                        \
	{ .name = "networkNamespace", .type = FIELD_STR, AT(api_network_spec, network_namespace),              \
	  .doc = "Namespace of the NetworkAttachmentDefinition; the object's own when absent." }
#define RESOURCE_FIELD                                                                                         \
	{ .name = "resourceName", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS,                   \
	  AT(api_network_spec, resource_name), .doc = "Resource whose VFs this network takes, without prefix." }
#define CAPABILITIES_FIELD                                                                                     \
	{ .name = "capabilities", .type = FIELD_STR, AT(api_network_spec, capabilities),                       \
	  .doc = "JSON object of CNI capabilities, such as {\"mac\": true, \"ips\": true}." }
#define IPAM_FIELD                                                                                             \
	{ .name = "ipam", .type = FIELD_STR, AT(api_network_spec, ipam),                                       \
	  .doc = "JSON object: the ipam part of the CNI configuration. None: no address." }
#define META_PLUGINS_FIELD                                                                                     \
	{ .name = "metaPlugins", .type = FIELD_STR, AT(api_network_spec, meta_plugins),                        \
	  .doc = "JSON objects, comma between them: plugins that run after this one." }
#define LINK_STATE_FIELD                                                                                       \
	{ .name = "linkState", .type = FIELD_STR, AT(api_network_spec, link_state), ONE_OF("auto", "enable", "disable"), \
	  .doc = "VF link: follows the port, or always up or down." }
#define ON_OFF ONE_OF("on", "off")

static const struct field api_sriov_network_spec_table_fields[] = {
	NAMESPACE_FIELD,
	RESOURCE_FIELD,
	CAPABILITIES_FIELD,
	IPAM_FIELD,
	{ .name = "vlan", .type = FIELD_INT, BETWEEN(0, 4094), AT(api_network_spec, vlan), .doc = "VLAN that the VF is put into by the PF; 0 none." },
	{ .name = "vlanQoS", .type = FIELD_INT, BETWEEN(0, 7), AT(api_network_spec, vlan_qos), .doc = "Priority in the VLAN tag." },
	{ .name = "vlanProto", .type = FIELD_STR, AT(api_network_spec, vlan_proto), ONE_OF("802.1q", "802.1Q", "802.1ad", "802.1AD"),
	  .doc = "Kind of VLAN tag." },
	{ .name = "spoofChk", .type = FIELD_STR, AT(api_network_spec, spoof_chk), ON_OFF, .doc = "Drop what a VF sends from another MAC." },
	{ .name = "trust", .type = FIELD_STR, AT(api_network_spec, trust), ON_OFF, .doc = "Let the VF change its MAC and be promiscuous." },
	LINK_STATE_FIELD,
	{ .name = "minTxRate", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = INT64_MAX,
	  AT(api_network_spec, min_tx_rate), .doc = "Mbit/s that the VF may always send; 0 no promise." },
	{ .name = "maxTxRate", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = INT64_MAX,
	  AT(api_network_spec, max_tx_rate), .doc = "Mbit/s that the VF may send at most; 0 no limit." },
	META_PLUGINS_FIELD,
	{ .name = "logLevel", .type = FIELD_STR, AT(api_network_spec, log_level), ONE_OF("panic", "error", "warning", "info", "debug", ""),
	  .dflt = "\"info\"", .doc = "How much the CNI plugin logs." },
	{ .name = "logFile", .type = FIELD_STR, AT(api_network_spec, log_file), .doc = "Where the CNI plugin logs to." },
};
static TABLE(api_sriov_network_spec_table, api_network_spec, "SriovNetworkSpec");

static const struct field api_sriov_ib_network_spec_table_fields[] = {
	NAMESPACE_FIELD, RESOURCE_FIELD, CAPABILITIES_FIELD, IPAM_FIELD, LINK_STATE_FIELD, META_PLUGINS_FIELD,
};
static TABLE(api_sriov_ib_network_spec_table, api_network_spec, "SriovIBNetworkSpec");

static const struct field api_trunk_table_fields[] = {
	{ .name = "minID", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = 4095, AT(api_trunk, min_id),
	  .doc = "First VLAN of a range." },
	{ .name = "maxID", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = 4095, AT(api_trunk, max_id),
	  .doc = "Last VLAN of the range." },
	{ .name = "id", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = 4095, AT(api_trunk, id),
	  .doc = "A single VLAN." },
};
static TABLE(api_trunk_table, api_trunk, "TrunkConfig");

static const struct field api_ovs_network_spec_table_fields[] = {
	NAMESPACE_FIELD,
	RESOURCE_FIELD,
	CAPABILITIES_FIELD,
	IPAM_FIELD,
	META_PLUGINS_FIELD,
	{ .name = "bridge", .type = FIELD_STR, AT(api_network_spec, bridge), .doc = "OVS bridge; found by the VF's PF when absent." },
	{ .name = "vlan", .type = FIELD_INT, BETWEEN(0, 4095), AT(api_network_spec, vlan), .doc = "VLAN of the port." },
	{ .name = "mtu", .type = FIELD_INT, AT(api_network_spec, mtu), .doc = "MTU of the port." },
	{ .name = "trunk", .type = FIELD_OBJECTS, AT_N(api_network_spec, trunk), .of = &api_trunk_table, .doc = "VLANs that the port carries." },
	{ .name = "interfaceType", .type = FIELD_STR, AT(api_network_spec, interface_type), .doc = "Type of the port in OVS." },
};
static TABLE(api_ovs_network_spec_table, api_network_spec, "OVSNetworkSpec");

static const struct field api_network_status_table_fields[] = {
	{ .name = "conditions", .type = FIELD_OBJECTS, AT_N(api_network_status, conditions), .of = &api_condition_table,
	  .schema = "{\"x-kubernetes-list-type\": \"map\", \"x-kubernetes-list-map-keys\": [\"type\"]}",
	  .doc = "Ready, and why or why not." },
};
static TABLE(api_network_status_table, api_network_status, "NetworkStatus");

#define NETWORK_FIELDS(spec_table)                                                                             \
	OBJECT_FIELDS(api_network),                                                                            \
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_network, spec), .of = &(spec_table), \
	  .doc = "The network that pods are attached to." },                                                   \
	{ .name = "status", .type = FIELD_OBJECT, AT(api_network, status), .of = &api_network_status_table,    \
	  .doc = "Whether its NetworkAttachmentDefinition is there." }

static const struct field api_sriov_network_table_fields[] = { NETWORK_FIELDS(api_sriov_network_spec_table) };
TABLE(api_sriov_network_table, api_network, "SriovNetwork");

static const struct field api_sriov_ib_network_table_fields[] = { NETWORK_FIELDS(api_sriov_ib_network_spec_table) };
TABLE(api_sriov_ib_network_table, api_network, "SriovIBNetwork");

static const struct field api_ovs_network_table_fields[] = { NETWORK_FIELDS(api_ovs_network_spec_table) };
TABLE(api_ovs_network_table, api_network, "OVSNetwork");

static const struct field api_nad_spec_table_fields[] = {
	{ .name = "config", .type = FIELD_STR, AT(api_nad_spec, config),
	  .doc = "JSON text: a CNI configuration, or a list of plugins. Absent: a file of the node named like the object." },
};
static TABLE(api_nad_spec_table, api_nad_spec, "NetworkAttachmentDefinitionSpec");

static const struct field api_nad_table_fields[] = {
	OBJECT_FIELDS(api_nad),
	{ .name = "spec", .type = FIELD_OBJECT, AT(api_nad, spec), .of = &api_nad_spec_table, .doc = "The network." },
};
TABLE(api_nad_table, api_nad, "NetworkAttachmentDefinition");

static const struct field api_node_table_fields[] = {
	OBJECT_FIELDS(api_node),
	{ .name = "spec", .type = FIELD_JSON, AT(api_node, spec), .doc = "Not read." },
	{ .name = "status", .type = FIELD_JSON, AT(api_node, status), .doc = "Not read." },
};
TABLE(api_node_table, api_node, "Node");
