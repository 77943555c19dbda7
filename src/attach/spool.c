/* SPDX-License-Identifier: Apache-2.0 */
/* DELs that the shim kept while no agent was there: STATE/spool/TIME-PID.json, each the body of a request. */
#include <fcntl.h>
#include <string.h>

#include "attach/engine.h"
#include "base/file.h"
#include "base/log.h"

#define BODY_MAX (4u << 20)

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static char **list_spool(int fd, struct arena *a, size_t *ret_n)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct dirent *entry;
	char **names = NULL;
	size_t n = 0;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len > 5 && !strcmp(entry->d_name + len - 5, ".json"))
			*(char **)arena_push(a, &names, &n, sizeof(*names)) = arena_strdup(a, entry->d_name);
	}
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret_n = n;
	return names;
}

/* Only whose DEL it is counts: a pod is dead whatever its configuration says. */
static int read_body(int fd, struct arena *a, const char *name, struct request_id *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	yyjson_val *body, *env;
	const char *command;
	size_t len;
	int r = file_read(fd, name, BODY_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "spool %s", name);
	r = doc_parse_json(a, name, text, len, BODY_MAX, &body, e);
	if (r < 0)
		return err_wrap(e, -EBADMSG, "spool");
	env = yyjson_obj_get(body, "env");
	command = doc_str(env, "CNI_COMMAND");
	ret->container = doc_str(env, "CNI_CONTAINERID");
	ret->ifname = doc_str(env, "CNI_IFNAME");
	if (!command || strcmp(command, "DEL") || !ret->container || !ret->ifname)
		return err_set(e, -EBADMSG, "spool %s: no DEL of a container's interface", name);
	return 0;
}

static int apply_one(struct attach_engine *en, int fd, struct arena *a, const char *name, struct err *e)
{
	struct request_id id = { NULL, NULL };
	int r = read_body(fd, a, name, &id, e);

	if (r == -ENOENT) /* another request has just applied it */
		return 0;
	if (r == -EBADMSG) {
		log_error("%s; it is kept as %s.corrupt", e->msg, name);
		return renameat(fd, name, fd, arena_printf(a, "%s.corrupt", name)) < 0 ? err_errno(e, -errno, "spool %s", name) : 0;
	}
	if (r < 0)
		return r;
	r = del_run(en, id.container, id.ifname, CALLER_RECOVERY, e);
	/* what could not be undone is in the journal as deleting; only with nothing there is the file still needed */
	if (r < 0 && !engine_find(en, id.container, id.ifname))
		return r;
	if (r < 0 && r != -ENOTCONN)
		log_warn("spool: %s", e->msg);
	r = file_unlink(fd, name);
	return r < 0 ? err_errno(e, r, "spool %s", name) : 0;
}

int spool_apply(struct attach_engine *en, struct err *e)
{
	_cleanup_arena_ struct arena *a = NULL;
	_cleanup_close_ int fd = open(en->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int first = 0, listing;
	struct err why;
	char **names;
	size_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "%s", en->spool_dir);
	a = arena_new();
	listing = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (listing < 0)
		return err_errno(e, -errno, "%s", en->spool_dir);
	names = list_spool(listing, a, &n);
	for (size_t i = 0; i < n; i++) {
		int r = apply_one(en, fd, a, names[i], &why);

		if (r < 0 && first == 0) {
			first = r;
			*e = why;
		}
	}
	return first;
}

int attach_recover(struct attach_engine *en, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int first = spool_apply(en, e);
	struct request_id *ids;
	struct err why;
	size_t n;

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
