/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "linux/sysroot.h"

/* A sysfs attribute is at most one page, and the largest page of any machine here is 64 KiB (arm64). */
#define ATTR_MAX (64 * 1024)
#define PROC_MAX (1024 * 1024)
#define ERRORS_MAX (1024 * 1024)

/* One line of the tree's "errors": the read of this file fails, by whichever link it is reached. */
struct failing {
	const char *path; /* with sys/ or proc/ in front; of the file itself where the line named a link to it */
	int code;	  /* negative errno */
};

struct sysroot {
	struct arena *arena;
	int sys_fd, proc_fd;
	bool live;
	struct failing *failing; /* by path */
	const char **failing_names; /* their last components, each once, sorted: few reads need a closer look */
	size_t n_failing, n_failing_names;
	size_t dir_len; /* of the tree's own path, which /proc/self/fd puts in front */
};

/* Where a path starts: the two folders that a sysroot holds. */
struct place {
	const char *name;
	int fd;
};

static struct place in_sys(const struct sysroot *r)
{
	return (struct place){ "sys", r->sys_fd };
}

static struct place in_proc(const struct sysroot *r)
{
	return (struct place){ "proc", r->proc_fd };
}

/* 0 when no error is called so. */
static int errno_by_name(const char *name)
{
	const int last = 133; /* EHWPOISON */

	for (int code = 1; code <= last; code++) {
		const char *known = strerrorname_np(code);

		if (known && strcmp(known, name) == 0)
			return -code;
	}
	return 0;
}

static int compare_path(const void *a, const void *b)
{
	return strcmp(((const struct failing *)a)->path, ((const struct failing *)b)->path);
}

static int compare_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A big machine has thousands of lines, and every read asks: sorted, and by name first. */
static void sort_errors(struct sysroot *r)
{
	size_t n = 0;

	if (!r->n_failing)
		return;
	qsort(r->failing, r->n_failing, sizeof(*r->failing), compare_path);
	r->failing_names = arena_alloc(r->arena, r->n_failing * sizeof(*r->failing_names));
	for (size_t i = 0; i < r->n_failing; i++)
		r->failing_names[i] = last_component(r->failing[i].path);
	qsort(r->failing_names, r->n_failing, sizeof(*r->failing_names), compare_name);
	for (size_t i = 0; i < r->n_failing; i++)
		if (n == 0 || strcmp(r->failing_names[n - 1], r->failing_names[i]))
			r->failing_names[n++] = r->failing_names[i];
	r->n_failing_names = n;
}

/* Where the file behind @fd really is, below the tree; NULL when that cannot be told. */
static const char *real_path(const struct sysroot *r, int fd, char *buf, size_t size)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	if (n < 0 || (size_t)n <= r->dir_len)
		return NULL;
	buf[n] = '\0';
	return buf + r->dir_len + 1;
}

static const char *failing_path(struct sysroot *r, int dir_fd, const char *path)
{
	_cleanup_close_ int fd = -1;
	char buf[PATH_MAX];
	const char *real;

	if (!strncmp(path, "sys/devices/", 12)) /* no link on the way, as recordings have it */
		return arena_strdup(r->arena, path);
	fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
	real = fd < 0 ? NULL : real_path(r, fd, buf, sizeof(buf));
	return arena_strdup(r->arena, real ? real : path);
}

static int load_errors(struct sysroot *r, int dir_fd, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *line, *next, *save, last_name[32] = "", dir[PATH_MAX];
	unsigned number = 0;
	int code = 0, x = file_read(dir_fd, "errors", ERRORS_MAX, &text, NULL);

	if (x == -ENOENT)
		return 0;
	if (x < 0)
		return err_errno(e, x, "errors");
	if (real_path(r, dir_fd, dir, sizeof(dir)))
		r->dir_len = strlen(dir);
	for (line = text; line; line = next) {
		const char *path, *name;
		struct failing *f;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		number++;
		path = strtok_r(line, " \t", &save);
		if (!path || path[0] == '#')
			continue;
		name = strtok_r(NULL, " \t", &save);
		if (name && strcmp(name, last_name)) { /* most lines say the same */
			code = errno_by_name(name);
			snprintf(last_name, sizeof(last_name), "%s", name);
		}
		if (!name || !code)
			return err_set(e, -EINVAL, "errors:%u: \"%s\" is no name of an error: a line is PATH ERRNO, "
				       "as in \"sys/class/net/p2/speed EINVAL\"", number, name ? name : "");
		f = arena_push(r->arena, &r->failing, &r->n_failing, sizeof(*f));
		f->path = failing_path(r, dir_fd, path);
		f->code = code;
	}
	sort_errors(r);
	return 0;
}

