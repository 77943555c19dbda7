/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of known models' caches, from their published configurations. */
#include <string.h>

#include "base/arena.h"
#include "base/parse.h"
#include "kv/layout.h"

const struct kv_preset kv_presets[] = {
	{ "qwen2-7b", { 28, 2, 4, 128, 2 }, 16, "Qwen2-7B and Qwen2.5-7B, bf16: 56 KiB a token" },
	{ "qwen3-8b", { 36, 2, 8, 128, 2 }, 16, "Qwen3-8B, bf16: 144 KiB a token" },
	{ "qwen3-32b", { 64, 2, 8, 128, 2 }, 16, "Qwen3-32B, bf16: 256 KiB a token" },
	{ "qwen3-235b", { 94, 2, 4, 128, 2 }, 16, "Qwen3-235B-A22B, bf16: 188 KiB a token" },
	{ "llama-3.1-8b", { 32, 2, 8, 128, 2 }, 16, "Llama-3.1-8B, bf16: 128 KiB a token" },
	{ "llama-3-70b", { 80, 2, 8, 128, 2 }, 16, "Llama-3-70B, bf16: 320 KiB a token" },
	{ "gpt-oss-120b", { 36, 2, 8, 64, 2 }, 16, "gpt-oss-120b, bf16, all layers full: 72 KiB a token" },
	{ "deepseek-r1", { 61, 1, 1, 576, 2 }, 64, "DeepSeek-V3 and R1, MLA latent 512+64, bf16: 68.6 KiB a token" },
	{ "deepseek-r1-fp8", { 61, 1, 1, 576, 1 }, 64, "the same in fp8: 34.3 KiB a token" },
	{ NULL },
};

static int parse_shape(const char *text, struct kv_model *ret)
{
	uint32_t *const fields[] = { &ret->layers, &ret->kinds, &ret->heads, &ret->dim, &ret->elem };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t n = strcspn(text, "x");
		char number[12];
		uint64_t v;

		if (n >= sizeof(number) || (text[n] == 'x') != (i + 1 < ARRAY_SIZE(fields)))
			return -EINVAL;
		memcpy(number, text, n);
		number[n] = '\0';
		if (parse_u64(number, 10, 1, UINT32_MAX, &v) < 0)
			return -EINVAL;
		*fields[i] = (uint32_t)v;
		text += n + 1;
	}
	return 0;
}

int kv_model_parse(const char *text, struct kv_model *ret, uint32_t *ret_block_tokens, struct err *e)
{
	const char *names[ARRAY_SIZE(kv_presets)] = { NULL }, *near;
	struct kv_model m;

	for (size_t i = 0; kv_presets[i].name; i++) {
		names[i] = kv_presets[i].name;
		if (!strcmp(text, names[i])) {
			*ret = kv_presets[i].model;
			*ret_block_tokens = kv_presets[i].block_tokens;
			return 0;
		}
	}
	if (parse_shape(text, &m) == 0) {
		*ret = m;
		*ret_block_tokens = 16;
		return 0;
	}
	near = parse_nearest(text, names);
	return err_set(e, -EINVAL, "model %s is not known%s%s; name one of `kvrail-kv models`, or give "
		       "LAYERSxKINDSxHEADSxDIMxBYTES, such as 28x2x4x128x2", text, near ? ", did you mean " : "",
		       near ? near : "");
}

uint64_t kv_model_token_bytes(const struct kv_model *m)
{
	return (uint64_t)m->layers * m->kinds * m->heads * m->dim * m->elem;
}
