/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <string.h>
#include <strings.h>

#include "attach/hwaddr.h"
#include "attach/rail.h"
#include "attach/sysctl.h"
#include "base/parse.h"
#include "base/strbuf.h"

struct runtime_conf {
	struct object obj;
	const char *mac, *device_id, *guid;
	const char **ips;
	size_t n_ips;
};

struct args_cni {
	struct object obj;
	const char *guid;
	const char **ips;
	size_t n_ips;
};

struct args {
	struct object obj;
	struct args_cni *cni;
};

/* Keys of sriov-cni, ib-sriov-cni, rdma-cni and tuning (provisioning of their NADs by the SR-IOV operator), and "resourceName", ours. */
struct plugin_conf {
	struct object obj;
	const char *type, *device_id, *pci_bus_id, *resource;
	int64_t *vlan, *vlan_qos, *min_rate, *max_rate, *mtu;
	const char *vlan_proto, *mac, *mac_upper, *spoofchk, *trust, *link_state;
	yyjson_val *ipam;
	struct runtime_conf *runtime;
	struct args *args;
	struct pair *sysctls;
	size_t n_sysctls;
};

#define AT(type, member) .offset = offsetof(struct type, member)
#define STR(key, member) { .name = key, .type = FIELD_STR, AT(plugin_conf, member) }
#define INT(key, member, from, to)                                                                               \
	{ .name = key, .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .min = from, .max = to,        \
	  AT(plugin_conf, member) }
#define WORD(key, member, list) { .name = key, .type = FIELD_STR, .words = list, AT(plugin_conf, member) }

static const struct field runtime_fields[] = {
	{ .name = "mac", .type = FIELD_STR, AT(runtime_conf, mac) },
	{ .name = "deviceID", .type = FIELD_STR, AT(runtime_conf, device_id) },
	{ .name = "infinibandGUID", .type = FIELD_STR, AT(runtime_conf, guid) },
	{ .name = "ips", .type = FIELD_STRS, AT(runtime_conf, ips), .n_offset = offsetof(struct runtime_conf, n_ips) },
};
static TABLE(runtime, runtime_conf, "runtimeConfig");

static const struct field args_cni_fields[] = {
	{ .name = "guid", .type = FIELD_STR, AT(args_cni, guid) },
	{ .name = "ips", .type = FIELD_STRS, AT(args_cni, ips), .n_offset = offsetof(struct args_cni, n_ips) },
};
static TABLE(args_cni, args_cni, "args.cni");

static const struct field args_table_fields[] = {
	{ .name = "cni", .type = FIELD_OBJECT, AT(args, cni), .of = &args_cni },
};
static TABLE(args_table, args, "args");

static const char *const on_off[] = { "on", "off", NULL };
static const char *const link_states[] = { "auto", "enable", "disable", NULL }; /* in the order of IFLA_VF_LINK_STATE_* */

static const struct field plugin_fields[] = {
	STR("type", type),
	STR("deviceID", device_id),
	STR("pciBusID", pci_bus_id),
	STR("resourceName", resource),
	INT("vlan", vlan, 0, 4094),
	INT("vlanQoS", vlan_qos, 0, 7),
	STR("vlanProto", vlan_proto),
	STR("mac", mac),
	STR("MAC", mac_upper),
	WORD("spoofchk", spoofchk, on_off),
	WORD("trust", trust, on_off),
	WORD("link_state", link_state, link_states),
	INT("min_tx_rate", min_rate, 0, UINT32_MAX),
	INT("max_tx_rate", max_rate, 0, UINT32_MAX),
	INT("mtu", mtu, 0, 65535),
	{ .name = "ipam", .type = FIELD_JSON, AT(plugin_conf, ipam) },
	{ .name = "runtimeConfig", .type = FIELD_OBJECT, AT(plugin_conf, runtime), .of = &runtime },
	{ .name = "args", .type = FIELD_OBJECT, AT(plugin_conf, args), .of = &args_table },
	{ .name = "sysctl", .type = FIELD_MAP, AT(plugin_conf, sysctls), .n_offset = offsetof(struct plugin_conf, n_sysctls) },
};
static TABLE(plugin, plugin_conf, "plugin");

