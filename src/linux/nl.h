/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One netlink conversation: request and answer over libmnl, with extended acks turned into words,
 * dumps repeated when the kernel says they were interrupted, answers of any size (MSG_PEEK).
 * Attribute policies are tables, checked strictly when a message is parsed.
 */
#ifndef KVRAIL_LINUX_NL_H
#define KVRAIL_LINUX_NL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

#include "base/err.h"

struct nl; /* not thread safe; of the network namespace of the thread that opened it */

int nl_open(int protocol, struct nl **ret, struct err *e);
struct nl *nl_close(struct nl *nl);

static inline void nl_closep(struct nl **nl)
{
	nl_close(*nl);
}
#define _cleanup_nl_ _cleanup_(nl_closep)

enum nl_type { NL_NONE, NL_U8, NL_U16, NL_U32, NL_U64, NL_STR, NL_BYTES, NL_NESTED, NL_FLAG };

struct nl_policy {
	uint8_t type;
	uint16_t len; /* NL_BYTES: exact, or 0 for any; NL_STR: at most, or 0 */
};

/*
 * Sort attributes of @buf into @tb[0..max] by @policy. -EBADMSG for a truncated attribute or one of wrong size;
 * attributes above @max are ignored (newer kernels).
 */
int nl_parse(const void *buf, size_t len, const struct nl_policy *policy, uint16_t max,
	     const struct nlattr **tb);

/*
 * Send @req (a complete message; flags, sequence and port id are filled in) and hand each answer to @cb until the
 * end. With dump, -EINTR from the kernel (NLM_F_DUMP_INTR) restarts: @restart (may be NULL) is called to forget what came.
 * @cb returns 0 to go on or a negative errno to stop.
 */
int nl_call(struct nl *nl, struct nlmsghdr *req, bool dump, int (*cb)(const struct nlmsghdr *, void *),
	    void (*restart)(void *), void *arg, struct err *e);

#endif
