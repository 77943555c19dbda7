/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "kv/leg.h"

int kv_leg_open(struct kv_leg *leg, const char *peer, const struct kv_common *o, const struct kv_secret *s,
		const struct kv_layout *mine, uint32_t tokens, struct err *e)
{
	struct kv_msg request = { .type = KV_REQUEST, .layout = *mine, .tokens = tokens };
	union kv_addr a;
	int r;

	*leg = (struct kv_leg){ .name = peer, .arena = arena_new(), .turn = arena_new(), .chan = { .fd = -1 }, .options = o };
	r = kv_addr_parse(peer, KV_PORT, &a, e);
	if (r == 0)
		r = kv_chan_connect(&a, s, (unsigned)o->timeout * 1000, &leg->chan, e);
	if (r == 0)
		r = kv_chan_send(&leg->chan, &request, e);
	if (r == 0)
		r = kv_chan_recv(&leg->chan, leg->arena, KV_OFFER, &leg->offer, e);
	if (r < 0)
		return r;
	r = kv_layout_check(&leg->offer.layout, e);
	if (r == 0 && leg->offer.memory < kv_layout_bytes(&leg->offer.layout))
		r = err_set(e, -EINVAL, "its region of %ju bytes is shorter than its layout, which needs %ju",
			    (uintmax_t)leg->offer.memory, (uintmax_t)kv_layout_bytes(&leg->offer.layout));
	return r < 0 ? err_wrap(e, r, "%s", leg->chan.peer) : 0;
}

static int open_endpoint(struct kv_leg *leg, const char *transport, struct err *e)
{
	struct kv_config c;

	kv_common_config(leg->options, &leg->chan, leg->cache->mem, &c);
	c.op = leg->op;
	c.passive = leg->op == KV_WRITE;
	return kv_endpoint_open(transport, &c, &leg->endpoint, e);
}

/* What of @transports works at this end: the first of them is left open. */
static int open_first(struct kv_leg *leg, const char *transports, struct strbuf *works, struct strbuf *why,
		      struct err *e)
{
	char *list = arena_strdup(leg->arena, transports), *save;
	struct err oe;

	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (!leg->endpoint && open_endpoint(leg, name, &oe) < 0)
			strbuf_addf(why, "%s%s: here: %s", why->len ? "; " : "", name, oe.msg);
		else
			strbuf_addf(works, "%s%s", works->len ? "," : "", name);
	}
	if (!leg->endpoint)
		return err_set(e, -ENODEV, "no transport works: %s", why->s ? why->s : "none was named");
	return 0;
}

/* The prefill's choice; this end opens it when it is not the one it hoped for. */
static int settle(struct kv_leg *leg, struct strbuf *why, struct err *e)
{
	int r;

	leg->transport = leg->offer.transports;
	if (leg->offer.text && *leg->offer.text)
		strbuf_addf(why, "%sat the prefill: %s", why->len ? "; " : "", leg->offer.text);
	if (why->len)
		leg->passed_over = arena_strdup(leg->arena, why->s);
	if (!strcmp(leg->endpoint->ops.name, leg->transport))
		return 0;
	leg->endpoint = kv_endpoint_close(leg->endpoint);
	r = open_endpoint(leg, leg->transport, e);
	return r < 0 ? err_wrap(e, r, "the prefill chose %s", leg->transport) : 0;
}

