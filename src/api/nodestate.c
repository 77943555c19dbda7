/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"
#include "api/nodestate.h"

static const struct field api_vf_group_table_fields[] = {
	{ .name = "resourceName", .type = FIELD_STR, AT(api_vf_group, resource_name), .doc = "Name under which pods ask for these VFs." },
	{ .name = "deviceType", .type = FIELD_STR, AT(api_vf_group, device_type), .doc = "netdevice or vfio-pci." },
	{ .name = "vfRange", .type = FIELD_STR, AT(api_vf_group, vf_range), .doc = "VF indexes, first and last: \"0-7\"." },
	{ .name = "policyName", .type = FIELD_STR, AT(api_vf_group, policy_name), .doc = "Policy that the group comes from." },
	{ .name = "mtu", .type = FIELD_INT, AT(api_vf_group, mtu), .doc = "MTU of these VFs." },
	{ .name = "isRdma", .type = FIELD_BOOL, AT(api_vf_group, is_rdma), .doc = "VFs come with their RDMA device." },
	{ .name = "vdpaType", .type = FIELD_STR, AT(api_vf_group, vdpa_type), .doc = "virtio or vhost." },
};
static TABLE(api_vf_group_table, api_vf_group, "VfGroup");

static const struct field api_interface_table_fields[] = {
	{ .name = "pciAddress", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_interface, pci_address),
	  .doc = "PCI address of the PF." },
	{ .name = "numVfs", .type = FIELD_INT, AT(api_interface, num_vfs), .doc = "VFs that the PF shall have." },
	{ .name = "mtu", .type = FIELD_INT, AT(api_interface, mtu), .doc = "Least MTU of the PF." },
	{ .name = "name", .type = FIELD_STR, AT(api_interface, name), .doc = "Interface name of the PF." },
	{ .name = "linkType", .type = FIELD_STR, AT(api_interface, link_type), .doc = "Ethernet or InfiniBand." },
	{ .name = "eSwitchMode", .type = FIELD_STR, AT(api_interface, eswitch_mode), .doc = "legacy or switchdev." },
	{ .name = "vfGroups", .type = FIELD_OBJECTS, AT_N(api_interface, vf_groups), .of = &api_vf_group_table,
	  .doc = "VFs of the PF, by the resource that they are handed out as." },
	{ .name = "externallyManaged", .type = FIELD_BOOL, AT(api_interface, externally_managed), .doc = "Somebody else creates the VFs." },
};
static TABLE(api_interface_table, api_interface, "Interface");

static const struct field api_ovs_uplink_state_table_fields[] = {
	{ .name = "pciAddress", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_ovs_uplink_state, pci_address),
	  .doc = "PCI address of the PF." },
	{ .name = "name", .type = FIELD_STR, AT(api_ovs_uplink_state, name), .doc = "Interface name of the PF." },
	{ .name = "interface", .type = FIELD_OBJECT, AT(api_ovs_uplink_state, interface), .of = &api_ovs_interface_table,
	  .doc = "The PF as a port of the bridge." },
};
static TABLE(api_ovs_uplink_state_table, api_ovs_uplink_state, "OVSUplinkConfigExt");

static const struct field api_ovs_bridge_state_table_fields[] = {
	{ .name = "name", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_ovs_bridge_state, name), .doc = "Name of the bridge." },
	{ .name = "bridge", .type = FIELD_OBJECT, AT(api_ovs_bridge_state, bridge), .of = &api_ovs_bridge_table, .doc = "The bridge itself." },
	{ .name = "uplinks", .type = FIELD_OBJECTS, AT_N(api_ovs_bridge_state, uplinks), .of = &api_ovs_uplink_state_table,
	  .doc = "PFs in it." },
};
static TABLE(api_ovs_bridge_state_table, api_ovs_bridge_state, "OVSConfigExt");

static const struct field api_bridges_table_fields[] = {
	{ .name = "ovs", .type = FIELD_OBJECTS, AT_N(api_bridges, ovs), .of = &api_ovs_bridge_state_table, .doc = "Open vSwitch bridges." },
};
static TABLE(api_bridges_table, api_bridges, "Bridges");

static const struct field api_system_table_fields[] = {
	{ .name = "rdmaMode", .type = FIELD_STR, AT(api_system, rdma_mode), ONE_OF("shared", "exclusive"),
	  .doc = "Whether RDMA devices are seen by all network namespaces or by one." },
};
static TABLE(api_system_table, api_system, "System");

static const struct field api_nodestate_spec_table_fields[] = {
	{ .name = "interfaces", .type = FIELD_OBJECTS, AT_N(api_nodestate_spec, interfaces), .of = &api_interface_table,
	  .doc = "PFs to set up." },
	{ .name = "bridges", .type = FIELD_OBJECT, AT(api_nodestate_spec, bridges), .of = &api_bridges_table, .doc = "Bridges to set up." },
	{ .name = "system", .type = FIELD_OBJECT, AT(api_nodestate_spec, system), .of = &api_system_table, .doc = "Settings of the whole node." },
};
static TABLE(api_nodestate_spec_table, api_nodestate_spec, "SriovNetworkNodeStateSpec");

