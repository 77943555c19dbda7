/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_LINUX_RTNL_PRIVATE_H
#define KVRAIL_LINUX_RTNL_PRIVATE_H

#include "linux/nl-msg.h"
#include "linux/rtnl.h"

/* Start a request about the link @index, or about none. */
void rtnl_link_msg(struct nl_msg *m, uint16_t type, uint16_t flags, unsigned index);
/* Send @m, which changes the link @index; what fails is told with the link's name and "cannot <fmt>". */
int rtnl_change(struct nl *nl, struct nl_msg *m, unsigned index, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
