/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "controller/passes.h"
#include "controller/state.h"

#define TAKE_OVER_NS (600ull * 1000000000) /* contested fields are taken over at most this often */
#define RBAC_WAY_OUT " (the roles are in deploy/programs/rbac-controller.yaml: kubectl apply -f it)"

void controller_before_write(struct controller *c)
{
	if (++c->writes == c->crash_at)
		raise(SIGKILL);
}

static struct kube_ref ref_of(const struct write *x)
{
	return (struct kube_ref){ .group = x->kind->group, .version = x->kind->version, .plural = x->kind->plural,
				  .namespace = x->ns, .name = x->name, .sub = x->sub };
}

static void set(char **at, const char *text)
{
	free(*at);
	*at = text ? strdup(text) : NULL;
}

static void applied(struct controller *c, struct arena *a, const struct write *x, yyjson_val *obj)
{
	const char *spec = x->wanted && obj ? pass_state_spec(a, obj) : NULL;
	struct memo *memo;

	if (!x->contested)
		return;
	memo = memo_find(&c->memos, x->contested, true);
	memo_settle(&c->memos, x->contested);
	if (x->wanted)
		memo->wanted = write_hash(x->wanted);
	memo->accepted = spec ? write_hash(spec) : 0;
}

/* Another manager owns some of the fields. */
static int contest(struct controller *c, struct arena *a, const struct write *x, const struct kube_ref *ref, yyjson_val **obj, struct err *e)
{
	struct memo *memo = memo_find(&c->memos, x->contested, true);
	uint64_t now = clock_ns();

	c->conflicts++;
	if (x->mine && (!memo->forced_ns || now - memo->forced_ns > TAKE_OVER_NS)) {
		log_warn("%s %s%s%s: taking over fields that another program wrote: %s", x->kind->kind, x->ns ? x->ns : "", x->ns ? "/" : "",
			 x->name, e->msg);
		memo->forced_ns = now;
		controller_before_write(c);
		return kube_patch(c->kube, a, ref, KUBE_PATCH_APPLY_FORCE, x->json, obj, e);
	}
	if (x->mine) {
		set(&memo->conflict, e->msg);
		controller_wake_in(c, TASK_PASS, TAKE_OVER_NS / 1000000000 + 1);
	}
	return -ESTALE;
}

static uint64_t bit_of(const struct write *x)
{
	return 1ull << (x->kind - api_kinds);
}

/*
 * CRDs of the SR-IOV operator before it had conditions: the API server drops them without a word, or refuses. What is not told there is not worth a
 * write that would come again with each pass.
 */
static void mute(struct controller *c, const struct write *x)
{
	if (!(c->mute_kinds & bit_of(x)))
		log_warn("the CRD of %s takes no conditions, so that none are written: 'kubectl apply -f deploy/crds' brings one that does", x->kind->kind);
	c->mute_kinds |= bit_of(x);
}

static bool is_muted(const struct controller *c, const struct write *x)
{
	return x->sub && (c->mute_kinds & bit_of(x));
}

static int one(struct controller *c, const struct write *x, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref ref = ref_of(x);
	yyjson_val *obj = NULL;
	int r;

	controller_before_write(c);
	switch (x->verb) {
	case WRITE_APPLY:
		r = kube_patch(c->kube, a, &ref, x->contested ? KUBE_PATCH_APPLY : KUBE_PATCH_APPLY_FORCE, x->json, &obj, e);
		if (r == -ESTALE && x->contested)
			r = contest(c, a, x, &ref, &obj, e);
		if (r == 0 && x->sub && !yyjson_obj_get(yyjson_obj_get(obj, "status"), "conditions"))
			mute(c, x);
		if (r == 0)
			applied(c, a, x, obj);
		return r;
	case WRITE_PATCH:
		return kube_patch(c->kube, a, &ref, KUBE_PATCH_JSON, x->json, NULL, e);
	case WRITE_MERGE:
		return kube_patch(c->kube, a, &ref, KUBE_PATCH_MERGE, x->json, NULL, e);
	case WRITE_DELETE:
		r = kube_delete(c->kube, &ref, x->uid, x->version, -1, e);
		return r == -ENOENT ? 0 : r;
	}
	return -EINVAL;
}

static void tell(struct controller *c, const struct write_event *ev)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct kube_event_about about = {
		.api_version = *ev->kind->group ? arena_printf(a, "%s/%s", ev->kind->group, ev->kind->version) : ev->kind->version,
		.kind = ev->kind->kind, .namespace = ev->ns, .name = ev->name, .uid = ev->uid,
	};

	kube_event(c->events, &about, ev->warning, ev->reason, "%s", ev->message);
}

static void failed(struct controller *c, const struct write *x, int r, struct err *e)
{
	static const char *const verbs[] = { "applying", "patching", "changing", "deleting" };

	if (r == -EPERM)
		err_append(e, r, RBAC_WAY_OUT);
	log_warn("%s %s%s %s%s%s (%s): %s", verbs[x->verb], x->kind->kind, x->sub ? "'s status" : "", x->ns ? x->ns : "", x->ns ? "/" : "",
		 x->name, x->why ? x->why : "", e->msg);
	c->write_failures++;
	if (x->contested && !kube_is_away(r))
		set(&memo_find(&c->memos, x->contested, true)->failure, e->msg);
}

size_t controller_execute(struct controller *c, struct writes *w)
{
	unsigned broken = 0; /* the group whose rest waits */
	size_t failures = 0;

	for (size_t i = 0; i < w->n; i++) {
		const struct write *x = &w->v[i];
		struct err e = { 0 };
		int r;

		if (!controller_may_write(c))
			break;
		if ((x->group && x->group == broken) || is_muted(c, x))
			continue;
		r = one(c, x, &e);
		c->written[x->verb]++;
		if (r == 0) {
			log_info("%s %s%s%s%s: %s", x->kind->kind, x->ns ? x->ns : "", x->ns ? "/" : "", x->name,
				 x->verb == WRITE_DELETE ? " deleted" : x->sub ? "'s status written" : " written", x->why ? x->why : "");
			if (x->event.reason)
				tell(c, &x->event);
			continue;
		}
		broken = x->group;
		/* what it was decided on has changed: the watch brings the news, and with it another pass */
		if (r == -ESTALE || r == -ENOENT)
			continue;
		if (r == -EINVAL && x->sub && strstr(e.msg, "conditions")) {
			mute(c, x);
			continue;
		}
		failed(c, x, r, &e);
		failures++;
		if (kube_is_away(r))
			break;
	}
	return failures;
}
