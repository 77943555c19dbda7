/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two checks talk over one TCP connection in JSON values, each behind its length in 4 bytes (big-endian).
 *	client: {"check": 1, "rails": [...], "lines": [...]}	the same from the server
 *	client: {"do": "rdma", "rail": N, "seed": S, "endpoint": TEXT}	server: {"endpoint": TEXT} or {"error": "..."}
 *	client: {"do": "done", "lines": [...]}
 * Meanwhile the server answers UDP probes on each rail.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "kv/check.h"

#define TALK_VERSION 1
#define TALK_MAX (1u << 20)
#define TEXT_MAX 512
#define LINES_MAX 4096
#define RETRY_MS 200

static int send_value(int fd, struct arena *a, yyjson_mut_val *v)
{
	char *text = doc_mut_to_json(a, v, false);
	uint32_t n = htonl((uint32_t)strlen(text));
	int rc = kv_net_send(fd, &n, sizeof(n));

	return rc < 0 ? rc : kv_net_send(fd, text, strlen(text));
}

static int recv_value(int fd, struct arena *a, yyjson_val **ret, struct err *e)
{
	uint32_t n;
	char *text;
	int rc = kv_net_recv(fd, &n, sizeof(n));

	if (rc < 0)
		return err_errno(e, rc, "the peer");
	n = ntohl(n);
	if (n == 0 || n > TALK_MAX)
		return err_set(e, -EBADMSG, "the peer is no kvrail check");
	text = arena_alloc(a, n + 1);
	rc = kv_net_recv(fd, text, n);
	if (rc < 0)
		return err_errno(e, rc, "the peer");
	return doc_parse_json(a, "the peer", text, n, TALK_MAX, ret, e);
}

/* A text of the peer, fit to be printed; NULL when there is none. */
static const char *clean(struct arena *a, yyjson_val *obj, const char *key)
{
	const char *s = doc_str(obj, key);

	return s ? check_plain(a, arena_strndup(a, s, TEXT_MAX)) : NULL;
}

static unsigned bounded(yyjson_val *obj, const char *key, unsigned max)
{
	int64_t v = doc_int(obj, key, 0);

	return v > 0 && v <= max ? (unsigned)v : 0;
}

/* The peer's lines become ours: what it sees "here" is "peer" to us. */
static void adopt_lines(struct check *c, yyjson_val *lines)
{
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(lines, i, max, v) {
		const char *name = clean(c->arena, v, "check"), *verdict = clean(c->arena, v, "verdict"), *where = clean(c->arena, v, "where");
		struct check_line *line;

		if (!name || !verdict || !where || i >= LINES_MAX)
			continue;
		line = arena_push(c->arena, &c->lines, &c->n_lines, sizeof(*line));
		line->where = !strcmp(where, "path") ? CHECK_PATH : CHECK_PEER;
		line->verdict = !strcmp(verdict, "ok") ? CHECK_GOOD : !strcmp(verdict, "note") ? CHECK_NOTE : CHECK_BAD;
		line->rail = clean(c->arena, v, "rail");
		line->name = name;
		line->expected = clean(c->arena, v, "expected");
		line->found = clean(c->arena, v, "found");
		line->todo = clean(c->arena, v, "do");
	}
}

static void read_rails(struct arena *a, yyjson_val *hello, struct check *peer)
{
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(hello, "rails"), i, max, v) {
		struct check_rail *r;

		if (i >= CHECK_RAILS_MAX)
			return;
		r = arena_push(a, &peer->rails, &peer->n_rails, sizeof(*r));
		r->ifname = clean(a, v, "ifname");
		r->ifname = r->ifname ? r->ifname : "?";
		r->rdma = clean(a, v, "rdma");
		r->address = clean(a, v, "address");
		r->network = clean(a, v, "network");
		r->netdev_mtu = bounded(v, "netdevMtu", 65535);
		r->active_mtu = bounded(v, "activeMtu", 4096);
		r->echo_port = (uint16_t)bounded(v, "echoPort", 65535);
	}
}

