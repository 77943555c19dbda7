/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "linux/rtnl-private.h"

static size_t addr_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

static void put_metrics(struct nl_msg *m, const struct rtnl_route *r)
{
	size_t metrics;

	if (!r->mtu && !r->advmss)
		return;
	metrics = nl_nest(m, RTA_METRICS);
	if (r->mtu)
		nl_put_u32(m, RTAX_MTU, r->mtu);
	if (r->advmss)
		nl_put_u32(m, RTAX_ADVMSS, r->advmss);
	nl_nest_end(m, metrics);
}

int rtnl_add_route(struct nl *nl, unsigned index, const struct rtnl_route *r, struct err *e)
{
	char dst[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];
	struct rtmsg rtm = {
		.rtm_family = (uint8_t)r->family,
		.rtm_dst_len = r->dst_len,
		.rtm_table = r->table == 0 ? RT_TABLE_MAIN : r->table < 256 ? (uint8_t)r->table : RT_TABLE_UNSPEC,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_type = RTN_UNICAST,
		/* without a gateway the destination is on the link itself */
		.rtm_scope = r->scope >= 0 ? (uint8_t)r->scope : r->has_gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
	};
	struct nl_msg m;

	if (r->family != AF_INET && r->family != AF_INET6)
		return err_set(e, -EAFNOSUPPORT, "family %d is neither IPv4 nor IPv6", r->family);
	if (r->dst_len > 8 * addr_size(r->family))
		return err_set(e, -EINVAL, "the prefix length %u is above %zu", r->dst_len, 8 * addr_size(r->family));
	nl_msg_init(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &rtm, sizeof(rtm));
	if (r->dst_len)
		nl_put(&m, RTA_DST, r->dst, addr_size(r->family));
	if (r->has_gateway)
		nl_put(&m, RTA_GATEWAY, r->gateway, addr_size(r->family));
	nl_put_u32(&m, RTA_OIF, index);
	if (r->priority)
		nl_put_u32(&m, RTA_PRIORITY, r->priority);
	if (r->table)
		nl_put_u32(&m, RTA_TABLE, r->table);
	put_metrics(&m, r);
	inet_ntop(r->family, r->dst, dst, sizeof(dst));
	inet_ntop(r->family, r->gateway, via, sizeof(via));
	return rtnl_change(nl, &m, index, e, "add the route %s/%u%s%s", dst, r->dst_len, r->has_gateway ? " via " : "",
			   r->has_gateway ? via : "");
}

int rtnl_del_default_routes(struct nl *nl, unsigned index, int family, unsigned *ret_n, struct err *e)
{
	/* scope "nowhere" and protocol, type unset: whatever they are */
	const struct rtmsg rtm = { .rtm_family = (uint8_t)family, .rtm_table = RT_TABLE_MAIN, .rtm_scope = RT_SCOPE_NOWHERE };
	unsigned n = 0;

	for (;; n++) {
		struct nl_msg m;
		int x;

		nl_msg_init(&m, RTM_DELROUTE, 0, &rtm, sizeof(rtm));
		nl_put_u32(&m, RTA_OIF, index);
		x = rtnl_change(nl, &m, index, e, "take the default route away");
		if (x == -ESRCH || x == -ENOENT || x == -EAFNOSUPPORT)
			break;
		if (x < 0)
			return x;
	}
	if (ret_n)
		*ret_n = n;
	return 0;
}

static const struct nl_policy route_policy[RTA_TABLE + 1] = {
	[RTA_OIF] = { NL_U32 },
	[RTA_PRIORITY] = { NL_U32 },
	[RTA_MULTIPATH] = { NL_BYTES, 0 },
	[RTA_TABLE] = { NL_U32 },
};

struct best {
	bool found;
	uint32_t priority;
	unsigned index;
};

/* The link of a route, or of the first of its paths. */
static unsigned link_of(const struct nlattr *const *tb)
{
	struct rtnexthop hop;

	if (tb[RTA_OIF])
		return nl_u32(tb[RTA_OIF]);
	if (!tb[RTA_MULTIPATH] || nl_len(tb[RTA_MULTIPATH]) < sizeof(hop))
		return 0;
	memcpy(&hop, nl_data(tb[RTA_MULTIPATH]), sizeof(hop));
	return hop.rtnh_ifindex > 0 ? (unsigned)hop.rtnh_ifindex : 0;
}

static int see_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *rtm = (const void *)((const char *)h + NLMSG_HDRLEN);
	const struct nlattr *tb[RTA_TABLE + 1];
	struct best *best = arg;
	uint32_t priority;
	int x;

	if (h->nlmsg_type != RTM_NEWROUTE)
		return 0;
	x = nl_parse_msg(h, sizeof(*rtm), route_policy, RTA_TABLE, tb);
	if (x < 0)
		return x;
	if (rtm->rtm_dst_len || rtm->rtm_type != RTN_UNICAST || (rtm->rtm_flags & RTM_F_CLONED) || !link_of(tb) ||
	    (tb[RTA_TABLE] ? nl_u32(tb[RTA_TABLE]) : rtm->rtm_table) != RT_TABLE_MAIN)
		return 0;
	priority = tb[RTA_PRIORITY] ? nl_u32(tb[RTA_PRIORITY]) : 0;
	if (best->found && priority >= best->priority)
		return 0;
	*best = (struct best){ true, priority, link_of(tb) };
	return 0;
}

static void forget_route(void *arg)
{
	*(struct best *)arg = (struct best){ 0 };
}

int rtnl_default_route(struct nl *nl, unsigned *ret_index, struct err *e)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct best best = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(families) && !best.found; i++) {
		const struct rtmsg rtm = { .rtm_family = families[i] };
		struct nl_msg m;
		int x;

		nl_msg_init(&m, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
		x = nl_dump(nl, &m, see_route, forget_route, &best, e);
		if (x == -EAFNOSUPPORT || x == -EOPNOTSUPP) /* no IPv6 here */
			continue;
		if (x < 0)
			return err_wrap(e, x, "cannot list the routes");
	}
	*ret_index = best.found ? best.index : 0;
	return 0;
}
