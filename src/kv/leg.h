/* SPDX-License-Identifier: Apache-2.0 */
/* The decode's side of a session with one prefill; a pull has one leg for each prefill rank that it reads from. */
#ifndef KVRAIL_KV_LEG_H
#define KVRAIL_KV_LEG_H

#include <pthread.h>

#include "kv/common.h"
#include "kv/perftest.h"

struct kv_leg {
	const char *name; /* of the peer, as given */
	struct arena *arena;
	struct kv_chan chan;
	const struct kv_common *options;
	struct kv_msg offer;
	struct kv_cache *cache; /* of the pull, not owned */
	uint32_t head, n_heads; /* that this leg carries */
	struct kv_plan plan;
	struct kv_endpoint *endpoint;
	const char *transport, *passed_over; /* and why others were not taken, or NULL */
	enum kv_op op;
	enum kv_checksum checksum;
	/* of one handoff */
	struct arena *turn;
	struct kv_msg ready;
	struct kv_done done;
	pthread_t thread;
	int r;
	struct err e;
};

/* Connect, prove, and learn the prefill's layout. Ended with kv_leg_close(), also after a failure. */
int kv_leg_open(struct kv_leg *leg, const char *peer, const struct kv_common *o, const struct kv_secret *s,
		const struct kv_layout *mine, uint32_t tokens, struct err *e);
/* Agree on one of @transports (names with commas, by preference) for the heads of the leg, and connect it. */
int kv_leg_attach(struct kv_leg *leg, const char *transports, struct err *e);
/* Before the clock starts: the prefill says READY (READ). */
int kv_leg_begin(struct kv_leg *leg, uint32_t number);
/* Move the bytes; the result is in leg->r, e, done. */
void kv_leg_move(struct kv_leg *leg, uint32_t number);
/* After it: tell the prefill. */
int kv_leg_end(struct kv_leg *leg, uint32_t number);
/* Compare with what the prefill declared. -EBADMSG names the first block that differs. */
int kv_leg_verify(struct kv_leg *leg, struct err *e);
/*
 * Bytes per second of the bare path, in transfers of @size bytes, for about @seconds at @expected bytes per second;
 * *ret_tool (of the leg's arena) says what measured it.
 */
int kv_leg_baseline(struct kv_leg *leg, double expected, double seconds, double *ret, const char **ret_tool,
		    struct err *e);
void kv_leg_close(struct kv_leg *leg);

#endif
