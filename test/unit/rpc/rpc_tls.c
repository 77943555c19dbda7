/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "rpc/httpd.h"
#include "rpc/x509.h"

#define DAY 86400

static const char *const names[] = { "kvrail.kvrail-system.svc", "localhost", "127.0.0.1", "::1", NULL };
static char folder[] = "/tmp/kvrail-tls-XXXXXX";

static void handler(void *arg, struct httpd_request *rq, struct httpd_reply *reply)
{
	httpd_say(reply, 200, arena_printf(rq->arena, "%s %zu uid=%d", rq->path, rq->body_len, (int)rq->uid));
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/ca", folder);
	unlink(path);
	return rmdir(folder);
}

/* What curl, which trusts @bundle alone, gets; its exit code. */
static int get(const char *bundle, const char *url, char *ret, size_t size)
{
	char command[512], path[64];
	size_t n;
	FILE *f;
	int r;

	snprintf(path, sizeof(path), "%s/ca", folder);
	assert_int_equal(file_write_atomic(AT_FDCWD, path, bundle, strlen(bundle), 0600), 0);
	snprintf(command, sizeof(command), "curl -s --noproxy '*' --max-time 10 --cacert %s -d hello %s", path, url);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(ret, 1, size - 1, f);
	ret[n] = '\0';
	r = pclose(f);
	return WEXITSTATUS(r);
}

static void make_two(struct arena *a, struct httpd_pem ca[2], struct httpd_pem server[2])
{
	time_t now = time(NULL);
	struct err e;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(x509_make_ca(a, "kvrail", now - 60, now + 10 * DAY, &ca[i], &e), 0);
		assert_int_equal(x509_make_server(a, &ca[i], names, now - 60, now + DAY, &server[i], &e), 0);
	}
}

static void certificate_is_changed_under_an_open_port(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct httpd_pem ca[2], server[2], mixed;
	struct httpd *h;
	struct err e;
	char out[200];
	const char *url;

	make_two(a, ca, server);
	assert_int_equal(httpd_start_tcp("127.0.0.1:0", &server[0], 100, 16, handler, NULL, &h, &e), 0);
	assert_true(httpd_port(h) > 0);
	url = arena_printf(a, "https://localhost:%u/x", httpd_port(h));
	assert_int_equal(get(ca[0].cert, url, out, sizeof(out)), 0);
	assert_string_equal(out, "/x 5 uid=-1");
	assert_int_equal(get(ca[1].cert, url, out, sizeof(out)), 60); /* not trusted */
	mixed = (struct httpd_pem){ server[1].cert, server[0].key };
	assert_int_equal(httpd_set_tls(h, &mixed, &e), -EINVAL); /* and the old one stays */
	assert_int_equal(get(ca[0].cert, url, out, sizeof(out)), 0);
	assert_int_equal(httpd_set_tls(h, &server[1], &e), 0);
	assert_int_equal(get(ca[1].cert, url, out, sizeof(out)), 0);
	assert_int_equal(get(ca[0].cert, url, out, sizeof(out)), 60);
	assert_int_equal(httpd_set_tls(h, &server[0], &e), 0);
	/* a bundle of both is what rotation without a gap rests on */
	assert_int_equal(get(arena_printf(a, "%s%s", ca[1].cert, ca[0].cert), url, out, sizeof(out)), 0);
	httpd_stop(h);
}

static void plain_server_answers_and_names_its_faults(void **state)
{
	struct httpd_pem none = { "", "" };
	struct httpd *h, *again = NULL;
	struct err e;
	char out[200], url[64];

	assert_int_equal(httpd_start_tcp(":0", NULL, 100, 16, handler, NULL, &h, &e), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/metrics", httpd_port(h));
	assert_int_equal(get("", url, out, sizeof(out)), 0);
	assert_string_equal(out, "/metrics 5 uid=-1");
	snprintf(url, sizeof(url), "127.0.0.1:%u", httpd_port(h));
	assert_int_equal(httpd_start_tcp(url, NULL, 100, 16, handler, NULL, &again, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, url));
	assert_int_equal(httpd_set_tls(h, &none, &e), -EINVAL);
	httpd_stop(h);
	assert_int_equal(httpd_start_tcp("8443", NULL, 100, 16, handler, NULL, &again, &e), -EINVAL);
	assert_int_equal(httpd_start_tcp("::1:8443", NULL, 100, 16, handler, NULL, &again, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "brackets"));
	assert_int_equal(httpd_start_tcp("127.0.0.1:0", &none, 100, 16, handler, NULL, &again, &e), -EINVAL);
}

/* Connections that say nothing, of one address, leave room for the others. */
static void idle_connections_do_not_stop_the_server(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	struct httpd_pem ca[2], server[2];
	struct httpd *h;
	struct err e;
	char out[200];
	int fds[64];

	make_two(a, ca, server);
	assert_int_equal(httpd_start_tcp("0.0.0.0:0", &server[0], 100, 32, handler, NULL, &h, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000063) };

		sa.sin_port = htons((uint16_t)httpd_port(h));
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
		if (i % 2) /* half of a handshake */
			assert_int_equal(send(fds[i], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
	}
	assert_int_equal(get(ca[0].cert, arena_printf(a, "https://127.0.0.1:%u/x", httpd_port(h)), out, sizeof(out)), 0);
	assert_string_equal(out, "/x 5 uid=-1");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	httpd_stop(h);
}

/* Nor do those of many addresses, our own among them, that asked something and stay. */
static void connections_that_stay_make_room_for_new_ones(void **state)
{
	static const char rq[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct httpd *h;
	struct err e;
	char out[200], url[64];
	int fds[40];

	assert_int_equal(httpd_start_tcp("0.0.0.0:0", NULL, 100, 16, handler, NULL, &h, &e), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", httpd_port(h));
	sa.sin_port = htons((uint16_t)httpd_port(h));
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / 8) };

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
		if (i % 2)
			assert_int_equal(send(fds[i], rq, sizeof(rq) - 1, MSG_NOSIGNAL), sizeof(rq) - 1);
	}
	assert_int_equal(get("", url, out, sizeof(out)), 0);
	assert_string_equal(out, "/x 5 uid=-1");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	httpd_stop(h);
}

/* A request with a body of @len bytes, of which @sent are sent: the connection. */
static int post(unsigned port, size_t len, size_t sent)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *body = calloc(1, len);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_true(dprintf(fd, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len) > 0);
	assert_int_equal(send(fd, body, sent, MSG_NOSIGNAL), sent);
	free(body);
	return fd;
}

