/* SPDX-License-Identifier: Apache-2.0 */
/* What is read as a journal can be written and read again, to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attach/attachment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct attachment *at, *again;
	char *text;
	struct err e;

	if (attachment_decode("fuzz", (const char *)data, size, &at, &e) < 0)
		return 0;
	text = attachment_encode(a, at);
	attachment_free(at);
	if (attachment_decode("again", text, strlen(text), &again, &e) < 0)
		abort();
	if (strcmp(text, attachment_encode(a, again)))
		abort();
	attachment_free(again);
	return 0;
}
