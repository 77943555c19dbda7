/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol between decode (client) and prefill (server), without I/O: bytes to messages and back.
 *
 * A frame is a header of 12 bytes and a payload, all numbers little-endian:
 *	u32 magic "KVRL"   u16 version   u16 type   u32 length of the payload
 * The header keeps its form in every version. Once both sides have proven that they know the secret, each frame is
 * followed by KV_TAG bytes of HMAC-SHA256 over its number in this direction, its header and its payload (chan.c).
 *
 *	client			server
 *	HELLO nonce ->
 *				<- CHALLENGE nonce
 *	PROOF mac ->
 *				<- WELCOME mac			from here frames carry tags
 *	REQUEST layout, blocks, transports ->
 *				<- OFFER layout, blocks, transport, endpoint
 *	ATTACH endpoint ->
 *				<- CONNECTED
 *	BEGIN ->					one handoff; any number of them
 *				<- READY checksums		READ: now; WRITE: the bytes are there
 *	DONE ->
 *	BASELINE size ->				optional, between handoffs
 *				<- BASELINE_READY port
 *	BYE ->
 * Either side may send ERROR instead of what is due, and closes then.
 */
#ifndef KVRAIL_KV_PROTO_H
#define KVRAIL_KV_PROTO_H

#include "base/arena.h"
#include "kv/layout.h"

#define KV_MAGIC 0x4c52564bu /* "KVRL" */
#define KV_VERSION 1
#define KV_HEADER 12
#define KV_TAG 16
#define KV_NONCE 32
#define KV_MAC 32
#define KV_PAYLOAD_MAX (32u << 20)
#define KV_ENDPOINT_MAX 16384
#define KV_TEXT_MAX 1024
#define KV_UNITS_MAX (1u << 22)

enum kv_type {
	KV_HELLO = 1, KV_CHALLENGE, KV_PROOF, KV_WELCOME, KV_REQUEST, KV_OFFER, KV_ATTACH, KV_CONNECTED,
	KV_BEGIN, KV_READY, KV_DONE, KV_BASELINE, KV_BASELINE_READY, KV_BYE, KV_ERROR,
};

enum kv_op { KV_READ, KV_WRITE };
enum kv_checksum { KV_SUM_OFF, KV_SUM_TRANSFER, KV_SUM_BLOCK };

struct kv_bytes {
	const uint8_t *p;
	uint32_t n;
};

struct kv_ids {
	uint32_t *v;
	uint32_t n;
};

/* One struct for all: each type uses the fields that its table in proto.c names. */
struct kv_msg {
	uint32_t type;
	uint8_t nonce[KV_NONCE]; /* HELLO, CHALLENGE */
	uint8_t mac[KV_MAC];	 /* PROOF, WELCOME */
	struct kv_layout layout; /* REQUEST, OFFER; unchecked */
	struct kv_ids blocks;	 /* REQUEST, OFFER: that hold the tokens */
	uint32_t tokens;	 /* REQUEST: wanted, 0 all that there are; OFFER: given */
	uint32_t head, n_heads;	 /* REQUEST: wanted; none: only the layout is asked for */
	uint32_t op;		 /* REQUEST: enum kv_op */
	uint32_t checksum;	 /* REQUEST: enum kv_checksum */
	const char *transports;	 /* REQUEST: names by preference, with commas; OFFER: the one chosen */
	const char *text;	 /* OFFER: why others were passed over; ERROR: what is wrong; BASELINE_READY: tool, why none */
	uint64_t memory;	 /* OFFER: bytes of the server's memory */
	struct kv_bytes endpoint; /* OFFER, ATTACH: the transport's own */
	uint32_t handoff;	 /* BEGIN, READY, DONE */
	uint32_t digest;	 /* READY: of all units */
	struct kv_ids units;	 /* READY: one CRC-32C for each, with KV_SUM_BLOCK */
	uint64_t post_ns, ns;	 /* READY after a WRITE: the server's time */
	uint64_t descriptors, requests; /* READY after a WRITE */
	uint64_t size, count;	 /* BASELINE: bytes of a transfer and how many */
	uint32_t port;		 /* BASELINE_READY: of the tool, 0 none */
	uint32_t code;		 /* ERROR: an errno */
};

struct kv_frame {
	uint16_t version, type;
	const uint8_t *payload;
	uint32_t len;
};

/* Append the frame of @m to *ret (of @a), its length to *ret_len. */
void kv_encode(struct arena *a, const struct kv_msg *m, uint8_t **ret, size_t *ret_len);

/*
 * The header at @p of KV_HEADER bytes. -EPROTONOSUPPORT: not this protocol; -EPROTO: another version (ret is filled);
 * -EMSGSIZE: a payload longer than its type may have; -EBADMSG: a type that is not known.
 */
int kv_decode_header(const uint8_t *p, struct kv_frame *ret, struct err *e);
/* The payload of a frame whose header was decoded. What *ret points to is in @a. -EBADMSG: malformed. */
int kv_decode(struct arena *a, const struct kv_frame *f, struct kv_msg *ret, struct err *e);
const char *kv_type_name(unsigned type);

#endif
