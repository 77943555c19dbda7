/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP stream that carries KV blocks. The active end sends requests, each a list of ranges of the passive end's
 * memory; numbers are little-endian:
 *	u32 op   u32 n   u64 bytes   n times { u64 offset  u64 len }
 *	GET:   the reply is u32 status, u32 0, and when status is 0 the bytes of all ranges in order
 *	PUT:   the bytes follow the request; the reply is u32 status, u32 0
 *	PLAIN: no ranges; the reply is @bytes of memory in sequence, and nothing else
 * Requests are pipelined: several are under way before the first reply is read.
 */
#ifndef KVRAIL_KV_TCP_STREAM_H
#define KVRAIL_KV_TCP_STREAM_H

#include <pthread.h>

#include "kv/mem.h"
#include "kv/proto.h"

enum kv_stream_op { KV_STREAM_GET = 1, KV_STREAM_PUT, KV_STREAM_PLAIN };

/* Where the streams of one operation take their next ranges from. */
struct kv_stream_cursor {
	pthread_mutex_t lock;
	const struct kv_plan *plan;
	size_t next;
	uint64_t done; /* bytes of plan->v[next] that are taken */
};

/*
 * Serve requests against @mem until the peer closes (0) or misbehaves: -EBADMSG for what is malformed, or is not part of
 * @op (GET and PLAIN are of a READ, PUT is of a WRITE).
 */
int kv_stream_serve(int fd, struct kv_mem *mem, enum kv_op op, struct err *e);

/* Move ranges from @c until none is left. *ret_bytes and *ret_requests count this stream's share. */
int kv_stream_read(int fd, struct kv_mem *mem, struct kv_stream_cursor *c, uint64_t *ret_bytes, uint64_t *ret_requests,
		struct err *e);
int kv_stream_write(int fd, struct kv_mem *mem, struct kv_stream_cursor *c, uint64_t *ret_bytes, uint64_t *ret_requests,
		 struct err *e);
/* Receive @bytes in sequence into the memory, around its end if need be. */
int kv_stream_plain(int fd, struct kv_mem *mem, uint64_t bytes, struct err *e);

#endif
