/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "kv/cache.h"
#include "kv/crc32c.h"

static void token_of_qwen2_7b_is_56_kib(void **state)
{
	struct kv_model m;
	uint32_t block;

	assert_int_equal(kv_model_parse("qwen2-7b", &m, &block, NULL), 0);
	assert_int_equal(kv_model_token_bytes(&m), 57344);
	assert_int_equal(block, 16);
	assert_int_equal(kv_model_parse("deepseek-r1", &m, &block, NULL), 0);
	assert_int_equal(kv_model_token_bytes(&m), 70272);
	assert_int_equal(kv_model_parse("llama-3-70b", &m, &block, NULL), 0);
	assert_int_equal(kv_model_token_bytes(&m), 327680);
}

static void misspelt_model_names_the_nearest(void **state)
{
	struct kv_model m;
	uint32_t block;
	struct err e;

	assert_int_equal(kv_model_parse("qwen2-7", &m, &block, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "did you mean qwen2-7b"));
	assert_int_equal(kv_model_parse("28x2x4x128", &m, &block, &e), -EINVAL);
	assert_int_equal(kv_model_parse("28x2x4x128x2x", &m, &block, &e), -EINVAL);
	assert_int_equal(kv_model_parse("28x2x4x128x2", &m, &block, &e), 0);
	assert_int_equal(m.dim, 128);
}

static void layout_outside_its_bounds_names_the_field(void **state)
{
	const struct kv_layout good = { { 28, 2, 4, 128, 2 }, 1, 0, 16, 64, KV_HND, KV_SPLIT };
	struct kv_layout l = good;
	struct err e;

	assert_int_equal(kv_layout_check(&l, &e), 0);
	l.tp = 3;
	assert_int_equal(kv_layout_check(&l, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "4 heads cannot be divided among tp 3"));
	l = good, l.rank = 1;
	assert_int_equal(kv_layout_check(&l, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "rank is 1"));
	l = good, l.model.heads = 1024, l.model.dim = 65536, l.model.elem = 8, l.model.layers = 1024;
	l.block_tokens = 4096, l.n_blocks = KV_BLOCKS_MAX;
	assert_int_equal(kv_layout_check(&l, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "larger than 1 TiB"));
}

static struct kv_cache *cache(const struct kv_layout *l, uint32_t tokens, double fragmentation, uint64_t seed)
{
	struct kv_cache *c = NULL;
	struct err e;

	if (kv_cache_new(l, tokens, "host", fragmentation, seed, &c, &e) < 0)
		fail_msg("%s", e.msg);
	return c;
}

/* Descriptors of shape A (Qwen2.5-7B, blocks of 16, 4k tokens) with nothing adjacent: 56 regions x 256 blocks. */
static void scattered_blocks_give_one_range_for_each_region_and_block(void **state)
{
	struct kv_side s = { { { 28, 2, 4, 128, 2 }, 1, 0, 16, 1024, KV_HND, KV_SPLIT } };
	_cleanup_kv_plan_ struct kv_plan split = { NULL }, packed = { NULL }, cross = { NULL };
	uint32_t ids[256];

	for (uint32_t i = 0; i < 256; i++)
		ids[i] = i * 2;
	s.blocks = ids;
	s.n_blocks = 256;
	assert_int_equal(kv_plan_make(&s, &s, 4096, 0, 4, &split, NULL), 0);
	assert_int_equal(split.n, 56 * 256);
	assert_int_equal(split.v[0].len, 16384);
	assert_int_equal(split.bytes, 4096 * 57344);
	s.layout.tensors = KV_PACKED;
	assert_int_equal(kv_plan_make(&s, &s, 4096, 0, 4, &packed, NULL), 0);
	assert_int_equal(packed.n, 28 * 256);
	s.layout.tensors = KV_CROSS;
	assert_int_equal(kv_plan_make(&s, &s, 4096, 0, 4, &cross, NULL), 0);
	assert_int_equal(cross.n, 256);
}

static void blocks_adjacent_on_both_sides_become_one_range(void **state)
{
	struct kv_side local = { { { 2, 2, 4, 128, 2 }, 1, 0, 16, 64, KV_HND, KV_SPLIT } }, remote = local;
	uint32_t here[] = { 9, 8, 7, 20 }, there[] = { 33, 32, 31, 21 }, alone[] = { 33, 40, 31, 21 };
	_cleanup_kv_plan_ struct kv_plan p = { NULL }, q = { NULL };

	local.blocks = here;
	remote.blocks = there;
	local.n_blocks = remote.n_blocks = 4;
	assert_int_equal(kv_plan_make(&local, &remote, 64, 0, 4, &p, NULL), 0);
	assert_int_equal(p.n, 2 * 4); /* 7 8 9 in one, 20 in another; for each layer and kind */
	assert_int_equal(p.v[0].len, 3 * 16384);
	remote.blocks = alone; /* adjacent here only */
	assert_int_equal(kv_plan_make(&local, &remote, 64, 0, 4, &q, NULL), 0);
	assert_int_equal(q.n, 4 * 4);
}

