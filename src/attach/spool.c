/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELs that the shim kept while no agent was there: STATE/spool/TIME-PID.json, each the body of a request. TIME-PID.notes is one of a pod that Multus
 * started: its addresses are given back, and Multus' notes of it wait for a request whose shim runs the plugins that they name.
 */
#include <fcntl.h>
#include <string.h>

#include "attach/engine.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define BODY_MAX (4u << 20)
#define NEW ".json"
#define NOTES ".notes"

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static char **list_spool(int fd, struct arena *a, const char *end, size_t *ret_n)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	size_t n = 0, end_len = strlen(end);
	struct dirent *entry;
	char **names = NULL;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len > end_len && !strcmp(entry->d_name + len - end_len, end))
			*(char **)arena_push(a, &names, &n, sizeof(*names)) = arena_strdup(a, entry->d_name);
	}
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret_n = n;
	return names;
}

/* Names that end so, sorted. The folder's descriptor, -ENOENT when there is none. */
static int open_spool(struct attach_engine *en, struct arena *a, const char *end, char ***ret, size_t *ret_n, struct err *e)
{
	_cleanup_close_ int fd = open(en->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int listing;

	if (fd < 0)
		return err_errno(e, -errno, "%s", en->spool_dir);
	listing = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (listing < 0)
		return err_errno(e, -errno, "%s", en->spool_dir);
	*ret = list_spool(listing, a, end, ret_n);
	return TAKE_FD(fd);
}

struct spooled {
	struct cni_env env;
	const char *conf; /* base64, or NULL */
};

/* Only whose DEL it is counts: a pod is dead whatever its configuration says. */
static int read_body(int fd, struct arena *a, const char *name, struct spooled *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	yyjson_val *body, *vars;
	size_t len;
	int r = file_read(fd, name, BODY_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "spool %s", name);
	r = doc_parse_json(a, name, text, len, BODY_MAX, &body, e);
	if (r < 0)
		return err_wrap(e, -EBADMSG, "spool");
	vars = yyjson_obj_get(body, "env");
	*ret = (struct spooled){
		.env = { .command = doc_str(vars, "CNI_COMMAND"), .container_id = doc_str(vars, "CNI_CONTAINERID"), .netns = doc_str(vars, "CNI_NETNS"),
			 .ifname = doc_str(vars, "CNI_IFNAME"), .args = doc_str(vars, "CNI_ARGS"), .path = doc_str(vars, "CNI_PATH"),
			 .plugin = doc_str(vars, "CNI_KVRAIL_PLUGIN") },
		.conf = doc_str(body, "config"),
	};
	if (!ret->env.command || strcmp(ret->env.command, "DEL") || !ret->env.container_id || !ret->env.ifname)
		return err_set(e, -EBADMSG, "spool %s: no DEL of a container's interface", name);
	return 0;
}

/* A whole pod's DEL, to the meta plugin? */
static bool is_meta(struct attach_engine *en, struct arena *a, const struct spooled *s, struct request *ret)
{
	struct cni_failure f;
	char *conf;
	size_t len;

	return en->host.cluster && s->conf && base64_decode(a, s->conf, &conf, &len) == 0 && request_parse(a, &s->env, conf, len, ret, &f) == 0 &&
	       !ret->ipam && meta_is(ret);
}

/* A pod that the journal does not know holds addresses of all its interfaces. */
static int release_unknown(struct attach_engine *en, struct arena *a, const struct request *rq, bool *ret_notes, struct err *e)
{
	*ret_notes = meta_has_notes(en, a, rq);
	return ipam_release(en->host.ipam, rq->container, NULL, 0, e);
}

static int keep_notes(int fd, struct arena *a, const char *name, struct err *e)
{
	const char *kept = arena_printf(a, "%.*s" NOTES, (int)(strlen(name) - strlen(NEW)), name);

	if (renameat(fd, name, fd, kept) < 0 && errno != ENOENT)
		return err_errno(e, -errno, "spool %s", name);
	return 0;
}

static int apply_one(struct attach_engine *en, int fd, struct arena *a, const char *name, struct err *e)
{
	struct spooled s;
	struct request rq;
	bool notes = false;
	int r = read_body(fd, a, name, &s, e);

	if (r == -ENOENT) /* another request has just applied it */
		return 0;
	if (r == -EBADMSG) {
		log_error("%s; it is kept as %s.corrupt", e->msg, name);
		return renameat(fd, name, fd, arena_printf(a, "%s.corrupt", name)) < 0 ? err_errno(e, -errno, "spool %s", name) : 0;
	}
	if (r < 0)
		return r;
	if (!engine_find(en, s.env.container_id, s.env.ifname) && is_meta(en, a, &s, &rq))
		r = release_unknown(en, a, &rq, &notes, e);
	else
		r = del_run(en, s.env.container_id, s.env.ifname, CALLER_RECOVERY, e);
	/* what could not be undone is in the journal as deleting; only with nothing there is the file still needed */
	if (r < 0 && !engine_find(en, s.env.container_id, s.env.ifname))
		return r;
	if (r < 0 && r != -ENOTCONN)
		log_warn("spool: %s", e->msg);
	if (notes)
		return keep_notes(fd, a, name, e);
	r = file_unlink(fd, name);
	return r < 0 ? err_errno(e, r, "spool %s", name) : 0;
}

int spool_apply(struct attach_engine *en, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int first = 0;
	struct err why;
	char **names;
	size_t n;
	_cleanup_close_ int fd = open_spool(en, a, NEW, &names, &n, e);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	for (size_t i = 0; i < n; i++) {
		int r = apply_one(en, fd, a, names[i], &why);

		if (r < 0 && first == 0) {
			first = r;
			*e = why;
		}
	}
	return first;
}

/* What another request works at is left to it. */
static void finish_one(struct attach_engine *en, int fd, const char *name, void *caller)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cni_failure f = { 0 };
	struct request rq;
	struct busy busy;
	struct spooled s;
	int r = read_body(fd, a, name, &s, &f.e);

	if (r < 0 || !is_meta(en, a, &s, &rq) || !engine_try_container(en, &busy, rq.container))
		return;
	rq.caller = caller;
	if (faccessat(fd, name, F_OK, 0) == 0) {
		log_info("container %s: undoing what Multus noted of it", rq.container);
		r = meta_del_unknown(en, a, &rq, &f);
		if (r == 0 && file_unlink(fd, name) < 0)
			r = cni_fail(&f, CNI_IO, NULL, "spool %s cannot be removed", name);
		if (r)
			log_warn("container %s: %s", rq.container, f.e.msg);
	}
	engine_unlock_container(en, &busy);
}

void spool_finish(struct attach_engine *en, void *caller, uint64_t until_ns)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char **names;
	size_t n = 0;
	_cleanup_close_ int fd = open_spool(en, a, NOTES, &names, &n, NULL);

	for (size_t i = 0; i < n && clock_ns() < until_ns; i++)
		finish_one(en, fd, names[i], caller);
}

int attach_recover(struct attach_engine *en, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int first = spool_apply(en, e);
	struct request_id *ids;
	struct err why;
	size_t n;

	if (en->host.cluster && !en->host.cluster->contained)
		spool_finish(en, NULL, UINT64_MAX);
	ids = engine_ids(en, a, NULL, &n);
	for (size_t i = 0; i < n; i++) {
		int r = del_if_dead(en, ids[i].container, ids[i].ifname, &why);

		if (r < 0 && r != -ENOTCONN && first == 0) {
			first = r;
			*e = why;
		}
	}
	return first;
}
