/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest, YAML or JSON, into the tables of all kinds; what was decoded is written and must be read back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void every_table(struct arena *a, yyjson_val *v)
{
	for (const struct api_kind *k = api_kinds; k->kind; k++) {
		struct complaints c = { .arena = a };
		void *object = arena_alloc(a, k->table->size);

		table_decode(k->table, a, v, "", object, &c);
		table_encode(k->table, doc_new(a), object);
	}
}

static void written_and_read(struct arena *a, const struct api_kind *k, const void *object)
{
	yyjson_mut_val *v = api_encode(k, doc_new(a), object);
	char *json = doc_mut_to_json(a, v, false), *yaml = doc_mut_to_yaml(a, v);
	struct doc *d;
	size_t n;

	if (doc_parse(a, "again", yaml, strlen(yaml), &d, &n, NULL) < 0 || n != 1 || strcmp(doc_to_json(a, d->root, false), json))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct api_kind *kind;
	struct doc *docs;
	struct err e;
	void *object;
	size_t n;

	if (doc_parse(a, "fuzz", (const char *)data, size, &docs, &n, &e) < 0)
		return 0;
	api_unfold(a, docs, n, &docs, &n);
	for (size_t i = 0; i < n && i < 8; i++) {
		struct complaints c = { .arena = a };

		every_table(a, docs[i].root);
		if (api_decode(a, &docs[i], &kind, &object, &c) == 0)
			written_and_read(a, kind, object);
	}
	return 0;
}
