/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Informers: list, watch from the list's resourceVersion, resume after a cut, list again when the server has forgotten that version.
 * kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of changes".
 */
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/kube-private.h"

/* A bookmark comes about once a minute: a watch that is silent for longer has lost its server without noticing. */
#define SILENCE_MS   150000
#define LIST_MS	     60000 /* for one page */
#define WATCH_S	     300 /* to twice that: the server ends it, so that watches spread over its replicas */
#define PAUSE_MS     200
#define PAUSE_MAX_MS 10000
#define SHORT_NS     1000000000ull /* a watch that ends sooner did not work */
#define LONG_NS	     10000000000ull

struct informer {
	struct kube *k;
	struct arena *arena;
	struct informer_spec spec;
	struct http_cancel *cancel;
	pthread_t thread;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct kube_cache cache;
	bool synced, watching;
	uint64_t lost_ns; /* since when it does not watch */
	struct err why;

	/* of the thread alone */
	char version[128];
	struct kube_cache fresh; /* what a list has brought so far */
	struct kube_lines lines;
	struct err *e; /* of the watch that runs */
	bool moved;    /* the watch worked: it brought something, or ran for long */
};

static const char *keep_all(struct arena *a, yyjson_val *obj)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_val_mut_copy(doc, obj);

	yyjson_mut_obj_remove_key(yyjson_mut_obj_get(v, "metadata"), "managedFields");
	return doc_mut_to_json(a, v, false);
}

/* What to keep of an object; NULL: nothing. */
static struct kube_entry *entry_of(struct informer *in, yyjson_val *obj)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *meta = yyjson_obj_get(obj, "metadata");
	const char *json = in->spec.keep ? in->spec.keep(in->spec.arg, a, obj) : keep_all(a, obj);

	if (!json || !doc_str(meta, "name"))
		return NULL;
	return kube_entry_new(doc_str(meta, "namespace"), doc_str(meta, "name"), doc_str(meta, "uid"), doc_str(meta, "resourceVersion"), json);
}

static void emit(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct informer *in = arg;

	if (in->spec.event)
		in->spec.event(in->spec.arg, what, was, is);
}

/* An object that is there with this state. */
static void apply(struct informer *in, struct kube_entry *new)
{
	struct kube_entry *old;

	pthread_mutex_lock(&in->lock);
	old = kube_cache_put(&in->cache, new);
	pthread_mutex_unlock(&in->lock);
	if (!old) {
		emit(in, INFORMER_ADDED, NULL, &new->o);
	} else if (strcmp(old->o.uid, new->o.uid)) {
		emit(in, INFORMER_DELETED, &old->o, NULL);
		emit(in, INFORMER_ADDED, NULL, &new->o);
	} else if (strcmp(old->o.json, new->o.json)) {
		emit(in, INFORMER_CHANGED, &old->o, &new->o);
	}
	free(old);
}

static void forget(struct informer *in, const char *ns, const char *name)
{
	struct kube_entry *old;

	pthread_mutex_lock(&in->lock);
	old = kube_cache_take(&in->cache, ns ? ns : "", name ? name : "");
	pthread_mutex_unlock(&in->lock);
	if (old)
		emit(in, INFORMER_DELETED, &old->o, NULL);
	free(old);
}

static void set_version(struct informer *in, const char *version)
{
	if (version && *version && strlen(version) < sizeof(in->version))
		strcpy(in->version, version);
}

static int on_listed(void *arg, yyjson_val *obj)
{
	struct informer *in = arg;
	struct kube_entry *new = entry_of(in, obj);

	if (new)
		free(kube_cache_put(&in->fresh, new));
	return 0;
}

static int list(struct informer *in, int *retry_after_s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_page page = { .single = true };
	struct kube_cache old;
	int r;

	do {
		r = kube_list_page(in->k, a, &in->spec.ref, &in->spec.select, &page, LIST_MS, in->cancel, on_listed, in, e);
	} while (r == 0 && page.next);
	*retry_after_s = page.retry_after_s;
	if (r < 0) {
		kube_cache_free(&in->fresh);
		return r;
	}
	set_version(in, page.version);
	pthread_mutex_lock(&in->lock);
	old = in->cache;
	in->cache = in->fresh;
	pthread_mutex_unlock(&in->lock);
	in->fresh = (struct kube_cache){ 0 };
	/* only this thread changes the cache: it can be read without the lock */
	kube_cache_diff(&old, &in->cache, emit, in);
	kube_cache_free(&old);
	pthread_mutex_lock(&in->lock);
	in->synced = true;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
	if (in->spec.synced)
		in->spec.synced(in->spec.arg);
	malloc_trim(0);
	return 0;
}

