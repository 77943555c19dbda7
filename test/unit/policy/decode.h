/* SPDX-License-Identifier: Apache-2.0 */
/* YAML in a test into objects, decoded and defaulted as everywhere. */
#ifndef TEST_POLICY_DECODE_H
#define TEST_POLICY_DECODE_H

#include <string.h>

#include "api/meta.h"

struct decoded {
	const struct api_kind *kind;
	void *object;
};

/* All documents of @yaml; the test fails on any complaint that is no warning. */
static inline size_t decode(struct arena *a, const char *yaml, struct decoded *ret, size_t max)
{
	struct doc *docs;
	struct err e = { 0 };
	size_t n;

	if (doc_parse(a, "test", yaml, strlen(yaml), &docs, &n, &e) < 0)
		fail_msg("%s", e.msg);
	assert_true(n <= max);
	for (size_t i = 0; i < n; i++) {
		struct complaints c = { .arena = a };

		if (api_decode(a, &docs[i], &ret[i].kind, &ret[i].object, &c) < 0)
			fail_msg("%s: %s", c.n ? c.v[0].path : "?", c.n ? c.v[0].text : "?");
	}
	return n;
}

#endif
