/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <string.h>

#include "base/cleanup.h"
#include "kv/net.h"
#include "kv/tcp-stream.h"

/* With the reply's header they fit one sendmsg() of IOV_MAX parts. */
#define RANGES 512
/* Small enough that what one end has just written is in the cache when it is sent. */
#define CHUNK (1u << 20)
/* Requests under way: their lists must fit a socket's buffers, as nobody reads them while bytes are sent. */
#define WINDOW 4

struct request {
	uint32_t op, n;
	uint64_t bytes;
};

struct range {
	uint64_t offset, len;
};

struct reply {
	uint32_t status, zero;
};

static int wire_failed(int r, struct err *e)
{
	if (r == -ETIMEDOUT)
		return err_set(e, r, "no byte moved within the timeout: the peer hangs or the path is gone");
	if (r == -ECONNRESET)
		return err_set(e, r, "the peer closed the connection during the transfer");
	return err_errno(e, r, "the transfer broke off");
}

/* The passive end */

static int serve_plain(int fd, const struct kv_mem *mem, uint64_t bytes)
{
	int r = 0;

	for (uint64_t at = 0, n; r == 0 && bytes; bytes -= n, at = (at + n) % mem->size) {
		n = mem->size - at < CHUNK ? mem->size - at : CHUNK;
		n = n < bytes ? n : bytes;
		r = kv_net_send(fd, (char *)mem->base + at, n);
	}
	return r;
}

static int discard(int fd, uint64_t bytes)
{
	char sink[4096];
	int r = 0;

	for (size_t n; r == 0 && bytes; bytes -= n) {
		n = bytes < sizeof(sink) ? bytes : sizeof(sink);
		r = kv_net_recv(fd, sink, n);
	}
	return r;
}

/* ERANGE when one of them is not in the memory or they are not @bytes. */
static uint32_t ranges_to_iov(const struct range *v, uint32_t n, uint64_t bytes, const struct kv_mem *mem,
			      struct iovec *iov)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t offset = le64toh(v[i].offset), len = le64toh(v[i].len);

		if (offset > mem->size || len > mem->size - offset)
			return ERANGE;
		iov[i] = (struct iovec){ (char *)mem->base + offset, len };
		sum += len;
	}
	return sum == bytes ? 0 : ERANGE;
}

static int serve_ranges(int fd, const struct kv_mem *mem, const struct request *q)
{
	struct range ranges[RANGES];
	struct iovec iov[RANGES + 1];
	struct reply reply = { 0 };
	uint32_t status;
	int r = kv_net_recv(fd, ranges, q->n * sizeof(*ranges));

	if (r < 0)
		return r;
	status = ranges_to_iov(ranges, q->n, q->bytes, mem, iov + 1);
	reply.status = htole32(status);
	iov[0] = (struct iovec){ &reply, sizeof(reply) };
	if (q->op == KV_STREAM_GET)
		return kv_net_sendv(fd, iov, status ? 1 : q->n + 1, false);
	r = status ? discard(fd, q->bytes) : kv_net_recvv(fd, iov + 1, q->n);
	return r < 0 ? r : kv_net_send(fd, &reply, sizeof(reply));
}

/* Memory that is served to be read must not be written, and the other way round. */
static int check_request(const struct request *q, enum kv_op op, struct err *e)
{
	if (q->n > RANGES || q->op < KV_STREAM_GET || q->op > KV_STREAM_PLAIN)
		return err_set(e, -EBADMSG, "the peer asked for operation %u on %u ranges", q->op, q->n);
	if ((q->op == KV_STREAM_PUT) != (op == KV_WRITE))
		return err_set(e, -EBADMSG, "the peer asked to %s in a session that only %s",
			       op == KV_READ ? "write" : "read", op == KV_READ ? "reads" : "writes");
	return 0;
}

int kv_stream_serve(int fd, struct kv_mem *mem, enum kv_op op, struct err *e)
{
	for (;;) {
		struct request q;
		int r;

		kv_net_wait(fd); /* between handoffs the peer may be silent for as long as it likes */
		r = kv_net_recv(fd, &q, sizeof(q));
		if (r == -ECONNRESET)
			return 0;
		if (r < 0)
			return wire_failed(r, e);
		q = (struct request){ le32toh(q.op), le32toh(q.n), le64toh(q.bytes) };
		r = check_request(&q, op, e);
		if (r < 0)
			return r;
		r = q.op == KV_STREAM_PLAIN ? serve_plain(fd, mem, q.bytes) : serve_ranges(fd, mem, &q);
		if (r < 0)
			return wire_failed(r, e);
	}
}

/* The active end */