static const struct field api_vf_status_table_fields[] = {
	{ .name = "name", .type = FIELD_STR, AT(api_vf_status, name), .doc = "Interface name, where the VF has one." },
	{ .name = "mac", .type = FIELD_STR, AT(api_vf_status, mac), .doc = "MAC address." },
	{ .name = "assigned", .type = FIELD_STR, AT(api_vf_status, assigned), .doc = "Who uses it." },
	{ .name = "driver", .type = FIELD_STR, AT(api_vf_status, driver), .doc = "Kernel driver." },
	{ .name = "pciAddress", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_vf_status, pci_address), .doc = "PCI address." },
	{ .name = "vendor", .type = FIELD_STR, AT(api_vf_status, vendor), .doc = "PCI vendor." },
	{ .name = "deviceID", .type = FIELD_STR, AT(api_vf_status, device_id), .doc = "PCI device." },
	{ .name = "Vlan", .type = FIELD_INT, AT(api_vf_status, vlan), .doc = "VLAN set by the PF." },
	{ .name = "mtu", .type = FIELD_INT, AT(api_vf_status, mtu), .doc = "MTU." },
	{ .name = "vfID", .type = FIELD_INT, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_vf_status, vf_id), .doc = "Index on the PF." },
	{ .name = "vdpaType", .type = FIELD_STR, AT(api_vf_status, vdpa_type), .doc = "virtio or vhost." },
	{ .name = "representorName", .type = FIELD_STR, AT(api_vf_status, representor_name), .doc = "Its representor in switchdev mode." },
	{ .name = "guid", .type = FIELD_STR, AT(api_vf_status, guid), .doc = "Node GUID of its RDMA device." },
};
static TABLE(api_vf_status_table, api_vf_status, "VirtualFunction");

static const struct field api_interface_status_table_fields[] = {
	{ .name = "name", .type = FIELD_STR, AT(api_interface_status, name), .doc = "Interface name." },
	{ .name = "mac", .type = FIELD_STR, AT(api_interface_status, mac), .doc = "MAC address." },
	{ .name = "driver", .type = FIELD_STR, AT(api_interface_status, driver), .doc = "Kernel driver." },
	{ .name = "pciAddress", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_interface_status, pci_address),
	  .doc = "PCI address." },
	{ .name = "vendor", .type = FIELD_STR, AT(api_interface_status, vendor), .doc = "PCI vendor." },
	{ .name = "deviceID", .type = FIELD_STR, AT(api_interface_status, device_id), .doc = "PCI device." },
	{ .name = "netFilter", .type = FIELD_STR, AT(api_interface_status, net_filter), .doc = "Network of a virtual platform." },
	{ .name = "mtu", .type = FIELD_INT, AT(api_interface_status, mtu), .doc = "MTU." },
	{ .name = "numVfs", .type = FIELD_INT, AT(api_interface_status, num_vfs), .doc = "VFs that exist." },
	{ .name = "linkSpeed", .type = FIELD_STR, AT(api_interface_status, link_speed), .doc = "Speed, such as \"100000 Mb/s\"." },
	{ .name = "linkType", .type = FIELD_STR, AT(api_interface_status, link_type), .doc = "ETH or IB." },
	{ .name = "linkAdminState", .type = FIELD_STR, AT(api_interface_status, link_admin_state), .doc = "up or down." },
	{ .name = "eSwitchMode", .type = FIELD_STR, AT(api_interface_status, eswitch_mode), .doc = "legacy or switchdev." },
	{ .name = "externallyManaged", .type = FIELD_BOOL, AT(api_interface_status, externally_managed), .doc = "Somebody else created the VFs." },
	{ .name = "totalvfs", .type = FIELD_INT, AT(api_interface_status, total_vfs), .doc = "VFs that the PF can have." },
	{ .name = "Vfs", .type = FIELD_OBJECTS, AT_N(api_interface_status, vfs), .of = &api_vf_status_table, .doc = "The VFs." },
	{ .name = "altNames", .type = FIELD_STRS, AT_N(api_interface_status, alt_names), .doc = "Its other names." },
};
static TABLE(api_interface_status_table, api_interface_status, "InterfaceExt");

static const struct field api_nodestate_status_table_fields[] = {
	{ .name = "interfaces", .type = FIELD_OBJECTS, AT_N(api_nodestate_status, interfaces), .of = &api_interface_status_table,
	  .doc = "PFs found." },
	{ .name = "bridges", .type = FIELD_OBJECT, AT(api_nodestate_status, bridges), .of = &api_bridges_table, .doc = "Bridges found." },
	{ .name = "system", .type = FIELD_OBJECT, AT(api_nodestate_status, system), .of = &api_system_table, .doc = "Settings found." },
	{ .name = "syncStatus", .type = FIELD_STR, AT(api_nodestate_status, sync_status), .doc = "Succeeded, InProgress or Failed." },
	{ .name = "lastSyncError", .type = FIELD_STR, AT(api_nodestate_status, last_sync_error), .doc = "Why the last attempt failed." },
};
static TABLE(api_nodestate_status_table, api_nodestate_status, "SriovNetworkNodeStateStatus");

static const struct field api_nodestate_table_fields[] = {
	OBJECT_FIELDS(api_nodestate),
	{ .name = "spec", .type = FIELD_OBJECT, AT(api_nodestate, spec), .of = &api_nodestate_spec_table, .doc = "What the node's ports shall be." },
	{ .name = "status", .type = FIELD_OBJECT, AT(api_nodestate, status), .of = &api_nodestate_status_table, .doc = "What they are." },
};
TABLE(api_nodestate_table, api_nodestate, "SriovNetworkNodeState");
