/* SPDX-License-Identifier: Apache-2.0 */
/* What a PF says about its VFs and does to them: IFLA_VFINFO_LIST, a list of IFLA_VF_INFO, each with attributes of one VF. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "linux/rtnl-private.h"

static const struct nl_policy list_policy[IFLA_VFINFO_LIST + 1] = {
	[IFLA_VFINFO_LIST] = { NL_NESTED },
};

static const struct nl_policy vf_policy[IFLA_VF_MAX + 1] = {
	[IFLA_VF_MAC] = { NL_BYTES, sizeof(struct ifla_vf_mac) },
	[IFLA_VF_VLAN] = { NL_BYTES, sizeof(struct ifla_vf_vlan) },
	[IFLA_VF_SPOOFCHK] = { NL_BYTES, sizeof(struct ifla_vf_spoofchk) },
	[IFLA_VF_LINK_STATE] = { NL_BYTES, sizeof(struct ifla_vf_link_state) },
	[IFLA_VF_RATE] = { NL_BYTES, sizeof(struct ifla_vf_rate) },
	[IFLA_VF_TRUST] = { NL_BYTES, sizeof(struct ifla_vf_trust) },
	[IFLA_VF_IB_NODE_GUID] = { NL_BYTES, sizeof(struct ifla_vf_guid) },
	[IFLA_VF_IB_PORT_GUID] = { NL_BYTES, sizeof(struct ifla_vf_guid) },
	[IFLA_VF_VLAN_LIST] = { NL_NESTED },
};

static const struct nl_policy vlan_policy[IFLA_VF_VLAN_INFO + 1] = {
	[IFLA_VF_VLAN_INFO] = { NL_BYTES, sizeof(struct ifla_vf_vlan_info) },
};

static int parse_vlan(const struct nlattr *const *tb, struct rtnl_vf *vf)
{
	const struct nlattr *list[IFLA_VF_VLAN_INFO + 1];
	struct ifla_vf_vlan_info info;
	struct ifla_vf_vlan vlan;
	int x;

	vf->vlan_proto = ETH_P_8021Q;
	if (tb[IFLA_VF_VLAN]) {
		memcpy(&vlan, nl_data(tb[IFLA_VF_VLAN]), sizeof(vlan));
		vf->vlan = (uint16_t)vlan.vlan;
		vf->qos = (uint8_t)vlan.qos;
	}
	if (!tb[IFLA_VF_VLAN_LIST])
		return 0;
	x = nl_parse_nest(tb[IFLA_VF_VLAN_LIST], vlan_policy, IFLA_VF_VLAN_INFO, list);
	if (x < 0 || !list[IFLA_VF_VLAN_INFO])
		return x;
	memcpy(&info, nl_data(list[IFLA_VF_VLAN_INFO]), sizeof(info));
	vf->vlan = (uint16_t)info.vlan;
	vf->qos = (uint8_t)info.qos;
	vf->vlan_proto = ntohs(info.vlan_proto);
	return 0;
}

/* A driver that has no such switch leaves the kernel's -1 in place (rtnl_fill_vfinfo()). */
static bool parse_switch(const struct nlattr *attr, bool *ret)
{
	struct ifla_vf_spoofchk s; /* struct ifla_vf_trust looks the same */

	_Static_assert(sizeof(struct ifla_vf_spoofchk) == sizeof(struct ifla_vf_trust), "one layout");
	if (!attr)
		return false;
	memcpy(&s, nl_data(attr), sizeof(s));
	*ret = s.setting && s.setting != UINT32_MAX;
	return s.setting != UINT32_MAX;
}

static uint64_t parse_guid(const struct nlattr *attr)
{
	struct ifla_vf_guid g;

	memcpy(&g, nl_data(attr), sizeof(g));
	return g.guid;
}

