/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for one network: above all, that the JSON texts inside it are what they are pasted into a CNI configuration as. */
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "api/network.h"
#include "base/parse.h"

#define JSON_TEXT_MAX (1u << 20)

/* White space alone: pasted into a configuration it is not the same as nothing. */
static bool is_blank(const char *s)
{
	return s[strspn(s, " \t\r\n")] == '\0';
}

/* The text as a value; a complaint and NULL when it is none. */
static yyjson_val *json_text(const char *path, const char *name, const char *text,
			     const char *wanted, struct complaints *c)
{
	yyjson_val *v;
	struct err e;

	if (doc_parse_json(c->arena, name, text, strlen(text), JSON_TEXT_MAX, &v, &e) == 0)
		return v;
	complain(c, false, path, "%s must be %s: %s", name, wanted, e.msg);
	return NULL;
}

static void check_plugin_type(const char *path, const char *what, yyjson_val *plugin, struct complaints *c)
{
	yyjson_val *type = yyjson_obj_get(plugin, "type");

	if (!type)
		complain(c, false, path, "%s must contain a \"type\" field", what);
	else if (!yyjson_is_str(type))
		complain(c, false, path, "%s \"type\" must be a string", what);
	else if (is_blank(yyjson_get_str(type)))
		complain(c, false, path, "%s \"type\" must not be empty", what);
}

static void check_capabilities(const char *text, struct complaints *c)
{
	const char *path = "spec.capabilities",
		   *wanted = "a JSON object with boolean values, e.g. '{\"mac\": true}'";
	yyjson_val *v, *key, *val;
	size_t i, max;

	if (!is_given(text))
		return;
	v = json_text(path, "capabilities", text, wanted, c);
	if (!v)
		return;
	if (!yyjson_is_obj(v))
		complain(c, false, path, "capabilities must be %s", wanted);
	yyjson_obj_foreach(v, i, max, key, val) if (!yyjson_is_bool(val))
		complain(c, false, path, "capabilities must be %s: \"%.60s\" is %.60s", wanted,
			 yyjson_get_str(key), doc_to_json(c->arena, val, false));
}

static void check_ipam(const char *text, struct complaints *c)
{
	const char *path = "spec.ipam";
	yyjson_val *v;

	if (!is_given(text))
		return;
	v = json_text(path, "ipam", text, "a valid JSON object", c);
	if (!v)
		return;
	if (!yyjson_is_obj(v))
		complain(c, false, path, "ipam must be a valid JSON object");
	else if (yyjson_obj_size(v)) /* {} is: no address management */
		check_plugin_type(path, "ipam", v, c);
}

/* Objects with commas between them, as they are pasted into the plugin list. */
static void check_meta_plugins(const char *text, struct complaints *c)
{
	const char *path = "spec.metaPlugins";
	yyjson_val *v, *item;
	size_t i, max;

	if (!is_given(text))
		return;
	if (is_blank(text)) {
		complain(c, false, path, "metaPlugins must be one or more JSON plugin objects, or not be there: it is blank");
		return;
	}
	v = json_text(path, "metaPlugins", arena_printf(c->arena, "[%s]", text),
		      "one or more JSON plugin objects", c);
	if (!v)
		return;
	yyjson_arr_foreach(v, i, max, item) {
		if (!yyjson_is_obj(item))
			complain(c, false, path,
				 "metaPlugins must be one or more JSON plugin objects, and no list around them");
		else
			check_plugin_type(path, arena_printf(c->arena, "metaPlugins[%zu]", i), item, c);
	}
}

static void check_common(const struct api_network *n, struct complaints *c)
{
	const struct api_network_spec *s = n->spec;

	if (!is_given(s->resource_name))
		complain(c, false, "spec.resourceName", "resource name must not be empty");
	check_capabilities(s->capabilities, c);
	check_ipam(s->ipam, c);
	check_meta_plugins(s->meta_plugins, c);
}

