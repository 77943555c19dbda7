/* SPDX-License-Identifier: Apache-2.0 */
/* One call. */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "rpc/http-private.h"

#define BODY_MAX	(16u << 20)
#define POLL_MS		10000
#define RETRY_AFTER_MAX 86400

struct call {
	const struct http_request *rq;
	struct http_slot *slot;
	struct http_reply *reply;
	struct strbuf body;
	size_t max;
	unsigned sends;
	bool begun, too_big, again;
	int stop; /* what a callback of the caller returned */
	uint64_t last_ns; /* when a byte came */
};

static bool is_good(const struct call *c)
{
	return c->reply->status / 100 == 2;
}

static void note_status(struct call *c)
{
	long status = 0;

	curl_easy_getinfo(c->slot->easy, CURLINFO_RESPONSE_CODE, &status);
	c->reply->status = (int)status;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;

	n *= size;
	c->last_ns = clock_ns();
	note_status(c);
	if (is_good(c) && c->rq->data) {
		c->stop = c->rq->data(c->rq->arg, p, n);
		return c->stop ? 0 : n;
	}
	if (n > c->max - c->body.len) {
		c->too_big = true;
		return 0;
	}
	strbuf_add(&c->body, p, n);
	return n;
}

/* Seconds, or a date of HTTP; -1 for neither. */
static int retry_after(const char *value)
{
	uint64_t n;
	time_t at;

	if (parse_u64(value, 10, 0, RETRY_AFTER_MAX, &n) == 0)
		return (int)n;
	at = curl_getdate(value, NULL);
	if (at < 0)
		return -1;
	at -= time(NULL);
	return at < 0 ? 0 : at > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : (int)at;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	_cleanup_free_ char *line = strndup(p, n * size);
	char *value, *end;

	if (!line)
		abort();
	c->last_ns = clock_ns();
	for (end = line + strlen(line); end > line && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	if (!*line) { /* the end of the head; "100 Continue" has one too */
		note_status(c);
		if (is_good(c) && !c->begun && c->rq->begun)
			c->rq->begun(c->rq->arg);
		c->begun = c->begun || is_good(c);
		return n * size;
	}
	value = strchr(line, ':');
	if (!value)
		return n * size;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (char *s = line; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	if (!strcmp(line, "retry-after"))
		c->reply->retry_after_s = retry_after(value);
	if (c->rq->header)
		c->rq->header(c->rq->arg, line, value);
	return n * size;
}

/* Before a request goes out, and again when libcurl would repeat it over another connection. */
static int on_send(void *arg, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
	struct call *c = arg;

	c->again = c->sends++ && c->rq->once;
	if (c->again)
		return CURL_PREREQFUNC_ABORT;
	c->reply->sent = true;
	return CURL_PREREQFUNC_OK;
}

static int cancel_begin(struct http_cancel *cancel, CURLM *m)
{
	int r;

	if (!cancel)
		return 0;
	pthread_mutex_lock(&cancel->lock);
	r = cancel->cancelled ? -ECANCELED : 0;
	cancel->running = r ? NULL : m;
	pthread_mutex_unlock(&cancel->lock);
	return r;
}

static void cancel_end(struct http_cancel *cancel)
{
	if (!cancel)
		return;
	pthread_mutex_lock(&cancel->lock);
	cancel->running = NULL;
	pthread_mutex_unlock(&cancel->lock);
}

/* Milliseconds until the call has lasted too long, at most POLL_MS; 0: it has. */
static unsigned time_left(const struct call *c, uint64_t start_ns)
{
	unsigned idle_ms = c->rq->begin_ms && !c->reply->status ? c->rq->begin_ms : c->rq->idle_ms;
	uint64_t now = clock_ns(), left = POLL_MS, ms;

	if (c->rq->timeout_ms) {
		ms = (now - start_ns) / 1000000;
		ms = ms < c->rq->timeout_ms ? c->rq->timeout_ms - ms : 0;
		left = ms < left ? ms : left;
	}
	if (idle_ms) {
		ms = (now - c->last_ns) / 1000000;
		ms = ms < idle_ms ? idle_ms - ms : 0;
		left = ms < left ? ms : left;
	}
	return (unsigned)left;
}

static CURLcode result_of(CURLM *m)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(m, &left)))
		if (msg->msg == CURLMSG_DONE)
			return msg->data.result;
	return CURLE_AGAIN;
}

/* libcurl's result, or CURLE_AGAIN with *ret the errno of what ended it here. */
static CURLcode transfer(struct call *c, uint64_t start_ns, int *ret)
{
	CURLM *m = c->slot->multi;
	unsigned wait;
	int running;

	for (;;) {
		if (curl_multi_perform(m, &running))
			return CURLE_OUT_OF_MEMORY;
		if (!running)
			return result_of(m);
		if (http_is_cancelled(c->rq->cancel)) {
			*ret = -ECANCELED;
			return CURLE_AGAIN;
		}
		wait = time_left(c, start_ns);
		if (!wait) {
			*ret = -ETIMEDOUT;
			return CURLE_AGAIN;
		}
		curl_multi_poll(m, NULL, 0, (int)wait, NULL);
	}
}