static void head_slices_are_contiguous_in_hnd_and_strided_in_nhd(void **state)
{
	struct kv_side whole = { { { 1, 2, 8, 128, 2 }, 1, 0, 16, 4, KV_HND, KV_SPLIT } }, part = whole;
	_cleanup_kv_plan_ struct kv_plan hnd = { NULL }, nhd = { NULL };
	uint32_t ids[] = { 0, 2 };

	part.layout.tp = 4;
	part.layout.rank = 3;
	whole.blocks = part.blocks = ids;
	whole.n_blocks = part.n_blocks = 2;
	assert_int_equal(kv_plan_make(&part, &whole, 32, 6, 2, &hnd, NULL), 0);
	assert_int_equal(hnd.n, 2 * 2);
	assert_int_equal(hnd.v[0].len, 2 * 16 * 256);
	assert_int_equal(hnd.v[0].remote, 6 * 16 * 256);
	whole.layout.order = part.layout.order = KV_NHD;
	assert_int_equal(kv_plan_make(&part, &whole, 32, 6, 2, &nhd, NULL), 0);
	assert_int_equal(nhd.n, 2 * 2 * 16);
	assert_int_equal(nhd.v[0].len, 2 * 256);
}

static void side_without_the_head_or_block_is_refused(void **state)
{
	struct kv_side s = { { { 1, 2, 8, 128, 2 }, 2, 1, 16, 4, KV_HND, KV_SPLIT } }, other = s;
	uint32_t ids[] = { 0, 4 };
	struct kv_plan p;
	struct err e;

	s.blocks = other.blocks = ids;
	s.n_blocks = other.n_blocks = 2;
	assert_int_equal(kv_plan_make(&s, &other, 16, 3, 2, &p, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "heads 4 to 7, not 3 to 4"));
	assert_int_equal(kv_plan_make(&s, &other, 32, 4, 2, &p, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "block 4"));
	assert_int_equal(kv_plan_make(&s, &other, 33, 4, 2, &p, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "33 tokens need 3"));
	other.layout.model.layers = 2;
	assert_int_equal(kv_plan_make(&s, &other, 16, 4, 2, &p, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "models differ"));
}

static uint32_t pick(uint64_t *seed, uint32_t n)
{
	return (uint32_t)(kv_mix(seed) % n);
}

/* What a plan must do, element by element. */
static void copy_naively(struct kv_cache *to, const struct kv_cache *from, uint32_t head, uint32_t n_heads)
{
	const struct kv_layout *tl = &to->side.layout, *fl = &from->side.layout;
	uint32_t tf, ff, vector = tl->model.dim * tl->model.elem;

	kv_layout_heads(tl, &tf);
	kv_layout_heads(fl, &ff);
	for (uint32_t layer = 0; layer < tl->model.layers; layer++)
		for (uint32_t kind = 0; kind < tl->model.kinds; kind++)
			for (uint32_t t = 0; t < to->tokens; t++)
				for (uint32_t h = head; h < head + n_heads; h++)
					memcpy((char *)to->mem->base +
						       kv_layout_offset(tl, layer, kind, to->blocks[t / tl->block_tokens],
									h - tf, t % tl->block_tokens),
					       (char *)from->mem->base +
						       kv_layout_offset(fl, layer, kind, from->blocks[t / fl->block_tokens],
									h - ff, t % fl->block_tokens),
					       vector);
}

static void random_layout(struct kv_layout *l, const struct kv_model *m, uint64_t *seed)
{
	do
		l->tp = 1 + pick(seed, 8);
	while (m->heads % l->tp && l->tp % m->heads);
	l->model = *m;
	l->rank = pick(seed, l->tp);
	l->block_tokens = 1 + pick(seed, 9);
	l->n_blocks = 0;
	l->order = pick(seed, 2);
	l->tensors = pick(seed, 3);
}

