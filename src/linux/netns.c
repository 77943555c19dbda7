/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/netns.h"

int netns_open(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ESRCH))
		return err_set(e, -ENOENT, "network namespace %s is gone", path);
	if (fd < 0)
		return err_errno(e, -errno, "network namespace %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(e, -EINVAL, "%s is not a network namespace", path);
	return TAKE_FD(fd);
}

int netns_open_self(struct err *e)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_errno(e, -errno, "/proc/thread-self/ns/net") : fd;
}

int netns_id(int fd, uint64_t *dev, uint64_t *ino)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*dev = st.st_dev;
	*ino = st.st_ino;
	return 0;
}

bool netns_same(int fd_a, int fd_b)
{
	uint64_t dev_a, ino_a, dev_b, ino_b;

	return netns_id(fd_a, &dev_a, &ino_a) == 0 && netns_id(fd_b, &dev_b, &ino_b) == 0 && dev_a == dev_b && ino_a == ino_b;
}

/* One piece of work for a thread that does not come back to this namespace: it ends with the work. */
struct visit {
	int fd;
	bool with_sysfs;
	int (*fn)(void *arg);
	void *arg;
	struct err *e;
	int result;
};

/* A thread that receives no signals: those are for the threads that wait for them. */
static int run_thread(void *(*start)(void *), struct visit *v)
{
	sigset_t all, old;
	pthread_t thread;
	int x;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	x = pthread_create(&thread, NULL, start, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (x)
		return err_errno(v->e, -x, "cannot start a thread");
	pthread_join(thread, NULL);
	return v->result;
}

/* A sysfs shows the network devices of the namespace that it was mounted from. */
static int mount_sysfs(struct err *e)
{
	if (unshare(CLONE_NEWNS | CLONE_FS) < 0)
		return err_errno(e, -errno, "cannot make a mount namespace");
	/* a slave: nothing that is mounted here shows outside, and what is unmounted outside is not held here */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(e, -errno, "cannot detach the mount namespace");
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_errno(e, -errno, "cannot mount the namespace's sysfs");
	return 0;
}

int netns_enter(int fd, bool with_sysfs, struct err *e)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_errno(e, -errno, "cannot enter the network namespace");
	return with_sysfs ? mount_sysfs(e) : 0;
}

static void *visit_thread(void *arg)
{
	struct visit *v = arg;

	v->result = netns_enter(v->fd, v->with_sysfs, v->e);
	if (v->result == 0)
		v->result = v->fn(v->arg);
	return NULL;
}

int netns_call(int fd, bool with_sysfs, int (*fn)(void *arg), void *arg, struct err *e)
{
	struct visit v = { .fd = fd, .with_sysfs = with_sysfs, .fn = fn, .arg = arg, .e = e };

	return run_thread(visit_thread, &v);
}

static int read_cookie(void *arg)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(uint64_t);

	return fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, arg, &len) < 0 ? -errno : 0;
}

int netns_cookie(int fd, uint64_t *ret)
{
	uint64_t cookie;
	struct err e;
	int r = netns_call(fd, false, read_cookie, &cookie, &e);

	if (r == 0)
		*ret = cookie;
	return r;
}

static void *new_thread(void *arg)
{
	struct visit *v = arg;

	if (unshare(CLONE_NEWNET) < 0)
		v->result = err_errno(v->e, -errno, "cannot make a network namespace");
	else
		v->result = netns_open_self(v->e);
	return NULL;
}

int netns_new(struct err *e)
{
	struct visit v = { .e = e };

	return run_thread(new_thread, &v);
}

/*
 * As `ip netns add` does: an empty file with the namespace mounted over it. (That /run is a shared mount, so that other
 * mount namespaces see it too, is systemd's doing.)
 */
int netns_add(const char *path, struct err *e)
{
	_cleanup_close_ int file = -1, fd = -1;
	char link[64], parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int x;

	if (slash && slash != path) {
		if (slash - path >= PATH_MAX)
			return err_errno(e, -ENAMETOOLONG, "%s", path);
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		x = file_mkdirs(parent, 0755);
		if (x < 0)
			return err_errno(e, x, "%s", parent);
	}
	fd = netns_new(e);
	if (fd < 0)
		return fd;
	file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0)
		return err_errno(e, -errno, "%s", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (mount(link, path, NULL, MS_BIND, NULL) < 0) {
		x = -errno;
		unlink(path);
		return err_errno(e, x, "cannot mount the namespace at %s", path);
	}
	return 0;
}

int netns_del(const char *path, struct err *e)
{
	/* EINVAL: nothing is mounted there, as after a reboot */
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
		return err_errno(e, -errno, "cannot unmount %s", path);
	return unlink(path) < 0 ? err_errno(e, -errno, "cannot remove %s", path) : 0;
}
