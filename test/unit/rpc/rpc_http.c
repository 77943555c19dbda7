/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against a server that says what a script holds, byte by byte. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "rpc/http.h"

/* What the server does with each request, in turn: NULL closes the connection without a word, "-" waits for the client to go. */
struct server {
	const char *const *script;
	int fd;
	unsigned connections, requests;
	char last[4096];
	pthread_t thread;
	char url[64];
};

static bool read_request(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t n = recv(fd, buf + len, size - 1 - len, 0);
		const char *body, *length;

		if (n <= 0)
			return false;
		len += (size_t)n;
		buf[len] = '\0';
		body = strstr(buf, "\r\n\r\n");
		length = strstr(buf, "Content-Length: ");
		if (body && (!length || strlen(body + 4) >= (size_t)atoi(length + 16)))
			return true;
	}
	return false;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while (*s->script && (fd = accept(s->fd, NULL, NULL)) >= 0) {
		s->connections++;
		while (*s->script && read_request(fd, s->last, sizeof(s->last))) {
			const char *say = *s->script++;

			s->requests++;
			if (!strcmp(say, "close"))
				break;
			if (!strcmp(say, "hang")) {
				char c;

				while (recv(fd, &c, 1, 0) > 0)
					;
				break;
			}
			send(fd, say, strlen(say), MSG_NOSIGNAL);
			if (strstr(say, "Connection: close"))
				break;
		}
		close(fd);
	}
	return NULL;
}

static struct server *server(struct server *s, const char *const *script)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	*s = (struct server){ .script = script };
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(s->fd, 8), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/base/", ntohs(sa.sin_port));
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	return s;
}

static void server_end(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static struct http *client(struct server *s)
{
	struct http *h;
	struct err e = { 0 };

	if (http_open(&(struct http_options){ .url = s->url }, &h, &e) < 0)
		fail_msg("%s", e.msg);
	return h;
}

#define OK_ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void a_connection_is_used_again(void **state)
{
	static const char *const script[] = { OK_, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", OK_, NULL };
	static const char *const headers[] = { "X-One: 1", NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "GET", .target = "/a?b=c", .headers = headers };
	struct http_reply reply;
	struct err e = { 0 };

	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_do(h, &rq, &reply, &e), 0);
		assert_int_equal(reply.status, i == 1 ? 404 : 200);
		assert_string_equal(reply.body, i == 1 ? "none" : "ok");
		assert_true(reply.sent);
		http_reply_free(&reply);
	}
	assert_int_equal(s.connections, 1);
	assert_non_null(strstr(s.last, "GET /base/a?b=c HTTP/1.1\r\n"));
	assert_non_null(strstr(s.last, "X-One: 1\r\n"));
	http_close(h);
	server_end(&s);
}

static void after_a_renewal_connections_are_new(void **state)
{
	static const char *const script[] = { OK_, OK_, NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "GET", .target = "/" };
	struct http_reply reply;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(http_do(h, &rq, &reply, NULL), 0);
		http_reply_free(&reply);
		http_renew(h);
	}
	assert_int_equal(s.connections, 2);
	http_close(h);
	server_end(&s);
}

static void retry_after_is_told(void **state)
{
	static const char *const script[] = { "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
					      "HTTP/1.1 429 Slow\r\nRetry-After: Thu, 01 Jan 1970 00:00:10 GMT\r\nContent-Length: 0\r\n\r\n",
					      "HTTP/1.1 429 Slow\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", NULL };
	static const int want[] = { 7, 0, -1 };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "POST", .target = "/", .body = "{}", .len = 2 };
	struct http_reply reply;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_do(h, &rq, &reply, NULL), 0);
		assert_int_equal(reply.retry_after_s, want[i]);
		http_reply_free(&reply);
	}
	http_close(h);
	server_end(&s);
}

struct seen {
	char text[256];
	int begun, stop;
};

static int on_data(void *arg, const char *p, size_t n)
{
	struct seen *seen = arg;

	strncat(seen->text, p, n);
	return seen->stop;
}

static void on_begun(void *arg)
{
	((struct seen *)arg)->begun++;
}

