/* SPDX-License-Identifier: Apache-2.0 */
/* GID tables as machines show them, written into a small tree and read through a sysroot. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "fabric/gid.h"
#include "../remove-tree.h"

struct tree {
	char dir[32];
	struct arena *arena;
	struct sysroot *root;
};

#define PORT "sys/class/infiniband/mlx5_2/ports/1"
#define ZERO "0000:0000:0000:0000:0000:0000:0000:0000"
#define LINK_LOCAL "fe80:0000:0000:0000:5aa2:e1ff:feda:e626"

static void put(struct tree *t, const char *text, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(struct tree *t, const char *text, const char *fmt, ...)
{
	char *path, *slash;
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	path = arena_printf(t->arena, "%s/%s", t->dir, arena_vprintf(t->arena, fmt, ap));
	va_end(ap);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755), 0);
	*slash = '/';
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

/* A used slot; @type or @ndev NULL: the file is not readable. */
static void slot(struct tree *t, unsigned i, const char *gid, const char *type, const char *ndev)
{
	put(t, gid, PORT "/gids/%u", i);
	if (type)
		put(t, type, PORT "/gid_attrs/types/%u", i);
	if (ndev)
		put(t, ndev, PORT "/gid_attrs/ndevs/%u", i);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	strcpy(t->dir, "/tmp/gid-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	t->arena = arena_new();
	put(t, "Ethernet", PORT "/link_layer");
	put(t, "4: ACTIVE", PORT "/state");
	put(t, "5: LinkUp", PORT "/phys_state");
	put(t, "100 Gb/sec (4X EDR)", PORT "/rate");
	put(t, "9000", "sys/class/net/net1/mtu");
	put(t, ZERO, PORT "/gids/250"); /* tables are long, and mostly free */
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

/* The usual ConnectX: two default entries, then v1 and v2 of the address. */
static void usual(struct tree *t)
{
	slot(t, 0, LINK_LOCAL, "IB/RoCE v1", "net1");
	slot(t, 1, LINK_LOCAL, "RoCE v2", "net1");
	slot(t, 2, "0000:0000:0000:0000:0000:ffff:0a00:8405", "IB/RoCE v1", "net1");
	slot(t, 3, "0000:0000:0000:0000:0000:ffff:0a00:8405", "RoCE v2", "net1");
}

static int find(struct tree *t, const char *address, const char *ndev, struct gid_entry *g, struct err *e)
{
	return gid_find(t->root, t->arena, "mlx5_2", 1, address, ndev, g, e);
}

static void an_ipv4_address_is_found_as_its_roce_v2_entry(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	usual(t);
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), 0);
	assert_int_equal(g.index, 3);
	assert_int_equal(g.type, GID_ROCE_V2);
	assert_string_equal(g.ndev, "net1");
	assert_string_equal(gid_format(t->arena, g.gid), "0000:0000:0000:0000:0000:ffff:0a00:8405");
	assert_int_equal(find(t, "10.0.132.5", NULL, &g, &e), 0);
	assert_int_equal(g.index, 3);
}

static void a_port_of_infiniband_is_told_by_its_link_layer(void **state)
{
	struct tree *t = *state;

	assert_false(gid_is_infiniband(t->root, t->arena, "mlx5_2", 1));
	assert_false(gid_is_infiniband(t->root, t->arena, "mlx5_2", 2)); /* there is none */
	put(t, "InfiniBand", PORT "/link_layer");
	assert_true(gid_is_infiniband(t->root, t->arena, "mlx5_2", 1));
}

static void free_slots_are_left_out_of_the_table(void **state)
{
	struct tree *t = *state;
	struct gid_entry *table;
	struct err e;
	size_t n;

	usual(t);
	put(t, ZERO, PORT "/gids/4");
	slot(t, 10, "fd00:0001:0000:0000:0000:0000:0000:0005", "RoCE v2", "net1");
	assert_int_equal(gid_table(t->root, t->arena, "mlx5_2", 1, &table, &n, &e), 0);
	assert_int_equal(n, 5);
	assert_int_equal(table[0].type, GID_ROCE_V1);
	assert_int_equal(table[4].index, 10);
}

static void an_entry_behind_many_free_slots_is_found_and_the_rest_behind_it_not_read(void **state)
{
	struct tree *t = *state;
	struct gid_port p;
	struct gid_entry g;
	struct err e;

	for (unsigned i = 0; i < 100; i++)
		put(t, ZERO, PORT "/gids/%u", i);
	slot(t, 100, "0000:0000:0000:0000:0000:ffff:0a00:8405", "RoCE v2", "net1");
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), 0);
	assert_int_equal(g.index, 100);
	assert_int_equal(gid_port(t->root, t->arena, "mlx5_2", 1, &p), 0);
	assert_string_equal(p.ndev, "net1");
	usual(t);
	put(t, "not to be read", PORT "/gids/50");
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), 0);
	assert_int_equal(g.index, 3);
}

