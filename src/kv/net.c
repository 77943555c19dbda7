/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "kv/net.h"

/* Where the host ends and the port (NULL: none) begins in a copy of the text. */
static int split(char *text, char **ret_host, char **ret_port)
{
	char *colon = strrchr(text, ':'), *end;

	*ret_host = text;
	*ret_port = NULL;
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		*ret_host = text + 1;
		*ret_port = end[1] ? end + 2 : NULL;
		*end = '\0';
	} else if (colon && strchr(text, ':') == colon) {
		*colon = '\0';
		*ret_port = colon + 1;
	}
	return 0;
}

int kv_addr_parse(const char *text, uint16_t port, union kv_addr *ret, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	char copy[256], *host, *number;
	uint64_t n = port;
	int r;

	if (strlen(text) >= sizeof(copy))
		return err_set(e, -EINVAL, "address %.40s... is too long", text);
	strcpy(copy, text);
	if (split(copy, &host, &number) < 0 || (number && parse_u64(number, 10, 0, 65535, &n) < 0))
		return err_set(e, -EINVAL, "%s is no address: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", text);
	if (!*host) {
		*ret = (union kv_addr){ .v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT,
						.sin6_port = htons((uint16_t)n) } };
		return 0;
	}
	r = getaddrinfo(host, NULL, &hints, &found);
	if (r != 0)
		return err_set(e, -EINVAL, "%s: %s", host, gai_strerror(r));
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, found->ai_addr, found->ai_addrlen < sizeof(*ret) ? found->ai_addrlen : sizeof(*ret));
	freeaddrinfo(found);
	if (ret->any.sa_family == AF_INET6)
		ret->v6.sin6_port = htons((uint16_t)n);
	else
		ret->v4.sin_port = htons((uint16_t)n);
	return 0;
}

bool kv_addr_is(const char *text)
{
	unsigned char any[16];

	return inet_pton(AF_INET, text, any) == 1 || inet_pton(AF_INET6, text, any) == 1;
}

void kv_addr_unmap(union kv_addr *a)
{
	union kv_addr v4 = { .v4 = { .sin_family = AF_INET, .sin_port = a->v6.sin6_port } };

	if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	memcpy(&v4.v4.sin_addr, &a->v6.sin6_addr.s6_addr[12], sizeof(v4.v4.sin_addr));
	*a = v4;
}

socklen_t kv_addr_len(const union kv_addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

const char *kv_addr_host(const union kv_addr *a, char *buf)
{
	if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		inet_ntop(AF_INET, &a->v6.sin6_addr.s6_addr[12], buf, KV_ADDR_MAX);
	else if (a->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a->v6.sin6_addr, buf, KV_ADDR_MAX);
	else
		inet_ntop(AF_INET, &a->v4.sin_addr, buf, KV_ADDR_MAX);
	return buf;
}

const char *kv_addr_text(const union kv_addr *a, char *buf)
{
	unsigned port = ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
	bool v6 = strchr(kv_addr_host(a, buf), ':');
	size_t n = strlen(buf);

	if (!port)
		return buf;
	if (v6) {
		memmove(buf + 1, buf, n);
		buf[0] = '[';
		buf[++n] = ']';
		n++;
	}
	snprintf(buf + n, KV_ADDR_MAX - n, ":%u", port);
	return buf;
}

int kv_net_listen(const union kv_addr *a, int *ret_fd, union kv_addr *ret_bound, struct err *e)
{
	_cleanup_close_ int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union kv_addr v4 = { .v4 = { .sin_family = AF_INET } };
	socklen_t len = sizeof(*ret_bound);
	char text[KV_ADDR_MAX];
	int one = 1, zero = 0;

	/* any address, in a kernel without IPv6 */
	if (fd < 0 && errno == EAFNOSUPPORT && a->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr)) {
		v4.v4.sin_port = a->v6.sin6_port;
		a = &v4;
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	if (fd < 0)
		return err_errno(e, -errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, &a->any, kv_addr_len(a)) < 0 || listen(fd, 64) < 0)
		return err_errno(e, -errno, "cannot listen on %s", kv_addr_text(a, text));
	getsockname(fd, &ret_bound->any, &len);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int kv_net_timeouts(int fd, unsigned timeout_ms)
{
	struct timeval t = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
		return -errno;
	return 0;
}

void kv_net_keepalive(int fd, bool prompt)
{
	const int one = 1, idle = 10, interval = 5, count = 4;
	const unsigned gone_ms = 30000; /* idle + interval * count */

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	if (prompt)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone_ms, sizeof(gone_ms));
}