static struct sysroot *sysroot_new(bool live)
{
	struct arena *a = arena_new();
	struct sysroot *r = arena_alloc(a, sizeof(*r));

	r->arena = a;
	r->sys_fd = r->proc_fd = -1;
	r->live = live;
	return r;
}

static void sysroot_closep(struct sysroot **r)
{
	sysroot_close(*r);
}

int sysroot_open(const char *dir, struct sysroot **ret, struct err *e)
{
	_cleanup_(sysroot_closep) struct sysroot *r = sysroot_new(!dir);
	_cleanup_close_ int fd = -1;
	int x;

	fd = open(dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "%s", dir ? dir : "/");
	r->sys_fd = openat(fd, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->sys_fd < 0)
		return err_errno(e, -errno, "%s/sys", dir ? dir : "");
	r->proc_fd = openat(fd, "proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->proc_fd < 0 && errno != ENOENT)
		return err_errno(e, -errno, "%s/proc", dir ? dir : "");
	if (dir) {
		x = load_errors(r, fd, e);
		if (x < 0)
			return err_wrap(e, x, "%s", dir);
	}
	*ret = TAKE_PTR(r);
	return 0;
}

/*
 * A sysfs belongs to the network namespace of whoever makes it (fs/sysfs/mount.c), so one that is mounted nowhere, made
 * here and now, shows the devices of this thread's namespace.
 */
static int open_own_sysfs(void)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysroot_open_here(struct sysroot **ret, struct err *e)
{
	_cleanup_(sysroot_closep) struct sysroot *r = sysroot_new(true);

	r->sys_fd = open_own_sysfs();
	if (r->sys_fd < 0)
		return err_errno(e, r->sys_fd, "cannot make a sysfs of this network namespace");
	r->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->proc_fd < 0)
		return err_errno(e, -errno, "/proc");
	*ret = TAKE_PTR(r);
	return 0;
}

struct sysroot *sysroot_close(struct sysroot *r)
{
	if (!r)
		return NULL;
	if (r->sys_fd >= 0)
		close(r->sys_fd);
	if (r->proc_fd >= 0)
		close(r->proc_fd);
	arena_free(r->arena);
	return NULL;
}

bool sysroot_is_live(const struct sysroot *r)
{
	return r->live;
}

int sysroot_fd(const struct sysroot *r)
{
	return r->sys_fd;
}

/* The error that the tree's list holds for the path as it was asked for, or for the file that it led to. */
static int recorded_error(const struct sysroot *r, const char *place, const char *path, int fd)
{
	char asked[PATH_MAX + 8], real[PATH_MAX];
	struct failing key = { .path = asked };
	const char *name = last_component(path);
	const struct failing *f;

	if (!r->n_failing || !bsearch(&name, r->failing_names, r->n_failing_names, sizeof(name), compare_name))
		return 0;
	snprintf(asked, sizeof(asked), "%s/%s", place, path);
	f = bsearch(&key, r->failing, r->n_failing, sizeof(*r->failing), compare_path);
	if (!f && fd >= 0) {
		key.path = real_path(r, fd, real, sizeof(real));
		f = key.path ? bsearch(&key, r->failing, r->n_failing, sizeof(*r->failing), compare_path) : NULL;
	}
	return f ? f->code : 0;
}

/* Open for reading; the fd, or the error of the kernel or of the recorded list. */
static int open_in(const struct sysroot *r, struct place p, int flags, const char *fmt, va_list ap)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int x;

	if (vsnprintf(path, sizeof(path), fmt, ap) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (p.fd < 0)
		return -ENOENT;
	fd = file_open_beneath(p.fd, path, flags, 0);
	x = recorded_error(r, p.name, path, fd);
	return x < 0 ? x : TAKE_FD(fd);
}

/* @whole: one read gives all, as of a sysfs attribute (fs/kernfs/file.c). */
static int read_fd(int fd, bool whole, size_t max, struct arena *a, const char **ret)
{
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (len == size) {
			char *grown = realloc(buf, size + 4096);

			if (!grown)
				return -ENOMEM;
			buf = grown;
			size += 4096;
		}
		n = read(fd, buf + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (whole && len < size)
			break;
	}
	if (memchr(buf, '\0', len))
		return -EBADMSG; /* binary (vpd, config): no text */
	while (len && buf[len - 1] == '\n')
		len--;
	*ret = arena_strndup(a, buf, len);
	return 0;
}

