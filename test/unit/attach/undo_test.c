/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VF's RDMA device on its way back. The kernel's side of it is played: a device is a folder in the tree of the pod or of the
 * host, where this file's rdma_*(), in place of linux/rdma.c, find and move it. Network namespaces are real.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/netlink.h>
#include <sys/stat.h>

#include "../linux/sandbox.h"
#include "attach/engine.h"
#include "base/file.h"
#include "linux/netns.h"

#define VF "0000:01:10.0"
#define DEVICES "sys/bus/pci/devices/" VF

static struct fixture {
	char dir[64], netns[64];
	struct arena *a;
	int host_fd, pod_fd;
	bool taken; /* the name that the device had belongs to another one by now */
	struct store *store;
	struct attach_host host;
	struct attach_engine *en;
} f;

static const char *where(const char *tree, const char *name)
{
	return arena_printf(f.a, "%s/%s/" DEVICES "/infiniband/%s", f.dir, tree, name);
}

static bool is_at(const char *tree, const char *name)
{
	return access(where(tree, name), F_OK) == 0;
}

static const char *here(void)
{
	_cleanup_close_ int fd = netns_open_self(NULL);

	return netns_same(fd, f.host_fd) ? "host" : "pod";
}

int rdma_open(struct nl **ret, struct err *e)
{
	return nl_open(NETLINK_ROUTE, ret, e);
}

static char seen[64]; /* by the last rdma_dev() */

int rdma_dev(struct nl *nl, const char *name, struct rdma_dev *ret, struct err *e)
{
	if (!is_at(here(), name))
		return err_set(e, -ENODEV, "no device %s", name);
	snprintf(seen, sizeof(seen), "%s", name);
	*ret = (struct rdma_dev){ .index = 7 };
	return 0;
}

int rdma_move(struct nl *nl, uint32_t dev_index, int netns_fd, struct err *e)
{
	assert_int_equal(rename(where(here(), seen), where("host", seen)), 0);
	return 0;
}

int rdma_rename(struct nl *nl, uint32_t dev_index, const char *name, struct err *e)
{
	if (f.taken)
		return err_set(e, -EEXIST, "another device is %s", name);
	return rename(where(here(), seen), where(here(), name)) ? -errno : 0;
}

int rdma_del_link(struct nl *nl, uint32_t dev_index, struct err *e)
{
	return -ENODEV;
}

int rdma_add_rxe(struct nl *nl, const char *name, const char *netdev, struct err *e)
{
	return -EOPNOTSUPP;
}

int rdma_get_exclusive(struct nl *nl, bool *ret, struct err *e)
{
	*ret = true;
	return 0;
}

int __wrap_sysroot_open_here(struct sysroot **ret, struct err *e);

int __wrap_sysroot_open_here(struct sysroot **ret, struct err *e)
{
	return sysroot_open(arena_printf(f.a, "%s/%s", f.dir, here()), ret, e);
}

static void make_vf(const char *tree)
{
	const char *driver = arena_printf(f.a, "%s/%s/sys/drivers/mlx5_core", f.dir, tree);

	assert_int_equal(file_mkdirs(where(tree, ""), 0755), 0);
	assert_int_equal(file_mkdirs(arena_printf(f.a, "%s/%s/" DEVICES "/net/lo", f.dir, tree), 0755), 0);
	assert_int_equal(file_mkdirs(driver, 0755), 0);
	assert_int_equal(symlink(driver, arena_printf(f.a, "%s/%s/" DEVICES "/driver", f.dir, tree)), 0);
}

static int setup(void **state)
{
	f = (struct fixture){ .dir = "/tmp/kvrail-undo-XXXXXX", .a = arena_new(), .host_fd = netns_open_self(NULL), .pod_fd = netns_new(NULL) };
	if (!mkdtemp(f.dir) || f.host_fd < 0 || f.pod_fd < 0)
		return -1;
	snprintf(f.netns, sizeof(f.netns), "/proc/self/fd/%d", f.pod_fd);
	make_vf("host");
	make_vf("pod");
	f.host.state_dir = arena_printf(f.a, "%s/state", f.dir);
	if (file_mkdirs(f.host.state_dir, 0700) < 0 || store_open_local(arena_printf(f.a, "%s/store.db", f.dir), &f.store, NULL) < 0 ||
	    sysroot_open(arena_printf(f.a, "%s/host", f.dir), (struct sysroot **)&f.host.root, NULL) < 0)
		return -1;
	f.host.ipam = ipam_local(f.store);
	return attach_engine_new(&f.host, &f.en, NULL);
}

