/* SPDX-License-Identifier: Apache-2.0 */
/* Out of which pools a container holds something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ipam/writer.h"

static struct pools ps;
static struct pool p, q;

static size_t count(const char *container)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t n;
	struct pool **v = ipam_held_of(&ps, a, container, &n);

	assert_true(n == 0 || v[0] == &p || v[0] == &q);
	return n;
}

static void a_container_is_known_with_each_pool_once(void **state)
{
	ipam_held_put(&ps, "c1", &p);
	ipam_held_put(&ps, "c1", &q);
	ipam_held_put(&ps, "c1", &p);
	ipam_held_put(&ps, "c2", &q);
	assert_int_equal(count("c1"), 2);
	assert_int_equal(count("c2"), 1);
	assert_int_equal(count("c3"), 0);
	ipam_held_clear(&ps);
	assert_int_equal(count("c1"), 0);
}

static void a_container_without_pools_leaves_nothing(void **state)
{
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		ipam_held_put(&ps, name, &p);
		ipam_held_put(&ps, name, &q);
	}
	ipam_held_drop(&ps, "nobody", &p);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		ipam_held_drop(&ps, name, &p);
		ipam_held_drop(&ps, name, &p);
		assert_int_equal(count(name), 1);
		ipam_held_drop(&ps, name, &q);
	}
	assert_null(ps.held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_is_known_with_each_pool_once),
		cmocka_unit_test(a_container_without_pools_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
