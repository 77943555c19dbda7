/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/if_addr.h>
#include <string.h>

#include "attach/address.h"
#include "attach/hwaddr.h"
#include "attach/source-route.h"
#include "base/file.h"

static void sysctl_set(const char *family, const char *ifname, const char *key, const char *value)
{
	char path[128];

	/* the name has no "/": it was checked */
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, ifname, key);
	file_write_once(AT_FDCWD, path, value, strlen(value));
}

static bool sysctl_is(const char *ifname, const char *key, char value)
{
	_cleanup_free_ char *text = NULL;
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", ifname, key);
	return file_read(AT_FDCWD, path, 64, &text, NULL) == 0 && text[0] == value;
}

void address_sysctls(const char *ifname)
{
	sysctl_set("ipv4", ifname, "arp_notify", "1");
	sysctl_set("ipv4", ifname, "arp_ignore", "1");
	sysctl_set("ipv4", ifname, "arp_announce", "2");
	if (sysctl_is("all", "rp_filter", '1') || sysctl_is(ifname, "rp_filter", '1'))
		sysctl_set("ipv4", ifname, "rp_filter", "2");
	sysctl_set("ipv6", ifname, "ndisc_notify", "1");
}

static int to_addr(const char *text, struct rtnl_addr *ret, struct err *e)
{
	unsigned prefix_len;

	memset(ret, 0, sizeof(*ret));
	if (hwaddr_parse_ip(text, &ret->family, ret->addr, &prefix_len) < 0)
		return err_set(e, -EINVAL, "address \"%s\" is none", text);
	ret->prefix_len = (uint8_t)prefix_len;
	if (ret->family == AF_INET6)
		ret->flags = IFA_F_NODAD;
	return 0;
}

/* A route without a gateway goes by the interface's own of that family; without one it is on the link. */
static const char *default_gateway(const struct ipam_given *given, bool v4)
{
	for (size_t i = 0; i < given->n_ips; i++)
		if (given->ips[i].v4 == v4 && given->ips[i].gateway)
			return given->ips[i].gateway;
	return NULL;
}

static uint32_t or_zero(int64_t v)
{
	return v > 0 ? (uint32_t)v : 0;
}

static int add_route(struct nl *nl, unsigned index, const struct ipam_route *route, const struct ipam_given *given, struct err *e)
{
	struct rtnl_route r = { .mtu = or_zero(route->mtu), .advmss = or_zero(route->advmss), .priority = or_zero(route->priority),
				.table = or_zero(route->table), .scope = route->scope < 0 ? -1 : (int)route->scope };
	unsigned prefix_len;
	const char *gw;
	int gw_family;

	if (hwaddr_parse_ip(route->dst, &r.family, r.dst, &prefix_len) < 0)
		return err_set(e, -EINVAL, "route dst \"%s\" is no CIDR", route->dst);
	r.dst_len = (uint8_t)prefix_len;
	gw = route->gw ? route->gw : default_gateway(given, r.family == AF_INET);
	if (gw) {
		if (hwaddr_parse_ip(gw, &gw_family, r.gateway, &prefix_len) < 0 || gw_family != r.family)
			return err_set(e, -EINVAL, "route %s: gateway \"%s\" is no address of its family", route->dst, gw);
		r.has_gateway = true;
	}
	return rtnl_add_route(nl, index, &r, e);
}

int address_add(struct nl *nl, unsigned index, const char *ifname, const struct ipam_given *given, const struct ipam_conf *conf,
		struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < given->n_ips; i++) {
		struct rtnl_addr addr;
		int r;

		if (!given->ips[i].v4)
			sysctl_set("ipv6", ifname, "disable_ipv6", "0");
		r = to_addr(given->ips[i].address, &addr, e);
		if (r == 0)
			r = rtnl_add_addr(nl, index, &addr, e);
		if (r == 0)
			r = source_route_add(nl, a, index, &addr, e);
		if (r < 0)
			return err_wrap(e, r, "address %s on %s", given->ips[i].address, ifname);
	}
	for (size_t i = 0; i < conf->n_routes; i++) {
		int r = add_route(nl, index, &conf->routes[i], given, e);

		if (r < 0)
			return err_wrap(e, r, "route %s by %s", conf->routes[i].dst, ifname);
	}
	return 0;
}

void address_forget(struct nl *nl, unsigned index, const char **addresses, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rtnl_addr addr;

		if (to_addr(addresses[i], &addr, NULL) == 0)
			source_route_del(nl, index, &addr, NULL);
	}
}

int address_check(struct nl *nl, struct arena *a, unsigned index, const char **addresses, size_t n, struct err *e)
{
	struct rtnl_addr *there;
	size_t n_there;
	int r = rtnl_addrs(nl, a, index, &there, &n_there, e);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct rtnl_addr want;
		bool found = false;

		r = to_addr(addresses[i], &want, e);
		for (size_t k = 0; r == 0 && k < n_there; k++)
			found |= there[k].family == want.family && there[k].prefix_len == want.prefix_len &&
				 !memcmp(there[k].addr, want.addr, want.family == AF_INET ? 4 : 16);
		if (r == 0 && !found)
			r = err_set(e, -ENOENT, "the address %s is not on the interface", addresses[i]);
	}
	return r;
}
