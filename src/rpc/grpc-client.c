/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "rpc/grpc-conn.h"

/* Within @timeout_ms: connect() to a unix socket waits for room in the listener's queue as long as a send may. */
static int dial(const char *path, unsigned timeout_ms, struct err *e)
{
	const struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_set(e, errno == EAGAIN ? -ETIMEDOUT : -ENOTCONN, "nobody answers at %s: %s", path, strerror(errno));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(e, -errno, "%s", path);
	return TAKE_FD(fd);
}

/* Send what is to be sent, as far as the socket takes it. 1: it takes no more now. */
static int send_out(int fd, struct grpc_conn *h2, struct strbuf *rest, size_t *done)
{
	const uint8_t *p;
	ssize_t n;

	for (;;) {
		while (*done < rest->len) {
			n = send(fd, rest->s + *done, rest->len - *done, MSG_NOSIGNAL);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return errno == EAGAIN ? 1 : -errno;
			*done += (size_t)n;
		}
		rest->len = *done = 0;
		n = grpc_conn_out(h2, &p);
		if (n <= 0)
			return (int)n;
		strbuf_add(rest, p, (size_t)n);
	}
}

static int receive_in(int fd, struct grpc_conn *h2)
{
	char buf[16384];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n == 0 ? -ECONNRESET : grpc_conn_in(h2, buf, (size_t)n);
}

/* Until the stream is closed. */
static int converse(int fd, struct grpc_conn *h2, struct grpc_call *call, uint64_t deadline)
{
	struct strbuf rest = STRBUF_INIT;
	size_t done = 0;
	int r = 0;

	while (r >= 0 && call->conn) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_ns();

		r = send_out(fd, h2, &rest, &done);
		while (r == -EPIPE && call->conn) /* it left: what did it say before? */
			if ((r = receive_in(fd, h2)) == 0)
				r = -EPIPE;
		if (r < 0 || !call->conn)
			break;
		if (r == 1)
			p.events |= POLLOUT;
		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / 1000000u) + 1) == 0) {
			r = -ETIMEDOUT;
			break;
		}
		if (p.revents & ~POLLOUT)
			r = receive_in(fd, h2);
	}
	strbuf_free(&rest);
	return call->conn ? r : 0;
}

/* What the closed stream says. */
static int outcome(const struct grpc_call *call, size_t max, struct err *e)
{
	if (call->bad == -EMSGSIZE)
		return err_set(e, -EMSGSIZE, "the reply is larger than %zu bytes", max);
	if (call->bad)
		return err_set(e, -EPROTO, "the reply is compressed, or there are several");
	if (call->status == GRPC_OK && grpc_frame_whole(&call->in))
		return 0;
	if (call->status == GRPC_OK)
		return err_set(e, -EPROTO, "there is no whole message in the reply");
	if (call->status > 0)
		return err_set(e, call->status == GRPC_DEADLINE_EXCEEDED ? -ETIMEDOUT : -EREMOTEIO, "%s%s%s",
			       grpc_status_name(call->status), call->text.len ? ": " : "", call->text.len ? call->text.s : "");
	if (call->http_status && (call->http_status != 200 || !call->grpc))
		return err_set(e, -EPROTO, "what answers speaks no gRPC (HTTP status %d)", call->http_status);
	return err_set(e, -EPROTO, "the stream ended without a status (HTTP/2 error %u)", call->reset);
}

int grpc_unary(const char *path, const char *method, const void *msg, size_t len, unsigned timeout_ms, size_t max,
	       struct arena *a, void **ret, size_t *ret_len, int *status, struct err *e)
{
	const uint64_t deadline = clock_ns() + timeout_ms * 1000000ull;
	_cleanup_close_ int fd = dial(path, timeout_ms, e);
	struct grpc_conn *h2;
	struct grpc_call *call;
	int r;

	if (fd < 0)
		return err_wrap(e, fd, "%s", method);
	h2 = grpc_conn_new(false, max);
	call = h2 ? grpc_conn_request(h2, method, msg, len, timeout_ms) : NULL;
	if (!call) {
		grpc_conn_free(h2);
		return err_errno(e, -ENOMEM, "%s", method);
	}
	r = converse(fd, h2, call, deadline);
	if (status)
		*status = call->status;
	if (r == -ETIMEDOUT)
		err_set(e, r, "no answer from %s within %u ms", path, timeout_ms);
	else if (r < 0)
		err_errno(e, r, "%s", path);
	else
		r = outcome(call, max, e);
	if (r == 0) {
		*ret = arena_memdup(a, call->in.body.s ? call->in.body.s : "", call->in.body.len);
		*ret_len = call->in.body.len;
	} else {
		err_wrap(e, r, "%s", method);
	}
	grpc_call_unref(call);
	grpc_conn_free(h2);
	return r;
}
