/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "kv/mem.h"

static int no_alloc(struct kv_mem *m, size_t size, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "%s memory cannot be allocated", m->kind->name);
}

static void no_free(struct kv_mem *m)
{
}

static int no_get(const struct kv_mem *m, size_t offset, void *buf, size_t len, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "%s memory cannot be read", m->kind->name);
}

static int no_put(struct kv_mem *m, size_t offset, const void *buf, size_t len, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "%s memory cannot be written", m->kind->name);
}

static const struct kv_mem_kind *const kinds[] = { &kv_mem_host };

struct owned {
	struct kv_mem mem;
	struct kv_mem_kind kind; /* with a dummy for each operation that it lacks */
};

int kv_mem_alloc(const char *kind, size_t size, struct kv_mem **ret, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct owned *o;
		int r;

		if (strcmp(kinds[i]->name, kind) != 0)
			continue;
		o = calloc(1, sizeof(*o));
		if (!o)
			abort();
		o->kind = *kinds[i];
		o->kind.alloc = o->kind.alloc ? o->kind.alloc : no_alloc;
		o->kind.free = o->kind.free ? o->kind.free : no_free;
		o->kind.get = o->kind.get ? o->kind.get : no_get;
		o->kind.put = o->kind.put ? o->kind.put : no_put;
		o->mem.kind = &o->kind;
		r = o->kind.alloc(&o->mem, size, e);
		if (r < 0) {
			free(o);
			return r;
		}
		*ret = &o->mem;
		return 0;
	}
	return err_set(e, -EINVAL, "memory kind %s is not known: host", kind);
}

struct kv_mem *kv_mem_free(struct kv_mem *m)
{
	if (m) {
		m->kind->free(m);
		free(m);
	}
	return NULL;
}

int kv_mem_register_failed(int code, size_t size, struct err *e)
{
	struct rlimit l;

	if ((code == -ENOMEM || code == -EPERM) && getrlimit(RLIMIT_MEMLOCK, &l) == 0 && l.rlim_cur < size)
		return err_set(e, code, "cannot register %zu KiB: locked memory is limited to %ju KiB (ulimit -l) and "
			       "CAP_IPC_LOCK is not effective. Raise memlock for the container, or grant IPC_LOCK to a "
			       "process that runs as root", size / 1024, (uintmax_t)l.rlim_cur / 1024);
	return err_errno(e, code, "cannot register %zu KiB", size / 1024);
}
