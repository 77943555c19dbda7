/* SPDX-License-Identifier: Apache-2.0 */
/* Checked parsing of words and numbers, and the nearest right spelling for a wrong one. */
#ifndef KVRAIL_BASE_PARSE_H
#define KVRAIL_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole of @s as a number in [min, max]; @base as strtoull's. -EINVAL not a number, -ERANGE outside. */
int parse_u64(const char *s, int base, uint64_t min, uint64_t max, uint64_t *ret);
int parse_i64(const char *s, int base, int64_t min, int64_t max, int64_t *ret);

/*
 * The word of @words (NULL-terminated) nearest to @word by edit distance, case ignored, or NULL
 * when none is near enough to be what was meant.
 */
const char *parse_nearest(const char *word, const char *const *words);

/* Whether an optional word is there: an empty one is none. */
static inline bool is_given(const char *s)
{
	return s && *s;
}

/* A name that Linux takes for a network interface: 1 to 15 bytes, no '/', ':' or white space, not "." or "..". */
bool parse_is_ifname(const char *s);

#endif