static int failure(const struct call *c, CURLcode code, const char *text, struct err *e)
{
	const char *what = *text ? text : curl_easy_strerror(code);

	if (c->stop)
		return c->stop;
	if (c->too_big)
		return err_set(e, -EFBIG, "the reply is larger than %zu bytes", c->max);
	if (c->again)
		return err_set(e, -ECONNRESET, "the connection broke before an answer came");
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return err_set(e, -EHOSTUNREACH, "%s", what);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, -ETIMEDOUT, "%s", what);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return err_set(e, -EKEYREJECTED, "%s", what);
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return err_set(e, -ENOKEY, "%s", what);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return err_set(e, -ECONNRESET, "%s", what);
	default:
		return err_set(e, -EPROTO, "%s", what);
	}
}

static void slist_free(struct curl_slist **l)
{
	curl_slist_free_all(*l);
}

static struct curl_slist *slist_of(const char *const *words)
{
	struct curl_slist *l = NULL;

	for (; words && *words; words++) {
		struct curl_slist *longer = curl_slist_append(l, *words);

		if (!longer)
			abort();
		l = longer;
	}
	return l;
}

static void set_request(struct http *h, struct call *c, const char *url, struct curl_slist *headers,
			struct curl_slist *connect_to, char *error)
{
	const struct http_request *rq = c->rq;
	CURL *easy = c->slot->easy;

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (rq->body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, rq->body);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, rq->method);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, c);
}

int http_do(struct http *h, const struct http_request *rq, struct http_reply *ret, struct err *e)
{
	const char *to[] = { h->connect_to, NULL };
	_cleanup_(slist_free) struct curl_slist *headers = slist_of(rq->headers), *connect_to = slist_of(to);
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT;
	struct call c = { .rq = rq, .reply = ret, .max = rq->max_body ? rq->max_body : BODY_MAX };
	char error[CURL_ERROR_SIZE] = "";
	uint64_t start_ns = clock_ns();
	CURLcode code;
	int r;

	*ret = (struct http_reply){ .retry_after_s = -1 };
	r = http_take(h, rq->stream, rq->timeout_ms, &c.slot, e);
	if (r < 0)
		return r;
	r = cancel_begin(rq->cancel, c.slot->multi);
	if (r < 0) {
		http_put(h, c.slot, rq->stream, false);
		return err_set(e, r, "cancelled");
	}
	strbuf_addf(&url, "%s%s", h->url, rq->target);
	set_request(h, &c, url.s, headers, connect_to, error);
	c.last_ns = start_ns;
	curl_multi_add_handle(c.slot->multi, c.slot->easy);
	code = transfer(&c, start_ns, &r);
	note_status(&c);
	curl_multi_remove_handle(c.slot->multi, c.slot->easy);
	cancel_end(rq->cancel);
	curl_easy_setopt(c.slot->easy, CURLOPT_ERRORBUFFER, NULL);
	http_put(h, c.slot, rq->stream, code != CURLE_OK && !c.stop);
	if (code == CURLE_OK) {
		ret->len = c.body.len;
		ret->body = strbuf_take(&c.body);
		return 0;
	}
	strbuf_free(&c.body);
	if (r == -ECANCELED)
		return err_set(e, r, "cancelled");
	if (r == -ETIMEDOUT)
		return err_set(e, r, "no answer for %llu ms", (unsigned long long)((clock_ns() - c.last_ns) / 1000000));
	return failure(&c, code, error, e);
}

void http_reply_free(struct http_reply *r)
{
	free(r->body);
	r->body = NULL;
}

struct http_cancel *http_cancel_new(void)
{
	struct http_cancel *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	pthread_mutex_init(&c->lock, NULL);
	clock_cond_init(&c->changed);
	return c;
}

struct http_cancel *http_cancel_free(struct http_cancel *c)
{
	if (!c)
		return NULL;
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void http_cancel(struct http_cancel *c)
{
	pthread_mutex_lock(&c->lock);
	c->cancelled = true;
	if (c->running)
		curl_multi_wakeup(c->running);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

bool http_is_cancelled(struct http_cancel *c)
{
	bool is;

	if (!c)
		return false;
	pthread_mutex_lock(&c->lock);
	is = c->cancelled;
	pthread_mutex_unlock(&c->lock);
	return is;
}

void http_cancel_sleep(struct http_cancel *c, unsigned ms)
{
	struct timespec until;

	if (!c) {
		clock_sleep_ms(ms);
		return;
	}
	until = clock_deadline(ms);
	pthread_mutex_lock(&c->lock);
	while (!c->cancelled && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
		;
	pthread_mutex_unlock(&c->lock);
}

char *http_escape(const char *s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	struct strbuf b = STRBUF_INIT;

	for (; *s; s++) {
		if (strchr(plain, *s))
			strbuf_addch(&b, *s);
		else
			strbuf_addf(&b, "%%%02X", (unsigned char)*s);
	}
	return strbuf_take(&b);
}