static int parse_vf(const struct nlattr *nest, struct rtnl_vf *ret)
{
	const struct nlattr *tb[IFLA_VF_MAX + 1];
	struct ifla_vf_link_state state;
	struct rtnl_vf vf = { 0 };
	struct ifla_vf_rate rate;
	struct ifla_vf_mac mac;
	int x = nl_parse_nest(nest, vf_policy, IFLA_VF_MAX, tb);

	if (x == 0)
		x = parse_vlan(tb, &vf);
	if (x < 0)
		return x;
	if (!tb[IFLA_VF_MAC])
		return -EBADMSG; /* every attribute carries the VF's id; this one is always there */
	memcpy(&mac, nl_data(tb[IFLA_VF_MAC]), sizeof(mac));
	vf.id = mac.vf;
	memcpy(vf.mac, mac.mac, sizeof(vf.mac));
	vf.has_spoofchk = parse_switch(tb[IFLA_VF_SPOOFCHK], &vf.spoofchk);
	vf.has_trust = parse_switch(tb[IFLA_VF_TRUST], &vf.trust);
	if (tb[IFLA_VF_RATE]) {
		memcpy(&rate, nl_data(tb[IFLA_VF_RATE]), sizeof(rate));
		vf.min_rate = rate.min_tx_rate;
		vf.max_rate = rate.max_tx_rate;
		vf.has_rate = true;
	}
	if (tb[IFLA_VF_LINK_STATE]) {
		memcpy(&state, nl_data(tb[IFLA_VF_LINK_STATE]), sizeof(state));
		vf.link_state = state.link_state;
		vf.has_link_state = true;
	}
	if (tb[IFLA_VF_IB_NODE_GUID] && tb[IFLA_VF_IB_PORT_GUID]) {
		vf.node_guid = parse_guid(tb[IFLA_VF_IB_NODE_GUID]);
		vf.port_guid = parse_guid(tb[IFLA_VF_IB_PORT_GUID]);
		vf.has_guid = true;
	}
	*ret = vf;
	return 0;
}

struct seen {
	struct arena *a;
	unsigned pf_index;
	struct rtnl_vf *vfs;
	size_t n;
};

static int see_link(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *ifm = (const void *)((const char *)h + NLMSG_HDRLEN);
	const struct nlattr *tb[IFLA_VFINFO_LIST + 1], *nest;
	struct seen *s = arg;
	size_t pos = 0;
	int x;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	x = nl_parse_msg(h, sizeof(*ifm), list_policy, IFLA_VFINFO_LIST, tb);
	if (x < 0 || ifm->ifi_index != (int)s->pf_index || !tb[IFLA_VFINFO_LIST])
		return x;
	while ((x = nl_next(nl_data(tb[IFLA_VFINFO_LIST]), nl_len(tb[IFLA_VFINFO_LIST]), &pos, &nest)) > 0) {
		struct rtnl_vf vf;

		if (nl_attr_type(nest) != IFLA_VF_INFO)
			continue;
		x = parse_vf(nest, &vf);
		if (x < 0)
			return x;
		*(struct rtnl_vf *)arena_push(s->a, &s->vfs, &s->n, sizeof(vf)) = vf;
	}
	return x;
}

/* Without statistics: with them the answer for some hundred VFs is longer than an attribute can be (64 KiB). */
static void vf_query(struct nl_msg *m, unsigned pf_index)
{
	rtnl_link_msg(m, RTM_GETLINK, 0, pf_index);
	nl_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
}

int rtnl_vfs(struct nl *nl, struct arena *a, unsigned pf_index, struct rtnl_vf **ret, size_t *ret_n, struct err *e)
{
	struct seen s = { .a = a, .pf_index = pf_index };
	struct nl_msg m;
	int x;

	vf_query(&m, pf_index);
	x = nl_call(nl, &m, see_link, &s, e);
	if (x == -EMSGSIZE) {
		/* older kernels reckon the size of an InfiniBand PF's answer without the GUIDs; a dump has room */
		vf_query(&m, 0);
		x = nl_dump(nl, &m, see_link, NULL, &s, e);
	}
	if (x < 0)
		return err_wrap(e, x, "link %u: cannot read its VFs", pf_index);
	*ret = s.vfs;
	*ret_n = s.n;
	return 0;
}

const struct rtnl_vf *rtnl_vf_of(const struct rtnl_vf *vfs, size_t n, unsigned id)
{
	for (size_t i = 0; i < n; i++)
		if (vfs[i].id == id)
			return &vfs[i];
	return NULL;
}

struct vf_msg {
	struct nl_msg m;
	size_t list, info;
};

static void vf_start(struct vf_msg *v, unsigned pf_index)
{
	rtnl_link_msg(&v->m, RTM_SETLINK, 0, pf_index);
	v->list = nl_nest(&v->m, IFLA_VFINFO_LIST);
	v->info = nl_nest(&v->m, IFLA_VF_INFO);
}

static void vf_end(struct vf_msg *v)
{
	nl_nest_end(&v->m, v->info);
	nl_nest_end(&v->m, v->list);
}

/* One setting of one VF. */
static void vf_setting(struct vf_msg *v, unsigned pf_index, uint16_t type, const void *data, size_t len)
{
	vf_start(v, pf_index);
	nl_put(&v->m, type, data, len);
	vf_end(v);
}

