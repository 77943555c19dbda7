/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "linux/rtnl-private.h"

#define ALTNAME_MAX 127 /* ALTIFNAMSIZ less the NUL */

int rtnl_open(struct nl **ret, struct err *e)
{
	return nl_open(NETLINK_ROUTE, ret, e);
}

static const struct nl_policy link_policy[IFLA_MAX + 1] = {
	[IFLA_ADDRESS] = { NL_BYTES, 0 },
	[IFLA_IFNAME] = { NL_STR, IFNAMSIZ - 1 },
	[IFLA_MTU] = { NL_U32 },
	[IFLA_OPERSTATE] = { NL_U8 },
	[IFLA_LINKINFO] = { NL_NESTED },
	[IFLA_MIN_MTU] = { NL_U32 },
	[IFLA_MAX_MTU] = { NL_U32 },
	[IFLA_PROP_LIST] = { NL_NESTED },
	[IFLA_PARENT_DEV_NAME] = { NL_STR, 0 },
	[IFLA_PERM_ADDRESS] = { NL_BYTES, 0 },
};

static const struct nl_policy info_policy[IFLA_INFO_KIND + 1] = {
	[IFLA_INFO_KIND] = { NL_STR, 64 },
};

static int parse_alt_names(const struct nlattr *list, struct arena *a, struct rtnl_link *l)
{
	const struct nlattr *attr;
	size_t pos = 0;
	int x;

	while ((x = nl_next(nl_data(list), nl_len(list), &pos, &attr)) > 0) {
		size_t len = nl_len(attr);

		if (nl_attr_type(attr) != IFLA_ALT_IFNAME)
			continue;
		if (len == 0 || len > ALTNAME_MAX + 1)
			return -EBADMSG;
		*(const char **)arena_push(a, &l->alt_names, &l->n_alt_names, sizeof(*l->alt_names)) =
			arena_strndup(a, nl_data(attr), len);
	}
	return x;
}

static int parse_link(const struct nlmsghdr *h, struct arena *a, struct rtnl_link *ret)
{
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_KIND + 1];
	const struct ifinfomsg *ifm = (const void *)((const char *)h + NLMSG_HDRLEN);
	struct rtnl_link l = { 0 };
	int x = nl_parse_msg(h, sizeof(*ifm), link_policy, IFLA_MAX, tb);

	if (x < 0)
		return x;
	if (!tb[IFLA_IFNAME] || ifm->ifi_index <= 0)
		return -EBADMSG;
	l.index = (unsigned)ifm->ifi_index;
	l.flags = ifm->ifi_flags;
	l.type = ifm->ifi_type;
	strcpy(l.name, nl_str(tb[IFLA_IFNAME]));
	if (tb[IFLA_MTU])
		l.mtu = nl_u32(tb[IFLA_MTU]);
	if (tb[IFLA_MIN_MTU])
		l.min_mtu = nl_u32(tb[IFLA_MIN_MTU]);
	if (tb[IFLA_MAX_MTU])
		l.max_mtu = nl_u32(tb[IFLA_MAX_MTU]);
	if (tb[IFLA_OPERSTATE])
		l.operstate = nl_u8(tb[IFLA_OPERSTATE]);
	if (tb[IFLA_ADDRESS]) {
		if (nl_len(tb[IFLA_ADDRESS]) > sizeof(l.mac))
			return -EBADMSG;
		l.mac_len = (unsigned)nl_len(tb[IFLA_ADDRESS]);
		memcpy(l.mac, nl_data(tb[IFLA_ADDRESS]), l.mac_len);
	}
	if (tb[IFLA_PERM_ADDRESS] && nl_len(tb[IFLA_PERM_ADDRESS]) == sizeof(l.perm_mac))
		memcpy(l.perm_mac, nl_data(tb[IFLA_PERM_ADDRESS]), sizeof(l.perm_mac));
	if (tb[IFLA_PARENT_DEV_NAME])
		l.parent_dev = arena_strdup(a, nl_str(tb[IFLA_PARENT_DEV_NAME]));
	if (tb[IFLA_LINKINFO]) {
		x = nl_parse_nest(tb[IFLA_LINKINFO], info_policy, IFLA_INFO_KIND, info);
		if (x < 0)
			return x;
		if (info[IFLA_INFO_KIND])
			l.kind = arena_strdup(a, nl_str(info[IFLA_INFO_KIND]));
	}
	if (tb[IFLA_PROP_LIST])
		x = parse_alt_names(tb[IFLA_PROP_LIST], a, &l);
	if (x == 0)
		*ret = l;
	return x;
}

