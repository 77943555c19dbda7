/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <string.h>

#include "attach/hwaddr.h"
#include "attach/vf.h"
#include "base/parse.h"
#include "linux/pci.h"

bool vf_has_pf(const struct attachment_rail *rec)
{
	return rec->pf && *rec->pf && rec->vf && *rec->vf;
}

bool vf_has_netdev(const struct attachment_rail *rec)
{
	return !pci_is_user_space_driver(rec->driver);
}

int vf_link(struct nl *nl, struct arena *a, const struct attachment_rail *rec, struct rtnl_link *ret, struct err *e)
{
	struct rtnl_link *links;
	size_t n;
	int r;

	if (!*rec->vf) {
		r = rtnl_link(nl, a, rec->ifname, ret, e);
		return r == -ENODEV && rec->found->netdev ? rtnl_link(nl, a, rec->found->netdev, ret, e) : r;
	}
	if (rtnl_link(nl, a, rec->ifname, ret, NULL) == 0 && ret->parent_dev && !strcmp(ret->parent_dev, rec->vf))
		return 0;
	r = rtnl_links(nl, a, &links, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (links[i].parent_dev && !strcmp(links[i].parent_dev, rec->vf)) {
			*ret = links[i];
			return 0;
		}
	}
	return r < 0 ? r : err_set(e, -ENODEV, "VF %s has no network interface in this namespace", rec->vf);
}

static int64_t *boxed_int(struct arena *a, int64_t v)
{
	return arena_memdup(a, &v, sizeof(v));
}

static bool *boxed_bool(struct arena *a, bool v)
{
	return arena_memdup(a, &v, sizeof(v));
}

static const char *mac_text(struct arena *a, const unsigned char mac[6])
{
	char text[MAC_TEXT];

	hwaddr_format_mac(mac, text);
	return arena_strdup(a, text);
}

struct vf_port {
	struct vf_port *next;
	const char *pf;
	unsigned mtu;
	struct rtnl_vf *vfs;
	size_t n;
};

static int ask_port(struct nl *nl, struct arena *a, struct vf_port **ports, const char *pf, const struct vf_port **ret, struct err *e)
{
	struct vf_port *port = *ports;
	struct rtnl_link link;
	int r;

	while (port && strcmp(port->pf, pf))
		port = port->next;
	if (!port) {
		port = arena_alloc(a, sizeof(*port));
		*port = (struct vf_port){ .next = *ports, .pf = pf };
		r = rtnl_link(nl, a, pf, &link, e);
		if (r == 0)
			r = rtnl_vfs(nl, a, link.index, &port->vfs, &port->n, e);
		if (r < 0)
			return r;
		port->mtu = link.mtu;
		*ports = port;
	}
	*ret = port;
	return 0;
}

static int find_settings(struct nl *nl, struct arena *a, struct vf_port **ports, struct attachment_rail *rec, struct err *e)
{
	struct attachment_found *found = rec->found;
	const struct vf_port *port;
	const struct rtnl_vf *vf;
	int r = ask_port(nl, a, ports, rec->pf, &port, e);

	if (r < 0)
		return err_wrap(e, r, "VF %lld of %s", (long long)rec->vf_index, rec->pf);
	vf = rtnl_vf_of(port->vfs, port->n, (unsigned)rec->vf_index);
	if (!vf)
		return err_set(e, -ENODEV, "%s reports no VF %lld", rec->pf, (long long)rec->vf_index);
	if (!vf_has_netdev(rec))
		rec->mtu = port->mtu; /* as sriov-cni tells it */
	found->admin_mac = mac_text(a, vf->mac);
	if (vf->has_guid) {
		found->node_guid = arena_printf(a, "%016" PRIx64, vf->node_guid);
		found->port_guid = arena_printf(a, "%016" PRIx64, vf->port_guid);
	}
	found->vlan = vf->vlan;
	found->vlan_qos = vf->qos;
	found->vlan_proto = vf->vlan_proto == ETH_P_8021AD ? "802.1ad" : "802.1q";
	if (vf->has_rate) {
		found->min_rate = boxed_int(a, vf->min_rate);
		found->max_rate = boxed_int(a, vf->max_rate);
	}
	if (vf->has_spoofchk)
		found->spoofchk = boxed_bool(a, vf->spoofchk);
	if (vf->has_trust)
		found->trust = boxed_bool(a, vf->trust);
	if (vf->has_link_state)
		found->link_state = boxed_int(a, vf->link_state);
	return 0;
}

static int find_netdev(struct nl *nl, struct arena *a, const struct attach_vf *vf, struct attachment_rail *rec, unsigned *ret_index, struct err *e)
{
	struct rtnl_link link;
	int r;

	if (!vf->netdev)
		return err_set(e, -ENODEV, "VF %s has no network interface (driver %s): it is bound to no network driver, or in a pod",
			       vf->pci, vf->driver ? vf->driver : "none");
	r = rtnl_link(nl, a, vf->netdev, &link, e);
	if (r < 0)
		return err_wrap(e, r, "VF %s", vf->pci && *vf->pci ? vf->pci : vf->netdev);
	rec->found->netdev = arena_strdup(a, link.name);
	rec->found->mtu = link.mtu;
	if (link.mac_len == 6)
		rec->found->mac = mac_text(a, link.mac);
	rec->found->rdma = arena_strdup(a, vf->rdma);
	*ret_index = link.index;
	return 0;
}

