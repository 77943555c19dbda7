/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetworkNodeState, sriovnetwork.openshift.io/v1: what one node's ports shall be (spec) and are (status). */
#ifndef KVRAIL_API_NODESTATE_H
#define KVRAIL_API_NODESTATE_H

#include "api/meta.h"
#include "api/policy.h"

struct api_vf_group {
	struct object obj;
	const char *resource_name, *device_type, *vf_range /* "0-7" */, *policy_name, *vdpa_type;
	int64_t mtu;
	bool is_rdma;
};

struct api_interface {
	struct object obj;
	const char *pci_address, *name, *link_type, *eswitch_mode;
	int64_t num_vfs, mtu;
	struct api_vf_group *vf_groups;
	size_t n_vf_groups;
	bool externally_managed;
};

struct api_ovs_uplink_state {
	struct object obj;
	const char *pci_address, *name;
	struct api_ovs_interface *interface;
};

struct api_ovs_bridge_state {
	struct object obj;
	const char *name;
	struct api_ovs_bridge *bridge;
	struct api_ovs_uplink_state *uplinks;
	size_t n_uplinks;
};

struct api_bridges {
	struct object obj;
	struct api_ovs_bridge_state *ovs;
	size_t n_ovs;
};

struct api_system {
	struct object obj;
	const char *rdma_mode; /* shared, exclusive or absent */
};

struct api_nodestate_spec {
	struct object obj;
	struct api_interface *interfaces;
	size_t n_interfaces;
	struct api_bridges *bridges;
	struct api_system *system;
};

struct api_vf_status {
	struct object obj;
	const char *name, *mac, *assigned, *driver, *pci_address, *vendor, *device_id, *vdpa_type,
		*representor_name, *guid;
	int64_t vlan, mtu, vf_id;
};

struct api_interface_status {
	struct object obj;
	const char *name, *mac, *driver, *pci_address, *vendor, *device_id, *net_filter, *link_speed,
		*link_type, *link_admin_state, *eswitch_mode;
	int64_t mtu, num_vfs, total_vfs;
	bool externally_managed;
	const char **alt_names;
	size_t n_alt_names;
	struct api_vf_status *vfs; /* JSON key "Vfs" */
	size_t n_vfs;
};

struct api_nodestate_status {
	struct object obj;
	struct api_interface_status *interfaces;
	size_t n_interfaces;
	struct api_bridges *bridges;
	struct api_system *system;
	const char *sync_status, *last_sync_error;
};

struct api_nodestate {
	struct api_object object;
	struct api_nodestate_spec *spec;     /* may be NULL */
	struct api_nodestate_status *status; /* may be NULL */
};

extern const struct table api_nodestate_table;

#endif
