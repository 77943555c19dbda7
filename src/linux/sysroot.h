/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where /sys and /proc are. All reads of both go through a sysroot, so that a recorded tree of a
 * machine ("DIR/sys", "DIR/proc") is read by the same code as the running one. Paths are
 * relative ("bus/pci/devices/0000:18:00.0/vendor") and opened beneath the folder's descriptor.
 *
 * A recorded tree may hold "DIR/errors": lines "PATH ERRNO" (sys/class/net/p2/speed EINVAL), for attributes
 * whose read fails on the real machine: a plain tree cannot show that.
 */
#ifndef KVRAIL_LINUX_SYSROOT_H
#define KVRAIL_LINUX_SYSROOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct sysroot;

/* @dir NULL: the running machine ("/"). Else the folder that holds sys/ (and perhaps proc/). */
int sysroot_open(const char *dir, struct sysroot **ret, struct err *e);
struct sysroot *sysroot_close(struct sysroot *r);
bool sysroot_is_live(const struct sysroot *r);
/* /sys as seen by this thread's network namespace (a fresh sysfs mount): for class/net and class/infiniband of a pod. */
int sysroot_open_here(struct sysroot **ret, struct err *e);

/*
 * A folder below sys/ as a root of its own, for many attributes of one device: paths start there, so that the way to it is
 * walked once. A link that leads out of the folder (driver, physfn) can be read by sysfs_link() and is not followed
 * (-EXDEV). In @a but for the descriptor: sysroot_close() it before @r and @a go.
 */
int sysroot_open_folder(const struct sysroot *r, struct arena *a, struct sysroot **ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

int sysroot_fd(const struct sysroot *r); /* of sys/, for openat */

/* Attribute texts: trailing newline cut. Returned strings live in @a. -ENOENT, -EINVAL, ... as the kernel says. */
int sysfs_read(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int sysfs_read_u64(const struct sysroot *r, int base, uint64_t *ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int sysfs_read_i64(const struct sysroot *r, int64_t *ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The last component of a link's target ("mlx5_core" of .../driver). */
int sysfs_link(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The whole resolved path of a link below sys/ ("devices/pci0000:15/0000:15:01.0/..."). */
int sysfs_realpath(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Names in a folder, sorted as strverscmp does, without "." and "..". */
int sysfs_list(const struct sysroot *r, struct arena *a, const char ***ret, size_t *ret_n, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool sysfs_exists(const struct sysroot *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One write(2). The error of the kernel is returned; @e says path, value and what it means. */
int sysfs_write(const struct sysroot *r, const char *value, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* As sysfs_read() for proc/ ("cmdline"). */
int procfs_read(const struct sysroot *r, struct arena *a, const char **ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
