/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/multus.h"
#include "base/cleanup.h"
#include "base/file.h"

static bool leads_to(const char *path, const char *socket)
{
	char to[PATH_MAX];
	ssize_t n = readlink(path, to, sizeof(to) - 1);

	if (n < 0)
		return false;
	to[n] = '\0';
	return !strcmp(to, socket);
}

/* A socket that a process listens on. */
static bool is_alive(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(sa.sun_path))
		return false;
	strcpy(sa.sun_path, path);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

int multus_link(const char *path, const char *socket, struct err *e)
{
	char folder[PATH_MAX], tmp[PATH_MAX];
	int r;

	if (leads_to(path, socket))
		return 0;
	if (snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, (int)getpid()) >= (int)sizeof(tmp))
		return err_set(e, -ENAMETOOLONG, "--multus-socket: the path is too long");
	if (is_alive(path))
		return err_set(e, -EADDRINUSE, "Multus' daemon answers on %s: stop it, or leave out --multus-socket", path);
	strcpy(folder, path);
	r = file_mkdirs(dirname(folder), 0700);
	if (r == 0 && symlink(socket, tmp) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0) {
		r = -errno;
		unlink(tmp);
	}
	return r < 0 ? err_errno(e, r, "linking %s to %s", path, socket) : 0;
}

void multus_unlink(const char *path, const char *socket)
{
	if (leads_to(path, socket))
		unlink(path);
}
