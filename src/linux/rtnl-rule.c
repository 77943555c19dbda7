/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "linux/rtnl-private.h"

static int change_rule(struct nl *nl, uint16_t type, uint16_t flags, const struct rtnl_addr *from, uint32_t table, struct err *e)
{
	size_t size = from->family == AF_INET ? 4 : 16;
	struct fib_rule_hdr rule = {
		.family = (uint8_t)from->family,
		.src_len = (uint8_t)(8 * size),
		.table = RT_TABLE_UNSPEC,
		.action = FR_ACT_TO_TBL,
	};
	char text[INET6_ADDRSTRLEN] = "?";
	struct nl_msg m;

	nl_msg_init(&m, type, flags, &rule, sizeof(rule));
	nl_put(&m, FRA_SRC, from->addr, size);
	nl_put_u32(&m, FRA_TABLE, table);
	inet_ntop(from->family, from->addr, text, sizeof(text));
	return rtnl_change(nl, &m, 0, e, "%s the rule from %s to table %u", type == RTM_NEWRULE ? "add" : "delete", text, table);
}

int rtnl_add_rule(struct nl *nl, const struct rtnl_addr *from, uint32_t table, struct err *e)
{
	int r = change_rule(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, from, table, e);

	return r == -EEXIST ? 0 : r;
}

int rtnl_del_rule(struct nl *nl, const struct rtnl_addr *from, uint32_t table, struct err *e)
{
	int r = change_rule(nl, RTM_DELRULE, 0, from, table, e);

	return r == -ENOENT ? 0 : r;
}
