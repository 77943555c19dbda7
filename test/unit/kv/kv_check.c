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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_the_agents_container_may_not_open_names_the_component),
		cmocka_unit_test(other_reasons_have_their_own_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
