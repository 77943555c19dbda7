/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with a shim that runs plugins, without a socket: requests and replies by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/hostrun.h"
#include "base/base64.h"
#include "base/clock.h"
#include "codec/doc.h"
#include "wall-clock.h"

#define SOCKET "/tmp/kvrail-hostrun-test.sock"

struct plan {
	unsigned orders, timeout_s;
	int results[4];
	struct attach_ran ran[4];
	struct err e;
	_Atomic unsigned done;
};

/* Orders as many plugins as planned, then replies. */
static void work(void *arg, struct arena *a, void *caller, int *status, const char **text)
{
	static const char *const env[] = { "CNI_COMMAND=ADD", "CNI_IFNAME=eth0", NULL };
	struct plan *p = *(struct plan **)arg;

	for (unsigned i = 0; i < p->orders; i++) {
		p->results[i] = hostrun_run(caller, a, "/opt/cni/bin/bridge", env, "{\"x\":1}", 7, p->timeout_s, &p->ran[i], &p->e);
		if (p->ran[i].out)
			p->ran[i].out = strdup(p->ran[i].out);
	}
	*status = 200;
	*text = "{\"Result\":null}";
	p->done = 1;
}

struct side {
	struct arena *arena;
	struct httpd_request rq;
	struct httpd_reply reply;
};

static void begin_alive(struct hostrun *h, struct side *s, struct plan *p, long alive)
{
	*s = (struct side){ .arena = arena_new() };
	s->rq.arena = s->arena;
	hostrun_begin(h, arena_new(), work, &p, sizeof(p), alive, &s->rq, &s->reply);
}

static void begin(struct hostrun *h, struct side *s, struct plan *p)
{
	begin_alive(h, s, p, 0);
}

static void go_on(struct hostrun *h, struct side *s, const char *body)
{
	s->rq.body = arena_strdup(s->arena, body);
	s->rq.body_len = strlen(body);
	hostrun_go_on(h, &s->rq, &s->reply);
}

static yyjson_val *order(struct side *s)
{
	yyjson_val *v;

	assert_int_equal(s->reply.status, 200);
	assert_int_equal(doc_parse_json(s->arena, "reply", s->reply.body, strlen(s->reply.body), 1 << 20, &v, NULL), 0);
	return yyjson_obj_get(v, "Exec");
}

static void assert_decodes(struct side *s, yyjson_val *v, const char *key, const char *bytes, size_t n)
{
	size_t len;
	char *out;

	assert_int_equal(base64_decode(s->arena, doc_str(v, key), &out, &len), 0);
	assert_int_equal(len, n);
	assert_memory_equal(out, bytes, n);
}

static char *answer(struct side *s, const char *id, const char *rest)
{
	return arena_printf(s->arena, "{\"id\":\"%s\",%s}", id, rest);
}

static void an_order_goes_out_and_its_answer_comes_back(void **state)
{
	static const char env[] = "CNI_COMMAND=ADD\0CNI_IFNAME=eth0";
	struct plan p = { .orders = 2, .timeout_s = 5 };
	struct hostrun *h = hostrun_new(SOCKET);
	struct side s;
	yyjson_val *v;

	begin(h, &s, &p);
	v = order(&s);
	assert_non_null(v);
	assert_decodes(&s, v, "path", "/opt/cni/bin/bridge", 19);
	assert_decodes(&s, v, "env", env, sizeof(env));
	assert_decodes(&s, v, "in", "{\"x\":1}", 7);
	assert_int_equal(yyjson_get_uint(yyjson_obj_get(v, "timeout")), 5);
	go_on(h, &s, answer(&s, doc_str(v, "id"), "\"status\":0,\"out\":\"b2s=\",\"err\":\"\""));
	v = order(&s);
	assert_non_null(v);
	go_on(h, &s, answer(&s, doc_str(v, "id"), "\"status\":137,\"timeout\":true,\"out\":\"\",\"err\":\"Zm9v\""));
	assert_int_equal(s.reply.status, 200);
	assert_string_equal(s.reply.body, "{\"Result\":null}");
	assert_int_equal(p.results[0], 0);
	assert_int_equal(p.ran[0].status, 0);
	assert_string_equal(p.ran[0].out, "ok");
	assert_int_equal(p.results[1], 0);
	assert_int_equal(p.ran[1].status, 137);
	assert_true(p.ran[1].timed_out);
	free((char *)p.ran[0].out);
	free((char *)p.ran[1].out);
	arena_free(s.arena);
	assert_null(hostrun_free(h));
}

static void a_plugin_that_cannot_be_executed_is_its_errno(void **state)
{
	struct plan p = { .orders = 1, .timeout_s = 5 };
	struct hostrun *h = hostrun_new(SOCKET);
	struct side s;

	begin(h, &s, &p);
	go_on(h, &s, answer(&s, doc_str(order(&s), "id"), "\"errno\":2,\"out\":\"\",\"err\":\"\""));
	assert_int_equal(p.results[0], -ENOENT);
	assert_non_null(strstr(p.e.msg, "/opt/cni/bin/bridge"));
	arena_free(s.arena);
	hostrun_free(h);
}

