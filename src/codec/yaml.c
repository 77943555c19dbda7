/* SPDX-License-Identifier: Apache-2.0 */
/* YAML events of libyaml into values. Anchors and merge keys are expanded, within a bound. */
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#include "base/strbuf.h"
#include "codec/reader.h"

struct anchor {
	const char *name;
	yyjson_mut_val *value;
	size_t weight;
	unsigned depth; /* levels that the value has */
};

struct yaml {
	struct arena *arena;
	const char *source;
	yaml_parser_t parser;
	yyjson_mut_doc *doc;
	struct anchor *anchors;
	size_t n_anchors;
	size_t weight, expanded; /* about how many bytes the values take; how many of them by aliases */
	struct strbuf path;	 /* of the value being read, kept only for @seek */
	struct doc_seek *seek;
	struct err *e;
};

/* A member of a mapping, until the mapping is whole. */
struct member {
	const char *key;
	yyjson_mut_val *key_val, *value;
	yaml_mark_t mark;
	bool merged; /* came by a merge key: gives way to the mapping's own */
	size_t order;
};

struct members {
	struct member *v;
	size_t n;
};

static int refuse(struct yaml *y, yaml_mark_t mark, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct yaml *y, yaml_mark_t mark, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return doc_refuse(y->e, y->source, (unsigned)mark.line + 1, (unsigned)mark.column + 1, "%s", text);
}

static int syntax_error(struct yaml *y)
{
	const yaml_parser_t *p = &y->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return err_set(y->e, -ENOMEM, "%s: out of memory", y->source);
	if (p->problem && (strstr(p->problem, "tab character") ||
			   (strstr(p->problem, "cannot start any token") &&
			    p->buffer.pointer < p->buffer.last && *p->buffer.pointer == '\t')))
		return refuse(y, p->problem_mark, "a tab; YAML indents with spaces only");
	if (p->error == YAML_READER_ERROR)
		return err_set(y->e, -EINVAL, "%s: byte %zu: %s", y->source, p->problem_offset, p->problem);
	return refuse(y, p->problem_mark, "no YAML: %s%s%s", p->problem ? p->problem : "unknown error",
		      p->context ? ", " : "", p->context ? p->context : "");
}

static int next_event(struct yaml *y, yaml_event_t *ev)
{
	return yaml_parser_parse(&y->parser, ev) ? 0 : syntax_error(y);
}

