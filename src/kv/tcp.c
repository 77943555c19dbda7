/* SPDX-License-Identifier: Apache-2.0 */
/* Transport tcp: list-pull over one or more streams of each rail; a rail is an address. */
#include <endian.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "kv/tcp-stream.h"
#include "kv/transport.h"

struct tcp_rail {
	union kv_addr here, peer; /* passive: here is where it listens */
	int listen_fd;
	uint64_t bytes;
};

struct tcp;

struct tcp_stream {
	struct tcp *tcp;
	struct tcp_rail *rail;
	int fd;
	pthread_t thread;
	bool running;
	/* of one operation */
	struct kv_stream_cursor *cursor;
	bool write;
	uint64_t bytes, requests;
	int r;
	struct err e;
};

struct tcp {
	struct kv_endpoint ep;
	struct tcp_rail rails[KV_RAILS_MAX];
	size_t n_rails;
	struct tcp_stream *streams; /* lane by lane, each over all rails */
	size_t n_streams;
};

/* What the passive end tells, after one byte that counts them; ports are big-endian, as sockets have them. */
struct tcp_where {
	uint8_t family; /* 4 or 6 */
	uint8_t port[2];
	uint8_t addr[16];
};

static void tcp_close(struct kv_endpoint *ep)
{
	struct tcp *t = (struct tcp *)ep;

	for (size_t i = 0; i < t->n_streams; i++)
		if (t->streams[i].fd >= 0)
			shutdown(t->streams[i].fd, SHUT_RDWR);
	for (size_t i = 0; i < t->n_streams; i++) {
		if (t->streams[i].running)
			pthread_join(t->streams[i].thread, NULL);
		if (t->streams[i].fd >= 0)
			close(t->streams[i].fd);
	}
	for (size_t i = 0; i < t->n_rails; i++)
		if (t->rails[i].listen_fd >= 0)
			close(t->rails[i].listen_fd);
	free(t->streams);
	free(t);
}

static void set_port(union kv_addr *a, in_port_t port)
{
	if (a->any.sa_family == AF_INET6)
		a->v6.sin6_port = port;
	else
		a->v4.sin_port = port;
}

static int add_rail(struct tcp *t, const struct kv_config *c, const union kv_addr *a, struct err *e)
{
	struct tcp_rail *rail = &t->rails[t->n_rails++];
	int r = 0;

	*rail = (struct tcp_rail){ .here = *a, .listen_fd = -1 };
	set_port(&rail->here, 0);
	if (c->passive)
		r = kv_net_listen(&rail->here, &rail->listen_fd, &rail->here, e);
	return r;
}

/* The address of a rail's text: "ADDRESS" or "DEVICE@ADDRESS"; a rail that has none is of no use here. */
static int rail_address(const char *text, union kv_addr *ret, struct err *e)
{
	const char *at = strchr(text, '@');

	return kv_addr_parse(at ? at + 1 : text, 0, ret, e);
}

static int tcp_open(const struct kv_config *c, struct kv_endpoint **ret, struct err *e)
{
	struct tcp *t = calloc(1, sizeof(*t));
	union kv_addr a = c->here;
	int r = 0;

	if (!t)
		abort();
	if (c->n_rails > KV_RAILS_MAX)
		r = err_set(e, -EINVAL, "%zu rails, the most is %u", c->n_rails, KV_RAILS_MAX);
	else if (!c->n_rails)
		r = add_rail(t, c, &a, e);
	for (size_t i = 0; r == 0 && i < c->n_rails; i++) {
		r = rail_address(c->rails[i], &a, e);
		if (r == 0)
			r = add_rail(t, c, &a, e);
	}
	if (r < 0) {
		tcp_close(&t->ep);
		return r;
	}
	*ret = &t->ep;
	return 0;
}

static int tcp_describe(struct kv_endpoint *ep, struct arena *a, struct kv_bytes *ret, struct err *e)
{
	struct tcp *t = (struct tcp *)ep;
	uint8_t *p = arena_alloc(a, 2 + t->n_rails * sizeof(struct tcp_where));
	struct tcp_where *w = (struct tcp_where *)(p + 2);

	p[0] = (uint8_t)t->n_rails;
	p[1] = (uint8_t)ep->config.lanes;
	for (size_t i = 0; i < t->n_rails; i++, w++) {
		const union kv_addr *h = &t->rails[i].here;

		w->family = h->any.sa_family == AF_INET6 ? 6 : 4;
		memcpy(w->port, w->family == 6 ? &h->v6.sin6_port : &h->v4.sin_port, 2);
		memcpy(w->addr, w->family == 6 ? (const void *)&h->v6.sin6_addr : &h->v4.sin_addr, w->family == 6 ? 16 : 4);
	}
	*ret = (struct kv_bytes){ p, (uint32_t)((uint8_t *)w - p) };
	return 0;
}

