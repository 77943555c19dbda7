/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the KV cache of a model lies in memory, and which byte ranges go from one such cache to another. Pure.
 *
 * A cache holds, for each layer and kind (K and V; one kind for a latent, as in MLA), @n_blocks blocks of
 * @block_tokens tokens of the heads of one tensor-parallel rank. A vector is the @dim elements of one head and token.
 */
#ifndef KVRAIL_KV_LAYOUT_H
#define KVRAIL_KV_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kv_model {
	uint32_t layers, kinds, heads, dim, elem; /* elem: bytes of an element */
};

struct kv_preset {
	const char *name;
	struct kv_model model;
	uint32_t block_tokens;
	const char *doc;
};

/* Ended by a NULL name. */
extern const struct kv_preset kv_presets[];

/*
 * A preset's name, or a shape of one's own: "28x2x4x128x2" (layers, kinds, heads, dim, bytes of an element).
 * -EINVAL: @e names the nearest preset.
 */
int kv_model_parse(const char *text, struct kv_model *ret, uint32_t *ret_block_tokens, struct err *e);
uint64_t kv_model_token_bytes(const struct kv_model *m); /* of all layers and heads: 57344 for Qwen2-7B */

/* Order within a block: HND [head][token][dim] or NHD [token][head][dim]. */
enum kv_order { KV_HND, KV_NHD };

/*
 * How tensors are cut. SPLIT: [layer][kind][block], one region per layer and kind; PACKED: [layer][block][kind], one
 * region per layer; CROSS: [block][layer][kind], one region for all.
 */
enum kv_tensors { KV_SPLIT, KV_PACKED, KV_CROSS };

extern const char *const kv_order_names[], *const kv_tensors_names[]; /* NULL-terminated, by enum value */

struct kv_layout {
	struct kv_model model;
	uint32_t tp, rank; /* of how many tensor-parallel ranks this is which */
	uint32_t block_tokens, n_blocks;
	uint32_t order, tensors; /* enum kv_order, enum kv_tensors */
};

#define KV_BLOCKS_MAX (1u << 22)
#define KV_BYTES_MAX (UINT64_C(1) << 40)
#define KV_DESCS_MAX (1u << 24)

/* -EINVAL names the field and its bounds. Everything below wants a checked layout. */
int kv_layout_check(const struct kv_layout *l, struct err *e);

/*
 * The heads that the rank holds: *ret_first and on, as many as returned. With more ranks than heads each head is
 * held by several ranks.
 */
uint32_t kv_layout_heads(const struct kv_layout *l, uint32_t *ret_first);
uint64_t kv_layout_bytes(const struct kv_layout *l);
uint64_t kv_layout_blocks(const struct kv_layout *l, uint32_t tokens); /* that @tokens fill */
/* Offset of one vector; @head counts from the rank's first. */
uint64_t kv_layout_offset(const struct kv_layout *l, uint32_t layer, uint32_t kind, uint32_t block,
			  uint32_t head, uint32_t token);

/* @local and @remote are offsets into each side's memory. */
struct kv_desc {
	uint64_t local, remote, len;
};

struct kv_plan {
	struct kv_desc *v;
	size_t n, size;
	uint64_t bytes;
};

/* One side's cache, and which of its blocks hold the request's tokens, in token order. */
struct kv_side {
	struct kv_layout layout;
	const uint32_t *blocks;
	size_t n_blocks;
};

/*
 * The ranges that carry @tokens tokens of the heads [@head, @head + @n_heads), which both sides hold, between the two.
 * Ranges that are adjacent on both sides are one. The sides may differ in everything but the model. -EINVAL: the
 * models differ or a list of blocks is short or points outside; -E2BIG: more than KV_DESCS_MAX ranges.
 */
int kv_plan_make(const struct kv_side *local, const struct kv_side *remote, uint32_t tokens, uint32_t head,
		 uint32_t n_heads, struct kv_plan *ret, struct err *e);
void kv_plan_free(struct kv_plan *p);
#define _cleanup_kv_plan_ _cleanup_(kv_plan_free)

/*
 * @n of @pool block ids as a paged allocator would hand them out: consecutive at @fragmentation 0, a random choice in
 * random order at 1, from @seed. @n <= @pool.
 */
void kv_blocks_pick(uint32_t pool, double fragmentation, uint64_t seed, uint32_t *ret, size_t n);

/* splitmix64 (Steele, Lea, Flood 2014): for repeatable content and choices, not for secrets. */
static inline uint64_t kv_mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

#endif
