/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state.h"

#define DEVICES "sys/bus/pci/devices/"

static char dir[] = "/tmp/kvrail-pools-XXXXXX";
static struct agent agent = { .pools_lock = PTHREAD_MUTEX_INITIALIZER };
static struct arena *a;

/* A VF on vfio-pci, one on its own driver with a netdev, one without. */
static int make(void **state)
{
	static struct pool_device devices[] = {
		{ .resource = "dpdk", .pci = "0000:01:10.0", .pf_pci = "0000:01:00.0", .pf_netdev = "p0", .index = 0 },
		{ .resource = "net", .pci = "0000:01:10.2", .pf_pci = "0000:01:00.0", .pf_netdev = "p0", .index = 1 },
		{ .resource = "away", .pci = "0000:01:10.4", .pf_pci = "0000:01:00.0", .pf_netdev = "p0", .index = 2 },
	};
	static struct pools pools = { .devices = devices, .n = ARRAY_SIZE(devices) };

	a = arena_new();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(system(arena_printf(a, "cd %s && mkdir -p sys/drivers/vfio-pci sys/drivers/igbvf " DEVICES "0000:01:10.0 " DEVICES
					     "0000:01:10.2/net/enp1s0v1 " DEVICES "0000:01:10.4 && cd " DEVICES " && ln -s ../../../../drivers/vfio-pci 0000:01:10.0/driver"
					     " && ln -s ../../../../drivers/igbvf 0000:01:10.2/driver && ln -s ../../../../drivers/igbvf 0000:01:10.4/driver", dir)), 0);
	agent.pools = &pools;
	return sysroot_open(dir, &agent.root, NULL);
}

static int unmake(void **state)
{
	int r = system(arena_printf(a, "rm -r %s", dir));

	agent.root = sysroot_close(agent.root);
	a = arena_free(a);
	return r;
}

static void a_vf_that_user_space_drives_needs_no_netdev_to_be_given(void **state)
{
	struct err e = { 0 };
	struct attach_vf vf;

	assert_int_equal(pools_pick(&agent, a, "openshift.io/dpdk", NULL, NULL, 0, &vf, &e), 0);
	assert_string_equal(vf.pci, "0000:01:10.0");
	assert_string_equal(vf.driver, "vfio-pci");
	assert_string_equal(vf.pf_netdev, "p0");
	assert_null(vf.netdev);
	assert_null(vf.rdma);
	assert_int_equal(pools_pick(&agent, a, "openshift.io/net", NULL, NULL, 0, &vf, &e), 0);
	assert_string_equal(vf.netdev, "enp1s0v1");
}

static void a_vf_whose_netdev_is_elsewhere_is_refused_with_the_reason(void **state)
{
	struct err e = { 0 };
	struct attach_vf vf;

	assert_int_equal(pools_pick(&agent, a, "openshift.io/away", NULL, NULL, 0, &vf, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "0000:01:10.4 (driver igbvf) has no network interface in this namespace"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vf_that_user_space_drives_needs_no_netdev_to_be_given),
		cmocka_unit_test(a_vf_whose_netdev_is_elsewhere_is_refused_with_the_reason),
	};

	return cmocka_run_group_tests_name("pools", tests, make, unmake);
}
