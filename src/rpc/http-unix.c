/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the agent's socket. It asks in HTTP/1.0, so that the reply's body ends with the
 * connection and needs no decoding.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "rpc/httpd.h"

#define HEAD_MAX 8192

static int send_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static ssize_t receive(int fd, struct strbuf *b)
{
	char buf[16384];
	ssize_t n;

	do
		n = recv(fd, buf, sizeof(buf), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	strbuf_add(b, buf, (size_t)n);
	return n;
}

static void drop(struct strbuf *b, size_t n)
{
	memmove(b->s, b->s + n, b->len - n + 1);
	b->len -= n;
}

/* The status line and the headers; @b keeps what follows them. */
static int read_head(int fd, struct strbuf *b, int *status, struct err *e)
{
	const char *end;
	uint64_t code;
	ssize_t n;

	while (!b->s || !(end = strstr(b->s, "\r\n\r\n"))) {
		if (b->len > HEAD_MAX)
			return err_set(e, -EPROTO, "the agent's reply is no HTTP");
		n = receive(fd, b);
		if (n < 0)
			return err_errno(e, (int)n, "reading the agent's reply");
		if (n == 0)
			return err_set(e, -ECONNRESET, "the agent closed the connection without an answer");
	}
	if (strncmp(b->s, "HTTP/1.", 7) || b->len < 13)
		return err_set(e, -EPROTO, "the agent's reply is no HTTP");
	b->s[12] = '\0';
	if (parse_u64(b->s + 9, 10, 100, 599, &code) < 0)
		return err_set(e, -EPROTO, "the agent's reply is no HTTP");
	*status = (int)code;
	drop(b, (size_t)(end + 4 - b->s));
	return 0;
}

static int hand_lines(struct strbuf *b, int (*line)(void *, const char *, size_t), void *arg)
{
	char *nl;
	int r;

	while (b->len && (nl = memchr(b->s, '\n', b->len))) {
		*nl = '\0';
		r = line(arg, b->s, (size_t)(nl - b->s));
		if (r)
			return r;
		drop(b, (size_t)(nl - b->s) + 1);
	}
	return 0;
}

int http_unix(const char *socket_path, const char *method, const char *target, const char *body,
	      size_t len, size_t max_reply, int (*line)(void *arg, const char *line, size_t len),
	      void *arg, struct arena *a, int *status, char **reply, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, in = STRBUF_INIT;
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	ssize_t n;
	int r;

	if (strlen(socket_path) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "the socket path %s is too long", socket_path);
	strcpy(sa.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, -errno, "socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_set(e, errno == EACCES ? -EACCES : -ENOTCONN,
			       errno == EACCES
				       ? "%s belongs to root: run as root (%s)"
				       : "no agent answers on %s (%s): on a Kubernetes node the DaemonSet kvrail-agent runs it, "
					 "on another host 'kvrail agent --standalone'",
			       socket_path, strerror(errno));
	strbuf_addf(&out, "%s %s HTTP/1.0\r\nHost: kvrail\r\nContent-Length: %zu\r\n\r\n", method,
		    target, len);
	strbuf_add(&out, body, len);
	r = send_all(fd, out.s, out.len);
	if (r < 0)
		return err_errno(e, r, "asking the agent on %s", socket_path);
	r = read_head(fd, &in, status, e);
	if (r < 0)
		return r;
	do {
		if (line && *status / 100 == 2) {
			r = hand_lines(&in, line, arg);
			if (r)
				return r;
		}
		if (in.len > max_reply)
			return err_set(e, -EFBIG, "the agent's reply is larger than %zu bytes", max_reply);
		n = receive(fd, &in);
		if (n < 0)
			return err_errno(e, (int)n, "reading the agent's reply");
	} while (n);
	*reply = arena_strndup(a, in.s ? in.s : "", in.len);
	return 0;
}