int kv_leg_attach(struct kv_leg *leg, const char *transports, struct err *e)
{
	_cleanup_strbuf_ struct strbuf works = STRBUF_INIT, why = STRBUF_INIT;
	const struct kv_side *mine = &leg->cache->side;
	struct kv_msg request = { .type = KV_REQUEST, .layout = mine->layout, .tokens = leg->cache->tokens,
				  .head = leg->head, .n_heads = leg->n_heads, .op = leg->op, .checksum = leg->checksum,
				  .blocks = { leg->cache->blocks, (uint32_t)mine->n_blocks } };
	struct kv_msg attach = { .type = KV_ATTACH }, connected;
	struct kv_side theirs;
	int r = open_first(leg, transports, &works, &why, e);

	if (r < 0)
		return r;
	request.transports = works.s;
	r = kv_chan_send(&leg->chan, &request, e);
	if (r == 0)
		r = kv_chan_recv(&leg->chan, leg->arena, KV_OFFER, &leg->offer, e);
	if (r == 0)
		r = kv_layout_check(&leg->offer.layout, e);
	if (r == 0)
		r = settle(leg, &why, e);
	if (r < 0)
		return r;
	theirs = (struct kv_side){ leg->offer.layout, leg->offer.blocks.v, leg->offer.blocks.n };
	r = kv_plan_make(mine, &theirs, leg->cache->tokens, leg->head, leg->n_heads, &leg->plan, e);
	if (r == 0)
		r = leg->endpoint->ops.describe(leg->endpoint, leg->arena, &attach.endpoint, e);
	if (r == 0)
		r = kv_chan_send(&leg->chan, &attach, e);
	if (r == 0)
		r = leg->endpoint->ops.connect(leg->endpoint, &leg->offer.endpoint, e);
	if (r == 0)
		r = kv_chan_recv(&leg->chan, leg->arena, KV_CONNECTED, &connected, e);
	return r;
}

static int ask(struct kv_leg *leg, uint32_t number)
{
	struct kv_msg begin = { .type = KV_BEGIN, .handoff = number };
	int r = kv_chan_send(&leg->chan, &begin, &leg->e);

	arena_free(leg->turn);
	leg->turn = arena_new();
	if (r == 0)
		r = kv_chan_recv(&leg->chan, leg->turn, KV_READY, &leg->ready, &leg->e);
	return r;
}

int kv_leg_begin(struct kv_leg *leg, uint32_t number)
{
	leg->r = leg->op == KV_READ ? ask(leg, number) : 0;
	return leg->r;
}

void kv_leg_move(struct kv_leg *leg, uint32_t number)
{
	uint64_t start = clock_ns();

	if (leg->op == KV_READ) {
		leg->r = leg->endpoint->ops.read(leg->endpoint, &leg->plan, &leg->done, &leg->e);
		return;
	}
	leg->r = ask(leg, number);
	leg->done = (struct kv_done){ clock_ns() - start, leg->ready.post_ns, leg->ready.requests };
}

int kv_leg_end(struct kv_leg *leg, uint32_t number)
{
	struct kv_msg done = { .type = KV_DONE, .handoff = number };

	leg->r = kv_chan_send(&leg->chan, &done, &leg->e);
	return leg->r;
}

static int name_unit(const struct kv_leg *leg, uint64_t i, uint32_t got, struct err *e)
{
	const struct kv_layout *l = &leg->offer.layout;
	uint32_t block = l->block_tokens, per_head = (leg->cache->tokens + block - 1) / block;
	uint64_t unit = i % per_head, head = i / per_head % leg->n_heads, kind = i / per_head / leg->n_heads % l->model.kinds;

	return err_set(e, -EBADMSG, "checksum differs: layer %ju, %s, head %ju, tokens %ju to %ju (block %u of the prefill): "
		       "declared %08x, arrived %08x", (uintmax_t)(i / per_head / leg->n_heads / l->model.kinds),
		       l->model.kinds == 1 ? "latent" : kind ? "V" : "K", (uintmax_t)(leg->head + head),
		       (uintmax_t)(unit * block), (uintmax_t)((unit + 1) * block - 1), leg->offer.blocks.v[unit],
		       leg->ready.units.v[i], got);
}