static void nonsense_from_a_shim_fails_the_plugin_and_not_the_agent(void **state)
{
	static const char *const bad[] = { "\"x\":1", "\"status\":-1,\"out\":\"\",\"err\":\"\"", "\"status\":0,\"out\":\"!\",\"err\":\"\"",
					   "\"status\":\"0\",\"out\":\"\",\"err\":\"\"", "\"status\":0,\"out\":7,\"err\":\"\"" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct plan p = { .orders = 1, .timeout_s = 5 };
		struct hostrun *h = hostrun_new(SOCKET);
		struct side s;

		begin(h, &s, &p);
		go_on(h, &s, answer(&s, doc_str(order(&s), "id"), bad[i]));
		assert_int_equal(p.results[0], -EPROTO);
		arena_free(s.arena);
		hostrun_free(h);
	}
}

static void an_answer_to_no_order_is_refused(void **state)
{
	struct plan p = { .orders = 1, .timeout_s = 5 };
	struct hostrun *h = hostrun_new(SOCKET);
	struct side s, other = { .arena = arena_new() };
	const char *id;

	other.rq.arena = other.arena;
	go_on(h, &other, "{\"id\":\"0123\",\"status\":0,\"out\":\"\",\"err\":\"\"}");
	assert_int_equal(other.reply.status, 400);
	go_on(h, &other, "not json");
	assert_int_equal(other.reply.status, 400);
	begin(h, &s, &p);
	id = doc_str(order(&s), "id");
	go_on(h, &s, answer(&s, id, "\"status\":0,\"out\":\"\",\"err\":\"\""));
	assert_int_equal(p.results[0], 0);
	free((char *)p.ran[0].out);
	go_on(h, &other, answer(&other, id, "\"status\":0,\"out\":\"\",\"err\":\"\"")); /* a second time */
	assert_int_equal(other.reply.status, 400);
	arena_free(s.arena);
	arena_free(other.arena);
	hostrun_free(h);
}

/* The shim was killed: what it was to do has failed, and what undoes the rest is told to do so without it. */
static void the_end_does_not_wait_for_a_shim_that_is_gone(void **state)
{
	struct plan p = { .orders = 2, .timeout_s = 100 };
	struct hostrun *h = hostrun_new(SOCKET);
	struct side s;
	uint64_t before = clock_ns();

	begin(h, &s, &p);
	assert_non_null(order(&s));
	assert_false(p.done);
	hostrun_free(h);
	assert_true(p.done);
	assert_true(clock_ns() - before < UINT64_C(5000000000));
	assert_int_equal(p.results[0], -ETIMEDOUT);
	assert_int_equal(p.results[1], -ENOTCONN);
	arena_free(s.arena);
}

/* Its lock goes with it; nobody waits as long as the plugin might take. */
static void a_shim_that_was_killed_is_noticed(void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4711, .l_len = 1 };
	struct plan p = { .orders = 1, .timeout_s = 100 };
	struct hostrun *h = hostrun_new(SOCKET);
	int fd = open(SOCKET ".shims", O_RDWR | O_CLOEXEC);
	struct side s;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	begin_alive(h, &s, &p, 4711);
	assert_non_null(order(&s));
	clock_sleep_ms(1500);
	assert_false(p.done);
	close(fd);
	for (unsigned i = 0; !p.done && i < 500; i++)
		clock_sleep_ms(10);
	assert_true(p.done);
	assert_int_equal(p.results[0], -ETIMEDOUT);
	arena_free(s.arena);
	hostrun_free(h);
	assert_int_equal(access(SOCKET ".shims", F_OK), -1);
}

/* Killed while its request waits for the first order: the request still ends, and with it the conversation. */
static void a_shim_that_was_killed_before_an_order_holds_nothing_up(void **state)
{
	struct plan p = { .orders = 2, .timeout_s = 100 };
	struct hostrun *h = hostrun_new(SOCKET);
	struct side s;

	begin_alive(h, &s, &p, 4711); /* a byte that nobody locks */
	assert_int_equal(s.reply.status, 200);
	assert_string_equal(s.reply.body, "{\"Result\":null}");
	assert_int_equal(p.results[0], -ETIMEDOUT);
	assert_int_equal(p.results[1], -ENOTCONN);
	arena_free(s.arena);
	hostrun_free(h);
}

static void without_a_caller_plugins_are_run_here(void **state)
{
	struct attach_ran ran;

	assert_int_equal(hostrun_run(NULL, NULL, "/x", NULL, "", 0, 1, &ran, NULL), -ENOTCONN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_order_goes_out_and_its_answer_comes_back),
		cmocka_unit_test(a_plugin_that_cannot_be_executed_is_its_errno),
		cmocka_unit_test(nonsense_from_a_shim_fails_the_plugin_and_not_the_agent),
		cmocka_unit_test(an_answer_to_no_order_is_refused),
		cmocka_unit_test(the_end_does_not_wait_for_a_shim_that_is_gone),
		cmocka_unit_test(a_shim_that_was_killed_is_noticed),
		cmocka_unit_test(a_shim_that_was_killed_before_an_order_holds_nothing_up),
		cmocka_unit_test(without_a_caller_plugins_are_run_here),
	};

	return cmocka_run_group_tests_name("hostrun_test", tests, NULL, NULL);
}
