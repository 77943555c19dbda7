/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VF that user space drives: what is found of it, and what of it is set and told. A VF that is bound again. What the kernel answers is recorded, its
 * /sys a small tree.
 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../linux/replay.h"
#include "attach/vf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "../remove-tree.h"

static struct attachment *at;
static struct attachment_rail rail;
static struct err e;

static int setup(void **state)
{
	at = attachment_new();
	rail = (struct attachment_rail){ .ifname = "net1", .vf = "0000:01:10.4", .pf = "p0", .vf_index = 2, .driver = "vfio-pci",
					 .found = arena_alloc(at->arena, sizeof(*rail.found)), .set = arena_alloc(at->arena, sizeof(*rail.set)) };
	return 0;
}

static int teardown(void **state)
{
	at = attachment_free(at);
	return 0;
}

static void recording(struct strbuf *b, const char *name)
{
	const char *source = getenv("KVRAIL_SOURCE");
	_cleanup_free_ char *data = NULL;
	char path[PATH_MAX];
	size_t len;

	snprintf(path, sizeof(path), "%s/test/fuzz/corpus/%s", source ? source : ".", name);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &data, &len), 0);
	strbuf_add(b, data, len);
}

static int find(const char *pf)
{
	const struct attach_vf vf = { .pci = rail.vf, .pf_netdev = pf, .index = 2, .driver = rail.driver, .netdev = "p0" };
	_cleanup_strbuf_ struct strbuf twice = STRBUF_INIT; /* the port as link, then with its VFs */
	_cleanup_nl_ struct nl *nl = NULL;
	struct vf_port *ports = NULL;
	struct replay replay;
	unsigned index = 0;
	int r;

	recording(&twice, "rtnl/pf-with-vfs");
	recording(&twice, "rtnl/pf-with-vfs");
	nl = replay_open(&replay, twice.s, twice.len);
	rail.pf = pf;
	r = vf_find(nl, at->arena, &ports, &vf, &rail, &index, &e);
	assert_int_equal(index, 0);
	return r;
}

static struct rail_want nothing(void)
{
	return (struct rail_want){ .vlan = RAIL_UNSET, .spoofchk = RAIL_UNSET, .trust = RAIL_UNSET, .link_state = RAIL_UNSET, .min_rate = RAIL_UNSET,
				   .max_rate = RAIL_UNSET };
}

static void its_settings_are_the_ports_and_its_mac_the_administrative_one(void **state)
{
	struct rail_want want = nothing();

	assert_false(vf_has_netdev(&rail));
	assert_int_equal(find("p0"), 0);
	assert_null(rail.found->netdev);
	assert_true(*rail.found->trust && *rail.found->spoofchk);
	vf_plan(&want, at, &rail);
	assert_string_equal(rail.mac, "02:00:00:00:00:22");
	assert_int_equal(rail.mtu, 9000);
	assert_false(rail.set->mac || rail.set->vlan || rail.set->trust || rail.set->spoofchk);
	assert_int_equal(at->n_warnings, 0);
}

static void what_is_asked_for_is_set_through_the_port_and_told(void **state)
{
	struct rail_want want = nothing();

	want.has_mac = true;
	memcpy(want.mac, "\x02\x00\x5e\x10\x00\x01", 6);
	want.vlan = 100;
	want.trust = 0;
	want.mtu = 1500;
	assert_int_equal(find("p0"), 0);
	vf_plan(&want, at, &rail);
	assert_string_equal(rail.mac, "02:00:5e:10:00:01");
	assert_true(rail.set->mac && rail.set->vlan && rail.set->trust);
	assert_int_equal(at->n_warnings, 1);
	assert_string_equal(at->warnings[0], "net1: VF 0000:01:10.4 is bound to vfio-pci and has no interface: mtu 1500 is not set, that is for the program that "
					     "drives it");
}

static void an_administrative_mac_of_zeros_is_none(void **state)
{
	struct rail_want want = nothing();

	rail.found->admin_mac = "00:00:00:00:00:00";
	vf_plan(&want, at, &rail);
	assert_null(rail.mac);
}

