/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain scalars, as Kubernetes reads them: sigs.k8s.io/yaml stands on go-yaml 2, whose resolver knows
 * the words of YAML 1.1 and hands numbers to Go's strconv (base prefixes, '_' between digits).
 */
#include <math.h>
#include <string.h>

#include "base/parse.h"
#include "codec/reader.h"

static const char *const true_words[] = { "y",    "Y",    "yes", "Yes", "YES", "true",
					  "True", "TRUE", "on",  "On",  "ON",  NULL };
static const char *const false_words[] = { "n",     "N",     "no",  "No",  "NO",  "false",
					   "False", "FALSE", "off", "Off", "OFF", NULL };
static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const no_number_words[] = { ".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
					       "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
					       ".NaN",  ".NAN",  NULL };

static bool is_one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

/* Go's ParseInt(s, 0, 64): 0x, 0o, 0b, and a leading 0 for octal. */
static yyjson_mut_val *integer(yyjson_mut_doc *doc, const char *s)
{
	bool minus = *s == '-';
	const char *digits = s + (*s == '-' || *s == '+');
	uint64_t v;
	int base = 10;

	if (digits[0] == '0' && digits[1]) {
		switch (digits[1]) {
		case 'x': case 'X':
			base = 16;
			digits += 2;
			break;
		case 'o': case 'O':
			base = 8;
			digits += 2;
			break;
		case 'b': case 'B':
			base = 2;
			digits += 2;
			break;
		default:
			base = 8;
		}
		if (base == 16 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) /* strtoull skips a second one */
			return NULL;
	}
	if (parse_u64(digits, base, 0, minus ? (uint64_t)INT64_MAX + 1 : UINT64_MAX, &v) < 0)
		return NULL;
	if (minus)
		return yyjson_mut_sint(doc, v > INT64_MAX ? INT64_MIN : -(int64_t)v);
	return v > INT64_MAX ? yyjson_mut_uint(doc, v) : yyjson_mut_sint(doc, (int64_t)v);
}

/* [-+]? ( .digits | digits [.digits?] ) ( [eE] [-+]? digits )? */
static bool is_float(const char *s)
{
	size_t whole, part = 0, dot;

	s += *s == '-' || *s == '+';
	whole = strspn(s, "0123456789");
	s += whole;
	dot = *s == '.';
	s += dot;
	if (dot)
		part = strspn(s, "0123456789");
	s += part;
	if (!whole && !part)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (!strspn(s, "0123456789"))
			return false;
		s += strspn(s, "0123456789");
	}
	return !*s;
}

bool doc_is_whole(double d)
{
	return d == floor(d) && fabs(d) < 0x1p53;
}

int doc_yaml_resolve(yyjson_mut_doc *doc, const char *s, size_t len, yyjson_mut_val **ret)
{
	char number[64];
	size_t n = 0;
	double d;

	if (is_one_of(s, null_words))
		*ret = yyjson_mut_null(doc);
	else if (is_one_of(s, true_words))
		*ret = yyjson_mut_true(doc);
	else if (is_one_of(s, false_words))
		*ret = yyjson_mut_false(doc);
	else if (is_one_of(s, no_number_words))
		return -ERANGE;
	else
		*ret = NULL;
	if (*ret)
		return 0;
	*ret = yyjson_mut_strncpy(doc, s, len);
	if (len >= sizeof(number) || !strchr("+-.0123456789", *s))
		return 0;
	for (const char *p = s; *p; p++)
		if (*p != '_' || *s == '.')
			number[n++] = *p;
	number[n] = '\0';
	if (*s != '.') {
		yyjson_mut_val *i = integer(doc, number);

		if (i) {
			*ret = i;
			return 0;
		}
	}
	if (!is_float(number))
		return 0;
	d = strtod(number, NULL);
	if (!isfinite(d)) /* Go's ParseFloat takes no such number: a commit's 12345e678 is text */
		return 0;
	if (doc_is_whole(d)) /* 1e3, 8.0 */
		*ret = yyjson_mut_sint(doc, (int64_t)d);
	else
		*ret = yyjson_mut_real(doc, d);
	return 0;
}