bool rail_is_type(const char *type)
{
	return type && (!strcmp(type, "sriov") || !strcmp(type, "ib-sriov") || !strcmp(type, "kvrail"));
}

static int decode_plugin(struct arena *a, yyjson_val *v, struct plugin_conf *ret, struct err *e)
{
	struct complaints c = { .arena = a };

	if (table_decode(&plugin, a, v, "", ret, &c) == 0)
		return 0;
	for (size_t i = 0; i < c.n; i++)
		if (!c.v[i].warning)
			return err_set(e, -EINVAL, "%s: %s", c.v[i].path, c.v[i].text);
	return err_set(e, -EINVAL, "malformed plugin configuration");
}

static int set_mac(struct rail *rail, const char *key, const char *text, struct err *e)
{
	if (!is_given(text))
		return 0;
	if (hwaddr_parse(text, rail->want.mac, 6) < 0)
		return err_set(e, -EINVAL, "%s: \"%s\" is no MAC address such as 02:00:5e:10:00:01", key, text);
	if (rail->want.mac[0] & 1)
		return err_set(e, -EINVAL, "%s: %s is a multicast address; an interface needs a unicast one (the first byte even)", key, text);
	rail->want.has_mac = true;
	return 0;
}

int rail_want_guid(struct rail *rail, const char *key, const char *text, struct err *e)
{
	unsigned char raw[8];
	uint64_t guid = 0;

	if (!is_given(text))
		return 0;
	if (hwaddr_parse(text, raw, 8) < 0)
		return err_set(e, -EINVAL, "%s: \"%s\" is no GUID such as 02:00:5e:ff:fe:10:00:01", key, text);
	for (size_t i = 0; i < sizeof(raw); i++)
		guid = guid << 8 | raw[i];
	if (guid == 0 || guid == UINT64_MAX)
		return err_set(e, -EINVAL, "%s: %s is no GUID that a port can have", key, text);
	rail->want.guid = guid;
	rail->want.has_guid = true;
	return 0;
}

int rail_want_ips(struct arena *a, struct rail *rail, const char *key, const char *list, struct err *e)
{
	if (!list)
		return 0;
	for (const char *s = list; *s; s += *s == ',') {
		const char *ip = arena_strndup(a, s, strcspn(s, ","));

		if (!hwaddr_is_ip(ip))
			return err_set(e, -EINVAL, "%s: \"%s\" is no IP address", key, ip);
		s += strlen(ip);
	}
	rail->ip = list;
	return 0;
}

/* With commas between; NULL: none. */
static const char *list_of(struct arena *a, const char **ips, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", ips[i]);
	return n ? arena_strdup(a, b.s) : NULL;
}

int rail_ask(struct arena *a, struct rail *rail, const struct annotation_item *item, struct err *e)
{
	if (item->mac) {
		hwaddr_parse(item->mac, rail->want.mac, 6); /* valid: the annotation was checked */
		rail->want.has_mac = true;
	}
	if (rail_want_guid(rail, "infiniband-guid", item->guid, e) < 0)
		return -EINVAL;
	return rail_want_ips(a, rail, "ips", list_of(a, item->ips, item->n_ips), e);
}