/* Both sides say who they are and what they see. */
static int exchange(struct check *c, int fd, struct check *peer, struct err *e)
{
	yyjson_mut_doc *doc = doc_new(c->arena);
	yyjson_mut_val *own = check_value(c, doc);
	yyjson_val *hello;
	int rc;

	yyjson_mut_obj_add_int(doc, own, "check", TALK_VERSION);
	rc = send_value(fd, c->arena, own);
	if (rc < 0)
		return err_errno(e, rc, "the peer");
	rc = recv_value(fd, c->arena, &hello, e);
	if (rc < 0)
		return rc;
	if (doc_int(hello, "check", 0) != TALK_VERSION)
		return err_set(e, -EPROTO, "the peer speaks version %ld of the check and this is %d: use the same kvrail on both sides",
			       (long)doc_int(hello, "check", 0), TALK_VERSION);
	read_rails(c->arena, hello, peer);
	adopt_lines(c, yyjson_obj_get(hello, "lines"));
	return 0;
}

/* The server's half of one RC connection; it lasts until the next or the end. */
static int serve_rdma(struct check *c, int fd, yyjson_val *request, struct check_rdma **x)
{
	yyjson_mut_doc *doc = doc_new(c->arena);
	yyjson_mut_val *reply = yyjson_mut_obj(doc);
	uint64_t index = yyjson_get_uint(yyjson_obj_get(request, "rail"));
	const char *endpoint = NULL;
	struct err e = { 0 };
	int rc;

	*x = check_rdma_close(*x);
	if (index >= c->n_rails || !c->rails[index].rdma)
		rc = err_set(&e, -EINVAL, "there is no RDMA device on that rail");
	else
		rc = check_rdma_open(c->arena, &c->rails[index], true, fd, x, &e);
	if (rc == 0) {
		check_rdma_fill(*x, yyjson_get_uint(yyjson_obj_get(request, "seed")));
		rc = check_rdma_endpoint(*x, c->arena, &endpoint, &e);
	}
	if (rc == 0)
		rc = check_rdma_connect(*x, c->arena, doc_str(request, "endpoint"), &e);
	if (rc < 0)
		yyjson_mut_obj_add_strcpy(doc, reply, "error", e.msg);
	else
		yyjson_mut_obj_add_str(doc, reply, "endpoint", endpoint);
	return send_value(fd, c->arena, reply);
}

/* One message of the client. Returns 1 when it was the last. */
static int serve_one(struct check *c, int fd, struct check_rdma **x, struct err *e)
{
	yyjson_val *request;
	const char *what;
	int rc = recv_value(fd, c->arena, &request, e);

	if (rc < 0)
		return rc;
	what = doc_str(request, "do");
	if (what && !strcmp(what, "rdma")) {
		rc = serve_rdma(c, fd, request, x);
		return rc < 0 ? err_errno(e, rc, "the peer") : 0;
	}
	if (!what || strcmp(what, "done") != 0)
		return err_set(e, -EBADMSG, "the peer asks for something unknown");
	adopt_lines(c, yyjson_obj_get(request, "lines"));
	return 1;
}

static int serve(struct check *c, int fd, unsigned timeout_ms, struct err *e)
{
	struct check_rdma *x = NULL;
	struct pollfd fds[1 + CHECK_RAILS_MAX] = { { .fd = fd, .events = POLLIN } };
	int rc = 0;

	for (size_t i = 0; i < c->n_rails; i++)
		fds[1 + i] = (struct pollfd){ .fd = c->rails[i].echo_fd, .events = POLLIN };
	while (rc == 0) {
		rc = poll(fds, 1 + c->n_rails, (int)timeout_ms);
		if (rc <= 0) {
			rc = rc < 0 ? err_errno(e, -errno, "poll") : err_set(e, -ETIMEDOUT, "the peer was silent for %u s", timeout_ms / 1000);
			break;
		}
		rc = 0;
		for (size_t i = 0; i < c->n_rails; i++)
			if (fds[1 + i].revents & POLLIN)
				check_echo_serve(&c->rails[i]);
		if (fds[0].revents)
			rc = serve_one(c, fd, &x, e);
	}
	check_rdma_close(x);
	return rc < 0 ? rc : 0;
}