void rtnl_link_msg(struct nl_msg *m, uint16_t type, uint16_t flags, unsigned index)
{
	const struct ifinfomsg ifm = { .ifi_index = (int)index };

	nl_msg_init(m, type, flags, &ifm, sizeof(ifm));
}

struct links {
	struct arena *arena;
	struct rtnl_link *links;
	size_t n;
};

static int add_link(const struct nlmsghdr *h, void *arg)
{
	struct links *out = arg;
	struct rtnl_link l;
	int x;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	x = parse_link(h, out->arena, &l);
	if (x == 0)
		*(struct rtnl_link *)arena_push(out->arena, &out->links, &out->n, sizeof(l)) = l;
	return x;
}

static void forget_links(void *arg)
{
	struct links *out = arg;

	out->links = NULL;
	out->n = 0;
}

int rtnl_links(struct nl *nl, struct arena *a, struct rtnl_link **ret, size_t *ret_n, struct err *e)
{
	struct links out = { .arena = a };
	struct nl_msg m;
	int x;

	rtnl_link_msg(&m, RTM_GETLINK, 0, 0);
	x = nl_dump(nl, &m, add_link, forget_links, &out, e);
	if (x < 0)
		return err_wrap(e, x, "cannot list the network interfaces");
	*ret = out.links;
	*ret_n = out.n;
	return 0;
}

static int get_link(struct nl *nl, struct nl_msg *m, struct arena *a, struct rtnl_link *ret, struct err *e)
{
	struct links out = { .arena = a };
	int x = nl_call(nl, m, add_link, &out, e);

	if (x < 0)
		return x;
	if (out.n != 1)
		return err_set(e, -EBADMSG, "the kernel's answer holds %zu links", out.n);
	*ret = out.links[0];
	return 0;
}