static void a_stream_is_handed_over_as_it_comes_and_a_cut_is_told(void **state)
{
	static const char *const script[] = {
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n3\r\ntw", NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct seen seen = { 0 };
	struct http_request rq = { .method = "GET", .target = "/", .stream = true, .data = on_data, .begun = on_begun, .arg = &seen };
	struct http_reply reply;
	struct err e = { 0 };

	assert_int_equal(http_do(h, &rq, &reply, &e), -ECONNRESET);
	assert_string_equal(seen.text, "onetw");
	assert_int_equal(seen.begun, 1);
	http_close(h);
	server_end(&s);
}

static void a_callback_ends_the_call(void **state)
{
	static const char *const script[] = { OK_, NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct seen seen = { .stop = 42 };
	struct http_request rq = { .method = "GET", .target = "/", .data = on_data, .arg = &seen };
	struct http_reply reply;

	assert_int_equal(http_do(h, &rq, &reply, NULL), 42);
	http_close(h);
	server_end(&s);
}

static void too_much_is_refused(void **state)
{
	static const char *const script[] = { OK_, NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "GET", .target = "/", .max_body = 1 };
	struct http_reply reply;
	struct err e = { 0 };

	assert_int_equal(http_do(h, &rq, &reply, &e), -EFBIG);
	http_close(h);
	server_end(&s);
}

static void nobody_there_is_told_and_nothing_was_sent(void **state)
{
	struct http *h;
	struct http_request rq = { .method = "GET", .target = "/" };
	struct http_reply reply;
	struct err e = { 0 };

	assert_int_equal(http_open(&(struct http_options){ .url = "http://127.0.0.1:1" }, &h, &e), 0);
	assert_int_equal(http_do(h, &rq, &reply, &e), -EHOSTUNREACH);
	assert_false(reply.sent);
	http_close(h);
}

static void silence_ends_by_itself(void **state)
{
	static const char *const script[] = { "hang", "hang", NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "GET", .target = "/", .idle_ms = 100 };
	struct http_reply reply;
	struct err e = { 0 };

	assert_int_equal(http_do(h, &rq, &reply, &e), -ETIMEDOUT);
	assert_true(reply.sent);
	rq.idle_ms = 0;
	rq.timeout_ms = 100;
	assert_int_equal(http_do(h, &rq, &reply, &e), -ETIMEDOUT);
	http_close(h);
	server_end(&s);
}

static void *cancel_soon(void *arg)
{
	clock_sleep_ms(50);
	http_cancel(arg);
	return NULL;
}

static void another_thread_cancels(void **state)
{
	static const char *const script[] = { "hang", NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_cancel *cancel = http_cancel_new();
	struct http_request rq = { .method = "GET", .target = "/", .stream = true, .cancel = cancel };
	uint64_t start = clock_ns();
	struct http_reply reply;
	struct err e = { 0 };
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, cancel_soon, cancel), 0);
	assert_int_equal(http_do(h, &rq, &reply, &e), -ECANCELED);
	assert_true(clock_ns() - start < 5000000000ull);
	pthread_join(t, NULL);
	assert_int_equal(http_do(h, &rq, &reply, &e), -ECANCELED); /* for good */
	http_cancel_sleep(cancel, 60000);
	assert_true(clock_ns() - start < 5000000000ull);
	http_close(h);
	server_end(&s);
	http_cancel_free(cancel);
}

/* libcurl repeats a request when a connection that it used before ends without an answer. */
static void a_request_that_may_go_once_is_not_repeated(void **state)
{
	static const char *const script[] = { OK_, "close", OK_, "close", OK_, NULL };
	struct server s;
	struct http *h = client(server(&s, script));
	struct http_request rq = { .method = "POST", .target = "/", .body = "{}", .len = 2 };
	struct http_reply reply;
	struct err e = { 0 };

	assert_int_equal(http_do(h, &rq, &reply, &e), 0);
	http_reply_free(&reply);
	rq.once = true;
	assert_int_equal(http_do(h, &rq, &reply, &e), -ECONNRESET);
	assert_int_equal(s.requests, 2);
	rq.once = false;
	assert_int_equal(http_do(h, &rq, &reply, &e), 0);
	http_reply_free(&reply);
	assert_int_equal(http_do(h, &rq, &reply, &e), 0);
	http_reply_free(&reply);
	assert_int_equal(s.requests, 5);
	http_close(h);
	server_end(&s);
}

static void a_bad_url_is_refused(void **state)
{
	static const char *const bad[] = { "", "ftp://h", "https://", "host:1:2", "https://h:99999" };
	struct http *h;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(http_open(&(struct http_options){ .url = bad[i] }, &h, &e), -EINVAL);
}

static void what_a_path_may_not_hold_is_escaped(void **state)
{
	_cleanup_free_ char *s = http_escape("a/b=c,d e%\xc3\xa9");

	assert_string_equal(s, "a%2Fb%3Dc%2Cd%20e%25%C3%A9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_is_used_again),
		cmocka_unit_test(after_a_renewal_connections_are_new),
		cmocka_unit_test(retry_after_is_told),
		cmocka_unit_test(a_stream_is_handed_over_as_it_comes_and_a_cut_is_told),
		cmocka_unit_test(a_callback_ends_the_call),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(nobody_there_is_told_and_nothing_was_sent),
		cmocka_unit_test(silence_ends_by_itself),
		cmocka_unit_test(another_thread_cancels),
		cmocka_unit_test(a_request_that_may_go_once_is_not_repeated),
		cmocka_unit_test(a_bad_url_is_refused),
		cmocka_unit_test(what_a_path_may_not_hold_is_escaped),
	};

	return cmocka_run_group_tests_name("rpc_http", tests, NULL, NULL);
}
