/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors: the grammar of Multus' network selection annotation (NPWG spec 1.3, section 4.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "attach/annotation.h"
#include "attach/hwaddr.h"

struct fixture {
	struct arena *a;
	struct annotation_item *items;
	size_t n;
	struct err e;
};

static int parse(struct fixture *f, const char *text)
{
	f->items = NULL;
	f->n = 0;
	return annotation_parse(f->a, text, strlen(text), "pod-ns", &f->items, &f->n, &f->e);
}

static int setup(void **state)
{
	static struct fixture f;

	f.a = arena_new();
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->a = arena_free(f->a);
	return 0;
}

static void short_form_names_network_namespace_and_interface(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, " roce-p2 , ns1/roce-p13@rail1,a@net9"), 0);
	assert_int_equal(f->n, 3);
	assert_string_equal(f->items[0].namespace, "pod-ns");
	assert_string_equal(f->items[0].name, "roce-p2");
	assert_null(f->items[0].interface);
	assert_string_equal(f->items[1].namespace, "ns1");
	assert_string_equal(f->items[1].name, "roce-p13");
	assert_string_equal(f->items[1].interface, "rail1");
	assert_string_equal(f->items[2].interface, "net9");
}

static void an_empty_annotation_has_no_networks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, ""), 0);
	assert_int_equal(f->n, 0);
	assert_int_equal(parse(f, "[]"), 0);
	assert_int_equal(f->n, 0);
}

static void json_form_has_every_key(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "[{\"name\":\"a.dotted.name\",\"namespace\":\"n\",\"interface\":\"net7\",\"mac\":\"02-00-5E-10-00-01\","
				  "\"ips\":[\"10.0.132.7/24\",\"fd00::7\"],\"deviceID\":\"0000:5c:00.2\",\"cni-args\":{\"x\":1},"
				  "\"infiniband-guid\":\"c2:11:22:33:44:55:66:77\"},{\"name\":\"b\",\"interfaceRequest\":\"old0\"}]"), 0);
	assert_int_equal(f->n, 2);
	assert_string_equal(f->items[0].name, "a.dotted.name");
	assert_string_equal(f->items[0].namespace, "n");
	assert_string_equal(f->items[0].interface, "net7");
	assert_string_equal(f->items[0].mac, "02-00-5E-10-00-01");
	assert_int_equal(f->items[0].n_ips, 2);
	assert_string_equal(f->items[0].ips[1], "fd00::7");
	assert_string_equal(f->items[0].device_id, "0000:5c:00.2");
	assert_non_null(f->items[0].cni_args);
	assert_string_equal(f->items[1].namespace, "pod-ns");
	assert_string_equal(f->items[1].interface, "old0");
}

static void json_keys_are_found_whatever_their_case(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "[{\"Name\":\"a\",\"DEVICEID\":\"0000:5c:00.2\"}]"), 0);
	assert_string_equal(f->items[0].name, "a");
	assert_string_equal(f->items[0].device_id, "0000:5c:00.2");
}

struct bad {
	const char *text, *says;
};

