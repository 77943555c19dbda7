/* SPDX-License-Identifier: Apache-2.0 */
/* The wire that leads to the kernel. */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "linux/nl-wire.h"

#define DATAGRAM_MAX (4 * 1024 * 1024)

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12 /* Linux 4.20 */
#endif

struct nl_socket {
	int fd;
};

static int socket_send(void *arg, const void *msg, size_t len)
{
	const struct nl_socket *s = arg;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	do
		n = sendto(s->fd, msg, len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static ssize_t receive(int fd, void *buf, size_t size, int flags, struct sockaddr_nl *from)
{
	socklen_t len = sizeof(*from);
	ssize_t n;

	do
		n = recvfrom(fd, buf, size, flags | MSG_TRUNC, (struct sockaddr *)from, &len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t socket_recv(void *arg, char **buf, size_t *size)
{
	const struct nl_socket *s = arg;
	struct sockaddr_nl from = { 0 };
	ssize_t n;

	for (;;) {
		n = receive(s->fd, NULL, 0, MSG_PEEK, &from); /* how long it is */
		if (n < 0)
			return n;
		if (n > DATAGRAM_MAX)
			return -EMSGSIZE;
		if ((size_t)n > *size) {
			char *grown = realloc(*buf, (size_t)n);

			if (!grown)
				return -ENOMEM;
			*buf = grown;
			*size = (size_t)n;
		}
		n = receive(s->fd, *buf, *size, 0, &from);
		if (n < 0 || from.nl_pid == 0) /* 0 is the kernel; any process may send to a netlink socket */
			return n;
	}
}

static void socket_close(void *arg)
{
	struct nl_socket *s = arg;

	close(s->fd);
	free(s);
}

static const struct nl_wire socket_wire = { .send = socket_send, .recv = socket_recv, .close = socket_close };

int nl_open(int protocol, struct nl **ret, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(self);
	struct nl_socket *s;
	const int on = 1;

	if (fd < 0)
		return err_errno(e, -errno, "cannot open a netlink socket");
	/* a kernel without one of these answers without words, or with more than was asked for: all the same to us */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 || getsockname(fd, (struct sockaddr *)&self, &len) < 0)
		return err_errno(e, -errno, "cannot bind a netlink socket");
	s = malloc(sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "cannot open a netlink socket");
	s->fd = TAKE_FD(fd);
	*ret = nl_new(&socket_wire, s, self.nl_pid);
	return 0;
}
