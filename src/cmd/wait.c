/* SPDX-License-Identifier: Apache-2.0 */
/* Wait until objects of a cluster have a condition, or are gone. */
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/parse.h"
#include "cmd/cluster.h"

#define TIMEOUT_S 30

struct options {
	struct cluster_options cluster;
	const char *namespace, *selector, *what, *timeout;
	bool all;
};

static const struct cmd_option options[] = {
	CLUSTER_OPTIONS,
	{ "for", 0, CMD_STRING, offsetof(struct options, what), "WHAT", NULL, "condition=TYPE, condition=TYPE=STATUS or delete" },
	{ "timeout", 0, CMD_STRING, offsetof(struct options, timeout), "TIME", NULL, "at most so long: 90, 90s, 5m, 1h (30s)" },
	{ "namespace", 'n', CMD_STRING, offsetof(struct options, namespace), "NS", NULL, "of this namespace" },
	{ "selector", 'l', CMD_STRING, offsetof(struct options, selector), "LABELS", NULL, "all objects with these labels, instead of names" },
	{ "all-namespaces", 'A', CMD_FLAG, offsetof(struct options, all), NULL, NULL, "with --selector: of every namespace" },
};

struct goal {
	const char *type, *status; /* type NULL: deletion */
};

/* Shared with the informer's thread. */
struct wait {
	struct goal goal;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t changes;
};

static int parse_goal(struct arena *a, const char *text, struct goal *ret, struct err *e)
{
	const char *type, *equals;

	*ret = (struct goal){ 0 };
	if (!text)
		return err_set(e, -EINVAL, "say what to wait for: --for condition=Ready or --for delete");
	if (!strcmp(text, "delete"))
		return 0;
	if (strncmp(text, "condition=", 10) || !text[10] || text[10] == '=')
		return err_set(e, -EINVAL, "--for: '%s' is neither condition=TYPE, condition=TYPE=STATUS nor delete", text);
	type = text + 10;
	equals = strchr(type, '=');
	ret->type = equals ? arena_strndup(a, type, (size_t)(equals - type)) : type;
	ret->status = equals ? equals + 1 : "True";
	return 0;
}

static int parse_timeout(struct arena *a, const char *text, uint64_t *ret_s, struct err *e)
{
	size_t n = text ? strlen(text) : 0;
	uint64_t factor = 1;

	*ret_s = TIMEOUT_S;
	if (!text)
		return 0;
	if (n && strchr("smh", text[n - 1])) {
		factor = text[n - 1] == 'h' ? 3600 : text[n - 1] == 'm' ? 60 : 1;
		text = arena_strndup(a, text, n - 1);
	}
	if (parse_u64(text, 10, 0, 1000000, ret_s) < 0)
		return err_set(e, -EINVAL, "--timeout: '%s' is no time: 90s, 5m or 1h are", text);
	*ret_s *= factor;
	return 0;
}

/* "1" when the condition is as wanted, else "0" and, for a message, how it is. A state of before the last change of the spec does not count. */
static const char *keep(void *arg, struct arena *a, yyjson_val *obj)
{
	const struct wait *w = arg;
	yyjson_val *c = w->goal.type ? cmd_cluster_condition(obj, w->goal.type) : NULL;
	int64_t seen = doc_int(c, "observedGeneration", 0), now = doc_int(yyjson_obj_get(obj, "metadata"), "generation", 0);
	const char *status = doc_str(c, "status"), *reason = doc_str(c, "reason"), *message = doc_str(c, "message");

	if (!w->goal.type)
		return "0it is still there";
	if (!c)
		return arena_printf(a, "0it has no condition %s", w->goal.type);
	if (seen && seen < now)
		return arena_printf(a, "0its condition %s is of generation %lld, the object is at %lld", w->goal.type, (long long)seen, (long long)now);
	if (status && !strcasecmp(status, w->goal.status))
		return "1";
	return arena_printf(a, "0%s is %s%s%s%s%s", w->goal.type, status ? status : "unknown", reason ? " (" : "", reason ? reason : "",
			    reason ? ")" : "", message && *message ? arena_printf(a, ": %s", message) : "");
}

