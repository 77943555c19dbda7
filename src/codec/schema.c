/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables into OpenAPI v3 schemas, the structural form that CRDs want. */
#include <string.h>

#include "codec/table.h"

static void add_type(yyjson_mut_doc *doc, yyjson_mut_val *s, const char *type)
{
	yyjson_mut_obj_add_str(doc, s, "type", type);
}

static void add_bounds(yyjson_mut_doc *doc, yyjson_mut_val *s, const struct field *f,
		       const char *min, const char *max)
{
	if (!(f->flags & FIELD_BOUNDED))
		return;
	if (f->min != INT64_MIN)
		yyjson_mut_obj_add_sint(doc, s, min, f->min);
	if (f->max != INT64_MAX)
		yyjson_mut_obj_add_sint(doc, s, max, f->max);
}

static void add_words(yyjson_mut_doc *doc, yyjson_mut_val *s, const struct field *f)
{
	yyjson_mut_val *words;

	if (!f->words)
		return;
	words = yyjson_mut_obj_add_arr(doc, s, "enum");
	for (size_t i = 0; f->words[i]; i++)
		yyjson_mut_arr_add_str(doc, words, f->words[i]);
}

static void add_items(yyjson_mut_doc *doc, yyjson_mut_val *s, const struct field *f)
{
	yyjson_mut_val *items;

	add_type(doc, s, "array");
	if (f->type == FIELD_OBJECTS) {
		items = table_schema(f->of, doc);
	} else {
		items = yyjson_mut_obj(doc);
		add_type(doc, items, "string");
		add_words(doc, items, f);
	}
	yyjson_mut_obj_add_val(doc, s, "items", items);
	add_bounds(doc, s, f, "minItems", "maxItems");
}

static void add_members(yyjson_mut_doc *doc, yyjson_mut_val *s, const struct field *f)
{
	yyjson_mut_val *member;

	add_type(doc, s, "object");
	if (f->type == FIELD_OBJECT_MAP) {
		member = table_schema(f->of, doc);
	} else {
		member = yyjson_mut_obj(doc);
		add_type(doc, member, f->type == FIELD_MAP ? "string" : "boolean");
	}
	yyjson_mut_obj_add_val(doc, s, "additionalProperties", member);
}

static void add_int_or_str(yyjson_mut_doc *doc, yyjson_mut_val *s)
{
	yyjson_mut_val *any = yyjson_mut_obj_add_arr(doc, s, "anyOf");

	add_type(doc, yyjson_mut_arr_add_obj(doc, any), "integer");
	add_type(doc, yyjson_mut_arr_add_obj(doc, any), "string");
	yyjson_mut_obj_add_true(doc, s, "x-kubernetes-int-or-string");
}

/* Members of the JSON object @json, as they are. */
static void add_json(yyjson_mut_doc *doc, yyjson_mut_val *s, const char *json)
{
	yyjson_doc *d = yyjson_read(json, strlen(json), 0);
	yyjson_val *key, *val;
	size_t i, max;

	if (!d)
		abort(); /* a table's mistake */
	yyjson_obj_foreach(yyjson_doc_get_root(d), i, max, key, val)
		yyjson_mut_obj_add(s, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, val));
	yyjson_doc_free(d);
}

static void add_default(yyjson_mut_doc *doc, yyjson_mut_val *s, const char *json)
{
	yyjson_doc *d = yyjson_read(json, strlen(json), 0);

	if (!d)
		abort();
	yyjson_mut_obj_add_val(doc, s, "default", yyjson_val_mut_copy(doc, yyjson_doc_get_root(d)));
	yyjson_doc_free(d);
}

static yyjson_mut_val *field_schema(const struct field *f, yyjson_mut_doc *doc)
{
	yyjson_mut_val *s = f->type == FIELD_OBJECT ? table_schema(f->of, doc) : yyjson_mut_obj(doc);

	if (f->doc) {
		yyjson_mut_obj_remove_key(s, "description"); /* the field's own words are closer */
		yyjson_mut_obj_add_str(doc, s, "description", f->doc);
	}
	switch (f->type) {
	case FIELD_BOOL:
		add_type(doc, s, "boolean");
		break;
	case FIELD_INT:
		add_type(doc, s, "integer");
		add_bounds(doc, s, f, "minimum", "maximum");
		break;
	case FIELD_STR:
		add_type(doc, s, "string");
		add_words(doc, s, f);
		add_bounds(doc, s, f, "minLength", "maxLength");
		break;
	case FIELD_STRS:
	case FIELD_OBJECTS:
		add_items(doc, s, f);
		break;
	case FIELD_MAP:
	case FIELD_BOOL_MAP:
	case FIELD_OBJECT_MAP:
		add_members(doc, s, f);
		break;
	case FIELD_INT_OR_STR:
		add_int_or_str(doc, s);
		break;
	case FIELD_JSON:
		yyjson_mut_obj_add_true(doc, s, "x-kubernetes-preserve-unknown-fields");
		break;
	case FIELD_OBJECT:
		break;
	}
	if (f->format)
		yyjson_mut_obj_add_str(doc, s, "format", f->format);
	if (f->pattern)
		yyjson_mut_obj_add_str(doc, s, "pattern", f->pattern);
	if (f->dflt)
		add_default(doc, s, f->dflt);
	if (f->schema)
		add_json(doc, s, f->schema);
	return s;
}

yyjson_mut_val *table_schema(const struct table *t, yyjson_mut_doc *doc)
{
	yyjson_mut_val *s = yyjson_mut_obj(doc), *properties = NULL, *required = NULL;

	add_type(doc, s, "object");
	if (t->doc)
		yyjson_mut_obj_add_str(doc, s, "description", t->doc);
	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->fields[i];

		if (f->flags & FIELD_SCHEMALESS)
			continue;
		if (!properties)
			properties = yyjson_mut_obj_add_obj(doc, s, "properties");
		yyjson_mut_obj_add_val(doc, properties, f->name, field_schema(f, doc));
		if (!(f->flags & FIELD_REQUIRED))
			continue;
		if (!required)
			required = yyjson_mut_arr(doc);
		yyjson_mut_arr_add_str(doc, required, f->name);
	}
	if (required)
		yyjson_mut_obj_add_val(doc, s, "required", required);
	return s;
}
