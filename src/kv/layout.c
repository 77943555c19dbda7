/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/cleanup.h"
#include "kv/layout.h"

const char *const kv_order_names[] = { "HND", "NHD", NULL };
const char *const kv_tensors_names[] = { "split", "packed", "cross", NULL };

static int check(const char *field, uint32_t value, uint32_t min, uint32_t max, struct err *e)
{
	if (value >= min && value <= max)
		return 0;
	return err_set(e, -EINVAL, "%s is %u, it must be %u to %u", field, value, min, max);
}

int kv_layout_check(const struct kv_layout *l, struct err *e)
{
	const struct kv_model *m = &l->model;
	int r;

	if ((r = check("layers", m->layers, 1, 1024, e)) < 0 || (r = check("kinds", m->kinds, 1, 2, e)) < 0 ||
	    (r = check("heads", m->heads, 1, 1024, e)) < 0 || (r = check("head dimension", m->dim, 1, 65536, e)) < 0 ||
	    (r = check("bytes of an element", m->elem, 1, 8, e)) < 0 || (r = check("tp", l->tp, 1, 1024, e)) < 0 ||
	    (r = check("rank", l->rank, 0, l->tp - 1, e)) < 0 ||
	    (r = check("tokens of a block", l->block_tokens, 1, 4096, e)) < 0 ||
	    (r = check("blocks", l->n_blocks, 1, KV_BLOCKS_MAX, e)) < 0 ||
	    (r = check("order", l->order, KV_HND, KV_NHD, e)) < 0 ||
	    (r = check("tensors", l->tensors, KV_SPLIT, KV_CROSS, e)) < 0)
		return r;
	if (m->heads % l->tp && l->tp % m->heads)
		return err_set(e, -EINVAL, "%u heads cannot be divided among tp %u: one must be a multiple of the other",
			       m->heads, l->tp);
	if (kv_layout_bytes(l) > KV_BYTES_MAX)
		return err_set(e, -EINVAL, "a cache of %u blocks of this model is larger than 1 TiB", l->n_blocks);
	return 0;
}

uint32_t kv_layout_heads(const struct kv_layout *l, uint32_t *ret_first)
{
	if (l->tp > l->model.heads) {
		*ret_first = (uint32_t)((uint64_t)l->rank * l->model.heads / l->tp);
		return 1;
	}
	*ret_first = l->rank * (l->model.heads / l->tp);
	return l->model.heads / l->tp;
}

static uint32_t vector_bytes(const struct kv_layout *l)
{
	return l->model.dim * l->model.elem;
}

/* Bytes of one block of one layer and kind. */
static uint64_t block_bytes(const struct kv_layout *l)
{
	uint32_t first;

	return (uint64_t)kv_layout_heads(l, &first) * l->block_tokens * vector_bytes(l);
}

uint64_t kv_layout_bytes(const struct kv_layout *l)
{
	uint64_t n;

	if (__builtin_mul_overflow(block_bytes(l), (uint64_t)l->model.layers * l->model.kinds * l->n_blocks, &n))
		return UINT64_MAX;
	return n;
}

uint64_t kv_layout_blocks(const struct kv_layout *l, uint32_t tokens)
{
	return ((uint64_t)tokens + l->block_tokens - 1) / l->block_tokens;
}

static uint64_t block_offset(const struct kv_layout *l, uint32_t layer, uint32_t kind, uint32_t block)
{
	uint64_t i = 0;

	switch ((enum kv_tensors)l->tensors) {
	case KV_SPLIT:
		i = ((uint64_t)layer * l->model.kinds + kind) * l->n_blocks + block;
		break;
	case KV_PACKED:
		i = ((uint64_t)layer * l->n_blocks + block) * l->model.kinds + kind;
		break;
	case KV_CROSS:
		i = ((uint64_t)block * l->model.layers + layer) * l->model.kinds + kind;
		break;
	}
	return i * block_bytes(l);
}

static uint64_t vector_offset(const struct kv_layout *l, uint32_t heads, uint32_t head, uint32_t token)
{
	uint64_t i = l->order == KV_HND ? (uint64_t)head * l->block_tokens + token : (uint64_t)token * heads + head;

	return i * vector_bytes(l);
}

