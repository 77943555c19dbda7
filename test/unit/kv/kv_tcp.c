/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_served_to_be_read_is_read_only),
		cmocka_unit_test(memory_served_to_be_written_is_write_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
