/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls the undo, and when: DEL, garbage collection, a namespace that is gone. */
#include <string.h>

#include "attach/engine.h"
#include "attach/journal.h"
#include "base/clock.h"
#include "base/log.h"
#include "linux/netns.h"

#define BY_REQUEST_MS 5000 /* of a request's time, for what others left */

/*
 * From here on a restart goes on with the deletion. A full disk must not stop it: the undo itself frees. An ADD that did not come
 * to its end is undone anyway, and stays known as one: of its plugins one may not be there (meta_undo_delegate()).
 */
static const struct attachment *mark_deleting(struct attach_engine *en, const struct attachment *at)
{
	struct attachment changed = *at;
	const struct attachment *marked = at;
	struct err e;

	if (strcmp(at->state, ATTACHMENT_READY))
		return at;
	changed.state = ATTACHMENT_DELETING;
	engine_step(en, STEP_DELETING, 0);
	if (engine_commit(en, &changed, &marked, &e) < 0)
		log_warn("%s", e.msg);
	return marked;
}

int del_run(struct attach_engine *en, const char *container, const char *ifname, void *caller, struct err *e)
{
	const struct attachment *at;
	struct busy busy;
	int r;

	engine_lock_container(en, &busy, container);
	at = engine_find(en, container, ifname);
	if (at)
		r = attachment_undo(en, mark_deleting(en, at), caller, e);
	else
		r = ipam_release(en->host.ipam, container, &ifname, ifname ? 1 : 0, e);
	engine_unlock_container(en, &busy);
	return r < 0 ? err_wrap(e, r, "container %s, interface %s", container, ifname) : 0;
}

static bool is_superseded(const struct attachment *at, const struct request *rq)
{
	return rq->pod_uid && *rq->pod_uid && rq->pod_namespace && rq->pod_name && !strcmp(at->pod->uid, rq->pod_uid) &&
	       !strcmp(at->pod->namespace, rq->pod_namespace) && !strcmp(at->pod->name, rq->pod_name) && !strcmp(at->ifname, rq->ifname) &&
	       strcmp(at->container, rq->container);
}

void del_superseded(struct attach_engine *en, struct arena *a, const struct request *rq)
{
	const char **old = NULL;
	size_t n = 0;
	struct err e;

	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++)
		if (is_superseded(en->attachments[i], rq))
			*(const char **)arena_push(a, &old, &n, sizeof(*old)) = arena_strdup(a, en->attachments[i]->container);
	pthread_mutex_unlock(&en->lock);
	for (size_t i = 0; i < n; i++) {
		log_info("pod %s/%s: sandbox %s takes the place of %s, which was never deleted", rq->pod_namespace, rq->pod_name, rq->container,
			 old[i]);
		if (del_run(en, old[i], rq->ifname, rq->caller, &e) < 0)
			log_warn("%s", e.msg);
	}
}

static bool netns_is_gone(const struct attachment *at)
{
	_cleanup_close_ int fd = at->netns ? netns_open(at->netns, NULL) : -ENOENT;

	return fd < 0 ? fd == -ENOENT || fd == -EINVAL : !attachment_is_netns(at, fd);
}

static bool has_addresses(const struct attachment *at)
{
	for (size_t i = 0; i < at->n_rails; i++)
		if (at->rails[i].n_addresses)
			return true;
	return false;
}

int attach_addressed_dir(const char *state_dir, struct arena *a, const char **ret, struct err *e)
{
	_cleanup_close_ int fd = journal_open(state_dir, false, e);
	struct attachment **found;
	const char *pods = NULL;
	size_t n = 0;
	int r = fd;

	*ret = NULL;
	if (fd == -ENOENT)
		return 0;
	if (r >= 0)
		r = journal_load(fd, a, false, &found, &n, NULL, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (has_addresses(found[i]) && !netns_is_gone(found[i]))
			pods = arena_printf(a, "%s%s%s/%s", pods ? pods : "", pods ? ", " : "", found[i]->pod->namespace, found[i]->pod->name);
		attachment_free(found[i]);
	}
	*ret = pods;
	return 0;
}

int del_if_dead(struct attach_engine *en, const char *container, const char *ifname, struct err *e)
{
	const struct attachment *at;
	struct busy busy;
	int r = 0;

	engine_lock_container(en, &busy, container);
	at = engine_find(en, container, ifname);
	if (at && (strcmp(at->state, ATTACHMENT_READY) || netns_is_gone(at))) {
		log_info("container %s, interface %s (%s): undoing", container, ifname, at->state);
		r = attachment_undo(en, mark_deleting(en, at), CALLER_RECOVERY, e);
	}
	engine_unlock_container(en, &busy);
	return r < 0 ? err_wrap(e, r, "container %s, interface %s", container, ifname) : 0;
}

/* By @caller's shim; what another request works at is left to it. */
static void finish(struct attach_engine *en, const struct request_id *id, void *caller)
{
	const struct attachment *at;
	struct busy busy;
	struct err e;

	if (!engine_try_container(en, &busy, id->container))
		return;
	at = engine_find(en, id->container, id->ifname);
	if (at && undo_waits(at)) {
		log_info("container %s, interface %s: undoing what waited for a request", id->container, id->ifname);
		if (attachment_undo(en, at, caller, &e) < 0)
			log_warn("container %s, interface %s: %s", id->container, id->ifname, e.msg);
	}
	engine_unlock_container(en, &busy);
}

void attach_recover_by(struct attach_engine *en, void *caller)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct request_id *ids = NULL, *id;
	uint64_t until = clock_ns() + BY_REQUEST_MS * 1000000ull;
	size_t n = 0;

	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++) {
		const struct attachment *at = en->attachments[i];

		if (!undo_waits(at))
			continue;
		id = arena_push(a, &ids, &n, sizeof(*id));
		*id = (struct request_id){ arena_strdup(a, at->container), arena_strdup(a, at->ifname) };
	}
	pthread_mutex_unlock(&en->lock);
	for (size_t i = 0; i < n && clock_ns() < until; i++)
		finish(en, &ids[i], caller);
	spool_finish(en, caller, until);
}

static bool is_valid(const struct request *rq, const struct request_id *id)
{
	for (size_t i = 0; i < rq->n_valid; i++)
		if (!strcmp(rq->valid[i].container, id->container) && !strcmp(rq->valid[i].ifname, id->ifname))
			return true;
	return false;
}

int gc_run(struct attach_engine *en, const struct request *rq, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t n;
	struct request_id *ids = engine_ids(en, a, rq->name, &n);
	int first = 0;
	struct err why;

	for (size_t i = 0; i < n; i++) {
		int r = is_valid(rq, &ids[i]) ? 0 : del_run(en, ids[i].container, ids[i].ifname, rq->caller, &why);

		if (r < 0 && r != -EAGAIN && first == 0) {
			first = r;
			*e = why;
		}
	}
	return first;
}
