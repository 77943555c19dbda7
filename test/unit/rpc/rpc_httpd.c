/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/clock.h"
#include "rpc/httpd.h"

static char path[64];

static void *three_lines(void *arg)
{
	int fd = (int)(intptr_t)arg;

	for (int i = 1; i <= 3; i++)
		dprintf(fd, "line %d\n", i);
	close(fd);
	return NULL;
}

static void handler(void *arg, struct httpd_request *rq, struct httpd_reply *reply)
{
	pthread_t t;
	int fds[2];

	if (!strcmp(rq->path, "/stream")) {
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		assert_int_equal(pthread_create(&t, NULL, three_lines, (void *)(intptr_t)fds[1]), 0);
		pthread_detach(t);
		reply->fd = fds[0];
		return;
	}
	if (!strcmp(rq->path, "/slow"))
		clock_sleep_ms(200);
	if (!strcmp(rq->path, "/refuse")) {
		httpd_say(reply, 409, "{\"error\":\"busy\"}");
		return;
	}
	httpd_say(reply, 200, arena_printf(rq->arena, "%s %s %zu %s uid=%u", rq->method, rq->path, rq->body_len,
					   httpd_query(rq, "q") ? httpd_query(rq, "q") : "-", rq->uid));
}

static int start(void **state)
{
	struct httpd *h;
	struct err e;

	snprintf(path, sizeof(path), "/tmp/kvrail-rpc-%d/s", getpid());
	assert_int_equal(httpd_start(path, 1000000, 8, handler, NULL, &h, &e), 0);
	*state = h;
	return 0;
}

static int stop(void **state)
{
	httpd_stop(*state);
	assert_int_equal(access(path, F_OK), -1);
	path[strlen(path) - 2] = '\0';
	assert_int_equal(rmdir(path), 0);
	return 0;
}

static int ask(struct arena *a, const char *method, const char *target, const char *body, size_t len, char **reply)
{
	struct err e = { 0 };
	int status = 0, r;

	r = http_unix(path, method, target, body, len, 1 << 20, NULL, NULL, a, &status, reply, &e);
	return r < 0 ? r : status;
}

static void request_reaches_the_handler_whole(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *big = arena_alloc(a, 900001), *reply, *want;

	memset(big, 'x', 900000);
	assert_int_equal(ask(a, "POST", "/cni?q=two", big, 900000, &reply), 200);
	want = arena_printf(a, "POST /cni 900000 two uid=%u", getuid());
	assert_string_equal(reply, want);
}

static void body_above_the_limit_is_refused_with_words(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *big = arena_alloc(a, 1000002), *reply;

	memset(big, 'x', 1000001);
	assert_int_equal(ask(a, "POST", "/cni", big, 1000001, &reply), 413);
	assert_non_null(strstr(reply, "larger than 1000000 bytes"));
}

static void status_of_a_refusal_is_kept(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *reply;

	assert_int_equal(ask(a, "GET", "/refuse", NULL, 0, &reply), 409);
	assert_string_equal(reply, "{\"error\":\"busy\"}");
}

static int count(void *arg, const char *line, size_t len)
{
	int *n = arg;

	assert_int_equal(len, 6);
	assert_int_equal(line[5], '1' + (*n)++);
	return 0;
}

static void lines_are_handed_over_one_by_one(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	char *rest;
	int n = 0, status;

	assert_int_equal(http_unix(path, "GET", "/stream", NULL, 0, 100, count, &n, a, &status, &rest, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(rest, "");
}

static void *slow(void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *reply;

	return (void *)(intptr_t)ask(a, "GET", "/slow", NULL, 0, &reply);
}

static void requests_run_side_by_side(void **state)
{
	uint64_t t = clock_ns();
	pthread_t threads[6];
	void *r;

	for (int i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, slow, NULL), 0);
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], &r);
		assert_int_equal((intptr_t)r, 200);
	}
	assert_true(clock_ns() - t < 1100000000u); /* one after the other takes 1.2 s */
}

static void second_server_is_refused_and_a_dead_socket_is_replaced(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct httpd *h = NULL;
	struct err e;
	char dead[80];
	int fd;

	assert_int_equal(httpd_start(path, 100, 8, handler, NULL, &h, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, path));
	snprintf(dead, sizeof(dead), "%s-dead", path);
	strcpy(sa.sun_path, dead);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(httpd_start(dead, 100, 8, handler, NULL, &h, &e), 0);
	httpd_stop(h);
}

static void socket_is_for_its_owner_only(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void nobody_there_says_how_to_start_the_agent(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	char *reply;
	int status;

	assert_int_equal(http_unix("/nonexistent/s", "GET", "/", NULL, 0, 9, NULL, NULL, a, &status, &reply, &e), -ENOTCONN);
	assert_non_null(strstr(e.msg, "kvrail agent --standalone"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_reaches_the_handler_whole),
		cmocka_unit_test(body_above_the_limit_is_refused_with_words),
		cmocka_unit_test(status_of_a_refusal_is_kept),
		cmocka_unit_test(lines_are_handed_over_one_by_one),
		cmocka_unit_test(requests_run_side_by_side),
		cmocka_unit_test(second_server_is_refused_and_a_dead_socket_is_replaced),
		cmocka_unit_test(socket_is_for_its_owner_only),
		cmocka_unit_test(nobody_there_says_how_to_start_the_agent),
	};

	return cmocka_run_group_tests_name("rpc", tests, start, stop);
}