int vf_find(struct nl *nl, struct arena *a, struct vf_port **ports, const struct attach_vf *vf, struct attachment_rail *rec,
	    unsigned *ret_index, struct err *e)
{
	int r = 0;

	if (rec->vf && *rec->vf && !vf_has_pf(rec))
		return err_set(e, -ENODEV, "VF %s: its port %s has no network interface in this namespace to set the VF up by", rec->vf,
			       rec->pf_pci ? rec->pf_pci : "");
	if (vf_has_netdev(rec))
		r = find_netdev(nl, a, vf, rec, ret_index, e);
	return r == 0 && vf_has_pf(rec) ? find_settings(nl, a, ports, rec, e) : r;
}

static bool differs(const bool *found, int want)
{
	return want != RAIL_UNSET && (!found || *found != (want != 0));
}

static bool vlan_differs(const struct attachment_found *found, const struct rail_want *want)
{
	const char *proto = want->vlan_proto == ETH_P_8021AD ? "802.1ad" : "802.1q";

	if (want->vlan == RAIL_UNSET)
		return false;
	if (want->vlan == 0 && want->vlan_qos == 0)
		return found->vlan != 0 || found->vlan_qos != 0;
	return found->vlan != want->vlan || found->vlan_qos != want->vlan_qos || !found->vlan_proto || strcmp(found->vlan_proto, proto);
}

/* 0: none was told. */
static uint64_t guid_of(const char *text)
{
	uint64_t guid = 0;

	return text && parse_u64(text, 16, 0, UINT64_MAX, &guid) == 0 ? guid : 0;
}

/* As sriov-cni tells it: the MAC that was asked for, else the administrative one if there is one. */
static void tell_without_netdev(const struct rail_want *want, struct attachment *at, struct attachment_rail *rec)
{
	const char *admin = rec->found->admin_mac;

	if (want->has_mac)
		rec->mac = mac_text(at->arena, want->mac);
	else if (admin && strcmp(admin, "00:00:00:00:00:00"))
		rec->mac = admin;
	if (want->mtu && want->mtu != rec->mtu)
		attachment_warn(at, "%s: VF %s is bound to %s and has no interface: mtu %lld is not set, that is for the program that drives it",
				rec->ifname, rec->vf, rec->driver, (long long)want->mtu);
}

void vf_plan(const struct rail_want *want, struct attachment *at, struct attachment_rail *rec)
{
	const struct attachment_found *found = rec->found;
	struct attachment_set *set = rec->set;
	char mac[MAC_TEXT];

	if (!vf_has_pf(rec)) {
		if (want->vlan > 0 || want->max_rate > 0 || want->min_rate > 0 || want->link_state == IFLA_VF_LINK_STATE_DISABLE)
			attachment_warn(at, "%s: %s is no VF: vlan, rates and link state are not set", rec->ifname, found->netdev);
		return;
	}
	set->guid = want->has_guid && guid_of(found->port_guid) != want->guid;
	if (set->guid && !found->port_guid) {
		attachment_warn(at, "%s: the driver of %s has no GUIDs of VFs: infiniband-guid is not set", rec->ifname, rec->pf);
		set->guid = false;
	}
	hwaddr_format_mac(want->mac, mac);
	set->mac = want->has_mac && (!found->admin_mac || strcmp(found->admin_mac, mac));
	set->vlan = vlan_differs(found, want);
	set->rate = (want->min_rate != RAIL_UNSET && (!found->min_rate || *found->min_rate != want->min_rate)) ||
		    (want->max_rate != RAIL_UNSET && (!found->max_rate || *found->max_rate != want->max_rate));
	set->spoofchk = differs(found->spoofchk, want->spoofchk);
	set->trust = differs(found->trust, want->trust);
	set->link_state = want->link_state != RAIL_UNSET && (!found->link_state || *found->link_state != want->link_state);
	if (!vf_has_netdev(rec))
		tell_without_netdev(want, at, rec);
}

/* Link state of VFs is an op that drivers may lack (igb): what they do then is "auto". */
static int apply_link_state(struct nl *nl, unsigned pf, const struct rail_want *want, struct attachment *at,
			    struct attachment_rail *rec, struct err *e)
{
	static const char *const words[] = { "auto", "enable", "disable" };
	int r = rtnl_vf_set_link_state(nl, pf, (unsigned)rec->vf_index, (uint32_t)want->link_state, e);

