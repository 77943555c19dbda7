/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "codec/table.h"

/* A file of nothing but mistakes is told about in part. */
#define KEPT_MAX 100

static size_t count(const struct complaints *c, bool warning)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].warning == warning;
	return n;
}

size_t complaints_errors(const struct complaints *c)
{
	return count(c, false);
}

void complain(struct complaints *c, bool warning, const char *path, const char *fmt, ...)
{
	struct complaint *new;
	va_list ap;

	if (count(c, warning) >= KEPT_MAX)
		return;
	new = arena_push(c->arena, &c->v, &c->n, sizeof(*new));
	new->warning = warning;
	new->path = arena_strdup(c->arena, path);
	va_start(ap, fmt);
	new->text = arena_vprintf(c->arena, fmt, ap);
	va_end(ap);
}
