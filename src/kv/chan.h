/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel: kv/proto.h over one TCP connection. Both sides prove that they know the secret (HMAC-SHA256 over
 * both nonces), and every later frame carries a tag made with a key of this connection and direction. The KV bytes
 * themselves are neither encrypted nor authenticated, as with any RDMA transport; their checksums are.
 */
#ifndef KVRAIL_KV_CHAN_H
#define KVRAIL_KV_CHAN_H

#include "kv/net.h"
#include "kv/proto.h"

#define KV_SECRET_MAX 4096
/* How long a peer that has proven the secret may think: it fills a cache, or sums one up. */
#define KV_PATIENCE_MS 60000

struct kv_secret {
	uint8_t p[KV_SECRET_MAX];
	size_t n;
};

/* From @file, a newline at its end cut; @file NULL: from KVRAIL_KV_SECRET. -ENOKEY when there is none. */
int kv_secret_load(const char *file, struct kv_secret *ret, struct err *e);

struct kv_chan {
	int fd;
	bool sealed;
	uint64_t sent, received; /* frames since sealed */
	uint8_t key_out[32], key_in[32];
	uint8_t token[16]; /* known to both ends only: for further connections of this session */
	char peer[KV_ADDR_MAX];
	unsigned timeout_ms; /* of silence */
	uint64_t prove_by;   /* clock_ns() when the client must have proven the secret; 0: it has, or this is the client */
};

/* Connect and prove. -EACCES: the secrets differ. The channel is closed with kv_chan_close(), also after a failure. */
int kv_chan_connect(const union kv_addr *to, const struct kv_secret *s, unsigned timeout_ms, struct kv_chan *ret,
		    struct err *e);
/*
 * The server's half over an accepted @fd, which the channel owns from now on. -ETIMEDOUT: no proof @timeout_ms after the
 * begin, however much was said.
 */
int kv_chan_accept(int fd, const union kv_addr *from, const struct kv_secret *s, unsigned timeout_ms,
		   struct kv_chan *ret, struct err *e);
void kv_chan_close(struct kv_chan *c);

int kv_chan_send(struct kv_chan *c, const struct kv_msg *m, struct err *e);
/*
 * The next message, in @a; the peer's ERROR becomes ours. @type 0: any, and it may take as long as it likes, else -EPROTO
 * for another.
 */
int kv_chan_recv(struct kv_chan *c, struct arena *a, uint32_t type, struct kv_msg *ret, struct err *e);
/* Tell the peer why this side gives up; best effort. */
void kv_chan_fail(struct kv_chan *c, const struct err *e);

#endif
