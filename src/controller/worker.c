/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread does all passes, one after the other; whatever changed meanwhile is in the next. A pass looks at everything: that is cheap,
 * and nothing is ever missed because some event was.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "controller/passes.h"
#include "controller/state.h"

#define SETTLE_MS 150		/* of a burst of changes one pass */
#define AGAIN_MIN_S 1		/* after a write that failed: doubled each time */
#define AGAIN_MAX_S 60
#define SAFETY_S 600		/* a pass even when nothing seems to have changed */
#define STREAK_LONG 100u		/* passes on end that wrote something: more than any rollout has */
#define STREAK_MS_MAX 5000u
#define WEBHOOK_AGAIN_S 5
#define PATIENCE_NS 5000000000ull /* before a list that is not there yet is a problem */
#define CALM_S 5		/* after the last task, memory is given back */

void controller_wake(struct controller *c, enum controller_task task)
{
	pthread_mutex_lock(&c->lock);
	c->dirty[task] = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void controller_wake_in(struct controller *c, enum controller_task task, unsigned in_s)
{
	uint64_t at = clock_ns() + in_s * 1000000000ull;

	pthread_mutex_lock(&c->lock);
	if (!c->due_ns[task] || at < c->due_ns[task])
		c->due_ns[task] = at;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

bool controller_leads(struct controller *c)
{
	bool leads;

	pthread_mutex_lock(&c->lock);
	leads = c->leading && !c->stop;
	pthread_mutex_unlock(&c->lock);
	return leads;
}

bool controller_may_write(struct controller *c)
{
	return controller_leads(c) && election_is_leader(c->election);
}

void controller_problem(struct controller *c, enum controller_task task, const char *text)
{
	char old[ERR_MSG_MAX];
	bool news;

	pthread_mutex_lock(&c->lock);
	memcpy(old, c->problem[task], sizeof(old));
	news = strcmp(old, text ? text : "");
	snprintf(c->problem[task], sizeof(c->problem[task]), "%s", text ? text : "");
	pthread_mutex_unlock(&c->lock);
	if (news && text)
		log_error("%s", text);
	else if (news)
		log_info("over: %.80s%s", old, strlen(old) > 80 ? "..." : "");
}

static void on_event(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	controller_wake(arg, TASK_PASS);
}

/* A node that came back may free what was held for its pods. */
static void on_node(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	controller_wake(arg, TASK_PASS);
	controller_wake(arg, TASK_ADDRESSES);
}

static void on_pod(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct controller *c = arg;

	if (addresses_pod_event(c->addresses, was, is))
		controller_wake(c, TASK_ADDRESSES);
}

static void on_synced(void *arg)
{
	controller_wake(arg, TASK_PASS);
}

int controller_watch(struct controller *c, enum world_kind kind, struct err *e)
{
	struct world_collection w = world_collection(kind, c->options->namespace);
	struct informer_spec spec = { .ref = w.ref, .keep = w.keep, .event = on_event, .synced = on_synced, .arg = c };

	struct informer *in;
	int r;

	if (c->informers[kind])
		return 0;
	if (kind == WORLD_PODS)
		spec.event = on_pod;
	else if (kind == WORLD_NODES)
		spec.event = on_node;
	r = informer_start(c->kube, &spec, &in, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->watching);
	c->informers[kind] = in;
	pthread_mutex_unlock(&c->watching);
	return 0;
}

static void stop_watching(struct controller *c)
{
	for (size_t i = 0; i < WORLD_KINDS; i++) {
		struct informer *in = c->informers[i];

		if (i == WORLD_NADS)
			continue;
		pthread_mutex_lock(&c->watching);
		c->informers[i] = NULL;
		pthread_mutex_unlock(&c->watching);
		informer_stop(in);
	}
	memo_free(&c->memos);
}

/* Is everything listed? Nothing is decided on half a view: an object that was not seen yet is not one that is gone. */
static bool all_synced(struct controller *c)
{
	struct err e = { 0 };

	for (size_t i = 0; i < WORLD_PODS; i++) {
		if (controller_watch(c, i, &e) < 0 || !informer_wait(c->informers[i], 1000, &e)) {
			c->unsynced_ns = c->unsynced_ns ? c->unsynced_ns : clock_ns();
			if (e.msg[0] && clock_ns() - c->unsynced_ns > PATIENCE_NS)
				controller_problem(c, TASK_PASS, e.msg);
			return false;
		}
	}
	c->unsynced_ns = 0;
	controller_problem(c, TASK_PASS, NULL);
	return true;
}

static void load(struct controller *c, struct arena *a, struct world *w)
{
	*w = (struct world){ .namespace = c->options->namespace, .prefix = c->options->prefix, .now = time(NULL),
			     .stale_minutes = c->options->stale_minutes };
	for (size_t i = 0; i < WORLD_PODS; i++) {
		struct informer_object *objects;
		size_t n = informer_all(c->informers[i], a, &objects);

		world_add(a, w, i, objects, n);
	}
}

static size_t pass(struct controller *c)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct writes out = { .arena = a };
	struct node_outcome *nodes = NULL;
	uint64_t began = clock_ns();
	size_t n_nodes = 0, failures;
	unsigned next = 0;
	struct world w;

	load(c, a, &w);
	pass_nodes(a, &w, &c->memos, &out, &nodes, &n_nodes, &next);
	pass_policies(a, &w, nodes, n_nodes, &out);
	pass_networks(a, &w, &c->memos, &out);
	failures = controller_execute(c, &out);
	memo_sweep(&c->memos);
	metrics_observe(&c->pass_seconds, clock_ns() - began);
	c->passes++;
	if (next)
		controller_wake_in(c, TASK_PASS, next);
	return failures;
}

/* The next moment at which a task is due, 0: none; *now: those that are, as bits. Under the lock. */
static uint64_t look(const struct controller *c, unsigned *now)
{
	uint64_t t = clock_ns(), at = 0;

	*now = 0;
	for (unsigned i = 0; i < TASKS; i++) {
		uint64_t due = c->due_ns[i];

		if (c->dirty[i] || (due && due <= t))
			*now |= 1u << i;
		else if (due && (!at || due < at))
			at = due;
	}
	return at;
}

/* Wait; when nothing came for a while, give memory back and return false. With the lock held, but not while it gives. */
static bool calm_down(struct controller *c)
{
	struct timespec until = clock_deadline(CALM_S * 1000);

	if (pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
		return true;
	pthread_mutex_unlock(&c->lock);
	memory_give_back();
	pthread_mutex_lock(&c->lock);
	return false;
}

/* Until there is work for a leader; which tasks, as bits, taken. 0: stop. */
static unsigned wait_for_work(struct controller *c)
{
	bool busy = true;
	unsigned now;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		uint64_t at = look(c, &now);
		struct timespec until = { .tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000) };

		if (c->stop || (c->leading && now))
			break;
		if (!c->leading && c->informers[WORLD_POLICIES]) {
			pthread_mutex_unlock(&c->lock);
			log_warn("this replica leads no longer");
			stop_watching(c);
			pthread_mutex_lock(&c->lock);
		} else if (busy) {
			busy = calm_down(c);
		} else if (!c->leading || !at) {
			pthread_cond_wait(&c->changed, &c->lock);
		} else {
			pthread_cond_timedwait(&c->changed, &c->lock, &until);
		}
	}
	for (unsigned i = 0; i < TASKS; i++) {
		if (!(now & 1u << i))
			continue;
		c->dirty[i] = false;
		c->due_ns[i] = 0;
	}
	now = c->stop ? 0 : now;
	pthread_mutex_unlock(&c->lock);
	return now;
}

