/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "attach/journal.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"

int journal_open(const char *state_dir, bool create, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *path = arena_printf(a, "%s/attach", state_dir);
	int r, fd;

	if (create && (r = file_mkdirs(path, 0700)) < 0)
		return err_errno(e, r, "%s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "%s", path) : fd;
}

char *journal_name(struct arena *a, const char *container, const char *ifname)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_addf(&b, "%s-", container);
	for (const char *s = ifname; *s; s++) {
		if (*s == '-' || *s == '%')
			strbuf_addf(&b, "%%%02X", (unsigned char)*s);
		else
			strbuf_addch(&b, *s);
	}
	strbuf_addstr(&b, ".json");
	return arena_strdup(a, b.s);
}

int journal_write(int dirfd, const struct attachment *at, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *name = journal_name(a, at->container, at->ifname), *text = attachment_encode(a, at);
	int r = file_write_atomic(dirfd, name, text, strlen(text), 0600);

	return r < 0 ? err_errno(e, r, "the journal %s cannot be written", name) : 0;
}

int journal_remove(int dirfd, const struct attachment *at, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *name = journal_name(a, at->container, at->ifname);
	int r = file_unlink(dirfd, name);

	return r < 0 ? err_errno(e, r, "the journal %s cannot be removed", name) : 0;
}

/* Keep a file that nobody can read out of the way, without losing what an earlier one said. */
static void set_aside(int dirfd, struct arena *a, const char *name)
{
	for (unsigned i = 0; i < 1000; i++) {
		char *aside = i ? arena_printf(a, "%s.corrupt.%u", name, i) : arena_printf(a, "%s.corrupt", name);

		if (renameat2(dirfd, name, dirfd, aside, RENAME_NOREPLACE) == 0) {
			log_error("the file is kept as %s; what it attached must be taken back by hand: it names the VFs and what they were", aside);
			return;
		}
		if (errno != EEXIST)
			break;
	}
	log_error("%s cannot be renamed: %s", name, strerror(errno));
}

static int load_one(int dirfd, struct arena *a, const char *name, struct attachment **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct attachment *at;
	size_t len;
	int r = file_read(dirfd, name, ATTACHMENT_SIZE_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r == -EFBIG ? -EBADMSG : r, "%s", name);
	r = attachment_decode(name, text, len, &at, e);
	if (r < 0)
		return r;
	if (strcmp(name, journal_name(a, at->container, at->ifname))) {
		r = err_set(e, -EBADMSG, "%s: is of container \"%s\", interface \"%s\"", name, at->container, at->ifname);
		attachment_free(at);
		return r;
	}
	*ret = at;
	return 0;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static int list_names(int dirfd, struct arena *a, char ***ret, size_t *ret_n, struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return err_errno(e, -errno, "the journal's folder cannot be read");
	while ((entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n > 5 && !strcmp(entry->d_name + n - 5, ".json"))
			*(char **)arena_push(a, ret, ret_n, sizeof(char *)) = arena_strdup(a, entry->d_name);
	}
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(**ret), by_name);
	return 0;
}

int journal_load(int dirfd, struct arena *a, bool repair, struct attachment ***ret, size_t *ret_n, size_t *ret_bad,
		 struct err *e)
{
	struct attachment **found = NULL;
	size_t n = 0, n_names = 0, bad = 0;
	char **names = NULL;
	int r = list_names(dirfd, a, &names, &n_names, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n_names; i++) {
		struct attachment *at = NULL;
		struct err why;

		r = load_one(dirfd, a, names[i], &at, &why);
		if (r == -ENOENT) /* gone since it was listed */
			continue;
		if (r == 0) {
			*(struct attachment **)arena_push(a, &found, &n, sizeof(at)) = at;
			continue;
		}
		bad++;
		log_error("journal: %s", why.msg);
		if (repair && r == -EBADMSG)
			set_aside(dirfd, a, names[i]);
	}
	*ret = found;
	*ret_n = n;
	if (ret_bad)
		*ret_bad = bad;
	return 0;
}
