/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of the test's own: nothing it does shows on the machine, and no root is needed where user namespaces are allowed. */
#ifndef KVRAIL_TEST_LINUX_SANDBOX_H
#define KVRAIL_TEST_LINUX_SANDBOX_H

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static inline void sandbox_skip(const char *why)
{
	printf("1..0 # SKIP %s: %s\n", why, strerror(errno));
	exit(0);
}

static inline void sandbox_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		sandbox_skip(path);
	close(fd);
}

static inline void sandbox_enter(int flags)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (uid != 0) {
		if (unshare(CLONE_NEWUSER) < 0)
			sandbox_skip("user namespaces are not allowed");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		sandbox_write("/proc/self/uid_map", map);
		sandbox_write("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", gid);
		sandbox_write("/proc/self/gid_map", map);
	}
	if (unshare(flags) < 0)
		sandbox_skip("network namespaces are not allowed");
	if (flags & CLONE_NEWNS)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

#endif
