/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/file.h"
#include "kv/chan.h"

int kv_secret_load(const char *file, struct kv_secret *ret, struct err *e)
{
	const char *env = getenv("KVRAIL_KV_SECRET");
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	if (file) {
		r = file_read(AT_FDCWD, file, KV_SECRET_MAX, &text, &n);
		if (r == -EFBIG)
			return err_set(e, r, "%s: a secret has at most %u bytes", file, KV_SECRET_MAX);
		if (r < 0)
			return err_errno(e, r, "%s", file);
		while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
			n--;
	} else if (env) {
		n = strlen(env);
		text = strdup(env);
		if (!text)
			abort();
	} else {
		return err_set(e, -ENOKEY, "no secret: name its file with --secret-file, or set KVRAIL_KV_SECRET; both sides "
			       "need the same");
	}
	if (n == 0 || n > KV_SECRET_MAX)
		return err_set(e, -EINVAL, "%s: the secret is %s", file ? file : "KVRAIL_KV_SECRET",
			       n ? "longer than 4096 bytes" : "empty");
	memcpy(ret->p, text, n);
	ret->n = n;
	return 0;
}

/* HMAC-SHA256 with @key over @what (with its zero byte) and both nonces. */
static void mac(const uint8_t *key, size_t key_len, const char *what, const uint8_t *client, const uint8_t *server,
		size_t len, uint8_t *ret)
{
	struct hmac_sha256_ctx h;

	hmac_sha256_set_key(&h, key_len, key);
	hmac_sha256_update(&h, strlen(what) + 1, (const uint8_t *)what);
	hmac_sha256_update(&h, KV_NONCE, client);
	hmac_sha256_update(&h, KV_NONCE, server);
	hmac_sha256_digest(&h, len, ret);
}

static void tag(const uint8_t *key, uint64_t number, const uint8_t *header, const uint8_t *payload, size_t len,
		uint8_t *ret)
{
	struct hmac_sha256_ctx h;
	uint8_t le[8];

	for (unsigned i = 0; i < sizeof(le); i++)
		le[i] = (uint8_t)(number >> 8 * i);
	hmac_sha256_set_key(&h, 32, key);
	hmac_sha256_update(&h, sizeof(le), le);
	hmac_sha256_update(&h, KV_HEADER, header);
	hmac_sha256_update(&h, len, payload);
	hmac_sha256_digest(&h, KV_TAG, ret);
}

static int io_failed(const struct kv_chan *c, int r, const char *doing, struct err *e)
{
	if (r == -ETIMEDOUT && c->prove_by)
		return err_set(e, r, "%s did not prove the secret within %u s", c->peer, c->timeout_ms / 1000);
	if (r == -ETIMEDOUT)
		return err_set(e, r, "%s: nothing came for %u s while %s", c->peer, c->timeout_ms / 1000, doing);
	if (r == -ECONNRESET)
		return err_set(e, r, "%s closed the connection while %s", c->peer, doing);
	return err_errno(e, r, "%s, while %s", c->peer, doing);
}

int kv_chan_send(struct kv_chan *c, const struct kv_msg *m, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	uint8_t *frame, seal[KV_TAG];
	size_t len;
	int r;

	kv_encode(a, m, &frame, &len);
	if (c->sealed)
		tag(c->key_out, c->sent++, frame, frame + KV_HEADER, len - KV_HEADER, seal);
	r = kv_net_sendv(c->fd, (struct iovec[]){ { frame, len }, { seal, c->sealed ? KV_TAG : 0 } }, 2, false);
	if (r < 0)
		return io_failed(c, r, "a message was sent", e);
	return 0;
}

static int receive(const struct kv_chan *c, void *p, size_t n)
{
	return c->prove_by ? kv_net_recv_by(c->fd, p, n, c->prove_by) : kv_net_recv(c->fd, p, n);
}

int kv_chan_recv(struct kv_chan *c, struct arena *a, uint32_t type, struct kv_msg *ret, struct err *e)
{
	uint8_t header[KV_HEADER], seal[KV_TAG], want[KV_TAG];
	char doing[64];
	struct kv_frame f;
	struct kv_msg m;
	uint8_t *payload;
	int r;

	if (c->sealed && !type)
		kv_net_wait(c->fd);
	snprintf(doing, sizeof(doing), "this side waited for %s", type ? kv_type_name(type) : "a message");
	r = receive(c, header, sizeof(header));
	if (r < 0)
		return io_failed(c, r, doing, e);
	r = kv_decode_header(header, &f, e);
	if (r < 0)
		return err_wrap(e, r, "%s", c->peer);
	/* before the secret is proven a peer gets no more memory than its message of a few bytes needs */
	if (!c->sealed && f.len > KV_TEXT_MAX + 8)
		return err_set(e, -EPROTO, "%s sent %s before it proved the secret", c->peer, kv_type_name(f.type));
	payload = arena_alloc(a, f.len);
	r = receive(c, payload, f.len);
	if (r == 0 && c->sealed)
		r = kv_net_recv(c->fd, seal, sizeof(seal));
	if (r < 0)
		return io_failed(c, r, doing, e);
	if (c->sealed) {
		tag(c->key_in, c->received++, header, payload, f.len, want);
		if (!memeql_sec(seal, want, sizeof(seal)))
			return err_set(e, -EBADMSG, "%s: %s was changed on the way", c->peer, kv_type_name(f.type));
	}
	f.payload = payload;
	r = kv_decode(a, &f, &m, e);
	if (r < 0)
		return err_wrap(e, r, "%s", c->peer);
	if (m.type == KV_ERROR)
		return err_set(e, m.code && m.code < 4096 ? -(int)m.code : -EIO, "%s says: %s", c->peer, m.text);
	if (type && m.type != type)
		return err_set(e, -EPROTO, "%s sent %s where %s was due", c->peer, kv_type_name(m.type), kv_type_name(type));
	*ret = m;
	return 0;
}