/*
 * Passes that find something to write each time go slower and slower: somebody undoes what they write, in a way that no field manager
 * tells.
 */
static void slow_down(struct controller *c, unsigned long writes_before)
{
	c->streak = c->writes == writes_before ? 0 : c->streak + 1;
	if (c->streak == STREAK_LONG)
		log_info("%u passes on end had something to write: many nodes change, or another program undoes it", STREAK_LONG);
	if (c->streak >= STREAK_LONG)
		clock_sleep_ms((c->streak - STREAK_LONG + 1) * 100 < STREAK_MS_MAX ? (c->streak - STREAK_LONG + 1) * 100 : STREAK_MS_MAX);
}

static void do_pass(struct controller *c, unsigned *again)
{
	unsigned long before = c->writes;
	size_t failures;

	if (!all_synced(c)) {
		controller_wake_in(c, TASK_PASS, 1);
		return;
	}
	failures = pass(c);
	slow_down(c, before);
	if (failures) {
		controller_wake_in(c, TASK_PASS, *again);
		*again = *again * 2 > AGAIN_MAX_S ? AGAIN_MAX_S : *again * 2;
	} else {
		*again = AGAIN_MIN_S;
		controller_wake_in(c, TASK_PASS, SAFETY_S);
	}
}

static void do_addresses(struct controller *c)
{
	struct err e = { 0 };
	unsigned next;

	if (controller_watch(c, WORLD_PODS, &e) < 0 || controller_watch(c, WORLD_NODES, &e) < 0 ||
	    !informer_wait(c->informers[WORLD_PODS], 1000, &e) || !informer_wait(c->informers[WORLD_NODES], 1000, &e)) {
		if (e.msg[0])
			controller_problem(c, TASK_ADDRESSES, e.msg);
		controller_wake_in(c, TASK_ADDRESSES, 1);
		return;
	}
	controller_problem(c, TASK_ADDRESSES, NULL);
	next = addresses_run(c->addresses, c);
	if (next)
		controller_wake_in(c, TASK_ADDRESSES, next);
}

static void do_webhook(struct controller *c)
{
	struct err e = { 0 };
	int next = c->webhook ? webhook_care(c->webhook, c, &e) : 0;

	log_debug("certificates: looked at again in %d s%s%s", next, e.msg[0] ? ": " : "", e.msg);
	controller_problem(c, TASK_WEBHOOK, next < 0 && e.msg[0] ? e.msg : NULL);
	if (next)
		controller_wake_in(c, TASK_WEBHOOK, next < 0 ? WEBHOOK_AGAIN_S : (unsigned)next);
}

void *controller_worker(void *arg)
{
	struct controller *c = arg;
	unsigned again = AGAIN_MIN_S, now;

	while ((now = wait_for_work(c))) {
		log_debug("tasks %x", now);
		if (now & 1u << TASK_WEBHOOK)
			do_webhook(c);
		if (now & 1u << TASK_PASS) {
			clock_sleep_ms(SETTLE_MS);
			do_pass(c, &again);
		}
		if (now & 1u << TASK_ADDRESSES)
			do_addresses(c);
	}
	stop_watching(c);
	return NULL;
}
