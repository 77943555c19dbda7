/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "device/pairing.h"

#define P2 "openshift.io/p2rdma"
#define ALL "openshift.io/rails"

static const char *pair(const struct pairing_device *d, size_t n_d, const struct pairing_network *n, size_t n_n, struct err *e)
{
	static char out[512];
	int ret[16], r;
	size_t len = 0;

	*e = (struct err){ 0 };
	out[0] = '\0';
	for (size_t i = 0; i < 16; i++)
		ret[i] = 99;
	r = pairing_make("llm/prefill-0", d, n_d, n, n_n, ret, e);
	if (r < 0) {
		assert_int_equal(ret[0], 99); /* untouched */
		return NULL;
	}
	for (size_t i = 0; i < n_n; i++)
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s", i ? " " : "", ret[i] < 0 ? "-" : d[ret[i]].id);
	return out;
}

static void networks_take_rails_by_pf_and_vf_index_not_by_text(void **state)
{
	/* as text 0000:16:... sorts before 0000:3b:..., but also 10000:... before 2000:..., and index 10 before 2 */
	const struct pairing_device d[] = {
		{ "main", ALL, "10000:01:00.2", "10000:01:00.0", 1 }, { "main", ALL, "2000:01:01.4", "2000:01:00.0", 11 },
		{ "main", ALL, "2000:01:00.4", "2000:01:00.0", 2 }, { "main", ALL, "0000:d8:01.0", "0000:d8:00.0", 7 },
	};
	const struct pairing_network n[] = { { "llm/r0", ALL, NULL }, { "llm/r1", ALL, NULL }, { "llm/r2", ALL, NULL }, { "llm/r3", ALL, NULL } };
	struct err e;

	assert_string_equal(pair(d, 4, n, 4, &e), "0000:d8:01.0 2000:01:00.4 2000:01:01.4 10000:01:00.2");
}

static void first_containers_devices_serve_the_first_networks(void **state)
{
	const struct pairing_device d[] = {
		{ "zeta", ALL, "0000:40:00.3", "0000:40:00.0", 2 }, { "zeta", ALL, "0000:18:00.3", "0000:18:00.0", 2 },
		{ "alpha", ALL, "0000:18:00.1", "0000:18:00.0", 0 }, { "alpha", ALL, "0000:40:00.1", "0000:40:00.0", 0 },
	};
	const struct pairing_network n[] = { { "llm/a", ALL, NULL }, { "llm/b", ALL, NULL }, { "llm/c", ALL, NULL }, { "llm/d", ALL, NULL } };
	struct err e;

	assert_string_equal(pair(d, 4, n, 4, &e), "0000:18:00.3 0000:40:00.3 0000:18:00.1 0000:40:00.1");
	assert_string_equal(pair(d, 4, n, 2, &e), "0000:18:00.3 0000:40:00.3");
}

static void order_in_which_the_kubelet_lists_ids_does_not_matter(void **state)
{
	struct pairing_device d[] = {
		{ "main", ALL, "0000:18:00.1", "0000:18:00.0", 0 }, { "main", P2, "0000:40:00.1", "0000:40:00.0", 0 },
		{ "main", ALL, "0000:18:00.2", "0000:18:00.0", 1 }, { "main", P2, "0000:40:00.2", "0000:40:00.0", 1 },
	}, swap;
	const struct pairing_network n[] = { { "llm/a", P2, NULL }, { "llm/b", ALL, NULL }, { "llm/c", P2, NULL } };
	struct err e;

	for (unsigned round = 0; round < 24; round++) {
		assert_string_equal(pair(d, 4, n, 3, &e), "0000:40:00.1 0000:18:00.1 0000:40:00.2");
		swap = d[round % 3];
		d[round % 3] = d[round % 3 + 1];
		d[round % 3 + 1] = swap;
	}
}

static void network_without_resource_needs_no_device(void **state)
{
	const struct pairing_device d[] = { { "main", P2, "0000:18:00.1", "0000:18:00.0", 0 } };
	const struct pairing_network n[] = { { "llm/bridge", NULL, NULL }, { "llm/vf", P2, NULL }, { "llm/other", "", NULL } };
	struct err e;

	assert_string_equal(pair(d, 1, n, 3, &e), "- 0000:18:00.1 -");
	assert_string_equal(pair(NULL, 0, n, 1, &e), "-");
	assert_string_equal(pair(NULL, 0, NULL, 0, &e), "");
}

