/* SPDX-License-Identifier: Apache-2.0 */
/* Events (core v1): what happened to an object, told once and then counted. */
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/kube-private.h"

#define ENTRIES	     256 /* kept at once; a further kind of event takes the place of the oldest that was told */
#define MEMORY_NS    600000000000ull
#define AGAIN_NS     5000000000ull /* a count is raised at most so often */
#define PAUSE_MS     500
#define PAUSE_MAX_MS 30000
#define MESSAGE_MAX  1024
#define FLUSH_MS     2000
#define BURST	     25 /* sent at once; then one a second, however much happens */

struct told {
	struct arena *arena;
	struct kube_event_about about;
	bool warning;
	const char *reason, *message;
	char name[300]; /* of the event object; "" until it is made */
	char first[32], last[32];
	uint64_t last_ns, sent_ns;
	unsigned count, sent; /* seen; the server knows */
};

struct kube_events {
	struct kube *k;
	struct arena *arena;
	const char *component, *node;
	struct http_cancel *cancel;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct told *v[ENTRIES];
	const struct told *busy; /* being sent: stays */
	size_t n;
	uint64_t dropped;
	bool stopping;
	unsigned budget; /* what may be sent at once, up to BURST */
	uint64_t budget_ns; /* when it last grew */
};

static const char *text(const char *s)
{
	return s ? s : "";
}

static bool is_same(const struct told *t, const struct kube_event_about *about, bool warning, const char *reason, const char *message)
{
	return t->warning == warning && !strcmp(t->about.uid, text(about->uid)) && !strcmp(t->about.name, text(about->name)) &&
	       !strcmp(t->about.namespace, text(about->namespace)) && !strcmp(t->about.kind, text(about->kind)) && !strcmp(t->reason, reason) &&
	       !strcmp(t->message, message);
}

static struct told *find(struct kube_events *ev, const struct kube_event_about *about, bool warning, const char *reason, const char *message)
{
	for (size_t i = 0; i < ev->n; i++)
		if (is_same(ev->v[i], about, warning, reason, message))
			return ev->v[i];
	return NULL;
}

/* Forget what was told and is old, or, when all is new, what is oldest of it; false: nothing could go. */
static bool make_room(struct kube_events *ev, uint64_t now)
{
	size_t oldest = SIZE_MAX;
	bool any = false;

	for (size_t i = 0; i < ev->n;) {
		if (now - ev->v[i]->last_ns >= MEMORY_NS && ev->v[i] != ev->busy) {
			ev->dropped += ev->v[i]->sent == 0;
			arena_free(ev->v[i]->arena);
			ev->v[i] = ev->v[--ev->n];
			any = true;
			continue;
		}
		if (ev->v[i]->sent == ev->v[i]->count && (oldest == SIZE_MAX || ev->v[i]->last_ns < ev->v[oldest]->last_ns))
			oldest = i;
		i++;
	}
	if (any || ev->n < ENTRIES)
		return true;
	if (oldest == SIZE_MAX)
		return false;
	arena_free(ev->v[oldest]->arena);
	ev->v[oldest] = ev->v[--ev->n];
	return true;
}

static struct told *told_new(const struct kube_event_about *about, bool warning, const char *reason, const char *message)
{
	struct arena *a = arena_new();
	struct told *t = arena_alloc(a, sizeof(*t));

	t->arena = a;
	t->about.api_version = arena_strdup(a, text(about->api_version));
	t->about.kind = arena_strdup(a, text(about->kind));
	t->about.namespace = arena_strdup(a, text(about->namespace));
	t->about.name = arena_strdup(a, text(about->name));
	t->about.uid = arena_strdup(a, text(about->uid));
	t->warning = warning;
	t->reason = arena_strdup(a, reason);
	t->message = arena_strdup(a, message);
	clock_rfc3339(t->first);
	return t;
}

void kube_event(struct kube_events *ev, const struct kube_event_about *about, bool warning, const char *reason, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	uint64_t now = clock_ns();
	struct told *t;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	n = strlen(message);
	if (n == sizeof(message) - 1) { /* cut: not in the middle of a character */
		while (n > 4 && ((unsigned char)message[n - 4] & 0xc0) == 0x80)
			n--;
		strcpy(message + n - 4, "...");
	}
	pthread_mutex_lock(&ev->lock);
	t = find(ev, about, warning, reason, message);
	if (t && now - t->last_ns >= MEMORY_NS) { /* long ago: a new one */
		t->name[0] = '\0';
		t->count = t->sent = 0;
		t->sent_ns = 0;
		clock_rfc3339(t->first);
	}
	if (!t && make_room(ev, now))
		t = ev->v[ev->n++] = told_new(about, warning, reason, message);
	if (t) {
		t->count++;
		t->last_ns = now;
		clock_rfc3339(t->last);
		pthread_cond_signal(&ev->changed);
	} else {
		ev->dropped++;
	}
	pthread_mutex_unlock(&ev->lock);
}

