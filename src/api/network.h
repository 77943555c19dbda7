/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetwork, SriovIBNetwork, OVSNetwork, sriovnetwork.openshift.io/v1: the networks that are rendered into NADs. */
#ifndef KVRAIL_API_NETWORK_H
#define KVRAIL_API_NETWORK_H

#include "api/meta.h"

struct api_trunk {
	struct object obj;
	int64_t *min_id, *max_id, *id;
};

/* One struct for the three kinds; a kind's table holds only its own fields. */
struct api_network_spec {
	struct object obj;
	const char *network_namespace, *resource_name, *capabilities, *ipam, *meta_plugins, *link_state;
	/* SriovNetwork */
	int64_t vlan, vlan_qos;
	const char *vlan_proto, *spoof_chk, *trust, *log_level, *log_file;
	int64_t *min_tx_rate, *max_tx_rate; /* Mbit/s */
	/* OVSNetwork */
	const char *bridge, *interface_type;
	int64_t mtu;
	struct api_trunk *trunk;
	size_t n_trunk;
};

struct api_network_status {
	struct object obj;
	struct api_condition *conditions;
	size_t n_conditions;
};

struct api_network {
	struct api_object object;
	struct api_network_spec *spec; /* never NULL after decoding */
	struct api_network_status *status; /* may be NULL */
};

extern const struct table api_sriov_network_table, api_sriov_ib_network_table, api_ovs_network_table;

/* NetworkAttachmentDefinition, k8s.cni.cncf.io/v1 */
struct api_nad_spec {
	struct object obj;
	const char *config; /* JSON text of a CNI conf or conflist */
};

struct api_nad {
	struct api_object object;
	struct api_nad_spec *spec; /* may be NULL */
};

extern const struct table api_nad_table;

#define NAD_RESOURCE_NAME "k8s.v1.cni.cncf.io/resourceName"

/* Node, core v1: only what selectors need. */
struct api_node {
	struct api_object object;
	yyjson_val *spec, *status; /* as they came */
};

extern const struct table api_node_table;

#endif