uint64_t kv_layout_offset(const struct kv_layout *l, uint32_t layer, uint32_t kind, uint32_t block,
			  uint32_t head, uint32_t token)
{
	uint32_t first, heads = kv_layout_heads(l, &first);

	return block_offset(l, layer, kind, block) + vector_offset(l, heads, head, token);
}

/* Append a range, or lengthen the last one when this continues it on both sides. */
static int add(struct kv_plan *p, uint64_t local, uint64_t remote, uint64_t len)
{
	struct kv_desc *last = p->n ? &p->v[p->n - 1] : NULL;

	p->bytes += len;
	if (last && last->local + last->len == local && last->remote + last->len == remote) {
		last->len += len;
		return 0;
	}
	if (p->n == p->size) {
		size_t size = p->size ? p->size * 2 : 256;
		struct kv_desc *v;

		if (size > KV_DESCS_MAX)
			return -E2BIG;
		v = reallocarray(p->v, size, sizeof(*v));
		if (!v)
			abort();
		p->v = v;
		p->size = size;
	}
	p->v[p->n++] = (struct kv_desc){ local, remote, len };
	return 0;
}

/* Consecutive tokens that lie in one block on either side. */
struct span {
	uint32_t local_block, remote_block, local_token, remote_token, n;
};

static int span_order(const void *x, const void *y)
{
	const struct span *a = x, *b = y;

	if (a->local_block != b->local_block)
		return a->local_block < b->local_block ? -1 : 1;
	return a->local_token < b->local_token ? -1 : a->local_token > b->local_token;
}

/* In the order of local blocks, so that neighbours meet whatever the order of the lists. */
static struct span *make_spans(const struct kv_side *local, const struct kv_side *remote, uint32_t tokens,
			       size_t *ret_n)
{
	uint32_t lt = local->layout.block_tokens, rt = remote->layout.block_tokens;
	struct span *v = reallocarray(NULL, (size_t)tokens / lt + tokens / rt + 2, sizeof(*v));
	size_t n = 0;

	if (!v)
		abort();
	for (uint32_t t = 0, len; t < tokens; t += len) {
		uint32_t l = t % lt, r = t % rt;

		len = lt - l < rt - r ? lt - l : rt - r;
		len = len < tokens - t ? len : tokens - t;
		v[n++] = (struct span){ local->blocks[t / lt], remote->blocks[t / rt], l, r, len };
	}
	qsort(v, n, sizeof(*v), span_order);
	*ret_n = n;
	return v;
}

/* What a plan is made for; head numbers count from each side's first. */
struct pair {
	const struct kv_layout *local, *remote;
	uint32_t local_heads, remote_heads, local_head, remote_head, n_heads;
};

static int add_span(struct kv_plan *p, const struct pair *x, const struct span *s, uint32_t layer, uint32_t kind)
{
	uint64_t lo = block_offset(x->local, layer, kind, s->local_block);
	uint64_t ro = block_offset(x->remote, layer, kind, s->remote_block);
	uint64_t vector = vector_bytes(x->local);
	bool hnd = x->local->order == KV_HND, same = x->local->order == x->remote->order;
	/* what is contiguous on both sides: tokens of a head, heads of a token, or one vector */
	uint32_t heads = same && !hnd ? x->n_heads : 1, tokens = same && hnd ? s->n : 1;
	int r;

	for (uint32_t a = 0; a < (hnd ? x->n_heads / heads : s->n / tokens); a++)
		for (uint32_t b = 0; b < (hnd ? s->n / tokens : x->n_heads / heads); b++) {
			uint32_t h = hnd ? a : b, t = hnd ? b : a;

			r = add(p, lo + vector_offset(x->local, x->local_heads, x->local_head + h, s->local_token + t),
				ro + vector_offset(x->remote, x->remote_heads, x->remote_head + h, s->remote_token + t),
				vector * heads * tokens);
			if (r < 0)
				return r;
		}
	return 0;
}

