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

static void a_blank_annotation_has_no_networks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, ""), 0);
	assert_int_equal(f->n, 0);
	assert_int_equal(parse(f, " \n\t"), 0);
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
		{ "ok,", "network 2 (character 4), \"\"" },
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
		{ "[{}]", "[0].name is missing" },
		{ "[{\"name\":7}]", "[0].name must be a string" },
		{ "[{\"name\":\"a\"},{\"name\":\"b\",\"interface\":\"x/y\"}]", "[1].interface" },
		{ "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00\"}]", "[0].mac" },
		{ "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01:02:03\"}]", "[0].mac" },
		{ "[{\"name\":\"a\",\"ips\":[\"10.0.0.256\"]}]", "[0].ips[0]: \"10.0.0.256\"" },
		{ "[{\"name\":\"a\",\"ips\":[\"10.0.0.1\",\"10.0.0.1/33\"]}]", "[0].ips[1]" },
		{ "[{\"name\":\"a\",\"ips\":\"10.0.0.1\"}]", "[0].ips must be a list" },
		{ "[{\"name\":\"a\",\"infiniband-guid\":\"1\"}]", "[0].infiniband-guid" },
		{ "[{\"name\":\"a\",\"cni-args\":[]}]", "[0].cni-args" },
		{ "[{\"name\":\"a\",\"name\":\"b\"}]", "name" },
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
	static const char *const good[] = { "00:11:22:aa:bb:cc", "00-11-22-AA-BB-CC", "0011.22aa.bbcc" };
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
		cmocka_unit_test_setup_teardown(a_blank_annotation_has_no_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(json_form_has_every_key, setup, teardown),
		cmocka_unit_test_setup_teardown(json_keys_are_found_whatever_their_case, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_wrong_is_named_with_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(an_annotation_cannot_ask_for_unbounded_work, setup, teardown),
		cmocka_unit_test(hardware_addresses_have_three_forms),
	};

	return cmocka_run_group_tests_name("annotation", tests, NULL, NULL);
}
