/* SPDX-License-Identifier: Apache-2.0 */
/* Values into structs, by their field tables. */
#include <inttypes.h>
#include <regex.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "codec/reader.h"
#include "codec/table.h"

#define LIST_MAX 65536	    /* items, where the table says no less */
#define MAP_MAX (1u << 20)  /* members: an address pool of a /12 */
#define SHOWN_MAX 60	    /* bytes of a value that a complaint quotes */

/* Where we are, as a chain on the stack: spelt only for a complaint. */
struct place {
	const struct place *up;
	const char *key; /* NULL: an item of a list */
	size_t index;
};

struct decoder {
	struct arena *a;
	struct complaints *c;
	bool bad;
};

static void spell(struct strbuf *b, const struct place *p)
{
	if (p->up)
		spell(b, p->up);
	if (!p->key) {
		strbuf_addf(b, "[%zu]", p->index);
		return;
	}
	if (b->len && *p->key)
		strbuf_addch(b, '.');
	strbuf_addstr(b, p->key);
}

static void say(struct decoder *d, const struct place *p, bool warning, const char *text)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;

	spell(&path, p);
	complain(d->c, warning, path.s, "%s", text);
	d->bad |= !warning;
}

/* A value as a complaint quotes it: JSON on one line, cut when long. */
static const char *shown(struct decoder *d, yyjson_val *v)
{
	char *s;

	if (yyjson_is_obj(v))
		return "a mapping";
	if (yyjson_is_arr(v))
		return "a list";
	s = doc_to_json(d->a, v, false);
	if (strlen(s) > SHOWN_MAX) {
		size_t n = SHOWN_MAX;

		while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
		return arena_printf(d->a, "%.*s...", (int)n, s);
	}
	return s;
}

static const char *kind_of(yyjson_val *v)
{
	return yyjson_is_str(v)    ? "a string"
	       : yyjson_is_num(v)  ? "a number"
	       : yyjson_is_bool(v) ? "a boolean"
	       : yyjson_is_null(v) ? "empty"
				   : NULL;
}

static void wrong_type(struct decoder *d, const struct place *p, yyjson_val *v, const char *wanted,
		       const char *advice)
{
	const char *kind = kind_of(v);

	if (yyjson_is_null(v))
		say(d, p, false, arena_printf(d->a, "is empty, %s is wanted", wanted));
	else if (kind)
		say(d, p, false,
		    arena_printf(d->a, "%s is %s, %s is wanted%s", shown(d, v), kind, wanted, advice));
	else
		say(d, p, false, arena_printf(d->a, "is %s, %s is wanted", shown(d, v), wanted));
}

static bool get_int(struct decoder *d, const struct field *f, const struct place *p, yyjson_val *v,
		    int64_t *ret)
{
	int64_t n;

	if (yyjson_is_real(v) && doc_is_whole(yyjson_get_real(v))) {
		n = (int64_t)yyjson_get_real(v);
	} else if (!yyjson_is_int(v)) {
		if (yyjson_is_real(v))
			say(d, p, false, arena_printf(d->a, "%s is %s", shown(d, v),
						      yyjson_get_real(v) >= 0x1p63 ? "too large" :
						      yyjson_get_real(v) < -0x1p63 ? "too small" : "no whole number"));
		else
			wrong_type(d, p, v, "a number", yyjson_is_str(v) ? ": take the quotes away" : "");
		return false;
	} else if (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX) {
		say(d, p, false, arena_printf(d->a, "%s is above %" PRId64, shown(d, v),
					      f->flags & FIELD_BOUNDED ? f->max : INT64_MAX));
		return false;
	} else {
		n = yyjson_get_sint(v);
	}
	if ((f->flags & FIELD_BOUNDED) && n < f->min) {
		say(d, p, false, arena_printf(d->a, "%" PRId64 " is below %" PRId64, n, f->min));
		return false;
	}
	if ((f->flags & FIELD_BOUNDED) && n > f->max) {
		say(d, p, false, arena_printf(d->a, "%" PRId64 " is above %" PRId64, n, f->max));
		return false;
	}
	*ret = n;
	return true;
}

static const char *list_words(struct decoder *d, const char *const *words)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; words[i]; i++)
		strbuf_addf(&b, "%s%s",
			    i == 0         ? ""
			    : words[i + 1] ? ", "
					   : " or ",
			    *words[i] ? words[i] : "\"\"");
	return arena_strdup(d->a, b.s);
}

