/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"
#include "api/policy.h"

static const struct field api_nic_selector_table_fields[] = {
	{ .name = "vendor", .type = FIELD_STR, AT(api_nic_selector, vendor), .doc = "PCI vendor in hex without 0x, such as \"15b3\"." },
	{ .name = "deviceID", .type = FIELD_STR, AT(api_nic_selector, device_id),
	  .doc = "PCI device of the PF in hex without 0x, such as \"101d\"." },
	{ .name = "rootDevices", .type = FIELD_STRS, AT_N(api_nic_selector, root_devices), .doc = "PCI addresses of PFs." },
	{ .name = "pfNames", .type = FIELD_STRS, AT_N(api_nic_selector, pf_names),
	  .doc = "Interface names of PFs; \"p2#0-3\" takes only VFs 0 to 3 of p2." },
	{ .name = "netFilter", .type = FIELD_STR, AT(api_nic_selector, net_filter),
	  .doc = "Network of a virtual platform: \"openstack/NetworkID:UUID\" or \"aws/NetworkID:ID\"." },
};
static TABLE(api_nic_selector_table, api_nic_selector, "NicSelector");

static const struct field api_ovs_interface_table_fields[] = {
	{ .name = "type", .type = FIELD_STR, AT(api_ovs_interface, type), .doc = "Column type of the Interface table." },
	{ .name = "options", .type = FIELD_MAP, AT_N(api_ovs_interface, options), .doc = "Column options of the Interface table." },
	{ .name = "externalIDs", .type = FIELD_MAP, AT_N(api_ovs_interface, external_ids), .doc = "Column external_ids of the Interface table." },
	{ .name = "otherConfig", .type = FIELD_MAP, AT_N(api_ovs_interface, other_config), .doc = "Column other_config of the Interface table." },
	{ .name = "mtuRequest", .type = FIELD_INT, .flags = FIELD_POINTER, AT(api_ovs_interface, mtu_request),
	  .doc = "Column mtu_request of the Interface table." },
};
TABLE(api_ovs_interface_table, api_ovs_interface, "OVSInterfaceConfig");

static const struct field api_ovs_uplink_table_fields[] = {
	{ .name = "interface", .type = FIELD_OBJECT, AT(api_ovs_uplink, interface), .of = &api_ovs_interface_table,
	  .doc = "The PF as a port of the bridge." },
};
static TABLE(api_ovs_uplink_table, api_ovs_uplink, "OVSUplinkConfig");

static const struct field api_ovs_bridge_table_fields[] = {
	{ .name = "datapathType", .type = FIELD_STR, AT(api_ovs_bridge, datapath_type), .doc = "Column datapath_type of the Bridge table." },
	{ .name = "externalIDs", .type = FIELD_MAP, AT_N(api_ovs_bridge, external_ids), .doc = "Column external_ids of the Bridge table." },
	{ .name = "otherConfig", .type = FIELD_MAP, AT_N(api_ovs_bridge, other_config), .doc = "Column other_config of the Bridge table." },
	{ .name = "failMode", .type = FIELD_STR, AT(api_ovs_bridge, fail_mode), ONE_OF("secure", "standalone"),
	  .doc = "Column fail_mode of the Bridge table." },
};
TABLE(api_ovs_bridge_table, api_ovs_bridge, "OVSBridgeConfig");

static const struct field api_ovs_table_fields[] = {
	{ .name = "bridge", .type = FIELD_OBJECT, AT(api_ovs, bridge), .of = &api_ovs_bridge_table, .doc = "The bridge itself." },
	{ .name = "uplink", .type = FIELD_OBJECT, AT(api_ovs, uplink), .of = &api_ovs_uplink_table, .doc = "The PF in it." },
};
static TABLE(api_ovs_table, api_ovs, "OVSConfig");

static const struct field api_bridge_table_fields[] = {
	{ .name = "ovs", .type = FIELD_OBJECT, AT(api_bridge, ovs), .of = &api_ovs_table, .doc = "An Open vSwitch bridge." },
};
static TABLE(api_bridge_table, api_bridge, "Bridge");

