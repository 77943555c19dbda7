/* SPDX-License-Identifier: Apache-2.0 */
/* The decode side: pull a request's KV blocks from one or more prefills, and report how it went. */
#ifndef KVRAIL_KV_PULL_H
#define KVRAIL_KV_PULL_H

#include "kv/leg.h"

struct kv_pull {
	struct kv_common common;
	uint64_t tokens; /* 0: all that the prefill holds */
	uint32_t transport, op, checksum;
	uint64_t handoffs;
	bool require_rdma, baseline;
	uint32_t prefill_tp; /* ranks to ask of a server of any model; 0: as many as here */
};

struct kv_result {
	const char *model, *transport, *via, *passed_over, *op, *memory;
	bool rdma;
	uint32_t tokens;
	struct kv_rail *rails;
	size_t n_rails;
	uint64_t bytes, blocks, descriptors, requests; /* of one handoff */
	uint64_t handoffs;
	double seconds, rate; /* all handoffs; bytes per second */
	double p50, p99, post, first; /* seconds; post: the mean of posting */
	double cpu; /* seconds of this process for 10^9 bytes */
	const char *checksum; /* "ok", "off" */
	const char *baseline_tool; /* NULL: not measured */
	double baseline, share;
};

extern const char *const kv_transport_words[]; /* auto and every transport, NULL-terminated */

struct kv_pull kv_pull_defaults(void);

/* What lies behind @ret is in @a. */
int kv_pull_run(const struct kv_pull *p, const struct kv_secret *s, const char *const *peers, size_t n_peers,
		struct arena *a, struct kv_result *ret, struct err *e);
void kv_result_print(const struct kv_result *r, uint32_t output);

extern const struct kv_command kv_cmd_pull;

#endif
