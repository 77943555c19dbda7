/* SPDX-License-Identifier: Apache-2.0 */
/* UDP datagrams with don't-fragment: what fits through a path, both ways, without privileges. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "kv/check.h"

#define PROBE_MAGIC 0x6b767063u /* "kvpc" */
#define PROBE_SHORT 1u		/* answer with the header alone */
#define PROBE_MAX 65535
#define PROBE_TRIES 3
#define PROBE_WAIT_MS 400
#define FIRST_TRIES 5 /* the first packet also waits for address resolution */
#define FIRST_WAIT_MS 1000

struct probe {
	uint32_t magic, number, flags;
	uint32_t failed; /* in an answer: errno with which the whole of it could not be sent */
};

static unsigned ip_headers(int family)
{
	return family == AF_INET6 ? 40 + 8 : 20 + 8;
}

/* Bound to the rail's address and interface; nothing is fragmented here or on the way. */
static int open_socket(const struct check_rail *rail, struct arena *a, union kv_addr *ret, struct err *e)
{
	const int probe4 = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE, on = 1;
	_cleanup_close_ int fd = -1;
	union kv_addr at;
	int rc = kv_addr_parse(arena_printf(a, "[%s]", check_host(a, rail->address)), 0, &at, e);

	if (rc < 0)
		return rc;
	fd = socket(at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, -errno, "UDP socket");
	/* with two rails on one network only this keeps a packet on its own rail; refused by kernels before 5.7 */
	setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, rail->ifname, (socklen_t)strlen(rail->ifname));
	if (at.any.sa_family == AF_INET) {
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe4, sizeof(probe4));
	} else {
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6));
		setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof(on));
	}
	if (bind(fd, &at.any, kv_addr_len(&at)) < 0)
		return err_errno(e, -errno, "%s on %s", rail->address, rail->ifname);
	*ret = at;
	return TAKE_FD(fd);
}

int check_echo_open(struct check_rail *rail, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_close_ int fd = -1;
	union kv_addr at;
	socklen_t len = sizeof(at);

	fd = open_socket(rail, a, &at, e);
	if (fd < 0)
		return fd;
	if (getsockname(fd, &at.any, &len) < 0)
		return err_errno(e, -errno, "echo on %s", rail->ifname);
	rail->echo_port = ntohs(at.any.sa_family == AF_INET ? at.v4.sin_port : at.v6.sin6_port);
	rail->echo_fd = TAKE_FD(fd);
	return 0;
}

void check_echo_serve(struct check_rail *rail)
{
	static unsigned char buf[PROBE_MAX];
	struct probe p;
	union kv_addr from;

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(rail->echo_fd, buf, sizeof(buf), 0, &from.any, &len);

		if (n < (ssize_t)sizeof(p))
			return; /* nothing waits, or it is not ours */
		memcpy(&p, buf, sizeof(p));
		if (ntohl(p.magic) != PROBE_MAGIC)
			continue;
		if (ntohl(p.flags) & PROBE_SHORT)
			n = sizeof(p);
		if (sendto(rail->echo_fd, buf, (size_t)n, 0, &from.any, len) >= 0)
			continue;
		p.failed = htonl((uint32_t)errno);
		sendto(rail->echo_fd, &p, sizeof(p), 0, &from.any, len);
	}
}

struct path {
	int fd;
	union kv_addr peer;
	uint32_t number;
	unsigned headers;
};

