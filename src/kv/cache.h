/* SPDX-License-Identifier: Apache-2.0 */
/* A KV cache in memory: its layout, the blocks of one request in it, repeatable content, and checksums. */
#ifndef KVRAIL_KV_CACHE_H
#define KVRAIL_KV_CACHE_H

#include "kv/mem.h"
#include "kv/proto.h"

struct kv_cache {
	struct kv_side side; /* the layout, and the blocks that hold the tokens */
	uint32_t tokens;
	struct kv_mem *mem;
	uint32_t *blocks;
};

/*
 * A cache with blocks for @tokens tokens chosen by kv_blocks_pick(). @l->n_blocks 0 makes the pool as large as
 * scattering the blocks needs: twice what the tokens fill.
 */
int kv_cache_new(const struct kv_layout *l, uint32_t tokens, const char *memory, double fragmentation, uint64_t seed,
		 struct kv_cache **ret, struct err *e);
struct kv_cache *kv_cache_free(struct kv_cache *c);

/* Content that depends on layer, kind, head of the model, token and @seed only, not on where it lies. */
int kv_cache_fill(struct kv_cache *c, uint64_t seed, struct err *e);
/* Overwrite the request's blocks, so that bytes that do not arrive are seen. */
int kv_cache_poison(struct kv_cache *c, struct err *e);

/*
 * Checksums of the heads [@head, @head + @n_heads) in units of @unit_tokens tokens: one CRC-32C for each (layer, kind,
 * head, unit), in this order, whatever the layout. *ret_digest is the CRC-32C of them all, little-endian. @units may be
 * NULL; else its array, of kv_cache_units() elements, is filled.
 */
uint64_t kv_cache_units(const struct kv_cache *c, uint32_t n_heads, uint32_t unit_tokens);
int kv_cache_sum(const struct kv_cache *c, uint32_t head, uint32_t n_heads, uint32_t unit_tokens, uint32_t *units,
		 uint32_t *ret_digest, struct err *e);

static inline void kv_cache_freep(struct kv_cache **c)
{
	kv_cache_free(*c);
}
#define _cleanup_kv_cache_ _cleanup_(kv_cache_freep)

#endif
