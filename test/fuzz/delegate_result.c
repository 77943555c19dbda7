/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin prints: a result in any version, an error, or nonsense. A result that is taken is written again in every version and read back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attach/cniresult.h"
#include "attach/netstatus.h"
#include "attach/plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *text = arena_alloc(a, size + 1);
	struct attach_ran ran = { .status = 1, .out = text, .out_len = size, .err = "" };
	const struct plugin_call call = { .command = "ADD" };
	struct cni_failure f = { 0 };
	struct netstatus *list = NULL;
	struct cniresult res, again;
	yyjson_val *v;
	size_t n = 0;

	memcpy(text, data, size);
	if (plugin_judge(a, "x", &call, &ran, &f) <= 0)
		abort();
	if (doc_parse_json(a, "x", text, size, PLUGIN_STDOUT_MAX, &v, NULL) < 0 || cniresult_parse(a, v, CNI_1_0_0, &res, &f.e) < 0)
		return 0;
	for (int version = CNI_0_3_0; version < CNI_VERSIONS; version++) {
		char *out = doc_mut_to_json(a, cniresult_json(doc_new(a), &res, (enum cni_version)version), false);

		if (doc_parse_json(a, "again", out, strlen(out), 1u << 24, &v, NULL) < 0 || cniresult_parse(a, v, CNI_0_1_0, &again, &f.e) < 0 ||
		    again.n_ips != res.n_ips || again.n_interfaces != res.n_interfaces || again.n_routes != res.n_routes)
			abort();
	}
	netstatus_of_result(a, &res, "net", true, &list, &n);
	if (!netstatus_text(a, list, n))
		abort();
	return 0;
}
