/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that holds a KV cache. A kind is a table of operations in a file of its own, listed in mem.c. */
#ifndef KVRAIL_KV_MEM_H
#define KVRAIL_KV_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kv_mem;

struct kv_mem_kind {
	const char *name; /* "host" */
	int (*alloc)(struct kv_mem *m, size_t size, struct err *e); /* fills base, size, priv, note */
	void (*free)(struct kv_mem *m);
	/* Copy between the memory and a buffer of this process. */
	int (*get)(const struct kv_mem *m, size_t offset, void *buf, size_t len, struct err *e);
	int (*put)(struct kv_mem *m, size_t offset, const void *buf, size_t len, struct err *e);
};

struct kv_mem {
	const struct kv_mem_kind *kind;
	void *base; /* as the transports address it */
	size_t size;
	bool cpu;   /* base can be read and written by this process's own instructions */
	const char *note; /* "huge pages", "4 KiB pages" */
	void *priv;
};

extern const struct kv_mem_kind kv_mem_host;

/* By the kind's name; -EINVAL lists them. */
int kv_mem_alloc(const char *kind, size_t size, struct kv_mem **ret, struct err *e);
struct kv_mem *kv_mem_free(struct kv_mem *m); /* NULL is fine; returns NULL */

static inline void kv_mem_freep(struct kv_mem **m)
{
	kv_mem_free(*m);
}
#define _cleanup_kv_mem_ _cleanup_(kv_mem_freep)

/* Words for a registration of @size bytes that failed with @code: what the limit on locked memory is, and the way out. */
int kv_mem_register_failed(int code, size_t size, struct err *e);

#endif