static void without_a_port_here_it_cannot_be_had(void **state)
{
	static const char *const drivers[] = { "vfio-pci", "mlx5_core" };

	rail.pf_pci = "0000:01:00.0";
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		rail.driver = drivers[i];
		assert_int_equal(find(NULL), -ENODEV);
		assert_string_equal(e.msg, "VF 0000:01:10.4: its port 0000:01:00.0 has no network interface in this namespace to set the VF up by");
	}
}

static void what_is_no_vf_has_no_port_to_set_it_up_by(void **state)
{
	struct rail_want want = nothing();

	rail.vf = "";
	rail.driver = NULL;
	rail.found->netdev = "veth0";
	want.vlan = 100;
	vf_plan(&want, at, &rail);
	assert_false(rail.set->vlan);
	assert_int_equal(at->n_warnings, 1);
	assert_string_equal(at->warnings[0], "net1: veth0 is no VF: vlan, rates and link state are not set");
}

static void a_netdev_that_was_made_anew_is_found_by_its_function(void **state)
{
	_cleanup_strbuf_ struct strbuf links = STRBUF_INIT; /* net1, then all */
	struct rtnl_link link;
	struct replay replay;
	struct nl *nl;

	recording(&links, "rtnl/no-such-link");
	recording(&links, "rtnl/links");
	nl = replay_open(&replay, links.s, links.len);
	rail.vf = "0000:01:10.0";
	assert_int_equal(vf_link(nl, at->arena, &rail, &link, &e), 0);
	assert_string_equal(link.parent_dev, "0000:01:10.0");
	nl_close(nl);
	nl = replay_open(&replay, links.s, links.len);
	rail.vf = "0000:02:10.0";
	assert_int_equal(vf_link(nl, at->arena, &rail, &link, &e), -ENODEV);
	assert_string_equal(e.msg, "VF 0000:02:10.0 has no network interface in this namespace");
	nl_close(nl);
}

static void put(const char *dir, const char *name, const char *text)
{
	char *path = arena_printf(at->arena, "%s/%s", dir, name), *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755), 0);
	*slash = '/';
	assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void for_its_guid_it_is_bound_again_and_its_devices_found(void **state)
{
	_cleanup_strbuf_ struct strbuf devices = STRBUF_INIT;
	_cleanup_free_ char *unbound = NULL;
	_cleanup_nl_ struct nl *rdma = NULL;
	char dir[] = "/tmp/vf-test-XXXXXX";
	struct sysroot *root;
	struct replay replay;
	unsigned index = 0;

	assert_non_null(mkdtemp(dir));
	rail.driver = "mlx5_core";
	rail.found->rdma = "mlx5_7";
	put(dir, "sys/bus/pci/drivers/mlx5_core/unbind", "");
	put(dir, "sys/bus/pci/devices/0000:01:10.4/net/ib3/ifindex", "77\n");
	put(dir, "sys/bus/pci/devices/0000:01:10.4/infiniband/rxe_p0/node_guid", "\n"); /* the recording's name */
	assert_int_equal(symlink("../../../../bus/pci/drivers/mlx5_core", arena_printf(at->arena, "%s/sys/bus/pci/devices/0000:01:10.4/driver", dir)), 0);
	assert_int_equal(sysroot_open(dir, &root, &e), 0);
	recording(&devices, "rdma/devices");
	rdma = replay_open(&replay, devices.s, devices.len);
	if (vf_rebind(root, rdma, &rail, &index, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(index, 77);
	assert_int_equal(file_read(AT_FDCWD, arena_printf(at->arena, "%s/sys/bus/pci/drivers/mlx5_core/unbind", dir), 64, &unbound, NULL), 0);
	assert_string_equal(unbound, "0000:01:10.4");
	assert_non_null(memmem(replay.last.buf, sizeof(replay.last.buf), "mlx5_7", 6)); /* the name that the journal has */
	sysroot_close(root);
	remove_tree(dir);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(its_settings_are_the_ports_and_its_mac_the_administrative_one),
		TEST(what_is_asked_for_is_set_through_the_port_and_told),
		TEST(an_administrative_mac_of_zeros_is_none),
		TEST(without_a_port_here_it_cannot_be_had),
		TEST(what_is_no_vf_has_no_port_to_set_it_up_by),
		TEST(a_netdev_that_was_made_anew_is_found_by_its_function),
		TEST(for_its_guid_it_is_bound_again_and_its_devices_found),
	};

	return cmocka_run_group_tests_name("vf", tests, NULL, NULL);
}
