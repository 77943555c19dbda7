/* SPDX-License-Identifier: Apache-2.0 */
/* What was undone last is remembered by container and interface, and what is older than that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "attach/gone.h"

static void it_is_both_the_container_and_the_interface(void **state)
{
	struct gone g = { 0 };

	(void)state;
	gone_note(&g, "c1", "eth0");
	assert_true(gone_has(&g, "c1", "eth0"));
	assert_false(gone_has(&g, "c1", "eth1"));
	assert_false(gone_has(&g, "c11", "eth0"));
	assert_false(gone_has(&g, "c", "eth0"));
	assert_false(gone_has(&g, "", ""));
	gone_clear(&g);
	assert_false(gone_has(&g, "c1", "eth0"));
}

static void the_oldest_makes_room(void **state)
{
	struct gone g = { 0 };
	char name[16];

	(void)state;
	for (int i = 0; i <= GONE_MAX; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		gone_note(&g, name, "eth0");
	}
	assert_false(gone_has(&g, "c0", "eth0"));
	for (int i = 1; i <= GONE_MAX; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_true(gone_has(&g, name, "eth0"));
	}
	gone_clear(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_both_the_container_and_the_interface),
		cmocka_unit_test(the_oldest_makes_room),
	};

	return cmocka_run_group_tests_name("gone", tests, NULL, NULL);
}
