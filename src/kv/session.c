/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "kv/perftest.h"
#include "kv/session.h"

struct session {
	struct kv_server *server;
	struct kv_chan *chan;
	struct arena *arena; /* of the whole session */
	struct kv_cache *own; /* made for this session, or NULL */
	const struct kv_cache *held; /* own, or the server's */
	struct kv_cache cache; /* what the request takes of it: its first tokens, in the same memory */
	struct kv_msg request;
	struct kv_endpoint *endpoint;
	const char *transport;
	struct kv_plan plan; /* of a WRITE */
	uint32_t *units, digest;
	uint32_t n_units;
	struct kv_perftest perftest;
};

/* The cache that answers @m: the server's, or one of the shape that the peer asks for. */
static int find_cache(struct session *s, const struct kv_msg *m, struct err *e)
{
	struct kv_server *server = s->server;
	struct kv_layout l = m->layout;
	int r;

	if (server->cache) {
		s->held = server->cache;
		return 0;
	}
	if (s->own)
		return 0;
	r = kv_layout_check(&l, e);
	if (r < 0)
		return r;
	if (!m->tokens)
		return err_set(e, -EINVAL, "this prefill makes what is asked for: say how many tokens with --tokens");
	if (kv_layout_bytes(&l) > server->max_bytes)
		return err_set(e, -E2BIG, "a cache of %ju MiB was asked for; this server gives at most %ju (--max-mib)",
			       (uintmax_t)kv_layout_bytes(&l) >> 20, (uintmax_t)server->max_bytes >> 20);
	r = kv_cache_new(&l, m->tokens, server->options.memory, (double)server->options.fragmentation / 100,
			 server->options.seed, &s->own, e);
	if (r == 0)
		r = kv_cache_fill(s->own, server->options.seed, e);
	s->held = s->own;
	return r;
}

static int check_request(const struct session *s, const struct kv_msg *m, struct err *e)
{
	const struct kv_layout *l = &s->held->side.layout;
	uint32_t first, heads = kv_layout_heads(l, &first);
	int r = kv_layout_check(&m->layout, e);

	if (r < 0)
		return r;
	if (memcmp(&m->layout.model, &l->model, sizeof(l->model)) != 0)
		return err_set(e, -EINVAL, "this prefill holds another model: %ux%ux%ux%ux%u (layers, kinds, heads, dim, bytes)",
			       l->model.layers, l->model.kinds, l->model.heads, l->model.dim, l->model.elem);
	if (m->tokens > s->held->tokens)
		return err_set(e, -EINVAL, "%u tokens were asked for, this prefill holds %u", m->tokens, s->held->tokens);
	if (m->n_heads && (m->head < first || (uint64_t)m->head + m->n_heads > (uint64_t)first + heads))
		return err_set(e, -EINVAL, "this prefill holds the heads %u to %u, not %u to %u", first, first + heads - 1,
			       m->head, m->head + m->n_heads - 1);
	if (m->op > KV_WRITE || m->checksum > KV_SUM_BLOCK)
		return err_set(e, -EINVAL, "operation %u with checksum %u is not known", m->op, m->checksum);
	return 0;
}

/* After check_request(). */
static void take(struct session *s)
{
	s->cache = *s->held;
	if (s->request.tokens)
		s->cache.tokens = s->request.tokens;
	s->cache.side.n_blocks = kv_layout_blocks(&s->cache.side.layout, s->cache.tokens);
}

/* The first transport of the peer's list that works here; why others do not is collected. */
static int choose_transport(struct session *s, const char **ret_why, struct err *e)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	char *list = arena_strdup(s->arena, s->request.transports), *save;
	struct kv_config c;

	kv_common_config(&s->server->options, s->chan, s->cache.mem, &c);
	c.op = s->request.op;
	c.passive = c.op == KV_READ;
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		struct err oe;

		if (!strcmp(name, "ucx") && !s->server->ucx) {
			strbuf_addf(&why, "%sucx: this server was not started with --ucx", why.len ? "; " : "");
			continue;
		}
		if (kv_endpoint_open(name, &c, &s->endpoint, &oe) == 0) {
			s->transport = s->endpoint->ops.name;
			*ret_why = why.s ? arena_strdup(s->arena, why.s) : NULL;
			return 0;
		}
		strbuf_addf(&why, "%s%s: %s", why.len ? "; " : "", name, oe.msg);
	}
	return err_set(e, -ENODEV, "no transport of \"%s\" works here: %s", s->request.transports,
		       why.s ? why.s : "the list is empty");
}

static int sum(struct session *s, struct err *e)
{
	uint64_t n = kv_cache_units(&s->cache, s->request.n_heads, s->cache.side.layout.block_tokens);

	if (s->request.checksum == KV_SUM_OFF)
		return 0;
	if (s->request.checksum == KV_SUM_BLOCK) {
		if (n > KV_UNITS_MAX)
			return err_set(e, -E2BIG, "%ju block checksums, the most is %u: use --checksum transfer", (uintmax_t)n,
				       KV_UNITS_MAX);
		s->n_units = (uint32_t)n;
		s->units = arena_alloc(s->arena, n * sizeof(*s->units));
	}
	return kv_cache_sum(&s->cache, s->request.head, s->request.n_heads, s->cache.side.layout.block_tokens, s->units,
			    &s->digest, e);
}

