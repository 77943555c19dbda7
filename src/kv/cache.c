/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/cleanup.h"
#include "kv/cache.h"
#include "kv/crc32c.h"

#define POISON 0xa5

int kv_cache_new(const struct kv_layout *l, uint32_t tokens, const char *memory, double fragmentation, uint64_t seed,
		 struct kv_cache **ret, struct err *e)
{
	_cleanup_kv_cache_ struct kv_cache *c = calloc(1, sizeof(*c));
	uint64_t need;
	int r;

	if (!c)
		abort();
	c->side.layout = *l;
	if (tokens == 0 || l->block_tokens == 0)
		return err_set(e, -EINVAL, "%s is 0", tokens ? "tokens of a block" : "tokens");
	need = kv_layout_blocks(l, tokens);
	if (!l->n_blocks)
		c->side.layout.n_blocks = need > KV_BLOCKS_MAX / 2 ? KV_BLOCKS_MAX : (uint32_t)need * 2;
	r = kv_layout_check(&c->side.layout, e);
	if (r < 0)
		return r;
	if (need > c->side.layout.n_blocks)
		return err_set(e, -EINVAL, "%u tokens need %ju blocks, the cache has %u", tokens, (uintmax_t)need,
			       c->side.layout.n_blocks);
	c->tokens = tokens;
	c->side.n_blocks = need;
	c->blocks = reallocarray(NULL, need, sizeof(*c->blocks));
	if (!c->blocks)
		abort();
	kv_blocks_pick(c->side.layout.n_blocks, fragmentation, seed, c->blocks, need);
	c->side.blocks = c->blocks;
	r = kv_mem_alloc(memory, kv_layout_bytes(&c->side.layout), &c->mem, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct kv_cache *kv_cache_free(struct kv_cache *c)
{
	if (c) {
		kv_mem_free(c->mem);
		free(c->blocks);
		free(c);
	}
	return NULL;
}

/* One vector of the request: the token's place in its block, and the head counted from the rank's first. */
static uint64_t vector_at(const struct kv_cache *c, uint32_t layer, uint32_t kind, uint32_t head, uint32_t token)
{
	const struct kv_layout *l = &c->side.layout;

	return kv_layout_offset(l, layer, kind, c->blocks[token / l->block_tokens], head, token % l->block_tokens);
}

static void content(uint64_t seed, uint32_t layer, uint32_t kind, uint32_t head, uint32_t token, uint8_t *p, size_t n)
{
	uint64_t state = seed, word;

	state ^= (uint64_t)(layer * 2 + kind) << 48 ^ (uint64_t)head << 32 ^ token;
	(void)kv_mix(&state);
	state ^= kv_mix(&state);
	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		word = kv_mix(&state);
		memcpy(p, &word, sizeof(word));
	}
	word = kv_mix(&state);
	memcpy(p, &word, n);
}

int kv_cache_fill(struct kv_cache *c, uint64_t seed, struct err *e)
{
	const struct kv_layout *l = &c->side.layout;
	uint32_t first, heads = kv_layout_heads(l, &first);
	size_t n = (size_t)l->model.dim * l->model.elem;
	_cleanup_free_ uint8_t *buf = malloc(n);
	int r;

	if (!buf)
		abort();
	for (uint32_t layer = 0; layer < l->model.layers; layer++)
		for (uint32_t kind = 0; kind < l->model.kinds; kind++)
			for (uint32_t h = 0; h < heads; h++)
				for (uint32_t t = 0; t < c->tokens; t++) {
					content(seed, layer, kind, first + h, t, buf, n);
					r = c->mem->kind->put(c->mem, vector_at(c, layer, kind, h, t), buf, n, e);
					if (r < 0)
						return r;
				}
	return 0;
}

int kv_cache_poison(struct kv_cache *c, struct err *e)
{
	const struct kv_layout *l = &c->side.layout;
	uint32_t first, heads = kv_layout_heads(l, &first);
	size_t n = (size_t)heads * l->block_tokens * l->model.dim * l->model.elem;
	_cleanup_free_ uint8_t *buf = malloc(n);
	int r;

	if (!buf)
		abort();
	memset(buf, POISON, n);
	for (uint32_t layer = 0; layer < l->model.layers; layer++)
		for (uint32_t kind = 0; kind < l->model.kinds; kind++)
			for (size_t b = 0; b < c->side.n_blocks; b++) {
				r = c->mem->kind->put(c->mem, kv_layout_offset(l, layer, kind, c->blocks[b], 0, 0),
						      buf, n, e);
				if (r < 0)
					return r;
			}
	return 0;
}

/* Tokens of a head that lie in a row from @token on. */
static uint32_t row(const struct kv_layout *l, uint32_t token, uint32_t end)
{
	uint32_t left = l->block_tokens - token % l->block_tokens;

	if (l->order == KV_NHD)
		return 1;
	return left < end - token ? left : end - token;
}

static int unit_sum(const struct kv_cache *c, uint32_t layer, uint32_t kind, uint32_t head, uint32_t token,
		    uint32_t end, uint8_t *buf, uint32_t *ret, struct err *e)
{
	size_t vector = (size_t)c->side.layout.model.dim * c->side.layout.model.elem;
	uint32_t crc = 0, n;
	int r;

	for (; token < end; token += n) {
		uint64_t at = vector_at(c, layer, kind, head, token);
		const uint8_t *p = buf;

		n = row(&c->side.layout, token, end);
		if (c->mem->cpu) {
			p = (const uint8_t *)c->mem->base + at;
		} else {
			r = c->mem->kind->get(c->mem, at, buf, n * vector, e);
			if (r < 0)
				return r;
		}
		crc = kv_crc32c(crc, p, n * vector);
	}
	*ret = crc;
	return 0;
}

uint64_t kv_cache_units(const struct kv_cache *c, uint32_t n_heads, uint32_t unit_tokens)
{
	const struct kv_model *m = &c->side.layout.model;

	return (uint64_t)m->layers * m->kinds * n_heads * (((uint64_t)c->tokens + unit_tokens - 1) / unit_tokens);
}

int kv_cache_sum(const struct kv_cache *c, uint32_t head, uint32_t n_heads, uint32_t unit_tokens, uint32_t *units,
		 uint32_t *ret_digest, struct err *e)
{
	const struct kv_layout *l = &c->side.layout;
	_cleanup_free_ uint8_t *buf = malloc((size_t)l->block_tokens * l->model.dim * l->model.elem);
	uint32_t first, digest = 0, crc, end;
	int r;

	if (!buf)
		abort();
	kv_layout_heads(l, &first);
	for (uint32_t layer = 0; layer < l->model.layers; layer++)
		for (uint32_t kind = 0; kind < l->model.kinds; kind++)
			for (uint32_t h = 0; h < n_heads; h++)
				for (uint32_t t = 0; t < c->tokens; t = end) {
					uint8_t le[4];

					end = c->tokens - t < unit_tokens ? c->tokens : t + unit_tokens;
					r = unit_sum(c, layer, kind, head - first + h, t, end, buf, &crc, e);
					if (r < 0)
						return r;
					for (unsigned i = 0; i < sizeof(le); i++)
						le[i] = (uint8_t)(crc >> 8 * i);
					digest = kv_crc32c(digest, le, sizeof(le));
					if (units)
						*units++ = crc;
				}
	*ret_digest = digest;
	return 0;
}