static const struct field api_policy_spec_table_fields[] = {
	{ .name = "resourceName", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_policy_spec, resource_name),
	  .doc = "Name under which pods ask for the VFs, without prefix." },
	{ .name = "nodeSelector", .type = FIELD_MAP, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT_N(api_policy_spec, node_selector),
	  .doc = "Labels that a node must have, all of them; none takes every node." },
	{ .name = "priority", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = 0, .max = 99, AT(api_policy_spec, priority),
	  .doc = "Of two policies for one PF the lower number wins; 99 when absent." },
	{ .name = "mtu", .type = FIELD_INT, AT_LEAST(1), AT(api_policy_spec, mtu), .doc = "MTU of the VFs, 68 to 65535; the PF is raised to it when it is lower." },
	{ .name = "numVfs", .type = FIELD_INT, .flags = FIELD_REQUIRED | FIELD_ALWAYS | FIELD_BOUNDED, .min = 0, .max = INT64_MAX,
	  AT(api_policy_spec, num_vfs), .doc = "VFs to create on each PF." },
	{ .name = "nicSelector", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_policy_spec, nic_selector),
	  .of = &api_nic_selector_table, .doc = "The PFs; a PF must match every part that is given." },
	{ .name = "deviceType", .type = FIELD_STR, AT(api_policy_spec, device_type), ONE_OF("netdevice", "vfio-pci"), .dflt = "\"netdevice\"",
	  .doc = "Driver of the VFs: the kernel's own, or vfio-pci." },
	{ .name = "isRdma", .type = FIELD_BOOL, AT(api_policy_spec, is_rdma),
	  .doc = "VFs come with their RDMA device; true for linkType ib unless deviceType is vfio-pci." },
	{ .name = "needVhostNet", .type = FIELD_BOOL, AT(api_policy_spec, need_vhost_net), .doc = "Pods get /dev/vhost-net and /dev/net/tun." },
	{ .name = "linkType", .type = FIELD_STR, AT(api_policy_spec, link_type), ONE_OF("eth", "ETH", "ib", "IB"),
	  .doc = "Ethernet or InfiniBand; on cards that can be both, a change needs a reboot." },
	{ .name = "eSwitchMode", .type = FIELD_STR, AT(api_policy_spec, eswitch_mode), ONE_OF("legacy", "switchdev"),
	  .doc = "Mode of the card's embedded switch; legacy when absent." },
	{ .name = "vdpaType", .type = FIELD_STR, AT(api_policy_spec, vdpa_type), ONE_OF("virtio", "vhost"),
	  .doc = "Kind of vDPA device for each VF; only in switchdev mode. kvrail makes none and leaves such ports as they are." },
	{ .name = "excludeTopology", .type = FIELD_BOOL, AT(api_policy_spec, exclude_topology),
	  .doc = "Keeps the NUMA node of the VFs from the kubelet." },
	{ .name = "externallyManaged", .type = FIELD_BOOL, AT(api_policy_spec, externally_managed),
	  .doc = "Somebody else creates the VFs; they are only configured and handed out." },
	{ .name = "bridge", .type = FIELD_OBJECT, AT(api_policy_spec, bridge), .of = &api_bridge_table,
	  .doc = "A software bridge for the PF; only in switchdev mode. Kept for the SR-IOV operator: kvrail manages no bridges." },
};
static TABLE(api_policy_spec_table, api_policy_spec, "SriovNetworkNodePolicySpec");

static const struct field api_policy_table_fields[] = {
	OBJECT_FIELDS(api_policy),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_policy, spec), .of = &api_policy_spec_table,
	  .doc = "Which ports of which nodes get how many VFs, and how they are set up." },
	{ .name = "status", .type = FIELD_OBJECT, AT(api_policy, status), .of = &api_empty_table, .doc = "Holds nothing." },
};
TABLE(api_policy_table, api_policy, "SriovNetworkNodePolicy");