void kv_chan_fail(struct kv_chan *c, const struct err *e)
{
	struct kv_msg m = { .type = KV_ERROR, .code = (uint32_t)-e->code, .text = e->msg };

	if (c->fd >= 0)
		kv_chan_send(c, &m, NULL);
}

void kv_chan_close(struct kv_chan *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void seal(struct kv_chan *c, const struct kv_secret *s, const uint8_t *client, const uint8_t *server,
		 bool is_client)
{
	mac(s->p, s->n, "client to server", client, server, 32, is_client ? c->key_out : c->key_in);
	mac(s->p, s->n, "server to client", client, server, 32, is_client ? c->key_in : c->key_out);
	mac(s->p, s->n, "streams", client, server, sizeof(c->token), c->token);
	c->sealed = true;
	c->prove_by = 0;
	if (c->timeout_ms < KV_PATIENCE_MS) {
		c->timeout_ms = KV_PATIENCE_MS;
		kv_net_timeouts(c->fd, c->timeout_ms);
	}
	kv_net_keepalive(c->fd, true);
}

static int nonce(uint8_t *p, struct err *e)
{
	if (getrandom(p, KV_NONCE, 0) != KV_NONCE)
		return err_errno(e, -errno, "getrandom");
	return 0;
}

static int wrong_secret(const struct kv_chan *c, struct err *e)
{
	return err_set(e, -EACCES, "%s does not know this side's secret: give both the same --secret-file or KVRAIL_KV_SECRET",
		       c->peer);
}

/* The secret is right when the peer's @given is what it must be. */
static bool proven(const struct kv_secret *s, const char *who, const uint8_t *client, const uint8_t *server,
		   const uint8_t *given)
{
	uint8_t want[KV_MAC];

	mac(s->p, s->n, who, client, server, sizeof(want), want);
	return memeql_sec(want, given, sizeof(want));
}

int kv_chan_connect(const union kv_addr *to, const struct kv_secret *s, unsigned timeout_ms, struct kv_chan *ret,
		    struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kv_msg hello = { .type = KV_HELLO }, challenge, proof = { .type = KV_PROOF }, welcome;
	int r;

	*ret = (struct kv_chan){ .fd = -1, .timeout_ms = timeout_ms };
	kv_addr_text(to, ret->peer);
	r = nonce(hello.nonce, e);
	if (r == 0)
		r = kv_net_connect(to, NULL, timeout_ms, &ret->fd, e);
	if (r == 0)
		r = kv_chan_send(ret, &hello, e);
	if (r == 0)
		r = kv_chan_recv(ret, a, KV_CHALLENGE, &challenge, e);
	if (r < 0)
		return r;
	mac(s->p, s->n, "client", hello.nonce, challenge.nonce, sizeof(proof.mac), proof.mac);
	r = kv_chan_send(ret, &proof, e);
	if (r == 0)
		r = kv_chan_recv(ret, a, KV_WELCOME, &welcome, e);
	if (r < 0)
		return r;
	if (!proven(s, "server", hello.nonce, challenge.nonce, welcome.mac))
		return wrong_secret(ret, e);
	seal(ret, s, hello.nonce, challenge.nonce, true);
	return 0;
}

int kv_chan_accept(int fd, const union kv_addr *from, const struct kv_secret *s, unsigned timeout_ms,
		   struct kv_chan *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kv_msg hello, challenge = { .type = KV_CHALLENGE }, proof, welcome = { .type = KV_WELCOME };
	int r;

	*ret = (struct kv_chan){ .fd = fd, .timeout_ms = timeout_ms,
				 .prove_by = clock_ns() + (uint64_t)timeout_ms * 1000000 };
	kv_addr_text(from, ret->peer);
	r = kv_net_timeouts(fd, timeout_ms);
	if (r < 0)
		return err_errno(e, r, "setsockopt");
	r = nonce(challenge.nonce, e);
	if (r == 0)
		r = kv_chan_recv(ret, a, KV_HELLO, &hello, e);
	if (r == 0)
		r = kv_chan_send(ret, &challenge, e);
	if (r == 0)
		r = kv_chan_recv(ret, a, KV_PROOF, &proof, e);
	if (r < 0)
		return r;
	if (!proven(s, "client", hello.nonce, challenge.nonce, proof.mac))
		return wrong_secret(ret, e);
	mac(s->p, s->n, "server", hello.nonce, challenge.nonce, sizeof(welcome.mac), welcome.mac);
	r = kv_chan_send(ret, &welcome, e);
	if (r < 0)
		return r;
	seal(ret, s, hello.nonce, challenge.nonce, false);
	return 0;
}
