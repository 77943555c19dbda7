/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport verbs: RC READ and WRITE. The requests of a plan are chained, a chain costs one doorbell and one
 * completion, and the lanes of all rails take the next chain as soon as they have room: a slow rail carries less.
 */
#include <endian.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "kv/verbs.h"

#define CHAIN 64
/* Longer ranges are cut, so that rails share them; above this size a request costs nothing beside its bytes. */
#define REQUEST_MAX (1u << 20)

struct verbs {
	struct kv_endpoint ep;
	struct kv_verbs_rail rails[KV_RAILS_MAX];
	size_t n_rails;
	uint64_t peer_base, peer_size;
};

/* What one end tells the other; numbers are little-endian, as in struct kv_verbs_there. */
struct verbs_hello {
	uint64_t base, size;
	uint32_t n_rails, n_lanes;
	struct kv_verbs_there rails[];
};

static void verbs_close(struct kv_endpoint *ep)
{
	struct verbs *v = (struct verbs *)ep;

	for (size_t i = 0; i < v->n_rails; i++)
		kv_verbs_rail_close(&v->rails[i]);
	free(v);
}

static int find_rails(struct verbs *v, const struct kv_config *c, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sysroot *root;
	int r = sysroot_open_here(&root, NULL); /* wants CAP_SYS_ADMIN; a pod's own /sys is right as it is */

	if (r < 0)
		r = sysroot_open(NULL, &root, e);
	if (r < 0)
		return r;
	if (c->n_rails > KV_RAILS_MAX)
		r = err_set(e, -EINVAL, "%zu rails, the most is %u", c->n_rails, KV_RAILS_MAX);
	for (size_t i = 0; r == 0 && i < c->n_rails; i++)
		r = kv_verbs_rail_find(root, a, c->rails[i], c->gid_index, &v->rails[i], e);
	if (r == 0 && c->n_rails)
		v->n_rails = c->n_rails;
	else if (r == 0)
		r = kv_verbs_rails_find(root, a, v->rails, KV_RAILS_MAX, &v->n_rails, e);
	sysroot_close(root);
	return r;
}

static int verbs_open(const struct kv_config *c, struct kv_endpoint **ret, struct err *e)
{
	struct verbs *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		abort();
	r = find_rails(v, c, e);
	for (size_t i = 0; r == 0 && i < v->n_rails; i++)
		r = kv_verbs_rail_open(&v->rails[i], c, e);
	if (r < 0) {
		verbs_close(&v->ep);
		return r;
	}
	*ret = &v->ep;
	return 0;
}

static int verbs_describe(struct kv_endpoint *ep, struct arena *a, struct kv_bytes *ret, struct err *e)
{
	struct verbs *v = (struct verbs *)ep;
	size_t len = sizeof(struct verbs_hello) + v->n_rails * sizeof(struct kv_verbs_there);
	struct verbs_hello *h = arena_alloc(a, len);

	h->base = htole64((uintptr_t)ep->config.mem->base);
	h->size = htole64(ep->config.mem->size);
	h->n_rails = htole32((uint32_t)v->n_rails);
	h->n_lanes = htole32(ep->config.lanes);
	for (size_t i = 0; i < v->n_rails; i++)
		kv_verbs_rail_describe(&v->rails[i], &h->rails[i]);
	*ret = (struct kv_bytes){ (uint8_t *)h, (uint32_t)len };
	return 0;
}

/* Rail i meets rail i, lane i lane i; what one side has more of stays unused. */
static int verbs_connect(struct kv_endpoint *ep, const struct kv_bytes *peer, struct err *e)
{
	struct verbs *v = (struct verbs *)ep;
	const struct verbs_hello *h = (const struct verbs_hello *)peer->p;
	uint32_t rails, lanes;
	int r = 0;

	if (peer->n < sizeof(*h) || (rails = le32toh(h->n_rails)) == 0 || rails > KV_RAILS_MAX ||
	    peer->n != sizeof(*h) + rails * sizeof(h->rails[0]) || (lanes = le32toh(h->n_lanes)) == 0)
		return err_set(e, -EBADMSG, "the peer's description of its rails is malformed");
	v->peer_base = le64toh(h->base);
	v->peer_size = le64toh(h->size);
	while (v->n_rails > rails)
		kv_verbs_rail_close(&v->rails[--v->n_rails]);
	for (size_t i = 0; r == 0 && i < v->n_rails; i++) {
		struct kv_verbs_rail *rail = &v->rails[i];

		while (rail->n_lanes > lanes)
			ibv_destroy_qp(rail->lanes[--rail->n_lanes].qp);
		r = kv_verbs_rail_connect(rail, &ep->config, &h->rails[i], e);
	}
	return r;
}

