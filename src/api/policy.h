/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetworkNodePolicy, sriovnetwork.openshift.io/v1: which ports of which nodes get how many VFs, and how. */
#ifndef KVRAIL_API_POLICY_H
#define KVRAIL_API_POLICY_H

#include "api/meta.h"

struct api_nic_selector {
	struct object obj;
	const char *vendor, *device_id, *net_filter; /* hex without 0x; "aws/NetworkID:..." */
	const char **root_devices; /* PF PCI addresses */
	size_t n_root_devices;
	const char **pf_names; /* "p2" or "p2#0-3" */
	size_t n_pf_names;
};

/* bridge.ovs of policies and node states; kept whole. */
struct api_ovs_interface {
	struct object obj;
	const char *type;
	struct pair *options, *external_ids, *other_config;
	size_t n_options, n_external_ids, n_other_config;
	int64_t *mtu_request;
};

struct api_ovs_uplink {
	struct object obj;
	struct api_ovs_interface *interface;
};

struct api_ovs_bridge {
	struct object obj;
	const char *datapath_type, *fail_mode;
	struct pair *external_ids, *other_config;
	size_t n_external_ids, n_other_config;
};

struct api_ovs {
	struct object obj;
	struct api_ovs_bridge *bridge;
	struct api_ovs_uplink *uplink;
};

struct api_bridge {
	struct object obj;
	struct api_ovs *ovs;
};

struct api_policy_spec {
	struct object obj;
	const char *resource_name;
	struct pair *node_selector;
	size_t n_node_selector;
	int64_t *priority; /* 0..99, 0 strongest; absent means 99 */
	int64_t mtu, num_vfs;
	struct api_nic_selector *nic_selector;
	const char *device_type; /* netdevice (default), vfio-pci */
	bool is_rdma, need_vhost_net, exclude_topology, externally_managed;
	const char *link_type, *eswitch_mode, *vdpa_type;
	struct api_bridge *bridge;
};

struct api_policy {
	struct api_object object;
	struct api_policy_spec *spec; /* never NULL after decoding */
	struct api_empty *status;     /* the schema has no member for it */
};

extern const struct table api_policy_table;

/*
 * "p2#0-3" into its name ("p2", in @a) and VF range; without '#' *from and *to are -1.
 * The errors are those of the admission webhook ("failed to parse %s PF name ...").
 */
int api_pf_name(struct arena *a, const char *text, const char **name, int64_t *from, int64_t *to,
		struct err *e);

#endif
