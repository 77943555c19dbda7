/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/clock.h"
#include "rpc/grpc-conn.h"

static char path[64];
static struct grpc_server *server;
static _Atomic(struct grpc_call *) kept;

static void echo(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	assert_string_equal(arg, "argument");
	assert_int_equal(grpc_send(call, msg, len), 0);
	grpc_finish(call, GRPC_OK, NULL);
}

static void refuse_it(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	grpc_finish(call, GRPC_INVALID_ARGUMENT, "0000:01:10.0 is held by b\xc3\xa4r/pod: 100%");
}

static void *answer_later(void *arg)
{
	struct grpc_call *call = arg;

	clock_sleep_ms(50);
	grpc_send(call, "later", 5);
	grpc_finish(call, GRPC_OK, NULL);
	return NULL;
}

static void later(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, answer_later, call), 0);
	pthread_detach(t);
}

static void never(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	kept = call;
}

static void twice(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	grpc_send(call, "one", 3);
	grpc_send(call, "two", 3);
	grpc_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method methods[] = {
	{ "/t.T/Echo", echo }, { "/t.T/Fail", refuse_it }, { "/t.T/Later", later }, { "/t.T/Never", never }, { "/t.T/Twice", twice }, { NULL, NULL },
};

static int start(void **state)
{
	struct err e;

	snprintf(path, sizeof(path), "/tmp/kvrail-grpc-%d", getpid());
	assert_int_equal(grpc_server_start(&server, &e), 0);
	assert_int_equal(grpc_server_listen(server, path, methods, (void *)"argument", &e), 0);
	return 0;
}

static int stop(void **state)
{
	server = grpc_server_stop(server);
	assert_int_equal(access(path, F_OK), -1);
	return 0;
}

static int ask(struct arena *a, const char *method, const void *msg, size_t len, unsigned ms, size_t max, void **ret,
	       size_t *ret_len, int *status, struct err *e)
{
	*e = (struct err){ 0 };
	return grpc_unary(path, method, msg, len, ms, max, a, ret, ret_len, status, e);
}

static void message_comes_back_whole_also_when_it_is_large_or_empty(void **state)
{
	static const size_t sizes[] = { 0, 1, 16384, 65535, 65536, 4u << 20 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		char *msg = arena_alloc(a, sizes[i] + 1);
		size_t len;
		void *got;
		int status;
		struct err e;

		for (size_t j = 0; j < sizes[i]; j++)
			msg[j] = (char)(j * 7 + j / 251);
		assert_int_equal(ask(a, "/t.T/Echo", msg, sizes[i], 20000, GRPC_MESSAGE_MAX, &got, &len, &status, &e), 0);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(got, msg, len);
		assert_int_equal(status, GRPC_OK);
	}
}

static void refusal_keeps_its_code_and_its_words(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	void *got;
	int status;
	struct err e;

	assert_int_equal(ask(a, "/t.T/Fail", "", 0, 5000, 100, &got, &len, &status, &e), -EREMOTEIO);
	assert_int_equal(status, GRPC_INVALID_ARGUMENT);
	assert_string_equal(e.msg, "/t.T/Fail: InvalidArgument: 0000:01:10.0 is held by b\xc3\xa4r/pod: 100%");
	assert_int_equal(ask(a, "/t.T/Other", "", 0, 5000, 100, &got, &len, &status, &e), -EREMOTEIO);
	assert_int_equal(status, GRPC_UNIMPLEMENTED);
}

static void request_above_the_limit_is_refused_not_cut(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const size_t n = (4u << 20) + 1;
	size_t len;
	void *got;
	int status;
	struct err e;

	assert_int_equal(ask(a, "/t.T/Echo", arena_alloc(a, n), n, 20000, 100, &got, &len, &status, &e), -EREMOTEIO);
	assert_int_equal(status, GRPC_RESOURCE_EXHAUSTED);
}

static void reply_above_the_limit_is_refused_not_cut(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	void *got;
	int status;
	struct err e;

	assert_int_equal(ask(a, "/t.T/Echo", "12345", 5, 5000, 4, &got, &len, &status, &e), -EMSGSIZE);
	assert_int_equal(ask(a, "/t.T/Twice", "", 0, 5000, 100, &got, &len, &status, &e), -EPROTO);
}

static void answer_may_come_from_another_thread(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	void *got;
	int status;
	struct err e;

	assert_int_equal(ask(a, "/t.T/Later", "", 0, 5000, 100, &got, &len, &status, &e), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(got, "later", 5);
}

static void deadline_ends_the_call_on_both_sides(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	uint64_t t = clock_ns();
	size_t len;
	void *got;
	int status;
	struct err e;

	assert_int_equal(ask(a, "/t.T/Never", "", 0, 200, 100, &got, &len, &status, &e), -ETIMEDOUT);
	assert_true(clock_ns() - t >= 190000000u);
	for (int i = 0; i < 500 && grpc_alive(kept); i++)
		clock_sleep_ms(10);
	assert_false(grpc_alive(kept));
	assert_int_equal(grpc_send(kept, "x", 1), -EPIPE);
	grpc_finish(kept, GRPC_OK, NULL);
}

static void nobody_there_is_told_with_the_path(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	void *got;
	struct err e;

	assert_int_equal(grpc_unary("/tmp/kvrail-none", "/a.B/C", "", 0, 1000, 100, a, &got, &len, NULL, &e), -ENOTCONN);
	assert_non_null(strstr(e.msg, "/tmp/kvrail-none"));
}

/* Another program's socket: HTTP/1, and one that closes at once. */
static void *http1(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;
	const char *said = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

	fd = accept(listener, NULL, NULL);
	assert_int_equal(write(fd, said, strlen(said)), strlen(said));
	close(fd);
	close(accept(listener, NULL, NULL));
	return NULL;
}

static void peer_that_speaks_something_else_is_no_hang(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t t;
	size_t len;
	void *got;
	struct err e;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s-http1", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 2), 0);
	assert_int_equal(pthread_create(&t, NULL, http1, (void *)(intptr_t)fd), 0);
	for (int i = 0, r; i < 2; i++) {
		r = grpc_unary(sa.sun_path, "/a.B/C", "", 0, 5000, 100, a, &got, &len, NULL, &e);
		assert_true(r == -EPROTO || r == -ECONNRESET);
		assert_non_null(strstr(e.msg, "/a.B/C: "));
	}
	pthread_join(t, NULL);
	unlink(sa.sun_path);
}

static void socket_is_private_and_replaced_without_a_gap(void **state)
{
	struct grpc_server *second;
	struct stat st;
	struct err e;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(grpc_server_listens(server, path));
	assert_int_equal(grpc_server_start(&second, &e), 0);
	assert_int_equal(grpc_server_listen(second, path, methods, (void *)"argument", &e), 0);
	assert_false(grpc_server_listens(server, path));
	/* the first one lets go, and leaves the second one's socket */
	grpc_server_unlisten(server, path);
	assert_true(grpc_server_listens(second, path));
	grpc_server_stop(second);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(grpc_server_listen(server, path, methods, (void *)"argument", &e), 0);
}

static void path_too_long_for_a_socket_says_so(void **state)
{
	char longer[200];
	struct err e;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(grpc_server_listen(server, longer, methods, NULL, &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.msg, "107"));
}

/* Bytes between two connections, without sockets. */
static void carry(struct grpc_conn *from, struct grpc_conn *to)
{
	const uint8_t *p;
	ssize_t n;

	while ((n = grpc_conn_out(from, &p)) > 0)
		assert_int_equal(grpc_conn_in(to, p, (size_t)n), 0);
}

static void server_speaks_first(void **state)
{
	struct grpc_conn *s = grpc_conn_new(true, 100);
	const uint8_t *p;
	ssize_t n = grpc_conn_out(s, &p);

	assert_true(n >= 9);
	assert_int_equal(p[3], 4); /* SETTINGS */
	grpc_conn_free(s);
}

static void pushes_of_a_stream_arrive_one_by_one_and_end_with_the_connection(void **state)
{
	struct grpc_conn *s = grpc_conn_new(true, 100), *c = grpc_conn_new(false, 100);
	struct grpc_call *asked = grpc_conn_request(c, "/t.T/Watch", "", 0, 0), *call;

	carry(c, s);
	carry(s, c);
	call = grpc_conn_ready(s);
	assert_non_null(call);
	assert_string_equal(call->path, "/t.T/Watch");
	assert_int_equal(grpc_call_send(call, "first", 5), 0);
	carry(s, c);
	assert_int_equal(asked->in.body.len, 5);
	carry(s, c); /* nothing is sent before the next push */
	asked->in = (struct grpc_frame){ .body = (strbuf_free(&asked->in.body), asked->in.body) };
	assert_int_equal(grpc_call_send(call, "second", 6), 0);
	carry(s, c);
	assert_int_equal(asked->in.body.len, 6);
	assert_int_equal(grpc_call_end(call, GRPC_OK, NULL), 0);
	assert_int_equal(grpc_call_send(call, "x", 1), -EPIPE);
	carry(s, c);
	assert_null(asked->conn);
	assert_int_equal(asked->status, GRPC_OK);
	grpc_call_unref(asked);
	grpc_call_unref(call);
	/* a stream that is open when its connection goes (nghttp2 tells of none) */
	asked = grpc_conn_request(c, "/t.T/Watch", "", 0, 0);
	carry(c, s);
	call = grpc_conn_ready(s);
	grpc_call_send(call, "first", 5);
	grpc_conn_free(s);
	assert_null(call->conn);
	assert_int_equal(grpc_call_send(call, "x", 1), -EPIPE);
	grpc_call_unref(call);
	grpc_conn_free(c);
	grpc_call_unref(asked);
}

static void caller_that_does_not_read_is_bounded(void **state)
{
	struct grpc_conn *s = grpc_conn_new(true, 100), *c = grpc_conn_new(false, 100);
	struct grpc_call *asked = grpc_conn_request(c, "/t.T/Watch", "", 0, 0), *call;
	char *mib = calloc(1, 1 << 20);
	int r = 0, n = 0;

	carry(c, s);
	call = grpc_conn_ready(s);
	while (r == 0 && n++ < 100)
		r = grpc_call_send(call, mib, 1 << 20);
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(n, 16, 17);
	free(mib);
	grpc_call_unref(call);
	grpc_call_unref(asked);
	grpc_conn_free(s);
	grpc_conn_free(c);
}

static void frames_are_read_from_any_pieces(void **state)
{
	static const uint8_t whole[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c' };

	for (size_t cut = 0; cut <= sizeof(whole); cut++) {
		struct grpc_frame f = { .body = STRBUF_INIT };

		assert_int_equal(grpc_frame_add(&f, whole, cut, 3), 0);
		assert_int_equal(grpc_frame_whole(&f), cut == sizeof(whole));
		assert_int_equal(grpc_frame_add(&f, whole + cut, sizeof(whole) - cut, 3), 0);
		assert_true(grpc_frame_whole(&f));
		assert_memory_equal(f.body.s, "abc", 3);
		assert_int_equal(grpc_frame_add(&f, whole, 1, 3), -EPROTO);
		strbuf_free(&f.body);
	}
}

static void frames_that_are_compressed_or_too_long_are_refused_by_their_head(void **state)
{
	struct grpc_frame f = { .body = STRBUF_INIT }, g = { .body = STRBUF_INIT };

	assert_int_equal(grpc_frame_add(&f, "\1", 1, 100), -EPROTO);
	assert_int_equal(grpc_frame_add(&g, "\0\377\377\377\377", 5, 100), -EMSGSIZE);
	assert_null(g.body.s);
}

static void timeouts_have_six_units_and_eight_digits(void **state)
{
	static const struct { const char *s; uint64_t ns; } good[] = {
		{ "1n", 1 }, { "2u", 2000 }, { "3m", 3000000 }, { "10S", 10000000000u }, { "1M", 60000000000u },
		{ "1H", 3600000000000u }, { "99999999H", 8760 * 3600000000000u }, { "99999999n", 99999999 },
	};
	static const char *const bad[] = { "", "1", "S", "1s", "-1S", "123456789S", "1 S", "1.5S" };
	uint64_t ns = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(grpc_timeout_parse(bad[i], strlen(bad[i]), &ns), -EINVAL);
		assert_int_equal(ns, 7);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(grpc_timeout_parse(good[i].s, strlen(good[i].s), &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static void control_characters_of_a_peer_never_reach_a_person(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	grpc_text_decode(&b, "a%0Ab%1B[31m%7f%zz%4", 20);
	assert_string_equal(b.s, "a?b?[31m?%zz%4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_comes_back_whole_also_when_it_is_large_or_empty),
		cmocka_unit_test(refusal_keeps_its_code_and_its_words),
		cmocka_unit_test(request_above_the_limit_is_refused_not_cut),
		cmocka_unit_test(reply_above_the_limit_is_refused_not_cut),
		cmocka_unit_test(answer_may_come_from_another_thread),
		cmocka_unit_test(deadline_ends_the_call_on_both_sides),
		cmocka_unit_test(nobody_there_is_told_with_the_path),
		cmocka_unit_test(peer_that_speaks_something_else_is_no_hang),
		cmocka_unit_test(socket_is_private_and_replaced_without_a_gap),
		cmocka_unit_test(path_too_long_for_a_socket_says_so),
		cmocka_unit_test(server_speaks_first),
		cmocka_unit_test(pushes_of_a_stream_arrive_one_by_one_and_end_with_the_connection),
		cmocka_unit_test(caller_that_does_not_read_is_bounded),
		cmocka_unit_test(frames_are_read_from_any_pieces),
		cmocka_unit_test(frames_that_are_compressed_or_too_long_are_refused_by_their_head),
		cmocka_unit_test(timeouts_have_six_units_and_eight_digits),
		cmocka_unit_test(control_characters_of_a_peer_never_reach_a_person),
	};

	return cmocka_run_group_tests_name("grpc", tests, start, stop);
}