/* The server ends a watch with a Status. */
static int on_error(struct informer *in, yyjson_val *status)
{
	const char *text = doc_str(status, "message");
	bool gone = doc_int(status, "code", 0) == 410;

	return err_set(in->e, gone ? -ENODATA : -EREMOTEIO, "the API server ended the watch of %s: %s", in->spec.ref.plural,
		       text ? text : "without a reason");
}

static int on_line(void *arg, char *text, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct informer *in = arg;
	yyjson_val *v, *obj, *meta;
	struct kube_entry *new;
	const char *type;
	int r;

	r = doc_parse_json(a, "a line of the watch", text, len, KUBE_OBJECT_MAX, &v, in->e);
	if (r < 0)
		return r;
	type = doc_str(v, "type");
	obj = yyjson_obj_get(v, "object");
	meta = yyjson_obj_get(obj, "metadata");
	in->moved = true;
	if (!type)
		return err_set(in->e, -EPROTO, "a line of the watch of %s has no type", in->spec.ref.plural);
	if (!strcmp(type, "ERROR"))
		return on_error(in, obj);
	if (!strcmp(type, "DELETED")) {
		forget(in, doc_str(meta, "namespace"), doc_str(meta, "name"));
	} else if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED")) {
		new = entry_of(in, obj);
		if (new)
			apply(in, new);
		else
			forget(in, doc_str(meta, "namespace"), doc_str(meta, "name"));
	}
	set_version(in, doc_str(meta, "resourceVersion"));
	return 0;
}

static int on_data(void *arg, const char *p, size_t n)
{
	struct informer *in = arg;
	int r = kube_lines_feed(&in->lines, p, n, on_line, in);

	if (r == -EFBIG)
		err_set(in->e, r, "an object of the watch of %s is larger than %u bytes", in->spec.ref.plural, KUBE_OBJECT_MAX);
	return r;
}

static void on_begun(void *arg)
{
	struct informer *in = arg;

	pthread_mutex_lock(&in->lock);
	in->watching = true;
	in->why = (struct err){ 0 };
	pthread_mutex_unlock(&in->lock);
}

static void lose(struct informer *in)
{
	pthread_mutex_lock(&in->lock);
	if (in->watching)
		in->lost_ns = clock_ns();
	in->watching = false;
	pthread_mutex_unlock(&in->lock);
}

/* Until the server ends it (0) or something does. */
static int watch(struct informer *in, int *retry_after_s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ask q = {
		.verb = KUBE_WATCH, .method = "GET", .ref = &in->spec.ref, .repeatable = true, .single = true, .stream = true,
		.idle_ms = SILENCE_MS, .data = on_data, .begun = on_begun, .arg = in, .cancel = in->cancel,
	};
	_cleanup_reply_ struct http_reply reply = { 0 };
	uint64_t start = clock_ns();
	int r;

	q.target = kube_target(a, &in->spec.ref,
			       arena_printf(a, "watch=1&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%u%s", in->version,
					    WATCH_S + kube_random() % WATCH_S, kube_selectors(a, &in->spec.select)));
	in->lines.tail.len = 0;
	in->e = e;
	r = kube_ask(in->k, &q, &reply, e);
	*retry_after_s = reply.retry_after_s;
	lose(in);
	strbuf_free(&in->lines.tail);
	if (clock_ns() - start > LONG_NS) /* it worked; that it ends is nothing to be careful about */
		in->moved = true;
	if (r == 0 && !in->moved && clock_ns() - start < SHORT_NS)
		return err_set(e, -ECONNRESET, "the API server ended the watch of %s at once", in->spec.ref.plural);
	return r;
}

static unsigned pause_of(unsigned failures, int r, int retry_after_s)
{
	unsigned ms = kube_backoff(failures, PAUSE_MS, PAUSE_MAX_MS, kube_random());

	/* what no waiting of ours changes, a missing CRD or role, is asked for less often */
	if ((r == -ENOENT || r == -EPERM || r == -EACCES) && ms < PAUSE_MAX_MS / 2)
		ms += PAUSE_MAX_MS / 4;
	if (retry_after_s > 0 && retry_after_s < 600)
		ms += (unsigned)retry_after_s * 1000;
	return ms;
}