int kv_leg_verify(struct kv_leg *leg, struct err *e)
{
	uint32_t unit_tokens = leg->offer.layout.block_tokens, digest, *units = NULL;
	uint64_t n = kv_cache_units(leg->cache, leg->n_heads, unit_tokens);
	int r;

	if (leg->checksum == KV_SUM_BLOCK) {
		if (leg->ready.units.n != n)
			return err_set(e, -EBADMSG, "%s declared %u block checksums, %ju were due", leg->chan.peer,
				       leg->ready.units.n, (uintmax_t)n);
		units = arena_alloc(leg->turn, n * sizeof(*units));
	}
	r = kv_cache_sum(leg->cache, leg->head, leg->n_heads, unit_tokens, units, &digest, e);
	if (r < 0)
		return r;
	for (uint64_t i = 0; units && i < n; i++)
		if (units[i] != leg->ready.units.v[i])
			return name_unit(leg, i, units[i], e);
	if (digest != leg->ready.digest)
		return err_set(e, -EBADMSG, "checksum differs: %s declared %08x, %08x arrived; --checksum block names the block",
			       leg->chan.peer, leg->ready.digest, digest);
	return 0;
}

/* perftest's tool at both ends, on the leg's rails. */
static int by_perftest(struct kv_leg *leg, const struct kv_path *path, uint64_t size, uint64_t count, double *ret,
		       struct err *e)
{
	struct kv_msg ask_for = { .type = KV_BASELINE, .size = size, .count = count }, ready;
	char host[KV_ADDR_MAX];
	struct kv_perftest t;
	struct kv_config c;
	int r;

	if (!kv_perftest_installed())
		return err_set(e, -ENOENT, "ib_read_bw is not installed here");
	kv_common_config(leg->options, &leg->chan, leg->cache->mem, &c);
	r = kv_chan_send(&leg->chan, &ask_for, e);
	if (r == 0)
		r = kv_chan_recv(&leg->chan, leg->arena, KV_BASELINE_READY, &ready, e);
	if (r < 0)
		return r;
	if (!ready.port)
		return err_set(e, -ENOENT, "%s", ready.text);
	for (unsigned tries = 0; tries < 5; tries++) { /* the tool does not wait for its server */
		clock_sleep_ms(300 * (tries + 1));
		r = kv_perftest_start(path, kv_addr_host(&c.there, host), (uint16_t)ready.port, size, count, &t, e);
		if (r < 0)
			return r;
		r = kv_perftest_result(&t, 60000, ret, e);
		kv_perftest_stop(&t);
		if (r == 0 || path->n_rails > 1)
			break;
	}
	return r;
}

int kv_leg_baseline(struct kv_leg *leg, double expected, double seconds, double *ret, const char **ret_tool,
		    struct err *e)
{
	uint64_t size = leg->plan.bytes / leg->plan.n, count = (uint64_t)(expected * seconds / (double)size) + 100;
	struct kv_done done;
	struct kv_path path;
	const char *what;
	struct err why = { 0 };
	int r = leg->endpoint->ops.path(leg->endpoint, leg->arena, &path, e);

	if (r < 0)
		return r;
	if (!strcmp(leg->transport, "verbs") && by_perftest(leg, &path, size, count, ret, &why) == 0) {
		*ret_tool = arena_printf(leg->arena, "ib_read_bw, %ju bytes%s", (uintmax_t)size,
					 path.n_rails > 1 ? ", all rails at once" : "");
		return 0;
	}
	r = leg->endpoint->ops.plain(leg->endpoint, size, count, &done, &what, e);
	if (r < 0)
		return r;
	*ret = (double)(size * count) * 1e9 / (double)done.ns;
	*ret_tool = why.msg[0] ? arena_printf(leg->arena, "%s (%s)", what, why.msg) : what;
	return 0;
}

void kv_leg_close(struct kv_leg *leg)
{
	if (leg->chan.sealed && leg->r == 0)
		kv_chan_send(&leg->chan, &(struct kv_msg){ .type = KV_BYE }, NULL);
	kv_endpoint_close(leg->endpoint);
	kv_plan_free(&leg->plan);
	kv_chan_close(&leg->chan);
	arena_free(leg->turn);
	arena_free(leg->arena);
}