void kv_net_wait(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

int kv_net_connect(const union kv_addr *to, const union kv_addr *from, unsigned timeout_ms, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[KV_ADDR_MAX];
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "socket");
	kv_net_timeouts(fd, timeout_ms); /* SO_SNDTIMEO bounds connect() too */
	if (from && from->any.sa_family != to->any.sa_family)
		return err_set(e, -EAFNOSUPPORT, "cannot connect to %s: one is an IPv4 address and one IPv6", kv_addr_text(to, text));
	if (from) {
		union kv_addr local = *from;

		if (local.any.sa_family == AF_INET6)
			local.v6.sin6_port = 0;
		else
			local.v4.sin_port = 0;
		if (bind(fd, &local.any, kv_addr_len(&local)) < 0)
			return err_errno(e, -errno, "cannot connect from %s", kv_addr_text(&local, text));
	}
	if (connect(fd, &to->any, kv_addr_len(to)) < 0) {
		r = errno == EINPROGRESS || errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (r == -ETIMEDOUT)
			return err_set(e, r, "%s does not answer (waited %u s)", kv_addr_text(to, text), timeout_ms / 1000);
		return err_errno(e, r, "cannot connect to %s", kv_addr_text(to, text));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int kv_net_accept(int listen_fd, int stop_fd, unsigned timeout_ms, int *ret_fd, union kv_addr *ret_from, struct err *e)
{
	struct pollfd p[2] = { { .fd = listen_fd, .events = POLLIN }, { .fd = stop_fd, .events = POLLIN } };
	socklen_t len = sizeof(*ret_from);
	int r, fd;

	do
		r = poll(p, 2, timeout_ms > INT_MAX ? -1 : (int)timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_errno(e, -errno, "poll");
	if (p[1].revents)
		return -ECANCELED;
	if (r == 0)
		return err_set(e, -ETIMEDOUT, "nobody connected for %u s", timeout_ms / 1000);
	fd = accept4(listen_fd, &ret_from->any, &len, SOCK_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "accept");
	*ret_fd = fd;
	return 0;
}

static int failed(void)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return -ETIMEDOUT;
	if (errno == ETIMEDOUT) /* of the connection, not of this call */
		return -EHOSTDOWN;
	return errno == EPIPE ? -ECONNRESET : -errno;
}

/* Forget the first @done bytes of @iov. */
static void advance(struct iovec **iov, size_t *n, size_t done)
{
	while (*n && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		++*iov;
		--*n;
	}
	if (*n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int kv_net_sendv(int fd, struct iovec *iov, size_t n, bool more)
{
	advance(&iov, &n, 0);
	while (n) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = n < IOV_MAX ? n : IOV_MAX };
		ssize_t done = sendmsg(fd, &m, MSG_NOSIGNAL | (more || n > IOV_MAX ? MSG_MORE : 0));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return failed();
		advance(&iov, &n, (size_t)done);
	}
	return 0;
}

int kv_net_recvv(int fd, struct iovec *iov, size_t n)
{
	advance(&iov, &n, 0);
	while (n) {
		ssize_t done = readv(fd, iov, n < IOV_MAX ? (int)n : IOV_MAX);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return failed();
		if (done == 0)
			return -ECONNRESET;
		advance(&iov, &n, (size_t)done);
	}
	return 0;
}

int kv_net_send(int fd, const void *p, size_t n)
{
	struct iovec v = { (void *)p, n };

	return kv_net_sendv(fd, &v, 1, false);
}

int kv_net_recv(int fd, void *p, size_t n)
{
	struct iovec v = { p, n };

	return kv_net_recvv(fd, &v, 1);
}

int kv_net_recv_by(int fd, void *p, size_t n, uint64_t deadline)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	for (uint8_t *at = p; n;) {
		uint64_t now = clock_ns();
		ssize_t done;

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&readable, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		done = recv(fd, at, n, MSG_DONTWAIT);
		if (done == 0)
			return -ECONNRESET;
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return failed();
		if (done > 0) {
			at += done;
			n -= (size_t)done;
		}
	}
	return 0;
}

bool kv_net_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}