static bool check_word(struct decoder *d, const struct field *f, const struct place *p, const char *s)
{
	const char *near;

	for (size_t i = 0; f->words[i]; i++)
		if (!strcmp(f->words[i], s))
			return true;
	near = parse_nearest(s, f->words);
	say(d, p, false,
	    arena_printf(d->a, "\"%.*s\" is none of %s%s%s%s", SHOWN_MAX, s, list_words(d, f->words),
			 near ? "; did you mean " : "", near ? near : "", near ? "?" : ""));
	return false;
}

static bool check_text(struct decoder *d, const struct field *f, const struct place *p, const char *s)
{
	size_t n = strlen(s);
	regex_t re;
	int r;

	if (f->words)
		return check_word(d, f, p, s);
	if (f->type == FIELD_STR && (f->flags & FIELD_BOUNDED) && (int64_t)n < f->min) {
		say(d, p, false,
		    n ? arena_printf(d->a, "%zu bytes are fewer than %" PRId64, n, f->min)
		      : "must not be empty");
		return false;
	}
	if (f->type == FIELD_STR && (f->flags & FIELD_BOUNDED) && (int64_t)n > f->max) {
		say(d, p, false, arena_printf(d->a, "%zu bytes are more than %" PRId64, n, f->max));
		return false;
	}
	if (!f->pattern)
		return true;
	if (regcomp(&re, f->pattern, REG_EXTENDED | REG_NOSUB))
		abort(); /* a table's mistake */
	r = regexec(&re, s, 0, NULL, 0);
	regfree(&re);
	if (r)
		say(d, p, false, arena_printf(d->a, "\"%.*s\" does not match %s", SHOWN_MAX, s, f->pattern));
	return !r;
}

static bool get_str(struct decoder *d, const struct field *f, const struct place *p, yyjson_val *v,
		    const char **ret)
{
	const char *advice = yyjson_is_bool(v) || yyjson_is_num(v) ? ": quote it" : "";
	const char *s = yyjson_get_str(v);

	/* YAML 1.1 makes a boolean of on, off, yes and no */
	if (yyjson_is_bool(v) && f->words && f->words[0] && !strcmp(f->words[0], "on"))
		advice = yyjson_get_bool(v)
				 ? ": YAML takes on, yes and true for a boolean, write \"on\" in quotes"
				 : ": YAML takes off, no and false for a boolean, write \"off\" in quotes";
	if (!s) {
		wrong_type(d, p, v, "a string", advice);
		return false;
	}
	if (!check_text(d, f, p, s))
		return false;
	*ret = arena_strdup(d->a, s);
	return true;
}

static bool get_int_or_str(struct decoder *d, const struct field *f, const struct place *p,
			   yyjson_val *v, const char **ret)
{
	int64_t n;

	if (yyjson_is_int(v)) {
		*ret = doc_to_json(d->a, v, false);
		return true;
	}
	if (!yyjson_is_str(v)) {
		wrong_type(d, p, v, "a whole number or a string", "");
		return false;
	}
	if (parse_i64(yyjson_get_str(v), 10, INT64_MIN, INT64_MAX, &n) == 0) {
		wrong_type(d, p, v, "a whole number or another string", ": take the quotes away");
		return false;
	}
	return get_str(d, f, p, v, ret);
}

static void decode_struct(struct decoder *d, const struct table *t, const struct place *p,
			  yyjson_val *v, void *out);

/* Room for @n elements, and for what arena_push() believes an array of that size has. */
static void *new_array(struct decoder *d, size_t n, size_t size)
{
	size_t capacity = 4;

	while (capacity < n)
		capacity *= 2;
	return arena_alloc(d->a, capacity * size);
}

static bool check_items(struct decoder *d, const struct field *f, const struct place *p, size_t n,
			size_t most)
{
	bool bounded = (f->flags & FIELD_BOUNDED) && (f->type == FIELD_STRS || f->type == FIELD_OBJECTS);

	if (bounded && f->max >= 0 && (uint64_t)f->max < most)
		most = (size_t)f->max;
	if (n > most)
		say(d, p, false, arena_printf(d->a, "%zu items are more than %zu", n, most));
	else if (bounded && f->min > 0 && n < (uint64_t)f->min)
		say(d, p, false, arena_printf(d->a, "%zu items are fewer than %" PRId64, n, f->min));
	else
		return true;
	return false;
}

static bool get_list(struct decoder *d, const struct field *f, const struct place *p, yyjson_val *v,
		     void **ret, size_t *ret_n)
{
	size_t size = f->type == FIELD_STRS ? sizeof(char *) : f->of->size;
	size_t n = yyjson_arr_size(v), i, max;
	yyjson_val *item;
	char *array;

	if (!yyjson_is_arr(v)) {
		wrong_type(d, p, v, "a list", "");
		return false;
	}
	if (!check_items(d, f, p, n, LIST_MAX))
		return false;
	array = new_array(d, n, size);
	yyjson_arr_foreach(v, i, max, item) {
		struct place here = { .up = p, .index = i };

		if (f->type == FIELD_STRS)
			get_str(d, f, &here, item, (const char **)(array + i * size));
		else
			decode_struct(d, f->of, &here, item, array + i * size);
	}
	*ret = array;
	*ret_n = n;
	return true;
}

