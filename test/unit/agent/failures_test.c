/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "agent/failures.h"

static struct arena *a;
static struct failures *f;

static int setup(void **state)
{
	a = arena_new();
	f = failures_new();
	return 0;
}

static int teardown(void **state)
{
	a = arena_free(a);
	f = failures_free(f);
	return 0;
}

static const char *args_of(const char *pod)
{
	return arena_printf(a, "IgnoreUnknown=1;K8S_POD_NAMESPACE=llm;K8S_POD_NAME=%s;K8S_POD_UID=u", pod);
}

static bool all_there(void *arg, const char *ns, const char *name)
{
	return true;
}

static bool gone(void *arg, const char *ns, const char *name)
{
	return strcmp(name, arg) != 0;
}

static yyjson_mut_val *list(void)
{
	return failures_json(f, doc_new(a), all_there, NULL);
}

static const char *str(size_t i, const char *key)
{
	return yyjson_mut_get_str(yyjson_mut_obj_get(yyjson_mut_arr_get(list(), i), key));
}

static void a_pod_that_fails_is_told_with_its_reason_until_it_succeeds(void **state)
{
	failures_note(f, args_of("p"), "{\"code\":11,\"msg\":\"no VF is left\",\"details\":\"of p2rdma\"}");
	failures_note(f, args_of("p"), "{\"code\":11,\"msg\":\"no VF at all\"}");
	assert_int_equal(yyjson_mut_arr_size(list()), 1);
	assert_string_equal(str(0, "pod"), "llm/p");
	assert_string_equal(str(0, "error"), "no VF at all");
	assert_int_equal(yyjson_mut_get_uint(yyjson_mut_obj_get(yyjson_mut_arr_get(list(), 0), "times")), 2);
	failures_note(f, args_of("p"), NULL);
	assert_int_equal(yyjson_mut_arr_size(list()), 0);
}

static void a_pod_that_is_gone_is_forgotten(void **state)
{
	failures_note(f, args_of("p"), "{}");
	failures_note(f, args_of("q"), "{\"msg\":\"m\",\"details\":\"d\"}");
	assert_int_equal(yyjson_mut_arr_size(failures_json(f, doc_new(a), gone, (void *)(uintptr_t)"p")), 1);
	assert_string_equal(str(0, "pod"), "llm/q");
	assert_string_equal(str(0, "error"), "m: d");
}

static void only_the_last_32_are_kept(void **state)
{
	for (int i = 0; i < 40; i++)
		failures_note(f, args_of(arena_printf(a, "p%d", i)), "{}");
	assert_int_equal(yyjson_mut_arr_size(list()), 32);
	assert_string_equal(str(0, "pod"), "llm/p8");
	assert_string_equal(str(31, "pod"), "llm/p39");
}

static void arguments_without_a_pod_are_passed_over(void **state)
{
	char *longest = arena_alloc(a, 400);

	memset(longest, 'x', 399);
	failures_note(f, NULL, "{}");
	failures_note(f, "", "{}");
	failures_note(f, "K8S_POD_NAMESPACE=;K8S_POD_NAME=x", "{}");
	failures_note(f, args_of(longest), "{}");
	assert_int_equal(yyjson_mut_arr_size(list()), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_pod_that_fails_is_told_with_its_reason_until_it_succeeds, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_that_is_gone_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_last_32_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(arguments_without_a_pod_are_passed_over, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
