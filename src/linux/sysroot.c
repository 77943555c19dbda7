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
#define NAME_BITS 1024

/* One line of the tree's "errors": the read of this file fails, by whichever link it is reached. */
struct failing {
	const char *path; /* with sys/ or proc/ in front; of the file itself where the line named a link to it */
	int code;	  /* negative errno */
};

struct sysroot {
	struct arena *arena; /* NULL: of a folder, which the caller's arena holds */
	int sys_fd, proc_fd;
	const char *sys_name; /* what sys_fd is open on, below the tree: "sys" or "sys/bus/pci/devices/0000:18:00.0" */
	bool live;
	char *errors;		 /* the text of the list, which the paths point into */
	struct failing *failing; /* by path */
	size_t n_failing;
	uint64_t failing_names[NAME_BITS / 64]; /* a bit for each hash of a last component: few reads need a closer look */
	size_t dir_len; /* of the tree's own path, which /proc/self/fd puts in front */
};

/* Where a path starts: the two folders that a sysroot holds. */
struct place {
	const char *name;
	int fd;
};

static struct place in_sys(const struct sysroot *r)
{
	return (struct place){ r->sys_name, r->sys_fd };
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

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static size_t name_bit(const char *path)
{
	uint32_t hash = 2166136261; /* FNV-1a */

	for (const char *c = last_component(path); *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619;
	return hash % NAME_BITS;
}

/* A big machine has thousands of lines, and every read asks. As they are recorded they are in order already. */
static void sort_errors(struct sysroot *r)
{
	bool sorted = true;

	for (size_t i = 0; i < r->n_failing; i++) {
		size_t bit = name_bit(r->failing[i].path);

		r->failing_names[bit / 64] |= UINT64_C(1) << bit % 64;
		sorted &= i == 0 || compare_path(&r->failing[i - 1], &r->failing[i]) <= 0;
	}
	if (!sorted)
		qsort(r->failing, r->n_failing, sizeof(*r->failing), compare_path);
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

/* @path itself where it is the file's own, which stays as long as the list's text. */
static const char *failing_path(struct sysroot *r, int dir_fd, const char *path)
{
	_cleanup_close_ int fd = -1;
	char buf[PATH_MAX];
	const char *real;

	if (!strncmp(path, "sys/devices/", 12)) /* no link on the way, as recordings have it */
		return path;
	fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
	real = fd < 0 ? NULL : real_path(r, fd, buf, sizeof(buf));
	return real ? arena_strdup(r->arena, real) : path;
}

static int load_errors(struct sysroot *r, int dir_fd, struct err *e)
{
	char *line, *next, *save, last_name[32] = "", dir[PATH_MAX];
	unsigned number = 0;
	int code = 0, x = file_read(dir_fd, "errors", ERRORS_MAX, &r->errors, NULL);

	if (x == -ENOENT)
		return 0;
	if (x < 0)
		return err_errno(e, x, "errors");
	if (real_path(r, dir_fd, dir, sizeof(dir)))
		r->dir_len = strlen(dir);
	for (line = r->errors; line; line = next) {
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
	r->sys_name = "sys";
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
	if (r->arena)
		free(r->errors);
	arena_free(r->arena);
	return NULL;
}

int sysroot_open_folder(const struct sysroot *r, struct arena *a, struct sysroot **ret, const char *fmt, ...)
{
	struct sysroot *folder = arena_memdup(a, r, sizeof(*r));
	const char *path;
	va_list ap;

	va_start(ap, fmt);
	path = arena_vprintf(a, fmt, ap);
	va_end(ap);
	folder->sys_fd = file_open_beneath(r->sys_fd, path, O_PATH | O_DIRECTORY, 0);
	if (folder->sys_fd < 0)
		return folder->sys_fd;
	folder->arena = NULL;
	folder->proc_fd = -1;
	folder->sys_name = arena_printf(a, "%s/%s", r->sys_name, path);
	*ret = folder;
	return 0;
}

bool sysroot_is_live(const struct sysroot *r)
{
	return r->live;
}

int sysroot_fd(const struct sysroot *r)
{
	return r->sys_fd;
}

/* Whether the tree's list holds a file of this name, wherever: for most reads that is all there is to know. */
static bool may_fail(const struct sysroot *r, const char *path)
{
	size_t bit;

	if (!r->n_failing)
		return false;
	bit = name_bit(path);
	return r->failing_names[bit / 64] >> bit % 64 & 1;
}

/* The error that the tree's list holds for the path as it was asked for, or for the file that it led to. */
static int recorded_error(const struct sysroot *r, const char *place, const char *path, int fd)
{
	char asked[2 * PATH_MAX], real[PATH_MAX];
	struct failing key = { .path = asked };
	const struct failing *f;

	snprintf(asked, sizeof(asked), "%s/%s", place, path);
	f = bsearch(&key, r->failing, r->n_failing, sizeof(*r->failing), compare_path);
	if (!f && fd >= 0) {
		key.path = real_path(r, fd, real, sizeof(real));
		f = key.path ? bsearch(&key, r->failing, r->n_failing, sizeof(*r->failing), compare_path) : NULL;
	}
	return f ? f->code : 0;
}

static int format_path(char path[static PATH_MAX], const char *fmt, va_list ap)
{
	return vsnprintf(path, PATH_MAX, fmt, ap) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int open_path(const struct sysroot *r, struct place p, int flags, const char *path)
{
	_cleanup_close_ int fd = -1;
	int x;

	if (p.fd < 0)
		return -ENOENT;
	fd = file_open_beneath(p.fd, path, flags, 0);
	x = may_fail(r, path) ? recorded_error(r, p.name, path, fd) : 0;
	return x < 0 ? x : TAKE_FD(fd);
}

/* Open for reading; the fd, or the error of the kernel or of the recorded list. */
static int open_in(const struct sysroot *r, struct place p, int flags, const char *fmt, va_list ap)
{
	char path[PATH_MAX];
	int x = format_path(path, fmt, ap);

	return x < 0 ? x : open_path(r, p, flags, path);
}

static int keep_text(struct arena *a, const char *buf, size_t len, const char **ret)
{
	if (memchr(buf, '\0', len))
		return -EBADMSG; /* binary (vpd, config): no text */
	while (len && buf[len - 1] == '\n')
		len--;
	*ret = arena_strndup(a, buf, len);
	return 0;
}

/* @whole: one read gives all, as of a sysfs attribute (fs/kernfs/file.c). */
static int read_fd(int fd, bool whole, size_t max, struct arena *a, const char **ret)
{
	char first[4096]; /* most attributes fit */
	_cleanup_free_ char *grown = NULL;
	char *buf = first;
	size_t len = 0, size = sizeof(first);

	for (;;) {
		ssize_t n;

		if (len == size) {
			buf = realloc(grown, size * 2);
			if (!buf)
				return -ENOMEM;
			if (!grown)
				memcpy(buf, first, len);
			grown = buf;
			size *= 2;
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
	return keep_text(a, buf, len, ret);
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

/* Where the link leads to, as its text says; -EINVAL when the path is no link. */
static int read_link(const struct sysroot *r, const char *path, char target[static PATH_MAX])
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;

	if (strchr(path, '/') || may_fail(r, path)) {
		fd = open_path(r, in_sys(r), O_PATH | O_NOFOLLOW, path);
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (!S_ISLNK(st.st_mode))
			return -EINVAL;
		n = readlinkat(fd, "", target, PATH_MAX - 1);
	} else {
		/* a name in the folder itself: there is no link on the way that could lead out */
		n = readlinkat(r->sys_fd, path, target, PATH_MAX - 1);
	}
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return 0;
}

int sysfs_link(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
{
	char path[PATH_MAX], target[PATH_MAX];
	va_list ap;
	int x;

	va_start(ap, fmt);
	x = format_path(path, fmt, ap);
	va_end(ap);
	if (x == 0)
		x = read_link(r, path, target);
	if (x == 0)
		*ret = arena_strdup(a, last_component(target));
	return x;
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

/* Without opendir(3), which asks the kernel twice more about each folder; an inventory lists hundreds. */
static int list_fd(int fd, struct arena *a, const char ***names, size_t *n)
{
	_Alignas(struct dirent64) char buf[4096];
	ssize_t len;

	while ((len = getdents64(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < len;) {
			const struct dirent64 *de = (const struct dirent64 *)(buf + at);

			at += de->d_reclen;
			if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
				*(const char **)arena_push(a, names, n, sizeof(**names)) = arena_strdup(a, de->d_name);
		}
	return len < 0 ? -errno : 0;
}

int sysfs_list(const struct sysroot *r, struct arena *a, const char ***ret, size_t *ret_n, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	const char **names = NULL;
	size_t n = 0;
	va_list ap;
	int x;

	va_start(ap, fmt);
	fd = open_in(r, in_sys(r), O_RDONLY | O_DIRECTORY, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	x = list_fd(fd, a, &names, &n);
	if (x < 0)
		return x;
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