static void what_is_wrong_is_named_with_its_place(void **state)
{
	static const struct bad bad[] = {
		{ "a/b/c", "network 1 (character 1), \"a/b/c\": more than one \"/\"" },
		{ "ok,a@b@c", "network 2 (character 4), \"a@b@c\": more than one \"@\"" },
		{ "a..b", "JSON form" },
		{ "Upper", "DNS-1123" },
		{ "-a", "DNS-1123" },
		{ "a-", "DNS-1123" },
		{ "n_s/a", "namespace \"n_s\"" },
		{ "a@abcdefghijklmnop", "1 to 15 bytes" },
		{ "a@b c", "interface name \"b c\"" },
		{ "a@b/c", "namespace \"a@b\"" }, /* the slash parts first, as in Multus */
		{ "{\"name\":\"a\"}", "must be a list" },
		{ "\"a\"", "must be a list" },
		{ "[1]", "[0] must be an object" },
		{ "[null]", "[0] must be an object" },
		{ "[{\"name\":7}]", "[0].name must be a string" },
		{ "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00\"}]", "[0].mac" },
		{ "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01:02\"}]", "[0].mac" },
		{ "[{\"name\":\"a\",\"ips\":[\"10.0.0.256\"]}]", "[0].ips[0]: \"10.0.0.256\"" },
		{ "[{\"name\":\"a\",\"ips\":[\"10.0.0.1\",\"10.0.0.1/33\"]}]", "[0].ips[1]" },
		{ "[{\"name\":\"a\",\"ips\":\"10.0.0.1\"}]", "[0].ips must be a list" },
		{ "[{\"name\":\"a\",\"infiniband-guid\":\"1\"}]", "[0].infiniband-guid" },
		{ "[{\"name\":\"a\",\"cni-args\":[]}]", "[0].cni-args" },
		{ "[{\"name\":\"a\",\"portMappings\":[{\"hostPort\":\"80\"}]}]", "[0].portMappings[0].hostPort must be a whole number" },
		{ "[{\"name\":\"a\",\"portMappings\":[{\"hostPort\":80.0}]}]", "[0].portMappings[0].hostPort" },
		{ "[{\"name\":\"a\",\"portMappings\":{}}]", "[0].portMappings must be a list" },
		{ "[{\"name\":\"a\",\"bandwidth\":[]}]", "[0].bandwidth must be an object" },
		{ "[{\"name\":\"a\",\"bandwidth\":{\"EgressRate\":1e3}}]", "[0].bandwidth.egressRate" },
		{ "[{\"name\":\"a\",\"bandwidth\":{\"egressRate\":9223372036854775808}}]", "[0].bandwidth.egressRate" },
		{ "[{\"name\":\"a\",\"default-route\":\"10.0.0.1\"}]", "[0].default-route must be a list" },
		{ "[{\"name\":\"a\",\"default-route\":[\"10.0.0.1/24\"]}]", "[0].default-route[0]: \"10.0.0.1/24\"" },
		{ "[{\"name\":\"a\",\"default-route\":[\"10.0.0.01\"]}]", "[0].default-route[0]" },
		{ "[{\"name\":\"a\",\"default-route\":[\"fe80::1%eth0\"]}]", "[0].default-route[0]" },
		{ "[{\"name\":\"a\",\"ips\":[null]}]", "[0].ips[0]" },
		{ "[{\"name\":\"a\",\"ips\":[\"10.0.0.1/24/8\"]}]", "[0].ips[0]" },
		{ "[{\"name\":\"a\"},]", "networks:1:" },
		{ "[{\"name\":\"a\"}] x", "networks:1:" },
		{ "[{\"name\":\"a\"}", "networks" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse(f, bad[i].text) >= 0)
			fail_msg("accepted: %s", bad[i].text);
		if (!strstr(f->e.msg, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, f->e.msg, bad[i].says);
	}
}

static void what_multus_takes_and_no_pod_can_use_is_told_apart(void **state)
{
	static const struct bad bad[] = {
		{ "ok,", "network 2 (character 4): name is missing" },
		{ " ", "network 1 (character 1): name is missing" },
		{ "ns/", "network 1 (character 1): name is missing" },
		{ "a@.", "interface name \".\"" },
		{ "a@eth:1", "interface name \"eth:1\"" },
		{ "[{}]", "[0]: name is missing" },
		{ "[{\"name\":\"a\"},{\"name\":\"b\",\"interface\":\"x/y\"}]", "[1]: Linux takes" },
		{ "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01:02:03\"}]", "[0]: mac" },
		{ "[{\"name\":\"a\",\"infiniband-guid\":\"02:00:5e:10:00:01\"}]", "[0]: infiniband-guid" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse(f, bad[i].text) < 0)
			fail_msg("refused: %s: %s", bad[i].text, f->e.msg);
		if (annotation_check(f->items, f->n, &f->e) != -EINVAL || !strstr(f->e.msg, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, f->e.msg, bad[i].says);
	}
	assert_int_equal(parse(f, "a,ns/b@net7"), 0);
	assert_int_equal(annotation_check(f->items, f->n, &f->e), 0);
}

/* Text in, the parsed items out again: what Multus' NetworkSelectionElement holds after parsing, without what is empty. */
static void items_are_written_with_the_annotations_own_keys(void **state)
{
	static const struct bad vectors[] = {
		{ "a", "{\"name\":\"a\",\"namespace\":\"pod-ns\"}" },
		{ "\xc2\xa0/a @ net7 ", "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"interface\":\"net7\"}" },
		{ "a@", "{\"name\":\"a\",\"namespace\":\"pod-ns\"}" },
		{ "[{\"name\":\"a\",\"NAME\":\"b\",\"namespace\":null,\"ips\":[],\"mac\":\"\",\"ipam-claim-reference\":\"c\",\"x\":[1]}]",
		  "{\"name\":\"b\",\"namespace\":\"pod-ns\"}" },
		{ "[{\"name\":\"A.b\",\"interfaceRequest\":\"n0\"}]",
		  "{\"name\":\"A.b\",\"namespace\":\"pod-ns\",\"interface\":\"n0\",\"interfaceRequest\":\"n0\"}" },
		{ "[{\"name\":\"a\",\"interface\":\"n1\",\"interfaceRequest\":\"n0\"}]",
		  "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"interface\":\"n1\",\"interfaceRequest\":\"n0\"}" },
		{ "[{\"name\":\"a\",\"portMappings\":[{\"hostPort\":-1,\"CONTAINERPORT\":80,\"protocol\":\"tcp\"},null,{\"hostIP\":\"x\"}]}]",
		  "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"portMappings\":[{\"hostPort\":-1,\"containerPort\":80,\"protocol\":\"tcp\"},null,"
		  "{\"hostPort\":0,\"containerPort\":0,\"hostIP\":\"x\"}]}" },
		{ "[{\"name\":\"a\",\"bandwidth\":{\"egressRate\":5,\"y\":1}}]",
		  "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"bandwidth\":{\"ingressRate\":0,\"ingressBurst\":0,\"egressRate\":5,\"egressBurst\":0}}" },
		{ "[{\"name\":\"a\",\"default-route\":[\"2001:DB8:0:0::1\",\"::ffff:10.0.0.1\",\"\"],\"cni-args\":{\"k\":[1]},\"deviceID\":\"d\"}]",
		  "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"deviceID\":\"d\",\"cni-args\":{\"k\":[1]},"
		  "\"default-route\":[\"2001:db8::1\",\"10.0.0.1\",\"\"]}" },
		{ "[{\"name\":\"a\",\"default-route\":[],\"mac\":\"0200.5E10.0001\",\"ips\":[\"10.0.0.1/024\"],\"infiniband-guid\":"
		  "\"c2:11:22:33:44:55:66:77\"}]",
		  "{\"name\":\"a\",\"namespace\":\"pod-ns\",\"ips\":[\"10.0.0.1/024\"],\"mac\":\"0200.5E10.0001\","
		  "\"infiniband-guid\":\"c2:11:22:33:44:55:66:77\",\"default-route\":[]}" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		if (parse(f, vectors[i].text) < 0)
			fail_msg("refused: %s: %s", vectors[i].text, f->e.msg);
		assert_int_equal(f->n, 1);
		assert_string_equal(doc_mut_to_json(f->a, annotation_json(doc_new(f->a), &f->items[0]), false), vectors[i].says);
	}
}

/* Go's decoder goes on in the object that an earlier key of the same name made. */
static void keys_that_come_twice_are_merged_as_go_merges_them(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "[{\"name\":\"a\",\"cni-args\":{\"x\":1,\"y\":2},\"bandwidth\":{\"egressRate\":1},\"CNI-args\":{\"y\":3,\"z\":4},"
				  "\"bandwidth\":{\"ingressRate\":2}}]"), 0);
	assert_string_equal(doc_to_json(f->a, f->items[0].cni_args, false), "{\"x\":1,\"y\":3,\"z\":4}");
	assert_int_equal(f->items[0].bandwidth->egress_rate, 1);
	assert_int_equal(f->items[0].bandwidth->ingress_rate, 2);
	assert_int_equal(parse(f, "[{\"name\":\"a\",\"cni-args\":{\"x\":1},\"cni-args\":null,\"bandwidth\":{},\"bandwidth\":null}]"), 0);
	assert_true(!f->items[0].cni_args && !f->items[0].bandwidth);
}

static void runtime_conf_has_what_was_asked_for(void **state)
{
	struct fixture *f = *state;
	yyjson_mut_doc *doc = doc_new(f->a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	assert_int_equal(parse(f, "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01\",\"ips\":[\"10.0.0.1\"],\"deviceID\":\"d\","
				  "\"infiniband-guid\":\"c2:11:22:33:44:55:66:77\",\"bandwidth\":{\"egressRate\":1},\"portMappings\":[{}]}]"), 0);
	annotation_runtime_conf(doc, &f->items[0], v);
	assert_string_equal(doc_mut_to_json(f->a, v, false),
			    "{\"portMappings\":[{\"hostPort\":0,\"containerPort\":0}],\"bandwidth\":{\"ingressRate\":0,\"ingressBurst\":0,"
			    "\"egressRate\":1,\"egressBurst\":0},\"ips\":[\"10.0.0.1\"],\"mac\":\"02:00:5e:10:00:01\","
			    "\"infinibandGUID\":\"c2:11:22:33:44:55:66:77\",\"deviceID\":\"d\"}");
}

static void an_annotation_cannot_ask_for_unbounded_work(void **state)
{
	struct fixture *f = *state;
	char *many = arena_alloc(f->a, 400), *huge = arena_alloc(f->a, ANNOTATION_SIZE_MAX + 2);

	for (size_t i = 0; i < ANNOTATION_ITEMS_MAX + 1; i++)
		strcat(many, i ? ",a" : "a");
	assert_int_equal(parse(f, many), -E2BIG);
	many[strlen(many) - 2] = '\0';
	assert_int_equal(parse(f, many), 0);
	memset(huge, 'a', ANNOTATION_SIZE_MAX + 1);
	assert_int_equal(parse(f, huge), -E2BIG);
	assert_int_equal(annotation_parse(f->a, "a\0b", 3, "x", &f->items, &f->n, &f->e), -EINVAL);
}

static void hardware_addresses_have_three_forms(void **state)
{
	static const unsigned char want[6] = { 0, 0x11, 0x22, 0xaa, 0xbb, 0xcc };
	static const char *const good[] = { "00:11:22:aa:bb:cc", "00-11-22-AA-BB-CC", "0011.22aa.bbcc", "001122aaBBcc" };
	static const char *const bad[] = { "", "00:11:22:aa:bb", "00:11:22:aa:bb:cc:dd", "00:11:22:aa:bb:c", "00:11-22:aa:bb:cc", "0:11:22:aa:bb:cc",
					   "00112.2aabbcc", "gg:11:22:aa:bb:cc", "00:11:22:aa:bb:cc " };
	unsigned char mac[6];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(hwaddr_parse(good[i], mac, 6), 0);
		assert_memory_equal(mac, want, 6);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (hwaddr_parse(bad[i], mac, 6) == 0)
			fail_msg("accepted: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(short_form_names_network_namespace_and_interface, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_annotation_has_no_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(json_form_has_every_key, setup, teardown),
		cmocka_unit_test_setup_teardown(json_keys_are_found_whatever_their_case, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_wrong_is_named_with_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(what_multus_takes_and_no_pod_can_use_is_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(items_are_written_with_the_annotations_own_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_that_come_twice_are_merged_as_go_merges_them, setup, teardown),
		cmocka_unit_test_setup_teardown(runtime_conf_has_what_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(an_annotation_cannot_ask_for_unbounded_work, setup, teardown),
		cmocka_unit_test(hardware_addresses_have_three_forms),
	};

	return cmocka_run_group_tests_name("annotation", tests, NULL, NULL);
}
