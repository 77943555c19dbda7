/* SPDX-License-Identifier: Apache-2.0 */
/* Values into text. */
#include <ctype.h>
#include <string.h>

#include "base/strbuf.h"
#include "codec/reader.h"

static yyjson_write_flag flags(bool pretty)
{
	/* names from a kernel need not be UTF-8; printing them must not fail */
	return (pretty ? YYJSON_WRITE_PRETTY_TWO_SPACES : 0) | YYJSON_WRITE_ALLOW_INVALID_UNICODE |
	       YYJSON_WRITE_INF_AND_NAN_AS_NULL;
}

char *doc_to_json(struct arena *a, yyjson_val *v, bool pretty)
{
	yyjson_alc alc = doc_alc(a);
	char *s = yyjson_val_write_opts(v, flags(pretty), &alc, NULL, NULL);

	if (!s)
		abort();
	return s;
}

char *doc_mut_to_json(struct arena *a, yyjson_mut_val *v, bool pretty)
{
	yyjson_alc alc = doc_alc(a);
	char *s = yyjson_mut_val_write_opts(v, flags(pretty), &alc, NULL, NULL);

	if (!s)
		abort();
	return s;
}

/* Code point at @s and its length; an invalid byte stands for itself and is no character (*ret_len 0). */
static uint32_t code_point(const unsigned char *s, size_t *ret_len)
{
	size_t n = s[0] < 0x80                   ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : (s[0] & 0xf0) == 0xe0       ? 3
		   : (s[0] & 0xf8) == 0xf0       ? 4
						 : 0;
	uint32_t c = n > 1 ? s[0] & (0x7f >> n) : s[0];

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			n = 0;
		else
			c = c << 6 | (s[i] & 0x3f);
	}
	*ret_len = n;
	return n ? c : s[0];
}

/* May the character stand in YAML text as it is? YAML 1.1, 5.1, without its line breaks. */
static bool is_printable(uint32_t c)
{
	return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xd800 && c != 0x2028 && c != 0x2029) ||
	       (c >= 0xe000 && c < 0xfffe && c != 0xfeff) || (c >= 0x10000 && c <= 0x10ffff);
}

static bool all_printable(const char *s, const char *besides)
{
	size_t n;

	for (; *s; s += n) {
		uint32_t c = code_point((const unsigned char *)s, &n);

		if (!n || (!is_printable(c) && !(c < 0x80 && strchr(besides, (int)c))))
			return false;
	}
	return true;
}

/* What YAML 1.1 readers could take for a base 60 number or a time. */
static bool looks_like_time(const char *s)
{
	return (isdigit((unsigned char)*s) || *s == '-' || *s == '+') &&
	       strspn(s, "0123456789:.-+TtZz _") == strlen(s);
}

static bool is_plain(const char *s, size_t len)
{
	_cleanup_arena_ struct arena *a = NULL;
	yyjson_mut_val *v;

	if (!len || strchr("-?:,[]{}#&*!|>'\"%@` =<", *s) || s[len - 1] == ' ' || s[len - 1] == ':')
		return false;
	if (strstr(s, ": ") || strstr(s, " #") || !all_printable(s, "") || looks_like_time(s))
		return false;
	a = arena_new();
	return doc_yaml_resolve(doc_new(a), s, len, &v) == 0 && yyjson_mut_is_str(v);
}

/* Several lines that can be shown as they are, below "|-". */
static bool is_literal(const char *s, size_t len)
{
	return strchr(s, '\n') && s[0] != '\n' && s[0] != ' ' && s[0] != '\t' &&
	       s[len - 1] != '\n' && all_printable(s, "\n\t");
}

