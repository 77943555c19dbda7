/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"

static void reserve(struct strbuf *b, size_t more)
{
	size_t size = b->size ? b->size : 64;

	if (more > SIZE_MAX / 2 - b->len)
		abort();
	while (size < b->len + more + 1)
		size *= 2;
	if (size == b->size)
		return;
	b->s = realloc(b->s, size);
	if (!b->s)
		abort();
	b->size = size;
}

void strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	reserve(b, n);
	if (n)
		memcpy(b->s + b->len, p, n);
	b->len += n;
	b->s[b->len] = '\0';
}

void strbuf_addstr(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_addch(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0)
		abort();
	reserve(b, (size_t)n);
	vsnprintf(b->s + b->len, (size_t)n + 1, fmt, again);
	b->len += (size_t)n;
	va_end(again);
	va_end(ap);
}

void strbuf_free(struct strbuf *b)
{
	free(b->s);
	*b = (struct strbuf)STRBUF_INIT;
}

char *strbuf_take(struct strbuf *b)
{
	char *s;

	reserve(b, 0);
	b->s[b->len] = '\0';
	s = b->s;
	*b = (struct strbuf)STRBUF_INIT;
	return s;
}