int rtnl_link(struct nl *nl, struct arena *a, const char *name, struct rtnl_link *ret, struct err *e)
{
	size_t len = strlen(name);
	struct nl_msg m;
	int x;

	if (len == 0 || len > ALTNAME_MAX)
		return err_set(e, -ENODEV, "there is no network interface \"%s\"", name);
	rtnl_link_msg(&m, RTM_GETLINK, 0, 0);
	/* the kernel looks for either kind of name in both; a long one fits into the second only */
	nl_put_str(&m, len < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
	x = get_link(nl, &m, a, ret, e);
	if (x == -ENODEV)
		return err_set(e, x, "there is no network interface \"%s\"", name);
	return x < 0 ? err_wrap(e, x, "network interface %s", name) : 0;
}

int rtnl_link_by_index(struct nl *nl, struct arena *a, unsigned index, struct rtnl_link *ret, struct err *e)
{
	struct nl_msg m;
	int x;

	rtnl_link_msg(&m, RTM_GETLINK, 0, index);
	x = get_link(nl, &m, a, ret, e);
	if (x == -ENODEV)
		return err_set(e, x, "there is no network interface with index %u", index);
	return x < 0 ? err_wrap(e, x, "network interface with index %u", index) : 0;
}

int rtnl_change(struct nl *nl, struct nl_msg *m, unsigned index, struct err *e, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct rtnl_link l;
	const char *what;
	va_list ap;
	int x = nl_call(nl, m, NULL, NULL, e);

	if (x >= 0 || !e)
		return x;
	va_start(ap, fmt);
	what = arena_vprintf(a, fmt, ap);
	va_end(ap);
	if (rtnl_link_by_index(nl, a, index, &l, NULL) == 0)
		return err_wrap(e, x, "%s: cannot %s", l.name, what);
	return err_wrap(e, x, "link %u: cannot %s", index, what);
}

int rtnl_set_up(struct nl *nl, unsigned index, bool up, struct err *e)
{
	const struct ifinfomsg ifm = { .ifi_index = (int)index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };
	struct nl_msg m;

	nl_msg_init(&m, RTM_SETLINK, 0, &ifm, sizeof(ifm));
	return rtnl_change(nl, &m, index, e, "set it %s", up ? "up" : "down");
}

int rtnl_set_mtu(struct nl *nl, unsigned index, unsigned mtu, struct err *e)
{
	struct nl_msg m;

	rtnl_link_msg(&m, RTM_SETLINK, 0, index);
	nl_put_u32(&m, IFLA_MTU, mtu);
	return rtnl_change(nl, &m, index, e, "set the MTU %u", mtu);
}

int rtnl_set_mac(struct nl *nl, unsigned index, const unsigned char mac[6], struct err *e)
{
	struct nl_msg m;

	rtnl_link_msg(&m, RTM_SETLINK, 0, index);
	nl_put(&m, IFLA_ADDRESS, mac, 6);
	return rtnl_change(nl, &m, index, e, "set the MAC address %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
			   mac[3], mac[4], mac[5]);
}

/* The kernel takes a % in a name for a pattern ("net%d"). */
static int check_name(const char *name, struct err *e)
{
	if (parse_is_ifname(name) && !strchr(name, '%'))
		return 0;
	return err_set(e, -EINVAL, "\"%s\" is no name for a network interface (1 to 15 bytes without /, :, %% and spaces)", name);
}

int rtnl_set_name(struct nl *nl, unsigned index, const char *name, struct err *e)
{
	struct nl_msg m;
	int x = check_name(name, e);

	if (x < 0)
		return x;
	rtnl_link_msg(&m, RTM_SETLINK, 0, index);
	nl_put_str(&m, IFLA_IFNAME, name);
	return rtnl_change(nl, &m, index, e, "rename it to %s", name);
}

/*
 * net/core/rtnetlink.c, do_setlink(): the link is set down and moved, keeping its name if that is free there, and only then
 * renamed to IFLA_IFNAME, all under one lock.
 */
static int move(struct nl *nl, unsigned index, int netns_fd, const char *name, struct err *e)
{
	struct nl_msg m;

	rtnl_link_msg(&m, RTM_SETLINK, 0, index);
	nl_put_u32(&m, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	if (name)
		nl_put_str(&m, IFLA_IFNAME, name);
	return rtnl_change(nl, &m, index, e, "move it to another network namespace%s%s", name ? " as " : "", name ? name : "");
}

int rtnl_move(struct nl *nl, unsigned index, int netns_fd, const char *new_name, struct err *e)
{
	int x = new_name ? check_name(new_name, e) : 0;

	return x < 0 ? x : move(nl, index, netns_fd, new_name, e);
}

int rtnl_move_numbered(struct nl *nl, unsigned index, int netns_fd, const char *stem, struct err *e)
{
	char pattern[IFNAMSIZ];
	int x = check_name(stem, e);

	if (x < 0)
		return x;
	if (snprintf(pattern, sizeof(pattern), "%s%%d", stem) >= (int)sizeof(pattern))
		return err_set(e, -EINVAL, "\"%s\" is too long to be numbered", stem);
	return move(nl, index, netns_fd, pattern, e);
}

int rtnl_add_altname(struct nl *nl, unsigned index, const char *name, struct err *e)
{
	struct nl_msg m;
	size_t list;

	rtnl_link_msg(&m, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, index);
	list = nl_nest(&m, IFLA_PROP_LIST);
	nl_put_str(&m, IFLA_ALT_IFNAME, name);
	nl_nest_end(&m, list);
	return rtnl_change(nl, &m, index, e, "add the alternative name \"%s\"", name);
}

int rtnl_add_veth(struct nl *nl, const char *name, const char *peer, struct err *e)
{
	const struct ifinfomsg none = { 0 };
	size_t info, data, end;
	struct nl_msg m;
	int x = check_name(name, e);

	if (x == 0)
		x = check_name(peer, e);
	if (x < 0)
		return x;
	rtnl_link_msg(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	nl_put_str(&m, IFLA_IFNAME, name);
	info = nl_nest(&m, IFLA_LINKINFO);
	nl_put_str(&m, IFLA_INFO_KIND, "veth");
	data = nl_nest(&m, IFLA_INFO_DATA);
	end = nl_nest(&m, VETH_INFO_PEER);
	nl_put_header(&m, &none, sizeof(none));
	nl_put_str(&m, IFLA_IFNAME, peer);
	nl_nest_end(&m, end);
	nl_nest_end(&m, data);
	nl_nest_end(&m, info);
	x = nl_call(nl, &m, NULL, NULL, e);
	return x < 0 ? err_wrap(e, x, "cannot add the veth link %s", name) : 0;
}
