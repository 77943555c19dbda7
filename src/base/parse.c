/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

int parse_u64(const char *s, int base, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isxdigit((unsigned char)*s)) /* no sign, no space, not empty */
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, base);
	if (end == s || *end)
		return -EINVAL;
	if (errno == ERANGE || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_i64(const char *s, int base, int64_t min, int64_t max, int64_t *ret)
{
	long long v;
	char *end;

	if (!isxdigit((unsigned char)s[*s == '-']))
		return -EINVAL;
	errno = 0;
	v = strtoll(s, &end, base);
	if (end == s || *end)
		return -EINVAL;
	if (errno == ERANGE || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

#define NEAR_MAX 64

static bool same_letter(char x, char y)
{
	return tolower((unsigned char)x) == tolower((unsigned char)y);
}

static size_t least(size_t x, size_t y)
{
	return x < y ? x : y;
}

/* Edits from one word to the other, case ignored; a swap of two neighbours is one. Both shorter than NEAR_MAX. */
static size_t distance(const char *a, const char *b)
{
	unsigned char d[NEAR_MAX][NEAR_MAX];
	size_t na = strlen(a), nb = strlen(b);

	for (size_t i = 0; i <= na; i++)
		for (size_t j = 0; j <= nb; j++) {
			size_t best = i + j; /* one of the words is empty */

			if (i && j) {
				best = d[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]);
				best = least(best, least(d[i - 1][j], d[i][j - 1]) + 1u);
			}
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
				best = least(best, d[i - 2][j - 2] + 1u);
			d[i][j] = (unsigned char)best;
		}
	return d[na][nb];
}

const char *parse_nearest(const char *word, const char *const *words)
{
	size_t n = strlen(word), best = n < 5 ? 2 : n / 3 + 2;
	const char *found = NULL;

	if (n == 0 || n >= NEAR_MAX)
		return NULL;
	for (; *words; words++) {
		size_t d;

		if (strlen(*words) >= NEAR_MAX)
			continue;
		d = distance(word, *words);
		if (d < best && d < strlen(*words)) {
			best = d;
			found = *words;
		}
	}
	return found;
}

bool parse_is_ifname(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 15 || !strcmp(s, ".") || !strcmp(s, ".."))
		return false;
	for (; *s; s++)
		if (*s == '/' || *s == ':' || isspace((unsigned char)*s))
			return false;
	return true;
}
