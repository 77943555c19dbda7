/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attach/annotation.h"
#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct annotation_item *items;
	struct err e;
	size_t n;

	if (annotation_parse(a, (const char *)data, size, "ns", &items, &n, &e) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		yyjson_mut_doc *doc = doc_new(a);

		if (!items[i].name || !items[i].namespace || !items[i].where)
			abort();
		if (!doc_mut_to_json(a, annotation_json(doc, &items[i]), false))
			abort();
	}
	if (annotation_check(items, n, &e) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!*items[i].name || (items[i].interface && !parse_is_ifname(items[i].interface)))
			abort();
	return 0;
}
