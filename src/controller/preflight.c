/* SPDX-License-Identifier: Apache-2.0 */
/* Are the kinds there that the controller watches? Asked before the first watch, so that what is missing is said at once and by name. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "controller/state.h"

#define PAUSE_MS 5000

static bool has_kind(yyjson_val *resources, const struct api_kind *k)
{
	yyjson_val *r;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(resources, "resources"), i, max, r)
		if (doc_str(r, "name") && !strcmp(doc_str(r, "name"), k->plural))
			return true;
	return false;
}

/* The CRDs that are missing, "a.b, c.d"; NULL: none. */
static int missing(struct controller *c, struct arena *a, const char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *group = NULL;
	yyjson_val *resources = NULL;

	*ret = NULL;
	for (const struct api_kind *k = api_kinds; k->kind; k++) {
		int r = 0;

		if (!k->crd)
			continue;
		if (!group || strcmp(group, k->group)) { /* the register has the kinds of a group together */
			group = k->group;
			resources = NULL;
			r = kube_raw(c->kube, a, "GET", arena_printf(a, "/apis/%s/%s", k->group, k->version), NULL, &resources, e);
		}
		if (r < 0 && r != -ENOENT)
			return r;
		if (!has_kind(resources, k))
			strbuf_addf(&b, "%s%s.%s", b.len ? ", " : "", k->plural, k->group);
	}
	if (b.len)
		*ret = arena_strdup(a, b.s);
	return 0;
}

static bool stopped(struct controller *c)
{
	struct timespec until = clock_deadline(PAUSE_MS);
	bool stop;

	pthread_mutex_lock(&c->lock);
	while (!c->stop && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
		;
	stop = c->stop;
	pthread_mutex_unlock(&c->lock);
	return stop;
}

int controller_preflight(struct controller *c)
{
	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		const char *names;
		struct err e = { 0 };
		int r = missing(c, a, &names, &e);

		if (r == 0 && !names) {
			controller_problem(c, TASK_PASS, NULL);
			return 0;
		}
		controller_problem(c, TASK_PASS, r < 0 ? e.msg :
				   arena_printf(a, "the API server %s lacks the CRD%s %s: run 'kubectl apply -f deploy/crds' with the files of this "
						   "version", kube_server(c->kube), strchr(names, ',') ? "s" : "", names));
		if (stopped(c))
			return -ECANCELED;
	}
}