/* The peer's rails, each one's address in *ret, and its number of lanes. */
static int parse_peer(const struct kv_bytes *peer, union kv_addr *ret, size_t *ret_n, unsigned *ret_lanes,
		      struct err *e)
{
	const struct tcp_where *w = (const struct tcp_where *)(peer->p + 2);
	size_t n = peer->n >= 2 ? peer->p[0] : 0;

	if (n == 0 || n > KV_RAILS_MAX || peer->n != 2 + n * sizeof(*w) || !peer->p[1] || peer->p[1] > KV_LANES_MAX)
		return err_set(e, -EBADMSG, "the peer's description of its streams is malformed");
	for (size_t i = 0; i < n; i++, w++) {
		ret[i] = (union kv_addr){ .any = { .sa_family = w->family == 6 ? AF_INET6 : AF_INET } };
		memcpy(w->family == 6 ? &ret[i].v6.sin6_port : &ret[i].v4.sin_port, w->port, 2);
		memcpy(w->family == 6 ? (void *)&ret[i].v6.sin6_addr : &ret[i].v4.sin_addr, w->addr, w->family == 6 ? 16 : 4);
	}
	*ret_n = n;
	*ret_lanes = peer->p[1];
	return 0;
}

static void *serve_stream(void *arg)
{
	struct tcp_stream *s = arg;

	s->r = kv_stream_serve(s->fd, s->tcp->ep.config.mem, s->tcp->ep.config.op, &s->e);
	shutdown(s->fd, SHUT_RDWR);
	return NULL;
}

/* Every connection begins with the session's token and the number of its stream. */
struct greeting {
	uint8_t token[16];
	uint32_t stream;
};

static int accept_stream(struct tcp *t, struct tcp_stream *s, uint32_t number, struct err *e)
{
	const struct kv_config *c = &t->ep.config;
	struct greeting g;
	int r;

	/* strangers may knock too: they are turned away and the wait goes on */
	for (unsigned tries = 0; tries < 16; tries++) {
		r = kv_net_accept(s->rail->listen_fd, -1, c->timeout_ms, &s->fd, &s->rail->peer, e);
		if (r < 0)
			return r;
		kv_net_timeouts(s->fd, c->timeout_ms);
		r = kv_net_recv_by(s->fd, &g, sizeof(g), clock_ns() + (uint64_t)c->timeout_ms * 1000000);
		if (r == 0 && !memcmp(g.token, c->token, sizeof(g.token)) && le32toh(g.stream) == number)
			return 0;
		close(s->fd);
		s->fd = -1;
	}
	return err_set(e, -EACCES, "connections came, but not from the peer");
}

static int connect_stream(struct tcp *t, struct tcp_stream *s, uint32_t number, struct err *e)
{
	const struct kv_config *c = &t->ep.config;
	struct greeting g = { .stream = htole32(number) };
	int r;

	memcpy(g.token, c->token, sizeof(g.token));
	r = kv_net_connect(&s->rail->peer, c->n_rails ? &s->rail->here : NULL, c->timeout_ms, &s->fd, e);
	if (r < 0)
		return r;
	r = kv_net_send(s->fd, &g, sizeof(g));
	return r < 0 ? err_errno(e, r, "first bytes") : 0;
}