static void plan_moves_what_a_copy_element_by_element_moves(void **state)
{
	uint64_t seed = 7;

	for (unsigned round = 0; round < 400; round++) {
		struct kv_model m = { 1 + pick(&seed, 3), 1 + pick(&seed, 2), 1u << pick(&seed, 4), 1 + pick(&seed, 5),
				      1 + pick(&seed, 2) };
		uint32_t tokens = 1 + pick(&seed, 60), fl, fr, nl, nr, head, end;
		_cleanup_kv_cache_ struct kv_cache *local = NULL, *remote = NULL, *naive = NULL;
		_cleanup_kv_plan_ struct kv_plan p = { NULL };
		struct kv_layout l, r;
		struct err e;

		random_layout(&l, &m, &seed);
		do { /* a rank that shares a head with the local one */
			random_layout(&r, &m, &seed);
			nl = kv_layout_heads(&l, &fl);
			nr = kv_layout_heads(&r, &fr);
			head = fl > fr ? fl : fr;
			end = fl + nl < fr + nr ? fl + nl : fr + nr;
		} while (head >= end);
		local = cache(&l, tokens, pick(&seed, 3) / 2.0, round);
		naive = cache(&l, tokens, 0, round);
		memcpy(naive->blocks, local->blocks, local->side.n_blocks * sizeof(*naive->blocks));
		remote = cache(&r, tokens, pick(&seed, 3) / 2.0, round + 1000);
		for (size_t i = 0; i < remote->mem->size; i++)
			((uint8_t *)remote->mem->base)[i] = (uint8_t)kv_mix(&seed);
		if (kv_plan_make(&local->side, &remote->side, tokens, head, end - head, &p, &e) < 0)
			fail_msg("%s", e.msg);
		for (size_t i = 0; i < p.n; i++) {
			assert_true(p.v[i].local + p.v[i].len <= local->mem->size);
			assert_true(p.v[i].remote + p.v[i].len <= remote->mem->size);
			memcpy((char *)local->mem->base + p.v[i].local, (char *)remote->mem->base + p.v[i].remote, p.v[i].len);
		}
		copy_naively(naive, remote, head, end - head);
		assert_memory_equal(local->mem->base, naive->mem->base, local->mem->size);
		assert_int_equal(p.bytes, (uint64_t)m.layers * m.kinds * tokens * (end - head) * m.dim * m.elem);
	}
}

static void checksum_is_the_same_in_every_layout_and_sees_every_byte(void **state)
{
	struct kv_layout one = { { 3, 2, 4, 5, 2 }, 1, 0, 4, 0, KV_HND, KV_SPLIT }, two = one;
	_cleanup_kv_cache_ struct kv_cache *a = NULL, *b = NULL;
	uint32_t x, y;
	uint8_t *byte;

	two.order = KV_NHD, two.tensors = KV_CROSS, two.block_tokens = 7, two.tp = 2, two.rank = 1;
	a = cache(&one, 30, 1, 1);
	b = cache(&two, 30, 1, 2);
	kv_cache_fill(a, 42, NULL);
	kv_cache_fill(b, 42, NULL);
	kv_cache_sum(a, 2, 2, 4, NULL, &x, NULL);
	kv_cache_sum(b, 2, 2, 4, NULL, &y, NULL);
	assert_int_equal(x, y);
	byte = (uint8_t *)b->mem->base + kv_layout_offset(&two, 2, 1, b->blocks[29 / 7], 1, 29 % 7) + 9;
	*byte ^= 1;
	kv_cache_sum(b, 2, 2, 4, NULL, &y, NULL);
	assert_int_not_equal(x, y);
	*byte ^= 1;
	kv_cache_poison(b, NULL);
	kv_cache_sum(b, 2, 2, 4, NULL, &y, NULL);
	assert_int_not_equal(x, y);
}

static void fragmentation_goes_from_consecutive_to_scattered(void **state)
{
	uint32_t none[100], all[100], again[100], adjacent = 0;

	kv_blocks_pick(200, 0, 1, none, 100);
	kv_blocks_pick(200, 1, 1, all, 100);
	kv_blocks_pick(200, 1, 1, again, 100);
	assert_memory_equal(all, again, sizeof(all));
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(none[i], i);
		adjacent += i && all[i] == all[i - 1] + 1;
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(all[i], all[j]);
	}
	assert_true(adjacent < 5);
}

/* RFC 3720, appendix B.4. */
static void crc32c_gives_the_values_of_the_rfc(void **state)
{
	uint8_t b[32] = { 0 }, big[1000];

	assert_int_equal(kv_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(kv_crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(kv_crc32c(0, b, sizeof(b)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)i;
	assert_int_equal(kv_crc32c(0, b, sizeof(b)), 0x46dd794e);
	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(kv_crc32c(0, big + i, 900 + i), kv_crc32c_portable(0, big + i, 900 + i));
		assert_int_equal(kv_crc32c(kv_crc32c(0, big, i), big + i, 1000 - i), kv_crc32c(0, big, 1000));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_of_qwen2_7b_is_56_kib),
		cmocka_unit_test(misspelt_model_names_the_nearest),
		cmocka_unit_test(layout_outside_its_bounds_names_the_field),
		cmocka_unit_test(scattered_blocks_give_one_range_for_each_region_and_block),
		cmocka_unit_test(blocks_adjacent_on_both_sides_become_one_range),
		cmocka_unit_test(head_slices_are_contiguous_in_hnd_and_strided_in_nhd),
		cmocka_unit_test(side_without_the_head_or_block_is_refused),
		cmocka_unit_test(plan_moves_what_a_copy_element_by_element_moves),
		cmocka_unit_test(checksum_is_the_same_in_every_layout_and_sees_every_byte),
		cmocka_unit_test(fragmentation_goes_from_consecutive_to_scattered),
		cmocka_unit_test(crc32c_gives_the_values_of_the_rfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
