/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transports: how the bytes of a plan get from one memory to another. A transport is a table of operations in files of
 * its own, listed in transport.c; an operation that it lacks is a dummy that says so, so callers never test for NULL.
 *
 * One end is passive: its memory is read or written, it runs no operation of the plan. Both ends open, exchange what
 * describe() gives over the control channel, and connect; the passive end connects first or at the same time.
 *
 *	passive					active
 *	kv_endpoint_open			kv_endpoint_open
 *	ops.describe  -- bytes -->		ops.describe
 *			<-- bytes --
 *	ops.connect				ops.connect
 *						ops.read, ops.write, any number of times
 *	kv_endpoint_close			kv_endpoint_close
 */
#ifndef KVRAIL_KV_TRANSPORT_H
#define KVRAIL_KV_TRANSPORT_H

#include "kv/mem.h"
#include "kv/net.h"
#include "kv/proto.h"

#define KV_RAILS_MAX 16
#define KV_LANES_MAX 16 /* queue pairs or streams of one rail */

struct kv_config {
	/* "DEVICE[:PORT][@ADDRESS|@INDEX]" or "ADDRESS"; none: what the transport finds by itself */
	const char *const *rails;
	size_t n_rails;
	int gid_index; /* -1: the one of the rail's address */
	unsigned lanes; /* queue pairs or streams of each rail, 1 to KV_LANES_MAX */
	bool poll;     /* wait for completions by polling instead of sleeping */
	bool passive;
	enum kv_op op; /* that will be run: what the passive end's memory is opened for */
	union kv_addr here, there; /* of the control connection */
	uint8_t token[16];	   /* of the session */
	unsigned timeout_ms;	   /* without progress */
	int peer_fd;		   /* the control connection, watched for the peer's end; -1 none */
	struct kv_mem *mem;
};

struct kv_rail {
	const char *device, *address, *gid; /* NULL where the transport has no such thing */
	unsigned port, mtu;
	int gid_index; /* -1 none */
	const char *peer; /* GID or address at the other end */
	uint64_t bytes;	  /* moved by this end's operations */
};

struct kv_path {
	bool rdma; /* the bytes go by RDMA, as far as the transport knows for certain */
	const char *via; /* in the transport's words: "RC READ", "rc_verbs/rxe0:1" */
	struct kv_rail *rails;
	size_t n_rails;
};

/* What an operation took. */
struct kv_done {
	uint64_t ns, post_ns; /* from the first request to the last completion; of that, posting */
	uint64_t requests;    /* work requests, or ranges asked for */
};

struct kv_endpoint;

struct kv_transport {
	const char *name, *doc;
	int (*open)(const struct kv_config *c, struct kv_endpoint **ret, struct err *e);
	int (*describe)(struct kv_endpoint *ep, struct arena *a, struct kv_bytes *ret, struct err *e);
	int (*connect)(struct kv_endpoint *ep, const struct kv_bytes *peer, struct err *e);
	int (*read)(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e);
	int (*write)(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e);
	/*
	 * The bare path: @count transfers of @size bytes, one after another in memory, without layout or plan. *ret_what
	 * says how.
	 */
	int (*plain)(struct kv_endpoint *ep, uint64_t size, uint64_t count, struct kv_done *ret, const char **ret_what,
		     struct err *e);
	int (*path)(struct kv_endpoint *ep, struct arena *a, struct kv_path *ret, struct err *e);
	void (*close)(struct kv_endpoint *ep);
};

/* First member of every transport's own endpoint. */
struct kv_endpoint {
	struct kv_transport ops; /* complete: dummies where the table has none */
	struct kv_config config;
};

extern const struct kv_transport kv_verbs, kv_tcp, kv_ucx;

/* NULL-terminated, in the order in which auto tries those that are RDMA by construction. */
extern const struct kv_transport *const kv_transports[];
const struct kv_transport *kv_transport_find(const char *name);

/* -EINVAL: no transport of that name; else what its open() says. */
int kv_endpoint_open(const char *transport, const struct kv_config *c, struct kv_endpoint **ret, struct err *e);
struct kv_endpoint *kv_endpoint_close(struct kv_endpoint *ep);

static inline void kv_endpoint_closep(struct kv_endpoint **ep)
{
	kv_endpoint_close(*ep);
}
#define _cleanup_kv_endpoint_ _cleanup_(kv_endpoint_closep)

#endif