static void seek_push(struct yaml *y, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void seek_push(struct yaml *y, unsigned line, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	if (!y->seek)
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	strbuf_addstr(&y->path, text);
	doc_seek_at(y->seek, y->path.s, line + 1);
}

static void seek_pop(struct yaml *y, size_t keep)
{
	if (!y->seek)
		return;
	y->path.len = keep;
	y->path.s[keep] = '\0';
}

static int read_node(struct yaml *y, yaml_event_t *ev, unsigned depth, yyjson_mut_val **ret,
		     unsigned *ret_levels);

/* "!!int" and the like, without the prefix of the YAML tags; the tag itself when it is another one. */
static const char *tag_word(const char *tag)
{
	size_t n = strlen("tag:yaml.org,2002:");

	return strncmp(tag, "tag:yaml.org,2002:", n) ? tag : tag + n;
}

static bool tag_fits(const char *word, yyjson_mut_val *v)
{
	if (!strcmp(word, "int"))
		return yyjson_mut_is_int(v);
	if (!strcmp(word, "bool"))
		return yyjson_mut_is_bool(v);
	if (!strcmp(word, "float"))
		return yyjson_mut_is_num(v);
	if (!strcmp(word, "null"))
		return yyjson_mut_is_null(v);
	return false;
}

static int read_scalar(struct yaml *y, const yaml_event_t *ev, yyjson_mut_val **ret)
{
	const char *s = (const char *)ev->data.scalar.value, *tag = (const char *)ev->data.scalar.tag;
	size_t len = ev->data.scalar.length;

	y->weight += len + sizeof(yyjson_mut_val);
	if (strlen(s) != len)
		return refuse(y, ev->start_mark, "a string holds a NUL character");
	tag = tag && strcmp(tag, "!") ? tag_word(tag) : NULL;
	if (tag ? !strcmp(tag, "str") : !ev->data.scalar.plain_implicit) {
		*ret = yyjson_mut_strncpy(y->doc, s, len);
		return 0;
	}
	if (doc_yaml_resolve(y->doc, s, len, ret) < 0)
		return refuse(y, ev->start_mark, "%.40s is no finite number", s);
	if (tag && !tag_fits(tag, *ret))
		return refuse(y, ev->start_mark, "tag %.60s does not go with \"%.40s\"", tag, s);
	return 0;
}

static int read_alias(struct yaml *y, const yaml_event_t *ev, unsigned depth, yyjson_mut_val **ret,
		      unsigned *ret_levels)
{
	const char *name = (const char *)ev->data.alias.anchor;
	const struct anchor *found = NULL;

	for (size_t i = y->n_anchors; i-- && !found;)
		if (!strcmp(y->anchors[i].name, name))
			found = &y->anchors[i];
	if (!found)
		return refuse(y, ev->start_mark, "alias *%.60s: no such anchor before it", name);
	if (depth + found->depth > DOC_DEPTH_MAX + 1)
		return refuse(y, ev->start_mark, "nested more than %d deep", DOC_DEPTH_MAX);
	y->expanded += found->weight;
	y->weight += found->weight;
	if (y->expanded > DOC_SIZE_MAX)
		return refuse(y, ev->start_mark,
			      "aliases expand to more than %u MiB: write the values out",
			      DOC_SIZE_MAX >> 20);
	*ret = yyjson_mut_val_mut_copy(y->doc, found->value);
	*ret_levels = found->depth;
	return 0;
}

static int read_sequence(struct yaml *y, unsigned depth, yyjson_mut_val **ret, unsigned *ret_levels)
{
	yyjson_mut_val *arr = yyjson_mut_arr(y->doc), *item;
	size_t keep = y->path.len;
	unsigned levels;
	int r;

	for (size_t i = 0;; i++) {
		_cleanup_(yaml_event_delete) yaml_event_t ev = { 0 };

		r = next_event(y, &ev);
		if (r < 0)
			return r;
		if (ev.type == YAML_SEQUENCE_END_EVENT)
			break;
		seek_push(y, (unsigned)ev.start_mark.line, "[%zu]", i);
		r = read_node(y, &ev, depth + 1, &item, &levels);
		seek_pop(y, keep);
		if (r < 0)
			return r;
		if (levels + 1 > *ret_levels)
			*ret_levels = levels + 1;
		yyjson_mut_arr_append(arr, item);
	}
	*ret = arr;
	return 0;
}

/* Text of a key. As Kubernetes does, integers and booleans become their JSON text. */
static int key_text(struct yaml *y, const yaml_event_t *ev, const char **ret, yyjson_mut_val **ret_val)
{
	yyjson_mut_val *v;
	int r;

	if (ev->type != YAML_SCALAR_EVENT)
		return refuse(y, ev->start_mark, "a key that is no text: quote it");
	r = read_scalar(y, ev, &v);
	if (r < 0)
		return r;
	if (yyjson_mut_is_bool(v))
		yyjson_mut_set_str(v, yyjson_mut_get_bool(v) ? "true" : "false");
	else if (yyjson_mut_is_int(v))
		yyjson_mut_set_str(v,
				   yyjson_mut_is_uint(v) && !yyjson_mut_is_sint(v)
					   ? arena_printf(y->arena, "%llu",
							  (unsigned long long)yyjson_mut_get_uint(v))
					   : arena_printf(y->arena, "%lld",
							  (long long)yyjson_mut_get_sint(v)));
	if (!yyjson_mut_is_str(v))
		return refuse(y, ev->start_mark, "key %.40s is no text: quote it", ev->data.scalar.value);
	*ret = yyjson_mut_get_str(v);
	*ret_val = v;
	return 0;
}

static void add_member(struct yaml *y, struct members *m, const char *key, yyjson_mut_val *key_val,
		       yyjson_mut_val *value, yaml_mark_t mark, bool merged)
{
	struct member *new = arena_push(y->arena, &m->v, &m->n, sizeof(*new));

	*new = (struct member){ key, key_val, value, mark, merged, m->n };
}

/* "<<: *base": the members of one mapping, or of each of a list, the first of the list winning. */
static int add_merged(struct yaml *y, struct members *m, yyjson_mut_val *v, yaml_mark_t mark, bool nested)
{
	yyjson_mut_val *key, *val;
	size_t i, max;
	int r;

	if (yyjson_mut_is_obj(v)) {
		yyjson_mut_obj_foreach(v, i, max, key, val)
			add_member(y, m, yyjson_mut_get_str(key), yyjson_mut_val_mut_copy(y->doc, key),
				   yyjson_mut_val_mut_copy(y->doc, val), mark, true);
		return 0;
	}
	if (!yyjson_mut_is_arr(v) || nested)
		return refuse(y, mark, "a merge key (<<) takes a mapping or a list of mappings");
	yyjson_mut_arr_foreach(v, i, max, val) {
		r = add_merged(y, m, val, mark, true);
		if (r < 0)
			return r;
	}
	return 0;
}

static int by_key(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;
	int r = strcmp(a->key, b->key);

	if (!r)
		r = (int)a->merged - (int)b->merged;
	return r ? r : a->order < b->order ? -1 : 1;
}

static int by_order(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;

	return a->order < b->order ? -1 : 1;
}

/* Refuses keys that are there twice; drops merged ones that the mapping overrides. */
static int unique(struct yaml *y, struct members *m)
{
	size_t kept = 0;

	if (m->n < 2)
		return 0;
	qsort(m->v, m->n, sizeof(*m->v), by_key);
	for (size_t i = 0; i < m->n; i++) {
		if (!kept || strcmp(m->v[kept - 1].key, m->v[i].key))
			m->v[kept++] = m->v[i];
		else if (!m->v[i].merged)
			return refuse(y, m->v[i].mark,
				      "key \"%.200s\" is there twice, first in line %zu",
				      m->v[i].key, m->v[kept - 1].mark.line + 1);
	}
	m->n = kept;
	qsort(m->v, m->n, sizeof(*m->v), by_order);
	return 0;
}

static int read_member(struct yaml *y, const yaml_event_t *key, unsigned depth, struct members *m,
		       unsigned *ret_levels)
{
	_cleanup_(yaml_event_delete) yaml_event_t ev = { 0 };
	yyjson_mut_val *key_val = NULL, *value;
	size_t keep = y->path.len;
	unsigned levels;
	const char *text = "";
	int r = key_text(y, key, &text, &key_val);

	if (r >= 0)
		r = next_event(y, &ev);
	if (r < 0)
		return r;
	seek_push(y, (unsigned)key->start_mark.line, "%s%s", keep ? "." : "", text);
	r = read_node(y, &ev, depth + 1, &value, &levels);
	seek_pop(y, keep);
	if (r < 0)
		return r;
	if (levels + 1 > *ret_levels)
		*ret_levels = levels + 1;
	if (!strcmp(text, "<<") && key->data.scalar.plain_implicit)
		return add_merged(y, m, value, key->start_mark, false);
	add_member(y, m, text, key_val, value, key->start_mark, false);
	return 0;
}

static int read_mapping(struct yaml *y, unsigned depth, yyjson_mut_val **ret, unsigned *ret_levels)
{
	yyjson_mut_val *obj = yyjson_mut_obj(y->doc);
	struct members m = { 0 };
	int r;

	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t ev = { 0 };

		r = next_event(y, &ev);
		if (r < 0)
			return r;
		if (ev.type == YAML_MAPPING_END_EVENT)
			break;
		r = read_member(y, &ev, depth, &m, ret_levels);
		if (r < 0)
			return r;
	}
	r = unique(y, &m);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m.n; i++)
		yyjson_mut_obj_add(obj, m.v[i].key_val, m.v[i].value);
	*ret = obj;
	return 0;
}

