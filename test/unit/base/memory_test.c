/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/memory.h"

#define SIZE (4u << 20)

/* What is resident of @p, by mincore's sibling for private mappings: /proc/self/pagemap's bit 63. */
static size_t resident(const void *p, size_t size)
{
	long page = sysconf(_SC_PAGESIZE);
	size_t n = 0;
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i += (size_t)page)
		if (pread(fd, &entry, sizeof(entry), (off_t)(((uintptr_t)p + i) / (uintptr_t)page * 8)) == 8)
			n += entry >> 63;
	close(fd);
	return n * (size_t)page;
}

static void clean_pages_go_and_changed_ones_stay(void **state)
{
	char path[] = "/tmp/kvrail-memory-XXXXXX";
	int fd = mkstemp(path);
	unsigned char *clean, *changed;
	size_t sum = 0;
	char *text;

	assert_true(fd >= 0);
	unlink(path);
	text = malloc(SIZE);
	memset(text, 7, SIZE);
	assert_int_equal(write(fd, text, SIZE), SIZE);
	free(text);
	clean = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	/* as a loader does it: written, then made read-only */
	changed = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	changed[SIZE / 2] = 42;
	assert_int_equal(mprotect(changed, SIZE, PROT_READ), 0);
	for (size_t i = 0; i < SIZE; i += 4096)
		sum += clean[i] + changed[i];
	assert_true(sum > 0);
	assert_int_equal(resident(clean, SIZE), SIZE);
	assert_true(memory_give_back() >= SIZE);
	assert_int_equal(resident(clean, SIZE), 0);
	assert_int_equal(resident(changed, SIZE), SIZE);
	assert_int_equal(changed[SIZE / 2], 42);
	assert_int_equal(clean[SIZE / 2], 7); /* read again */
	munmap(clean, SIZE);
	munmap(changed, SIZE);
	close(fd);
}

static void *trim(void *start)
{
	pthread_barrier_wait(start);
	malloc_trim(0);
	return NULL;
}

static void trim_in_threads(void)
{
	pthread_barrier_t start;
	pthread_t threads[4];

	memory_few_heaps();
	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, trim, &start);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* Without a sanitizer it cannot go wrong; beside one, each new process has glibc's heap yet to make. */
static void threads_of_a_new_process_may_trim_at_once(void **state)
{
	for (int i = 0; i < 200; i++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (!child) {
			trim_in_threads();
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_of_a_new_process_may_trim_at_once), /* first: the other makes the heap for all that come after */
		cmocka_unit_test(clean_pages_go_and_changed_ones_stay),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