/* May one be sent now? Else *wait_ns says when. */
static bool has_budget(struct kube_events *ev, uint64_t now, uint64_t *wait_ns)
{
	uint64_t seconds = (now - ev->budget_ns) / 1000000000;

	if (seconds) {
		ev->budget = seconds > BURST || ev->budget + seconds > BURST ? BURST : ev->budget + (unsigned)seconds;
		ev->budget_ns += seconds * 1000000000;
	}
	*wait_ns = 1000000000;
	return ev->budget > 0;
}

/* The one to send now; else NULL and, in *wait_ns, when there may be one. */
static struct told *next(struct kube_events *ev, uint64_t now, uint64_t *wait_ns)
{
	struct told *best = NULL;

	*wait_ns = UINT64_MAX;
	for (size_t i = 0; i < ev->n; i++) {
		struct told *t = ev->v[i];
		uint64_t since = now - t->sent_ns;

		if (t->sent == t->count)
			continue;
		if (t->sent && since < AGAIN_NS && !ev->stopping) {
			if (AGAIN_NS - since < *wait_ns)
				*wait_ns = AGAIN_NS - since;
			continue;
		}
		if (!best || (t->sent == 0 && best->sent)) /* news before counts */
			best = t;
	}
	return best && has_budget(ev, now, wait_ns) ? best : NULL;
}

static char *event_json(struct kube_events *ev, struct arena *a, const struct told *t, const char *ns, const char *name)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *obj = yyjson_mut_obj(doc), *v;

	yyjson_mut_obj_add_str(doc, obj, "apiVersion", "v1");
	yyjson_mut_obj_add_str(doc, obj, "kind", "Event");
	v = yyjson_mut_obj_add_obj(doc, obj, "metadata");
	yyjson_mut_obj_add_str(doc, v, "name", name);
	yyjson_mut_obj_add_str(doc, v, "namespace", ns);
	v = yyjson_mut_obj_add_obj(doc, obj, "involvedObject");
	if (*t->about.api_version)
		yyjson_mut_obj_add_str(doc, v, "apiVersion", t->about.api_version);
	yyjson_mut_obj_add_str(doc, v, "kind", t->about.kind);
	if (*t->about.namespace)
		yyjson_mut_obj_add_str(doc, v, "namespace", t->about.namespace);
	yyjson_mut_obj_add_str(doc, v, "name", t->about.name);
	if (*t->about.uid)
		yyjson_mut_obj_add_str(doc, v, "uid", t->about.uid);
	yyjson_mut_obj_add_str(doc, obj, "type", t->warning ? "Warning" : "Normal");
	yyjson_mut_obj_add_str(doc, obj, "reason", t->reason);
	yyjson_mut_obj_add_str(doc, obj, "message", t->message);
	v = yyjson_mut_obj_add_obj(doc, obj, "source");
	yyjson_mut_obj_add_str(doc, v, "component", ev->component);
	if (*ev->node)
		yyjson_mut_obj_add_str(doc, v, "host", ev->node);
	yyjson_mut_obj_add_str(doc, obj, "reportingComponent", ev->component);
	yyjson_mut_obj_add_str(doc, obj, "reportingInstance", ev->node);
	yyjson_mut_obj_add_str(doc, obj, "firstTimestamp", t->first);
	yyjson_mut_obj_add_str(doc, obj, "lastTimestamp", t->last);
	yyjson_mut_obj_add_uint(doc, obj, "count", t->count);
	return doc_mut_to_json(a, obj, false);
}

/* An event's name as client-go makes it: the object's and the time. */
static const char *new_name(struct arena *a, const struct told *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return arena_printf(a, "%.200s.%llx", t->about.name,
			    (unsigned long long)now.tv_sec * 1000000000ull + (unsigned long long)now.tv_nsec + kube_random() % 1000);
}

