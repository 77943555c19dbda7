/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "controller/admit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int nad(void *arg, struct arena *a, const char *ns, const char *name, struct admit_nad *ret, const char **names, struct err *e)
{
	*ret = (struct admit_nad){ .resource = *name == 'r' ? name : NULL, .node_selector = *name == 's' ? name : NULL };
	return *name == 'x' ? -ENOENT : *name == 'y' ? err_set(e, -EHOSTUNREACH, "away") : 0;
}

/* Whatever comes, the answer is a review with a verdict, and its patch is a list of operations. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct admit_options options = { .namespace = "kvrail-system", .home = "kvrail-system", .nad = nad };

	for (enum admit_path path = ADMIT_PODS; path <= ADMIT_VALIDATE; path++) {
		_cleanup_arena_ struct arena *a = arena_new();
		enum admit_verdict verdict;
		yyjson_val *v, *response;
		const char *out;
		struct err e = { 0 };
		size_t len;
		char *text;

		if (admit_review(a, &options, path, (const char *)data, size, &out, &verdict, &e) < 0) {
			if (!e.msg[0])
				abort();
			continue;
		}
		if (doc_parse_json(a, "out", out, strlen(out), DOC_SIZE_MAX, &v, NULL) < 0)
			abort();
		response = yyjson_obj_get(v, "response");
		if (!doc_str(response, "uid") || !yyjson_is_bool(yyjson_obj_get(response, "allowed")))
			abort();
		if ((verdict == ADMIT_CHANGED) != !!doc_str(response, "patch"))
			abort();
		if (verdict == ADMIT_CHANGED &&
		    (base64_decode(a, doc_str(response, "patch"), &text, &len) < 0 ||
		     doc_parse_json(a, "patch", text, len, DOC_SIZE_MAX, &v, NULL) < 0 || !yyjson_arr_size(v)))
			abort();
	}
	return 0;
}
