/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "linux/nl-msg.h"
#include "linux/nl-wire.h"

/* A table that changes while it is read is asked for so many times; links come by the hundred when VFs are made. */
#define DUMP_TRIES 32

struct nl {
	const struct nl_wire *wire;
	void *arg;
	uint32_t port, seq;
	char *buf;
	size_t size;
};

/* One request and what comes back for it. */
struct dialog {
	uint32_t port, seq;
	nl_answer_fn *cb;
	void *arg;
	struct err *e;
	bool interrupted;
	int result; /* of the first @cb that failed; what comes after it is only read away */
};

struct nl *nl_new(const struct nl_wire *wire, void *arg, uint32_t port)
{
	struct nl *nl = calloc(1, sizeof(*nl));

	if (!nl)
		abort();
	*nl = (struct nl){ .wire = wire, .arg = arg, .port = port };
	return nl;
}

struct nl *nl_close(struct nl *nl)
{
	if (!nl)
		return NULL;
	nl->wire->close(nl->arg);
	free(nl->buf);
	free(nl);
	return NULL;
}

static const struct nl_policy ack_policy[] = { [NLMSGERR_ATTR_MSG] = { NL_STR, 0 } };

/* The kernel's own words, which stand behind the @fixed part of an acknowledgement; NULL when there are none. */
static const char *extended_ack(const struct nlmsghdr *h, size_t fixed)
{
	const struct nlattr *tb[NLMSGERR_ATTR_MSG + 1];

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    nl_parse_msg(h, fixed, ack_policy, NLMSGERR_ATTR_MSG, tb) < 0 || !tb[NLMSGERR_ATTR_MSG])
		return NULL;
	return nl_str(tb[NLMSGERR_ATTR_MSG]);
}

static int kernel_error(struct dialog *d, int code, const char *words)
{
	if (code < -4095) /* MAX_ERRNO */
		code = -EBADMSG;
	if (!words)
		return err_set(d->e, code, "%s", strerror(-code));
	return err_set(d->e, code, "%s, kernel says: %s", strerror(-code), words);
}

/* NLMSG_ERROR: struct nlmsgerr, the request (its header alone when NLM_F_CAPPED), attributes when NLM_F_ACK_TLVS. */
static int acknowledged(struct dialog *d, const struct nlmsghdr *h)
{
	const struct nlmsgerr *ack = (const void *)((const char *)h + NLMSG_HDRLEN);
	size_t fixed = sizeof(*ack);

	if (h->nlmsg_len < NLMSG_HDRLEN + sizeof(*ack))
		return kernel_error(d, -EBADMSG, NULL);
	if (!(h->nlmsg_flags & NLM_F_CAPPED) && ack->msg.nlmsg_len > NLMSG_HDRLEN)
		fixed += ack->msg.nlmsg_len - NLMSG_HDRLEN;
	if (ack->error < 0)
		return kernel_error(d, ack->error, extended_ack(h, fixed));
	return 1;
}

/* NLMSG_DONE: an int, 0 or why the dump ended early, and perhaps attributes. */
static int done(struct dialog *d, const struct nlmsghdr *h)
{
	int32_t code = 0;

	if (h->nlmsg_len >= NLMSG_HDRLEN + sizeof(code))
		memcpy(&code, (const char *)h + NLMSG_HDRLEN, sizeof(code));
	if (code < 0)
		return kernel_error(d, code, extended_ack(h, sizeof(code)));
	return 1;
}

/* One datagram: 1 when the conversation is over, 0 when more comes, a negative errno from the kernel. */
static int feed(struct dialog *d, const char *buf, size_t len)
{
	while (len >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const void *)buf;
		size_t step;

		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len)
			return kernel_error(d, -EBADMSG, NULL);
		step = NLMSG_ALIGN(h->nlmsg_len) < len ? NLMSG_ALIGN(h->nlmsg_len) : len;
		buf += step;
		len -= step;
		if (h->nlmsg_seq != d->seq || h->nlmsg_pid != d->port)
			continue; /* left over from a conversation that was given up */
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			d->interrupted = true;
		if (h->nlmsg_type == NLMSG_ERROR)
			return acknowledged(d, h);
		if (h->nlmsg_type == NLMSG_DONE)
			return done(d, h);
		if (h->nlmsg_type >= NLMSG_MIN_TYPE && d->cb && d->result == 0)
			d->result = d->cb(h, d->arg);
	}
	return 0;
}

static int converse(struct nl *nl, struct nl_msg *req, struct dialog *d)
{
	int x;

	if (req->full)
		return err_set(d->e, -EMSGSIZE, "the netlink request is too long");
	d->port = nl->port;
	d->seq = ++nl->seq;
	d->interrupted = false;
	d->result = 0;
	req->h.nlmsg_seq = d->seq;
	req->h.nlmsg_pid = d->port;
	x = nl->wire->send(nl->arg, req->buf, req->h.nlmsg_len);
	if (x < 0)
		return err_errno(d->e, x, "cannot send to the kernel");
	do {
		ssize_t n = nl->wire->recv(nl->arg, &nl->buf, &nl->size);

		if (n < 0) /* ENOBUFS: an answer was dropped */
			return err_errno(d->e, (int)n, "cannot receive from the kernel");
		x = feed(d, nl->buf, (size_t)n);
	} while (x == 0);
	if (x < 0)
		return x;
	return d->result < 0 ? err_errno(d->e, d->result, "the kernel's answer") : 0;
}

int nl_call(struct nl *nl, struct nl_msg *req, nl_answer_fn *cb, void *arg, struct err *e)
{
	struct dialog d = { .cb = cb, .arg = arg, .e = e };

	req->h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	return converse(nl, req, &d);
}

int nl_dump(struct nl *nl, struct nl_msg *req, nl_answer_fn *cb, void (*restart)(void *arg), void *arg, struct err *e)
{
	struct dialog d = { .cb = cb, .arg = arg, .e = e };
	int x;

	req->h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
	for (unsigned tries = 0; tries < DUMP_TRIES; tries++) {
		if (tries && restart)
			restart(arg);
		x = converse(nl, req, &d);
		if (x == -ENOBUFS)
			continue;
		if (x < 0 || !d.interrupted)
			return x;
	}
	return err_set(e, -EINTR, "the kernel's table changed %d times while it was read", DUMP_TRIES);
}
