/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON patch as an API server applies it, as far as IP pools need it: all operations or none; "test" of null holds for what is not there. */
#ifndef KVRAIL_TEST_IPAM_PATCH_H
#define KVRAIL_TEST_IPAM_PATCH_H

#include <string.h>

#include "codec/doc.h"

/* The object that holds the last member of @path, and that member's name; NULL: a parent is missing. */
static inline yyjson_mut_val *patch_parent(struct arena *a, yyjson_mut_val *root, const char *path, const char **ret_key)
{
	char *p = arena_strdup(a, path), *save = NULL, *part = strtok_r(p, "/", &save), *next;

	for (; part && (next = strtok_r(NULL, "/", &save)); part = next) {
		root = yyjson_mut_obj_get(root, part);
		if (!root)
			return NULL;
	}
	for (char *s = part; s && (s = strstr(s, "~1")); s++)
		memmove(s, "/", 1), memmove(s + 1, s + 2, strlen(s + 2) + 1);
	*ret_key = part;
	return root;
}

/* The object after the patch, or NULL when it does not apply. */
static inline yyjson_val *patch_apply(struct arena *a, yyjson_val *obj, const char *patch)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_val_mut_copy(doc, obj);
	yyjson_val *ops, *op, *ret;
	size_t i, max;
	struct err e;
	char *text;

	if (doc_parse_json(a, "patch", patch, strlen(patch), DOC_SIZE_MAX, &ops, &e) < 0 || !yyjson_is_arr(ops))
		abort();
	yyjson_arr_foreach(ops, i, max, op) {
		const char *what = doc_str(op, "op"), *key = NULL;
		yyjson_mut_val *parent = patch_parent(a, root, doc_str(op, "path"), &key);
		yyjson_mut_val *is = parent ? yyjson_mut_obj_get(parent, key) : NULL, *value = NULL;

		if (!parent)
			return NULL;
		if (yyjson_obj_get(op, "value"))
			value = yyjson_val_mut_copy(doc, yyjson_obj_get(op, "value"));
		if (!strcmp(what, "test")) {
			if (is ? !yyjson_mut_equals(is, value) : !yyjson_mut_is_null(value))
				return NULL;
			continue;
		}
		if (strcmp(what, "add") && !is)
			return NULL;
		yyjson_mut_obj_remove_key(parent, key);
		if (strcmp(what, "remove"))
			yyjson_mut_obj_add(parent, yyjson_mut_strcpy(doc, key), value);
	}
	text = doc_mut_to_json(a, root, false);
	if (doc_parse_json(a, "patched", text, strlen(text), DOC_SIZE_MAX, &ret, &e) < 0)
		abort();
	return ret;
}

#endif
