/* SPDX-License-Identifier: Apache-2.0 */
/* A candidate: take the Lease when it is free, renew it, notice in time that it is lost. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/election.h"

#define DURATION_MS 15000
#define RENEW_MS    10000
#define RETRY_MS    2000
#define CALL_MIN_MS 500

struct election {
	struct kube *k;
	struct arena *arena;
	struct election_options o;
	struct kube_ref ref;
	struct http_cancel *cancel;
	pthread_t thread;
	bool once;   /* lost is lost: it is not taken again */
	bool giving; /* it is being given back, after the end of all else */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	bool leader, ended;
	uint64_t renewed_ns; /* when the last renewal that succeeded began */
	char holder[256];
	struct err why;

	/* of the thread alone */
	struct lease_seen seen;
	struct arena *last_arena;
	yyjson_val *last; /* the Lease as it was last read or written; NULL: unknown */
};

static void forget(struct election *el)
{
	el->last_arena = arena_free(el->last_arena);
	el->last = NULL;
}

/* One request of the election; what comes back is the Lease from now on. */
static int ask(struct election *el, const char *method, const char *body, unsigned timeout_ms, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_reply_ struct http_reply reply = { 0 };
	bool create = !strcmp(method, "POST"), get = !strcmp(method, "GET");
	struct kube_ref collection = el->ref;
	uint64_t start = clock_ns();
	struct kube_ask q = {
		.verb = get ? KUBE_GET : create ? KUBE_CREATE : KUBE_UPDATE, .method = method, .type = "application/json", .body = body,
		.ref = &el->ref, .repeatable = !create, .timeout_ms = timeout_ms < CALL_MIN_MS ? CALL_MIN_MS : timeout_ms,
		.cancel = el->giving ? NULL : el->cancel,
	};
	int r;

	collection.name = NULL;
	q.target = kube_target(a, create ? &collection : &el->ref, NULL);
	r = kube_ask(el->k, &q, &reply, e);
	if (r < 0)
		return r;
	forget(el);
	el->last_arena = arena_new();
	r = doc_parse_json(el->last_arena, "the lease", reply.body, reply.len, KUBE_OBJECT_MAX, &el->last, e);
	if (r < 0) {
		forget(el);
		return r;
	}
	/* from before the request: what is counted from here ends rather too early */
	lease_note(&el->seen, yyjson_obj_get(el->last, "spec"), get ? clock_ns() : start);
	return 0;
}

/* Write @spec over the Lease that was last seen: -ESTALE when another wrote since. */
static int put_spec(struct election *el, yyjson_mut_doc *doc, struct arena *a, yyjson_mut_val *spec, unsigned timeout_ms, struct err *e)
{
	yyjson_mut_val *obj = yyjson_val_mut_copy(doc, el->last);

	yyjson_mut_obj_remove_key(obj, "spec");
	yyjson_mut_obj_remove_key(yyjson_mut_obj_get(obj, "metadata"), "managedFields");
	yyjson_mut_obj_add_val(doc, obj, "spec", spec);
	return ask(el, "PUT", doc_mut_to_json(a, obj, false), timeout_ms, e);
}

static int64_t duration_s(const struct election *el)
{
	return el->o.duration_ms >= 1000 ? el->o.duration_ms / 1000 : 1; /* client-go drops the rest too */
}

static int make_lease(struct election *el, unsigned timeout_ms, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *obj = yyjson_mut_obj(doc), *meta;
	char now[32];

	lease_now(now);
	el->seen = (struct lease_seen){ 0 };
	yyjson_mut_obj_add_str(doc, obj, "apiVersion", "coordination.k8s.io/v1");
	yyjson_mut_obj_add_str(doc, obj, "kind", "Lease");
	meta = yyjson_mut_obj_add_obj(doc, obj, "metadata");
	yyjson_mut_obj_add_str(doc, meta, "name", el->ref.name);
	yyjson_mut_obj_add_str(doc, meta, "namespace", el->ref.namespace);
	yyjson_mut_obj_add_val(doc, obj, "spec", lease_spec(doc, NULL, &el->seen, el->o.identity, duration_s(el), now));
	return ask(el, "POST", doc_mut_to_json(a, obj, false), timeout_ms, e);
}