static void put_quoted(struct strbuf *b, const char *s)
{
	size_t n;

	strbuf_addch(b, '"');
	for (; *s; s += n ? n : 1) {
		uint32_t c = code_point((const unsigned char *)s, &n);

		if (c == '"' || c == '\\')
			strbuf_addf(b, "\\%c", (int)c);
		else if (c == '\n')
			strbuf_addstr(b, "\\n");
		else if (c == '\t')
			strbuf_addstr(b, "\\t");
		else if (n && is_printable(c))
			strbuf_add(b, s, n);
		else if (c < 0x100)
			strbuf_addf(b, "\\x%02x", c);
		else
			strbuf_addf(b, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
	}
	strbuf_addch(b, '"');
}

static void pad(struct strbuf *b, unsigned indent)
{
	while (indent--)
		strbuf_addch(b, ' ');
}

static void put_literal(struct strbuf *b, const char *s, unsigned indent)
{
	strbuf_addstr(b, "|-");
	while (s) {
		const char *end = strchrnul(s, '\n');

		strbuf_addch(b, '\n');
		if (end > s)
			pad(b, indent);
		strbuf_add(b, s, (size_t)(end - s));
		s = *end ? end + 1 : NULL;
	}
}

/* @indent: of the lines below, should it need some. */
static void put_scalar(struct strbuf *b, yyjson_val *v, unsigned indent)
{
	const char *s = yyjson_get_str(v);
	size_t len = yyjson_get_len(v);

	if (!s) {
		_cleanup_arena_ struct arena *a = arena_new();

		strbuf_addstr(b, doc_to_json(a, v, false)); /* numbers, booleans, null, {} and [] */
	} else if (is_plain(s, len)) {
		strbuf_addstr(b, s);
	} else if (len && is_literal(s, len)) {
		put_literal(b, s, indent);
	} else {
		put_quoted(b, s);
	}
}

static bool has_members(yyjson_val *v)
{
	return yyjson_is_ctn(v) && unsafe_yyjson_get_len(v);
}

static void put_list(struct strbuf *b, yyjson_val *v, unsigned indent);

/* The first member is put where we are, the others on lines of their own. */
static void put_map(struct strbuf *b, yyjson_val *v, unsigned indent)
{
	yyjson_val *key, *val;
	size_t i, max;

	yyjson_obj_foreach(v, i, max, key, val) {
		if (i) {
			strbuf_addch(b, '\n');
			pad(b, indent);
		}
		if (is_plain(yyjson_get_str(key), yyjson_get_len(key)))
			strbuf_addstr(b, yyjson_get_str(key));
		else
			put_quoted(b, yyjson_get_str(key));
		strbuf_addch(b, ':');
		if (!has_members(val)) {
			strbuf_addch(b, ' ');
			put_scalar(b, val, indent + 2);
			continue;
		}
		strbuf_addch(b, '\n');
		pad(b, indent + (yyjson_is_obj(val) ? 2 : 0));
		if (yyjson_is_obj(val))
			put_map(b, val, indent + 2);
		else
			put_list(b, val, indent);
	}
}

static void put_list(struct strbuf *b, yyjson_val *v, unsigned indent)
{
	yyjson_val *val;
	size_t i, max;

	yyjson_arr_foreach(v, i, max, val) {
		if (i) {
			strbuf_addch(b, '\n');
			pad(b, indent);
		}
		strbuf_addstr(b, "- ");
		if (!has_members(val))
			put_scalar(b, val, indent + 2);
		else if (yyjson_is_obj(val))
			put_map(b, val, indent + 2);
		else
			put_list(b, val, indent + 2);
	}
}

char *doc_to_yaml(struct arena *a, yyjson_val *v)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	if (!has_members(v))
		put_scalar(&b, v, 2);
	else if (yyjson_is_obj(v))
		put_map(&b, v, 0);
	else
		put_list(&b, v, 0);
	return arena_strdup(a, b.s);
}

char *doc_mut_to_yaml(struct arena *a, yyjson_mut_val *v)
{
	yyjson_alc alc = doc_alc(a);
	yyjson_doc *d = yyjson_mut_val_imut_copy(v, &alc);

	if (!d)
		abort();
	return doc_to_yaml(a, yyjson_doc_get_root(d));
}
