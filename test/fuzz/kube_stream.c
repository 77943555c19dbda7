/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server sends, in pieces: lines and the items of a list come out the same however the bytes are cut. */
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#include "store/kube-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_item(void *arg, const char *text, size_t len)
{
	strbuf_add(arg, text, len);
	strbuf_addch(arg, '\x1e');
	return 0;
}

static int on_line(void *arg, char *text, size_t len)
{
	return on_item(arg, text, len);
}

/* Every item, then what is around them. */
static void cut_items(const uint8_t *data, size_t size, size_t piece, struct strbuf *out)
{
	struct kube_items items = { .max = 512 };
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += piece)
		r = kube_items_feed(&items, (const char *)data + at, piece < size - at ? piece : size - at, on_item, out);
	strbuf_add(out, items.rest.s, items.rest.len);
	kube_items_free(&items);
}

static void cut_lines(const uint8_t *data, size_t size, size_t piece, struct strbuf *out)
{
	struct kube_lines lines = { .max = SIZE_MAX / 4 };

	for (size_t at = 0; at < size; at += piece)
		if (kube_lines_feed(&lines, (const char *)data + at, piece < size - at ? piece : size - at, on_line, out) < 0)
			abort();
	strbuf_free(&lines.tail);
}

static bool same(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->s, b->s, a->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf whole_items = STRBUF_INIT, whole_lines = STRBUF_INIT;

	cut_items(data, size, size, &whole_items);
	cut_lines(data, size, size, &whole_lines);
	for (size_t piece = 1; piece < size; piece = piece * 3 + 1) {
		struct strbuf items = STRBUF_INIT, lines = STRBUF_INIT;

		cut_items(data, size, piece, &items);
		cut_lines(data, size, piece, &lines);
		if (!same(&items, &whole_items) || !same(&lines, &whole_lines))
			abort();
		strbuf_free(&items);
		strbuf_free(&lines);
	}
	strbuf_free(&whole_items);
	strbuf_free(&whole_lines);
	return 0;
}
