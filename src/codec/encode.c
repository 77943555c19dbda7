/* SPDX-License-Identifier: Apache-2.0 */
/* Structs into values, by their field tables. */
#include <string.h>

#include "base/parse.h"
#include "codec/table.h"

bool table_is_used(const struct field *f, const void *obj)
{
	const char *at = (const char *)obj + f->offset;

	switch (f->type) {
	case FIELD_BOOL:
		return f->flags & FIELD_POINTER ? *(bool *const *)at != NULL : *(const bool *)at;
	case FIELD_INT:
		return f->flags & FIELD_POINTER ? *(int64_t *const *)at != NULL : *(const int64_t *)at != 0;
	case FIELD_STR:
	case FIELD_INT_OR_STR:
		return *(const char *const *)at && **(const char *const *)at;
	case FIELD_OBJECT:
	case FIELD_JSON:
		return *(void *const *)at != NULL;
	case FIELD_STRS:
	case FIELD_OBJECTS:
	case FIELD_MAP:
	case FIELD_BOOL_MAP:
	case FIELD_OBJECT_MAP:
		return *(const size_t *)((const char *)obj + f->n_offset) != 0;
	}
	return false;
}

static yyjson_mut_val *text(yyjson_mut_doc *doc, const char *s)
{
	return yyjson_mut_strcpy(doc, s ? s : "");
}

static yyjson_mut_val *int_or_str(yyjson_mut_doc *doc, const char *s)
{
	int64_t n;

	return s && parse_i64(s, 10, INT64_MIN, INT64_MAX, &n) == 0 ? yyjson_mut_sint(doc, n) : text(doc, s);
}

static yyjson_mut_val *list(const struct field *f, yyjson_mut_doc *doc, const void *array, size_t n)
{
	yyjson_mut_val *arr = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(arr, f->type == FIELD_STRS ?
				      text(doc, ((const char *const *)array)[i]) :
				      table_encode(f->of, doc, (const char *)array + i * f->of->size));
	return arr;
}

static yyjson_mut_val *map(const struct field *f, yyjson_mut_doc *doc, const void *array, size_t n)
{
	yyjson_mut_val *obj = yyjson_mut_obj(doc);
	const struct object_pair *objects = array;
	const struct pair *pairs = array;
	const struct flag *flags = array;

	for (size_t i = 0; i < n; i++) {
		if (f->type == FIELD_MAP)
			yyjson_mut_obj_add(obj, text(doc, pairs[i].key), text(doc, pairs[i].value));
		else if (f->type == FIELD_BOOL_MAP)
			yyjson_mut_obj_add(obj, text(doc, flags[i].key),
					   yyjson_mut_bool(doc, flags[i].value));
		else
			yyjson_mut_obj_add(obj, text(doc, objects[i].key),
					   table_encode(f->of, doc, objects[i].value));
	}
	return obj;
}

/* NULL when there is no value to write: an absent pointer. */
static yyjson_mut_val *encode_field(const struct field *f, yyjson_mut_doc *doc, const void *obj)
{
	const char *at = (const char *)obj + f->offset;
	bool pointer = f->flags & FIELD_POINTER;

	if ((pointer || f->type == FIELD_JSON || f->type == FIELD_OBJECT) && !*(void *const *)at)
		return NULL;
	switch (f->type) {
	case FIELD_BOOL:
		return yyjson_mut_bool(doc, pointer ? **(bool *const *)at : *(const bool *)at);
	case FIELD_INT:
		return yyjson_mut_sint(doc, pointer ? **(int64_t *const *)at : *(const int64_t *)at);
	case FIELD_STR:
		return text(doc, *(const char *const *)at);
	case FIELD_INT_OR_STR:
		return int_or_str(doc, *(const char *const *)at);
	case FIELD_OBJECT:
		return table_encode(f->of, doc, *(void *const *)at);
	case FIELD_STRS:
	case FIELD_OBJECTS:
		return list(f, doc, *(void *const *)at, *(const size_t *)((const char *)obj + f->n_offset));
	case FIELD_MAP:
	case FIELD_BOOL_MAP:
	case FIELD_OBJECT_MAP:
		return map(f, doc, *(void *const *)at, *(const size_t *)((const char *)obj + f->n_offset));
	case FIELD_JSON:
		return yyjson_val_mut_copy(doc, *(yyjson_val *const *)at);
	}
	return NULL;
}

/* A text that was there but was taken away since is not written as "". */
static bool is_gone(const struct field *f, const void *obj)
{
	return (f->type == FIELD_STR || f->type == FIELD_INT_OR_STR) &&
	       !*(const char *const *)((const char *)obj + f->offset);
}

yyjson_mut_val *table_encode(const struct table *t, yyjson_mut_doc *doc, const void *obj)
{
	const struct object *o = obj;
	yyjson_mut_val *out = yyjson_mut_obj(doc), *v;
	yyjson_val *key, *val;
	size_t i, max;

	for (i = 0; i < t->n; i++) {
		const struct field *f = &t->fields[i];
		bool was_set = (o->set & 1ull << i) && !is_gone(f, obj);

		if (!was_set && !(f->flags & FIELD_ALWAYS) && !table_is_used(f, obj))
			continue;
		v = encode_field(f, doc, obj);
		if (!v && (f->flags & FIELD_ALWAYS) && f->type == FIELD_OBJECT)
			v = yyjson_mut_obj(doc);
		if (v)
			yyjson_mut_obj_add(out, yyjson_mut_str(doc, f->name), v);
	}
	yyjson_obj_foreach(o->extra, i, max, key, val)
		yyjson_mut_obj_add(out, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, val));
	return out;
}

bool table_has(const struct table *t, const void *obj, const char *name)
{
	const struct object *o = obj;

	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->fields[i].name, name))
			return o->set & 1ull << i;
	abort(); /* a caller's mistake */
}