static int teardown(void **state)
{
	attach_engine_free(f.en);
	ipam_close((struct ipam *)f.host.ipam);
	store_close(f.store);
	sysroot_close((struct sysroot *)f.host.root);
	(void)!system(arena_printf(f.a, "rm -rf '%s'", f.dir));
	if (f.pod_fd >= 0)
		close(f.pod_fd);
	close(f.host_fd);
	arena_free(f.a);
	return 0;
}

/* An attachment whose VF had the RDMA device mlx5_4, which @tree has as @name now; its netdev is back already. */
static void attach(const char *tree, const char *name)
{
	struct attachment *at = attachment_new();
	struct attachment_rail *rec = arena_alloc(at->arena, sizeof(*rec));

	*rec = (struct attachment_rail){ .network = "llm/rail", .ifname = "net1", .resource = "rail", .vf = VF, .driver = "mlx5_core", .rdma = "mlx5_4" };
	rec->found = arena_alloc(at->arena, sizeof(*rec->found));
	rec->found->netdev = "lo";
	rec->found->rdma = "mlx5_4";
	rec->set = arena_alloc(at->arena, sizeof(*rec->set));
	rec->set->rdma = true;
	at->container = "c1";
	at->ifname = "net1";
	at->netns = f.netns;
	at->state = ATTACHMENT_DELETING;
	at->rails = rec;
	at->n_rails = 1;
	assert_int_equal(engine_commit(f.en, at, NULL, NULL), 0);
	attachment_free(at);
	assert_int_equal(mkdir(where(tree, name), 0755), 0);
}

static int undo(struct err *e)
{
	return attachment_undo(f.en, engine_find(f.en, "c1", "net1"), NULL, e);
}

static void device_that_the_pod_renamed_comes_back_under_its_own_name(void **state)
{
	struct err e;

	attach("pod", "x");
	assert_int_equal(undo(&e), 0);
	assert_true(is_at("host", "mlx5_4"));
	assert_null(engine_find(f.en, "c1", "net1"));
}

static void name_that_is_taken_on_the_host_is_not_waited_for(void **state)
{
	struct err e;

	f.taken = true;
	attach("pod", "mlx5_5");
	assert_int_equal(undo(&e), 0);
	assert_true(is_at("host", "mlx5_5"));
}

static void attachment_is_kept_until_a_hidden_device_is_back(void **state)
{
	struct err e;

	attach("pod", "x");
	assert_int_equal(rmdir(where("pod", "x")), 0);
	assert_int_equal(undo(&e), -EAGAIN);
	assert_non_null(strstr(e.msg, "RDMA device of VF " VF));
	assert_non_null(engine_find(f.en, "c1", "net1"));
	/* its namespace died with the pod */
	assert_int_equal(mkdir(where("host", "x"), 0755), 0);
	close(f.pod_fd);
	f.pod_fd = -1;
	assert_int_equal(undo(&e), 0);
	assert_true(is_at("host", "mlx5_4"));
	assert_null(engine_find(f.en, "c1", "net1"));
}

static void vf_that_is_gone_took_its_device_along(void **state)
{
	struct err e;

	attach("pod", "mlx5_4");
	assert_int_equal(rmdir(where("pod", "mlx5_4")), 0);
	assert_int_equal(system(arena_printf(f.a, "rm -r '%s/host/" DEVICES "'", f.dir)), 0);
	assert_int_equal(undo(&e), 0);
	assert_null(engine_find(f.en, "c1", "net1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(device_that_the_pod_renamed_comes_back_under_its_own_name, setup, teardown),
		cmocka_unit_test_setup_teardown(name_that_is_taken_on_the_host_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(attachment_is_kept_until_a_hidden_device_is_back, setup, teardown),
		cmocka_unit_test_setup_teardown(vf_that_is_gone_took_its_device_along, setup, teardown),
	};

	sandbox_enter(CLONE_NEWNET);
	return cmocka_run_group_tests_name("undo", tests, NULL, NULL);
}
