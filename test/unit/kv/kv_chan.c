/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "kv/chan.h"

static void message_survives_the_wire(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	uint32_t ids[] = { 7, 0, 0xffffffff };
	struct kv_msg m = { .type = KV_OFFER, .layout = { { 28, 2, 4, 128, 2 }, 2, 1, 16, 64, KV_NHD, KV_CROSS },
			    .tokens = 48, .memory = UINT64_C(0x123456789a), .transports = "verbs", .text = "no\nsuch",
			    .endpoint = { (const uint8_t *)"abc", 3 }, .blocks = { ids, 3 } }, got;
	struct kv_frame f;
	uint8_t *p;
	size_t n;

	kv_encode(a, &m, &p, &n);
	assert_int_equal(kv_decode_header(p, &f, NULL), 0);
	assert_int_equal(f.len, n - KV_HEADER);
	f.payload = p + KV_HEADER;
	assert_int_equal(kv_decode(a, &f, &got, NULL), 0);
	assert_memory_equal(&got.layout, &m.layout, sizeof(m.layout));
	assert_int_equal(got.memory, m.memory);
	assert_string_equal(got.text, "no?such"); /* it will be printed: no control characters */
	assert_memory_equal(got.blocks.v, ids, sizeof(ids));
	assert_memory_equal(got.endpoint.p, "abc", 3);
	f.len--;
	assert_int_equal(kv_decode(a, &f, &got, NULL), -EBADMSG);
}

static void numbers_are_little_endian(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kv_msg m = { .type = KV_BEGIN, .handoff = 0x01020304 };
	uint8_t *p;
	size_t n;

	kv_encode(a, &m, &p, &n);
	assert_int_equal(n, 16);
	assert_memory_equal(p, "KVRL\x01\x00\x09\x00\x04\x00\x00\x00\x04\x03\x02\x01", 16);
}

static void header_of_another_kind_is_one_clear_error(void **state)
{
	struct kv_frame f;
	struct err e;

	assert_int_equal(kv_decode_header((const uint8_t *)"GET / HTTP/1.1", &f, &e), -EPROTONOSUPPORT);
	assert_int_equal(kv_decode_header((const uint8_t *)"KVRL\x02\x00\x01\x00\x20\x00\x00\x00", &f, &e), -EPROTO);
	assert_string_equal(e.msg, "the peer speaks version 2 of kvrail-kv's protocol, this side 1: run the same "
				   "kvrail-kv on both");
	assert_int_equal(kv_decode_header((const uint8_t *)"KVRL\x01\x00\x01\x00\x21\x00\x00\x00", &f, &e), -EMSGSIZE);
	assert_int_equal(kv_decode_header((const uint8_t *)"KVRL\x01\x00\x63\x00\x00\x00\x00\x00", &f, &e), -EBADMSG);
	assert_int_equal(kv_decode_header((const uint8_t *)"KVRL\x01\x00\x00\x00\x00\x00\x00\x00", &f, &e), -EBADMSG);
}

struct server {
	union kv_addr addr;
	int listen_fd, r;
	struct kv_secret secret;
	struct kv_chan chan;
	struct err e;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	union kv_addr from;
	int fd;

	assert_int_equal(kv_net_accept(s->listen_fd, -1, 5000, &fd, &from, &s->e), 0);
	s->r = kv_chan_accept(fd, &from, &s->secret, 1000, &s->chan, &s->e);
	if (s->r < 0) {
		kv_chan_fail(&s->chan, &s->e);
		kv_chan_close(&s->chan);
	}
	return NULL;
}

static int meet(struct server *s, const char *theirs, const char *ours, struct kv_chan *c, struct err *e)
{
	struct kv_secret mine = { .n = strlen(ours) };
	pthread_t t;
	int r;

	memset(s, 0, sizeof(*s));
	memcpy(mine.p, ours, mine.n);
	s->secret.n = strlen(theirs);
	memcpy(s->secret.p, theirs, s->secret.n);
	assert_int_equal(kv_addr_parse("127.0.0.1", 0, &s->addr, e), 0);
	assert_int_equal(kv_net_listen(&s->addr, &s->listen_fd, &s->addr, e), 0);
	pthread_create(&t, NULL, serve, s);
	r = kv_chan_connect(&s->addr, &mine, 1000, c, e);
	pthread_join(t, NULL);
	close(s->listen_fd);
	return r;
}

static void both_sides_prove_the_secret_and_frames_are_sealed(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kv_msg m = { .type = KV_BEGIN, .handoff = 5 }, got;
	struct kv_chan c;
	struct server s;
	struct err e;

	assert_int_equal(meet(&s, "tea", "tea", &c, &e), 0);
	assert_int_equal(s.r, 0);
	assert_memory_equal(c.token, s.chan.token, sizeof(c.token));
	assert_memory_not_equal(c.key_in, c.key_out, sizeof(c.key_in));
	assert_int_equal(kv_chan_send(&c, &m, &e), 0);
	assert_int_equal(kv_chan_recv(&s.chan, a, KV_BEGIN, &got, &e), 0);
	assert_int_equal(got.handoff, 5);
	c.sent = 0; /* the same frame a second time */
	assert_int_equal(kv_chan_send(&c, &m, &e), 0);
	assert_int_equal(kv_chan_recv(&s.chan, a, KV_BEGIN, &got, &e), -EBADMSG);
	kv_chan_close(&c);
	kv_chan_close(&s.chan);
}

static unsigned user_timeout(int fd)
{
	unsigned ms = 0;
	socklen_t n = sizeof(ms);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &n), 0);
	return ms;
}

