/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/jsontext.h"
#include "policy/merge.h"

#include "decode.h"

static struct arena *arena;

static int setup(void **state)
{
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena = arena_free(arena);
	return 0;
}

static struct api_nad *nad(const char *kind, const char *spec)
{
	struct decoded d[1];
	struct api_nad *nad = NULL;
	struct err e = { 0 };

	decode(arena, arena_printf(arena, "apiVersion: sriovnetwork.openshift.io/v1\nkind: %s\nmetadata: {name: rail, namespace: op}\n"
				   "spec:\n%s", kind, spec), d, 1);
	if (render_nad(arena, d[0].kind, d[0].object, "openshift.io", &nad, &e) < 0)
		fail_msg("%s", e.msg);
	return nad;
}

static void a_network_becomes_its_nad(void **state)
{
	struct api_nad *n = nad("SriovNetwork", "  resourceName: p2rdma\n  networkNamespace: llm\n  logLevel: ''\n");

	assert_string_equal(n->object.meta->name, "rail");
	assert_string_equal(n->object.meta->namespace, "llm");
	assert_string_equal(pairs_get(n->object.meta->annotations, n->object.meta->n_annotations, NAD_RESOURCE_NAME), "openshift.io/p2rdma");
	assert_string_equal(pairs_get(n->object.meta->annotations, n->object.meta->n_annotations, "sriovnetwork.openshift.io/owner-ref"),
			    "SriovNetwork.sriovnetwork.openshift.io/op/rail");
	assert_string_equal(n->spec->config,
			    "{\n    \"cniVersion\": \"1.0.0\",\n    \"name\": \"rail\",\n    \"type\": \"sriov\",\n    \"vlan\": 0,\n"
			    "    \"vlanQoS\": 0,\n    \"ipam\": {}\n}");
}

static void every_field_has_its_place(void **state)
{
	assert_string_equal(
		nad("SriovNetwork", "  resourceName: r\n  vlan: 5\n  spoofChk: 'off'\n  trust: 'on'\n  vlanQoS: 3\n  vlanProto: 802.1ad\n"
				    "  minTxRate: 0\n  maxTxRate: 100\n  capabilities: '{\"mac\":true}'\n  linkState: auto\n  logLevel: debug\n"
				    "  logFile: /tmp/x\n  ipam: '{\"type\": \"static\"}'\n")->spec->config,
		"{\n    \"cniVersion\": \"1.0.0\",\n    \"name\": \"rail\",\n    \"type\": \"sriov\",\n    \"vlan\": 5,\n    \"spoofchk\": \"off\",\n"
		"    \"trust\": \"on\",\n    \"vlanQoS\": 3,\n    \"vlanProto\": \"802.1ad\",\n    \"min_tx_rate\": 0,\n    \"max_tx_rate\": 100,\n"
		"    \"capabilities\": {\n        \"mac\": true\n    },\n    \"link_state\": \"auto\",\n    \"logLevel\": \"debug\",\n"
		"    \"logFile\": \"/tmp/x\",\n    \"ipam\": {\n        \"type\": \"static\"\n    }\n}");
	assert_string_equal(
		nad("SriovIBNetwork", "  resourceName: r\n  linkState: enable\n  capabilities: '{\"infinibandGUID\":true}'\n")->spec->config,
		"{\n    \"cniVersion\": \"1.0.0\",\n    \"name\": \"rail\",\n    \"type\": \"ib-sriov\",\n    \"capabilities\": {\n"
		"        \"infinibandGUID\": true\n    },\n    \"link_state\": \"enable\",\n    \"ipam\": {}\n}");
	assert_string_equal(
		nad("OVSNetwork", "  resourceName: r\n  bridge: br0\n  vlan: 7\n  mtu: 9000\n  interfaceType: dpdk\n"
				  "  trunk: [{id: 1}, {minID: 0, maxID: 9}]\n")->spec->config,
		"{\n    \"cniVersion\": \"1.0.0\",\n    \"name\": \"rail\",\n    \"type\": \"ovs\",\n    \"bridge\": \"br0\",\n    \"vlan\": 7,\n"
		"    \"mtu\": 9000,\n    \"trunk\": [\n        {\n            \"id\": 1\n        },\n        {\n            \"minID\": 0,\n"
		"            \"maxID\": 9\n        }\n    ],\n    \"interface_type\": \"dpdk\",\n    \"ipam\": {}\n}");
}

