/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "codec/reader.h"

#define JSON_VALUES_MAX 65536u /* in one text: two bytes of it become some hundred */

static void *alc_malloc(void *ctx, size_t size)
{
	return arena_alloc(ctx, size);
}

static void *alc_realloc(void *ctx, void *p, size_t old_size, size_t size)
{
	void *grown = arena_alloc(ctx, size);

	memcpy(grown, p, old_size < size ? old_size : size);
	return grown;
}

static void alc_free(void *ctx, void *p)
{
}

yyjson_alc doc_alc(struct arena *a)
{
	return (yyjson_alc){ alc_malloc, alc_realloc, alc_free, a };
}

yyjson_mut_doc *doc_new(struct arena *a)
{
	yyjson_alc alc = doc_alc(a);

	return yyjson_mut_doc_new(&alc);
}

void doc_place(const char *text, size_t at, unsigned *line, unsigned *column)
{
	*line = 1;
	*column = 1;
	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n') {
			++*line;
			*column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) { /* not inside a UTF-8 sequence */
			++*column;
		}
	}
}

int doc_refuse(struct err *e, const char *source, unsigned line, unsigned column, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, -EINVAL, "%s:%u:%u: %s", source, line, column, text);
}

void doc_seek_at(struct doc_seek *s, const char *path, unsigned line)
{
	size_t n = strlen(path);

	if (n <= s->depth && s->line)
		return;
	if (strncmp(s->want, path, n) || (s->want[n] && s->want[n] != '.' && s->want[n] != '[' && n))
		return;
	s->depth = n;
	s->line = line;
}

/* Length of the valid UTF-8 sequence at @s, 0 when there is none (overlong, surrogate, cut short). */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	size_t n;
	uint32_t c;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	c = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static int check_text(const char *source, const char *text, size_t len, struct err *e)
{
	unsigned line, column;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence((const unsigned char *)text + i, len - i);
		if (n && text[i])
			continue;
		doc_place(text, i, &line, &column);
		return doc_refuse(e, source, line, column,
				  text[i] ? "byte 0x%02x is not UTF-8" : "a NUL byte",
				  (unsigned char)text[i]);
	}
	return 0;
}

