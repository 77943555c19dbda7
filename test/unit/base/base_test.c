/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/strbuf.h"

static void err_wrap_prefixes_the_message(void **state)
{
	struct err e;

	assert_int_equal(err_set(&e, -ENODEV, "no %s", "port"), -ENODEV);
	assert_int_equal(err_wrap(&e, -ENODEV, "policy %d", 7), -ENODEV);
	assert_string_equal(e.msg, "policy 7: no port");
	assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void err_append_adds_a_way_out(void **state)
{
	char big[ERR_MSG_MAX];
	struct err e;

	err_set(&e, -ENODEV, "no port");
	assert_int_equal(err_append(&e, -ENODEV, " (load %s)", "mlx5_core"), -ENODEV);
	assert_string_equal(e.msg, "no port (load mlx5_core)");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_append(&e, -ENODEV, "%s", big);
	assert_string_equal(e.msg + ERR_MSG_MAX - 4, "...");
	assert_int_equal(err_append(NULL, -EIO, "nobody listens"), -EIO);
}

static void err_message_too_long_is_cut_visibly(void **state)
{
	char big[ERR_MSG_MAX * 2];
	struct err e;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, -EIO, "%s", big);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	assert_string_equal(e.msg + ERR_MSG_MAX - 4, "...");
}

