/* SPDX-License-Identifier: Apache-2.0 */
/* The two readers behind doc.h. Internal to the room. */
#ifndef KVRAIL_CODEC_READER_H
#define KVRAIL_CODEC_READER_H

#include "codec/doc.h"

/* Looking for the line of a field: the deepest parent of @want that was met so far. */
struct doc_seek {
	const char *want; /* "spec.pfNames[1]" */
	size_t depth;	  /* bytes of @want that were matched */
	unsigned line;
};

/* The value at @path begins on @line: better than what we have? */
void doc_seek_at(struct doc_seek *s, const char *path, unsigned line);

/* Line and column, from 1, of byte @at. */
void doc_place(const char *text, size_t at, unsigned *line, unsigned *column);

/* A float64 that is an integer to an API server: Go writes it into JSON without a point. */
bool doc_is_whole(double d);

/* -EINVAL with "SOURCE:LINE:COLUMN: text". */
int doc_refuse(struct err *e, const char *source, unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * One JSON value at byte @at of @text; it ends before *ret_end. What follows is the caller's business. Costs what the value is
 * large. Strings are valid UTF-8 without NUL, keys are unique if @unique, nesting is bounded.
 */
int doc_json_read(struct arena *a, const char *source, const char *text, size_t at, size_t len, bool unique, yyjson_val **ret,
		  size_t *ret_end, struct err *e);
/* Looks in the value @index of those that stand one after the other. */
void doc_json_seek(const char *text, size_t len, struct doc_seek *s, size_t index);

/* Every document of a YAML stream, empty ones skipped. With @seek: only looks in document @seek_index. */
int doc_yaml_read(struct arena *a, const char *source, const char *text, size_t len, struct doc **ret,
		  size_t *ret_n, struct doc_seek *seek, size_t seek_index, struct err *e);

/*
 * A plain (unquoted) YAML scalar as Kubernetes' YAML library resolves it: YAML 1.1 booleans, integers
 * in Go's notation, floats, null; everything else is text. -ERANGE for infinity and not-a-number.
 */
int doc_yaml_resolve(yyjson_mut_doc *doc, const char *s, size_t len, yyjson_mut_val **ret);

#endif
