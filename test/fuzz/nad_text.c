/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text on its way into a NAD: indenting keeps it JSON, and a second time changes nothing. */
#include <stdint.h>
#include <string.h>

#include "policy/jsontext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = calloc(1, size + 1);
	_cleanup_strbuf_ struct strbuf folded = STRBUF_INIT, once = STRBUF_INIT, twice = STRBUF_INIT, bare = STRBUF_INIT;

	if (!text)
		return 0;
	memcpy(text, data, size);
	jsontext_add_without_space(&bare, text);
	jsontext_fold(&folded, text);
	if (!folded.s || jsontext_check(folded.s, NULL) < 0)
		return 0;
	jsontext_indent(&once, folded.s);
	if (jsontext_check(once.s, NULL) < 0)
		abort();
	jsontext_indent(&twice, once.s);
	if (strcmp(once.s, twice.s))
		abort();
	return 0;
}