static int write_ours(struct election *el, unsigned timeout_ms, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	char now[32];

	lease_now(now);
	return put_spec(el, doc, a, lease_spec(doc, yyjson_obj_get(el->last, "spec"), &el->seen, el->o.identity, duration_s(el), now),
			timeout_ms, e);
}

/* Take or renew. 0: it is ours; -EBUSY: another holds it; else what went wrong. */
static int take(struct election *el, unsigned timeout_ms, struct err *e)
{
	int r;

	if (el->leader && el->last) {
		r = write_ours(el, timeout_ms, e);
		if (r != -ESTALE && r != -ENOENT)
			return r;
	} /* somebody wrote in between: look */
	r = ask(el, "GET", NULL, timeout_ms, e);
	if (r == -ENOENT) {
		forget(el);
		r = make_lease(el, timeout_ms, e);
		return r == -EEXIST ? -EBUSY : r;
	}
	if (r < 0)
		return r;
	if (!lease_is_free(&el->seen, el->o.identity, clock_ns()))
		return err_set(e, -EBUSY, "the lease %s/%s is held by %s", el->ref.namespace, el->ref.name, el->seen.holder);
	r = write_ours(el, timeout_ms, e);
	return r == -ESTALE ? -EBUSY : r;
}

static void give_back(struct election *el)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	struct err e = { 0 };
	char now[32];

	if (!el->last)
		return;
	el->giving = true; /* the election's requests are cancelled by now; this one shall go out */
	lease_now(now);
	if (put_spec(el, doc, a, lease_spec_released(doc, &el->seen, now), RETRY_MS, &e) < 0)
		log_debug("giving the lease %s/%s back: %s", el->ref.namespace, el->ref.name, e.msg);
}

/* Only the election's thread changes the holder: it may read it without the lock. */
static void note_holder(struct election *el)
{
	if (!strcmp(el->holder, el->seen.holder))
		return;
	pthread_mutex_lock(&el->lock);
	snprintf(el->holder, sizeof(el->holder), "%s", el->seen.holder);
	pthread_mutex_unlock(&el->lock);
	if (el->o.observed)
		el->o.observed(el->o.arg, el->holder);
}

static void set_leader(struct election *el, bool leader, uint64_t renewed_ns)
{
	note_holder(el);
	pthread_mutex_lock(&el->lock);
	el->leader = leader;
	el->renewed_ns = renewed_ns;
	if (leader)
		el->why = (struct err){ 0 };
	pthread_cond_broadcast(&el->changed);
	pthread_mutex_unlock(&el->lock);
}

static void note_failure(struct election *el, const struct err *e)
{
	note_holder(el);
	pthread_mutex_lock(&el->lock);
	el->why = *e;
	pthread_mutex_unlock(&el->lock);
}

/* Hold it until it is lost or no longer wanted. */
static void lead(struct election *el)
{
	uint64_t limit_ns = el->o.renew_ms * 1000000ull, last = el->renewed_ns;

	if (el->o.started)
		el->o.started(el->o.arg);
	while (!http_is_cancelled(el->cancel)) {
		struct err e = { 0 };
		uint64_t start;
		int r;

		http_cancel_sleep(el->cancel, el->o.retry_ms);
		start = clock_ns();
		if (http_is_cancelled(el->cancel))
			break;
		if (start - last >= limit_ns)
			break;
		r = take(el, (unsigned)((limit_ns - (start - last)) / 1000000), &e);
		if (r == 0) {
			last = start;
			set_leader(el, true, start);
			continue;
		}
		note_failure(el, &e);
		if (r == -EBUSY && strcmp(el->seen.holder, el->o.identity)) /* another has it: no deadline to wait for */
			break;
	}
	set_leader(el, false, 0);
	if (el->o.stopped)
		el->o.stopped(el->o.arg);
}

