/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One netlink conversation: request and answer, with extended acks turned into words,
 * dumps repeated when the kernel says they were interrupted, answers of any size (MSG_PEEK).
 * Messages are built and parsed with nl-msg.h; what carries them is a wire (nl-wire.h).
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

struct nl_msg;
typedef int nl_answer_fn(const struct nlmsghdr *answer, void *arg);

/*
 * Send @req (flags, sequence and port id are filled in) and wait for the kernel's acknowledgement; each answer before it
 * goes to @cb (may be NULL), which returns 0 to go on or a negative errno, the result of the call.
 */
int nl_call(struct nl *nl, struct nl_msg *req, nl_answer_fn *cb, void *arg, struct err *e);
/*
 * The same for a table. When it changed while the kernel wrote it out (NLM_F_DUMP_INTR) it is asked for again, a
 * bounded number of times: @restart (may be NULL) is called then, to forget what came so far.
 */
int nl_dump(struct nl *nl, struct nl_msg *req, nl_answer_fn *cb, void (*restart)(void *arg), void *arg, struct err *e);

#endif