static int offer(struct session *s, const char *why, struct err *e)
{
	struct kv_msg m = {
		.type = KV_OFFER,
		.layout = s->cache.side.layout,
		.tokens = s->cache.tokens,
		.memory = s->cache.mem->size,
		.transports = s->transport,
		.text = why,
		.blocks = { s->cache.blocks, (uint32_t)s->cache.side.n_blocks },
	};
	int r = 0;

	if (s->endpoint)
		r = s->endpoint->ops.describe(s->endpoint, s->arena, &m.endpoint, e);
	return r < 0 ? r : kv_chan_send(s->chan, &m, e);
}

/* A WRITE is planned here: from this cache into the decode's, which told its layout and blocks. */
static int plan_write(struct session *s, struct err *e)
{
	const struct kv_side there = { s->request.layout, s->request.blocks.v, s->request.blocks.n };

	return kv_plan_make(&s->cache.side, &there, s->cache.tokens, s->request.head, s->request.n_heads, &s->plan, e);
}

/* A REQUEST without heads asks for the layout only; with heads it settles everything and waits for ATTACH. */
static int request(struct session *s, const struct kv_msg *m, struct err *e)
{
	const char *why = NULL;
	struct kv_msg attach;
	int r;

	if (s->endpoint)
		return err_set(e, -EPROTO, "a second request in one session");
	r = find_cache(s, m, e);
	if (r == 0)
		r = check_request(s, m, e);
	if (r < 0)
		return r;
	s->request = *m;
	take(s);
	if (!m->n_heads)
		return offer(s, NULL, e);
	if (m->op == KV_WRITE)
		r = plan_write(s, e);
	if (r == 0)
		r = sum(s, e);
	if (r == 0)
		r = choose_transport(s, &why, e);
	if (r == 0)
		r = offer(s, why, e);
	if (r == 0)
		r = kv_chan_recv(s->chan, s->arena, KV_ATTACH, &attach, e);
	if (r == 0)
		r = s->endpoint->ops.connect(s->endpoint, &attach.endpoint, e);
	if (r == 0)
		r = kv_chan_send(s->chan, &(struct kv_msg){ .type = KV_CONNECTED }, e);
	return r;
}

static int begin(struct session *s, const struct kv_msg *m, struct err *e)
{
	struct kv_msg ready = { .type = KV_READY, .handoff = m->handoff, .digest = s->digest,
				.units = { s->units, s->n_units } };
	struct kv_done done = { 0 };
	int r = 0;

	if (!s->endpoint)
		return err_set(e, -EPROTO, "BEGIN before a request");
	if (s->request.op == KV_WRITE)
		r = s->endpoint->ops.write(s->endpoint, &s->plan, &done, e);
	if (r < 0)
		return r;
	ready.ns = done.ns;
	ready.post_ns = done.post_ns;
	ready.requests = done.requests;
	ready.descriptors = s->plan.n;
	return kv_chan_send(s->chan, &ready, e);
}

/* The other half of a bare measurement; port 0 and the reason when it cannot be. */
static int baseline(struct session *s, const struct kv_msg *m, struct err *e)
{
	struct kv_msg ready = { .type = KV_BASELINE_READY };
	struct kv_path path;
	struct err why;
	uint16_t port;

	kv_perftest_stop(&s->perftest);
	if (!s->endpoint)
		return err_set(e, -EPROTO, "BASELINE before a request");
	if (!kv_perftest_installed())
		ready.text = "ib_read_bw is not installed at the prefill";
	else if (m->size == 0 || m->size > KV_BYTES_MAX || m->count < 5 || m->count > 100000000)
		ready.text = "the measurement asked for is out of bounds";
	else if (s->endpoint->ops.path(s->endpoint, s->arena, &path, &why) < 0 ||
		 kv_perftest_ports(path.n_rails, &port, &why) < 0 ||
		 kv_perftest_start(&path, NULL, port, m->size, m->count, &s->perftest, &why) < 0)
		ready.text = why.msg;
	else
		ready.port = port;
	return kv_chan_send(s->chan, &ready, e);
}

static int loop(struct session *s, struct kv_session_result *ret, struct err *e)
{
	for (;;) {
		/* what a request holds lives as long as the session, everything else one turn */
		_cleanup_arena_ struct arena *turn = arena_new();
		struct kv_msg m;
		int r = kv_chan_recv(s->chan, s->endpoint ? turn : s->arena, 0, &m, e);

		if (r < 0)
			return r;
		switch (m.type) {
		case KV_REQUEST:
			r = request(s, &m, e);
			ret->transport = s->transport ? s->transport : "";
			break;
		case KV_BEGIN:
			r = begin(s, &m, e);
			break;
		case KV_DONE:
			ret->handoffs++;
			break;
		case KV_BASELINE:
			r = baseline(s, &m, e);
			break;
		case KV_BYE:
			return 0;
		default:
			r = err_set(e, -EPROTO, "%s is not due", kv_type_name(m.type));
		}
		if (r < 0)
			return r;
	}
}

int kv_session_run(struct kv_server *server, struct kv_chan *chan, struct kv_session_result *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct session s = { .server = server, .chan = chan, .arena = a };
	int r;

	*ret = (struct kv_session_result){ .transport = "" };
	r = loop(&s, ret, e);
	if (s.request.n_heads) {
		const struct kv_model *m = &s.cache.side.layout.model;

		ret->bytes = kv_model_token_bytes(m) / m->heads * s.request.n_heads * s.cache.tokens;
	}
	if (r < 0)
		kv_chan_fail(chan, e);
	kv_perftest_stop(&s.perftest);
	kv_endpoint_close(s.endpoint);
	kv_plan_free(&s.plan);
	kv_cache_free(s.own);
	return r;
}
