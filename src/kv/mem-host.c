/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host memory, of pages that the kernel may make huge. Not from the hugetlb pool: where a container has no share of
 * the pool mmap() succeeds and the first touch is a SIGBUS.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kv/mem.h"

#define HUGE (2u << 20)

struct mapping {
	void *p;
	size_t size;
};

static int host_alloc(struct kv_mem *m, size_t size, struct err *e)
{
	struct mapping *map = malloc(sizeof(*map));
	size_t whole = size + HUGE;
	void *p = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!map)
		abort();
	if (p == MAP_FAILED) {
		free(map);
		return err_errno(e, -errno, "cannot map %zu MiB of memory", whole >> 20);
	}
	*map = (struct mapping){ p, whole };
	m->base = (void *)(((uintptr_t)p + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	m->note = madvise(m->base, size, MADV_HUGEPAGE) == 0 ? "transparent huge pages" : "ordinary pages";
	m->size = size;
	m->cpu = true;
	m->priv = map;
	return 0;
}

static void host_free(struct kv_mem *m)
{
	struct mapping *map = m->priv;

	munmap(map->p, map->size);
	free(map);
}

static int host_get(const struct kv_mem *m, size_t offset, void *buf, size_t len, struct err *e)
{
	memcpy(buf, (char *)m->base + offset, len);
	return 0;
}

static int host_put(struct kv_mem *m, size_t offset, const void *buf, size_t len, struct err *e)
{
	memcpy((char *)m->base + offset, buf, len);
	return 0;
}

const struct kv_mem_kind kv_mem_host = {
	.name = "host",
	.alloc = host_alloc,
	.free = host_free,
	.get = host_get,
	.put = host_put,
};