/* As sriov-cni: 802.1q and QoS 0 go with vlan 0, which is none; without the key vlan there is nothing that they could be of. */
static int set_vlan(const struct plugin_conf *c, struct rail_want *w, struct err *e)
{
	bool ad = c->vlan_proto && !strcasecmp(c->vlan_proto, "802.1ad");

	if (!c->vlan && c->vlan_qos)
		return err_set(e, -EINVAL, "vlanQoS: %lld needs a vlan", (long long)*c->vlan_qos);
	if (!c->vlan && c->vlan_proto)
		return err_set(e, -EINVAL, "vlanProto: %s needs a vlan", c->vlan_proto);
	if (!c->vlan)
		return 0;
	if (c->vlan_proto && !ad && strcasecmp(c->vlan_proto, "802.1q"))
		return err_set(e, -EINVAL, "vlanProto: \"%s\" is neither 802.1q nor 802.1ad", c->vlan_proto);
	if (*c->vlan == 0 && c->vlan_qos && *c->vlan_qos)
		return err_set(e, -EINVAL, "vlanQoS: %lld needs a vlan other than 0", (long long)*c->vlan_qos);
	if (*c->vlan == 0 && ad)
		return err_set(e, -EINVAL, "vlanProto: %s needs a vlan other than 0", c->vlan_proto);
	w->vlan = (int)*c->vlan;
	w->vlan_qos = c->vlan_qos ? (int)*c->vlan_qos : 0;
	w->vlan_proto = ad ? ETH_P_8021AD : ETH_P_8021Q;
	return 0;
}

static int set_rates(const struct plugin_conf *c, struct rail_want *w, struct err *e)
{
	w->min_rate = c->min_rate ? *c->min_rate : RAIL_UNSET;
	w->max_rate = c->max_rate ? *c->max_rate : RAIL_UNSET;
	if (w->max_rate > 0 && w->min_rate > w->max_rate)
		return err_set(e, -EINVAL, "min_tx_rate: %lld is above max_tx_rate %lld", (long long)w->min_rate,
			       (long long)w->max_rate);
	return 0;
}

static int word_index(const char *word, const char *const *words)
{
	for (int i = 0; is_given(word) && words[i]; i++)
		if (!strcmp(word, words[i]))
			return i;
	return RAIL_UNSET;
}

static int apply_main(struct arena *a, yyjson_val *v, struct rail *rail, struct err *e)
{
	struct rail_want *w = &rail->want;
	struct plugin_conf c = { 0 };
	int r = decode_plugin(a, v, &c, e);

	if (r == 0)
		r = set_vlan(&c, w, e);
	if (r == 0)
		r = set_rates(&c, w, e);
	if (r == 0)
		r = set_mac(rail, "mac", is_given(c.mac) ? c.mac : c.mac_upper, e);
	if (r == 0 && c.args && c.args->cni)
		r = rail_want_ips(a, rail, "args.cni.ips", list_of(a, c.args->cni->ips, c.args->cni->n_ips), e);
	if (r == 0 && c.runtime)
		r = set_mac(rail, "runtimeConfig.mac", c.runtime->mac, e);
	rail->mac_by_runtime = c.runtime && is_given(c.runtime->mac);
	if (r == 0 && c.args && c.args->cni)
		r = rail_want_guid(rail, "args.cni.guid", c.args->cni->guid, e);
	if (r == 0 && c.runtime)
		r = rail_want_guid(rail, "runtimeConfig.infinibandGUID", c.runtime->guid, e);
	if (r == 0 && c.runtime)
		r = rail_want_ips(a, rail, "runtimeConfig.ips", list_of(a, c.runtime->ips, c.runtime->n_ips), e);
	if (r == 0 && c.ipam && !yyjson_is_null(c.ipam))
		r = ipam_conf_parse(a, c.ipam, &rail->ipam, e);
	if (r < 0)
		return r;
	w->spoofchk = is_given(c.spoofchk) ? !strcmp(c.spoofchk, "on") : RAIL_UNSET;
	w->trust = is_given(c.trust) ? !strcmp(c.trust, "on") : RAIL_UNSET;
	w->link_state = word_index(c.link_state, link_states);
	/* sriov-cni never applied its "mtu"; as a type of ours it counts */
	if (!strcmp(c.type, "kvrail") && c.mtu)
		w->mtu = *c.mtu;
	if (is_given(c.resource))
		rail->resource = c.resource;
	if (c.runtime && is_given(c.runtime->device_id))
		rail->device_id = c.runtime->device_id;
	else if (is_given(c.device_id) || is_given(c.pci_bus_id))
		rail->device_id = is_given(c.device_id) ? c.device_id : c.pci_bus_id;
	return 0;
}

