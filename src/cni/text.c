/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cni/text.h"

void text_add(struct text *t, const char *s, size_t n)
{
	if (n > t->size - t->len) {
		t->full = true;
		return;
	}
	memcpy(t->s + t->len, s, n);
	t->len += n;
}

void text_str(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_num(struct text *t, unsigned long long n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	text_add(t, digits + at, sizeof(digits) - at);
}

void text_json(struct text *t, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";

	text_str(t, "\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		char escape[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

		if (c == '"' || c == '\\') {
			text_str(t, "\\");
			text_add(t, s + i, 1);
		} else if (c < 0x20) {
			text_add(t, escape, sizeof(escape));
		} else {
			text_add(t, s + i, 1);
		}
	}
	text_str(t, "\"");
}

void text_base64(struct text *t, const void *data, size_t n)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;

	for (; n; p += 3) {
		size_t k = n < 3 ? n : 3;
		unsigned v = (unsigned)p[0] << 16 | (k > 1 ? (unsigned)p[1] << 8 : 0) | (k > 2 ? p[2] : 0);
		char out[] = { digit[v >> 18], digit[v >> 12 & 63], k > 1 ? digit[v >> 6 & 63] : '=',
			       k > 2 ? digit[v & 63] : '=' };

		text_add(t, out, sizeof(out));
		n -= k;
	}
}

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_unbase64(char *s, size_t n, size_t *ret_len)
{
	size_t pad = n && s[n - 1] == '=' ? 1 + (n > 1 && s[n - 2] == '=') : 0, len = 0;

	if (n % 4)
		return false;
	for (size_t i = 0; i < n; i += 4) {
		size_t digits = i + 4 == n ? 4 - pad : 4;
		unsigned v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < digits ? digit_value(s[i + k]) : 0;

			if (d < 0)
				return false;
			v = v << 6 | (unsigned)d;
		}
		for (size_t k = 0; k + 1 < digits; k++)
			s[len++] = (char)(v >> (16 - 8 * k) & 0xff);
	}
	*ret_len = len;
	return true;
}

static size_t skip_space(const char *s, size_t n, size_t i)
{
	while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r'))
		i++;
	return i;
}

/* The end of the string that begins at @i, behind its quote; 0 when it has none. */
static size_t skip_string(const char *s, size_t n, size_t i)
{
	for (i++; i < n; i++) {
		if (s[i] == '\\')
			i++;
		else if (s[i] == '"')
			return i + 1;
	}
	return 0;
}

/* The end of the value that begins at @i: at the comma or bracket that follows it; 0 when it is cut short. */
static size_t skip_value(const char *s, size_t n, size_t i)
{
	size_t depth = 0;

	while (i < n) {
		switch (s[i]) {
		case '"':
			i = skip_string(s, n, i);
			if (!i)
				return 0;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (depth-- == 0)
				return i;
			break;
		case ',':
			if (depth == 0)
				return i;
			break;
		}
		i++;
	}
	return 0;
}

bool text_member(const char *s, size_t n, const char *key, const char **ret, size_t *ret_n)
{
	size_t i = skip_space(s, n, 0), klen = strlen(key);

	if (i >= n || s[i] != '{')
		return false;
	do {
		size_t name, end, value;

		name = skip_space(s, n, i + 1);
		if (name >= n || s[name] != '"' || !(end = skip_string(s, n, name)))
			return false;
		value = skip_space(s, n, end);
		if (value >= n || s[value] != ':')
			return false;
		value = skip_space(s, n, value + 1);
		i = skip_value(s, n, value);
		if (!i)
			return false;
		if (end - name - 2 == klen && !memcmp(s + name + 1, key, klen)) {
			while (i > value && strchr(" \t\r\n", s[i - 1]))
				i--;
			*ret = s + value;
			*ret_n = i - value;
			return i > value;
		}
	} while (s[i] == ',');
	return false;
}
