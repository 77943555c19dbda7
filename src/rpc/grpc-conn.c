/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "rpc/grpc-conn.h"

#define PATH_MAX_LEN 256
#define TEXT_MAX 4096	      /* of a grpc-message */
#define WINDOW (1 << 20)      /* a client's: 16 MiB of pod resources in few round trips */

struct grpc_conn {
	nghttp2_session *session;
	bool server;
	size_t max_message;
	struct grpc_call *calls;
	size_t n_calls;
};

struct grpc_call *grpc_call_unref(struct grpc_call *call)
{
	if (call && --call->refs == 0) {
		free(call->path);
		strbuf_free(&call->text);
		strbuf_free(&call->in.body);
		strbuf_free(&call->out);
		free(call);
	}
	return NULL;
}

static struct grpc_call *call_new(struct grpc_conn *c, int32_t id)
{
	struct grpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->refs = 1;
	call->conn = c;
	call->id = id;
	call->status = -1;
	call->next = c->calls;
	c->calls = call;
	c->n_calls++;
	return call;
}

/* The stream is closed: the connection lets go of the call. */
static void call_close(struct grpc_conn *c, struct grpc_call *call)
{
	for (struct grpc_call **p = &c->calls; *p; p = &(*p)->next)
		if (*p == call) {
			*p = call->next;
			c->n_calls--;
			call->conn = NULL;
			call->next = NULL;
			grpc_call_unref(call);
			return;
		}
}