int rtnl_vf_set_mac(struct nl *nl, unsigned pf_index, unsigned vf, const unsigned char mac[6], struct err *e)
{
	struct ifla_vf_mac s = { .vf = vf };
	struct vf_msg v;

	memcpy(s.mac, mac, 6);
	vf_setting(&v, pf_index, IFLA_VF_MAC, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "set the MAC address of VF %u to %02x:%02x:%02x:%02x:%02x:%02x", vf, mac[0],
			   mac[1], mac[2], mac[3], mac[4], mac[5]);
}

int rtnl_vf_set_vlan(struct nl *nl, unsigned pf_index, unsigned vf, uint16_t vlan, uint8_t qos, uint16_t proto,
		     struct err *e)
{
	struct ifla_vf_vlan_info s = { .vf = vf, .vlan = vlan, .qos = qos, .vlan_proto = htons(proto) };
	struct ifla_vf_vlan plain = { .vf = vf, .vlan = vlan, .qos = qos };
	struct vf_msg v;
	size_t list;

	if (proto == 0 || proto == ETH_P_8021Q) {
		vf_setting(&v, pf_index, IFLA_VF_VLAN, &plain, sizeof(plain));
	} else {
		vf_start(&v, pf_index);
		list = nl_nest(&v.m, IFLA_VF_VLAN_LIST);
		nl_put(&v.m, IFLA_VF_VLAN_INFO, &s, sizeof(s));
		nl_nest_end(&v.m, list);
		vf_end(&v);
	}
	return rtnl_change(nl, &v.m, pf_index, e, "set the VLAN of VF %u to %u qos %u%s", vf, vlan, qos,
			   proto == ETH_P_8021AD ? " proto 802.1ad" : "");
}

int rtnl_vf_set_rate(struct nl *nl, unsigned pf_index, unsigned vf, uint32_t min, uint32_t max, struct err *e)
{
	const struct ifla_vf_rate s = { .vf = vf, .min_tx_rate = min, .max_tx_rate = max };
	struct vf_msg v;

	vf_setting(&v, pf_index, IFLA_VF_RATE, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "set the rate of VF %u to %u..%u Mbit/s", vf, min, max);
}

int rtnl_vf_set_spoofchk(struct nl *nl, unsigned pf_index, unsigned vf, bool on, struct err *e)
{
	const struct ifla_vf_spoofchk s = { .vf = vf, .setting = on };
	struct vf_msg v;

	vf_setting(&v, pf_index, IFLA_VF_SPOOFCHK, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "switch the spoof check of VF %u %s", vf, on ? "on" : "off");
}

int rtnl_vf_set_trust(struct nl *nl, unsigned pf_index, unsigned vf, bool on, struct err *e)
{
	const struct ifla_vf_trust s = { .vf = vf, .setting = on };
	struct vf_msg v;

	vf_setting(&v, pf_index, IFLA_VF_TRUST, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "switch the trust in VF %u %s", vf, on ? "on" : "off");
}

int rtnl_vf_set_link_state(struct nl *nl, unsigned pf_index, unsigned vf, uint32_t state, struct err *e)
{
	static const char *const words[] = {
		[IFLA_VF_LINK_STATE_AUTO] = "auto",
		[IFLA_VF_LINK_STATE_ENABLE] = "enable",
		[IFLA_VF_LINK_STATE_DISABLE] = "disable",
	};
	const struct ifla_vf_link_state s = { .vf = vf, .link_state = state };
	struct vf_msg v;

	if (state >= ARRAY_SIZE(words))
		return err_set(e, -EINVAL, "the link state %u of VF %u is neither auto (0), enable (1) nor disable (2)", state, vf);
	vf_setting(&v, pf_index, IFLA_VF_LINK_STATE, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "set the link state of VF %u to %s", vf, words[state]);
}

static int set_guid(struct nl *nl, unsigned pf_index, unsigned vf, uint16_t type, uint64_t guid, struct err *e)
{
	struct ifla_vf_guid s;
	struct vf_msg v;

	memset(&s, 0, sizeof(s)); /* the padding, too */
	s.vf = vf;
	s.guid = guid;
	vf_setting(&v, pf_index, type, &s, sizeof(s));
	return rtnl_change(nl, &v.m, pf_index, e, "set the %s GUID of VF %u to %016llx", type == IFLA_VF_IB_NODE_GUID ? "node" : "port",
			   vf, (unsigned long long)guid);
}

int rtnl_vf_set_guid(struct nl *nl, unsigned pf_index, unsigned vf, uint64_t node_guid, uint64_t port_guid, struct err *e)
{
	int r = set_guid(nl, pf_index, vf, IFLA_VF_IB_NODE_GUID, node_guid, e);

	return r < 0 ? r : set_guid(nl, pf_index, vf, IFLA_VF_IB_PORT_GUID, port_guid, e);
}
