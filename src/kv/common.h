/* SPDX-License-Identifier: Apache-2.0 */
/* What serve, pull and bench have in common: the options for layout, rails and waiting. */
#ifndef KVRAIL_KV_COMMON_H
#define KVRAIL_KV_COMMON_H

#include "kv/cache.h"
#include "kv/chan.h"
#include "kv/options.h"
#include "kv/transport.h"

enum kv_output { KV_OUT_TABLE, KV_OUT_JSON };

struct kv_common {
	const char *model, *secret_file, *memory;
	uint64_t tokens, block_tokens, blocks, tp, rank, fragmentation, seed;
	uint32_t order, tensors, output;
	struct kv_strings rails;
	uint64_t gid_index, lanes, timeout;
	bool poll;
};

#define KV_GID_INDEX_NONE UINT64_MAX

extern const struct kv_option kv_common_options[];
struct kv_common kv_common_defaults(void);

/* The layout that the options describe, unchecked but for the model; n_blocks 0 when --blocks is not given. */
int kv_common_layout(const struct kv_common *o, struct kv_layout *ret, struct err *e);

/* An endpoint's configuration for the session behind @chan. */
void kv_common_config(const struct kv_common *o, const struct kv_chan *chan, struct kv_mem *mem, struct kv_config *ret);

#endif