/* Both ends number streams alike: the smaller number of rails and lanes, lane by lane over all rails. */
static int tcp_connect(struct kv_endpoint *ep, const struct kv_bytes *peer, struct err *e)
{
	struct tcp *t = (struct tcp *)ep;
	union kv_addr addrs[KV_RAILS_MAX];
	unsigned lanes = 0;
	size_t rails = 0;
	int r = parse_peer(peer, addrs, &rails, &lanes, e);

	if (r < 0)
		return r;
	rails = rails < t->n_rails ? rails : t->n_rails;
	lanes = lanes < ep->config.lanes ? lanes : ep->config.lanes;
	t->n_streams = rails * lanes;
	t->streams = calloc(t->n_streams, sizeof(*t->streams));
	if (!t->streams)
		abort();
	for (size_t i = 0; i < t->n_streams; i++)
		t->streams[i] = (struct tcp_stream){ .tcp = t, .rail = &t->rails[i % rails], .fd = -1 };
	for (size_t i = 0; i < t->n_streams; i++) {
		struct tcp_stream *s = &t->streams[i];
		char text[KV_ADDR_MAX];

		if (!ep->config.passive)
			s->rail->peer = addrs[i % rails];
		r = ep->config.passive ? accept_stream(t, s, (uint32_t)i, e) : connect_stream(t, s, (uint32_t)i, e);
		if (r < 0)
			return err_wrap(e, r, "rail %s", kv_addr_host(&s->rail->here, text));
		/* the end that sends the cache leaves a slow reader its time */
		kv_net_keepalive(s->fd, ep->config.passive != (ep->config.op == KV_READ));
		if (ep->config.passive)
			s->running = pthread_create(&s->thread, NULL, serve_stream, s) == 0;
	}
	return 0;
}

static void *run_stream(void *arg)
{
	struct tcp_stream *s = arg;

	s->r = (s->write ? kv_stream_write : kv_stream_read)(s->fd, s->tcp->ep.config.mem, s->cursor, &s->bytes, &s->requests,
						       &s->e);
	return NULL;
}

static int run(struct tcp *t, const struct kv_plan *p, bool write, struct kv_done *ret, struct err *e)
{
	struct kv_stream_cursor cursor = { .lock = PTHREAD_MUTEX_INITIALIZER, .plan = p };
	uint64_t start = clock_ns(), requests = 0;
	char text[KV_ADDR_MAX];
	int r = 0;

	for (size_t i = 0; i < t->n_streams; i++) {
		struct tcp_stream *s = &t->streams[i];

		s->cursor = &cursor;
		s->write = write;
		s->running = i > 0 && pthread_create(&s->thread, NULL, run_stream, s) == 0;
		if (i > 0 && !s->running)
			s->r = err_set(&s->e, -EAGAIN, "no thread for the stream");
	}
	run_stream(&t->streams[0]);
	for (size_t i = 0; i < t->n_streams; i++) {
		struct tcp_stream *s = &t->streams[i];

		if (s->running)
			pthread_join(s->thread, NULL);
		s->running = false;
		if (s->r < 0 && r == 0)
			r = err_set(e, s->r, "rail %s: %s", kv_addr_text(&s->rail->peer, text), s->e.msg);
		s->rail->bytes += s->r < 0 ? 0 : s->bytes;
		requests += s->requests;
	}
	*ret = (struct kv_done){ .ns = clock_ns() - start, .requests = requests };
	return r;
}

static int tcp_read(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct tcp *)ep, p, false, ret, e);
}

static int tcp_write(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct tcp *)ep, p, true, ret, e);
}

static int tcp_plain(struct kv_endpoint *ep, uint64_t size, uint64_t count, struct kv_done *ret, const char **ret_what,
		     struct err *e)
{
	struct tcp *t = (struct tcp *)ep;
	uint64_t start = clock_ns();
	int r = kv_stream_plain(t->streams[0].fd, ep->config.mem, size * count, e);

	*ret_what = "sequential send and recv over one TCP stream";
	*ret = (struct kv_done){ .ns = clock_ns() - start, .requests = count };
	return r;
}

static int tcp_path(struct kv_endpoint *ep, struct arena *a, struct kv_path *ret, struct err *e)
{
	struct tcp *t = (struct tcp *)ep;
	struct kv_rail *rails = arena_alloc(a, t->n_rails * sizeof(*rails));
	char text[KV_ADDR_MAX];

	for (size_t i = 0; i < t->n_rails; i++)
		rails[i] = (struct kv_rail){
			.address = arena_strdup(a, kv_addr_host(&t->rails[i].here, text)),
			.peer = t->rails[i].peer.any.sa_family ? arena_strdup(a, kv_addr_text(&t->rails[i].peer, text)) : NULL,
			.gid_index = -1,
			.bytes = t->rails[i].bytes,
		};
	*ret = (struct kv_path){ .via = "TCP", .rails = rails, .n_rails = t->n_rails };
	return 0;
}

const struct kv_transport kv_tcp = {
	.name = "tcp",
	.doc = "scatter and gather lists over TCP streams",
	.open = tcp_open,
	.describe = tcp_describe,
	.connect = tcp_connect,
	.read = tcp_read,
	.write = tcp_write,
	.plain = tcp_plain,
	.path = tcp_path,
	.close = tcp_close,
};