/* One run of a plan. */
struct run {
	struct verbs *v;
	const struct kv_plan *plan;
	enum ibv_wr_opcode op;
	size_t next;	/* descriptor, of which @done bytes are posted */
	uint64_t done;
	uint64_t under_way, requests, chain, post_ns, last_ns;
};

static const char *peer_text(const struct kv_verbs_rail *rail, struct arena *a)
{
	return gid_format(a, rail->peer_gid.raw);
}

/* One clear line for a completion that failed. */
static int completion_failed(const struct kv_verbs_rail *rail, const struct ibv_wc *wc, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char text[160];
	int code = -EIO;
	const char *what;

	switch (wc->status) {
	case IBV_WC_RETRY_EXC_ERR:
		code = -ETIMEDOUT;
		what = arena_printf(a, "no answer from GID %s after %u tries: the peer's rail is down, its GID or MTU is not what "
				    "it told, or the fabric loses packets. Look at the peer's link and run kvrail verify",
				    peer_text(rail, a), KV_VERBS_RETRY + 1);
		break;
	case IBV_WC_REM_ACCESS_ERR:
		code = -EACCES;
		what = "the peer's device refused the access: the key or the region is not what the peer told. Was the peer "
		       "restarted, or its memory registered again?";
		break;
	case IBV_WC_RNR_RETRY_EXC_ERR:
		what = "the peer's queue pair is not ready to receive";
		break;
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
		what = "the peer's device could not carry out the request: its queue pair does not allow it or failed";
		break;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_LEN_ERR:
		code = -EFAULT;
		what = "this side's memory is not registered for the request";
		break;
	case IBV_WC_WR_FLUSH_ERR:
		what = "the queue pair failed and its requests were flushed: look for the link's events in the kernel's log";
		break;
	default:
		what = "start again; if it stays, look at the device's hw_counters";
	}
	return err_set(e, code, "%s: %s (status %d, vendor 0x%x): %s", kv_verbs_rail_text(rail, text, sizeof(text)),
		       ibv_wc_status_str(wc->status), wc->status, wc->vendor_err, what);
}

static bool exhausted(const struct run *x)
{
	return x->next == x->plan->n;
}

/* The next request of the plan. */
static void fill(struct run *x, const struct kv_verbs_rail *rail, struct ibv_send_wr *wr, struct ibv_sge *sge)
{
	const struct kv_desc *d = &x->plan->v[x->next];
	uint64_t len = d->len - x->done;

	len = len < REQUEST_MAX ? len : REQUEST_MAX;
	*sge = (struct ibv_sge){
		.addr = (uintptr_t)x->v->ep.config.mem->base + d->local + x->done,
		.length = (uint32_t)len,
		.lkey = rail->mr->lkey,
	};
	*wr = (struct ibv_send_wr){
		.sg_list = sge,
		.num_sge = 1,
		.opcode = x->op,
		.wr.rdma = { .remote_addr = x->v->peer_base + d->remote + x->done, .rkey = rail->peer_key },
	};
	x->done += len;
	if (x->done == d->len) {
		x->next++;
		x->done = 0;
	}
}

/* A chain on one lane, the last of it signalled. wr_id: lane in the low byte, above it how many were posted so far. */
static int post_chain(struct run *x, struct kv_verbs_rail *rail, unsigned lane, struct err *e)
{
	struct kv_verbs_lane *l = &rail->lanes[lane];
	uint64_t room = rail->depth - (l->posted - l->completed), n = 0;
	struct ibv_send_wr wr[CHAIN], *bad;
	struct ibv_sge sge[CHAIN];
	char text[160];
	int r;

	while (!exhausted(x) && n < room && n < x->chain) {
		fill(x, rail, &wr[n], &sge[n]);
		rail->bytes += sge[n].length;
		wr[n].wr_id = (l->posted + n + 1) << 8 | lane;
		if (n)
			wr[n - 1].next = &wr[n];
		n++;
	}
	if (!n)
		return 0;
	wr[n - 1].send_flags = IBV_SEND_SIGNALED;
	r = ibv_post_send(l->qp, wr, &bad);
	if (r)
		return err_errno(e, -r, "%s: posting %ju requests", kv_verbs_rail_text(rail, text, sizeof(text)), (uintmax_t)n);
	l->posted += n;
	x->under_way += n;
	x->requests += n;
	return (int)n;
}

