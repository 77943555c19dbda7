/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetworkPoolConfig and SriovOperatorConfig, sriovnetwork.openshift.io/v1: how a cluster's nodes are treated. */
#ifndef KVRAIL_API_OPERATOR_H
#define KVRAIL_API_OPERATOR_H

#include "api/meta.h"

struct api_requirement {
	struct object obj;
	const char *key, *operator; /* In, NotIn, Exists, DoesNotExist */
	const char **values;
	size_t n_values;
};

/* A LabelSelector: all labels and all requirements must hold. */
struct api_label_selector {
	struct object obj;
	struct pair *match_labels;
	size_t n_match_labels;
	struct api_requirement *match_expressions;
	size_t n_match_expressions;
};

struct api_ovs_offload {
	struct object obj;
	const char *name; /* of a MachineConfigPool */
};

struct api_pool_config_spec {
	struct object obj;
	struct api_ovs_offload *ovs_hardware_offload;
	struct api_label_selector *node_selector;
	const char *max_unavailable; /* "2" or "25%"; NULL: all nodes at once */
	const char *rdma_mode;	     /* shared, exclusive or NULL */
};

struct api_pool_config {
	struct api_object object;
	struct api_pool_config_spec *spec; /* never NULL after decoding */
	struct api_empty *status;
};

extern const struct table api_pool_config_table;

struct api_operator_config_spec {
	struct object obj;
	struct pair *config_daemon_node_selector, *config_daemon_env_vars;
	size_t n_config_daemon_node_selector, n_config_daemon_env_vars;
	bool enable_injector, enable_operator_webhook, disable_drain, enable_ovs_offload, use_cdi;
	int64_t log_level;
	const char *configuration_mode; /* daemon, systemd or NULL */
	const char **disable_plugins;
	size_t n_disable_plugins;
	struct flag *feature_gates;
	size_t n_feature_gates;
};

struct api_operator_config_status {
	struct object obj;
	const char *injector, *operator_webhook;
	struct api_condition *conditions;
	size_t n_conditions;
};

struct api_operator_config {
	struct api_object object;
	struct api_operator_config_spec *spec;	   /* never NULL after decoding */
	struct api_operator_config_status *status; /* may be NULL */
};

extern const struct table api_operator_config_table;

#endif