static void arena_push_keeps_elements(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t n = 0;
	int *v = NULL;

	for (int i = 0; i < 1000; i++)
		*(int *)arena_push(a, &v, &n, sizeof(*v)) = i;
	assert_int_equal(n, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(v[i], i);
}

static void arena_memory_is_zeroed_and_big_blocks_do_not_hide_the_open_one(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *small = arena_alloc(a, 8), *big = arena_alloc(a, 100000), *next = arena_alloc(a, 8);

	assert_ptr_equal(next, small + 16);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(big[i], 0);
}

static void numbers_are_parsed_whole_or_refused(void **state)
{
	uint64_t u;
	int64_t i;

	assert_int_equal(parse_u64("9000", 10, 68, 65535, &u), 0);
	assert_int_equal(u, 9000);
	assert_int_equal(parse_u64("64", 10, 68, 65535, &u), -ERANGE);
	assert_int_equal(parse_u64("", 10, 0, 9, &u), -EINVAL);
	assert_int_equal(parse_u64("-1", 10, 0, 9, &u), -EINVAL);
	assert_int_equal(parse_u64(" 1", 10, 0, 9, &u), -EINVAL);
	assert_int_equal(parse_u64("1x", 10, 0, 9, &u), -EINVAL);
	assert_int_equal(parse_u64("99999999999999999999", 10, 0, UINT64_MAX, &u), -ERANGE);
	assert_int_equal(parse_i64("-1", 10, -1, 9, &i), 0);
	assert_int_equal(i, -1);
	assert_int_equal(parse_u64("0x15b3", 16, 0, 0xffff, &u), 0);
	assert_int_equal(u, 0x15b3);
}

static void nearest_word_is_what_was_meant(void **state)
{
	static const char *const words[] = { "numVfs", "mtu", "nicSelector", "isRdma", NULL };

	assert_string_equal(parse_nearest("numVFs", words), "numVfs");
	assert_string_equal(parse_nearest("nicSelectors", words), "nicSelector");
	assert_string_equal(parse_nearest("mut", words), "mtu");
	assert_null(parse_nearest("bridge", words));
	assert_null(parse_nearest("", words));
}

static void interface_names_are_those_that_linux_takes(void **state)
{
	assert_true(parse_is_ifname("net1"));
	assert_true(parse_is_ifname("abcdefghijklmno"));
	assert_false(parse_is_ifname("abcdefghijklmnop"));
	assert_false(parse_is_ifname("a/b"));
	assert_false(parse_is_ifname(".."));
	assert_false(parse_is_ifname(""));
	assert_false(parse_is_ifname("a b"));
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void a_folder_that_its_owner_may_not_use_is_opened_and_others_stay(void **state)
{
	char dir[] = "/tmp/kvrail-base-XXXXXX", a[PATH_MAX], b[PATH_MAX];

	assert_non_null(mkdtemp(dir));
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/a/b", dir);
	assert_int_equal(mkdir(a, 0755), 0);
	assert_int_equal(mkdir(b, 0), 0);
	assert_int_equal(chmod(a, 0), 0);
	assert_int_equal(file_mkdirs_open(b, 0755), 0);
	assert_int_equal(mode_of(dir), 0700);
	assert_int_equal(mode_of(a), 0755);
	assert_int_equal(mode_of(b), 0755);
	assert_int_equal(chmod(b, 0), 0);
	assert_int_equal(file_mkdirs(b, 0755), 0);
	assert_int_equal(mode_of(b), 0);
	rmdir(b);
	rmdir(a);
	rmdir(dir);
}

static void atomic_write_replaces_whole_files_and_leaves_no_rest(void **state)
{
	char dir[] = "/tmp/kvrail-base-XXXXXX", path[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(file_mkdirs(path, 0700), 0);
	assert_int_equal(file_mkdirs(path, 0700), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_write_atomic(fd, "f", "one", 3, 0600), 0);
	assert_int_equal(file_write_atomic(fd, "f", "two!", 4, 0600), 0);
	assert_int_equal(file_read(fd, "f", 100, &text, NULL), 0);
	assert_string_equal(text, "two!");
	free(TAKE_PTR(text));
	assert_int_equal(file_read(fd, "f", 3, &text, NULL), -EFBIG);
	assert_int_equal(file_open_beneath(fd, "../b/f", O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_unlink(fd, "f"), 0);
	assert_int_equal(file_unlink(fd, "f"), 0);
	assert_int_equal(rmdir(path), 0); /* no temporary file is left */
	snprintf(path, sizeof(path), "%s/a", dir);
	rmdir(path);
	rmdir(dir);
}

static void a_second_lock_is_refused(void **state)
{
	char path[] = "/tmp/kvrail-lock-XXXXXX";
	_cleanup_close_ int tmp = mkstemp(path), one = file_lock(path);

	assert_true(one >= 0);
	assert_int_equal(file_lock(path), -EWOULDBLOCK);
	unlink(path);
}

/* What log_info() writes to a stderr that $JOURNAL_STREAM calls @stream, or with @stream NULL by its right name. */
static void log_to(const char *stream, char *line, size_t size)
{
	int ends[2], saved = dup(STDERR_FILENO);
	char name[64];
	struct stat st;
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fstat(ends[1], &st), 0);
	snprintf(name, sizeof(name), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
	setenv("JOURNAL_STREAM", stream ? stream : name, 1);
	dup2(ends[1], STDERR_FILENO);
	log_info("pod %s", "web-0");
	dup2(saved, STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	n = read(ends[0], line, size - 1);
	line[n > 0 ? n : 0] = '\0';
	close(ends[0]);
	close(ends[1]);
	close(saved);
}

static void a_line_has_the_time_unless_it_goes_to_the_journal(void **state)
{
	char line[128];
	struct tm tm;
	const char *rest;

	log_to(NULL, line, sizeof(line));
	assert_string_equal(line, "info  pod web-0\n");
	log_to("1:2", line, sizeof(line)); /* a parent's */
	rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(rest);
	assert_string_equal(rest + strlen(".000"), "Z info  pod web-0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_wrap_prefixes_the_message),
		cmocka_unit_test(err_append_adds_a_way_out),
		cmocka_unit_test(err_message_too_long_is_cut_visibly),
		cmocka_unit_test(arena_push_keeps_elements),
		cmocka_unit_test(arena_memory_is_zeroed_and_big_blocks_do_not_hide_the_open_one),
		cmocka_unit_test(numbers_are_parsed_whole_or_refused),
		cmocka_unit_test(nearest_word_is_what_was_meant),
		cmocka_unit_test(interface_names_are_those_that_linux_takes),
		cmocka_unit_test(a_folder_that_its_owner_may_not_use_is_opened_and_others_stay),
		cmocka_unit_test(atomic_write_replaces_whole_files_and_leaves_no_rest),
		cmocka_unit_test(a_second_lock_is_refused),
		cmocka_unit_test(a_line_has_the_time_unless_it_goes_to_the_journal),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
