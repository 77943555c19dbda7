/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/engine.h"
#include "attach/journal.h"
#include "attach/result.h"
#include "base/log.h"

void engine_step(const struct attach_engine *en, enum attach_step s, size_t rail)
{
	char name[64];

	if (!en->host.step)
		return;
	if (rail == 0) {
		en->host.step(en->host.arg, step_name(s));
		return;
	}
	snprintf(name, sizeof(name), "%s#%zu", step_name(s), rail);
	en->host.step(en->host.arg, name);
}

static bool is_busy(const struct attach_engine *en, const char *container)
{
	for (const struct busy *b = en->busy; b; b = b->next)
		if (!strcmp(b->container, container))
			return true;
	return false;
}

/* The lock is held, and nobody works at the container. */
static void make_busy(struct attach_engine *en, struct busy *b, const char *container)
{
	b->container = container;
	b->next = en->busy;
	en->busy = b;
}

void engine_lock_container(struct attach_engine *en, struct busy *b, const char *container)
{
	pthread_mutex_lock(&en->lock);
	while (is_busy(en, container))
		pthread_cond_wait(&en->changed, &en->lock);
	make_busy(en, b, container);
	pthread_mutex_unlock(&en->lock);
}

bool engine_try_container(struct attach_engine *en, struct busy *b, const char *container)
{
	bool free;

	pthread_mutex_lock(&en->lock);
	free = !is_busy(en, container);
	if (free)
		make_busy(en, b, container);
	pthread_mutex_unlock(&en->lock);
	return free;
}

void engine_unlock_container(struct attach_engine *en, struct busy *b)
{
	pthread_mutex_lock(&en->lock);
	for (struct busy **p = &en->busy; *p; p = &(*p)->next) {
		if (*p == b) {
			*p = b->next;
			break;
		}
	}
	pthread_cond_broadcast(&en->changed);
	pthread_mutex_unlock(&en->lock);
}

/* Where the attachment is, or where none is: en->n. The lock is held. */
static size_t position(const struct attach_engine *en, const char *container, const char *ifname)
{
	size_t i = 0;

	while (i < en->n && (strcmp(en->attachments[i]->container, container) || strcmp(en->attachments[i]->ifname, ifname)))
		i++;
	return i;
}

const struct attachment *engine_find(struct attach_engine *en, const char *container, const char *ifname)
{
	const struct attachment *at = NULL;
	size_t i;

	pthread_mutex_lock(&en->lock);
	i = position(en, container, ifname);
	if (i < en->n)
		at = en->attachments[i];
	pthread_mutex_unlock(&en->lock);
	return at;
}

static void show(struct attach_engine *en, struct attachment *at)
{
	struct attachment *old = NULL;
	size_t i;

	pthread_mutex_lock(&en->lock);
	i = position(en, at->container, at->ifname);
	if (i == en->size) {
		en->size = en->size ? en->size * 2 : 16;
		en->attachments = realloc(en->attachments, en->size * sizeof(*en->attachments));
		if (!en->attachments)
			abort(); /* as the arenas do */
	}
	if (i < en->n)
		old = en->attachments[i];
	else
		en->n++;
	en->attachments[i] = at;
	pthread_mutex_unlock(&en->lock);
	attachment_free(old);
}

int engine_commit(struct attach_engine *en, const struct attachment *at, const struct attachment **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *text = attachment_encode(a, at);
	struct attachment *copy;
	int r = attachment_decode("journal", text, strlen(text), &copy, e);

	if (r == 0)
		r = journal_write(en->journal_fd, copy, e);
	if (r < 0)
		return r;
	show(en, copy);
	if (ret)
		*ret = copy;
	return 0;
}

int engine_forget(struct attach_engine *en, const struct attachment *at, struct err *e)
{
	struct attachment *gone = NULL;
	size_t i;
	int r = journal_remove(en->journal_fd, at, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&en->lock);
	gone_note(&en->gone, at->container, at->ifname);
	i = position(en, at->container, at->ifname);
	if (i < en->n) {
		gone = en->attachments[i];
		en->attachments[i] = en->attachments[--en->n];
	}
	pthread_mutex_unlock(&en->lock);
	attachment_free(gone);
	return 0;
}

bool engine_is_gone(struct attach_engine *en, const char *container, const char *ifname)
{
	bool is;

	pthread_mutex_lock(&en->lock);
	is = gone_has(&en->gone, container, ifname);
	pthread_mutex_unlock(&en->lock);
	return is;
}

const char **engine_taken(struct attach_engine *en, struct arena *a, size_t *ret_n)
{
	const char **taken = NULL;
	size_t n = 0;

	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++)
		for (size_t k = 0; k < en->attachments[i]->n_rails; k++)
			*(const char **)arena_push(a, &taken, &n, sizeof(*taken)) = arena_strdup(a, attachment_device(&en->attachments[i]->rails[k]));
	for (const struct reserved *r = en->reserved; r; r = r->next)
		for (size_t k = 0; k < r->n; k++)
			*(const char **)arena_push(a, &taken, &n, sizeof(*taken)) = r->vfs[k];
	pthread_mutex_unlock(&en->lock);
	*ret_n = n;
	return taken;
}