static void wake(struct wait *w)
{
	pthread_mutex_lock(&w->lock);
	w->changes++;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void on_event(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	wake(arg);
}

static void on_synced(void *arg)
{
	wake(arg);
}

/* Until something changed after @seen, at most until @end_ns. */
static uint64_t next_change(struct wait *w, uint64_t seen, uint64_t end_ns)
{
	struct timespec until = { .tv_sec = (time_t)(end_ns / 1000000000), .tv_nsec = (long)(end_ns % 1000000000) };

	pthread_mutex_lock(&w->lock);
	while (w->changes == seen && pthread_cond_timedwait(&w->changed, &w->lock, &until) == 0)
		;
	seen = w->changes;
	pthread_mutex_unlock(&w->lock);
	return seen;
}

struct job {
	struct cmd_run *run;
	struct wait *w;
	struct informer *in;
	const struct cluster_args *args;
	const char *namespace;
	bool *done; /* by name */
	size_t told;
};

static void tell(struct job *j, const char *name)
{
	printf("%s %s\n", cmd_cluster_object_name(j->run->arena, &j->args->kind, name), j->w->goal.type ? "condition met" : "deleted");
	fflush(stdout);
}

/* 1: all is as wanted; 0: not yet, *why says what. */
static int look_by_name(struct job *j, const char **why, struct err *e)
{
	bool all = true;

	for (size_t i = 0; i < j->args->n_names; i++) {
		struct informer_object o;
		const char *name = j->args->names[i];
		int r = informer_get(j->in, j->run->arena, j->namespace, name, &o);

		if (j->done[i])
			continue;
		if (r < 0 && j->w->goal.type)
			return err_set(e, -ENOENT, "there is no %s", cmd_cluster_object_name(j->run->arena, &j->args->kind, name));
		j->done[i] = r < 0 || o.json[0] == '1';
		if (j->done[i])
			tell(j, name);
		else
			*why = arena_printf(j->run->arena, "%s: %s", cmd_cluster_object_name(j->run->arena, &j->args->kind, name), o.json + 1);
		all = all && j->done[i];
	}
	return all;
}

static int look_by_labels(struct job *j, const char **why)
{
	struct informer_object *v;
	size_t n = informer_all(j->in, j->run->arena, &v), bad = 0;

	for (size_t i = 0; i < n; i++) {
		if (v[i].json[0] == '1')
			continue;
		bad++;
		*why = arena_printf(j->run->arena, "%s: %s", cmd_cluster_object_name(j->run->arena, &j->args->kind, v[i].name), v[i].json + 1);
	}
	if (!n && j->w->goal.type) {
		*why = "no object has these labels";
		return 0;
	}
	for (size_t i = 0; i < n && !bad && j->w->goal.type; i++)
		tell(j, v[i].name);
	return bad == 0;
}

static int wait_for(struct job *j, uint64_t timeout_s, struct err *e)
{
	uint64_t end_ns = clock_ns() + timeout_s * 1000000000ull, seen = 0;
	const char *why = "";
	int r;

	for (;;) {
		bool last = clock_ns() >= end_ns;

		if (informer_wait(j->in, 0, e)) {
			r = j->args->n_names ? look_by_name(j, &why, e) : look_by_labels(j, &why);
			if (r)
				return r < 0 ? r : 0;
		} else if (e->code == -ENOENT || e->code == -EPERM || e->code == -EACCES || e->code == -EKEYREJECTED) {
			return e->code; /* waiting changes nothing */
		}
		if (last)
			break;
		seen = next_change(j->w, seen, end_ns < clock_ns() + 1000000000 ? end_ns : clock_ns() + 1000000000);
	}
	if (!informer_wait(j->in, 0, e))
		return e->code;
	return err_set(e, -ETIMEDOUT, "after %llu s %s", (unsigned long long)timeout_s, why);
}

static int run_wait(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct wait w = { .lock = PTHREAD_MUTEX_INITIALIZER };
	_cleanup_kube_ struct kube *k = NULL;
	struct cluster_args args;
	struct informer_spec spec = { .keep = keep, .event = on_event, .synced = on_synced, .arg = &w };
	struct job j = { .run = run, .w = &w, .args = &args };
	uint64_t timeout_s;
	int r;

	r = parse_goal(run->arena, o->what, &w.goal, e);
	if (r == 0)
		r = parse_timeout(run->arena, o->timeout, &timeout_s, e);
	if (r == 0)
		r = cmd_cluster_open(&o->cluster, NULL, &k, e);
	if (r == 0)
		r = cmd_cluster_args(run, k, o->selector ? 0 : 1, &args, e);
	if (r < 0)
		return r;
	if (o->selector && args.n_names)
		return err_set(e, -EINVAL, "either names or --selector, not both");
	if (o->all && !o->selector)
		return err_set(e, -EINVAL, "--all-namespaces goes with --selector");
	j.done = arena_alloc(run->arena, args.n_names * sizeof(*j.done));
	j.namespace = !args.kind.namespaced || o->all ? NULL : o->namespace ? o->namespace : kube_namespace(k);
	spec.ref = (struct kube_ref){ args.kind.group, args.kind.version, args.kind.plural, j.namespace, NULL, NULL };
	spec.select.labels = o->selector;
	if (args.n_names == 1)
		spec.select.fields = arena_printf(run->arena, "metadata.name=%s", args.names[0]);
	clock_cond_init(&w.changed);
	r = informer_start(k, &spec, &j.in, e);
	if (r < 0)
		return r;
	r = wait_for(&j, timeout_s, e);
	informer_stop(j.in);
	pthread_cond_destroy(&w.changed);
	return r < 0 ? r : CMD_OK;
}

const struct cmd cmd_wait = {
	.name = "wait", .summary = "until objects of a cluster have a condition, or are gone",
	.usage = "KIND NAME... | KIND -l LABELS --for condition=TYPE[=STATUS]|delete [--timeout TIME] [-n NS]",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.min_args = 1, .max_args = SIZE_MAX, .run = run_wait,
};