/* Whatever the timeout, whose hour must not be the keepalives' too: the kernel lets one override the other. */
static void vanished_peer_is_found_in_half_a_minute_and_a_slow_reader_is_left_alone(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct kv_chan c;
	struct server s;
	struct err e;

	assert_int_equal(meet(&s, "tea", "tea", &c, &e), 0);
	assert_int_equal(user_timeout(c.fd), 30000);
	assert_int_equal(user_timeout(s.chan.fd), 30000);
	kv_chan_close(&c);
	kv_chan_close(&s.chan);
	assert_int_equal(kv_net_timeouts(fd, 3600 * 1000), 0);
	assert_int_equal(user_timeout(fd), 0);
	kv_net_keepalive(fd, false);
	assert_int_equal(user_timeout(fd), 0);
	kv_net_keepalive(fd, true);
	assert_int_equal(user_timeout(fd), 30000);
	close(fd);
}

static void wrong_secret_is_refused_and_said_on_both_sides(void **state)
{
	struct kv_chan c;
	struct server s;
	struct err e;

	assert_int_equal(meet(&s, "tea", "coffee", &c, &e), -EACCES);
	assert_int_equal(s.r, -EACCES);
	assert_non_null(strstr(s.e.msg, "does not know this side's secret"));
	assert_non_null(strstr(e.msg, "does not know this side's secret"));
	kv_chan_close(&c);
}

/* One byte of a HELLO at a time, never silent for long. */
static void *drip(void *arg)
{
	const int *fd = arg;

	for (unsigned i = 0; i < 40 && send(*fd, "KVRL\x01\x00\x01\x00\x20" + (i < 9 ? i : 9), 1, MSG_NOSIGNAL) == 1; i++)
		clock_sleep_ms(50);
	return NULL;
}

static void peer_that_proves_nothing_is_given_up_however_much_it_says(void **state)
{
	union kv_addr from = { .v4 = { .sin_family = AF_INET } };
	struct kv_secret s = { "x", 1 };
	uint64_t start = clock_ns();
	struct kv_chan c;
	struct err e;
	pthread_t t;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(pthread_create(&t, NULL, drip, &fd[1]), 0);
	assert_int_equal(kv_chan_accept(fd[0], &from, &s, 300, &c, &e), -ETIMEDOUT);
	assert_true(clock_ns() - start < 1500000000);
	assert_non_null(strstr(e.msg, "did not prove the secret"));
	kv_chan_close(&c);
	pthread_join(t, NULL);
	close(fd[1]);
}

static void silent_peer_is_given_up(void **state)
{
	union kv_addr a;
	struct kv_secret s = { "x", 1 };
	struct kv_chan c;
	struct err e;
	int fd;

	assert_int_equal(kv_addr_parse("127.0.0.1", 0, &a, &e), 0);
	assert_int_equal(kv_net_listen(&a, &fd, &a, &e), 0);
	assert_int_equal(kv_chan_connect(&a, &s, 200, &c, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.msg, "nothing came"));
	kv_chan_close(&c);
	close(fd);
}

static void error_of_the_peer_is_this_sides_error(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e = { -ENODEV, "no rail left" }, got;
	struct kv_chan c;
	struct server s;
	struct kv_msg m;

	assert_int_equal(meet(&s, "x", "x", &c, &got), 0);
	kv_chan_fail(&s.chan, &e);
	assert_int_equal(kv_chan_recv(&c, a, KV_OFFER, &m, &got), -ENODEV);
	assert_non_null(strstr(got.msg, "says: no rail left"));
	kv_chan_close(&c);
	kv_chan_close(&s.chan);
}

static void addresses_are_read_as_people_write_them(void **state)
{
	char text[KV_ADDR_MAX];
	union kv_addr a;
	struct err e;

	assert_int_equal(kv_addr_parse("10.0.132.1", 5700, &a, &e), 0);
	assert_string_equal(kv_addr_text(&a, text), "10.0.132.1:5700");
	assert_int_equal(kv_addr_parse("[fd00::1]:81", 5700, &a, &e), 0);
	assert_string_equal(kv_addr_text(&a, text), "[fd00::1]:81");
	assert_int_equal(kv_addr_parse("fd00::1", 5700, &a, &e), 0);
	assert_string_equal(kv_addr_text(&a, text), "[fd00::1]:5700");
	assert_int_equal(kv_addr_parse("::ffff:10.0.0.1", 0, &a, &e), 0);
	assert_string_equal(kv_addr_host(&a, text), "10.0.0.1");
	assert_int_equal(kv_addr_parse(":0", 5700, &a, &e), 0);
	assert_int_equal(kv_addr_parse("10.0.0.1:70000", 5700, &a, &e), -EINVAL);
	assert_int_equal(kv_addr_parse("[fd00::1", 5700, &a, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_survives_the_wire),
		cmocka_unit_test(numbers_are_little_endian),
		cmocka_unit_test(header_of_another_kind_is_one_clear_error),
		cmocka_unit_test(both_sides_prove_the_secret_and_frames_are_sealed),
		cmocka_unit_test(vanished_peer_is_found_in_half_a_minute_and_a_slow_reader_is_left_alone),
		cmocka_unit_test(wrong_secret_is_refused_and_said_on_both_sides),
		cmocka_unit_test(silent_peer_is_given_up),
		cmocka_unit_test(peer_that_proves_nothing_is_given_up_however_much_it_says),
		cmocka_unit_test(error_of_the_peer_is_this_sides_error),
		cmocka_unit_test(addresses_are_read_as_people_write_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
