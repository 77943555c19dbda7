/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "device/health.h"

#define S 1000000000ull

static const struct health_facts good = {
	.present = true, .driver = "mlx5_core", .netdev = true, .rdma = true, .pf = "p2", .pf_up = true, .pf_carrier = 1,
	.pf_rdma = "mlx5_0", .pf_rdma_state = "4: ACTIVE",
};

static const char *problem(struct health_facts f, bool want_rdma)
{
	static char out[512];
	_cleanup_arena_ struct arena *a = arena_new();
	const char *p = health_problem(a, &f, want_rdma);

	snprintf(out, sizeof(out), "%s", p ? p : "");
	return out;
}

#define WITH(...) ({ struct health_facts f = good; (void)(__VA_ARGS__); f; })

static void vf_with_driver_carrier_and_active_port_is_healthy(void **state)
{
	assert_string_equal(problem(good, true), "");
}

static void each_fault_has_its_words(void **state)
{
	assert_non_null(strstr(problem(WITH(f.present = false), false), "not on the PCI bus"));
	assert_non_null(strstr(problem(WITH(f.driver = NULL), false), "no driver"));
	assert_non_null(strstr(problem(WITH(f.netdev = false), false), "driver mlx5_core gave the VF no network interface"));
	assert_non_null(strstr(problem(WITH(f.pf_up = false), false), "ip link set p2 up"));
	assert_non_null(strstr(problem(WITH(f.pf_carrier = 0), false), "port p2 has no carrier"));
	assert_non_null(strstr(problem(WITH(f.rdma = false), true), "no RDMA device"));
	assert_non_null(strstr(problem(WITH(f.pf_rdma_state = "1: DOWN"), true), "RDMA port mlx5_0/1 is 1: DOWN, not ACTIVE"));
	assert_non_null(strstr(problem(WITH(f.stranger = "llm/prefill-0"), false), "held by pod llm/prefill-0, of which the kubelet has no record"));
}

static void rdma_is_looked_at_only_where_it_is_part_of_the_resource(void **state)
{
	assert_string_equal(problem(WITH(f.rdma = false, f.pf_rdma_state = "1: DOWN"), false), "");
}

static void vf_in_a_pod_is_judged_by_its_port_alone(void **state)
{
	/* its netdev and its RDMA device are in the pod's namespace */
	assert_string_equal(problem(WITH(f.held = true, f.netdev = f.rdma = false), true), "");
	assert_non_null(strstr(problem(WITH(f.held = true, f.netdev = f.rdma = false, f.pf_carrier = 0), true), "no carrier"));
}

static void vf_for_user_space_needs_no_netdev(void **state)
{
	assert_string_equal(problem(WITH(f.driver = "vfio-pci", f.netdev = f.rdma = false), true), "");
}

static void port_without_netdev_here_is_not_called_down(void **state)
{
	assert_string_equal(problem(WITH(f.pf = NULL, f.pf_up = false, f.pf_carrier = -1), true), "");
}

static void first_judgement_counts_at_once(void **state)
{
	struct health h = { 0 };
	uint64_t wait;

	assert_true(health_step(&h, false, false, 100 * S, 5 * S, &wait));
	assert_false(h.healthy);
	h = (struct health){ 0 };
	assert_true(health_step(&h, true, false, 100 * S, 5 * S, &wait));
	assert_true(h.healthy);
}

static void fault_counts_when_it_lasts(void **state)
{
	struct health h = { .known = true, .healthy = true };
	uint64_t wait;

	assert_false(health_step(&h, false, false, 100 * S, 5 * S, &wait));
	assert_true(h.healthy);
	assert_int_equal(wait, 5 * S);
	assert_false(health_step(&h, false, false, 103 * S, 5 * S, &wait));
	assert_int_equal(wait, 2 * S);
	assert_true(health_step(&h, false, false, 105 * S, 5 * S, &wait));
	assert_false(h.healthy);
	assert_int_equal(wait, 0);
	/* and is over at once */
	assert_true(health_step(&h, true, false, 105 * S + 1, 5 * S, &wait));
	assert_true(h.healthy);
}

static void flapping_link_begins_its_time_anew(void **state)
{
	struct health h = { .known = true, .healthy = true };
	uint64_t wait;

	for (uint64_t t = 100; t < 200; t += 4) {
		assert_false(health_step(&h, false, false, t * S, 5 * S, &wait));
		assert_false(health_step(&h, true, false, (t + 2) * S, 5 * S, &wait));
		assert_true(h.healthy);
	}
}

static void what_must_not_be_given_counts_at_once(void **state)
{
	struct health h = { .known = true, .healthy = true };
	uint64_t wait;

	assert_true(health_step(&h, false, true, 100 * S, 5 * S, &wait));
	assert_false(h.healthy);
	assert_int_equal(wait, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vf_with_driver_carrier_and_active_port_is_healthy),
		cmocka_unit_test(each_fault_has_its_words),
		cmocka_unit_test(rdma_is_looked_at_only_where_it_is_part_of_the_resource),
		cmocka_unit_test(vf_in_a_pod_is_judged_by_its_port_alone),
		cmocka_unit_test(vf_for_user_space_needs_no_netdev),
		cmocka_unit_test(port_without_netdev_here_is_not_called_down),
		cmocka_unit_test(first_judgement_counts_at_once),
		cmocka_unit_test(fault_counts_when_it_lasts),
		cmocka_unit_test(flapping_link_begins_its_time_anew),
		cmocka_unit_test(what_must_not_be_given_counts_at_once),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
