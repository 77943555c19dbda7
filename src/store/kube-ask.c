/* SPDX-License-Identifier: Apache-2.0 */
/* One request, until there is an answer that stays so. */
#include <string.h>

#include "base/clock.h"
#include "store/kube-private.h"

#define IDLE_MS	   15000
#define HEADERS_MAX 16

/* The client's certificate authority does not know the server. */
static int untrusted(struct kube *k, struct err *e)
{
	const struct http_tls *t = &k->config->tls;

	err_append(e, -EKEYREJECTED, "; the certificate of %s does not fit %s%s of %s: the kubeconfig is of another cluster, or the cluster's "
				     "CA was replaced: get a new kubeconfig",
		   k->config->server, t->ca_file ? "the certificate-authority " : t->ca_pem ? "the certificate-authority-data" : "what this system trusts",
		   t->ca_file ? t->ca_file : "", k->config->source);
	return -EKEYREJECTED;
}

/* The words for no answer at all. */
static int no_answer(struct kube *k, const struct kube_ask *q, int r, const struct http_reply *reply, struct err *e)
{
	switch (r) {
	case -ECANCELED:
	case -EFBIG:
		return err_wrap(e, r, "%s", k->config->server);
	case -EKEYREJECTED:
		return untrusted(k, e);
	case -ENOKEY:
		return err_wrap(e, r, "%s", k->config->source);
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -ECONNRESET:
	case -EPROTO:
		break;
	default:
		return r; /* a callback's */
	}
	err_wrap(e, -EHOSTUNREACH, "the API server %s (%s) does not answer", k->config->server, k->config->source);
	if (reply->sent && !q->repeatable)
		err_append(e, -EHOSTUNREACH, "; whether the change was made is not known");
	return -EHOSTUNREACH;
}

static uint64_t left_ms(uint64_t end_ns)
{
	uint64_t now = clock_ns();

	return now < end_ns ? (end_ns - now) / 1000000 : 0;
}

struct try {
	struct kube *k;
	const struct kube_ask *q;
};

static int on_data(void *arg, const char *p, size_t n)
{
	const struct try *t = arg;

	return t->q->data(t->q->arg, p, n);
}

static void on_begun(void *arg)
{
	const struct try *t = arg;

	if (t->q->begun)
		t->q->begun(t->q->arg);
}

/* RFC 7234, 5.5, as the API server writes it: 299 - "text" */
static void on_header(void *arg, const char *name, const char *value)
{
	const struct try *t = arg;
	_cleanup_free_ char *text = NULL;
	const char *quote;
	char *out;

	if (strcmp(name, "warning") || strncmp(value, "299 ", 4) || !(quote = strchr(value, '"')))
		return;
	out = text = strdup(quote + 1);
	if (!text)
		abort();
	for (const char *s = quote + 1; *s && *s != '"'; s++) {
		s += *s == '\\' && s[1];
		*out++ = *s;
	}
	*out = '\0';
	t->k->warning(text);
}

/* Without an answer for so long, something is wrong with the way there: a read is worth another try then. */
static unsigned patience_ms(const struct kube_ask *q, unsigned timeout_ms)
{
	unsigned half = timeout_ms / 2;

	if (q->stream)
		return IDLE_MS;
	return !q->repeatable ? timeout_ms : half > IDLE_MS ? half : timeout_ms < IDLE_MS ? timeout_ms : IDLE_MS;
}

/* One try; its token is that of the moment. */
static int try_once(struct kube *k, const struct kube_ask *q, bool refused, unsigned timeout_ms, struct http_reply *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *token = NULL;
	const char *headers[HEADERS_MAX + 1];
	struct try t = { k, q };
	struct http_request rq = {
		.method = q->method, .target = q->target, .headers = headers, .body = q->body, .len = q->body ? strlen(q->body) : 0,
		.timeout_ms = q->stream ? 0 : timeout_ms, .begin_ms = patience_ms(q, timeout_ms),
		.idle_ms = q->idle_ms ? q->idle_ms : patience_ms(q, timeout_ms), .max_body = KUBE_OBJECT_MAX, .stream = q->stream,
		.once = !q->repeatable, .data = q->data ? on_data : NULL, .begun = on_begun, .header = k->warning ? on_header : NULL, .arg = &t,
		.cancel = q->cancel,
	};
	size_t n = 0;
	int r;

	*ret = (struct http_reply){ .retry_after_s = -1 };
	r = kube_cred_get(k, refused, &token, e);
	if (r < 0)
		return r;
	headers[n++] = arena_printf(a, "Accept: %s", q->accept ? q->accept : "application/json");
	if (q->body)
		headers[n++] = arena_printf(a, "Content-Type: %s", q->type);
	if (token)
		headers[n++] = arena_printf(a, "Authorization: Bearer %s", token);
	if (k->config->as)
		headers[n++] = arena_printf(a, "Impersonate-User: %s", k->config->as);
	for (size_t i = 0; i < k->config->n_as_groups && n < HEADERS_MAX; i++)
		headers[n++] = arena_printf(a, "Impersonate-Group: %s", k->config->as_groups[i]);
	headers[n] = NULL;
	return http_do(k->http, &rq, ret, e);
}

static bool is_good(const struct http_reply *reply)
{
	return reply->status / 100 == 2;
}

int kube_ask(struct kube *k, const struct kube_ask *q, struct http_reply *ret, struct err *e)
{
	uint64_t end_ns = clock_ns() + (q->timeout_ms ? q->timeout_ms : k->timeout_ms) * 1000000ull;
	bool refused = false;
	struct err own;
	unsigned attempt;
	int r, pause;

	e = e ? e : &own;
	for (attempt = 0;; attempt++) {
		uint64_t left = left_ms(end_ns);

		e->msg[0] = '\0';
		r = try_once(k, q, refused, left ? (unsigned)left : 1, ret, e);
		if (r == -EACCES || (r == 0 && is_good(ret)))
			break;
		if (r < 0 && q->data && is_good(ret)) /* the caller has a part of it */
			break;
		if (r == 0 && ret->status == 401 && !refused) { /* once more with what the file, the program has now */
			refused = true;
			http_reply_free(ret);
			continue;
		}
		pause = q->single ? -1 : kube_retry(&(struct kube_try){ .r = r, .sent = ret->sent, .status = ret->status, .retry_after_s = ret->retry_after_s,
						       .repeatable = q->repeatable, .attempt = attempt, .left_ms = left_ms(end_ns),
						       .random = kube_random() });
		if (pause < 0) {
			r = r < 0 ? no_answer(k, q, r, ret, e) : kube_refused(k, q, ret, e);
			break;
		}
		http_reply_free(ret);
		http_cancel_sleep(q->cancel, (unsigned)pause);
	}
	if (r != -ECANCELED)
		kube_count(k, q->verb, r == 0, attempt);
	if (r < 0)
		http_reply_free(ret);
	return r;
}