	if (r != -EOPNOTSUPP)
		return r;
	if (want->link_state == IFLA_VF_LINK_STATE_DISABLE)
		return err_set(e, r, "link_state: the driver of %s has no VF link state, \"disable\" cannot be had", rec->pf);
	attachment_warn(at, "%s: the driver of %s has no VF link state: \"%s\" is left to follow the port", rec->ifname, rec->pf,
			words[want->link_state]);
	rec->set->link_state = false;
	return 0;
}

static uint32_t rate_of(int64_t want, const int64_t *found)
{
	return (uint32_t)(want != RAIL_UNSET ? want : found ? *found : 0);
}

int vf_apply(struct nl *nl, const struct rail_want *want, struct attachment *at, struct attachment_rail *rec, struct err *e)
{
	const struct attachment_set *set = rec->set;
	unsigned vf = (unsigned)rec->vf_index;
	struct rtnl_link pf;
	int r;

	if (!set->mac && !set->vlan && !set->rate && !set->spoofchk && !set->trust && !set->link_state && !set->guid)
		return 0;
	r = rtnl_link(nl, at->arena, rec->pf, &pf, e);
	/* sriov-cni's order */
	if (r == 0 && set->vlan)
		r = rtnl_vf_set_vlan(nl, pf.index, vf, (uint16_t)want->vlan, (uint8_t)want->vlan_qos, (uint16_t)want->vlan_proto, e);
	if (r == 0 && set->mac)
		r = rtnl_vf_set_mac(nl, pf.index, vf, want->mac, e);
	if (r == 0 && set->rate)
		r = rtnl_vf_set_rate(nl, pf.index, vf, rate_of(want->min_rate, rec->found->min_rate),
				     rate_of(want->max_rate, rec->found->max_rate), e);
	if (r == 0 && set->spoofchk)
		r = rtnl_vf_set_spoofchk(nl, pf.index, vf, want->spoofchk, e);
	if (r == 0 && set->trust)
		r = rtnl_vf_set_trust(nl, pf.index, vf, want->trust, e);
	if (r == 0 && set->guid) /* ib-sriov-cni gives both the same */
		r = rtnl_vf_set_guid(nl, pf.index, vf, want->guid, want->guid, e);
	if (r == 0 && set->link_state)
		r = apply_link_state(nl, pf.index, want, at, rec, e);
	return r < 0 ? err_wrap(e, r, "VF %s (%s, VF %u)", rec->vf, rec->pf, vf) : 0;
}

/* What a driver cannot set was never set: a kill may have come before ADD learnt that. */
static void keep_first(int r, const struct err *why, int *first, struct err *e)
{
	if (r < 0 && r != -EOPNOTSUPP && *first == 0) {
		*first = r;
		*e = *why;
	}
}

int vf_restore(struct nl *nl, const struct attachment_rail *rec, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct attachment_found *found = rec->found;
	const struct attachment_set *set = rec->set;
	unsigned vf = (unsigned)rec->vf_index;
	unsigned char mac[6];
	struct rtnl_link pf;
	int r, first = 0;
	struct err why;

	if (!vf_has_pf(rec) || (!set->mac && !set->vlan && !set->rate && !set->spoofchk && !set->trust && !set->link_state && !set->guid))
		return 0;
	r = rtnl_link(nl, a, rec->pf, &pf, e);
	if (r == -ENODEV) /* a port that is gone keeps no settings */
		return 0;
	if (r < 0)
		return r;
	if (set->link_state && found->link_state) {
		r = rtnl_vf_set_link_state(nl, pf.index, vf, (uint32_t)*found->link_state, &why);
		if (r != -EOPNOTSUPP) /* a driver without VF link states has not changed it either */
			keep_first(r, &why, &first, e);
	}
	if (set->guid)
		keep_first(rtnl_vf_set_guid(nl, pf.index, vf, guid_of(found->node_guid), guid_of(found->port_guid), &why), &why, &first, e);
	if (set->trust && found->trust)
		keep_first(rtnl_vf_set_trust(nl, pf.index, vf, *found->trust, &why), &why, &first, e);
	if (set->spoofchk && found->spoofchk)
		keep_first(rtnl_vf_set_spoofchk(nl, pf.index, vf, *found->spoofchk, &why), &why, &first, e);
	if (set->rate)
		keep_first(rtnl_vf_set_rate(nl, pf.index, vf, rate_of(RAIL_UNSET, found->min_rate), rate_of(RAIL_UNSET, found->max_rate),
					    &why), &why, &first, e);
	if (set->mac && found->admin_mac && hwaddr_parse(found->admin_mac, mac, 6) == 0)
		keep_first(rtnl_vf_set_mac(nl, pf.index, vf, mac, &why), &why, &first, e);
	if (set->vlan)
		keep_first(rtnl_vf_set_vlan(nl, pf.index, vf, (uint16_t)found->vlan, (uint8_t)found->vlan_qos,
					    found->vlan_proto && !strcmp(found->vlan_proto, "802.1ad") ? ETH_P_8021AD : ETH_P_8021Q, &why),
			   &why, &first, e);
	return first < 0 ? err_wrap(e, first, "VF %s (%s, VF %u)", rec->vf, rec->pf, vf) : 0;
}