/* Layers, kinds and spans, nested as the local tensors are, so that what is adjacent comes in sequence. */
static int add_all(struct kv_plan *p, const struct pair *x, const struct span *spans, size_t n_spans)
{
	uint64_t layers = x->local->model.layers, kinds = x->local->model.kinds;
	int r;

	for (uint64_t i = 0; i < layers * kinds * n_spans; i++) {
		uint64_t layer = 0, kind = 0, s = 0;

		switch ((enum kv_tensors)x->local->tensors) {
		case KV_SPLIT:
			s = i % n_spans, kind = i / n_spans % kinds, layer = i / n_spans / kinds;
			break;
		case KV_PACKED:
			kind = i % kinds, s = i / kinds % n_spans, layer = i / kinds / n_spans;
			break;
		case KV_CROSS:
			kind = i % kinds, layer = i / kinds % layers, s = i / kinds / layers;
			break;
		}
		r = add_span(p, x, &spans[s], (uint32_t)layer, (uint32_t)kind);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_side(const char *who, const struct kv_side *s, uint32_t tokens, uint32_t head, uint32_t n_heads,
		      struct err *e)
{
	uint32_t first, heads = kv_layout_heads(&s->layout, &first);
	uint64_t need = kv_layout_blocks(&s->layout, tokens);

	if (s->n_blocks < need)
		return err_set(e, -EINVAL, "%s lists %zu blocks of %u tokens, %u tokens need %ju", who, s->n_blocks,
			       s->layout.block_tokens, tokens, (uintmax_t)need);
	for (size_t i = 0; i < need; i++)
		if (s->blocks[i] >= s->layout.n_blocks)
			return err_set(e, -EINVAL, "%s lists block %u, its cache has %u", who, s->blocks[i],
				       s->layout.n_blocks);
	if (head < first || (uint64_t)head + n_heads > (uint64_t)first + heads)
		return err_set(e, -EINVAL, "%s holds the heads %u to %u, not %u to %u", who, first, first + heads - 1,
			       head, head + n_heads - 1);
	return 0;
}

int kv_plan_make(const struct kv_side *local, const struct kv_side *remote, uint32_t tokens, uint32_t head,
		 uint32_t n_heads, struct kv_plan *ret, struct err *e)
{
	const struct kv_model *m = &local->layout.model, *o = &remote->layout.model;
	_cleanup_kv_plan_ struct kv_plan p = { NULL };
	_cleanup_free_ struct span *spans = NULL;
	struct pair x = { &local->layout, &remote->layout, .n_heads = n_heads };
	uint32_t first;
	size_t n_spans;
	int r;

	if (memcmp(m, o, sizeof(*m)) != 0)
		return err_set(e, -EINVAL, "the models differ: here %ux%ux%ux%ux%u, there %ux%ux%ux%ux%u "
			       "(layers, kinds, heads, dim, bytes)", m->layers, m->kinds, m->heads, m->dim, m->elem,
			       o->layers, o->kinds, o->heads, o->dim, o->elem);
	r = check_side("this side", local, tokens, head, n_heads, e);
	if (r == 0)
		r = check_side("the peer", remote, tokens, head, n_heads, e);
	if (r < 0)
		return r;
	x.local_heads = kv_layout_heads(x.local, &first);
	x.local_head = head - first;
	x.remote_heads = kv_layout_heads(x.remote, &first);
	x.remote_head = head - first;
	spans = make_spans(local, remote, tokens, &n_spans);
	r = add_all(&p, &x, spans, n_spans);
	if (r < 0)
		return err_set(e, r, "more than %u ranges: use larger blocks or the same order on both sides",
			       KV_DESCS_MAX);
	*ret = p;
	p = (struct kv_plan){ NULL };
	return 0;
}

void kv_plan_free(struct kv_plan *p)
{
	free(p->v);
	*p = (struct kv_plan){ NULL };
}

void kv_blocks_pick(uint32_t pool, double fragmentation, uint64_t seed, uint32_t *ret, size_t n)
{
	_cleanup_free_ uint32_t *ids = reallocarray(NULL, pool, sizeof(*ids));

	if (!ids)
		abort();
	for (uint32_t i = 0; i < pool; i++)
		ids[i] = i;
	for (uint32_t i = 0; i < n; i++) {
		bool moved = (double)(kv_mix(&seed) >> 11) / (double)(UINT64_C(1) << 53) < fragmentation;
		uint32_t j = i + (uint32_t)(kv_mix(&seed) % (pool - i)), id = ids[i];

		if (moved) {
			ids[i] = ids[j];
			ids[j] = id;
		}
		ret[i] = ids[i];
	}
}
