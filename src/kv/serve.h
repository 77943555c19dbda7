/* SPDX-License-Identifier: Apache-2.0 */
/* The prefill side: a listener, and a thread for each session with a decode. */
#ifndef KVRAIL_KV_SERVE_H
#define KVRAIL_KV_SERVE_H

#include "kv/common.h"

struct kv_server {
	struct kv_common options;
	struct kv_secret secret;
	struct kv_cache *cache; /* NULL: made for each session as its peer asks, up to max_bytes */
	uint64_t max_bytes;
	int listen_fd, stop_fd; /* stop_fd readable: end */
	bool quiet, ucx; /* ucx: decodes may choose it */
};

/*
 * Serve until stop_fd, which cuts the sessions under way, or until @sessions (0: no limit) have ended. Errors of a session
 * are reported, not returned.
 */
int kv_serve(struct kv_server *s, uint64_t sessions, struct err *e);

extern const struct kv_command kv_cmd_serve;

#endif
