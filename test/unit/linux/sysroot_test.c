/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/pci.h"
#include "linux/sysroot.h"

#define PF "sys/devices/pci0000:15/0000:15:01.0/0000:18:00.0"

static char dir[] = "/tmp/kvrail-sysroot-XXXXXX";
static struct sysroot *root;
static struct arena *arena;

static void put(const char *path, const void *data, size_t len)
{
	char full[PATH_MAX], parent[PATH_MAX];
	_cleanup_close_ int fd = -1;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(full, '/') - full), full);
	assert_int_equal(file_mkdirs(parent, 0755), 0);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
}

static void puts_to(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static void link_to(const char *path, const char *target)
{
	char full[PATH_MAX], parent[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(full, '/') - full), full);
	assert_int_equal(file_mkdirs(parent, 0755), 0);
	assert_int_equal(symlink(target, full), 0);
}

static int make_tree(void **state)
{
	static char page[80 * 1024];
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	arena = arena_new();
	puts_to(PF "/vendor", "0x15b3\n");
	puts_to(PF "/numa_node", "-1\n");
	puts_to(PF "/sriov_vf_device", "101e\n");
	puts_to(PF "/sriov_numvfs", "16\n");
	puts_to(PF "/net/p2/speed", "400000\n");
	puts_to(PF "/net/p2/duplex", "full\n");
	put(PF "/vpd", "\x82\0\0PN", 5);
	memset(page, 'x', sizeof(page));
	put(PF "/huge", page, sizeof(page));
	put(PF "/page", page, 4096);
	link_to(PF "/driver", "../../../../bus/pci/drivers/mlx5_core");
	puts_to("sys/bus/pci/drivers/mlx5_core/bind", "");
	link_to("sys/bus/pci/devices/0000:18:00.0", "../../../devices/pci0000:15/0000:15:01.0/0000:18:00.0");
	link_to("sys/class/net/p2", "../../devices/pci0000:15/0000:15:01.0/0000:18:00.0/net/p2");
	link_to("sys/class/out", "../../proc");
	for (int i = 0; i < 12; i++) {
		char path[64];

		snprintf(path, sizeof(path), "sys/list/virtfn%d", i);
		puts_to(path, "");
	}
	puts_to("sys/bus/pci/devices/0000:18:00.1/class", "0x020000\n");
	puts_to("proc/cmdline", "quiet pci=realloc\n");
	puts_to("errors", "# as the machine says when the port is down\n"
			  "sys/class/net/p2/speed EINVAL\n\nsys/gone/attr\tEOPNOTSUPP\n");
	if (sysroot_open(dir, &root, &e) < 0)
		fail_msg("%s", e.msg);
	return 0;
}

