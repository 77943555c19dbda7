/* SPDX-License-Identifier: Apache-2.0 */
/* In real namespaces: of an own user namespace when the test is not run by root, skipped where neither is allowed. */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "linux/netns.h"
#include "linux/sysroot.h"
#include "sandbox.h"

static struct err e;

static void another_file_is_no_namespace(void **state)
{
	assert_int_equal(netns_open("/dev/null", &e), -EINVAL);
	assert_string_equal(e.msg, "/dev/null is not a network namespace");
	assert_int_equal(netns_open("/proc/self/ns/mnt", &e), -EINVAL);
	assert_int_equal(netns_open("/run/netns-that-is-not/x", &e), -ENOENT);
	assert_string_equal(e.msg, "network namespace /run/netns-that-is-not/x is gone");
}

static void namespaces_are_told_apart(void **state)
{
	_cleanup_close_ int self = netns_open_self(&e), by_path = netns_open("/proc/self/ns/net", &e), other = netns_new(&e);

	assert_true(self >= 0 && by_path >= 0 && other >= 0);
	assert_true(netns_same(self, by_path));
	assert_false(netns_same(self, other));
	assert_false(netns_same(self, -1));
}

static void a_cookie_is_of_one_namespace_and_of_none_that_gets_its_inode(void **state)
{
	uint64_t cookie, again, other = 0;
	int fd = netns_new(&e);

	assert_true(fd >= 0);
	if (netns_cookie(fd, &cookie) == -ENOPROTOOPT) {
		close(fd);
		skip();
	}
	assert_int_equal(netns_cookie(fd, &again), 0);
	assert_int_equal(again, cookie);
	close(fd);
	fd = netns_new(&e);
	assert_int_equal(netns_cookie(fd, &other), 0);
	assert_int_not_equal(other, cookie);
	close(fd);
	assert_true(netns_cookie(-1, &other) < 0);
}

struct seen {
	int fd;
	size_t n_links;
	char first[64];
};

static int look(void *arg)
{
	struct seen *s = arg;
	_cleanup_close_ int here = netns_open_self(NULL);
	_cleanup_arena_ struct arena *a = arena_new();
	struct sysroot *r;
	const char **names;
	int x;

	if (!netns_same(here, s->fd))
		return -EXDEV;
	x = sysroot_open(NULL, &r, &e);
	if (x < 0)
		return x;
	x = sysfs_list(r, a, &names, &s->n_links, "class/net");
	if (x == 0 && s->n_links)
		snprintf(s->first, sizeof(s->first), "%s", names[0]);
	sysroot_close(r);
	return x < 0 ? x : 42;
}

static void a_call_runs_inside_and_leaves_no_trace(void **state)
{
	_cleanup_close_ int fd = netns_new(&e), before = netns_open_self(&e), after = -1;
	struct seen s = { .fd = fd };
	struct stat st[2];
	int x;

	assert_true(fd >= 0);
	stat("/sys", &st[0]);
	x = netns_call(fd, true, look, &s, &e);
	if (x != 42)
		fail_msg("%d %s", x, e.msg);
	assert_int_equal(s.n_links, 1);
	assert_string_equal(s.first, "lo");
	stat("/sys", &st[1]);
	assert_int_equal(st[0].st_dev, st[1].st_dev);
	after = netns_open_self(&e);
	assert_true(netns_same(before, after));
}

static int look_here(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sysroot *r;
	const char **names, *path;
	size_t n;
	int x = sysroot_open_here(&r, &e);

	if (x < 0)
		return x;
	x = sysfs_list(r, a, &names, &n, "class/net");
	if (x == 0 && (n != 1 || strcmp(names[0], "lo") != 0))
		x = -ENOTUNIQ;
	if (x == 0)
		x = sysfs_realpath(r, a, &path, "class/net/lo");
	if (x == 0 && strcmp(path, "devices/virtual/net/lo") != 0)
		x = -EXDEV;
	if (x == 0)
		x = procfs_read(r, a, &path, "sys/kernel/ostype");
	sysroot_close(r);
	return x;
}

static void a_sysfs_of_here_needs_no_mount(void **state)
{
	_cleanup_close_ int fd = netns_new(&e);
	int x = netns_call(fd, false, look_here, NULL, &e);

	if (x < 0)
		fail_msg("%d %s", x, e.msg);
}

static void what_is_no_namespace_is_not_entered(void **state)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(netns_call(fd, false, look, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "cannot enter the network namespace"));
}

static void a_named_namespace_comes_and_goes(void **state)
{
	char dir[] = "/tmp/kvrail-netns-XXXXXX", path[PATH_MAX];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b/pod", dir);
	if (netns_add(path, &e) < 0)
		fail_msg("%s", e.msg);
	fd = netns_open(path, &e);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(netns_add(path, &e), -EEXIST);
	assert_int_equal(netns_del(path, &e), 0);
	assert_int_equal(netns_open(path, &e), -ENOENT);
	assert_int_equal(netns_del(path, &e), -ENOENT);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/a", dir);
	rmdir(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_file_is_no_namespace),
		cmocka_unit_test(namespaces_are_told_apart),
		cmocka_unit_test(a_cookie_is_of_one_namespace_and_of_none_that_gets_its_inode),
		cmocka_unit_test(a_call_runs_inside_and_leaves_no_trace),
		cmocka_unit_test(a_sysfs_of_here_needs_no_mount),
		cmocka_unit_test(what_is_no_namespace_is_not_entered),
		cmocka_unit_test(a_named_namespace_comes_and_goes),
	};

	sandbox_enter(CLONE_NEWNET | CLONE_NEWNS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