/* Its status, after at most @tries, 20 ms each, in which it was @other. */
static int status_of(unsigned port, size_t len, int other, int tries)
{
	int status = other;

	for (int try = 0; status == other && try < tries; try++) {
		int fd = post(port, len, len);
		char reply[64] = "";

		assert_true(recv(fd, reply, sizeof(reply) - 1, 0) > 0);
		assert_int_equal(sscanf(reply, "HTTP/1.1 %d", &status), 1);
		close(fd);
		if (status == other)
			clock_sleep_ms(20);
	}
	return status;
}

static void bodies_that_do_not_end_are_bounded_and_small_ones_go_on(void **state)
{
	const size_t max = 4 << 20;
	struct httpd *h;
	struct err e;
	size_t n = 0;
	int fds[24], status;

	assert_int_equal(httpd_start_tcp("127.0.0.1:0", NULL, max, 256, handler, NULL, &h, &e), 0);
	while (n < 8)
		fds[n++] = post(httpd_port(h), max, max - 1);
	/* one of the eight is refused if it comes while the body that asks here is held: small ones take its room */
	while ((status = status_of(httpd_port(h), 1 << 20, 200, 50)) == 200 && n < ARRAY_SIZE(fds))
		fds[n++] = post(httpd_port(h), max, 512 << 10);
	assert_int_equal(status, 503);
	assert_int_equal(status_of(httpd_port(h), 1000, 0, 1), 200);
	while (n)
		close(fds[--n]);
	assert_int_equal(status_of(httpd_port(h), 1 << 20, 503, 500), 200);
	httpd_stop(h);
}

static void certificates_hold_what_was_asked(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct httpd_pem ca[2], server[2], old;
	time_t now = time(NULL), from, until;
	const char *bundle;
	struct err e;

	make_two(a, ca, server);
	for (const char *const *name = names; *name; name++)
		assert_int_equal(x509_verify(server[0].cert, ca[0].cert, *name, &e), 0);
	assert_int_equal(x509_verify(server[0].cert, ca[0].cert, "other.svc", &e), -EINVAL);
	assert_int_equal(x509_verify(server[0].cert, ca[1].cert, "localhost", &e), -EINVAL);
	assert_int_equal(x509_validity(server[0].cert, &from, &until, &e), 0);
	assert_int_equal(until - from, DAY + 60);
	assert_int_equal(x509_validity("nonsense", &from, &until, &e), -EINVAL);
	assert_int_equal(x509_make_ca(a, "old", now - 9 * DAY, now - DAY, &old, &e), 0);
	assert_int_equal(x509_make_server(a, &old, names, now - 60, now + DAY, &server[1], &e), 0);
	assert_int_equal(x509_verify(server[1].cert, old.cert, "localhost", &e), -EINVAL);
	bundle = x509_prune(a, arena_printf(a, "%s%sjunk\n%s%s", ca[0].cert, old.cert, ca[1].cert, ca[0].cert), now);
	assert_string_equal(bundle, arena_printf(a, "%s%s", ca[0].cert, ca[1].cert));
	assert_string_equal(x509_prune(a, "-----BEGIN CERTIFICATE-----\nAAAA", now), "");
	/* a name longer than a common name may be */
	assert_int_equal(x509_make_server(a, &ca[0],
		(const char *const[]){ "a-very-long-release-name-of-kvrail.a-very-long-namespace-name-indeed.svc", NULL },
		now, now + DAY, &server[1], &e), 0);
	assert_int_equal(x509_make_server(a, &(struct httpd_pem){ "x", "y" }, names, now, now + DAY, &server[1], &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificate_is_changed_under_an_open_port),
		cmocka_unit_test(plain_server_answers_and_names_its_faults),
		cmocka_unit_test(idle_connections_do_not_stop_the_server),
		cmocka_unit_test(connections_that_stay_make_room_for_new_ones),
		cmocka_unit_test(bodies_that_do_not_end_are_bounded_and_small_ones_go_on),
		cmocka_unit_test(certificates_hold_what_was_asked),
	};

	return cmocka_run_group_tests_name("tls", tests, make_folder, remove_folder);
}