static void get_member(struct decoder *d, const struct field *f, const struct place *p,
		       const char *key, yyjson_val *v, void *out)
{
	struct object_pair *object = out;
	struct pair *pair = out;
	struct flag *flag = out;

	switch (f->type) {
	case FIELD_MAP:
		pair->key = key;
		pair->value = "";
		if (yyjson_is_str(v))
			pair->value = arena_strdup(d->a, yyjson_get_str(v));
		else
			wrong_type(d, p, v, "a string",
				   yyjson_is_ctn(v) || yyjson_is_null(v) ? "" : ": quote it");
		break;
	case FIELD_BOOL_MAP:
		flag->key = key;
		flag->value = yyjson_is_true(v);
		if (!yyjson_is_bool(v))
			wrong_type(d, p, v, "true or false", yyjson_is_str(v) ? " without quotes" : "");
		break;
	default:
		object->key = key;
		object->value = arena_alloc(d->a, f->of->size);
		decode_struct(d, f->of, p, v, object->value);
	}
}

static size_t member_size(enum field_type type)
{
	return type == FIELD_MAP        ? sizeof(struct pair)
	       : type == FIELD_BOOL_MAP ? sizeof(struct flag)
					: sizeof(struct object_pair);
}

static bool get_map(struct decoder *d, const struct field *f, const struct place *p, yyjson_val *v,
		    void **ret, size_t *ret_n)
{
	size_t size = member_size(f->type), n = yyjson_obj_size(v), i, max;
	yyjson_val *key, *val;
	char *array;

	if (!yyjson_is_obj(v)) {
		wrong_type(d, p, v, "a mapping", "");
		return false;
	}
	if (!check_items(d, f, p, n, MAP_MAX))
		return false;
	array = new_array(d, n, size);
	yyjson_obj_foreach(v, i, max, key, val) {
		struct place here = { .up = p, .key = yyjson_get_str(key) };

		get_member(d, f, &here, arena_strdup(d->a, here.key), val, array + i * size);
	}
	*ret = array;
	*ret_n = n;
	return true;
}

/* The value of one field into its struct; false when there is nothing to set. */
static bool decode_field(struct decoder *d, const struct field *f, const struct place *p,
			 yyjson_val *v, char *out)
{
	void *at = out + f->offset, *list;
	const char *text;
	int64_t number;
	size_t n;

	switch (f->type) {
	case FIELD_BOOL:
		if (!yyjson_is_bool(v)) {
			wrong_type(d, p, v, "true or false", yyjson_is_str(v) ? " without quotes" : "");
			return false;
		}
		if (f->flags & FIELD_POINTER)
			*(bool **)at = arena_memdup(d->a, &(bool){ yyjson_get_bool(v) }, sizeof(bool));
		else
			*(bool *)at = yyjson_get_bool(v);
		return true;
	case FIELD_INT:
		if (!get_int(d, f, p, v, &number))
			return false;
		if (f->flags & FIELD_POINTER)
			*(int64_t **)at = arena_memdup(d->a, &number, sizeof(number));
		else
			*(int64_t *)at = number;
		return true;
	case FIELD_STR:
	case FIELD_INT_OR_STR:
		if (!(f->type == FIELD_STR ? get_str : get_int_or_str)(d, f, p, v, &text))
			return false;
		*(const char **)at = text;
		return true;
	case FIELD_OBJECT:
		if (!yyjson_is_obj(v)) {
			wrong_type(d, p, v, "a mapping", "");
			return false;
		}
		*(void **)at = arena_alloc(d->a, f->of->size);
		decode_struct(d, f->of, p, v, *(void **)at);
		return true;
	case FIELD_STRS:
	case FIELD_OBJECTS:
	case FIELD_MAP:
	case FIELD_BOOL_MAP:
	case FIELD_OBJECT_MAP:
		if (!(f->type == FIELD_STRS || f->type == FIELD_OBJECTS
			      ? get_list
			      : get_map)(d, f, p, v, &list, &n))
			return false;
		*(void **)at = list;
		*(size_t *)(out + f->n_offset) = n;
		return true;
	case FIELD_JSON:
		*(yyjson_val **)at = v;
		return true;
	}
	return false;
}

