/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/fields.h"
#include "api/operator.h"
#include "base/parse.h"

#define ATOMIC_LIST "{\"x-kubernetes-list-type\": \"atomic\"}"

static const struct field api_requirement_table_fields[] = {
	{ .name = "key", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_requirement, key), .doc = "Label." },
	{ .name = "operator", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_requirement, operator),
	  .doc = "In, NotIn, Exists or DoesNotExist." },
	{ .name = "values", .type = FIELD_STRS, AT_N(api_requirement, values), .schema = ATOMIC_LIST, .doc = "Values for In and NotIn." },
};
static TABLE(api_requirement_table, api_requirement, "LabelSelectorRequirement");

static const struct field api_label_selector_table_fields[] = {
	{ .name = "matchLabels", .type = FIELD_MAP, AT_N(api_label_selector, match_labels), .doc = "Labels with their values." },
	{ .name = "matchExpressions", .type = FIELD_OBJECTS, AT_N(api_label_selector, match_expressions), .of = &api_requirement_table,
	  .schema = ATOMIC_LIST, .doc = "Further requirements." },
};
static TABLE(api_label_selector_table, api_label_selector, "LabelSelector");

static const struct field api_ovs_offload_table_fields[] = {
	{ .name = "name", .type = FIELD_STR, AT(api_ovs_offload, name), .doc = "MachineConfigPool to prepare for OVS offload." },
};
static TABLE(api_ovs_offload_table, api_ovs_offload, "OvsHardwareOffloadConfig");

static const struct field api_pool_config_spec_table_fields[] = {
	{ .name = "ovsHardwareOffloadConfig", .type = FIELD_OBJECT, AT(api_pool_config_spec, ovs_hardware_offload),
	  .of = &api_ovs_offload_table, .doc = "OpenShift only; goes with none of the others." },
	{ .name = "nodeSelector", .type = FIELD_OBJECT, AT(api_pool_config_spec, node_selector), .of = &api_label_selector_table,
	  .schema = "{\"x-kubernetes-map-type\": \"atomic\"}", .doc = "Nodes of the pool; a node may be in one pool only." },
	{ .name = "maxUnavailable", .type = FIELD_INT_OR_STR, AT(api_pool_config_spec, max_unavailable),
	  .doc = "Nodes, or share of them (\"25%\"). Kept for the SR-IOV operator: kvrail drains no node." },
	{ .name = "rdmaMode", .type = FIELD_STR, AT(api_pool_config_spec, rdma_mode), ONE_OF("shared", "exclusive"),
	  .doc = "Whether RDMA devices are seen by all network namespaces or by one." },
};
static TABLE(api_pool_config_spec_table, api_pool_config_spec, "SriovNetworkPoolConfigSpec");

static const struct field api_pool_config_table_fields[] = {
	OBJECT_FIELDS(api_pool_config),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_pool_config, spec), .of = &api_pool_config_spec_table,
	  .doc = "How the pool's nodes are treated." },
	{ .name = "status", .type = FIELD_OBJECT, AT(api_pool_config, status), .of = &api_empty_table, .doc = "Holds nothing." },
};
TABLE(api_pool_config_table, api_pool_config, "SriovNetworkPoolConfig");

static const struct field api_operator_config_spec_table_fields[] = {
	{ .name = "configDaemonNodeSelector", .type = FIELD_MAP, AT_N(api_operator_config_spec, config_daemon_node_selector),
	  .doc = "Labels of the nodes that get a node state; where agents run, their DaemonSet says." },
	{ .name = "configDaemonEnvVars", .type = FIELD_MAP, AT_N(api_operator_config_spec, config_daemon_env_vars),
	  .doc = "Kept; an environment is given to the agent in its DaemonSet." },
	{ .name = "enableInjector", .type = FIELD_BOOL, AT(api_operator_config_spec, enable_injector),
	  .doc = "Kept; kvrail's admission is on where its webhook configuration is." },
	{ .name = "enableOperatorWebhook", .type = FIELD_BOOL, AT(api_operator_config_spec, enable_operator_webhook),
	  .doc = "Kept; kvrail's admission is on where its webhook configuration is." },
	{ .name = "logLevel", .type = FIELD_INT, BETWEEN(0, 2), AT(api_operator_config_spec, log_level), .doc = "Kept; the agent has --log-level." },
	{ .name = "disableDrain", .type = FIELD_BOOL, AT(api_operator_config_spec, disable_drain),
	  .doc = "Kept; kvrail drains no node: a port whose VFs pods hold waits for them." },
	{ .name = "enableOvsOffload", .type = FIELD_BOOL, AT(api_operator_config_spec, enable_ovs_offload), .doc = "Old; has no effect." },
	{ .name = "configurationMode", .type = FIELD_STR, AT(api_operator_config_spec, configuration_mode), ONE_OF("daemon", "systemd"),
	  .doc = "Kept; the agent sets ports up." },
	{ .name = "useCDI", .type = FIELD_BOOL, AT(api_operator_config_spec, use_cdi), .doc = "Kept; the agent uses CDI unless it has --cdi-dir=none." },
	{ .name = "disablePlugins", .type = FIELD_STRS, AT_N(api_operator_config_spec, disable_plugins), ONE_OF("mellanox"),
	  .doc = "Kept; kvrail has no vendor parts." },
	{ .name = "featureGates", .type = FIELD_BOOL_MAP, AT_N(api_operator_config_spec, feature_gates), .doc = "Features by name." },
};
static TABLE(api_operator_config_spec_table, api_operator_config_spec, "SriovOperatorConfigSpec");

