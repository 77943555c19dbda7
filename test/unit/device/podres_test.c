/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "device/message.h"
#include "device/podres.h"
#include "podresources.pb-c.h"
#include "rpc/grpc.h"

static char path[64];
static struct grpc_server *server;
static bool has_get;

/* Fields that kvrail does not know: cpu_ids (packed, 3) and memory (4) of a container, before its name. */
static const unsigned char pod[] =
	"\x0a\x09prefill-0\x12\x03llm"
	"\x1a\x63"
	"\x1a\x02\x01\x02\x22\x06\x0a\x04hugs"
	"\x0a\x04main"
	"\x12\x31\x0a\x13openshift.io/p2rdma\x12\x0c" "0000:01:10.2\x12\x0c" "0000:01:10.0"
	"\x12\x1c\x0a\x0d" "rdma/roce_gdr\x12\x0b" "roce_gdr-17"
	"\x1a\x06\x0a\x04side";

static void get(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	Podres__GetRequest *rq = message_unpack(a, &podres__get_request__descriptor, msg, len);
	unsigned char reply[300] = { 0x0a, sizeof(pod) - 1 };

	assert_non_null(rq);
	if (!has_get) {
		grpc_finish(call, GRPC_UNKNOWN, "PodResources API Get method disabled");
	} else if (strcmp(rq->pod_name, "prefill-0") || strcmp(rq->pod_namespace, "llm")) {
		grpc_finish(call, GRPC_UNKNOWN, "pod not found");
	} else {
		reply[1] = (unsigned char)((sizeof(pod) - 1) & 0x7f) | 0x80;
		reply[2] = (sizeof(pod) - 1) >> 7;
		memcpy(reply + 3, pod, sizeof(pod) - 1);
		grpc_send(call, reply, sizeof(pod) + 2);
		grpc_finish(call, GRPC_OK, NULL);
	}
}

static void list(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	unsigned char reply[300] = { 0x0a, ((sizeof(pod) - 1) & 0x7f) | 0x80, (sizeof(pod) - 1) >> 7 };

	memcpy(reply + 3, pod, sizeof(pod) - 1);
	memcpy(reply + sizeof(pod) + 2, "\x0a\x0b\x0a\x03web\x12\x04prod", 13); /* a pod without containers */
	grpc_send(call, reply, sizeof(pod) + 2 + 13);
	grpc_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method methods[] = { { "/v1.PodResourcesLister/Get", get }, { "/v1.PodResourcesLister/List", list }, { NULL, NULL } };

static int start(void **state)
{
	struct err e;

	snprintf(path, sizeof(path), "/tmp/kvrail-podres-%d", getpid());
	assert_int_equal(grpc_server_start(&server, &e), 0);
	assert_int_equal(grpc_server_listen(server, path, methods, NULL, &e), 0);
	return 0;
}

static int stop(void **state)
{
	server = grpc_server_stop(server);
	return 0;
}

static void check(const struct podres_device *d, size_t n)
{
	assert_int_equal(n, 3);
	assert_string_equal(d[0].container, "main");
	assert_string_equal(d[0].resource, "openshift.io/p2rdma");
	assert_string_equal(d[0].id, "0000:01:10.2");
	assert_string_equal(d[1].id, "0000:01:10.0");
	assert_string_equal(d[2].resource, "rdma/roce_gdr");
	assert_string_equal(d[2].id, "roce_gdr-17");
}

static void devices_of_a_pod_come_by_get_or_by_list(void **state)
{
	for (int i = 0; i < 2; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct podres_device *d;
		struct err e = { 0 };
		size_t n;

		has_get = i == 0;
		assert_int_equal(podres_get(path, "llm", "prefill-0", 5000, a, &d, &n, &e), 0);
		check(d, n);
		assert_int_equal(podres_get(path, "prod", "web", 5000, a, &d, &n, &e), 0);
		assert_int_equal(n, 0);
		assert_int_equal(podres_get(path, "prod", "prefill-0", 5000, a, &d, &n, &e), -ENOENT);
		assert_non_null(strstr(e.msg, "knows no pod prod/prefill-0"));
	}
}

static void list_has_pods_with_devices_only(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct podres_pod *pods;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(podres_list(path, 5000, a, &pods, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(pods[0].namespace, "llm");
	assert_string_equal(pods[0].name, "prefill-0");
	check(pods[0].devices, pods[0].n);
}

static void kubelet_that_is_away_is_told_from_one_that_refuses(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct podres_device *d;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(podres_get("/tmp/kvrail-nobody", "a", "b", 1000, a, &d, &n, &e), -ENOTCONN);
}

static int checkpoint(struct arena *a, const char *text, const char *uid, struct podres_device **d, size_t *n, struct err *e)
{
	char file[80];
	int r;

	snprintf(file, sizeof(file), "%s-checkpoint", path);
	assert_int_equal(file_write_atomic(AT_FDCWD, file, text, strlen(text), 0600), 0);
	*e = (struct err){ 0 };
	r = podres_checkpoint(file, uid, a, d, n, e);
	unlink(file);
	return r;
}

static void checkpoint_of_both_ages_is_read(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct podres_device *d;
	struct err e;
	size_t n;

	assert_int_equal(checkpoint(a,
		"{\"Data\":{\"PodDeviceEntries\":["
		"{\"PodUID\":\"u1\",\"ContainerName\":\"main\",\"ResourceName\":\"openshift.io/p2rdma\",\"DeviceIDs\":{\"0\":[\"0000:01:10.2\"],"
		"\"-1\":[\"0000:01:10.0\"]},\"AllocResp\":\"CgA=\"},"
		"{\"PodUID\":\"u2\",\"ContainerName\":\"main\",\"ResourceName\":\"openshift.io/p2rdma\",\"DeviceIDs\":{\"0\":[\"0000:01:10.4\"]}},"
		"{\"PodUID\":\"u1\",\"ContainerName\":\"init\",\"ResourceName\":\"rdma/roce_gdr\",\"DeviceIDs\":[\"roce_gdr-1\"]}],"
		"\"RegisteredDevices\":{}},\"Checksum\":1}", "u1", &d, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(d[0].container, "init");
	assert_string_equal(d[1].id, "0000:01:10.0");
	assert_string_equal(d[2].id, "0000:01:10.2");
	assert_int_equal(checkpoint(a, "{\"Data\":{\"PodDeviceEntries\":null,\"RegisteredDevices\":{}},\"Checksum\":1}", "u1", &d, &n, &e), 0);
	assert_int_equal(n, 0);
}

static void file_that_is_no_checkpoint_is_refused(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct podres_device *d;
	struct err e;
	size_t n;

	assert_int_equal(checkpoint(a, "{}", "u1", &d, &n, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "Data.PodDeviceEntries"));
	assert_true(checkpoint(a, "{\"Data\"", "u1", &d, &n, &e) < 0);
	assert_int_equal(podres_checkpoint("/tmp/kvrail-nobody", "u1", a, &d, &n, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_of_a_pod_come_by_get_or_by_list),
		cmocka_unit_test(list_has_pods_with_devices_only),
		cmocka_unit_test(kubelet_that_is_away_is_told_from_one_that_refuses),
		cmocka_unit_test(checkpoint_of_both_ages_is_read),
		cmocka_unit_test(file_that_is_no_checkpoint_is_refused),
	};

	return cmocka_run_group_tests_name("podres", tests, start, stop);
}
