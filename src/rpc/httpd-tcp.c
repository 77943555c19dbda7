/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server over TCP. A certificate is changed by a second libmicrohttpd daemon on the same listening socket: the
 * first stops listening and lives on for its open connections until the next change.
 */
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "base/parse.h"
#include "rpc/httpd-private.h"
#include "rpc/x509.h"

#define THREADS 2
#define THREAD_STACK (512u << 10)
#define IDLE_SECONDS 30
#define CONNECTION_MEMORY (16u << 10)
#define PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* "HOST:PORT" into its parts; a host in brackets loses them, an empty one is NULL. */
static int split(struct arena *a, const char *address, const char **host, const char **port, struct err *e)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;
	uint64_t number;

	if (!colon || parse_u64(colon + 1, 10, 0, 65535, &number) < 0)
		return err_set(e, -EINVAL, "the address '%s' is not HOST:PORT, such as 0.0.0.0:8443", address);
	if (n >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		n -= 2;
	} else if (memchr(address, ':', n)) {
		return err_set(e, -EINVAL, "the address '%s': write an IPv6 address in brackets, [::1]:8443", address);
	}
	*host = n ? arena_strndup(a, address, n) : NULL;
	*port = colon + 1;
	return 0;
}

static int bind_one(const struct addrinfo *ai)
{
	_cleanup_close_ int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	int on = 1, off = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 128) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void free_addresses(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

static int tcp_listen(const char *address, struct err *e)
{
	_cleanup_(free_addresses) struct addrinfo *list = NULL;
	_cleanup_arena_ struct arena *a = arena_new();
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	const char *host = NULL, *port = NULL;
	int r, fd = -EADDRNOTAVAIL;

	r = split(a, address, &host, &port, e);
	if (r < 0)
		return r;
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return err_set(e, -EINVAL, "the address %s: %s", address, gai_strerror(r));
	/* all addresses: the IPv6 socket takes IPv4 too, where the kernel has IPv6 */
	for (int v6 = host ? 0 : 1; v6 >= 0 && fd < 0; v6--)
		for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
			if (host || (ai->ai_family == AF_INET6) == v6)
				fd = bind_one(ai);
	if (fd < 0)
		return err_errno(e, fd, "listening on %s", address);
	return fd;
}

static unsigned port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char port[8];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&sa, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
		return 0;
	return (unsigned)strtoul(port, NULL, 10);
}

/* Off the list; the lock is held. */
static void unlist(struct httpd *h, struct httpd_peer *p)
{
	if (p->fd < 0)
		return;
	TAILQ_REMOVE(&h->peers, p, link);
	h->n_peers--;
	p->fd = -1;
}

static struct in6_addr address_of(const struct sockaddr *sa)
{
	struct in6_addr a = { 0 };

	if (sa->sa_family == AF_INET6)
		a = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
	else if (sa->sa_family == AF_INET)
		memcpy(&a.s6_addr[12], &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	return a;
}

/* Who has to go, now that @p is on the list: of its own address when that has more than a quarter, else of all; NULL: nobody. */
static struct httpd_peer *too_many(struct httpd *h, const struct httpd_peer *p)
{
	struct httpd_peer *other, *oldest = NULL;
	unsigned n = 0;