static void *run(void *arg)
{
	struct election *el = arg;
	bool led = false;

	while (!http_is_cancelled(el->cancel) && !(el->once && led)) {
		struct err e = { 0 };
		uint64_t start = clock_ns();
		int r = take(el, el->o.renew_ms, &e);

		if (r == 0) {
			set_leader(el, true, start);
			led = true;
			lead(el);
			continue;
		}
		if (!e.msg[0])
			err_set(&e, r, "another candidate was faster");
		note_failure(el, &e);
		http_cancel_sleep(el->cancel, el->o.retry_ms + kube_random() % (el->o.retry_ms + el->o.retry_ms / 5 + 1));
	}
	if (led && el->o.release && !strcmp(el->seen.holder, el->o.identity))
		give_back(el);
	pthread_mutex_lock(&el->lock);
	el->ended = true;
	pthread_cond_broadcast(&el->changed);
	pthread_mutex_unlock(&el->lock);
	return NULL;
}

static struct election *election_free(struct election *el)
{
	forget(el);
	http_cancel_free(el->cancel);
	pthread_cond_destroy(&el->changed);
	pthread_mutex_destroy(&el->lock);
	arena_free(el->arena);
	return NULL;
}

static int start(struct kube *k, const struct election_options *o, bool once, struct election **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct election *el = arena_alloc(a, sizeof(*el));
	int r;

	el->k = k;
	el->arena = a;
	el->once = once;
	el->o = *o;
	el->o.identity = arena_strdup(a, o->identity);
	el->o.duration_ms = o->duration_ms ? o->duration_ms : DURATION_MS;
	el->o.renew_ms = o->renew_ms ? o->renew_ms : RENEW_MS;
	el->o.retry_ms = o->retry_ms ? o->retry_ms : RETRY_MS;
	el->ref = (struct kube_ref){ "coordination.k8s.io", "v1", "leases", arena_strdup(a, o->namespace), arena_strdup(a, o->name), NULL };
	if (el->o.renew_ms >= el->o.duration_ms || el->o.retry_ms >= el->o.renew_ms || strlen(o->identity) >= sizeof(el->holder)) {
		arena_free(a);
		return err_set(e, -EINVAL, "an election wants retry (%u ms) < renew (%u ms) < duration (%u ms) and an identity below %zu bytes",
			       o->retry_ms, o->renew_ms, o->duration_ms, sizeof(el->holder));
	}
	el->cancel = http_cancel_new();
	pthread_mutex_init(&el->lock, NULL);
	clock_cond_init(&el->changed);
	r = kube_thread(&el->thread, run, el, e);
	if (r < 0) {
		election_free(el);
		return r;
	}
	*ret = el;
	return 0;
}

int election_start(struct kube *k, const struct election_options *o, struct election **ret, struct err *e)
{
	return start(k, o, false, ret, e);
}

struct election *election_stop(struct election *el)
{
	if (!el)
		return NULL;
	http_cancel(el->cancel);
	pthread_join(el->thread, NULL);
	return election_free(el);
}

bool election_is_leader(struct election *el)
{
	bool is;

	pthread_mutex_lock(&el->lock);
	/* also while a renewal hangs: not beyond the time in which it had to succeed */
	is = el->leader && clock_ns() - el->renewed_ns < el->o.renew_ms * 1000000ull;
	pthread_mutex_unlock(&el->lock);
	return is;
}

int election_acquire(struct kube *k, const struct election_options *o, unsigned timeout_ms, struct election **ret, struct err *e)
{
	struct election_options own = *o;
	struct election *el;
	struct timespec until;
	bool leader;
	int r;

	own.release = true;
	until = clock_deadline(timeout_ms);
	r = start(k, &own, true, &el, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&el->lock);
	while (!el->leader && !el->ended && r == 0)
		r = pthread_cond_timedwait(&el->changed, &el->lock, &until);
	leader = el->leader;
	if (!leader)
		err_set(e, -ETIMEDOUT, "the lease %s/%s was not free within %u ms; it is held by %s%s%s", o->namespace, o->name, timeout_ms,
			*el->holder ? el->holder : "nobody that is known", el->why.code && el->why.code != -EBUSY ? ": " : "",
			el->why.code != -EBUSY ? el->why.msg : "");
	pthread_mutex_unlock(&el->lock);
	if (!leader) {
		election_stop(el);
		return -ETIMEDOUT;
	}
	*ret = el;
	return 0;
}