static int check(const char *source, const char *text, size_t len, size_t max, struct err *e)
{
	if (len > max)
		return err_set(e, -EFBIG, "%s: %zu bytes; at most %zu are taken", source, len, max);
	return check_text(source, text, len, e);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blank(const char *text, size_t at, size_t len)
{
	while (at < len && is_blank(text[at]))
		at++;
	return at;
}

/* A byte order mark means nothing in UTF-8; editors on Windows write one. */
static size_t skip_bom(const char *text, size_t len)
{
	return len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
}

static int refuse_rest(const char *source, const char *text, size_t at, struct err *e)
{
	unsigned line, column;

	doc_place(text, at, &line, &column);
	return doc_refuse(e, source, line, column, "text after the end of the JSON value");
}

static int json_whole(struct arena *a, const char *source, const char *text, size_t len, bool unique, yyjson_val **ret,
		      struct err *e)
{
	yyjson_val *v;
	size_t end;
	int r = doc_json_read(a, source, text, 0, len, unique, &v, &end, e);

	if (r < 0)
		return r;
	end = skip_blank(text, end, len);
	if (end < len)
		return refuse_rest(source, text, end, e);
	*ret = v;
	return 0;
}

/* Objects and lists one after the other, as jq -c '.items[]' prints them. */
static int json_values(struct arena *a, const char *source, const char *text, size_t len, struct doc **ret, size_t *ret_n, struct err *e)
{
	struct doc *docs = NULL;
	size_t n = 0;

	for (size_t at = skip_blank(text, 0, len); at < len; at = skip_blank(text, at, len)) {
		struct doc d = { .source = source, .text = text, .len = len, .index = n };
		int r;

		if (text[at] != '{' && text[at] != '[')
			return refuse_rest(source, text, at, e);
		if (n == JSON_VALUES_MAX)
			return err_set(e, -EFBIG, "%s: more than %u JSON values: put them into one list", source, JSON_VALUES_MAX);
		r = doc_json_read(a, source, text, at, len, true, &d.root, &at, e);
		if (r < 0)
			return r;
		*(struct doc *)arena_push(a, &docs, &n, sizeof(d)) = d;
	}
	*ret = docs;
	*ret_n = n;
	return 0;
}

/*
 * JSON or YAML? Text that begins with a brace or a bracket is JSON, unless a YAML document marker
 * follows the first value, or what stands after the brace cannot begin anything in JSON ("{a: b}").
 */
static bool is_json(const char *text, size_t len)
{
	size_t at = skip_blank(text, 0, len);
	bool quoted = false;

	if (at == len || (text[at] != '{' && text[at] != '['))
		return false;
	at = skip_blank(text, at + 1, len);
	if (at < len && !strchr("\"{}[]-0123456789", text[at]))
		return false;
	for (; at < len; at++) {
		if (quoted && text[at] == '\\')
			at++;
		else if (text[at] == '"')
			quoted = !quoted;
		else if (!quoted && text[at] == '\n' && len - at > 3 &&
			 (!memcmp(text + at + 1, "---", 3) || !memcmp(text + at + 1, "...", 3)))
			return false;
	}
	return true;
}

int doc_parse(struct arena *a, const char *source, const char *text, size_t len, struct doc **ret,
	      size_t *ret_n, struct err *e)
{
	size_t bom = skip_bom(text, len);
	char *copy;
	int r = check(source, text, len, DOC_SIZE_MAX, e);

	if (r < 0)
		return r;
	len -= bom;
	copy = arena_alloc(a, len + 1);
	memcpy(copy, text + bom, len);
	if (!is_json(copy, len))
		return doc_yaml_read(a, source, copy, len, ret, ret_n, NULL, 0, e);
	return json_values(a, source, copy, len, ret, ret_n, e);
}

int doc_load(struct arena *a, const char *path, struct doc **ret, size_t *ret_n, struct err *e)
{
	bool in = !strcmp(path, "-");
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, in ? "/dev/stdin" : path, DOC_SIZE_MAX, &text, &len);

	path = in ? "stdin" : path;
	if (r == -EFBIG)
		return err_set(e, r, "%s: larger than %u MiB, the most that is taken", path,
			       DOC_SIZE_MAX >> 20);
	if (r < 0)
		return err_errno(e, r, "cannot read %s", path);
	return doc_parse(a, arena_strdup(a, path), text, len, ret, ret_n, e);
}

int doc_parse_json(struct arena *a, const char *source, const char *text, size_t len, size_t max,
		   yyjson_val **ret, struct err *e)
{
	int r = check(source, text, len, max, e);

	return r < 0 ? r : json_whole(a, source, text, len, true, ret, e);
}

int doc_parse_json_repeated(struct arena *a, const char *source, const char *text, size_t len, size_t max, yyjson_val **ret,
			    struct err *e)
{
	int r = check(source, text, len, max, e);

	return r < 0 ? r : json_whole(a, source, text, len, false, ret, e);
}

unsigned doc_line(const struct doc *d, const char *path)
{
	_cleanup_strbuf_ struct strbuf whole = STRBUF_INIT;
	struct doc_seek seek = { 0 };

	if (d->at)
		strbuf_addstr(&whole, d->at);
	if (*path && d->at && *path != '[')
		strbuf_addch(&whole, '.');
	strbuf_addstr(&whole, path);
	seek.want = whole.s;
	if (is_json(d->text, d->len)) {
		doc_json_seek(d->text, d->len, &seek, d->index);
	} else {
		_cleanup_arena_ struct arena *a = arena_new();
		struct doc *docs;
		size_t n;

		doc_yaml_read(a, d->source, d->text, d->len, &docs, &n, &seek, d->index, NULL);
	}
	return seek.line;
}

const char *doc_str(yyjson_val *obj, const char *key)
{
	return yyjson_get_str(yyjson_obj_get(obj, key));
}

int64_t doc_int(yyjson_val *obj, const char *key, int64_t dflt)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	if (!yyjson_is_int(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX))
		return dflt;
	return yyjson_get_sint(v);
}

bool doc_bool(yyjson_val *obj, const char *key, bool dflt)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	return yyjson_is_bool(v) ? yyjson_get_bool(v) : dflt;
}