static int drop_tree(void **state)
{
	char cmd[PATH_MAX];

	root = sysroot_close(root);
	arena = arena_free(arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void text_loses_its_newline(void **state)
{
	const char *s;

	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/%s/vendor", "0000:18:00.0"), 0);
	assert_string_equal(s, "0x15b3");
	assert_int_equal(procfs_read(root, arena, &s, "cmdline"), 0);
	assert_string_equal(s, "quiet pci=realloc");
}

static void numbers_are_read_whole(void **state)
{
	uint64_t u = 7;
	int64_t i;

	assert_int_equal(sysfs_read_u64(root, 16, &u, "class/net/p2/../../vendor"), 0);
	assert_int_equal(u, 0x15b3);
	assert_int_equal(sysfs_read_u64(root, 16, &u, "bus/pci/devices/0000:18:00.0/sriov_vf_device"), 0);
	assert_int_equal(u, 0x101e);
	assert_int_equal(sysfs_read_i64(root, &i, "bus/pci/devices/0000:18:00.0/numa_node"), 0);
	assert_int_equal(i, -1);
	assert_int_equal(sysfs_read_u64(root, 10, &u, "class/net/p2/duplex"), -EINVAL);
	assert_int_equal(u, 0x101e);
}

static void recorded_errors_hold_by_every_path_to_the_file(void **state)
{
	const char *s = NULL;
	uint64_t u;

	assert_int_equal(sysfs_read(root, arena, &s, "class/net/p2/speed"), -EINVAL);
	assert_int_equal(sysfs_read_u64(root, 10, &u, "class/net/p2/speed"), -EINVAL);
	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/0000:18:00.0/net/p2/speed"), -EINVAL);
	assert_int_equal(sysfs_read(root, arena, &s, "gone/attr"), -EOPNOTSUPP);
	assert_null(s);
	assert_int_equal(sysfs_read(root, arena, &s, "class/net/p2/duplex"), 0);
	assert_true(sysfs_exists(root, "class/net/p2/speed"));
	assert_false(sysfs_exists(root, "gone/attr"));
}

static void a_bad_list_of_errors_is_told_with_its_line(void **state)
{
	struct sysroot *other = NULL;
	struct err e = { 0 };

	puts_to("bad/sys/x", "");
	puts_to("bad/errors", "\nsys/x EWHAT\n");
	{
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/bad", dir);
		assert_int_equal(sysroot_open(path, &other, &e), -EINVAL);
	}
	assert_null(other);
	assert_non_null(strstr(e.msg, "errors:2"));
	assert_non_null(strstr(e.msg, "EWHAT"));
}

static void errors_in_any_order_are_found(void **state)
{
	struct sysroot *other = NULL;
	struct err e = { 0 };
	char path[PATH_MAX];
	const char *s;

	puts_to("unsorted/sys/devices/a/x", "1\n");
	puts_to("unsorted/sys/devices/b/y", "1\n");
	puts_to("unsorted/sys/devices/c/x", "1\n");
	puts_to("unsorted/errors", "sys/devices/c/x EIO\nsys/devices/a/x EPERM\nsys/devices/b/y EINVAL\n");
	snprintf(path, sizeof(path), "%s/unsorted", dir);
	if (sysroot_open(path, &other, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(sysfs_read(other, arena, &s, "devices/a/x"), -EPERM);
	assert_int_equal(sysfs_read(other, arena, &s, "devices/b/y"), -EINVAL);
	assert_int_equal(sysfs_read(other, arena, &s, "devices/c/x"), -EIO);
	sysroot_close(other);
}

static void a_folder_is_a_root_of_its_own(void **state)
{
	struct sysroot *folder = NULL, *out = NULL;
	const char *s, **names;
	size_t n;

	assert_int_equal(sysroot_open_folder(root, arena, &folder, "bus/pci/devices/%s", "0000:18:00.0"), 0);
	assert_int_equal(sysfs_read(folder, arena, &s, "vendor"), 0);
	assert_string_equal(s, "0x15b3");
	assert_int_equal(sysfs_list(folder, arena, &names, &n, "net"), 0);
	assert_int_equal(n, 1);
	/* a link that leads out is read and not followed */
	assert_int_equal(sysfs_link(folder, arena, &s, "driver"), 0);
	assert_string_equal(s, "mlx5_core");
	assert_int_equal(sysfs_read(folder, arena, &s, "driver/bind"), -EXDEV);
	assert_int_equal(sysfs_read(folder, arena, &s, "../0000:18:00.0/vendor"), -EXDEV);
	assert_int_equal(sysfs_link(folder, arena, &s, "vendor"), -EINVAL);
	assert_int_equal(sysfs_link(folder, arena, &s, "physfn"), -ENOENT);
	/* recorded errors are the tree's, by whichever way */
	assert_int_equal(sysfs_read(folder, arena, &s, "net/p2/speed"), -EINVAL);
	assert_int_equal(sysfs_read(folder, arena, &s, "net/p2/duplex"), 0);
	sysroot_close(folder);
	assert_int_equal(sysroot_open_folder(root, arena, &out, "class/out"), -EXDEV);
	assert_int_equal(sysroot_open_folder(root, arena, &out, "list/virtfn0"), -ENOTDIR);
	assert_int_equal(sysroot_open_folder(root, arena, &out, "nothing"), -ENOENT);
	assert_null(out);
}

static void a_long_folder_is_listed_whole(void **state)
{
	const char **names;
	char path[64];
	size_t n;

	for (int i = 0; i < 600; i++) {
		snprintf(path, sizeof(path), "sys/long/a-name-of-some-length-%d", i);
		puts_to(path, "");
	}
	assert_int_equal(sysfs_list(root, arena, &names, &n, "long"), 0);
	assert_int_equal(n, 600);
	assert_string_equal(names[599], "a-name-of-some-length-599");
}

static void nothing_outside_of_sys_is_read(void **state)
{
	const char *s = NULL;

	assert_int_equal(sysfs_read(root, arena, &s, "../proc/cmdline"), -EXDEV);
	assert_int_equal(sysfs_read(root, arena, &s, "class/out/cmdline"), -EXDEV);
	assert_int_equal(sysfs_read(root, arena, &s, "/etc/hostname"), -EXDEV);
	assert_null(s);
}

static void long_and_binary_files_are_refused(void **state)
{
	const char *s = NULL;

	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/0000:18:00.0/huge"), -EFBIG);
	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/0000:18:00.0/vpd"), -EBADMSG);
	assert_null(s);
	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/0000:18:00.0/page"), 0);
	assert_int_equal(strlen(s), 4096);
}

static void links_give_name_and_place(void **state)
{
	const char *s;

	assert_int_equal(sysfs_link(root, arena, &s, "bus/pci/devices/0000:18:00.0/driver"), 0);
	assert_string_equal(s, "mlx5_core");
	assert_int_equal(sysfs_link(root, arena, &s, "bus/pci/devices/0000:18:00.0/vendor"), -EINVAL);
	assert_int_equal(sysfs_link(root, arena, &s, "bus/pci/devices/0000:18:00.0/physfn"), -ENOENT);
	assert_int_equal(sysfs_realpath(root, arena, &s, "class/net/p2"), 0);
	assert_string_equal(s, "devices/pci0000:15/0000:15:01.0/0000:18:00.0/net/p2");
}

static void names_are_listed_in_the_order_of_their_numbers(void **state)
{
	const char **names;
	size_t n;

	assert_int_equal(sysfs_list(root, arena, &names, &n, "list"), 0);
	assert_int_equal(n, 12);
	assert_string_equal(names[2], "virtfn2");
	assert_string_equal(names[10], "virtfn10");
	assert_int_equal(sysfs_list(root, arena, &names, &n, "nothing"), -ENOENT);
	assert_int_equal(sysfs_list(root, arena, &names, &n, "class/net/p2/duplex"), -ENOTDIR);
}

static void a_write_replaces_what_the_tree_held(void **state)
{
	struct err e = { 0 };
	const char *s;

	assert_int_equal(sysfs_write(root, "8", &e, "bus/pci/devices/%s/sriov_numvfs", "0000:18:00.0"), 0);
	assert_int_equal(sysfs_read(root, arena, &s, "bus/pci/devices/0000:18:00.0/sriov_numvfs"), 0);
	assert_string_equal(s, "8");
}

static void a_failed_write_names_path_value_and_meaning(void **state)
{
	struct err e = { 0 };

	assert_int_equal(sysfs_write(root, "8", &e, "bus/pci/devices/%s/sriov_numvfs", "0000:18:00.1"), -ENOENT);
	assert_string_equal(e.msg, "cannot write \"8\" to sys/bus/pci/devices/0000:18:00.1/sriov_numvfs: No such file or directory "
				   "(the device offers no SR-IOV: switch it on in its firmware and in the BIOS)");
}

static void the_running_machine_is_read(void **state)
{
	struct sysroot *live;
	struct err e = { 0 };
	const char *s;
	uint64_t u;

	if (sysroot_open(NULL, &live, &e) < 0)
		fail_msg("%s", e.msg);
	assert_true(sysroot_is_live(live));
	assert_false(sysroot_is_live(root));
	assert_int_equal(sysfs_read_u64(live, 10, &u, "class/net/lo/ifindex"), 0);
	assert_int_equal(u, 1);
	assert_int_equal(sysfs_realpath(live, arena, &s, "class/net/lo"), 0);
	assert_string_equal(s, "devices/virtual/net/lo");
	assert_int_equal(procfs_read(live, arena, &s, "sys/kernel/ostype"), 0);
	assert_string_equal(s, "Linux");
	sysroot_close(live);
}

static void pci_addresses_are_parsed_whole(void **state)
{
	static const char *const bad[] = { "", "18:00.0", "0000:18:00", "0000:18:00.8", "0000:18:20.0", "0000:18:00.0 ", "000:18:00.0",
					   "0000:18:00.0/..", "123456789:18:00.0", "0000:1g:00.0", "0000-18:00.0", "0000:18:0.0" };
	struct pci_addr p = { 1, 2, 3, 4 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pci_parse(bad[i], &p), -EINVAL);
	assert_int_equal(p.domain, 1);
	assert_int_equal(pci_parse("0010:C1:1f.7", &p), 0);
	assert_true(p.domain == 0x10 && p.bus == 0xc1 && p.device == 0x1f && p.function == 7);
	assert_int_equal(pci_parse("10000:e1:00.0", &p), 0);
	assert_true(p.domain == 0x10000 && p.bus == 0xe1 && p.device == 0 && p.function == 0);
}

static void a_device_without_driver_has_none(void **state)
{
	const char *s = "";

	assert_int_equal(pci_driver(root, arena, "0000:18:00.0", &s), 0);
	assert_string_equal(s, "mlx5_core");
	assert_int_equal(pci_driver(root, arena, "0000:18:00.1", &s), 0);
	assert_null(s);
	assert_int_equal(pci_driver(root, arena, "0000:18:00.3", &s), -ENODEV);
	assert_int_equal(pci_driver(root, arena, "../../..", &s), -EINVAL);
	assert_true(pci_is_user_space_driver("vfio-pci") && pci_is_user_space_driver("uio_pci_generic") && pci_is_user_space_driver("igb_uio"));
	assert_false(pci_is_user_space_driver("igbvf") || pci_is_user_space_driver(NULL));
}

static void binding_says_what_is_in_the_way(void **state)
{
	struct err e = { 0 };

	assert_int_equal(pci_bind(root, "0000:18:00.0", "mlx5_core", &e), 0);
	assert_int_equal(pci_bind(root, "0000:18:00.0", NULL, &e), 0);
	assert_int_equal(pci_unbind(root, "0000:18:00.1", &e), 0);
	assert_int_equal(pci_bind(root, "0000:18:00.1", "vfio-pci", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "modprobe vfio-pci"));
	assert_int_equal(pci_bind(root, "0000:18:00.1", "../x", &e), -EINVAL);
	assert_int_equal(pci_bind(root, "18:00.1", NULL, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "\"18:00.1\""));
	assert_int_equal(pci_bind(root, "0000:18:00.9", NULL, &e), -EINVAL);
	assert_int_equal(pci_bind(root, "0000:19:00.0", NULL, &e), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_loses_its_newline),
		cmocka_unit_test(numbers_are_read_whole),
		cmocka_unit_test(recorded_errors_hold_by_every_path_to_the_file),
		cmocka_unit_test(a_bad_list_of_errors_is_told_with_its_line),
		cmocka_unit_test(errors_in_any_order_are_found),
		cmocka_unit_test(a_folder_is_a_root_of_its_own),
		cmocka_unit_test(a_long_folder_is_listed_whole),
		cmocka_unit_test(nothing_outside_of_sys_is_read),
		cmocka_unit_test(long_and_binary_files_are_refused),
		cmocka_unit_test(links_give_name_and_place),
		cmocka_unit_test(names_are_listed_in_the_order_of_their_numbers),
		cmocka_unit_test(a_write_replaces_what_the_tree_held),
		cmocka_unit_test(a_failed_write_names_path_value_and_meaning),
		cmocka_unit_test(the_running_machine_is_read),
		cmocka_unit_test(pci_addresses_are_parsed_whole),
		cmocka_unit_test(a_device_without_driver_has_none),
		cmocka_unit_test(binding_says_what_is_in_the_way),
	};

	return cmocka_run_group_tests(tests, make_tree, drop_tree);
}