/* Make the event, or raise the count of the one that is there. */
static int send(struct kube_events *ev, struct told *t, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *ns = *t->about.namespace ? t->about.namespace : "default";
	struct kube_ref ref = { "", "v1", "events", ns, t->name, NULL };
	struct kube_ask q = { .ref = &ref, .timeout_ms = 5000, .cancel = ev->cancel };
	_cleanup_reply_ struct http_reply reply = { 0 };
	int r;

	if (*t->name) {
		q.verb = KUBE_PATCH;
		q.method = "PATCH";
		q.type = "application/merge-patch+json";
		q.target = kube_target(a, &ref, NULL);
		q.body = arena_printf(a, "{\"count\":%u,\"lastTimestamp\":\"%s\"}", t->count, t->last);
		q.repeatable = true; /* the count is ours alone */
		r = kube_ask(ev->k, &q, &reply, e);
		if (r != -ENOENT)
			return r;
	}
	snprintf(t->name, sizeof(t->name), "%s", new_name(a, t));
	q = (struct kube_ask){ .ref = &ref, .timeout_ms = 5000, .cancel = ev->cancel, .verb = KUBE_CREATE, .method = "POST",
			       .type = "application/json" };
	ref.name = NULL;
	q.target = kube_target(a, &ref, NULL);
	q.body = event_json(ev, a, t, ns, t->name);
	return kube_ask(ev->k, &q, &reply, e);
}

/* After a try: @t is what was sent. The entry may have been counted up meanwhile. */
static void settle(struct told *entry, const struct told *t, int r, uint64_t *dropped)
{
	if (kube_is_away(r) || r == -ECANCELED)
		return;
	if (r == 0) {
		strcpy(entry->name, t->name);
		entry->sent = t->count;
	} else { /* refused: the namespace is gone, a role is missing: it would be refused again */
		entry->sent = entry->count;
		++*dropped;
	}
	entry->sent_ns = clock_ns();
}

static void *run(void *arg)
{
	struct kube_events *ev = arg;
	unsigned failures = 0;

	pthread_mutex_lock(&ev->lock);
	for (;;) {
		struct err e = { 0 };
		uint64_t wait_ns;
		struct told *entry = next(ev, clock_ns(), &wait_ns), sent;
		struct timespec until;
		int r;

		if (!entry && ev->stopping && (wait_ns == UINT64_MAX || http_is_cancelled(ev->cancel)))
			break;
		if (!entry && wait_ns == UINT64_MAX) {
			pthread_cond_wait(&ev->changed, &ev->lock);
			continue;
		}
		if (!entry) {
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += (time_t)((wait_ns + 999999999) / 1000000000);
			pthread_cond_timedwait(&ev->changed, &ev->lock, &until);
			continue;
		}
		sent = *entry; /* its strings are the entry's */
		ev->busy = entry;
		ev->budget--;
		pthread_mutex_unlock(&ev->lock);
		r = send(ev, &sent, &e);
		if (r < 0)
			log_debug("event %s of %s: %s", sent.reason, sent.about.name, e.msg);
		if (kube_is_away(r))
			http_cancel_sleep(ev->cancel, kube_backoff(failures++, PAUSE_MS, PAUSE_MAX_MS, kube_random()));
		else
			failures = 0;
		pthread_mutex_lock(&ev->lock);
		ev->busy = NULL;
		settle(entry, &sent, r, &ev->dropped);
		if (ev->stopping && r < 0)
			break;
	}
	pthread_mutex_unlock(&ev->lock);
	return NULL;
}

static void events_free(struct kube_events *ev)
{
	for (size_t i = 0; i < ev->n; i++)
		arena_free(ev->v[i]->arena);
	http_cancel_free(ev->cancel);
	pthread_cond_destroy(&ev->changed);
	pthread_mutex_destroy(&ev->lock);
	arena_free(ev->arena);
}

int kube_events_start(struct kube *k, const char *component, const char *node, struct kube_events **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct kube_events *ev = arena_alloc(a, sizeof(*ev));
	int r;

	ev->k = k;
	ev->arena = a;
	ev->component = arena_strdup(a, component);
	ev->node = arena_strdup(a, text(node));
	ev->budget = BURST;
	ev->budget_ns = clock_ns();
	ev->cancel = http_cancel_new();
	pthread_mutex_init(&ev->lock, NULL);
	clock_cond_init(&ev->changed);
	r = kube_thread(&ev->thread, run, ev, e);
	if (r < 0) {
		events_free(ev);
		return r;
	}
	*ret = ev;
	return 0;
}

struct kube_events *kube_events_stop(struct kube_events *ev)
{
	struct timespec until;

	if (!ev)
		return NULL;
	pthread_mutex_lock(&ev->lock);
	ev->stopping = true;
	pthread_cond_signal(&ev->changed);
	pthread_mutex_unlock(&ev->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FLUSH_MS / 1000;
	if (pthread_timedjoin_np(ev->thread, NULL, &until)) {
		http_cancel(ev->cancel);
		pthread_join(ev->thread, NULL);
	}
	events_free(ev);
	return NULL;
}

uint64_t kube_events_dropped(struct kube_events *ev)
{
	uint64_t n;

	pthread_mutex_lock(&ev->lock);
	n = ev->dropped;
	pthread_mutex_unlock(&ev->lock);
	return n;
}