static const char *anchor_of(const yaml_event_t *ev, const char **ret_tag)
{
	switch (ev->type) {
	case YAML_SEQUENCE_START_EVENT:
		*ret_tag = (const char *)ev->data.sequence_start.tag;
		return (const char *)ev->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		*ret_tag = (const char *)ev->data.mapping_start.tag;
		return (const char *)ev->data.mapping_start.anchor;
	case YAML_SCALAR_EVENT:
		return (const char *)ev->data.scalar.anchor;
	default:
		return NULL;
	}
}

static int read_node(struct yaml *y, yaml_event_t *ev, unsigned depth, yyjson_mut_val **ret,
		     unsigned *ret_levels)
{
	const char *tag = NULL, *anchor = anchor_of(ev, &tag);
	size_t weight = y->weight;
	int r;

	*ret_levels = ev->type == YAML_SCALAR_EVENT ? 0 : 1;
	if (tag && strcmp(tag_word(tag), ev->type == YAML_MAPPING_START_EVENT ? "map" : "seq"))
		return refuse(y, ev->start_mark, "tag %.60s is not known", tag);
	if (ev->type != YAML_SCALAR_EVENT && ev->type != YAML_ALIAS_EVENT && depth > DOC_DEPTH_MAX)
		return refuse(y, ev->start_mark, "nested more than %d deep", DOC_DEPTH_MAX);
	y->weight += sizeof(yyjson_mut_val);
	if (ev->type == YAML_ALIAS_EVENT)
		return read_alias(y, ev, depth, ret, ret_levels);
	if (ev->type == YAML_SCALAR_EVENT)
		r = read_scalar(y, ev, ret);
	else if (ev->type == YAML_SEQUENCE_START_EVENT)
		r = read_sequence(y, depth, ret, ret_levels);
	else
		r = read_mapping(y, depth, ret, ret_levels);
	if (r >= 0 && anchor) {
		struct anchor *new = arena_push(y->arena, &y->anchors, &y->n_anchors, sizeof(*new));

		*new = (struct anchor){ arena_strdup(y->arena, anchor), *ret, y->weight - weight, *ret_levels };
	}
	return r;
}

