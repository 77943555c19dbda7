/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: everything that one decoded object, one inventory or one plan consists of is allocated
 * from one arena and freed with it, so that no type needs a destructor of its own.
 * Out of memory aborts: sizes that a peer, a file or an annotation can choose are bounded before
 * they reach an allocation.
 */
#ifndef KVRAIL_BASE_ARENA_H
#define KVRAIL_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/cleanup.h"

struct arena;

struct arena *arena_new(void);
struct arena *arena_free(struct arena *a); /* NULL is fine; returns NULL */

/* Zeroed memory, aligned for any type; size 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_memdup(struct arena *a, const void *p, size_t size);
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *s, size_t n);
/* @s itself where it has at most @max bytes, else its beginning and "...", that many together, cut between UTF-8 characters. @max is above 3. */
const char *arena_cut(struct arena *a, const char *s, size_t max);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap);

/*
 * Append one zeroed element to a growing array and return it:
 *	struct vf *vf = arena_push(a, &pf->vfs, &pf->n_vfs, sizeof(*vf));
 * @array is the address of the array pointer. Elements move when the array grows: keep indices.
 */
void *arena_push(struct arena *a, void *array, size_t *n, size_t size);

static inline void arena_freep(struct arena **a)
{
	arena_free(*a);
}
#define _cleanup_arena_ _cleanup_(arena_freep)

#endif