void engine_reserve(struct attach_engine *en, struct reserved *r)
{
	pthread_mutex_lock(&en->lock);
	r->next = en->reserved;
	en->reserved = r;
	pthread_mutex_unlock(&en->lock);
}

void engine_unreserve(struct attach_engine *en, struct reserved *r)
{
	pthread_mutex_lock(&en->lock);
	for (struct reserved **p = &en->reserved; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	pthread_mutex_unlock(&en->lock);
}

struct request_id *engine_ids(struct attach_engine *en, struct arena *a, const char *conf_name, size_t *ret_n)
{
	struct request_id *ids = NULL;
	size_t n = 0;

	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++) {
		const struct attachment *at = en->attachments[i];
		struct request_id *id;

		if (conf_name && (!at->conf_name || strcmp(at->conf_name, conf_name)))
			continue;
		id = arena_push(a, &ids, &n, sizeof(*id));
		id->container = arena_strdup(a, at->container);
		id->ifname = arena_strdup(a, at->ifname);
	}
	pthread_mutex_unlock(&en->lock);
	*ret_n = n;
	return ids;
}

int attach_engine_new(const struct attach_host *host, struct attach_engine **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct attach_engine *en = calloc(1, sizeof(*en));
	struct attachment **found;
	size_t n;
	int r;

	if (!en)
		return err_set(e, -ENOMEM, "out of memory");
	en->host = *host;
	pthread_mutex_init(&en->lock, NULL);
	pthread_mutex_init(&en->picking, NULL);
	pthread_cond_init(&en->changed, NULL);
	if (asprintf(&en->spool_dir, "%s/spool", host->state_dir) < 0)
		abort();
	en->journal_fd = r = journal_open(host->state_dir, true, e);
	if (r >= 0)
		r = journal_load(en->journal_fd, a, true, &found, &n, NULL, e);
	if (r < 0) {
		attach_engine_free(en);
		return r;
	}
	for (size_t i = 0; i < n; i++)
		show(en, found[i]);
	*ret = en;
	return 0;
}

struct attach_engine *attach_engine_free(struct attach_engine *en)
{
	if (!en)
		return NULL;
	for (size_t i = 0; i < en->n; i++)
		attachment_free(en->attachments[i]);
	free(en->attachments);
	gone_clear(&en->gone);
	free(en->spool_dir);
	if (en->journal_fd >= 0)
		close(en->journal_fd);
	pthread_cond_destroy(&en->changed);
	pthread_mutex_destroy(&en->picking);
	pthread_mutex_destroy(&en->lock);
	free(en);
	return NULL;
}

/* Does the journal know it? */
static bool is_known(struct attach_engine *en, const struct request *rq)
{
	struct busy busy;
	bool known;

	engine_lock_container(en, &busy, rq->container);
	known = engine_find(en, rq->container, rq->ifname) != NULL;
	engine_unlock_container(en, &busy);
	return known;
}

static int run_del(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f)
{
	int r;

	if (en->host.cluster && meta_is(rq) && !is_known(en, rq))
		return engine_is_gone(en, rq->container, rq->ifname) ? 0 : meta_del_unknown(en, a, rq, f);
	r = del_run(en, rq->container, rq->ifname, rq->caller, &f->e);
	if (r == -EAGAIN) { /* the runtime can do nothing about it; the journal keeps it and it is tried again */
		log_warn("DEL %s %s: %s", rq->container, rq->ifname, f->e.msg);
		return 0;
	}
	return r < 0 ? cni_fail_errno(f, r) : 0;
}

static int run_check(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f)
{
	struct busy busy;
	const struct attachment *at;
	int r;

	engine_lock_container(en, &busy, rq->container);
	at = engine_find(en, rq->container, rq->ifname);
	if (!at || strcmp(at->state, ATTACHMENT_READY))
		r = cni_fail(f, CNI_UNKNOWN_CONTAINER, NULL, "container %s has no interface %s of kvrail%s", rq->container, rq->ifname,
			     at ? " that is ready" : "");
	else
		r = at->n_rails ? pod_check(en->host.root, at, &f->e) : 0;
	if (r == 0 && at->n_delegates)
		r = meta_check(en, a, rq, at, f);
	engine_unlock_container(en, &busy);
	return r < 0 ? cni_fail_errno(f, r) : r;
}

/* rdma-cni behind our own interface plugin, which has moved the RDMA device already. */
static int run_rdma(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f)
{
	struct busy busy;
	const struct attachment *at;
	int r = 0;

	if (rq->verb != VERB_ADD)
		return 0;
	if (!rq->prev_result)
		return cni_fail(f, CNI_INVALID_CONFIG, NULL, "RDMA-CNI is expected to be called as part of a plugin chain: prevResult is missing");
	engine_lock_container(en, &busy, rq->container);
	at = engine_find(en, rq->container, rq->ifname);
	for (size_t i = 0; at && i < at->n_rails && r == 0; i++)
		if (!at->rails[i].set->rdma && !at->rails[i].set->rxe)
			r = cni_fail(f, CNI_INVALID_CONFIG, NULL, "no RDMA device of %s is in the pod's namespace alone: the RDMA subsystem is in "
				     "shared mode, or the VF has none", at->rails[i].ifname);
	if (!at)
		r = cni_fail(f, CNI_INVALID_CONFIG, NULL, "interface %s of container %s was not made by kvrail: its RDMA device is left alone",
			     rq->ifname, rq->container);
	engine_unlock_container(en, &busy);
	if (r == 0) {
		yyjson_mut_doc *doc = doc_new(a);

		*reply = doc_mut_to_json(a, yyjson_val_mut_copy(doc, rq->prev_result), false);
	}
	return r;
}

