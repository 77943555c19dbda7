/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "codec/doc.h"
#include "fabric/cdi.h"

static void a_specification_names_devices_nodes_environment_and_the_hook(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	static const char *const args[] = { "memlock", NULL };
	const struct chardev nodes[] = { { "/dev/infiniband/uverbs3", 231, 195 }, { "/dev/infiniband/rdma_cm", 10, 121 } };
	const char *env[] = { "UCX_NET_DEVICES=mlx5_3:1", "X=a b" };
	const struct cdi_device devices[] = { { "0000:5c:00.2", nodes, 2, env, 2 }, { "0000:5c:00.3", nodes, 1, NULL, 0 },
					      { "0000:5c:00.4", NULL, 0, NULL, 0 } };
	const struct cdi_spec spec = { devices, 3, "/opt/cni/bin/kvrail-hook", args };
	char *text = cdi_render(a, &spec);
	yyjson_val *root;

	assert_int_equal(doc_parse_json(a, "cdi", text, strlen(text), 1 << 20, &root, NULL), 0);
	assert_string_equal(doc_to_json(a, root, false),
			    "{\"cdiVersion\":\"0.5.0\",\"kind\":\"kvrail.io/vf\",\"devices\":["
			    "{\"name\":\"0000:5c:00.2\",\"containerEdits\":{\"deviceNodes\":["
			    "{\"path\":\"/dev/infiniband/uverbs3\",\"type\":\"c\",\"major\":231,\"minor\":195,\"permissions\":\"rw\"},"
			    "{\"path\":\"/dev/infiniband/rdma_cm\",\"type\":\"c\",\"major\":10,\"minor\":121,\"permissions\":\"rw\"}],"
			    "\"env\":[\"UCX_NET_DEVICES=mlx5_3:1\",\"X=a b\"]}},"
			    "{\"name\":\"0000:5c:00.3\",\"containerEdits\":{\"deviceNodes\":["
			    "{\"path\":\"/dev/infiniband/uverbs3\",\"type\":\"c\",\"major\":231,\"minor\":195,\"permissions\":\"rw\"}]}},"
			    /* the CDI library refuses a device without edits */
			    "{\"name\":\"0000:5c:00.4\",\"containerEdits\":{\"env\":[\"KVRAIL_DEVICE=0000:5c:00.4\"]}}],"
			    "\"containerEdits\":{\"hooks\":[{\"hookName\":\"createRuntime\",\"path\":\"/opt/cni/bin/kvrail-hook\","
			    "\"args\":[\"kvrail-hook\",\"memlock\"]}]}}");
	assert_null(strstr(cdi_render(a, &(struct cdi_spec){ devices, 1, NULL, NULL }), "hooks"));
}

static bool names(const char *text, const char *device)
{
	return cdi_names(text, strlen(text), &device, 1);
}

static void only_our_own_specifications_are_taken_for_ours(void **state)
{
	assert_true(names("{\"kind\":\"kvrail.io/vf\",\"devices\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", "b"));
	assert_false(names("{\"kind\":\"kvrail.io/vf\",\"devices\":[{\"name\":\"a\"}]}", "b"));
	assert_false(names("{\"kind\":\"vendor.com/vf\",\"devices\":[{\"name\":\"b\"}]}", "b"));
	assert_false(names("{\"kind\":\"kvrail.io/vf\",\"devices\":{\"name\":\"b\"}}", "b"));
	assert_false(names("{\"devices\":[{\"name\":\"b\"}]}", "b"));
	assert_false(names("{cut sh", "b"));
	assert_false(names("", "b"));
}

static void put(struct arena *a, const char *dir, const char *path, const char *text)
{
	char *full = arena_printf(a, "%s/sys/class/%s", dir, path);

	assert_int_equal(file_mkdirs(arena_strndup(a, full, (size_t)(strrchr(full, '/') - full)), 0755), 0);
	assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static void an_rdma_devices_own_nodes_are_found_by_its_name(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char dir[] = "/tmp/kvrail-chardev-XXXXXX";
	struct sysroot *root;
	struct chardev *nodes;
	size_t n;

	assert_non_null(mkdtemp(dir));
	put(a, dir, "infiniband_verbs/uverbs0/ibdev", "mlx5_0\n");
	put(a, dir, "infiniband_verbs/uverbs0/dev", "231:192\n");
	put(a, dir, "infiniband_verbs/uverbs11/ibdev", "rxe_net1_ab12\n");
	put(a, dir, "infiniband_verbs/uverbs11/dev", "231:203\n");
	put(a, dir, "infiniband_verbs/abi_version", "6\n");
	put(a, dir, "infiniband_mad/umad0/ibdev", "mlx5_0\n");
	put(a, dir, "infiniband_mad/umad0/dev", "231:0\n");
	put(a, dir, "infiniband_mad/issm0/ibdev", "mlx5_0\n");
	put(a, dir, "infiniband_mad/issm0/dev", "231:64\n");
	put(a, dir, "misc/rdma_cm/dev", "10:121\n");
	put(a, dir, "infiniband_verbs/uverbs12/ibdev", "broken\n");
	put(a, dir, "infiniband_verbs/uverbs12/dev", "231\n");
	assert_int_equal(sysroot_open(dir, &root, NULL), 0);
	chardev_list(root, a, "mlx5_0", &nodes, &n);
	assert_int_equal(n, 4);
	assert_string_equal(nodes[0].path, "/dev/infiniband/uverbs0");
	assert_int_equal(nodes[0].major, 231);
	assert_int_equal(nodes[0].minor, 192);
	assert_string_equal(nodes[1].path, "/dev/infiniband/issm0");
	assert_string_equal(nodes[2].path, "/dev/infiniband/umad0");
	assert_string_equal(nodes[3].path, "/dev/infiniband/rdma_cm");
	chardev_list(root, a, "rxe_net1_ab12", &nodes, &n);
	assert_int_equal(n, 2);
	assert_string_equal(nodes[0].path, "/dev/infiniband/uverbs11");
	chardev_list(root, a, "broken", &nodes, &n);
	assert_int_equal(n, 0);
	chardev_list(root, a, "mlx5_1", &nodes, &n);
	assert_int_equal(n, 0);
	sysroot_close(root);
	assert_int_equal(system(arena_printf(a, "rm -r %s", dir)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_specification_names_devices_nodes_environment_and_the_hook),
		cmocka_unit_test(only_our_own_specifications_are_taken_for_ours),
		cmocka_unit_test(an_rdma_devices_own_nodes_are_found_by_its_name),
	};

	return cmocka_run_group_tests_name("cdi", tests, NULL, NULL);
}