/* One document after its start event. *ret is NULL when it is empty. */
static int read_document(struct yaml *y, struct arena *a, yyjson_val **ret)
{
	_cleanup_(yaml_event_delete) yaml_event_t ev = { 0 };
	_cleanup_(yaml_event_delete) yaml_event_t end = { 0 };
	yyjson_alc alc = doc_alc(a);
	yyjson_mut_val *root;
	unsigned levels;
	int r;

	y->doc = doc_new(y->arena);
	y->n_anchors = 0; /* anchors end with their document */
	y->anchors = NULL;
	r = next_event(y, &ev);
	if (r < 0)
		return r;
	seek_push(y, (unsigned)ev.start_mark.line, "%s", "");
	r = read_node(y, &ev, 1, &root, &levels);
	if (r >= 0)
		r = next_event(y, &end);
	if (r < 0)
		return r;
	*ret = yyjson_mut_is_null(root) ? NULL : yyjson_doc_get_root(yyjson_mut_val_imut_copy(root, &alc));
	return 0;
}

static int read_stream(struct yaml *y, struct arena *a, const char *text, size_t len, struct doc **ret,
		       size_t *ret_n, size_t seek_index)
{
	struct doc_seek *seek = y->seek;
	struct doc *docs = NULL;
	size_t n = 0;
	int r;

	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t ev = { 0 };
		yyjson_val *root;

		r = next_event(y, &ev);
		if (r < 0)
			return r;
		if (ev.type == YAML_STREAM_END_EVENT)
			break;
		if (ev.type != YAML_DOCUMENT_START_EVENT)
			continue;
		y->seek = seek && n == seek_index ? seek : NULL;
		r = read_document(y, a, &root);
		if (r < 0)
			return r;
		if (!root && y->seek) { /* an empty document: not the one */
			seek->line = 0;
			seek->depth = 0;
		}
		if (root) {
			struct doc *d = arena_push(a, &docs, &n, sizeof(*d));

			*d = (struct doc){ .source = y->source, .text = text, .len = len, .index = n - 1, .root = root };
		}
	}
	*ret = docs;
	*ret_n = n;
	return 0;
}

int doc_yaml_read(struct arena *a, const char *source, const char *text, size_t len, struct doc **ret,
		  size_t *ret_n, struct doc_seek *seek, size_t seek_index, struct err *e)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	struct yaml y = { .arena = scratch, .source = source, .path = STRBUF_INIT, .seek = seek, .e = e };
	int r;

	if (!yaml_parser_initialize(&y.parser))
		return err_set(e, -ENOMEM, "%s: out of memory", source);
	yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y.parser, (const unsigned char *)text, len);
	r = read_stream(&y, a, text, len, ret, ret_n, seek_index);
	yaml_parser_delete(&y.parser);
	strbuf_free(&y.path);
	return r;
}
