/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "controller/write.h"

struct write *write_add(struct writes *w, enum write_verb verb, const struct api_kind *kind, const char *ns, const char *name)
{
	struct write *x = arena_push(w->arena, &w->v, &w->n, sizeof(*x));

	x->verb = verb;
	x->kind = kind;
	x->ns = ns;
	x->name = name;
	return x;
}

/* FNV-1a */
uint64_t write_hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		h = (h ^ *p) * 0x100000001b3u;
	return h ? h : 1;
}

/* The first one that is not below @key. */
static size_t lower_bound(const struct memos *m, const char *key)
{
	size_t from = 0, to = m->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (strcmp(m->v[mid].key, key) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

struct memo *memo_find(struct memos *m, const char *key, bool make)
{
	size_t i = lower_bound(m, key);

	if (i < m->n && !strcmp(m->v[i].key, key)) {
		m->v[i].seen = true;
		return &m->v[i];
	}
	if (!make)
		return NULL;
	if (m->n == m->size) {
		m->size = m->size ? 2 * m->size : 16;
		m->v = realloc(m->v, m->size * sizeof(*m->v));
		if (!m->v)
			abort();
	}
	memmove(&m->v[i + 1], &m->v[i], (m->n++ - i) * sizeof(*m->v));
	m->v[i] = (struct memo){ .key = strdup(key), .seen = true };
	if (!m->v[i].key)
		abort();
	return &m->v[i];
}

static void forget(struct memo *x)
{
	free(x->key);
	free(x->conflict);
	free(x->failure);
}

void memo_settle(struct memos *m, const char *key)
{
	struct memo *x = memo_find(m, key, false);

	if (!x)
		return;
	free(x->conflict);
	free(x->failure);
	x->conflict = x->failure = NULL;
}

void memo_sweep(struct memos *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (!m->v[i].seen) {
			forget(&m->v[i]);
			continue;
		}
		m->v[n] = m->v[i];
		m->v[n++].seen = false;
	}
	m->n = n;
}

void memo_free(struct memos *m)
{
	for (size_t i = 0; i < m->n; i++)
		forget(&m->v[i]);
	free(m->v);
	*m = (struct memos){ 0 };
}

bool write_needed(struct memos *m, const char *key, const char *wanted, const char *stored)
{
	const struct memo *memo = memo_find(m, key, false);

	if (!stored)
		return true;
	if (!strcmp(wanted, stored))
		return false;
	return !memo || memo->wanted != write_hash(wanted) || memo->accepted != write_hash(stored);
}
