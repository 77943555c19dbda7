/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several rails on one subnet. The kernel sends everything for a subnet by its first route, that is by the first rail, whatever
 * the source address: TCP bound to a later rail's address would leave by the wrong port. So a rail whose subnet another interface
 * has already gets a routing table of its own, looked into for packets from its addresses. (RoCE needs none of it: a queue pair
 * is bound to its device.)
 */
#ifndef KVRAIL_ATTACH_SOURCE_ROUTE_H
#define KVRAIL_ATTACH_SOURCE_ROUTE_H

#include "linux/rtnl.h"

int source_route_add(struct nl *nl, struct arena *a, unsigned index, const struct rtnl_addr *addr, struct err *e);
int source_route_del(struct nl *nl, unsigned index, const struct rtnl_addr *addr, struct err *e);

#endif