struct chunk {
	struct request request;
	struct range ranges[RANGES];
	struct iovec iov[RANGES];
	uint64_t bytes;
	uint32_t n;
};

/* The next ranges, in wire order; false when the plan is used up. */
static bool take(struct kv_stream_cursor *c, struct kv_mem *mem, struct chunk *k)
{
	k->n = 0;
	k->bytes = 0;
	pthread_mutex_lock(&c->lock);
	while (c->next < c->plan->n && k->n < RANGES && k->bytes < CHUNK) {
		const struct kv_desc *d = &c->plan->v[c->next];
		uint64_t len = d->len - c->done;

		len = len < CHUNK - k->bytes ? len : CHUNK - k->bytes;
		k->ranges[k->n] = (struct range){ htole64(d->remote + c->done), htole64(len) };
		k->iov[k->n++] = (struct iovec){ (char *)mem->base + d->local + c->done, len };
		k->bytes += len;
		c->done += len;
		if (c->done == d->len) {
			c->next++;
			c->done = 0;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return k->n > 0;
}

static int send_request(int fd, struct chunk *k, enum kv_stream_op op, bool more)
{
	k->request = (struct request){ htole32(op), htole32(k->n), htole64(k->bytes) };
	return kv_net_sendv(fd, (struct iovec[]){ { &k->request, sizeof(k->request) },
						  { k->ranges, k->n * sizeof(*k->ranges) } }, 2, more);
}

static int receive_status(int fd, struct err *e)
{
	struct reply reply;
	int r = kv_net_recv(fd, &reply, sizeof(reply));

	if (r < 0)
		return wire_failed(r, e);
	if (reply.status)
		return err_set(e, -ERANGE, "the peer refused a range: it lies outside the peer's memory, which is smaller than "
			       "its layout said");
	return 0;
}

static int start(int fd, struct chunk *k, enum kv_stream_op op, struct err *e)
{
	int r = send_request(fd, k, op, op == KV_STREAM_PUT);

	if (r == 0 && op == KV_STREAM_PUT)
		r = kv_net_sendv(fd, k->iov, k->n, false);
	return r < 0 ? wire_failed(r, e) : 0;
}

static int finish(int fd, struct chunk *k, enum kv_stream_op op, struct err *e)
{
	int r = receive_status(fd, e);

	if (r < 0 || op == KV_STREAM_PUT)
		return r;
	r = kv_net_recvv(fd, k->iov, k->n);
	return r < 0 ? wire_failed(r, e) : 0;
}

static int move(int fd, struct kv_mem *mem, struct kv_stream_cursor *c, enum kv_stream_op op, uint64_t *ret_bytes,
		uint64_t *ret_requests, struct err *e)
{
	_cleanup_free_ struct chunk *slots = reallocarray(NULL, WINDOW, sizeof(*slots));
	uint64_t sent = 0, received = 0, bytes = 0, requests = 0;
	bool more = true;
	int r;

	if (!slots)
		abort();
	while (more || received < sent) {
		struct chunk *k = &slots[sent % WINDOW];

		while (more && sent - received < WINDOW && (more = take(c, mem, k))) {
			r = start(fd, k, op, e);
			if (r < 0)
				return r;
			bytes += k->bytes;
			requests += k->n;
			k = &slots[++sent % WINDOW];
		}
		if (received == sent)
			break;
		r = finish(fd, &slots[received++ % WINDOW], op, e);
		if (r < 0)
			return r;
	}
	*ret_bytes = bytes;
	*ret_requests = requests;
	return 0;
}

int kv_stream_read(int fd, struct kv_mem *mem, struct kv_stream_cursor *c, uint64_t *ret_bytes, uint64_t *ret_requests,
		struct err *e)
{
	return move(fd, mem, c, KV_STREAM_GET, ret_bytes, ret_requests, e);
}

int kv_stream_write(int fd, struct kv_mem *mem, struct kv_stream_cursor *c, uint64_t *ret_bytes, uint64_t *ret_requests,
		 struct err *e)
{
	return move(fd, mem, c, KV_STREAM_PUT, ret_bytes, ret_requests, e);
}

int kv_stream_plain(int fd, struct kv_mem *mem, uint64_t bytes, struct err *e)
{
	struct request q = { htole32(KV_STREAM_PLAIN), 0, htole64(bytes) };
	int r = kv_net_send(fd, &q, sizeof(q));

	for (uint64_t at = 0, n; r == 0 && bytes; bytes -= n, at = (at + n) % mem->size) {
		n = mem->size - at < CHUNK ? mem->size - at : CHUNK;
		n = n < bytes ? n : bytes;
		r = kv_net_recv(fd, (char *)mem->base + at, n);
	}
	return r < 0 ? wire_failed(r, e) : 0;
}
