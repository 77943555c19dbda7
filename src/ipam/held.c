/* SPDX-License-Identifier: Apache-2.0 */
/* Out of which pools each container may hold something: it was given by us, or was there when we started. */
#include <search.h>
#include <string.h>

#include "ipam/writer.h"

struct held {
	char *container;
	struct pool **pools;
	size_t n;
};

static int by_container(const void *x, const void *y)
{
	return strcmp(((const struct held *)x)->container, ((const struct held *)y)->container);
}

static void held_free(void *held)
{
	struct held *h = held;

	free(h->container);
	free(h->pools);
	free(h);
}

static struct held *find(const struct pools *ps, const char *container)
{
	const struct held key = { .container = (char *)container };
	struct held **at = tfind(&key, &ps->held, by_container);

	return at ? *at : NULL;
}

static struct held *find_or_make(struct pools *ps, const char *container)
{
	struct held *h = find(ps, container);

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h || !(h->container = strdup(container)) || !tsearch(h, &ps->held, by_container))
		abort();
	return h;
}

void ipam_held_put(struct pools *ps, const char *container, struct pool *p)
{
	struct held *h = find_or_make(ps, container);
	struct pool **pools;

	for (size_t i = 0; i < h->n; i++)
		if (h->pools[i] == p)
			return;
	pools = realloc(h->pools, (h->n + 1) * sizeof(*pools));
	if (!pools)
		abort();
	h->pools = pools;
	h->pools[h->n++] = p;
}

struct pool **ipam_held_of(const struct pools *ps, struct arena *a, const char *container, size_t *ret_n)
{
	const struct held *h = find(ps, container);

	*ret_n = h ? h->n : 0;
	return h ? arena_memdup(a, h->pools, h->n * sizeof(*h->pools)) : NULL;
}

void ipam_held_drop(struct pools *ps, const char *container, const struct pool *p)
{
	struct held *h = find(ps, container);

	for (size_t i = 0; h && i < h->n; i++) {
		if (h->pools[i] != p)
			continue;
		h->pools[i] = h->pools[--h->n];
		break;
	}
	if (!h || h->n)
		return;
	tdelete(h, &ps->held, by_container);
	held_free(h);
}

void ipam_held_clear(struct pools *ps)
{
	tdestroy(ps->held, held_free);
	ps->held = NULL;
}
