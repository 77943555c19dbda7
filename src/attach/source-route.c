/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/source-route.h"

/* Tables above the 255 that administrators number by hand. */
static uint32_t table_of(unsigned index)
{
	return 70000 + index;
}

static void network_of(const struct rtnl_addr *addr, unsigned char ret[16])
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = addr->prefix_len > 8 * i ? addr->prefix_len - 8 * i : 0;

		ret[i] = bits >= 8 ? addr->addr[i] : (unsigned char)(addr->addr[i] & (0xff00u >> bits));
	}
}

static bool same_network(const struct rtnl_addr *x, const struct rtnl_addr *y)
{
	unsigned char nx[16], ny[16];

	network_of(x, nx);
	network_of(y, ny);
	return x->family == y->family && x->prefix_len == y->prefix_len && !memcmp(nx, ny, x->family == AF_INET ? 4 : 16);
}

/* Has another interface an address in the same network? */
static int is_shared(struct nl *nl, struct arena *a, unsigned index, const struct rtnl_addr *addr, struct err *e)
{
	struct rtnl_addr *there;
	size_t n;
	int r = rtnl_addrs(nl, a, 0, &there, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (there[i].index != index && same_network(&there[i], addr))
			return 1;
	return r;
}

int source_route_add(struct nl *nl, struct arena *a, unsigned index, const struct rtnl_addr *addr, struct err *e)
{
	struct rtnl_route on_link = { .family = addr->family, .dst_len = addr->prefix_len, .table = table_of(index), .scope = -1 };
	int r = is_shared(nl, a, index, addr, e);

	if (r <= 0)
		return r;
	network_of(addr, on_link.dst);
	r = rtnl_add_route(nl, index, &on_link, e);
	return r < 0 && r != -EEXIST ? r : rtnl_add_rule(nl, addr, on_link.table, e);
}

int source_route_del(struct nl *nl, unsigned index, const struct rtnl_addr *addr, struct err *e)
{
	return rtnl_del_rule(nl, addr, table_of(index), e); /* the table's routes go with the interface */
}
