/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "agent/cluster.h"

static struct arena *a;

static int setup(void **state)
{
	a = arena_new();
	return 0;
}

static int teardown(void **state)
{
	a = arena_free(a);
	return 0;
}

static yyjson_val *json(const char *text)
{
	yyjson_val *v;

	assert_int_equal(doc_parse_json(a, "test", text, strlen(text), 65536, &v, NULL), 0);
	return v;
}

#define META "\"metadata\":{\"uid\":\"u1\",\"labels\":{\"a\":\"b\"},\"annotations\":{\"k8s.v1.cni.cncf.io/networks\":\"%s\",\"kvrail.io/rdma\":\"required\","\
	     "\"k8s.v1.cni.cncf.io/network-status\":\"[]\",\"other\":\"x\"}}"

static const char *pod(const char *networks, const char *phase)
{
	const char *meta = arena_printf(a, META, networks);

	return watch_keep_pod(NULL, a, json(arena_printf(a,
		"{%s,\"spec\":{\"volumes\":[{}],\"initContainers\":[{\"name\":\"init\"}],\"containers\":[{\"name\":\"main\",\"image\":\"i\",\"args\":[\"x\"],"
		"\"env\":[{\"name\":\"UCX_TLS\",\"value\":\"secret\"}],\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"1\"}}},"
		"{\"name\":\"side\",\"resources\":{\"limits\":{\"rdma/roce_gdr\":\"1\"}}}]},\"status\":{\"phase\":\"%s\",\"hostIP\":\"10.0.0.7\"}}", meta, phase)));
}

static void of_a_pod_only_what_an_attachment_needs_is_kept(void **state)
{
	assert_string_equal(pod("roce-p2", "Pending"),
			    "{\"uid\":\"u1\",\"annotations\":{\"k8s.v1.cni.cncf.io/networks\":\"roce-p2\",\"kvrail.io/rdma\":\"required\"},"
			    "\"containers\":[{\"name\":\"init\"},{\"name\":\"main\",\"gpu\":true,\"env\":[\"UCX_TLS\"]},{\"name\":\"side\"}],"
			    "\"hostIP\":\"10.0.0.7\"}");
}

static void a_pod_without_networks_and_devices_keeps_no_containers(void **state)
{
	assert_non_null(strstr(pod("", "Running"), "containers")); /* it asks for a GPU */
	assert_string_equal(watch_keep_pod(NULL, a, json("{\"metadata\":{\"uid\":\"u\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":"
							 "{\"limits\":{\"cpu\":1}}}]},\"status\":{\"phase\":\"Pending\"}}")),
			    "{\"uid\":\"u\",\"annotations\":{}}");
}

static void a_pod_that_has_ended_is_not_kept(void **state)
{
	assert_null(pod("roce-p2", "Succeeded"));
	assert_null(pod("roce-p2", "Failed"));
}

static void of_a_nad_its_configuration_and_its_resource_are_kept(void **state)
{
	assert_string_equal(watch_keep_nad(NULL, a, json("{\"metadata\":{\"annotations\":{\"k8s.v1.cni.cncf.io/resourceName\":\"r/x\",\"b\":\"c\"}},"
							 "\"spec\":{\"config\":\"{}\"}}")),
			    "{\"config\":\"{}\",\"resource\":\"r/x\"}");
	assert_string_equal(watch_keep_nad(NULL, a, json("{\"metadata\":{}}")), "{}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_a_pod_only_what_an_attachment_needs_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_without_networks_and_devices_keeps_no_containers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_that_has_ended_is_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_nad_its_configuration_and_its_resource_are_kept, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
