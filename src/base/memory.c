/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/memory.h"

#define HEAPS 2

void memory_few_heaps(void)
{
	mallopt(M_ARENA_MAX, HEAPS);
	/* Beside a sanitizer's heap glibc's is not made before the first malloc_trim(): two threads would make it twice, and end in its assertions. */
	malloc_trim(0);
}

/* A mapping of /proc/self/smaps. */
struct mapping {
	uintptr_t from, to;
	bool file, read_only;
	unsigned long own_kb; /* anonymous pages, in memory or swapped out */
};

/* Every page of it is what the file says, and stays so: a read-only segment that was writable when it was relocated has anonymous pages. */
static bool is_clean(const struct mapping *m)
{
	return m->file && m->read_only && !m->own_kb;
}

static bool header(const char *line, struct mapping *ret)
{
	unsigned long from, to, offset, inode = 0;
	char perms[5], device[16];

	if (sscanf(line, "%lx-%lx %4s %lx %15s %lu", &from, &to, perms, &offset, device, &inode) != 6)
		return false;
	*ret = (struct mapping){ .from = from, .to = to, .file = inode != 0, .read_only = perms[0] == 'r' && perms[1] == '-' && perms[3] == 'p' };
	return true;
}

size_t memory_give_back(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	struct mapping m = { 0 }, next;
	size_t given = 0;
	char line[512];
	unsigned long kb;

	malloc_trim(0);
	while (f && fgets(line, sizeof(line), f)) {
		if (header(line, &next)) {
			m = next;
		} else if (sscanf(line, "Anonymous: %lu", &kb) == 1 || sscanf(line, "Swap: %lu", &kb) == 1) {
			m.own_kb += kb;
		} else if (!strncmp(line, "VmFlags:", 8)) { /* the last line of a mapping */
			if (is_clean(&m) && madvise((void *)m.from, m.to - m.from, MADV_DONTNEED) == 0)
				given += m.to - m.from;
			m = (struct mapping){ 0 };
		}
	}
	return given;
}