static int read_text(const struct sysroot *r, struct place p, size_t max, struct arena *a, const char **ret,
		     const char *fmt, va_list ap)
{
	_cleanup_close_ int fd = open_in(r, p, O_RDONLY | O_NONBLOCK | O_NOCTTY, fmt, ap);

	return fd < 0 ? fd : read_fd(fd, p.fd == r->sys_fd, max, a, ret);
}

int sysfs_read(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
{
	va_list ap;
	int x;

	va_start(ap, fmt);
	x = read_text(r, in_sys(r), ATTR_MAX, a, ret, fmt, ap);
	va_end(ap);
	return x;
}

int procfs_read(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
{
	va_list ap;
	int x;

	va_start(ap, fmt);
	x = read_text(r, in_proc(r), PROC_MAX, a, ret, fmt, ap);
	va_end(ap);
	return x;
}

int sysfs_read_u64(const struct sysroot *r, int base, uint64_t *ret, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *text;
	va_list ap;
	int x;

	va_start(ap, fmt);
	x = read_text(r, in_sys(r), ATTR_MAX, a, &text, fmt, ap);
	va_end(ap);
	return x < 0 ? x : parse_u64(text, base, 0, UINT64_MAX, ret);
}

int sysfs_read_i64(const struct sysroot *r, int64_t *ret, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *text;
	va_list ap;
	int x;

	va_start(ap, fmt);
	x = read_text(r, in_sys(r), ATTR_MAX, a, &text, fmt, ap);
	va_end(ap);
	return x < 0 ? x : parse_i64(text, 10, INT64_MIN, INT64_MAX, ret);
}

/* Where a link leads to, as its text says; -EINVAL when the path is no link. */
static int read_link(int fd, char target[static PATH_MAX])
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode))
		return -EINVAL;
	n = readlinkat(fd, "", target, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return 0;
}

int sysfs_link(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	const char *slash;
	va_list ap;
	int x;

	va_start(ap, fmt);
	fd = open_in(r, in_sys(r), O_PATH | O_NOFOLLOW, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	x = read_link(fd, path);
	if (x < 0)
		return x;
	slash = strrchr(path, '/');
	*ret = arena_strdup(a, slash ? slash + 1 : path);
	return 0;
}

/* The kernel's name of what @fd is open on. */
static int fd_path(int fd, char path[static PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return 0;
}

int sysfs_realpath(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX], root[PATH_MAX];
	size_t n;
	va_list ap;
	int x;

	va_start(ap, fmt);
	fd = open_in(r, in_sys(r), O_PATH, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	x = fd_path(fd, path);
	if (x == 0)
		x = fd_path(r->sys_fd, root);
	if (x < 0)
		return x;
	n = strcmp(root, "/") == 0 ? 0 : strlen(root); /* "/": a sysfs that is mounted nowhere */
	if (strncmp(path, root, n) != 0 || path[n] != '/')
		return -ENOENT; /* removed meanwhile */
	*ret = arena_strdup(a, path + n + 1);
	return 0;
}

static int by_version(const void *a, const void *b)
{
	return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

int sysfs_list(const struct sysroot *r, struct arena *a, const char ***ret, size_t *ret_n, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	_cleanup_closedir_ DIR *dir = NULL;
	const char **names = NULL;
	struct dirent *de;
	size_t n = 0;
	va_list ap;

	va_start(ap, fmt);
	fd = open_in(r, in_sys(r), O_RDONLY | O_DIRECTORY, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void)TAKE_FD(fd);
	while ((errno = 0, de = readdir(dir))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		*(const char **)arena_push(a, &names, &n, sizeof(*names)) = arena_strdup(a, de->d_name);
	}
	if (errno)
		return -errno;
	if (n)
		qsort(names, n, sizeof(*names), by_version);
	*ret = names;
	*ret_n = n;
	return 0;
}

/* What is there but cannot be read exists. */
bool sysfs_exists(const struct sysroot *r, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(path))
		return false;
	fd = file_open_beneath(r->sys_fd, path, O_PATH | O_NOFOLLOW, 0);
	return fd >= 0;
}