static const struct field api_operator_config_status_table_fields[] = {
	{ .name = "injector", .type = FIELD_STR, AT(api_operator_config_status, injector), .doc = "Whether the injector runs." },
	{ .name = "operatorWebhook", .type = FIELD_STR, AT(api_operator_config_status, operator_webhook), .doc = "Whether the webhook runs." },
	{ .name = "conditions", .type = FIELD_OBJECTS, AT_N(api_operator_config_status, conditions), .of = &api_condition_table,
	  .schema = "{\"x-kubernetes-list-type\": \"map\", \"x-kubernetes-list-map-keys\": [\"type\"]}",
	  .doc = "Ready, and why or why not." },
};
static TABLE(api_operator_config_status_table, api_operator_config_status, "SriovOperatorConfigStatus");

static const struct field api_operator_config_table_fields[] = {
	OBJECT_FIELDS(api_operator_config),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_operator_config, spec), .of = &api_operator_config_spec_table,
	  .doc = "Settings of the whole cluster." },
	{ .name = "status", .type = FIELD_OBJECT, AT(api_operator_config, status), .of = &api_operator_config_status_table,
	  .doc = "What runs." },
};
TABLE(api_operator_config_table, api_operator_config, "SriovOperatorConfig");

static void check_max_unavailable(const char *s, struct complaints *c)
{
	const char *path = "spec.maxUnavailable", *start = "SriovOperatorConfig invalid maxUnavailable";
	size_t n = strlen(s);
	int64_t v;

	if (parse_i64(s, 10, INT64_MIN, INT64_MAX, &v) == 0) {
		if (v < 0)
			complain(c, false, path, "%s: negative number is not allowed: %s", start, s);
		return;
	}
	if (n < 2 || s[n - 1] != '%' ||
	    parse_i64(arena_strndup(c->arena, s + (*s == '+'), n - 1 - (*s == '+')), 10, INT64_MIN, INT64_MAX, &v) < 0)
		complain(c, false, path,
			 "%s: \"%.40s\" is neither a number nor a percentage such as \"25%%\"",
			 start, s);
	else if (v < 1 || v > 100)
		complain(c, false, path, "%s: \"%.40s\": a percentage is between 1 and 100", start, s);
}

static void check_requirement(const struct api_requirement *r, const char *path, struct complaints *c)
{
	static const char *const operators[] = { "In", "NotIn", "Exists", "DoesNotExist", NULL };
	const char *near = parse_nearest(r->operator, operators);
	bool valued = !strcmp(r->operator, "In") || !strcmp(r->operator, "NotIn");

	if (!valued && strcmp(r->operator, "Exists") && strcmp(r->operator, "DoesNotExist"))
		complain(c, false, arena_printf(c->arena, "%s.operator", path),
			 "\"%.40s\" is none of In, NotIn, Exists or DoesNotExist%s%s%s", r->operator,
			 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	else if (valued && !r->n_values)
		complain(c, false, arena_printf(c->arena, "%s.values", path),
			 "is missing: %s needs at least one", r->operator);
	else if (!valued && r->n_values)
		complain(c, false, arena_printf(c->arena, "%s.values", path), "%s takes no values",
			 r->operator);
}

void api_pool_config_validate(const void *object, struct complaints *c)
{
	const struct api_pool_config_spec *s = ((const struct api_pool_config *)object)->spec;
	const char *pool = s->ovs_hardware_offload ? s->ovs_hardware_offload->name : NULL;

	if ((s->max_unavailable || s->node_selector) && pool && *pool)
		complain(c, false, "spec.ovsHardwareOffloadConfig",
			 "SriovOperatorConfig can't have both parallel configuration and OvsHardwareOffloadConfig");
	if (s->max_unavailable)
		check_max_unavailable(s->max_unavailable, c);
	for (size_t i = 0; s->node_selector && i < s->node_selector->n_match_expressions; i++)
		check_requirement(&s->node_selector->match_expressions[i],
				  arena_printf(c->arena, "spec.nodeSelector.matchExpressions[%zu]", i), c);
}

void api_operator_config_validate(const void *object, struct complaints *c)
{
	static const char *const gates[] = { "parallelNicConfig",
					     "resourceInjectorMatchCondition",
					     "metricsExporter",
					     "manageSoftwareBridges",
					     "blockDevicePluginUntilConfigured",
					     "mellanoxFirmwareReset",
					     NULL };
	const struct api_operator_config *o = object;
	const struct api_meta *m = o->object.meta;

	if (m->name && strcmp(m->name, "default"))
		complain(c, false, "metadata.name",
			 "only default SriovOperatorConfig in %s namespace is used",
			 m->namespace ? m->namespace : "the operator's");
	if (o->spec->disable_drain)
		complain(c, true, "spec.disableDrain",
			 "Node draining is disabled for applying SriovNetworkNodePolicy, it may result in workload interruption.");
	for (size_t i = 0; i < o->spec->n_feature_gates; i++) {
		const char *near = parse_nearest(o->spec->feature_gates[i].key, gates);

		if (!near || strcmp(near, o->spec->feature_gates[i].key))
			complain(c, true,
				 arena_printf(c->arena, "spec.featureGates.%s",
					      o->spec->feature_gates[i].key),
				 "unknown feature gate%s%s%s", near ? "; did you mean " : "",
				 near ? near : "", near ? "?" : "");
	}
}
