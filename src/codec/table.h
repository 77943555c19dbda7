/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables: one description of an object from which come decoding, validation with the path of
 * the bad field, encoding, the OpenAPI schema of a CRD, and the reference page.
 *
 * A struct that a table describes begins with a struct object: which fields the input had, and the
 * fields that the table does not know, so that encoding what was decoded loses nothing.
 */
#ifndef KVRAIL_CODEC_TABLE_H
#define KVRAIL_CODEC_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/doc.h"

enum field_type {
	FIELD_BOOL,	/* bool */
	FIELD_INT,	/* int64_t; with FIELD_POINTER int64_t * */
	FIELD_STR,	/* const char * */
	FIELD_OBJECT,	/* struct of .of, as a pointer: NULL when absent */
	FIELD_STRS,	/* const char **, count in the size_t at .n_offset */
	FIELD_OBJECTS,	/* array of structs of .of (not of pointers), count at .n_offset */
	FIELD_MAP,	/* struct pair *, count at .n_offset: string to string */
	FIELD_BOOL_MAP,	/* struct flag *, count at .n_offset: string to boolean */
	FIELD_OBJECT_MAP, /* struct object_pair *, count at .n_offset: string to struct of .of */
	FIELD_INT_OR_STR, /* const char *: an integer keeps its decimal text; in quotes it is none, and refused */
	FIELD_JSON,	/* yyjson_val *: any value, kept as it is */
};

enum field_flags {
	FIELD_REQUIRED = 1 << 0, /* must be present */
	FIELD_POINTER = 1 << 1,	 /* scalar by pointer: absent differs from zero */
	FIELD_ALWAYS = 1 << 2,	 /* encoded even when zero or empty (Go without omitempty) */
	FIELD_BOUNDED = 1 << 3,	 /* .min and .max apply; INT64_MIN, INT64_MAX mean no bound on that side */
	FIELD_SCHEMALESS = 1 << 4, /* decoded, but not part of the CRD schema */
};

struct pair {
	const char *key, *value;
};

struct flag {
	const char *key;
	bool value;
};

struct object_pair {
	const char *key;
	void *value;
};

struct table;

struct field {
	const char *name; /* JSON key, exactly */
	enum field_type type;
	unsigned flags;
	size_t offset, n_offset;
	int64_t min, max;	      /* FIELD_INT: value; FIELD_STR: bytes; FIELD_STRS, FIELD_OBJECTS: items; with FIELD_BOUNDED */
	const char *const *words;     /* FIELD_STR, items of FIELD_STRS: allowed values, NULL-terminated */
	const char *pattern;	      /* FIELD_STR: POSIX extended regular expression, anchored, as in the CRD */
	const char *dflt;	      /* JSON text of the default; applied by table_defaults() */
	const struct table *of;	      /* element of FIELD_OBJECT, FIELD_OBJECTS, FIELD_OBJECT_MAP */
	const char *format;	      /* schema only: "int32", "int64", "date-time", ... */
	const char *schema;	      /* JSON object of further members of the schema ("x-kubernetes-list-type"), or NULL */
	const char *doc;	      /* one line */
};

struct table {
	const char *name; /* of the struct, for messages and the reference page */
	size_t size;
	const struct field *fields;
	size_t n;
	const char *doc;
};

/* First member of every struct that a table describes. */
struct object {
	uint64_t set;	   /* bit i: fields[i] was present in the input; at most 64 fields */
	yyjson_val *extra; /* object of unknown members, NULL when none */
};

#define TABLE(ident, type, title)                                                      \
	const struct table ident = { title, sizeof(struct type), ident##_fields,       \
				     sizeof(ident##_fields) / sizeof(ident##_fields[0]), NULL }

/* One complaint about an input. @path is "spec.mtu"; @line is 0 when there is no text. */
struct complaint {
	bool warning;
	bool rule; /* of the kind, beyond its table: an object can be made in spite of it */
	char *path, *text; /* text names the value and the way out, e.g. "64 is below 68"; path may be "" */
	unsigned line;
};

struct complaints {
	struct arena *arena;
	bool lenient; /* what breaks a rule is made all the same: the reader decides */
	struct complaint *v;
	size_t n;
};

/* The first hundred errors and the first hundred warnings are kept. */
void complain(struct complaints *c, bool warning, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
size_t complaints_errors(const struct complaints *c); /* how many are no warnings */

/*
 * Decode @v into @out (zeroed struct of @t). Every complaint is collected (wrong type, missing
 * required field, bound, enum, pattern; unknown field as a warning with the nearest name);
 * @prefix is the path of @v ("" at the root). Returns -EINVAL when there was an error among them.
 * Strings and arrays live in @a (arena_push() may append to the arrays), JSON values in @v's document.
 * A field that is null is absent.
 */
int table_decode(const struct table *t, struct arena *a, yyjson_val *v, const char *prefix, void *out,
		 struct complaints *c);

/* Fill absent fields that have a default (and mark them set), at all depths that are present. */
void table_defaults(const struct table *t, struct arena *a, void *obj);

/* Encode: fields in table order when set, non-zero or FIELD_ALWAYS, then the unknown ones. */
yyjson_mut_val *table_encode(const struct table *t, yyjson_mut_doc *doc, const void *obj);

/* The OpenAPI v3 schema of the table (type object, properties, required), for a CRD. */
yyjson_mut_val *table_schema(const struct table *t, yyjson_mut_doc *doc);

/* Was the field @name in the input (or filled by a default)? @name must be in the table. */
bool table_has(const struct table *t, const void *obj, const char *name);

/* Does the field of @obj hold more than zero, NULL or nothing? */
bool table_is_used(const struct field *f, const void *obj);

#endif