static void *make_it(void *arg)
{
	struct tree mine = *(struct tree *)arg;

	mine.arena = arena_new();
	clock_sleep_ms(30);
	usual(&mine);
	arena_free(mine.arena);
	return NULL;
}

static void an_entry_that_the_kernel_has_yet_to_make_is_waited_for(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;
	pthread_t kernel;

	assert_int_equal(gid_wait(t->root, t->arena, "mlx5_2", 1, "10.0.132.5", "net1", 20, &g, &e), -ENOENT);
	assert_int_equal(pthread_create(&kernel, NULL, make_it, t), 0);
	assert_int_equal(gid_wait(t->root, t->arena, "mlx5_2", 1, "10.0.132.5", "net1", 60000, &g, &e), 0);
	assert_int_equal(g.index, 3);
	pthread_join(kernel, NULL);
}

static void types_that_cannot_be_read_are_none_and_never_match(void **state)
{
	struct tree *t = *state;
	struct gid_entry *table, g;
	struct err e;
	size_t n;

	slot(t, 0, "0000:0000:0000:0000:0000:ffff:0a00:8405", "RoCE v2", "net1");
	put(t, PORT "/gid_attrs/types/0 EINVAL\n" PORT "/gid_attrs/ndevs/0 EINVAL", "errors");
	sysroot_close(t->root);
	assert_int_equal(sysroot_open(t->dir, &t->root, &e), 0);
	assert_int_equal(gid_table(t->root, t->arena, "mlx5_2", 1, &table, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(table[0].type, GID_NONE);
	assert_null(table[0].ndev);
	assert_int_equal(find(t, "10.0.132.5", NULL, &g, &e), -ENOENT);
}

static void an_ffff_elsewhere_in_the_gid_is_no_ipv4(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	/* EUI-64 of a MAC whose third byte is ff, and a global address with an ffff group */
	slot(t, 0, "fe80:0000:0000:0000:5aa2:ffff:fe00:8405", "RoCE v2", "net1");
	slot(t, 1, "2001:0db8:0000:0000:0000:ffff:0a00:8405", "RoCE v2", "net1");
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), -ENOENT);
}

static void an_ipv6_address_is_found_in_any_spelling(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	usual(t);
	slot(t, 5, "fd00:0001:0000:0000:0000:0000:0000:0005", "RoCE v2", "net1");
	assert_int_equal(find(t, "fd00:1::5", "net1", &g, &e), 0);
	assert_int_equal(g.index, 5);
	assert_int_equal(find(t, "FD00:0001:0::0005", "net1", &g, &e), 0);
	assert_int_equal(find(t, "::ffff:10.0.132.5", "net1", &g, &e), 0);
	assert_int_equal(g.index, 3);
}

static void the_same_address_on_another_netdev_is_not_taken(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	usual(t);
	slot(t, 4, "0000:0000:0000:0000:0000:ffff:0a00:8407", "RoCE v2", "net1.100");
	assert_int_equal(find(t, "10.0.132.7", "net1", &g, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "belongs to net1.100, not to net1"));
	assert_int_equal(find(t, "10.0.132.7", "net1.100", &g, &e), 0);
}

static void only_link_local_entries_mean_that_the_interface_has_no_address(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	slot(t, 0, LINK_LOCAL, "RoCE v2", "net1");
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "net1 has no such address"));
	assert_non_null(strstr(e.msg, "0 " LINK_LOCAL " RoCE v2 net1"));
}

static void a_device_without_roce_v2_is_told_apart(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	slot(t, 0, LINK_LOCAL, "IB/RoCE v1", "net1");
	slot(t, 1, "0000:0000:0000:0000:0000:ffff:0a00:8405", "IB/RoCE v1", "net1");
	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "RoCE v1 entry only"));
}

static void an_empty_table_means_that_the_netdev_is_elsewhere(void **state)
{
	struct tree *t = *state;
	struct gid_entry g = { .index = 77 };
	struct err e;

	assert_int_equal(find(t, "10.0.132.5", "net1", &g, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "another namespace"));
	assert_int_equal(g.index, 77); /* untouched on failure */
}