/* What the kernel or the CNI plugin would refuse at the first pod; the operator takes it. */
static void warn_ahead(const struct api_network_spec *s, struct complaints *c)
{
	if (s->vlan_qos && !s->vlan)
		complain(c, true, "spec.vlanQoS",
			 "%lld has no effect without a vlan: set spec.vlan", (long long)s->vlan_qos);
	if (is_given(s->vlan_proto) && strcasecmp(s->vlan_proto, "802.1q") && !s->vlan)
		complain(c, true, "spec.vlanProto",
			 "%s has no effect without a vlan: set spec.vlan", s->vlan_proto);
	if (s->min_tx_rate && s->max_tx_rate && *s->max_tx_rate && *s->min_tx_rate > *s->max_tx_rate)
		complain(c, true, "spec.minTxRate", "%lld is above maxTxRate %lld: no card will take it",
			 (long long)*s->min_tx_rate, (long long)*s->max_tx_rate);
}

void api_network_validate(const void *object, struct complaints *c)
{
	const struct api_network *n = object;

	check_common(n, c);
	warn_ahead(n->spec, c);
	if (n->spec->log_file && strpbrk(n->spec->log_file, "\"\\"))
		complain(c, false, "spec.logFile", "logFile must not contain quotes or backslashes");
}

static void check_trunk(const struct api_network_spec *s, struct complaints *c)
{
	for (size_t i = 0; i < s->n_trunk; i++) {
		const struct api_trunk *t = &s->trunk[i];
		const char *path = arena_printf(c->arena, "spec.trunk[%zu]", i);

		if (!t->id && !t->min_id && !t->max_id)
			complain(c, false, path, "names no VLAN: set id, or minID and maxID");
		else if (!t->min_id != !t->max_id)
			complain(c, false, path, "%s is missing: a range has both ends",
				 t->min_id ? "maxID" : "minID");
		else if (t->min_id && *t->min_id > *t->max_id)
			complain(c, false, path, "minID %lld is above maxID %lld",
				 (long long)*t->min_id, (long long)*t->max_id);
	}
}

void api_ovs_network_validate(const void *object, struct complaints *c)
{
	const struct api_network *n = object;
	const char *bridge = n->spec->bridge, *type = n->spec->interface_type;

	check_common(n, c);
	check_trunk(n->spec, c);
	if (is_given(bridge) && !parse_is_ifname(bridge))
		complain(c, false, "spec.bridge",
			 "\"%.40s\" is no interface name: at most 15 characters, no '/', ':' or space",
			 bridge);
	if (is_given(type) && (strlen(type) > 32 || strpbrk(type, "\"\\ \t\r\n")))
		complain(c, false, "spec.interfaceType",
			 "\"%.40s\": at most 32 characters, no quotes, backslashes or space", type);
	if (n->spec->mtu && (n->spec->mtu < 68 || n->spec->mtu > 65535))
		complain(c, false, "spec.mtu", "%lld is %s", (long long)n->spec->mtu,
			 n->spec->mtu < 68 ? "below 68" : "above 65535");
}

/* An empty configuration is legal: the node has a file of that name. */
void api_nad_validate(const void *object, struct complaints *c)
{
	const struct api_nad *nad = object;
	const char *config = nad->spec ? nad->spec->config : NULL, *path = "spec.config";
	yyjson_val *v, *plugins, *item;
	size_t i, max;

	if (!is_given(config) || is_blank(config))
		return;
	v = json_text(path, "config", config, "a CNI configuration in JSON", c);
	if (!v)
		return;
	plugins = yyjson_obj_get(v, "plugins");
	if (!yyjson_is_obj(v)) {
		complain(c, false, path,
			 "config must be a CNI configuration in JSON: an object with \"type\" or \"plugins\"");
	} else if (!plugins) {
		check_plugin_type(path, "config", v, c);
	} else if (!yyjson_arr_size(plugins)) {
		complain(c, false, path, "config \"plugins\" must be a list with at least one plugin");
	}
	yyjson_arr_foreach(plugins, i, max, item)
		check_plugin_type(path, arena_printf(c->arena, "config plugins[%zu]", i), item, c);
}
