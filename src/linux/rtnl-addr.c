/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "linux/rtnl-private.h"

static size_t addr_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

static const char *addr_text(const struct rtnl_addr *addr, char buf[static INET6_ADDRSTRLEN])
{
	return inet_ntop(addr->family, addr->addr, buf, INET6_ADDRSTRLEN);
}

static int check_addr(const struct rtnl_addr *addr, struct err *e)
{
	if (addr->family != AF_INET && addr->family != AF_INET6)
		return err_set(e, -EAFNOSUPPORT, "family %d is neither IPv4 nor IPv6", addr->family);
	if (addr->prefix_len > 8 * addr_size(addr->family))
		return err_set(e, -EINVAL, "the prefix length %u is above %zu", addr->prefix_len, 8 * addr_size(addr->family));
	return 0;
}

/* The last address of an IPv4 subnet. */
static uint32_t broadcast_of(const struct rtnl_addr *addr)
{
	uint32_t v;

	memcpy(&v, addr->addr, sizeof(v));
	return v | htonl(addr->prefix_len ? (uint32_t)((UINT64_C(1) << (32 - addr->prefix_len)) - 1) : UINT32_MAX);
}

static void addr_msg(struct nl_msg *m, uint16_t type, uint16_t flags, unsigned index, const struct rtnl_addr *addr)
{
	const struct ifaddrmsg ifa = {
		.ifa_family = (uint8_t)addr->family,
		.ifa_prefixlen = addr->prefix_len,
		.ifa_scope = addr->scope,
		.ifa_index = index,
	};

	nl_msg_init(m, type, flags, &ifa, sizeof(ifa));
	nl_put(m, IFA_LOCAL, addr->addr, addr_size(addr->family));
	nl_put(m, IFA_ADDRESS, addr->addr, addr_size(addr->family));
}

/* Whether this address with this very prefix is on the link: the kernel refuses another prefix as a duplicate, too. */
static bool is_there(struct nl *nl, unsigned index, const struct rtnl_addr *addr)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct rtnl_addr *all;
	size_t n;

	if (rtnl_addrs(nl, a, index, &all, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (all[i].family == addr->family && all[i].prefix_len == addr->prefix_len &&
		    memcmp(all[i].addr, addr->addr, addr_size(addr->family)) == 0)
			return true;
	return false;
}

int rtnl_add_addr(struct nl *nl, unsigned index, const struct rtnl_addr *addr, struct err *e)
{
	char text[INET6_ADDRSTRLEN];
	uint32_t flags = addr->flags;
	struct nl_msg m;
	int x = check_addr(addr, e);

	if (x < 0)
		return x;
	addr_msg(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, addr);
	if (addr->family == AF_INET6) {
		flags |= IFA_F_NODAD;
	} else if (addr->prefix_len < 31) {
		uint32_t broadcast = broadcast_of(addr);

		nl_put(&m, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
	if (flags)
		nl_put_u32(&m, IFA_FLAGS, flags);
	x = rtnl_change(nl, &m, index, e, "add the address %s/%u", addr_text(addr, text), addr->prefix_len);
	return x == -EEXIST && is_there(nl, index, addr) ? 0 : x;
}

static const struct nl_policy addr_policy[IFA_FLAGS + 1] = {
	[IFA_ADDRESS] = { NL_BYTES, 0 },
	[IFA_LOCAL] = { NL_BYTES, 0 },
	[IFA_FLAGS] = { NL_U32 },
};

struct addrs {
	struct arena *arena;
	unsigned index;
	struct rtnl_addr *addrs;
	size_t n;
};

static int add_addr(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *ifa = (const void *)((const char *)h + NLMSG_HDRLEN);
	const struct nlattr *tb[IFA_FLAGS + 1], *addr;
	struct addrs *out = arg;
	struct rtnl_addr *slot;
	int x;

	if (h->nlmsg_type != RTM_NEWADDR)
		return 0;
	x = nl_parse_msg(h, sizeof(*ifa), addr_policy, IFA_FLAGS, tb);
	if (x < 0)
		return x;
	if ((ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6) || (out->index && ifa->ifa_index != out->index))
		return 0;
	/* on a point-to-point link IFA_ADDRESS is the other end's */
	addr = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (!addr || nl_len(addr) != addr_size(ifa->ifa_family))
		return -EBADMSG;
	slot = arena_push(out->arena, &out->addrs, &out->n, sizeof(*slot));
	slot->index = ifa->ifa_index;
	slot->family = ifa->ifa_family;
	slot->prefix_len = ifa->ifa_prefixlen;
	slot->scope = ifa->ifa_scope;
	slot->flags = tb[IFA_FLAGS] ? nl_u32(tb[IFA_FLAGS]) : ifa->ifa_flags;
	memcpy(slot->addr, nl_data(addr), nl_len(addr));
	return 0;
}

static void forget_addrs(void *arg)
{
	struct addrs *out = arg;

	out->addrs = NULL;
	out->n = 0;
}

int rtnl_addrs(struct nl *nl, struct arena *a, unsigned index, struct rtnl_addr **ret, size_t *ret_n, struct err *e)
{
	const struct ifaddrmsg ifa = { .ifa_index = index };
	struct addrs out = { .arena = a, .index = index };
	struct nl_msg m;
	int x;

	nl_msg_init(&m, RTM_GETADDR, 0, &ifa, sizeof(ifa));
	x = nl_dump(nl, &m, add_addr, forget_addrs, &out, e);
	if (x < 0)
		return err_wrap(e, x, "cannot list the addresses of link %u", index);
	*ret = out.addrs;
	*ret_n = out.n;
	return 0;
}
