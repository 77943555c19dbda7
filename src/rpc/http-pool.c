/* SPDX-License-Identifier: Apache-2.0 */
/* The server that a client speaks to, and its connections. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "rpc/http-private.h"

#define MAX_CALLS     8
#define CONNECT_MS    10000
#define IDLE_KEEP_NS  60000000000ull /* connections beyond the first */
#define DEAD_PEER_MS  30000

static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy(const char *s)
{
	char *c = s ? strdup(s) : NULL;

	if (s && !c)
		abort();
	return c;
}

static void pem_clear(struct http_pem *p)
{
	if (p->path[0])
		close(p->fd);
	p->path[0] = '\0';
}

static int pem_set(struct http_pem *p, const char *text, struct err *e)
{
	_cleanup_close_ int fd = -1;
	size_t len;

	pem_clear(p);
	if (!text)
		return 0;
	len = strlen(text);
	fd = memfd_create("pem", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_errno(e, -errno, "keeping a certificate in memory");
	snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d", fd);
	p->fd = TAKE_FD(fd);
	return 0;
}

static void url_cleanup(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void curl_freep(char **s)
{
	curl_free(*s);
}

/*
 * "10.0.0.0/8" of the loopback, as text: no proxy of the environment stands between us and ourselves. (Go's net/http
 * never uses one there either.)
 */
static bool is_loopback(const char *host)
{
	return !strcmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
}

static int set_url(struct http *h, const struct http_options *o, struct err *e)
{
	_cleanup_(url_cleanup) CURLU *u = curl_url();
	_cleanup_(curl_freep) char *host = NULL, *port = NULL, *scheme = NULL, *whole = NULL;
	const char *name = o->tls.server_name;
	size_t len;

	if (!u || curl_url_set(u, CURLUPART_URL, o->url, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    (strcmp(scheme, "https") && strcmp(scheme, "http")))
		return err_set(e, -EINVAL, "'%s' is no URL of a server: https://HOST:PORT is wanted", o->url);
	h->loopback = is_loopback(host);
	if (name && *name && strcmp(name, host)) {
		_cleanup_strbuf_ struct strbuf to = STRBUF_INIT;

		strbuf_addf(&to, "%s:%s:%s:%s", name, port, host, port);
		if (curl_url_set(u, CURLUPART_HOST, name, 0))
			return err_set(e, -EINVAL, "'%s' is no name of a TLS server", name);
		h->connect_to = strbuf_take(&to);
	}
	if (curl_url_get(u, CURLUPART_URL, &whole, 0))
		return err_set(e, -EINVAL, "'%s' is no URL of a server: https://HOST:PORT is wanted", o->url);
	h->url = copy(whole);
	for (len = strlen(h->url); len && h->url[len - 1] == '/'; len--) /* targets begin with one */
		h->url[len - 1] = '\0';
	return 0;
}

int http_open(const struct http_options *o, struct http **ret, struct err *e)
{
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		abort();
	pthread_once(&global_once, global_init);
	pthread_mutex_init(&h->lock, NULL);
	clock_cond_init(&h->room);
	h->max_calls = o->max_calls ? o->max_calls : MAX_CALLS;
	h->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
	h->proxy = copy(o->proxy);
	h->agent = copy(o->agent ? o->agent : "kvrail/" KVRAIL_VERSION);
	h->ca_file = copy(o->tls.ca_file);
	h->cert_file = copy(o->tls.cert_file);
	h->key_file = copy(o->tls.key_file);
	h->insecure = o->tls.insecure;
	r = set_url(h, o, e);
	if (r == 0)
		r = pem_set(&h->ca, o->tls.ca_pem, e);
	if (r == 0)
		r = pem_set(&h->cert, o->tls.cert_pem, e);
	if (r == 0)
		r = pem_set(&h->key, o->tls.key_pem, e);
	if (r < 0) {
		http_close(h);
		return r;
	}
	*ret = h;
	return 0;
}

static void slot_free(struct http_slot *s)
{
	curl_easy_cleanup(s->easy);
	curl_multi_cleanup(s->multi);
	free(s);
}

/* All from @at on. */
static void slots_free(struct http_slot *at)
{
	while (at) {
		struct http_slot *next = at->next;

		slot_free(at);
		at = next;
	}
}

struct http *http_close(struct http *h)
{
	if (!h)
		return NULL;
	slots_free(h->idle);
	pem_clear(&h->ca);
	pem_clear(&h->cert);
	pem_clear(&h->key);
	pem_clear(&h->last_cert);
	pem_clear(&h->last_key);
	free(h->url);
	free(h->connect_to);
	free(h->proxy);
	free(h->agent);
	free(h->ca_file);
	free(h->cert_file);
	free(h->key_file);
	pthread_cond_destroy(&h->room);
	pthread_mutex_destroy(&h->lock);
	free(h);
	return NULL;
}

void http_renew(struct http *h)
{
	struct http_slot *old;

	pthread_mutex_lock(&h->lock);
	h->generation++;
	old = TAKE_PTR(h->idle);
	pthread_mutex_unlock(&h->lock);
	slots_free(old);
}

int http_set_cert(struct http *h, const char *cert_pem, const char *key_pem, struct err *e)
{
	int r;

	pthread_mutex_lock(&h->lock);
	pem_clear(&h->last_cert);
	pem_clear(&h->last_key);
	h->last_cert = h->cert;
	h->last_key = h->key;
	h->cert = h->key = (struct http_pem){ 0 };
	r = pem_set(&h->cert, cert_pem, e);
	if (r == 0)
		r = pem_set(&h->key, key_pem, e);
	pthread_mutex_unlock(&h->lock);
	http_renew(h);
	return r;
}

/* A peer that died without a word is noticed within half a minute, also while nothing is sent. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	const unsigned dead_ms = DEAD_PEER_MS;
	const int on = 1, idle_s = 15, interval_s = 5, probes = 3;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
	return CURL_SOCKOPT_OK;
}

static struct http_slot *slot_new(struct http *h)
{
	struct http_slot *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->easy = curl_easy_init();
	s->multi = curl_multi_init();
	if (!s->easy || !s->multi)
		abort();
	curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, 1L);
	return s;
}

/* What is the same for every call; options of the call before are gone, the connection stays. */
static void prepare(struct http *h, struct http_slot *s)
{
	CURL *c = s->easy;
	const char *cert = h->cert.path[0] ? h->cert.path : h->cert_file;
	const char *key = h->key.path[0] ? h->key.path : h->key_file;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, h->agent);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_ms);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, on_socket);
	if (h->proxy || h->loopback)
		curl_easy_setopt(c, CURLOPT_PROXY, h->proxy ? h->proxy : "");
	if (h->ca.path[0] || h->ca_file) {
		curl_easy_setopt(c, CURLOPT_CAINFO, h->ca.path[0] ? h->ca.path : h->ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
	if (cert)
		curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
	if (key)
		curl_easy_setopt(c, CURLOPT_SSLKEY, key);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, h->insecure ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, h->insecure ? 0L : 2L);
}

int http_take(struct http *h, bool stream, unsigned timeout_ms, struct http_slot **ret, struct err *e)
{
	struct timespec until = clock_deadline(timeout_ms);
	struct http_slot *s;
	int r = 0;

	pthread_mutex_lock(&h->lock);
	while (!stream && h->running >= h->max_calls && r == 0)
		r = timeout_ms ? pthread_cond_timedwait(&h->room, &h->lock, &until) :
				 pthread_cond_wait(&h->room, &h->lock);
	if (r) {
		pthread_mutex_unlock(&h->lock);
		return err_set(e, -ETIMEDOUT, "all %u connections were in use for %u ms", h->max_calls, timeout_ms);
	}
	if (!stream)
		h->running++;
	s = h->idle;
	if (s)
		h->idle = s->next;
	else
		s = slot_new(h);
	s->next = NULL;
	s->generation = h->generation;
	prepare(h, s);
	pthread_mutex_unlock(&h->lock);
	*ret = s;
	return 0;
}

/* The connections that nobody needed for a minute, out of the list; the one used last stays. */
static struct http_slot *stale(struct http *h, uint64_t now)
{
	struct http_slot **at = h->idle ? &h->idle->next : NULL, *out;

	while (at && *at && now - (*at)->idle_ns < IDLE_KEEP_NS)
		at = &(*at)->next;
	if (!at)
		return NULL;
	out = *at;
	*at = NULL;
	return out;
}

void http_put(struct http *h, struct http_slot *s, bool stream, bool broken)
{
	struct http_slot *old;

	pthread_mutex_lock(&h->lock);
	if (!stream)
		h->running--;
	broken = broken || s->generation != h->generation;
	if (!broken) {
		s->idle_ns = clock_ns();
		s->next = h->idle;
		h->idle = s;
	}
	old = stale(h, clock_ns());
	pthread_cond_signal(&h->room);
	pthread_mutex_unlock(&h->lock);
	if (broken)
		slot_free(s);
	slots_free(old);
}
