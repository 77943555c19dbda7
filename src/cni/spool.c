/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cni/spool.h"
#include "cni/text.h"

static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (char *p = part + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (c == '\0')
			return 0;
		*p = c;
	}
}

static int write_synced(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* "<nanoseconds since 1970, 20 digits>-<pid>" */
static void make_name(struct text *t)
{
	struct timespec now;
	unsigned long long ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec;
	for (unsigned long long pad = 10000000000000000000u; pad > ns && pad > 1; pad /= 10)
		text_str(t, "0");
	text_num(t, ns);
	text_str(t, "-");
	text_num(t, (unsigned)getpid());
}

int spool_write(const char *dir, const char *body, size_t len)
{
	char tmp[64] = "", name[64] = "";
	struct text t = { tmp, 0, sizeof(tmp) - 1, false }, n = { name, 0, sizeof(name) - 1, false };
	int dirfd, fd, r;

	make_name(&n);
	text_add(&t, n.s, n.len);
	text_str(&n, ".json");
	text_str(&t, ".tmp");
	r = make_dirs(dir);
	if (r < 0)
		return r;
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_synced(fd, body, len);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	return fsync(dirfd) < 0 ? -errno : 0; /* the process ends next: no descriptor is closed */
}