/* One chain on every lane that has room for it, again and again until none has or the plan is used up. */
static int post(struct run *x, struct err *e)
{
	uint64_t start = clock_ns();
	int r = 1;

	while (r > 0 && !exhausted(x)) {
		r = 0;
		for (size_t i = 0; i < x->v->n_rails; i++) {
			struct kv_verbs_rail *rail = &x->v->rails[i];

			for (unsigned k = 0; k < rail->n_lanes; k++) {
				const struct kv_verbs_lane *l = &rail->lanes[k];
				uint64_t room = rail->depth - (l->posted - l->completed);
				int n = room >= x->chain || room == rail->depth ? post_chain(x, rail, k, e) : 0;

				if (n < 0)
					return n;
				r += n;
			}
		}
	}
	x->post_ns += clock_ns() - start;
	return 0;
}

/* Completions that are there: how many requests they end. */
static int reap(struct run *x, struct err *e)
{
	struct ibv_wc wc[32];
	int done = 0;

	for (size_t i = 0; i < x->v->n_rails; i++) {
		struct kv_verbs_rail *rail = &x->v->rails[i];
		int n = ibv_poll_cq(rail->cq, 32, wc);

		if (n < 0)
			return err_set(e, -EIO, "%s: the completion queue failed", rail->device);
		for (int k = 0; k < n; k++) {
			struct kv_verbs_lane *l = &rail->lanes[wc[k].wr_id & 0xff];
			uint64_t number = wc[k].wr_id >> 8;

			if (wc[k].status != IBV_WC_SUCCESS)
				return completion_failed(rail, &wc[k], e);
			done += (int)(number - l->completed);
			l->completed = number;
		}
	}
	if (done) {
		x->under_way -= (uint64_t)done;
		x->last_ns = clock_ns();
	}
	return done;
}

static int given_up(const struct run *x, struct err *e)
{
	const struct kv_config *c = &x->v->ep.config;

	const struct kv_verbs_rail *rail = x->v->rails;
	char text[160];

	if (kv_net_gone(c->peer_fd))
		return err_set(e, -ECONNRESET, "the peer ended during the transfer, %ju requests were under way",
			       (uintmax_t)x->under_way);
	if (clock_ns() - x->last_ns <= (uint64_t)c->timeout_ms * 1000000)
		return 0;
	for (size_t i = 0; i < x->v->n_rails; i++)
		if (x->v->rails[i].lanes[0].posted > x->v->rails[i].lanes[0].completed)
			rail = &x->v->rails[i];
	return err_set(e, -ETIMEDOUT, "%s: no request completed for %u s, %ju are under way",
		       kv_verbs_rail_text(rail, text, sizeof(text)), c->timeout_ms / 1000, (uintmax_t)x->under_way);
}

/* Sleep until a completion, the peer's end, or a moment has passed. */
static int sleep_for_event(struct run *x, struct err *e)
{
	struct pollfd p[KV_RAILS_MAX + 1];
	size_t n = x->v->n_rails;
	int r;

	for (size_t i = 0; i < n; i++) {
		p[i] = (struct pollfd){ .fd = x->v->rails[i].events->fd, .events = POLLIN };
		r = ibv_req_notify_cq(x->v->rails[i].cq, 0);
		if (r)
			return err_errno(e, -r, "%s: completion event", x->v->rails[i].device);
	}
	p[n] = (struct pollfd){ .fd = x->v->ep.config.peer_fd, .events = POLLRDHUP };
	r = reap(x, e); /* what came before the events were asked for */
	if (r != 0)
		return r < 0 ? r : 0;
	poll(p, n + 1, 200);
	for (size_t i = 0; i < n; i++) {
		struct ibv_cq *cq;
		void *context;

		if (p[i].revents & POLLIN && ibv_get_cq_event(x->v->rails[i].events, &cq, &context) == 0)
			ibv_ack_cq_events(cq, 1);
	}
	return given_up(x, e);
}

