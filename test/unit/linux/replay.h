/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire that answers from a recording: each request gets the next messages of the recording, one a datagram, up to and
 * with its acknowledgement; sequence and port are made to fit. When the recording is at its end there comes one
 * acknowledgement more, then -EIO.
 */
#ifndef KVRAIL_TEST_LINUX_REPLAY_H
#define KVRAIL_TEST_LINUX_REPLAY_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "linux/nl-msg.h"
#include "linux/nl-wire.h"

#define REPLAY_PORT 4711

struct replay {
	const unsigned char *data;
	size_t len, pos;
	unsigned requests;
	int extra; /* acknowledgements after the end */
	struct nl_msg last; /* request */
};

static inline int replay_send(void *arg, const void *msg, size_t len)
{
	struct replay *r = arg;

	memcpy(r->last.buf, msg, len);
	r->requests++;
	return 0;
}

static inline ssize_t replay_recv(void *arg, char **buf, size_t *size)
{
	static const struct {
		struct nlmsghdr h;
		int error;
		struct nlmsghdr req;
	} ack = { .h = { .nlmsg_len = sizeof(ack), .nlmsg_type = NLMSG_ERROR, .nlmsg_flags = NLM_F_CAPPED } };
	struct replay *r = arg;
	const void *from = r->data + r->pos;
	size_t n = r->len - r->pos;
	struct nlmsghdr h;

	if (n == 0) {
		if (r->extra-- <= 0)
			return -EIO;
		from = &ack;
		n = sizeof(ack);
	} else {
		if (n >= sizeof(h)) {
			memcpy(&h, from, sizeof(h));
			if (h.nlmsg_len >= sizeof(h) && h.nlmsg_len < n)
				n = h.nlmsg_len;
		}
		r->pos += NLMSG_ALIGN(n) < r->len - r->pos ? NLMSG_ALIGN(n) : r->len - r->pos;
	}
	free(*buf); /* exactly as long as the message, so that a read beyond it is seen */
	*buf = malloc(n);
	if (!*buf)
		abort();
	*size = n;
	memcpy(*buf, from, n);
	if (n >= sizeof(h)) {
		memcpy(&h, *buf, sizeof(h));
		h.nlmsg_seq = r->last.h.nlmsg_seq;
		h.nlmsg_pid = REPLAY_PORT;
		memcpy(*buf, &h, sizeof(h));
	}
	return (ssize_t)n;
}

static inline void replay_close(void *arg)
{
}

/* A conversation over @data; @r is set up here and must outlive it. */
static inline struct nl *replay_open(struct replay *r, const void *data, size_t len)
{
	static const struct nl_wire wire = { .send = replay_send, .recv = replay_recv, .close = replay_close };

	*r = (struct replay){ .data = data, .len = len, .extra = 1 };
	return nl_new(&wire, r, REPLAY_PORT);
}

#endif
