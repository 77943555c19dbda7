/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's devices for its networks, by the kubelet's own file: nobody listens on its socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/cluster.h"
#include "base/file.h"

static const char checkpoint[] =
	"{\"Data\":{\"PodDeviceEntries\":["
	"{\"PodUID\":\"u-1\",\"ContainerName\":\"main\",\"ResourceName\":\"openshift.io/p2rdma\",\"DeviceIDs\":{\"0\":[\"0000:5c:00.2\"]}},"
	"{\"PodUID\":\"u-1\",\"ContainerName\":\"main\",\"ResourceName\":\"nvidia.com/hostdev\",\"DeviceIDs\":{\"0\":[\"0000:9a:00.3\",\"0000:9a:00.1\"]}}]}}";

static void another_makers_device_serves_a_network_and_is_not_ours_to_describe(void **state)
{
	static const struct attach_pod pod = { .namespace = "llm", .name = "decode-0", .uid = "u-1" };
	static const struct attach_ask asks[] = { { "llm/host", "net1", "nvidia.com/hostdev", NULL }, { "llm/p2", "net2", "openshift.io/p2rdma", NULL },
						  { "llm/host", "net3", "nvidia.com/hostdev", NULL },
						  { .network = "llm/br1", .ifname = "net4", .resource = "ovs-cni.network.kubevirt.io/br1", .optional = true } };
	struct pool_device device = { .resource = "p2rdma", .pci = "0000:5c:00.2", .pf_pci = "0000:5c:00.0", .rdma = true };
	struct pools pools = { .devices = &device, .n = 1 };
	char dir[] = "/tmp/kvrail-assign-XXXXXX", sub[64], path[96];
	struct agent_options options = { .prefix = "openshift.io", .kubelet_dir = dir };
	struct agent ag = { .options = &options, .pools = &pools };
	struct cluster cl = { .ag = &ag };
	_cleanup_arena_ struct arena *a = arena_new();
	struct attach_device *all;
	const char *ids[4];
	struct err e = { 0 };
	size_t n;

	assert_non_null(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/device-plugins", dir);
	snprintf(path, sizeof(path), "%s/kubelet_internal_checkpoint", sub);
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(file_write_atomic(-1, path, checkpoint, strlen(checkpoint), 0600), 0);
	pthread_mutex_init(&ag.pools_lock, NULL);
	assert_int_equal(assign_devices(&cl, a, &pod, asks, 4, ids, &all, &n, &e), 0);
	pthread_mutex_destroy(&ag.pools_lock);
	assert_string_equal(ids[0], "0000:9a:00.1");
	assert_string_equal(ids[1], "0000:5c:00.2");
	assert_string_equal(ids[2], "0000:9a:00.3");
	assert_null(ids[3]); /* a mark of what the node has, without devices */
	assert_int_equal(n, 1);
	assert_string_equal(all[0].id, "0000:5c:00.2");
	assert_true(all[0].rdma);
	assert_int_equal(unlink(path) | rmdir(sub) | rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_makers_device_serves_a_network_and_is_not_ours_to_describe),
	};

	return cmocka_run_group_tests_name("assign", tests, NULL, NULL);
}