/* The answer to probe @number within @wait_ms: its size, or -EREMOTEIO when the peer could not send all of it, -ETIMEDOUT. */
static int await(struct path *path, uint32_t number, unsigned wait_ms)
{
	static unsigned char buf[PROBE_MAX];
	uint64_t end = clock_ns() + wait_ms * UINT64_C(1000000), now;
	struct pollfd pfd = { .fd = path->fd, .events = POLLIN };
	struct probe p;

	while ((now = clock_ns()) < end) {
		ssize_t n;

		if (poll(&pfd, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		n = recv(path->fd, buf, sizeof(buf), 0);
		if (n < (ssize_t)sizeof(p))
			continue; /* also ECONNREFUSED, for which a retry is the answer */
		memcpy(&p, buf, sizeof(p));
		if (ntohl(p.magic) == PROBE_MAGIC && ntohl(p.number) == number)
			return p.failed ? -EREMOTEIO : (int)n;
	}
	return -ETIMEDOUT;
}

/*
 * One packet of @size bytes on the wire (IP header included) and its answer, tried @tries times. -EMSGSIZE: this interface
 * does not take it; others as await().
 */
static int probe(struct path *path, unsigned size, uint32_t flags, unsigned tries, unsigned wait_ms)
{
	static unsigned char buf[PROBE_MAX];
	struct probe p = { .magic = htonl(PROBE_MAGIC), .flags = htonl(flags) };
	size_t len = size > path->headers + sizeof(p) ? size - path->headers : sizeof(p);
	int rc = -ETIMEDOUT;

	for (unsigned i = 0; i < tries && rc == -ETIMEDOUT; i++) {
		p.number = htonl(++path->number);
		memcpy(buf, &p, sizeof(p));
		if (sendto(path->fd, buf, len, 0, &path->peer.any, kv_addr_len(&path->peer)) >= 0)
			rc = await(path, path->number, wait_ms);
		else if (errno == EMSGSIZE)
			rc = -EMSGSIZE;
		else if (errno != ECONNREFUSED && errno != EAGAIN && errno != EHOSTUNREACH)
			return -errno;
		else
			clock_sleep_ms(wait_ms / 4);
	}
	return rc;
}

/* The largest packet between @good, which passes, and @bad, which does not. */
static unsigned largest(struct path *path, unsigned good, unsigned bad)
{
	while (bad - good > 4) {
		unsigned middle = good + (bad - good) / 2;

		if (probe(path, middle, 0, 2, PROBE_WAIT_MS / 2) >= 0)
			good = middle;
		else
			bad = middle;
	}
	return good;
}

/* The packet of full size did not come back: which side is narrow. */
static void narrow(struct check *c, struct path *path, const struct check_rail *rail, const struct check_rail *peer, int rc,
		   const char *name, const char *expected)
{
	const char *there = check_host(c->arena, peer->address);
	const unsigned small = 576;

	if (rc == -EMSGSIZE)
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected,
			  arena_printf(c->arena, "raise the MTU of %s, and of its PF first", rail->ifname),
			  "%s here takes only %u bytes", rail->ifname, rail->netdev_mtu);
	else if (rc == -EREMOTEIO)
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected,
			  arena_printf(c->arena, "raise the MTU of the peer's %s, and of its PF first", peer->ifname),
			  "they reach %s, but its %s takes only %u bytes back", there, peer->ifname, peer->netdev_mtu);
	else if (probe(path, rail->mtu, PROBE_SHORT, PROBE_TRIES, PROBE_WAIT_MS) >= 0)
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected,
			  "look for a switch port on the way back with a smaller MTU", "they reach %s, but none of that size comes back",
			  there);
	else
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected,
			  peer->netdev_mtu && peer->netdev_mtu < rail->mtu ?
				  arena_printf(c->arena, "raise the MTU of the peer's %s (%u), and of its PF first", peer->ifname,
					       peer->netdev_mtu) :
				  "raise the MTU of the switch ports between the two",
			  "at most %u bytes pass to %s and back", largest(path, small, rail->mtu), there);
}

void check_path(struct check *c, struct check_rail *rail, const struct check_rail *peer)
{
	_cleanup_close_ int fd = -1;
	const char *name = arena_printf(c->arena, "%u-byte path", rail->mtu);
	const char *there = check_host(c->arena, peer->address);
	const char *expected = arena_printf(c->arena, "packets of %u bytes, don't-fragment, to %s and back", rail->mtu, there);
	struct path path = { .fd = -1 };
	union kv_addr self;
	struct err e;
	int rc;

	fd = open_socket(rail, c->arena, &self, &e);
	if (fd < 0 || kv_addr_parse(arena_printf(c->arena, "[%s]", there), peer->echo_port, &path.peer, &e) < 0) {
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected, "give the interface its address", "%s", e.msg);
		return;
	}
	path.fd = fd;
	path.headers = ip_headers(self.any.sa_family);
	rc = probe(&path, 0, 0, FIRST_TRIES, FIRST_WAIT_MS);
	if (rc < 0) {
		check_add(c, CHECK_PATH, CHECK_BAD, rail->ifname, name, expected,
			  "see that both rails are on one network and VLAN, their ports up, and UDP is let through", "no answer from %s at all (%s)",
			  there, strerror(-rc));
		return;
	}
	rc = probe(&path, rail->mtu, 0, PROBE_TRIES, PROBE_WAIT_MS);
	if (rc >= 0)
		check_add(c, CHECK_PATH, CHECK_GOOD, rail->ifname, name, expected, NULL, "they pass both ways");
	else
		narrow(c, &path, rail, peer, rc, name, expected);
}