static void unknown_field(struct decoder *d, const struct table *t, const struct place *p, const char *key)
{
	const char *names[65], *near;
	size_t n = 0;

	for (; n < t->n && n < 64; n++)
		names[n] = t->fields[n].name;
	names[n] = NULL;
	near = parse_nearest(key, names);
	say(d, p, true, near ? arena_printf(d->a, "unknown field; did you mean %s?", near) :
			       arena_printf(d->a, "unknown field of a %s", t->name));
}

/* Members that the table does not know, as an object of their own. */
static yyjson_val *keep_extra(struct decoder *d, const bool *known, yyjson_val *v)
{
	yyjson_mut_doc *doc = doc_new(d->a);
	yyjson_mut_val *extra = yyjson_mut_obj(doc);
	yyjson_alc alc = doc_alc(d->a);
	yyjson_val *key, *val;
	size_t i, max;

	yyjson_obj_foreach(v, i, max, key, val) if (!known[i])
		yyjson_mut_obj_add(extra, yyjson_val_mut_copy(doc, key),
				   yyjson_val_mut_copy(doc, val));
	return yyjson_doc_get_root(yyjson_mut_val_imut_copy(extra, &alc));
}

static const struct field *find_field(const struct table *t, const char *name, size_t guess)
{
	if (guess < t->n && !strcmp(t->fields[guess].name, name)) /* often in the table's order */
		return &t->fields[guess];
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->fields[i].name, name))
			return &t->fields[i];
	return NULL;
}

static void decode_struct(struct decoder *d, const struct table *t, const struct place *p,
			  yyjson_val *v, void *out)
{
	_cleanup_free_ bool *known = NULL;
	struct object *obj = out;
	size_t i, max, unknown = 0, guess = 0;
	yyjson_val *key, *val;

	if (!yyjson_is_obj(v)) {
		wrong_type(d, p, v, "a mapping", "");
		return;
	}
	known = calloc(yyjson_obj_size(v) + 1, sizeof(*known));
	if (!known)
		abort();
	yyjson_obj_foreach(v, i, max, key, val) {
		struct place here = { .up = p, .key = yyjson_get_str(key) };
		const struct field *f = find_field(t, here.key, guess);

		known[i] = f != NULL;
		if (!f) {
			unknown_field(d, t, &here, here.key);
			unknown++;
			continue;
		}
		guess = (size_t)(f - t->fields) + 1;
		/* null is as good as absent, as for an API server */
		if ((!yyjson_is_null(val) || f->type == FIELD_JSON) && decode_field(d, f, &here, val, out))
			obj->set |= 1ull << (f - t->fields);
	}
	if (unknown)
		obj->extra = keep_extra(d, known, v);
	for (i = 0; i < t->n; i++) {
		struct place here = { .up = p, .key = t->fields[i].name };

		val = yyjson_obj_get(v, here.key);
		if ((t->fields[i].flags & FIELD_REQUIRED) && (!val || yyjson_is_null(val)))
			say(d, &here, false, "is missing");
	}
}

int table_decode(const struct table *t, struct arena *a, yyjson_val *v, const char *prefix, void *out,
		 struct complaints *c)
{
	struct decoder d = { .a = a, .c = c };

	decode_struct(&d, t, &(struct place){ .key = prefix }, v, out);
	return d.bad ? -EINVAL : 0;
}

/* Fields that are structs, filled in their turn. */
static void default_inside(const struct field *f, struct arena *a, char *obj)
{
	void *at = *(void **)(obj + f->offset);
	size_t n;

	switch (f->type) {
	case FIELD_OBJECT:
		if (at)
			table_defaults(f->of, a, at);
		break;
	case FIELD_OBJECTS:
		n = *(size_t *)(obj + f->n_offset);
		for (size_t i = 0; i < n; i++)
			table_defaults(f->of, a, (char *)at + i * f->of->size);
		break;
	case FIELD_OBJECT_MAP:
		n = *(size_t *)(obj + f->n_offset);
		for (size_t i = 0; i < n; i++)
			table_defaults(f->of, a, ((struct object_pair *)at)[i].value);
		break;
	default:
		break;
	}
}

void table_defaults(const struct table *t, struct arena *a, void *obj)
{
	struct complaints none = { .arena = a };
	struct decoder d = { .a = a, .c = &none };
	struct object *o = obj;

	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->fields[i];

		if (f->dflt && !(o->set & 1ull << i) && !table_is_used(f, obj)) {
			yyjson_val *v;

			if (doc_parse_json(a, f->name, f->dflt, strlen(f->dflt), DOC_SIZE_MAX, &v,
					   NULL) < 0 ||
			    !decode_field(&d, f, &(struct place){ .key = f->name }, v, obj))
				abort(); /* a table's mistake */
			o->set |= 1ull << i;
		}
		if (f->of)
			default_inside(f, a, obj);
	}
}
