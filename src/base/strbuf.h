/* SPDX-License-Identifier: Apache-2.0 */
/* A growing string. Start from STRBUF_INIT; s is always NUL-terminated once something was added. */
#ifndef KVRAIL_BASE_STRBUF_H
#define KVRAIL_BASE_STRBUF_H

#include <stddef.h>

#include "base/cleanup.h"

struct strbuf {
	char *s;
	size_t len, size;
};

#define STRBUF_INIT { NULL, 0, 0 }

void strbuf_add(struct strbuf *b, const void *p, size_t n);
void strbuf_addstr(struct strbuf *b, const char *s);
void strbuf_addch(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_free(struct strbuf *b);
char *strbuf_take(struct strbuf *b); /* the string, to be freed by the caller; "" when empty */

#define _cleanup_strbuf_ _cleanup_(strbuf_free)

#endif