int check_listen(struct check *c, const union kv_addr *at, unsigned timeout_ms, struct err *e)
{
	_cleanup_close_ int listener = -1, fd = -1;
	struct check peer = { .arena = c->arena };
	char text[KV_ADDR_MAX];
	union kv_addr from;
	int rc;

	rc = kv_net_listen(at, &listener, &from, e);
	if (rc < 0)
		return rc;
	fprintf(stderr, "kvrail-kv check: listening on %s for the other side\n", kv_addr_text(&from, text));
	rc = kv_net_accept(listener, -1, timeout_ms, &fd, &from, e);
	if (rc < 0)
		return err_wrap(e, rc, "waiting for the other side");
	rc = kv_net_timeouts(fd, timeout_ms);
	for (size_t i = 0; i < c->n_rails && rc == 0; i++) {
		struct err quiet;

		if (c->rails[i].address && check_echo_open(&c->rails[i], &quiet) < 0)
			check_add(c, CHECK_HERE, CHECK_BAD, c->rails[i].ifname, "echo", "a UDP socket on the rail's address",
				  "give the interface its address", "%s", quiet.msg);
	}
	rc = exchange(c, fd, &peer, e);
	return rc < 0 ? rc : serve(c, fd, timeout_ms, e);
}

/* "10.0.132.0/24" of an address, NULL when it has no prefix length. Only to hold two of them to each other. */
static bool same_subnet(const char *a, const char *b)
{
	unsigned char x[16], y[16];
	const char *slash = a ? strchr(a, '/') : NULL;
	char ta[TEXT_MAX + 1], tb[TEXT_MAX + 1];
	long bits;
	size_t n;

	if (!slash || !b)
		return false;
	snprintf(ta, sizeof(ta), "%.*s", (int)(slash - a), a);
	snprintf(tb, sizeof(tb), "%.*s", (int)strcspn(b, "/"), b);
	if (inet_pton(AF_INET, ta, x) == 1 && inet_pton(AF_INET, tb, y) == 1)
		n = 4;
	else if (inet_pton(AF_INET6, ta, x) == 1 && inet_pton(AF_INET6, tb, y) == 1)
		n = 16;
	else
		return false;
	bits = strtol(slash + 1, NULL, 10);
	for (size_t i = 0; i < n; i++) {
		long kept = bits - (long)i * 8;
		unsigned mask = kept >= 8 ? 0xff : kept <= 0 ? 0 : 0xff00u >> kept & 0xff;

		if ((x[i] ^ y[i]) & mask)
			return false;
	}
	return true;
}

/* The peer's rail of the same network, else (when one side was not told) of the same subnet; each is taken once. */
static size_t partner(const struct check_rail *r, const struct check *peer, const bool *taken)
{
	for (size_t i = 0; i < peer->n_rails; i++)
		if (!taken[i] && r->network && peer->rails[i].network && !strcmp(r->network, peer->rails[i].network))
			return i;
	for (size_t i = 0; i < peer->n_rails; i++)
		if (!taken[i] && !(r->network && peer->rails[i].network) && same_subnet(r->address, peer->rails[i].address))
			return i;
	return peer->n_rails;
}

/* An RC connection on both sides. */
static int connect_both(struct check *c, int fd, struct check_rdma *x, size_t index, uint64_t seed, struct err *e)
{
	yyjson_mut_doc *doc = doc_new(c->arena);
	yyjson_mut_val *request = yyjson_mut_obj(doc);
	yyjson_val *reply;
	const char *why, *endpoint;
	int rc = check_rdma_endpoint(x, c->arena, &endpoint, e);

	if (rc < 0)
		return rc;
	yyjson_mut_obj_add_str(doc, request, "do", "rdma");
	yyjson_mut_obj_add_uint(doc, request, "rail", index);
	yyjson_mut_obj_add_uint(doc, request, "seed", seed);
	yyjson_mut_obj_add_str(doc, request, "endpoint", endpoint);
	rc = send_value(fd, c->arena, request);
	if (rc < 0)
		return err_errno(e, rc, "the peer");
	rc = recv_value(fd, c->arena, &reply, e);
	if (rc < 0)
		return rc;
	why = clean(c->arena, reply, "error");
	if (why)
		return err_set(e, -EREMOTEIO, "the peer: %s", why);
	return check_rdma_connect(x, c->arena, doc_str(reply, "endpoint"), e);
}

