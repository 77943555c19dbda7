/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents. JSON and YAML (1.1 core as Kubernetes reads it, several documents in one stream)
 * become the same immutable yyjson value, allocated from an arena.
 *
 * Refused with file, line and column: malformed text, more than DOC_SIZE_MAX bytes, nesting deeper
 * than DOC_DEPTH_MAX, duplicate keys, YAML aliases that expand to more than DOC_SIZE_MAX, infinity and
 * not-a-number, more than 65536 JSON values, bytes that are not UTF-8, NUL in a string (every string is a C string).
 */
#ifndef KVRAIL_CODEC_DOC_H
#define KVRAIL_CODEC_DOC_H

#include <yyjson.h>

#include "base/arena.h"
#include "base/err.h"

#define DOC_SIZE_MAX (16u << 20)
#define DOC_DEPTH_MAX 64

struct doc {
	const char *source; /* file name as given, or a word such as "stdin"; for messages */
	const char *text;   /* the whole stream that the document was in */
	size_t len;
	size_t index;	    /* which document of the stream, from 0 */
	yyjson_val *root;
	const char *at; /* where @root is in the document ("items[2]"), NULL for all of it */
};

/*
 * Parse @text. The result is an array of *ret_n documents in @a (@text is copied). An empty stream has none.
 * A "List" kind is not unfolded here. JSON text may hold several objects or lists, one after the other.
 */
int doc_parse(struct arena *a, const char *source, const char *text, size_t len, struct doc **ret,
	      size_t *ret_n, struct err *e);

/* Read and parse a file; "-" is standard input. */
int doc_load(struct arena *a, const char *path, struct doc **ret, size_t *ret_n, struct err *e);

/* One JSON value (not YAML), for wire formats: sockets, CNI stdin, journals. At most @max bytes. */
int doc_parse_json(struct arena *a, const char *source, const char *text, size_t len, size_t max,
		   yyjson_val **ret, struct err *e);

/* The same where keys may come twice, as Go's decoder takes them: who reads it lets the last one win. */
int doc_parse_json_repeated(struct arena *a, const char *source, const char *text, size_t len, size_t max, yyjson_val **ret,
			    struct err *e);

/*
 * The line (from 1) on which the field at @path ("spec.nicSelector.pfNames[0]") begins, of the
 * nearest parent that is there when the field is missing; 0 when unknown. Reparses: for error messages.
 */
unsigned doc_line(const struct doc *d, const char *path);

/* Text of a value. JSON: indented by two spaces when @pretty, no trailing newline. YAML: block style, as kubectl prints it. */
char *doc_to_json(struct arena *a, yyjson_val *v, bool pretty);
char *doc_to_yaml(struct arena *a, yyjson_val *v);
char *doc_mut_to_json(struct arena *a, yyjson_mut_val *v, bool pretty);
char *doc_mut_to_yaml(struct arena *a, yyjson_mut_val *v);

/* A yyjson allocator over an arena: documents made with it need no free. */
yyjson_alc doc_alc(struct arena *a);
yyjson_mut_doc *doc_new(struct arena *a);

/* Typed getters of an object's member; NULL, @dflt when absent or of another type. */
const char *doc_str(yyjson_val *obj, const char *key);
int64_t doc_int(yyjson_val *obj, const char *key, int64_t dflt);
bool doc_bool(yyjson_val *obj, const char *key, bool dflt);

#endif
