/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/base64.h"

static int digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct arena *a, const char *text, char **ret, size_t *ret_len)
{
	size_t n = strlen(text), pad = 0, out = 0;
	char *buf;

	if (n % 4)
		return -EINVAL;
	while (pad < 2 && pad < n && text[n - pad - 1] == '=')
		pad++;
	buf = arena_alloc(a, n / 4 * 3 + 1);
	for (size_t i = 0; i < n; i += 4) {
		unsigned v = 0;

		for (size_t j = 0; j < 4; j++) {
			int d = i + j >= n - pad ? 0 : digit((unsigned char)text[i + j]);

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (unsigned)d;
		}
		buf[out++] = (char)(v >> 16);
		buf[out++] = (char)(v >> 8);
		buf[out++] = (char)v;
	}
	out -= pad;
	buf[out] = '\0';
	*ret = buf;
	*ret_len = out;
	return 0;
}

char *base64_encode(struct arena *a, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = arena_alloc(a, (len + 2) / 3 * 4 + 1), *out = text;
	const unsigned char *p = data;

	for (size_t left = len; left; p += 3) {
		size_t k = left < 3 ? left : 3;
		unsigned v = (unsigned)p[0] << 16 | (k > 1 ? (unsigned)p[1] << 8 : 0) | (k > 2 ? p[2] : 0);

		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = k > 1 ? digits[v >> 6 & 63] : '=';
		*out++ = k > 2 ? digits[v & 63] : '=';
		left -= k;
	}
	*out = '\0';
	return text;
}
