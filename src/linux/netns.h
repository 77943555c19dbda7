/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces. setns(2) is per thread: work inside one runs in a thread of its own. */
#ifndef KVRAIL_LINUX_NETNS_H
#define KVRAIL_LINUX_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Open and prove that it is a network namespace (NS_GET_NSTYPE). -ENOENT when the path is gone, -EINVAL when it is another file. */
int netns_open(const char *path, struct err *e);
int netns_open_self(struct err *e); /* of the calling thread */
/* Device and inode identify a namespace. */
int netns_id(int fd, uint64_t *dev, uint64_t *ino);
/* Tells it from those that had its inode before, until the next boot (SO_NETNS_COOKIE). -ENOPROTOOPT: Linux older than 5.14. */
int netns_cookie(int fd, uint64_t *ret);
bool netns_same(int fd_a, int fd_b);
/* A new namespace that nobody else can name; it dies with the fd. */
int netns_new(struct err *e);
/* Run @fn(@arg) in a thread inside the namespace (with its own mount namespace and a fresh sysfs when @with_sysfs, so that
 * /sys/class/net and /sys/class/infiniband are the pod's); returns what @fn returns. */
int netns_call(int fd, bool with_sysfs, int (*fn)(void *arg), void *arg, struct err *e);
/* Enter the namespace for good, with the calling thread alone: before an exec. @with_sysfs as in netns_call(). */
int netns_enter(int fd, bool with_sysfs, struct err *e);
/* Make a namespace at @path as `ip netns add` does, and remove it: what tests need. */
int netns_add(const char *path, struct err *e);
int netns_del(const char *path, struct err *e);

#endif