static int dispatch(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f)
{
	int r;

	if (rq->ipam)
		return ipam_verb(en, a, rq, reply, f);
	if (rq->within && rq->container && !strcmp(rq->within, rq->container))
		return rq->verb == VERB_DEL ? 0 : cni_fail(f, CNI_INVALID_CONFIG, NULL, "plugin \"%s\" is kvrail's own, and cannot be part of another maker's chain: "
				"a list that begins with sriov, ib-sriov or kvrail is made by kvrail as a whole", rq->type ? rq->type : "");
	if (rq->type && !strcmp(rq->type, "rdma"))
		return run_rdma(en, a, rq, reply, f);
	switch (rq->verb) {
	case VERB_ADD:
		/* DELs that the shim kept hold VFs and addresses */
		if (spool_apply(en, &f->e) < 0)
			log_warn("%s", f->e.msg);
		return add_run(en, a, rq, reply, f);
	case VERB_DEL:
		return run_del(en, a, rq, f);
	case VERB_CHECK:
		return run_check(en, a, rq, f);
	case VERB_GC:
		r = gc_run(en, rq, &f->e);
		if (r == 0 && en->host.cluster && meta_is(rq))
			return meta_gc(en, a, rq, f);
		return r < 0 ? cni_fail_errno(f, r) : 0;
	case VERB_STATUS:
		return en->host.cluster && meta_is(rq) ? meta_status(en, a, rq, f) : 0;
	}
	return cni_fail(f, CNI_INTERNAL, NULL, "verb %d", rq->verb);
}

int attach_request(struct attach_engine *en, struct arena *a, const struct cni_env *env, const char *conf, size_t len,
		   char **reply)
{
	struct request rq = { .version = CNI_1_1_0 };
	struct cni_failure f = { 0 };
	int r = request_parse(a, env, conf, len, &rq, &f);

	*reply = arena_strdup(a, "");
	if (r == 0)
		r = dispatch(en, a, &rq, reply, &f);
	if (r)
		*reply = result_error(a, rq.version, &f);
	return r;
}

static void add_holder(struct arena *a, struct attach_holder **all, size_t *n, const char *namespace, const char *name, const char *vf)
{
	for (size_t i = 0; i < *n; i++)
		if (!strcmp((*all)[i].vf, vf))
			return;
	*(struct attach_holder *)arena_push(a, all, n, sizeof(**all)) =
		(struct attach_holder){ arena_strdup(a, namespace), arena_strdup(a, name), arena_strdup(a, vf) };
}

void attach_holders(struct attach_engine *en, struct arena *a, struct attach_holder **ret, size_t *ret_n)
{
	struct attach_holder *all = NULL;
	size_t n = 0;

	pthread_mutex_lock(&en->picking); /* what is picked is reserved then */
	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++) {
		const struct attachment *at = en->attachments[i];

		for (size_t k = 0; k < at->n_rails; k++)
			if (*at->rails[k].vf)
				add_holder(a, &all, &n, at->pod->namespace, at->pod->name, at->rails[k].vf);
	}
	for (const struct reserved *r = en->reserved; r; r = r->next)
		for (size_t k = 0; k < r->n; k++)
			add_holder(a, &all, &n, r->namespace, r->name, r->vfs[k]);
	pthread_mutex_unlock(&en->lock);
	pthread_mutex_unlock(&en->picking);
	*ret = all;
	*ret_n = n;
}

yyjson_mut_val *attach_list(struct attach_engine *en, yyjson_mut_doc *doc)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc), *copy;

	pthread_mutex_lock(&en->lock);
	for (size_t i = 0; i < en->n; i++)
		yyjson_mut_arr_append(list, attachment_json(doc, en->attachments[i]));
	copy = yyjson_mut_val_mut_copy(doc, list); /* strings may point into attachments, which change once the lock is gone */
	pthread_mutex_unlock(&en->lock);
	return copy;
}

yyjson_mut_val *attach_list_dir(const char *state_dir, yyjson_mut_doc *doc, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_close_ int fd = journal_open(state_dir, false, e);
	yyjson_mut_val *list = yyjson_mut_arr(doc), *copy;
	struct attachment **found;
	size_t n = 0;

	if (fd == -ENOENT)
		return list;
	if (fd < 0 || journal_load(fd, a, false, &found, &n, NULL, e) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(list, attachment_json(doc, found[i]));
	copy = yyjson_mut_val_mut_copy(doc, list);
	for (size_t i = 0; i < n; i++)
		attachment_free(found[i]);
	return copy;
}
