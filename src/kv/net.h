/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets with a time limit on everything. */
#ifndef KVRAIL_KV_NET_H
#define KVRAIL_KV_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "base/err.h"

#define KV_PORT 5700
#define KV_ADDR_MAX 64

union kv_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "10.0.132.1", "10.0.132.1:5700", "[fd00::1]:5700", "fd00::1", ":5700" (any address), "node-1:5700". */
int kv_addr_parse(const char *text, uint16_t port, union kv_addr *ret, struct err *e);
/* Is it an IPv4 or IPv6 address and nothing else? */
bool kv_addr_is(const char *text);
/* ::ffff:a.b.c.d, which a socket of both families has of an IPv4 peer, becomes a.b.c.d; others stay. */
void kv_addr_unmap(union kv_addr *a);
socklen_t kv_addr_len(const union kv_addr *a);
/* As a person writes it, with the port unless it is 0; @buf of KV_ADDR_MAX. Returns @buf. */
const char *kv_addr_text(const union kv_addr *a, char *buf);
/* Without port; IPv4 in IPv6 as IPv4. */
const char *kv_addr_host(const union kv_addr *a, char *buf);

int kv_net_listen(const union kv_addr *a, int *ret_fd, union kv_addr *ret_bound, struct err *e);
/* @from (may be NULL): the local address to use. -EAFNOSUPPORT: it is of the other family. */
int kv_net_connect(const union kv_addr *to, const union kv_addr *from, unsigned timeout_ms, int *ret_fd, struct err *e);
/* -ETIMEDOUT after @timeout_ms; -ECANCELED when @stop_fd (-1: none) becomes readable. */
int kv_net_accept(int listen_fd, int stop_fd, unsigned timeout_ms, int *ret_fd, union kv_addr *ret_from, struct err *e);

/*
 * From now on a peer that is gone without a word is found within about half a minute, by keepalives. They rest while bytes
 * are under way to it: a @prompt peer counts as gone when it takes none for as long. One that lives but is slow to read
 * would too (kernel net/ipv4/tcp_timer.c, tcp_probe_timer()): where there may be such, the socket's timeout decides.
 */
void kv_net_keepalive(int fd, bool prompt);
/* Wait without limit for bytes, or the end of the connection. */
void kv_net_wait(int fd);

/* A blocking socket on which each read and write fails after this much silence. */
int kv_net_timeouts(int fd, unsigned timeout_ms);

/*
 * Exactly all bytes, else: -ECONNRESET the peer closed, -ETIMEDOUT nothing moved for the socket's timeout,
 * -EHOSTDOWN the peer is gone (kv_net_keepalive()), or the kernel's error. @iov is used up.
 */
int kv_net_send(int fd, const void *p, size_t n);
int kv_net_recv(int fd, void *p, size_t n);
/* The same, but -ETIMEDOUT unless all are there when clock_ns() is @deadline, however they drip. */
int kv_net_recv_by(int fd, void *p, size_t n, uint64_t deadline);
int kv_net_sendv(int fd, struct iovec *iov, size_t n, bool more);
int kv_net_recvv(int fd, struct iovec *iov, size_t n);
/* Has the peer closed or reset the connection (bytes that wait to be read are no sign of that)? */
bool kv_net_gone(int fd);

#endif
