/* SPDX-License-Identifier: Apache-2.0 */
/* One session of prefill with a decode, from REQUEST to BYE. */
#ifndef KVRAIL_KV_SESSION_H
#define KVRAIL_KV_SESSION_H

#include "kv/serve.h"

/* What came of it, for the server's report. */
struct kv_session_result {
	const char *transport; /* "" before one was agreed on */
	uint32_t handoffs;
	uint64_t bytes; /* of a handoff, as the peer's request implies */
};

/* Runs over an open channel until the peer says BYE (0) or something fails; tells the peer what failed. */
int kv_session_run(struct kv_server *s, struct kv_chan *chan, struct kv_session_result *ret, struct err *e);

#endif