static void device_asked_for_by_name_is_set_aside_first(void **state)
{
	const struct pairing_device d[] = {
		{ "main", P2, "0000:18:00.1", "0000:18:00.0", 0 }, { "main", P2, "0000:18:00.2", "0000:18:00.0", 1 },
	};
	const struct pairing_network n[] = { { "llm/any", P2, NULL }, { "llm/that", P2, "0000:18:00.1" } };
	struct err e;

	assert_string_equal(pair(d, 2, n, 2, &e), "0000:18:00.2 0000:18:00.1");
}

static void device_of_another_pod_or_resource_cannot_be_named(void **state)
{
	const struct pairing_device d[] = {
		{ "main", P2, "0000:18:00.1", "0000:18:00.0", 0 }, { "main", ALL, "0000:40:00.1", "0000:40:00.0", 0 },
	};
	const struct pairing_network stolen[] = { { "llm/n", P2, "0000:18:00.7" } }, wrong[] = { { "llm/n", P2, "0000:40:00.1" } },
				     both[] = { { "llm/a", P2, "0000:18:00.1" }, { "llm/b", P2, "0000:18:00.1" } };
	struct err e;

	assert_null(pair(d, 2, stolen, 1, &e));
	assert_int_equal(e.code, -EINVAL);
	assert_non_null(strstr(e.msg, "network llm/n: deviceID 0000:18:00.7 is no device of " P2));
	assert_non_null(strstr(e.msg, "it has 0000:18:00.1"));
	assert_null(pair(d, 2, wrong, 1, &e));
	assert_null(pair(d, 2, both, 2, &e));
	assert_non_null(strstr(e.msg, "asked for by two networks"));
}

static void pod_that_did_not_ask_is_told_what_to_write(void **state)
{
	/* what KServe's pods ask for */
	const struct pairing_device d[] = { { "main", "rdma/roce_gdr", "roce_gdr-7", NULL, 0 } };
	const struct pairing_network n[] = { { "llm/roce-p2", P2, NULL } };
	struct err e;

	assert_null(pair(d, 1, n, 1, &e));
	assert_int_equal(e.code, -ENODEV);
	assert_string_equal(e.msg, "network llm/roce-p2: no device of " P2 " is left for it: pod llm/prefill-0 has 1 network of this resource and was "
			    "given 0 devices of it (rdma/roce_gdr (1, container main)). Set resources.requests and resources.limits of the container "
			    "that uses them to " P2 ": 1, or let kvrail's admission add it");
}

static void more_networks_than_devices_counts_both(void **state)
{
	const struct pairing_device d[] = { { "a", P2, "0000:18:00.1", "0000:18:00.0", 0 }, { "b", P2, "0000:18:00.2", "0000:18:00.0", 1 } };
	const struct pairing_network n[] = { { "llm/x", P2, NULL }, { "llm/y", P2, NULL }, { "llm/z", P2, NULL } };
	struct err e;

	assert_null(pair(d, 2, n, 3, &e));
	assert_non_null(strstr(e.msg, "network llm/z: "));
	assert_non_null(strstr(e.msg, "has 3 networks of this resource and was given 2 devices of it (" P2 " (1, container a), " P2 " (1, container b))"));
	assert_non_null(strstr(e.msg, P2 ": 3"));
	assert_null(pair(NULL, 0, n, 1, &e));
	assert_non_null(strstr(e.msg, "(no device)"));
}

static void device_of_an_unknown_port_comes_last(void **state)
{
	const struct pairing_device d[] = { { "main", P2, "0000:01:00.1", NULL, 0 }, { "main", P2, "0000:18:00.1", "0000:18:00.0", 0 } };
	const struct pairing_network n[] = { { "llm/x", P2, NULL }, { "llm/y", P2, NULL } };
	struct err e;

	assert_string_equal(pair(d, 2, n, 2, &e), "0000:18:00.1 0000:01:00.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_take_rails_by_pf_and_vf_index_not_by_text),
		cmocka_unit_test(first_containers_devices_serve_the_first_networks),
		cmocka_unit_test(order_in_which_the_kubelet_lists_ids_does_not_matter),
		cmocka_unit_test(network_without_resource_needs_no_device),
		cmocka_unit_test(device_asked_for_by_name_is_set_aside_first),
		cmocka_unit_test(device_of_another_pod_or_resource_cannot_be_named),
		cmocka_unit_test(pod_that_did_not_ask_is_told_what_to_write),
		cmocka_unit_test(more_networks_than_devices_counts_both),
		cmocka_unit_test(device_of_an_unknown_port_comes_last),
	};

	return cmocka_run_group_tests_name("pairing", tests, NULL, NULL);
}
