/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request to the agent's socket. */
#ifndef KVRAIL_CNI_AGENT_H
#define KVRAIL_CNI_AGENT_H

#include <stddef.h>

/* A connected socket, or a negative errno. Tries again for @wait_ms while nobody listens there. */
int agent_connect(const char *path, unsigned wait_ms);
/*
 * Lets the agent of the socket @path see how long this process lives: a lock of one byte of @path.shims, which the kernel takes away at its
 * end (fcntl(2), open file description locks). The byte's number, or 0: there is no such file, an agent of an earlier version.
 */
long agent_mark_alive(const char *path);

struct agent_reply {
	int status;
	const char *body; /* inside the caller's buffer */
	size_t len;
};

/*
 * POST @body to @path and read the whole reply into @buf. Negative errno when the agent went away before the reply was
 * complete (-ECONNRESET), does not answer for @timeout_s (-ETIMEDOUT) or speaks no HTTP (-EPROTO).
 */
int agent_post(int fd, const char *path, const char *body, size_t len, unsigned timeout_s, char *buf, size_t size, struct agent_reply *ret);

#endif
