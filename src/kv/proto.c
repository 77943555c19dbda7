/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "kv/proto.h"

/* One walk over a message's fields serves both directions: what is written is what is read. */
struct wire {
	struct arena *arena;
	bool encode, bad;
	uint8_t *p;
	size_t at, len; /* decode: what there is; encode: what @p can hold, or NULL to only count */
};

static void bytes(struct wire *w, void *v, size_t n)
{
	if (!n)
		return;
	if (!w->encode) {
		if (w->bad || w->len - w->at < n) {
			w->bad = true;
			memset(v, 0, n);
			return;
		}
		memcpy(v, w->p + w->at, n);
	} else if (w->p) {
		memcpy(w->p + w->at, v, n);
	}
	w->at += n;
}

static void u32(struct wire *w, uint32_t *v)
{
	uint8_t b[4] = { (uint8_t)*v, (uint8_t)(*v >> 8), (uint8_t)(*v >> 16), (uint8_t)(*v >> 24) };

	bytes(w, b, sizeof(b));
	*v = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void u64(struct wire *w, uint64_t *v)
{
	uint32_t low = (uint32_t)*v, high = (uint32_t)(*v >> 32);

	u32(w, &low);
	u32(w, &high);
	*v = (uint64_t)high << 32 | low;
}

/* The length of an array of elements of @size bytes: bounded by @max and by what is left before anything is allocated. */
static bool count(struct wire *w, uint32_t *n, uint32_t max, size_t size)
{
	u32(w, n);
	if (!w->encode && (*n > max || (w->len - w->at) / size < *n))
		w->bad = true;
	if (w->bad)
		*n = 0;
	return !w->bad;
}

static void blob(struct wire *w, struct kv_bytes *b)
{
	if (!count(w, &b->n, KV_ENDPOINT_MAX, 1))
		return;
	if (!w->encode)
		b->p = arena_alloc(w->arena, b->n);
	bytes(w, (void *)b->p, b->n);
}

static void text(struct wire *w, const char **s)
{
	uint32_t n = w->encode && *s ? (uint32_t)strnlen(*s, KV_TEXT_MAX) : 0;
	char *copy;

	if (!count(w, &n, KV_TEXT_MAX, 1))
		return;
	if (w->encode) {
		bytes(w, (void *)*s, n);
		return;
	}
	copy = arena_alloc(w->arena, n + 1);
	bytes(w, copy, n);
	for (uint32_t i = 0; i < n; i++) /* it will be printed */
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = '?';
	*s = copy;
}

static void ids(struct wire *w, struct kv_ids *v, uint32_t max)
{
	if (!count(w, &v->n, max, sizeof(*v->v)))
		return;
	if (!w->encode)
		v->v = arena_alloc(w->arena, v->n * sizeof(*v->v));
	for (uint32_t i = 0; i < v->n; i++)
		u32(w, &v->v[i]);
}

static void layout(struct wire *w, struct kv_layout *l)
{
	uint32_t *const fields[] = { &l->model.layers, &l->model.kinds, &l->model.heads, &l->model.dim, &l->model.elem,
				     &l->tp, &l->rank, &l->block_tokens, &l->n_blocks, &l->order, &l->tensors };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		u32(w, fields[i]);
}

static void hello(struct wire *w, struct kv_msg *m)
{
	bytes(w, m->nonce, sizeof(m->nonce));
}

static void proof(struct wire *w, struct kv_msg *m)
{
	bytes(w, m->mac, sizeof(m->mac));
}

static void request(struct wire *w, struct kv_msg *m)
{
	layout(w, &m->layout);
	u32(w, &m->tokens);
	u32(w, &m->head);
	u32(w, &m->n_heads);
	u32(w, &m->op);
	u32(w, &m->checksum);
	text(w, &m->transports);
	ids(w, &m->blocks, KV_BLOCKS_MAX);
}

static void offer(struct wire *w, struct kv_msg *m)
{
	layout(w, &m->layout);
	u32(w, &m->tokens);
	u64(w, &m->memory);
	text(w, &m->transports);
	text(w, &m->text);
	blob(w, &m->endpoint);
	ids(w, &m->blocks, KV_BLOCKS_MAX);
}

static void attach(struct wire *w, struct kv_msg *m)
{
	blob(w, &m->endpoint);
}

static void nothing(struct wire *w, struct kv_msg *m)
{
}

static void handoff(struct wire *w, struct kv_msg *m)
{
	u32(w, &m->handoff);
}

static void ready(struct wire *w, struct kv_msg *m)
{
	u32(w, &m->handoff);
	u32(w, &m->digest);
	u64(w, &m->post_ns);
	u64(w, &m->ns);
	u64(w, &m->descriptors);
	u64(w, &m->requests);
	ids(w, &m->units, KV_UNITS_MAX);
}

static void baseline(struct wire *w, struct kv_msg *m)
{
	u64(w, &m->size);
	u64(w, &m->count);
}

static void baseline_ready(struct wire *w, struct kv_msg *m)
{
	u32(w, &m->port);
	text(w, &m->text);
}

static void error(struct wire *w, struct kv_msg *m)
{
	u32(w, &m->code);
	text(w, &m->text);
}

static const struct {
	const char *name;
	void (*fields)(struct wire *w, struct kv_msg *m);
	uint32_t max;
} types[] = {
	[KV_HELLO] = { "HELLO", hello, KV_NONCE },
	[KV_CHALLENGE] = { "CHALLENGE", hello, KV_NONCE },
	[KV_PROOF] = { "PROOF", proof, KV_MAC },
	[KV_WELCOME] = { "WELCOME", proof, KV_MAC },
	[KV_REQUEST] = { "REQUEST", request, KV_PAYLOAD_MAX },
	[KV_OFFER] = { "OFFER", offer, KV_PAYLOAD_MAX },
	[KV_ATTACH] = { "ATTACH", attach, KV_ENDPOINT_MAX + 4 },
	[KV_CONNECTED] = { "CONNECTED", nothing, 0 },
	[KV_BEGIN] = { "BEGIN", handoff, 4 },
	[KV_READY] = { "READY", ready, KV_PAYLOAD_MAX },
	[KV_DONE] = { "DONE", handoff, 4 },
	[KV_BASELINE] = { "BASELINE", baseline, 16 },
	[KV_BASELINE_READY] = { "BASELINE_READY", baseline_ready, KV_TEXT_MAX + 8 },
	[KV_BYE] = { "BYE", nothing, 0 },
	[KV_ERROR] = { "ERROR", error, KV_TEXT_MAX + 8 },
};

const char *kv_type_name(unsigned type)
{
	return type < ARRAY_SIZE(types) && types[type].name ? types[type].name : "?";
}

static void header(struct wire *w, uint16_t *version, uint16_t *type, uint32_t *len)
{
	uint32_t magic = KV_MAGIC, both = (uint32_t)*version | (uint32_t)*type << 16;

	u32(w, &magic);
	u32(w, &both);
	u32(w, len);
	*version = (uint16_t)both;
	*type = (uint16_t)(both >> 16);
	if (magic != KV_MAGIC)
		w->bad = true;
}

void kv_encode(struct arena *a, const struct kv_msg *m, uint8_t **ret, size_t *ret_len)
{
	struct kv_msg copy = *m;
	struct wire w = { .encode = true };
	uint16_t version = KV_VERSION, type = (uint16_t)m->type;
	uint32_t len;

	types[type].fields(&w, &copy);
	len = (uint32_t)w.at;
	w = (struct wire){ .encode = true, .p = arena_alloc(a, KV_HEADER + len) };
	header(&w, &version, &type, &len);
	types[type].fields(&w, &copy);
	*ret = w.p;
	*ret_len = w.at;
}

int kv_decode_header(const uint8_t *p, struct kv_frame *ret, struct err *e)
{
	struct wire w = { .p = (uint8_t *)p, .len = KV_HEADER };
	struct kv_frame f = { 0 };

	header(&w, &f.version, &f.type, &f.len);
	if (w.bad)
		return err_set(e, -EPROTONOSUPPORT, "the peer does not speak kvrail-kv's protocol: it began with "
			       "%02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
	*ret = f;
	if (f.version != KV_VERSION)
		return err_set(e, -EPROTO, "the peer speaks version %u of kvrail-kv's protocol, this side %u: run the "
			       "same kvrail-kv on both", f.version, KV_VERSION);
	if (f.type >= ARRAY_SIZE(types) || !types[f.type].name)
		return err_set(e, -EBADMSG, "the peer sent a message of type %u, which version %u does not have", f.type,
			       KV_VERSION);
	if (f.len > types[f.type].max)
		return err_set(e, -EMSGSIZE, "the peer announced %s of %u bytes, the most is %u", types[f.type].name, f.len,
			       types[f.type].max);
	return 0;
}

int kv_decode(struct arena *a, const struct kv_frame *f, struct kv_msg *ret, struct err *e)
{
	struct wire w = { .arena = a, .p = (uint8_t *)f->payload, .len = f->len };
	struct kv_msg m = { .type = f->type };

	types[f->type].fields(&w, &m);
	if (w.bad || w.at != w.len)
		return err_set(e, -EBADMSG, "the peer's %s is malformed (%u bytes)", types[f->type].name, f->len);
	*ret = m;
	return 0;
}