static int wait_some(struct run *x, struct err *e)
{
	int r = 0;

	for (unsigned spins = 0; x->v->ep.config.poll || spins < 64; spins++) {
		r = reap(x, e);
		if (r == 0 && spins % 4096 == 4095)
			r = given_up(x, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return sleep_for_event(x, e);
}

static int check_ranges(const struct verbs *v, const struct kv_plan *p, struct err *e)
{
	const struct kv_mem *m = v->ep.config.mem;

	for (size_t i = 0; i < p->n; i++) {
		const struct kv_desc *d = &p->v[i];

		if (d->local > m->size || d->len > m->size - d->local)
			return err_set(e, -ERANGE, "range %zu (%ju bytes at %ju) ends beyond this side's region of %zu bytes", i,
				       (uintmax_t)d->len, (uintmax_t)d->local, m->size);
		if (d->remote > v->peer_size || d->len > v->peer_size - d->remote)
			return err_set(e, -ERANGE, "range %zu (%ju bytes at %ju) ends beyond the peer's region of %ju bytes: it "
				       "registered less than its layout needs", i, (uintmax_t)d->len, (uintmax_t)d->remote,
				       (uintmax_t)v->peer_size);
	}
	return 0;
}

/* Long enough to save doorbells, short enough that all lanes get work of a small plan. */
static uint64_t chain_length(const struct verbs *v, const struct kv_plan *p)
{
	uint64_t lanes = 0, depth = UINT64_MAX, n;

	for (size_t i = 0; i < v->n_rails; i++) {
		lanes += v->rails[i].n_lanes;
		depth = v->rails[i].depth < depth ? v->rails[i].depth : depth;
	}
	n = (p->n + p->bytes / REQUEST_MAX) / (lanes * 4);
	n = n < CHAIN ? n : CHAIN;
	n = n < depth / 2 ? n : depth / 2;
	return n ? n : 1;
}

static int run(struct verbs *v, const struct kv_plan *p, enum ibv_wr_opcode op, struct kv_done *ret, struct err *e)
{
	uint64_t start = clock_ns();
	struct run x = { .v = v, .plan = p, .op = op, .last_ns = start };
	int r = check_ranges(v, p, e);

	if (r < 0)
		return r;
	x.chain = chain_length(v, p);
	while (!exhausted(&x) || x.under_way) {
		r = post(&x, e);
		if (r == 0 && x.under_way)
			r = wait_some(&x, e);
		if (r < 0)
			return r;
	}
	*ret = (struct kv_done){ .ns = clock_ns() - start, .post_ns = x.post_ns, .requests = x.requests };
	return 0;
}

static int verbs_read(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct verbs *)ep, p, IBV_WR_RDMA_READ, ret, e);
}

static int verbs_write(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct verbs *)ep, p, IBV_WR_RDMA_WRITE, ret, e);
}

static int verbs_plain(struct kv_endpoint *ep, uint64_t size, uint64_t count, struct kv_done *ret,
		       const char **ret_what, struct err *e)
{
	struct verbs *v = (struct verbs *)ep;
	uint64_t both = ep->config.mem->size < v->peer_size ? ep->config.mem->size : v->peer_size;
	struct kv_plan p = { NULL };
	int r;

	size = size < both ? size : both;
	count = count < KV_DESCS_MAX ? count : KV_DESCS_MAX;
	p.v = reallocarray(NULL, count, sizeof(*p.v));
	if (!p.v)
		abort();
	for (uint64_t i = 0, at = 0; i < count; i++, at = at + size > both - size ? 0 : at + size)
		p.v[p.n++] = (struct kv_desc){ at, at, size };
	p.bytes = size * count;
	r = run(v, &p, ep->config.op == KV_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, ret, e);
	*ret_what = ep->config.op == KV_READ ? "own bare RC READ loop" : "own bare RC WRITE loop";
	kv_plan_free(&p);
	return r;
}

static int verbs_path(struct kv_endpoint *ep, struct arena *a, struct kv_path *ret, struct err *e)
{
	struct verbs *v = (struct verbs *)ep;
	struct kv_rail *rails = arena_alloc(a, v->n_rails * sizeof(*rails));

	for (size_t i = 0; i < v->n_rails; i++) {
		const struct kv_verbs_rail *rail = &v->rails[i];

		rails[i] = (struct kv_rail){
			.device = arena_strdup(a, rail->device),
			.address = rail->address[0] ? arena_strdup(a, rail->address) : NULL,
			.gid = gid_format(a, rail->gid.gid),
			.port = rail->port,
			.mtu = 128u << rail->mtu,
			.gid_index = (int)rail->gid.index,
			.peer = peer_text(rail, a),
			.bytes = rail->bytes,
		};
	}
	*ret = (struct kv_path){ .rdma = true, .via = "RC", .rails = rails, .n_rails = v->n_rails };
	return 0;
}

const struct kv_transport kv_verbs = {
	.name = "verbs",
	.doc = "RDMA READ and WRITE over RC queue pairs (RoCE v2, InfiniBand)",
	.open = verbs_open,
	.describe = verbs_describe,
	.connect = verbs_connect,
	.read = verbs_read,
	.write = verbs_write,
	.plain = verbs_plain,
	.path = verbs_path,
	.close = verbs_close,
};