static int add_sysctls(struct arena *a, const struct plugin_conf *c, struct rail *rail, struct err *e)
{
	struct pair *all = arena_alloc(a, (rail->n_sysctls + c->n_sysctls) * sizeof(*all));
	const char *path;

	for (size_t i = 0; i < c->n_sysctls; i++) {
		int r = sysctl_path(a, c->sysctls[i].key, rail->ifname ? rail->ifname : "net1", &path, e);

		if (r < 0)
			return r;
		all[rail->n_sysctls + i] = c->sysctls[i];
	}
	for (size_t i = 0; i < rail->n_sysctls; i++)
		all[i] = rail->sysctls[i];
	rail->sysctls = all;
	rail->n_sysctls += c->n_sysctls;
	return 0;
}

/* "rdma" and "tuning" behind the interface's own plugin. */
static int apply_meta(struct arena *a, yyjson_val *v, const char *type, struct rail *rail, struct err *e)
{
	struct plugin_conf c = { 0 };
	int r = 0;

	if (type && !strcmp(type, "rdma")) {
		rail->want.rdma = true;
		return 0;
	}
	if (!type || strcmp(type, "tuning"))
		return err_set(e, -EINVAL, "type: \"%s\" is not known behind an SR-IOV interface; rdma and tuning are", type ? type : "");
	if (yyjson_obj_get(v, "promisc") || yyjson_obj_get(v, "allmulti") || yyjson_obj_get(v, "txQLen"))
		return err_set(e, -EINVAL, "of tuning, mtu, mac and sysctl can be set, promisc, allmulti and txQLen cannot");
	r = decode_plugin(a, v, &c, e);
	if (r == 0)
		r = set_mac(rail, "mac", c.mac, e);
	if (r == 0 && c.mtu)
		rail->want.mtu = *c.mtu;
	return r == 0 ? add_sysctls(a, &c, rail, e) : r;
}

static int apply_list(struct arena *a, yyjson_val *plugins, struct rail *rail, struct err *e)
{
	bool have_main = false;
	yyjson_arr_iter it;
	size_t i = 0;
	yyjson_val *v;

	yyjson_arr_iter_init(plugins, &it);
	for (; (v = yyjson_arr_iter_next(&it)); i++) {
		const char *type = doc_str(v, "type");
		bool is_main = rail_is_type(type);
		int r;

		if (is_main && have_main)
			return err_set(e, -EINVAL, "plugins[%zu].type: \"%s\" would make a second interface", i, type);
		have_main |= is_main;
		r = is_main ? apply_main(a, v, rail, e) : apply_meta(a, v, type, rail, e);
		if (r < 0)
			return err_wrap(e, r, "plugins[%zu]", i);
	}
	if (!have_main)
		return err_set(e, -EINVAL, "plugins: none of type sriov, ib-sriov or kvrail");
	return 0;
}

int rail_from_conf(struct arena *a, yyjson_val *conf, struct rail *rail, struct err *e)
{
	yyjson_val *plugins = yyjson_obj_get(conf, "plugins");
	const char *type = doc_str(conf, "type");
	int r;

	rail->want = (struct rail_want){ .vlan = RAIL_UNSET, .spoofchk = RAIL_UNSET, .trust = RAIL_UNSET, .link_state = RAIL_UNSET,
					 .min_rate = RAIL_UNSET, .max_rate = RAIL_UNSET };
	if (plugins && !yyjson_is_arr(plugins))
		return err_set(e, -EINVAL, "plugins: must be a list");
	if (!plugins && !rail_is_type(type))
		return err_set(e, -EINVAL, "type: \"%s\" is none that kvrail makes: sriov, ib-sriov, kvrail", type ? type : "");
	r = plugins ? apply_list(a, plugins, rail, e) : apply_main(a, conf, rail, e);
	rail->ipam.name = doc_str(conf, "name");
	return r;
}
