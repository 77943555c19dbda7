/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "kv/common.h"
#include "kv/tcp-stream.h"

#define SIZE 4096

struct passive {
	struct kv_mem *mem;
	enum kv_op op;
	int fd, r;
	struct err e;
};

static void *serve(void *arg)
{
	struct passive *p = arg;

	p->r = kv_stream_serve(p->fd, p->mem, p->op, &p->e);
	shutdown(p->fd, SHUT_RDWR);
	return NULL;
}

enum verb { READ, WRITE, PLAIN };

/* What comes of @verb against memory full of 1 that is served for @op; the active end's memory is full of 2. */
static int run(enum kv_op op, enum verb verb, struct passive *p, char *ret_here, char *ret_there)
{
	struct kv_desc whole = { 0, 0, SIZE };
	struct kv_plan plan = { &whole, 1, 1, SIZE };
	struct kv_stream_cursor cursor = { .lock = PTHREAD_MUTEX_INITIALIZER, .plan = &plan };
	uint64_t bytes, requests;
	struct kv_mem *mine;
	pthread_t t;
	int fd[2], r;

	*p = (struct passive){ .op = op };
	assert_int_equal(kv_mem_alloc("host", SIZE, &p->mem, NULL), 0);
	assert_int_equal(kv_mem_alloc("host", SIZE, &mine, NULL), 0);
	memset(p->mem->base, 1, SIZE);
	memset(mine->base, 2, SIZE);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	p->fd = fd[1];
	assert_int_equal(pthread_create(&t, NULL, serve, p), 0);
	if (verb == PLAIN)
		r = kv_stream_plain(fd[0], mine, SIZE, NULL);
	else
		r = (verb == READ ? kv_stream_read : kv_stream_write)(fd[0], mine, &cursor, &bytes, &requests, NULL);
	close(fd[0]);
	pthread_join(t, NULL);
	close(fd[1]);
	*ret_here = *((char *)mine->base + SIZE - 1);
	*ret_there = *((char *)p->mem->base + SIZE - 1);
	kv_mem_free(mine);
	kv_mem_free(p->mem);
	return r;
}

static void memory_served_to_be_read_is_read_only(void **state)
{
	struct passive p;
	char here, there;

	assert_int_equal(run(KV_READ, READ, &p, &here, &there), 0);
	assert_int_equal(here, 1);
	assert_int_equal(run(KV_READ, PLAIN, &p, &here, &there), 0);
	assert_int_equal(here, 1);
	assert_int_equal(p.r, 0);
	assert_int_equal(run(KV_READ, WRITE, &p, &here, &there), -ECONNRESET);
	assert_int_equal(there, 1);
	assert_int_equal(p.r, -EBADMSG);
	assert_string_equal(p.e.msg, "the peer asked to write in a session that only reads");
}

static void memory_served_to_be_written_is_write_only(void **state)
{
	struct passive p;
	char here, there;

	assert_int_equal(run(KV_WRITE, WRITE, &p, &here, &there), 0);
	assert_int_equal(there, 2);
	assert_int_equal(p.r, 0);
	assert_int_equal(run(KV_WRITE, READ, &p, &here, &there), -ECONNRESET);
	assert_int_equal(here, 2);
	assert_int_equal(p.r, -EBADMSG);
	assert_string_equal(p.e.msg, "the peer asked to read in a session that only writes");
	assert_int_equal(run(KV_WRITE, PLAIN, &p, &here, &there), -ECONNRESET);
	assert_int_equal(here, 2);
}

struct end {
	struct kv_chan chan;
	struct kv_mem *mem;
	struct kv_endpoint *ep;
	struct kv_bytes peer;
	int r;
	struct err e;
};

static void open_end(struct end *end, const char *rail, bool passive)
{
	struct kv_common o = kv_common_defaults();
	struct kv_config c;

	o.rails.v[0] = rail;
	o.rails.n = rail ? 1 : 0;
	assert_int_equal(kv_mem_alloc("host", SIZE, &end->mem, NULL), 0);
	kv_common_config(&o, &end->chan, end->mem, &c);
	c.passive = passive;
	assert_int_equal(kv_endpoint_open("tcp", &c, &end->ep, &end->e), 0);
}

static void *connect_end(void *arg)
{
	struct end *end = arg;

	end->r = end->ep->ops.connect(end->ep, &end->peer, &end->e);
	return NULL;
}

static void close_end(struct end *end)
{
	kv_endpoint_close(end->ep);
	kv_mem_free(end->mem);
	kv_chan_close(&end->chan);
}

/* The passive end has no rails: it offers the address of the control connection, here one of a socket for both families. */
static int connect_over(const char *rail, struct end *active, struct end *passive)
{
	_cleanup_arena_ struct arena *a = arena_new();
	union kv_addr to, any;
	pthread_t t;
	int listener;

	*active = *passive = (struct end){ .chan = { .fd = -1 } };
	assert_int_equal(kv_addr_parse(":0", 0, &any, NULL), 0);
	assert_int_equal(kv_net_listen(&any, &listener, &any, NULL), 0);
	assert_int_equal(kv_addr_parse("127.0.0.1", ntohs(any.v6.sin6_port), &to, NULL), 0);
	assert_int_equal(kv_net_connect(&to, NULL, 1000, &active->chan.fd, NULL), 0);
	assert_int_equal(kv_net_accept(listener, -1, 1000, &passive->chan.fd, &to, NULL), 0);
	close(listener);
	open_end(active, rail, false);
	open_end(passive, NULL, true);
	passive->ep->config.timeout_ms = 500;
	assert_int_equal(active->ep->ops.describe(active->ep, a, &passive->peer, NULL), 0);
	assert_int_equal(passive->ep->ops.describe(passive->ep, a, &active->peer, NULL), 0);
	assert_int_equal(pthread_create(&t, NULL, connect_end, passive), 0);
	connect_end(active);
	pthread_join(t, NULL);
	return active->r;
}

static void stream_begins_at_the_rail_whatever_socket_the_peer_has(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct end active, passive;
	struct kv_path path;

	assert_int_equal(connect_over("127.0.0.2", &active, &passive), 0);
	assert_int_equal(passive.ep->ops.path(passive.ep, a, &path, NULL), 0);
	assert_int_equal(strncmp(path.rails[0].peer, "127.0.0.2:", 10), 0);
	close_end(&active);
	close_end(&passive);
}

static void rail_that_cannot_reach_the_peer_is_an_error(void **state)
{
	struct end active, passive;

	assert_int_equal(connect_over("::1", &active, &passive), -EAFNOSUPPORT);
	assert_non_null(strstr(active.e.msg, "rail ::1: cannot connect to 127.0.0.1:"));
	assert_non_null(strstr(active.e.msg, "one is an IPv4 address and one IPv6"));
	close_end(&active);
	close_end(&passive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_served_to_be_read_is_read_only),
		cmocka_unit_test(memory_served_to_be_written_is_write_only),
		cmocka_unit_test(stream_begins_at_the_rail_whatever_socket_the_peer_has),
		cmocka_unit_test(rail_that_cannot_reach_the_peer_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
