/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "attach/inject.h"
#include "base/file.h"
#include "codec/doc.h"

static char dir[] = "/tmp/kvrail-inject-XXXXXX";
static struct sysroot *root;

static void put(const char *path, const char *text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *full = arena_printf(a, "%s/sys/class/%s", dir, path);

	assert_int_equal(file_mkdirs(arena_strndup(a, full, (size_t)(strrchr(full, '/') - full)), 0755), 0);
	assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static int make(void **state)
{
	assert_non_null(mkdtemp(dir));
	put("infiniband_verbs/uverbs3/ibdev", "mlx5_3\n");
	put("infiniband_verbs/uverbs3/dev", "231:195\n");
	put("infiniband_verbs/uverbs4/ibdev", "mlx5_4\n");
	put("infiniband_verbs/uverbs4/dev", "231:196\n");
	put("misc/rdma_cm/dev", "10:59\n");
	return sysroot_open(dir, &root, NULL);
}

static int unmake(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();

	root = sysroot_close(root);
	return system(arena_printf(a, "rm -r %s", dir));
}

/* Two rails, each with an RDMA device, in containers of their own; of the second's policy isRdma is @rdma. With @driver the second is bound to that. */
static yyjson_val *spec_of(struct arena *a, bool rdma, const char *driver)
{
	const char *addresses[] = { "10.0.132.1/24" };
	struct attachment_found found = { 0 };
	struct attachment_gid gid = { .index = 5 };
	struct attachment_rail rails[] = {
		{ .ifname = "net1", .vf = "0000:5c:00.2", .rdma = "mlx5_3", .gid = &gid, .addresses = addresses, .n_addresses = 1, .found = &found },
		{ .ifname = "net2", .vf = "0000:5c:00.3", .rdma = "mlx5_4", .gid = &gid, .addresses = addresses, .n_addresses = 1, .found = &found },
	};
	const struct attachment at = { .rails = rails, .n_rails = 2 };
	const struct attach_device devices[] = { { "one", "openshift.io/p2rdma", "0000:5c:00.2", true }, { "two", "openshift.io/p2net", "0000:5c:00.3", rdma } };
	const struct inject in = { .at = &at, .devices = devices, .n_devices = 2, .hook = "/opt/cni/bin/kvrail-hook", .root = root };
	yyjson_val *v;
	char *text;

	if (driver) {
		rails[1].driver = driver;
		rails[1].rdma = NULL;
		rails[1].gid = NULL;
	}
	assert_int_equal(inject_cdi_text(a, &in, &text, NULL), 0);
	assert_int_equal(doc_parse_json(a, "spec", text, strlen(text), DOC_SIZE_MAX, &v, NULL), 0);
	return yyjson_obj_get(v, "devices");
}

static yyjson_val *edits(yyjson_val *devices, size_t i)
{
	return yyjson_obj_get(yyjson_arr_get(devices, i), "containerEdits");
}

static bool tells(yyjson_val *devices, size_t i, const char *text)
{
	yyjson_arr_iter it;
	yyjson_val *v;

	yyjson_arr_iter_init(yyjson_obj_get(edits(devices, i), "env"), &it);
	while ((v = yyjson_arr_iter_next(&it)))
		if (strstr(yyjson_get_str(v), text))
			return true;
	return false;
}

static void each_vf_comes_with_the_nodes_of_its_own_rdma_device(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *devices = spec_of(a, true, NULL);

	for (size_t i = 0; i < 2; i++) {
		yyjson_val *nodes = yyjson_obj_get(edits(devices, i), "deviceNodes");

		assert_int_equal(yyjson_arr_size(nodes), 2);
		assert_string_equal(doc_str(yyjson_arr_get(nodes, 0), "path"), i ? "/dev/infiniband/uverbs4" : "/dev/infiniband/uverbs3");
		assert_string_equal(doc_str(yyjson_arr_get(nodes, 1), "path"), "/dev/infiniband/rdma_cm");
	}
	assert_true(tells(devices, 1, "UCX_NET_DEVICES=mlx5_4:1"));
}

static void without_is_rdma_a_vf_is_its_network_only(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *devices = spec_of(a, false, NULL);

	assert_int_equal(yyjson_arr_size(yyjson_obj_get(edits(devices, 0), "deviceNodes")), 2);
	assert_null(yyjson_obj_get(edits(devices, 1), "deviceNodes"));
	assert_true(tells(devices, 1, "UCX_NET_DEVICES=net2"));
	assert_false(tells(devices, 1, "mlx5_4"));
}

static void libraries_are_told_nothing_of_a_vf_that_user_space_drives(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *devices = spec_of(a, false, "vfio-pci");

	assert_true(tells(devices, 0, "UCX_NET_DEVICES=mlx5_3:1"));
	assert_false(tells(devices, 1, "UCX"));
	assert_null(yyjson_obj_get(edits(devices, 1), "deviceNodes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_vf_comes_with_the_nodes_of_its_own_rdma_device),
		cmocka_unit_test(without_is_rdma_a_vf_is_its_network_only),
		cmocka_unit_test(libraries_are_told_nothing_of_a_vf_that_user_space_drives),
	};

	return cmocka_run_group_tests_name("inject", tests, make, unmake);
}
