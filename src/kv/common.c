/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>

#include "kv/common.h"

static const char *const outputs[] = { "table", "json", NULL };

#define OPTION(field) offsetof(struct kv_common, field)

const struct kv_option kv_common_options[] = {
	{ "block-tokens", 0, KV_OPT_UINT, OPTION(block_tokens), "N", 1, 4096, .doc = "tokens of a block (the model's own)" },
	{ "tp", 0, KV_OPT_UINT, OPTION(tp), "N", 1, 1024, .doc = "tensor-parallel ranks of this side (1)" },
	{ "rank", 0, KV_OPT_UINT, OPTION(rank), "N", 0, 1023, .doc = "which of them this is (0)" },
	{ "order", 0, KV_OPT_WORD, OPTION(order), .words = kv_order_names, .doc = "order within a block (HND)" },
	{ "tensors", 0, KV_OPT_WORD, OPTION(tensors), .words = kv_tensors_names,
	  .doc = "K and V apart, together per layer, or all layers in one tensor (split)" },
	{ "blocks", 0, KV_OPT_UINT, OPTION(blocks), "N", 1, KV_BLOCKS_MAX,
	  .doc = "blocks of the cache (twice what the tokens fill)" },
	{ "fragmentation", 0, KV_OPT_UINT, OPTION(fragmentation), "PERCENT", 0, 100,
	  .doc = "how scattered the request's blocks are (100)" },
	{ "seed", 0, KV_OPT_UINT, OPTION(seed), "N", 0, UINT64_MAX, .doc = "of block ids and content (1)" },
	{ "rails", 0, KV_OPT_STRINGS, OPTION(rails), "RAIL[,RAIL]...",
	  .doc = "to stripe over: ADDRESS or DEVICE[:PORT][@ADDRESS|@GID-INDEX] (all there are)" },
	{ "gid-index", 0, KV_OPT_UINT, OPTION(gid_index), "N", 0, 255, .doc = "of rails that name a device only" },
	{ "lanes", 0, KV_OPT_UINT, OPTION(lanes), "N", 1, KV_LANES_MAX, .doc = "queue pairs or streams of a rail (1)" },
	{ "poll", 0, KV_OPT_FLAG, OPTION(poll), .doc = "poll for completions: lower latency, one core busy" },
	{ "timeout", 0, KV_OPT_UINT, OPTION(timeout), "SECONDS", 1, 3600, .doc = "of silence before giving up (10)" },
	{ "memory", 0, KV_OPT_STRING, OPTION(memory), "KIND", .doc = "that holds the cache: host" },
	{ "secret-file", 0, KV_OPT_STRING, OPTION(secret_file), "FILE",
	  .doc = "the secret that both sides share (else KVRAIL_KV_SECRET)" },
	{ "output", 'o', KV_OPT_WORD, OPTION(output), .words = outputs, .doc = "(table)" },
	{ NULL },
};

struct kv_common kv_common_defaults(void)
{
	return (struct kv_common){
		.model = "qwen2-7b",
		.memory = "host",
		.tp = 1,
		.fragmentation = 100,
		.seed = 1,
		.gid_index = KV_GID_INDEX_NONE,
		.lanes = 1,
		.timeout = 10,
	};
}

int kv_common_layout(const struct kv_common *o, struct kv_layout *ret, struct err *e)
{
	struct kv_layout l = { .tp = (uint32_t)o->tp, .rank = (uint32_t)o->rank, .order = o->order,
			       .tensors = o->tensors, .n_blocks = (uint32_t)o->blocks };
	int r = kv_model_parse(o->model, &l.model, &l.block_tokens, e);

	if (r < 0)
		return r;
	if (o->block_tokens)
		l.block_tokens = (uint32_t)o->block_tokens;
	*ret = l;
	return 0;
}

void kv_common_config(const struct kv_common *o, const struct kv_chan *chan, struct kv_mem *mem, struct kv_config *ret)
{
	struct kv_config c = {
		.rails = o->rails.v,
		.n_rails = o->rails.n,
		.gid_index = o->gid_index == KV_GID_INDEX_NONE ? -1 : (int)o->gid_index,
		.lanes = (unsigned)o->lanes,
		.poll = o->poll,
		.timeout_ms = (unsigned)o->timeout * 1000,
		.peer_fd = chan->fd,
		.mem = mem,
	};
	socklen_t len = sizeof(c.here);

	memcpy(c.token, chan->token, sizeof(c.token));
	getsockname(chan->fd, &c.here.any, &len);
	len = sizeof(c.there);
	getpeername(chan->fd, &c.there.any, &len);
	kv_addr_unmap(&c.here);
	kv_addr_unmap(&c.there);
	*ret = c;
}