static void check_rdma(struct check *c, int fd, struct check_rail *r, const struct check_rail *peer, size_t index)
{
	const char *expected = arena_printf(c->arena, "%s here to %s there", r->rdma, peer->rdma ? peer->rdma : "an RDMA device");
	struct check_rdma *x = NULL;
	uint64_t seed = clock_ns();
	struct err e;
	int rc;

	if (!peer->rdma) {
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "RC connection", expected, "attach the peer's rail with RDMA",
			  "the peer's %s has none", peer->ifname);
		return;
	}
	rc = check_rdma_open(c->arena, r, false, fd, &x, &e);
	if (rc == 0)
		rc = connect_both(c, fd, x, index, seed, &e);
	if (rc < 0) {
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "RC connection", expected,
			  "see the lines of this rail's RDMA device, GID and device node on both sides", "%s", e.msg);
	} else {
		check_add(c, CHECK_PATH, CHECK_GOOD, r->ifname, "RC connection", expected, NULL, "%s",
			  r->gid_index < 0 ? "connected" : arena_printf(c->arena, "connected over GID index %d", r->gid_index));
		check_rdma_read(c, r, x, seed);
	}
	check_rdma_close(x);
}

static void check_pair(struct check *c, int fd, struct check_rail *r, const struct check_rail *peer, size_t index)
{
	if (r->address && peer->address && peer->echo_port)
		check_path(c, r, peer);
	if (r->active_mtu && peer->active_mtu && r->active_mtu != peer->active_mtu)
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "path MTU agrees", "one path MTU on both sides",
			  "give both interfaces the same MTU: NVSHMEM uses its own side's without asking", "%u here, %u there", r->active_mtu,
			  peer->active_mtu);
	if (r->rdma)
		check_rdma(c, fd, r, peer, index);
}

static const char *networks_of(struct arena *a, const struct check *peer)
{
	const char *text = NULL;

	for (size_t i = 0; i < peer->n_rails; i++) {
		const struct check_rail *r = &peer->rails[i];

		text = arena_printf(a, "%s%s%s on %s", text ? text : "", text ? ", " : "", r->ifname,
				    r->network ? r->network : r->address ? r->address : "nothing");
	}
	return text ? text : "no rail";
}

/* The other side may be started after this one: until its port is open the kernel there refuses. */
static int reach(const union kv_addr *to, unsigned timeout_ms, int *ret_fd, struct err *e)
{
	uint64_t end = clock_ns() + (uint64_t)timeout_ms * 1000000;
	int rc = kv_net_connect(to, NULL, timeout_ms, ret_fd, e);

	while (rc == -ECONNREFUSED && clock_ns() < end) {
		clock_sleep_ms(RETRY_MS);
		rc = kv_net_connect(to, NULL, timeout_ms, ret_fd, e);
	}
	return rc == -ECONNREFUSED ? err_append(e, rc, " (waited %u s for verify --listen there)", timeout_ms / 1000) : rc;
}

int check_peer(struct check *c, const union kv_addr *to, unsigned timeout_ms, struct err *e)
{
	struct check peer = { .arena = c->arena };
	bool taken[CHECK_RAILS_MAX] = { false };
	size_t before = c->n_lines;
	_cleanup_close_ int fd = -1;
	yyjson_mut_doc *doc;
	yyjson_mut_val *done;
	int rc;

	rc = reach(to, timeout_ms, &fd, e);
	if (rc == 0)
		rc = kv_net_timeouts(fd, timeout_ms);
	if (rc == 0)
		rc = exchange(c, fd, &peer, e);
	if (rc < 0)
		return rc;
	before = c->n_lines;
	for (size_t i = 0; i < c->n_rails; i++) {
		struct check_rail *r = &c->rails[i];
		size_t p = partner(r, &peer, taken);

		if (p == peer.n_rails) {
			check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "partner",
				  arena_printf(c->arena, "a rail of the peer on %s", r->network ? r->network : r->address ? r->address : "its network"),
				  "attach both pods to the same networks", "the peer has %s", networks_of(c->arena, &peer));
			continue;
		}
		taken[p] = true;
		check_pair(c, fd, r, &peer.rails[p], p);
	}
	doc = doc_new(c->arena);
	done = check_value(&(struct check){ .arena = c->arena, .lines = c->lines + before, .n_lines = c->n_lines - before }, doc);
	yyjson_mut_obj_add_str(doc, done, "do", "done");
	rc = send_value(fd, c->arena, done);
	return rc < 0 ? err_errno(e, rc, "the peer") : 0;
}