static struct grpc_call *call_of(nghttp2_session *s, int32_t id)
{
	return nghttp2_session_get_stream_user_data(s, id);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

/* What ends a call: with its first bytes when no message was sent (trailers-only), else after the last message. */
static int submit_end(struct grpc_call *call)
{
	char status[12];
	nghttp2_nv h[4];
	size_t n = 0;

	snprintf(status, sizeof(status), "%d", call->status);
	if (!call->begun) {
		h[n++] = nv(":status", "200");
		h[n++] = nv("content-type", "application/grpc");
	}
	h[n++] = nv("grpc-status", status);
	if (call->text.len)
		h[n++] = nv("grpc-message", call->text.s);
	call->sent_end = true;
	return call->begun ? nghttp2_submit_trailer(call->conn->session, call->id, h, n) :
			     nghttp2_submit_response(call->conn->session, call->id, h, n, NULL);
}

/* DATA of a call. A server's last frame leaves the stream open for the trailers. */
static ssize_t read_out(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			nghttp2_data_source *source, void *arg)
{
	struct grpc_call *call = source->ptr;
	size_t n = call->out.len - call->out_done;

	if (n == 0 && !call->end)
		return NGHTTP2_ERR_DEFERRED;
	if (n > len)
		n = len;
	if (n)
		memcpy(buf, call->out.s + call->out_done, n);
	call->out_done += n;
	if (call->out_done < call->out.len)
		return (ssize_t)n;
	strbuf_free(&call->out);
	call->out_done = 0;
	if (!call->end)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (call->conn->server) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (submit_end(call) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

int grpc_call_send(struct grpc_call *call, const void *msg, size_t len)
{
	nghttp2_nv h[] = { nv(":status", "200"), nv("content-type", "application/grpc") };
	nghttp2_data_provider body = { .source.ptr = call, .read_callback = read_out };

	if (!call->conn || call->end)
		return -EPIPE;
	if (call->out.len - call->out_done + len > GRPC_MESSAGE_MAX + GRPC_HEAD)
		return -ENOBUFS;
	if (call->out_done) {
		memmove(call->out.s, call->out.s + call->out_done, call->out.len - call->out_done);
		call->out.len -= call->out_done;
		call->out_done = 0;
	}
	grpc_frame_put(&call->out, msg, len);
	if (call->begun) {
		nghttp2_session_resume_data(call->conn->session, call->id);
		return 0;
	}
	call->begun = true;
	return nghttp2_submit_response(call->conn->session, call->id, h, ARRAY_SIZE(h), &body) == 0 ? 0 : -EPIPE;
}

int grpc_call_end(struct grpc_call *call, int status, const char *message)
{
	if (!call->conn || call->end)
		return -EPIPE;
	call->end = true;
	call->status = status;
	if (message && *message)
		grpc_text_encode(&call->text, message);
	if (call->begun) {
		nghttp2_session_resume_data(call->conn->session, call->id);
		return 0;
	}
	return submit_end(call) == 0 ? 0 : -EPIPE;
}

/* Answer a request that is not taken. */
static void refuse(struct grpc_call *call, int status, const char *text)
{
	if (call->refused)
		return;
	call->refused = true;
	strbuf_free(&call->in.body);
	grpc_call_end(call, status, text);
}

/* The refusal is on its way: no more of the request is wanted. (Submitted with it, the reset would overtake it.) */
static int on_sent(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct grpc_call *call = f->hd.type == NGHTTP2_HEADERS ? call_of(s, f->hd.stream_id) : NULL;

	if (call && call->refused && nghttp2_session_get_stream_remote_close(s, call->id) == 0)
		nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct grpc_conn *c = arg;
	struct grpc_call *call;

	if (!c->server || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (c->n_calls >= GRPC_CALLS_MAX)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	call = call_new(c, f->hd.stream_id);
	if (!call)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return nghttp2_session_set_stream_user_data(s, f->hd.stream_id, call) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool is(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && !memcmp(name, want, len);
}

/* A short decimal number, -1 if it is none. */
static int small(const uint8_t *v, size_t len)
{
	int n = 0;

	if (len == 0 || len > 3)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return -1;
		n = n * 10 + v[i] - '0';
	}
	return n;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_call *call = call_of(s, f->hd.stream_id);
	struct grpc_conn *c = arg;

	if (!call)
		return 0;
	if (is(name, name_len, "content-type")) {
		call->grpc = value_len >= 16 && !memcmp(value, "application/grpc", 16);
	} else if (c->server) {
		if (is(name, name_len, ":path") && !call->path && value_len <= PATH_MAX_LEN)
			call->path = strndup((const char *)value, value_len);
		else if (is(name, name_len, "grpc-timeout"))
			grpc_timeout_parse((const char *)value, value_len, &call->timeout);
	} else if (is(name, name_len, ":status")) {
		call->http_status = small(value, value_len);
	} else if (is(name, name_len, "grpc-status")) {
		call->status = small(value, value_len);
		if (call->status < 0)
			call->status = GRPC_UNKNOWN;
	} else if (is(name, name_len, "grpc-message") && !call->text.len) {
		grpc_text_decode(&call->text, (const char *)value, value_len < TEXT_MAX ? value_len : TEXT_MAX);
	}
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
	struct grpc_call *call = call_of(s, id);
	struct grpc_conn *c = arg;

	if (!call || call->bad || call->refused)
		return 0;
	call->bad = grpc_frame_add(&call->in, data, n, c->max_message);
	if (!call->bad)
		return 0;
	if (!c->server)
		nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	else if (call->bad == -EMSGSIZE)
		refuse(call, GRPC_RESOURCE_EXHAUSTED, "the message is larger than is taken here");
	else
		refuse(call, GRPC_UNIMPLEMENTED, "compressed messages and streams of requests are not taken here");
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct grpc_conn *c = arg;
	struct grpc_call *call;

	if (!c->server || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	call = call_of(s, f->hd.stream_id);
	if (!call || call->refused)
		return 0;
	if (!call->path || !call->grpc)
		refuse(call, GRPC_UNIMPLEMENTED, "this socket speaks gRPC only");
	else if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	else if (!grpc_frame_whole(&call->in))
		refuse(call, GRPC_INTERNAL, "the request ended within its message");
	else
		call->ready = true;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	struct grpc_call *call = call_of(s, id);

	if (call) {
		call->reset = code;
		call_close(arg, call);
	}
	return 0;
}

static int settings(struct grpc_conn *c)
{
	const nghttp2_settings_entry e[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_CALLS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->server ? NGHTTP2_INITIAL_WINDOW_SIZE : WINDOW },
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
	};

	/* at once, before the other side speaks: grpc-go waits for it */
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, e, c->server ? 2 : 3) != 0)
		return -ENOMEM;
	if (!c->server && nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
		return -ENOMEM;
	return 0;
}

struct grpc_conn *grpc_conn_new(bool server, size_t max_message)
{
	struct grpc_conn *c = calloc(1, sizeof(*c));
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *o = NULL;
	int r = -1;

	if (c && nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&o) == 0) {
		c->server = server;
		c->max_message = max_message;
		nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
		nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
		nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
		nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
		/* kubelets before 1.26 send the socket's path as :authority, which nghttp2 would not let pass (kubernetes #112597) */
		nghttp2_option_set_no_http_messaging(o, 1);
		nghttp2_option_set_no_closed_streams(o, 1);
		r = server ? nghttp2_session_server_new2(&c->session, cb, c, o) : nghttp2_session_client_new2(&c->session, cb, c, o);
		if (r == 0)
			r = settings(c);
	}
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(o);
	return r == 0 ? c : grpc_conn_free(c);
}

struct grpc_conn *grpc_conn_free(struct grpc_conn *c)
{
	if (!c)
		return NULL;
	nghttp2_session_del(c->session); /* does not call on_close() for streams that are open */
	while (c->calls)
		call_close(c, c->calls);
	free(c);
	return NULL;
}

int grpc_conn_in(struct grpc_conn *c, const void *data, size_t n)
{
	ssize_t r = nghttp2_session_mem_recv(c->session, data, n);

	return r < 0 || (size_t)r != n ? -EPROTO : 0;
}

ssize_t grpc_conn_out(struct grpc_conn *c, const uint8_t **ret)
{
	ssize_t r = nghttp2_session_mem_send(c->session, ret);

	return r < 0 ? -EPROTO : r;
}

bool grpc_conn_done(const struct grpc_conn *c)
{
	return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

struct grpc_call *grpc_conn_calls(struct grpc_conn *c)
{
	return c->calls;
}

struct grpc_call *grpc_conn_ready(struct grpc_conn *c)
{
	for (struct grpc_call *call = c->calls; call; call = call->next)
		if (call->ready) {
			call->ready = false;
			call->refs++;
			return call;
		}
	return NULL;
}

struct grpc_call *grpc_conn_request(struct grpc_conn *c, const char *method, const void *msg, size_t len, unsigned timeout_ms)
{
	char timeout[16] = "";
	nghttp2_nv h[] = {
		nv(":method", "POST"), nv(":scheme", "http"), nv(":path", method), nv(":authority", "localhost"),
		nv("content-type", "application/grpc"), nv("te", "trailers"), nv("user-agent", "kvrail/" KVRAIL_VERSION),
		nv("grpc-timeout", timeout),
	};
	struct grpc_call *call = call_new(c, 0);
	nghttp2_data_provider body = { .source.ptr = call, .read_callback = read_out };

	if (!call)
		return NULL;
	snprintf(timeout, sizeof(timeout), "%um", timeout_ms % 100000000u);
	h[ARRAY_SIZE(h) - 1] = nv("grpc-timeout", timeout);
	grpc_frame_put(&call->out, msg, len);
	call->end = true;
	call->id = nghttp2_submit_request(c->session, NULL, h, ARRAY_SIZE(h), &body, call);
	if (call->id < 0) {
		call_close(c, call);
		return NULL;
	}
	call->refs++;
	return call;
}
