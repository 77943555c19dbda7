/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kv/check.h"

static void a_device_that_the_agents_container_may_not_open_names_the_component(void **state)
{
	assert_non_null(strstr(check_node_todo(EPERM, "kvrail-agent"), "deploy/components/privileged"));
	assert_non_null(strstr(check_node_todo(EPERM, "kvrail-agent"), "on the node itself"));
	assert_null(strstr(check_node_todo(EPERM, NULL), "deploy/components/privileged"));
	assert_non_null(strstr(check_node_todo(EPERM, NULL), "device list"));
}

static void other_reasons_have_their_own_way_out(void **state)
{
	assert_non_null(strstr(check_node_todo(ENOENT, "kvrail-agent"), "device plugin or CDI"));
	assert_non_null(strstr(check_node_todo(EACCES, "kvrail-agent"), "read and write"));
}

static void what_programs_of_the_pod_are_called_moves_no_cursor(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct check c = { .arena = a };

	check_add(&c, CHECK_HERE, CHECK_BAD, "n\033c", "locked memory", "net\033[1m has 3", NULL, "%lu KiB for %s", 64ul, "\033]0;x\007\177");
	assert_string_equal(c.lines[0].found, "64 KiB for ?]0;x??");
	assert_string_equal(c.lines[0].expected, "net?[1m has 3");
	assert_string_equal(c.lines[0].rail, "n?c");
	check_add(&c, CHECK_HERE, CHECK_GOOD, NULL, "GID", NULL, NULL, "1");
	assert_null(c.lines[1].rail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_the_agents_container_may_not_open_names_the_component),
		cmocka_unit_test(other_reasons_have_their_own_way_out),
		cmocka_unit_test(what_programs_of_the_pod_are_called_moves_no_cursor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