static void *run(void *arg)
{
	struct informer *in = arg;
	bool listed = false;
	unsigned failures = 0;

	while (!http_is_cancelled(in->cancel)) {
		struct err e = { 0 };
		int retry_after_s = -1, r;

		in->moved = false;
		r = listed ? watch(in, &retry_after_s, &e) : list(in, &retry_after_s, &e);

		if (r == 0) {
			failures = 0;
			listed = true;
			continue;
		}
		if (r == -ECANCELED)
			break;
		if (r == -ENODATA)
			listed = false;
		if (in->moved)
			failures = 0;
		log_debug("%s: %s", in->spec.ref.plural, e.msg);
		pthread_mutex_lock(&in->lock);
		in->why = e;
		pthread_mutex_unlock(&in->lock);
		if (r != -ENODATA || failures) /* the first time at once */
			http_cancel_sleep(in->cancel, pause_of(failures, r, retry_after_s));
		failures++;
	}
	return NULL;
}

static void copy_spec(struct informer *in, const struct informer_spec *spec)
{
	struct arena *a = in->arena;

	in->spec = *spec;
	in->spec.ref.group = arena_strdup(a, spec->ref.group);
	in->spec.ref.version = arena_strdup(a, spec->ref.version);
	in->spec.ref.plural = arena_strdup(a, spec->ref.plural);
	in->spec.ref.namespace = arena_strdup(a, spec->ref.namespace);
	in->spec.ref.name = NULL;
	in->spec.ref.sub = NULL;
	in->spec.select.labels = arena_strdup(a, spec->select.labels);
	in->spec.select.fields = arena_strdup(a, spec->select.fields);
}

static struct informer *informer_free(struct informer *in)
{
	kube_cache_free(&in->cache);
	http_cancel_free(in->cancel);
	pthread_cond_destroy(&in->changed);
	pthread_mutex_destroy(&in->lock);
	arena_free(in->arena);
	return NULL;
}

int informer_start(struct kube *k, const struct informer_spec *spec, struct informer **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct informer *in = arena_alloc(a, sizeof(*in));
	int r;

	in->k = k;
	in->arena = a;
	copy_spec(in, spec);
	in->cancel = http_cancel_new();
	in->lines.max = KUBE_OBJECT_MAX;
	in->lost_ns = clock_ns();
	pthread_mutex_init(&in->lock, NULL);
	clock_cond_init(&in->changed);
	r = kube_thread(&in->thread, run, in, e);
	if (r < 0) {
		informer_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

struct informer *informer_stop(struct informer *in)
{
	if (!in)
		return NULL;
	http_cancel(in->cancel);
	pthread_join(in->thread, NULL);
	return informer_free(in);
}

bool informer_wait(struct informer *in, unsigned timeout_ms, struct err *e)
{
	struct timespec until = clock_deadline(timeout_ms);
	bool synced;
	int r = 0;

	pthread_mutex_lock(&in->lock);
	while (!in->synced && r == 0)
		r = pthread_cond_timedwait(&in->changed, &in->lock, &until);
	synced = in->synced;
	if (!synced && in->why.msg[0])
		err_set(e, in->why.code, "%s", in->why.msg);
	else if (!synced)
		err_set(e, -EAGAIN, "%s of %s are still being listed", in->spec.ref.plural, kube_server(in->k));
	pthread_mutex_unlock(&in->lock);
	return synced;
}

unsigned informer_stale_s(struct informer *in, struct err *e)
{
	unsigned s;

	pthread_mutex_lock(&in->lock);
	s = in->watching ? 0 : (unsigned)((clock_ns() - in->lost_ns) / 1000000000);
	if (!in->watching && e)
		*e = in->why;
	pthread_mutex_unlock(&in->lock);
	return s;
}

static void copy_object(struct arena *a, const struct informer_object *o, struct informer_object *ret)
{
	ret->namespace = arena_strdup(a, o->namespace);
	ret->name = arena_strdup(a, o->name);
	ret->uid = arena_strdup(a, o->uid);
	ret->version = arena_strdup(a, o->version);
	ret->json = arena_strdup(a, o->json);
}

int informer_get(struct informer *in, struct arena *a, const char *ns, const char *name, struct informer_object *ret)
{
	bool found;
	size_t at;

	pthread_mutex_lock(&in->lock);
	at = kube_cache_find(&in->cache, ns ? ns : "", name, &found);
	if (found)
		copy_object(a, &in->cache.v[at]->o, ret);
	pthread_mutex_unlock(&in->lock);
	return found ? 0 : -ENOENT;
}

size_t informer_all(struct informer *in, struct arena *a, struct informer_object **ret)
{
	size_t n;

	pthread_mutex_lock(&in->lock);
	n = in->cache.n;
	*ret = arena_alloc(a, n * sizeof(**ret));
	for (size_t i = 0; i < n; i++)
		copy_object(a, &in->cache.v[i]->o, &(*ret)[i]);
	pthread_mutex_unlock(&in->lock);
	return n;
}
