/* SPDX-License-Identifier: Apache-2.0 */
/* An IPPool, as anyone who may write one can, into the allocator: what is given is inside of the range, distinct, and nobody's. */
#include <string.h>

#include "ipam/plan.h"
#include "store/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ipam_pool pool;
	struct ipam_conf conf = { .type = "whereabouts", .overlapping = true };
	struct ipam_range range = { .cidr = "fuzz", .pool = "fuzz" };
	struct ipam_want wants[3] = { { .conf = &conf, .range = &range, .ifname = "net1" }, { .conf = &conf, .range = &range, .ifname = "net2" },
				      { .conf = &conf, .range = &range, .ifname = "net3" } };
	struct ipam_job add = { .kind = IPAM_ADD, .a = a, .container = "c9", .podref = "llm/new", .wants = wants, .n_wants = 3 };
	struct ipam_job del = { .kind = IPAM_DEL, .a = a, .container = "c1" }, *jobs[] = { &add, &del };
	struct ipam_view view = { .pool = &pool, .node = "n1", .windowed = size & 1 };
	yyjson_val *obj;
	struct err e;

	if (doc_parse_json(a, "fuzz", (const char *)data, size, 1 << 20, &obj, &e) < 0 || ipam_pool_decode(a, obj, &pool, &e) < 0)
		return 0;
	for (size_t i = 0; i < pool.n; i++)
		if (!ipam_net_contains(&pool.net, &pool.entries[i].ip) ||
		    strcmp(ipam_offset(a, &pool.net, &pool.entries[i].ip), pool.entries[i].offset))
			abort();
	range.first = pool.net.ip;
	range.last = ipam_net_last(&pool.net);
	range.v4 = ipam_ip_is_v4(&pool.net.ip) && pool.net.bits >= 96;
	range.prefix_len = range.v4 ? pool.net.bits - 96 : pool.net.bits;
	ipam_plan(a, &view, jobs, 2);
	for (size_t i = 0; i < 3 && add.result == 0; i++) {
		if (store_ip_cmp(&wants[i].ip, &range.first) < 0 || store_ip_cmp(&wants[i].ip, &range.last) > 0 ||
		    (wants[i].how == IPAM_NEW && ipam_pool_at(&pool, &wants[i].ip)))
			abort();
		for (size_t k = 0; k < i; k++)
			if (store_ip_cmp(&wants[i].ip, &wants[k].ip) == 0)
				abort();
	}
	return 0;
}
