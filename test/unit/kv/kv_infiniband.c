/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rail over InfiniBand whose interface (IPoIB) has an address: the port's GIDs come from GUIDs alone. Ports of RoCE beside it, in shared RDMA mode: each
 * pod sees all of them, and every pod's first interface is net1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "kv/check.h"
#include "kv/verbs.h"
#include "../remove-tree.h"

#define PORT "sys/class/infiniband/mlx5_2/ports/1/"

struct tree {
	char dir[32];
	struct arena *arena;
	struct sysroot *root;
};

static void put(struct tree *t, const char *name, const char *text)
{
	char *path = arena_printf(t->arena, "%s/%s", t->dir, name), *slash = strrchr(path, '/');
	FILE *f;

	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755), 0);
	*slash = '/';
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	strcpy(t->dir, "/tmp/infiniband-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	t->arena = arena_new();
	put(t, PORT "link_layer", "InfiniBand");
	put(t, PORT "state", "4: ACTIVE");
	put(t, PORT "gids/0", "fe80:0000:0000:0000:5aa2:e103:00da:e626");
	put(t, PORT "gid_attrs/types/0", "IB/RoCE v1");
	put(t, "sys/class/net/net1/mtu", "2044");
	assert_int_equal(sysroot_open(t->dir, &t->root, NULL), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;

	sysroot_close(t->root);
	remove_tree(t->dir);
	arena_free(t->arena);
	free(t);
	return 0;
}

static void rail_with_an_address_takes_the_ports_own_gid(void **state)
{
	struct tree *t = *state;
	struct kv_verbs_rail rail = { .port = 0 };
	struct err e;

	if (kv_verbs_rail_find(t->root, t->arena, "mlx5_2:1@10.0.132.5", -1, &rail, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(rail.device, "mlx5_2");
	assert_int_equal(rail.gid.type, GID_IB);
	assert_int_equal(rail.gid.index, 0);
}

static const struct check_line *line_of(const struct check *c, const char *name)
{
	for (size_t i = 0; i < c->n_lines; i++)
		if (!strcmp(c->lines[i].name, name))
			return &c->lines[i];
	return NULL;
}

static void check_wants_no_gid_of_the_address(void **state)
{
	struct tree *t = *state;
	struct check_rail rail = { .ifname = "net1", .rdma = "mlx5_2", .address = "10.0.132.5/24", .port = 1, .mtu = 2044,
				   .gid_then = -1, .gid_index = -1, .echo_fd = -1 };
	struct check c = { .arena = t->arena, .root = t->root, .rails = &rail, .n_rails = 1 };

	check_local(&c);
	assert_null(line_of(&c, "GID"));
	assert_int_not_equal(line_of(&c, "RDMA port")->verdict, CHECK_BAD);
	assert_string_equal(line_of(&c, "RDMA port")->expected, "ACTIVE"); /* the path MTU is the fabric's, not the interface's */
}

static void check_of_ethernet_does(void **state)
{
	struct tree *t = *state;
	struct check_rail rail = { .ifname = "net1", .rdma = "mlx5_2", .address = "10.0.132.5/24", .port = 1, .mtu = 2044,
				   .gid_then = -1, .gid_index = -1, .echo_fd = -1 };
	struct check c = { .arena = t->arena, .root = t->root, .rails = &rail, .n_rails = 1 };

	put(t, PORT "link_layer", "Ethernet");
	check_local(&c);
	assert_int_equal(line_of(&c, "GID")->verdict, CHECK_BAD);
}

static void link_to(struct tree *t, const char *name, const char *target)
{
	put(t, name, ""); /* for its folder */
	assert_int_equal(unlink(arena_printf(t->arena, "%s/%s", t->dir, name)), 0);
	assert_int_equal(symlink(target, arena_printf(t->arena, "%s/%s", t->dir, name)), 0);
}

static void roce(struct tree *t, const char *name, const char *ndev, const char *function)
{
	const char *dir = arena_printf(t->arena, "sys/class/infiniband/%s", name);

	put(t, arena_printf(t->arena, "%s/ports/1/link_layer", dir), "Ethernet");
	put(t, arena_printf(t->arena, "%s/ports/1/state", dir), "4: ACTIVE");
	put(t, arena_printf(t->arena, "%s/ports/1/gids/3", dir), "0000:0000:0000:0000:0000:ffff:0a00:8405");
	put(t, arena_printf(t->arena, "%s/ports/1/gid_attrs/types/3", dir), "RoCE v2");
	put(t, arena_printf(t->arena, "%s/ports/1/gid_attrs/ndevs/3", dir), ndev);
	link_to(t, arena_printf(t->arena, "%s/device", dir), arena_printf(t->arena, "../../../devices/pci0000:3a/%s", function));
}

static void rails_are_the_devices_whose_interface_is_here(void **state)
{
	struct check c = { .arena = NULL };
	struct kv_verbs_rail rails[8];
	struct tree *t = *state;
	struct err e;
	size_t n;

	c.arena = t->arena;
	c.root = t->root;
	put(t, PORT "state", "1: DOWN");
	roce(t, "mlx5_3", "net1", "0000:3b:00.3"); /* another pod's net1 */
	roce(t, "mlx5_5", "net9", "0000:3b:00.5");
	link_to(t, "sys/class/net/net1/device", "../../../devices/pci0000:3a/0000:3b:00.4");
	assert_int_equal(kv_verbs_rails_find(t->root, t->arena, rails, 8, &n, &e), -ENODEV);
	assert_string_equal(e.msg, "no usable RDMA device of 3; mlx5_2:1 is 1: DOWN; mlx5_3:1 is of interface net1 in another network namespace; "
				   "mlx5_5:1 is of interface net9 in another network namespace");
	assert_int_equal(check_rails_find(&c, 9000, &e), -ENODEV);
	roce(t, "mlx5_4", "net1", "0000:3b:00.4");
	assert_int_equal(kv_verbs_rails_find(t->root, t->arena, rails, 8, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(rails[0].device, "mlx5_4");
	assert_int_equal(check_rails_find(&c, 9000, &e), 0);
	assert_int_equal(c.n_rails, 1);
	assert_string_equal(c.rails[0].rdma, "mlx5_4");
	put(t, "sys/class/net/bond0/mtu", "9000"); /* of no function */
	roce(t, "mlx5_bond_0", "bond0", "0000:5b:00.0");
	assert_int_equal(kv_verbs_rails_find(t->root, t->arena, rails, 8, &n, &e), 0);
	assert_int_equal(n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rail_with_an_address_takes_the_ports_own_gid, setup, teardown),
		cmocka_unit_test_setup_teardown(check_wants_no_gid_of_the_address, setup, teardown),
		cmocka_unit_test_setup_teardown(check_of_ethernet_does, setup, teardown),
		cmocka_unit_test_setup_teardown(rails_are_the_devices_whose_interface_is_here, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