static void meta_plugins_make_a_list(void **state)
{
	assert_string_equal(nad("SriovIBNetwork", "  resourceName: r\n  metaPlugins: |\n    {\"type\": \"rdma\"},\n    {\"type\":\"tuning\", \"mtu\": 1.50 }\n")
				    ->spec->config,
			    "{\n    \"cniVersion\": \"1.0.0\",\n    \"name\": \"rail\",\n    \"plugins\": [\n        {\n"
			    "            \"type\": \"ib-sriov\",\n            \"ipam\": {}\n        },\n        {\n            \"type\": \"rdma\"\n"
			    "        },\n        {\n            \"type\": \"tuning\",\n            \"mtu\": 1.50\n        }\n    ]\n}");
}

static void an_owner_in_the_same_namespace_is_referenced(void **state)
{
	struct decoded d[1];
	struct api_nad *n;
	struct err e = { 0 };

	decode(arena, "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetwork\nmetadata: {name: rail, namespace: op, uid: abc}\n"
		      "spec: {resourceName: r}\n", d, 1);
	assert_int_equal(render_nad(arena, d[0].kind, d[0].object, "x", &n, &e), 0);
	assert_string_equal(doc_to_json(arena, n->object.meta->owner_references, false),
			    "[{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"name\":\"rail\",\"uid\":\"abc\"}]");
}

static void what_makes_no_json_is_named(void **state)
{
	struct api_meta meta = { .name = "rail", .namespace = "op" };
	struct api_network_spec spec = { .resource_name = "r", .ipam = "{\"type\": static}" };
	struct api_network n = { .object.meta = &meta, .spec = &spec };
	struct api_nad *out = NULL;
	struct err e;

	assert_int_equal(render_nad(arena, api_kind_named("SriovNetwork"), &n, "x", &out, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "SriovNetwork rail: spec.ipam is no JSON"));
	spec.ipam = NULL;
	spec.meta_plugins = "{\"type\":\"rdma\"} {\"type\":\"tuning\"}";
	assert_int_equal(render_nad(arena, api_kind_named("SriovNetwork"), &n, "x", &out, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "spec.metaPlugins is no JSON"));
	spec.meta_plugins = NULL;
	spec.log_file = "C:\\x";
	assert_int_equal(render_nad(arena, api_kind_named("SriovNetwork"), &n, "x", &out, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "look for quotes and backslashes"));
	assert_null(out);
}

static const char *indented(const char *text)
{
	_cleanup_strbuf_ struct strbuf folded = STRBUF_INIT, b = STRBUF_INIT;

	jsontext_fold(&folded, text);
	assert_int_equal(jsontext_check(folded.s, NULL), 0);
	jsontext_indent(&b, folded.s);
	return arena_strdup(arena, b.s);
}

static void text_stays_as_it_was_written(void **state)
{
	assert_string_equal(indented("{ \"b\":1E+5,\"a\" : [ ] , \"c\":{ \n },\"<&>\":\"\\u003c/\\/é\"}"),
			    "{\n    \"b\": 1E+5,\n    \"a\": [],\n    \"c\": {},\n    \"<&>\": \"\\u003c/\\/é\"\n}");
	assert_string_equal(indented("[1,[2,[]],{\"a\":null}]"),
			    "[\n    1,\n    [\n        2,\n        []\n    ],\n    {\n        \"a\": null\n    }\n]");
}

static void quoted_yaml_folds_lines_and_halves_quotes(void **state)
{
	assert_string_equal(indented("\"it''s 'x' a \n  b\""), "\"it's 'x' a b\"");
	assert_int_equal(jsontext_check("\"a\n\nb\"", NULL), -EINVAL);
}

static void all_white_space_leaves_the_ipam_text(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	jsontext_add_without_space(&b, " { \"a\u00a0b\u2028\":\t\"c\u3000 d\u0301\"\r\n} ");
	assert_string_equal(b.s, "{\"ab\":\"cd\u0301\"}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(a_network_becomes_its_nad),
		T(every_field_has_its_place),
		T(meta_plugins_make_a_list),
		T(an_owner_in_the_same_namespace_is_referenced),
		T(what_makes_no_json_is_named),
		T(text_stays_as_it_was_written),
		T(quoted_yaml_folds_lines_and_halves_quotes),
		T(all_white_space_leaves_the_ipam_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
