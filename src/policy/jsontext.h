/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: JSON as text, whose numbers, escapes and key order must stay as they were written. */
#ifndef KVRAIL_POLICY_JSONTEXT_H
#define KVRAIL_POLICY_JSONTEXT_H

#include "base/err.h"
#include "base/strbuf.h"

/* @text without any white space (Unicode's), even that inside strings. */
void jsontext_add_without_space(struct strbuf *b, const char *text);

/* @text as YAML reads it in single quotes: line breaks fold into spaces, a doubled ' is one. */
void jsontext_fold(struct strbuf *b, const char *text);

/* Is it one JSON value? -EINVAL with the reason. */
int jsontext_check(const char *text, struct err *e);

/* Valid JSON, indented by four spaces; empty objects and arrays stay on their line. */
void jsontext_indent(struct strbuf *b, const char *text);

#endif
