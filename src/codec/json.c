/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strbuf.h"
#include "codec/reader.h"

/*
 * Nesting is checked before parsing, so that a bomb costs no memory. *ret_end: where the first object or list ends, the end of
 * the text without one.
 */
static int check_depth(const char *source, const char *text, size_t at, size_t len, size_t *ret_end, struct err *e)
{
	unsigned depth = 0, line, column;
	bool quoted = false;

	*ret_end = len;
	for (size_t i = at; i < len; i++) {
		char c = text[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DOC_DEPTH_MAX) {
				doc_place(text, i, &line, &column);
				return doc_refuse(e, source, line, column,
						  "nested more than %d deep", DOC_DEPTH_MAX);
			}
		} else if ((c == '}' || c == ']') && depth && --depth == 0) {
			*ret_end = i + 1;
			break;
		}
	}
	return 0;
}

struct checker {
	const char *source, *text;
	size_t at;
	const char *strings; /* parsed in place: a string's address tells its place in @text, behind @at */
	bool unique;
	struct err *e;
};

static int refuse_at(const struct checker *c, const char *s, const char *what)
{
	unsigned line, column;

	doc_place(c->text, c->at + (size_t)(s - c->strings), &line, &column);
	return doc_refuse(c->e, c->source, line, column, "\"%.200s\": %s", s, what);
}

static int compare_keys(const void *pa, const void *pb)
{
	const char *a = *(const char *const *)pa, *b = *(const char *const *)pb;
	int r = strcmp(a, b);

	return r ? r : a < b ? -1 : 1; /* equal ones in the order of the text */
}

static int check_keys(const struct checker *c, yyjson_val *obj)
{
	size_t n = yyjson_obj_size(obj), i, max;
	_cleanup_free_ const char **keys = NULL;
	yyjson_val *key, *val;
	const char *small[16];
	const char **sorted = small;

	if (n > ARRAY_SIZE(small)) {
		sorted = keys = malloc(n * sizeof(*keys));
		if (!keys)
			return err_set(c->e, -ENOMEM, "%s: out of memory", c->source);
	}
	yyjson_obj_foreach(obj, i, max, key, val) {
		sorted[i] = yyjson_get_str(key);
		if (strlen(sorted[i]) != yyjson_get_len(key))
			return refuse_at(c, sorted[i], "the key holds a NUL character");
	}
	qsort(sorted, n, sizeof(*sorted), compare_keys);
	for (i = 1; c->unique && i < n; i++)
		if (!strcmp(sorted[i - 1], sorted[i]))
			return refuse_at(c, sorted[i], "the key is there twice");
	return 0;
}

static int check_value(const struct checker *c, yyjson_val *v)
{
	yyjson_val *key, *val;
	size_t i, max;
	int r;

	if (yyjson_is_str(v) && strlen(yyjson_get_str(v)) != yyjson_get_len(v))
		return refuse_at(c, yyjson_get_str(v), "the string holds a NUL character");
	if (yyjson_is_obj(v)) {
		r = check_keys(c, v);
		if (r < 0)
			return r;
		yyjson_obj_foreach(v, i, max, key, val) {
			r = check_value(c, val);
			if (r < 0)
				return r;
		}
	}
	if (yyjson_is_arr(v)) {
		yyjson_arr_foreach(v, i, max, val) {
			r = check_value(c, val);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int doc_json_read(struct arena *a, const char *source, const char *text, size_t at, size_t len, bool unique, yyjson_val **ret,
		  size_t *ret_end, struct err *e)
{
	unsigned line, column;
	yyjson_alc alc = doc_alc(a);
	yyjson_read_err je;
	yyjson_doc *d;
	char *strings;
	size_t end;
	int r = check_depth(source, text, at, len, &end, e);

	if (r < 0)
		return r;
	strings = arena_alloc(a, end - at + YYJSON_PADDING_SIZE);
	memcpy(strings, text + at, end - at);
	d = yyjson_read_opts(strings, end - at, YYJSON_READ_INSITU | YYJSON_READ_STOP_WHEN_DONE, &alc, &je);
	if (!d) {
		if (len == 0)
			return err_set(e, -EINVAL, "%s: empty, JSON is wanted", source);
		doc_place(text, at + je.pos < end ? at + je.pos : end, &line, &column);
		return doc_refuse(e, source, line, column, "no JSON: %s", je.msg);
	}
	r = check_value(&(struct checker){ source, text, at, strings, unique, e }, yyjson_doc_get_root(d));
	if (r < 0)
		return r;
	*ret = yyjson_doc_get_root(d);
	*ret_end = at + yyjson_doc_get_read_size(d);
	return 0;
}

/* Walks text that was parsed before, to tell lines; yyjson keeps no places of values. */
struct walk {
	const char *p, *end;
	unsigned line;
	struct strbuf path;
	struct doc_seek *seek;
};

static void walk_blank(struct walk *w)
{
	for (; w->p < w->end && strchr(" \t\r\n,:", *w->p); w->p++)
		w->line += *w->p == '\n';
}

/* Past a string; its raw text (escapes kept) is *ret of *ret_len bytes. */
static void walk_string(struct walk *w, const char **ret, size_t *ret_len)
{
	*ret = ++w->p;
	while (w->p < w->end && *w->p != '"')
		w->p += *w->p == '\\' && w->end - w->p > 1 ? 2 : 1;
	*ret_len = (size_t)(w->p - *ret);
	w->p += w->p < w->end;
}

static void walk_value(struct walk *w);

static void walk_member(struct walk *w, size_t index, bool in_object)
{
	size_t keep = w->path.len, n;
	const char *key;

	if (in_object) {
		unsigned line = w->line;

		walk_string(w, &key, &n);
		if (keep)
			strbuf_addch(&w->path, '.');
		strbuf_add(&w->path, key, n);
		doc_seek_at(w->seek, w->path.s, line);
		walk_blank(w);
	} else {
		strbuf_addf(&w->path, "[%zu]", index);
		doc_seek_at(w->seek, w->path.s, w->line);
	}
	walk_value(w);
	w->path.len = keep;
	w->path.s[keep] = '\0';
}

static void walk_value(struct walk *w)
{
	const char *s;
	size_t n;

	if (w->p == w->end)
		return;
	if (*w->p == '"') {
		walk_string(w, &s, &n);
	} else if (*w->p == '{' || *w->p == '[') {
		bool object = *w->p++ == '{';

		walk_blank(w);
		for (size_t i = 0; w->p < w->end && *w->p != '}' && *w->p != ']'; i++) {
			walk_member(w, i, object);
			walk_blank(w);
		}
		w->p += w->p < w->end;
	} else {
		while (w->p < w->end && !strchr(" \t\r\n,]}", *w->p))
			w->p++;
	}
}

void doc_json_seek(const char *text, size_t len, struct doc_seek *s, size_t index)
{
	struct doc_seek none = { .want = "" };
	struct walk w = { .p = text, .end = text + len, .line = 1, .path = STRBUF_INIT, .seek = &none };

	strbuf_addstr(&w.path, "");
	walk_blank(&w);
	for (size_t i = 0; i < index; i++) {
		walk_value(&w);
		walk_blank(&w);
	}
	w.seek = s;
	doc_seek_at(s, "", w.line);
	walk_value(&w);
	strbuf_free(&w.path);
}