	TAILQ_FOREACH(other, &h->peers, link) {
		if (!IN6_ARE_ADDR_EQUAL(&other->address, &p->address))
			continue;
		oldest = oldest ? oldest : other;
		n++;
	}
	return n > h->max_connections / 4 + 1 ? oldest : h->n_peers > h->max_connections ? TAILQ_FIRST(&h->peers) : NULL;
}

/*
 * A peer that is one too many takes the place of the one that has asked nothing for the longest time: whoever holds connections open
 * keeps no probe out. libmicrohttpd sees the end of what is shut down here, and closes it.
 */
static void on_connection(void *arg, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct httpd_peer *p = *context, *leaves;
	struct httpd *h = arg;

	pthread_mutex_lock(&h->lock);
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = p = calloc(1, sizeof(*p));
		if (!p)
			abort();
		p->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		p->address = address_of(MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
		TAILQ_INSERT_TAIL(&h->peers, p, link);
		h->n_peers++;
		leaves = too_many(h, p);
		if (leaves) {
			shutdown(leaves->fd, SHUT_RDWR);
			unlist(h, leaves);
		}
	} else {
		unlist(h, p);
		free(p);
	}
	pthread_mutex_unlock(&h->lock);
}

void httpd_on_begin(struct httpd *h, struct MHD_Connection *c)
{
	struct httpd_peer *p = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

	pthread_mutex_lock(&h->lock);
	if (p->fd >= 0) {
		TAILQ_REMOVE(&h->peers, p, link);
		TAILQ_INSERT_TAIL(&h->peers, p, link);
	}
	pthread_mutex_unlock(&h->lock);
}

static struct MHD_Daemon *start_daemon(struct httpd *h, int fd, const struct httpd_pem *tls)
{
	/* the items without TLS follow those with it, so that one array serves both */
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, tls ? (void *)(uintptr_t)tls->cert : NULL },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, tls ? (void *)(uintptr_t)tls->key : NULL },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)PRIORITIES },
		{ MHD_OPTION_END, 0, NULL },
	};

	return MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC | (tls ? MHD_USE_TLS : 0),
				0, NULL, NULL, httpd_on_request, h,
				MHD_OPTION_LISTEN_SOCKET, fd,
				MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
				MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
				/* divided among the threads; on_connection() makes room before */
				MHD_OPTION_CONNECTION_LIMIT, (h->max_connections + 1) * THREADS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
				MHD_OPTION_NOTIFY_COMPLETED, httpd_on_done, h,
				MHD_OPTION_ARRAY, tls ? options : &options[ARRAY_SIZE(options) - 1],
				MHD_OPTION_END);
}

int httpd_start_tcp(const char *address, const struct httpd_pem *tls, size_t max_body, unsigned max_connections,
		    httpd_handler handler, void *arg, struct httpd **ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct httpd *h;
	int r;

	/* libmicrohttpd only says that it failed: say why */
	r = tls ? x509_check_pair(tls, e) : 0;
	if (r < 0)
		return r;
	fd = tcp_listen(address, e);
	if (fd < 0)
		return fd;
	h = calloc(1, sizeof(*h));
	if (!h)
		abort();
	h->handler = handler;
	h->arg = arg;
	h->max_body = max_body;
	h->max_connections = max_connections < THREADS ? THREADS : max_connections;
	h->tcp = true;
	pthread_mutex_init(&h->lock, NULL);
	TAILQ_INIT(&h->peers);
	h->tls = tls;
	h->port = port_of(fd);
	h->mhd = start_daemon(h, fd, tls);
	if (!h->mhd) {
		pthread_mutex_destroy(&h->lock);
		free(h);
		return err_set(e, -EIO, "starting the server on %s", address);
	}
	TAKE_FD(fd);
	*ret = h;
	return 0;
}

unsigned httpd_port(const struct httpd *h)
{
	return h->port;
}

int httpd_set_tls(struct httpd *h, const struct httpd_pem *tls, struct err *e)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_LISTEN_FD);
	_cleanup_close_ int fd = -1;
	struct MHD_Daemon *next;
	MHD_socket old;
	int r;

	if (!h->tls)
		return err_set(e, -EINVAL, "the server on port %u speaks no TLS", h->port);
	r = x509_check_pair(tls, e);
	if (r < 0)
		return r;
	fd = info ? fcntl(info->listen_fd, F_DUPFD_CLOEXEC, 3) : -1;
	next = fd < 0 ? NULL : start_daemon(h, fd, tls);
	if (!next)
		return err_set(e, -EIO, "starting the server with the new certificate");
	TAKE_FD(fd);
	old = MHD_quiesce_daemon(h->mhd);
	if (old != MHD_INVALID_SOCKET)
		close(old);
	if (h->retired)
		MHD_stop_daemon(h->retired);
	h->retired = h->mhd;
	h->mhd = next;
	return 0;
}