static void infiniband_entries_are_no_roce(void **state)
{
	struct tree *t = *state;
	struct gid_entry *table, g;
	struct err e;
	size_t n;

	put(t, "InfiniBand", PORT "/link_layer");
	slot(t, 0, "fe80:0000:0000:0000:b859:9f03:00d4:1e20", "IB/RoCE v1", NULL);
	assert_int_equal(gid_table(t->root, t->arena, "mlx5_2", 1, &table, &n, &e), 0);
	assert_int_equal(table[0].type, GID_IB);
	assert_int_equal(find(t, "10.0.132.5", NULL, &g, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "InfiniBand"));
}

static void an_absent_device_is_told_with_those_that_are_there(void **state)
{
	struct tree *t = *state;
	struct gid_port p;
	struct gid_entry g;
	struct err e;

	assert_int_equal(gid_find(t->root, t->arena, "mlx5_9", 1, "10.0.132.5", NULL, &g, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "mlx5_9"));
	assert_non_null(strstr(e.msg, "mlx5_2"));
	assert_int_equal(gid_find(t->root, t->arena, "mlx5_2", 2, "10.0.132.5", NULL, &g, &e), -ENODEV);
	assert_int_equal(gid_port(t->root, t->arena, "mlx5_9", 1, &p), -ENODEV);
}

static void text_that_is_no_address_is_refused(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	usual(t);
	assert_int_equal(find(t, "10.0.132.5/24", "net1", &g, &e), -EINVAL);
	assert_int_equal(find(t, "", "net1", &g, &e), -EINVAL);
}

static void a_gid_that_is_no_gid_is_an_error_and_not_skipped(void **state)
{
	struct tree *t = *state;
	struct gid_entry g;
	struct err e;

	usual(t);
	put(t, "rubbish", PORT "/gids/7");
	assert_int_equal(find(t, "10.0.132.6", "net1", &g, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "GID 7 of mlx5_2"));
}

static void port_state_and_path_mtu_follow_the_netdev(void **state)
{
	struct tree *t = *state;
	struct gid_port p;

	assert_int_equal(gid_port(t->root, t->arena, "mlx5_2", 1, &p), 0);
	assert_int_equal(p.active_mtu, 0); /* no GID: nobody knows the netdev */
	usual(t);
	assert_int_equal(gid_port(t->root, t->arena, "mlx5_2", 1, &p), 0);
	assert_string_equal(p.state, "4: ACTIVE");
	assert_string_equal(p.phys_state, "5: LinkUp");
	assert_string_equal(p.link_layer, "Ethernet");
	assert_string_equal(p.rate, "100 Gb/sec (4X EDR)");
	assert_string_equal(p.ndev, "net1");
	assert_int_equal(p.active_mtu, 4096);
}

static void path_mtu_is_the_largest_that_fits_with_its_headers(void **state)
{
	assert_int_equal(gid_roce_mtu(9000), 4096);
	assert_int_equal(gid_roce_mtu(4200), 4096);
	assert_int_equal(gid_roce_mtu(4191), 2048);
	assert_int_equal(gid_roce_mtu(1500), 1024);
	assert_int_equal(gid_roce_mtu(68), 0);
	assert_int_equal(gid_roce_mtu(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_ipv4_address_is_found_as_its_roce_v2_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_of_infiniband_is_told_by_its_link_layer, setup, teardown),
		cmocka_unit_test_setup_teardown(free_slots_are_left_out_of_the_table, setup, teardown),
		cmocka_unit_test_setup_teardown(an_entry_behind_many_free_slots_is_found_and_the_rest_behind_it_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(an_entry_that_the_kernel_has_yet_to_make_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(types_that_cannot_be_read_are_none_and_never_match, setup, teardown),
		cmocka_unit_test_setup_teardown(an_ffff_elsewhere_in_the_gid_is_no_ipv4, setup, teardown),
		cmocka_unit_test_setup_teardown(an_ipv6_address_is_found_in_any_spelling, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_address_on_another_netdev_is_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(only_link_local_entries_mean_that_the_interface_has_no_address, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_without_roce_v2_is_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_table_means_that_the_netdev_is_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(infiniband_entries_are_no_roce, setup, teardown),
		cmocka_unit_test_setup_teardown(an_absent_device_is_told_with_those_that_are_there, setup, teardown),
		cmocka_unit_test_setup_teardown(text_that_is_no_address_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_gid_that_is_no_gid_is_an_error_and_not_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(port_state_and_path_mtu_follow_the_netdev, setup, teardown),
		cmocka_unit_test(path_mtu_is_the_largest_that_fits_with_its_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
