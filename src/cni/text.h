/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a program without stdio: a bounded buffer, JSON strings, base64, one member of a JSON object. */
#ifndef KVRAIL_CNI_TEXT_H
#define KVRAIL_CNI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
	char *s;
	size_t len, size;
	bool full; /* something did not fit */
};

void text_add(struct text *t, const char *s, size_t n);
void text_str(struct text *t, const char *s);
void text_num(struct text *t, unsigned long long n);
void text_json(struct text *t, const char *s, size_t n);	 /* quoted and escaped */
void text_base64(struct text *t, const void *data, size_t n);
/* Decode @n bytes of base64 where they stand; false when they are none. */
bool text_unbase64(char *s, size_t n, size_t *ret_len);

/*
 * The value of @key in the JSON object @s, as text (a string keeps its quotes). False when @s is no
 * object, is cut short before the value ends, or has no such member. Keys with escapes match nothing.
 */
bool text_member(const char *s, size_t n, const char *key, const char **ret, size_t *ret_n);

#endif
