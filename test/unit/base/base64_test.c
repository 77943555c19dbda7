/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"

static void rfc4648_vectors_decode_and_encode(void **state)
{
	static const char *const vectors[][2] = { { "", "" }, { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" },
						  { "Zm9vYg==", "foob" }, { "Zm9vYmE=", "fooba" }, { "Zm9vYmFy", "foobar" },
						  { "+/+/", "\xfb\xff\xbf" } };
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	char *out;

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		assert_int_equal(base64_decode(a, vectors[i][0], &out, &len), 0);
		assert_string_equal(base64_encode(a, out, len), vectors[i][0]);
		assert_int_equal(len, strlen(vectors[i][1]));
		assert_memory_equal(out, vectors[i][1], len + 1);
		assert_string_equal(base64_encode(a, vectors[i][1], len), vectors[i][0]);
	}
}

static void text_that_is_no_base64_is_refused(void **state)
{
	static const char *const bad[] = { "Z", "Zg=", "Zg", "====", "Zg=a", "Zm9v\n", "Zm 9", "Zm9v====", "Z-9v" };
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	char *out;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(base64_decode(a, bad[i], &out, &len), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc4648_vectors_decode_and_encode),
		cmocka_unit_test(text_that_is_no_base64_is_refused),
	};

	return cmocka_run_group_tests_name("base64_test", tests, NULL, NULL);
}
