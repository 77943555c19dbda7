/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/strbuf.h"
#include "codec/table.h"

struct port {
	struct object obj;
	const char *name;
	int64_t vlan;
};

static const struct field port_fields[] = {
	{ .name = "name", .type = FIELD_STR, .flags = FIELD_REQUIRED, .offset = offsetof(struct port, name), .pattern = "^[a-z]+[0-9]*$" },
	{ .name = "vlan", .type = FIELD_INT, .flags = FIELD_BOUNDED, .offset = offsetof(struct port, vlan), .min = 0, .max = 4094 },
};
static TABLE(port, port, "Port");

struct node {
	struct object obj;
	const char *mode;
	bool rdma;
	int64_t mtu, *priority;
	const char **names;
	size_t n_names;
	struct port *uplink, *ports;
	size_t n_ports;
	struct pair *labels;
	size_t n_labels;
	yyjson_val *raw;
};

static const char *const modes[] = { "legacy", "switchdev", NULL };

#define AT(member) .offset = offsetof(struct node, member)
static const struct field node_fields[] = {
	{ .name = "mode", .type = FIELD_STR, AT(mode), .words = modes, .dflt = "\"legacy\"" },
	{ .name = "isRdma", .type = FIELD_BOOL, AT(rdma) },
	{ .name = "mtu", .type = FIELD_INT, .flags = FIELD_BOUNDED, AT(mtu), .min = 68, .max = INT64_MAX },
	{ .name = "priority", .type = FIELD_INT, .flags = FIELD_POINTER, AT(priority) },
	{ .name = "names", .type = FIELD_STRS, .flags = FIELD_BOUNDED, AT(names), .n_offset = offsetof(struct node, n_names), .max = 2 },
	{ .name = "uplink", .type = FIELD_OBJECT, AT(uplink), .of = &port },
	{ .name = "ports", .type = FIELD_OBJECTS, AT(ports), .n_offset = offsetof(struct node, n_ports), .of = &port },
	{ .name = "labels", .type = FIELD_MAP, AT(labels), .n_offset = offsetof(struct node, n_labels) },
	{ .name = "raw", .type = FIELD_JSON, AT(raw) },
};
static TABLE(node, node, "Node");

static struct arena *arena;

static int set_up(void **state)
{
	arena = arena_new();
	return 0;
}

static int tear_down(void **state)
{
	arena = arena_free(arena);
	return 0;
}

/* Decodes @json; *ret_says gets every complaint on a line of its own. */
static int decode(const char *json, struct node *ret, const char **ret_says)
{
	struct complaints c = { .arena = arena };
	_cleanup_strbuf_ struct strbuf says = STRBUF_INIT;
	struct err e = { 0 };
	yyjson_val *v;
	int r;

	if (doc_parse_json(arena, "t", json, strlen(json), DOC_SIZE_MAX, &v, &e) < 0)
		fail_msg("%s", e.msg);
	*ret = (struct node){ 0 };
	r = table_decode(&node, arena, v, "", ret, &c);
	strbuf_addstr(&says, "");
	for (size_t i = 0; i < c.n; i++)
		strbuf_addf(&says, "%s%s: %s\n", c.v[i].warning ? "warning: " : "", c.v[i].path, c.v[i].text);
	*ret_says = arena_strdup(arena, says.s);
	return r;
}

static void takes(const char *json, struct node *ret)
{
	const char *says;

	assert_int_equal(decode(json, ret, &says), 0);
	assert_string_equal(says, "");
}

static void refuses(const char *json, const char *wanted)
{
	const char *says;
	struct node n;

	assert_int_equal(decode(json, &n, &says), -EINVAL);
	assert_string_equal(says, wanted);
}

static void encodes(const struct node *n, const char *json)
{
	yyjson_mut_doc *doc = doc_new(arena);

	assert_string_equal(doc_mut_to_json(arena, table_encode(&node, doc, n), false), json);
}

static void what_is_decoded_is_encoded_again(void **state)
{
	static const char json[] = "{\"mode\":\"switchdev\",\"isRdma\":true,\"mtu\":9000,\"priority\":0,\"names\":[\"a\",\"b\"],"
				   "\"uplink\":{\"name\":\"p1\"},\"ports\":[{\"name\":\"p2\",\"vlan\":7},{\"name\":\"p3\"}],"
				   "\"labels\":{\"k\":\"v\"},\"raw\":[1,{\"x\":null}]}";
	struct node n;

	takes(json, &n);
	assert_string_equal(n.mode, "switchdev");
	assert_true(n.rdma);
	assert_int_equal(*n.priority, 0);
	assert_int_equal(n.n_ports, 2);
	assert_int_equal(n.ports[0].vlan, 7);
	assert_string_equal(n.labels[0].value, "v");
	encodes(&n, json);
}

static void a_field_that_is_null_is_absent(void **state)
{
	struct node n;

	takes("{\"mtu\":null,\"priority\":null,\"uplink\":null}", &n);
	assert_null(n.priority);
	assert_null(n.uplink);
	assert_false(table_has(&node, &n, "mtu"));
	encodes(&n, "{}");
}

static void a_default_goes_where_the_field_is_absent_only(void **state)
{
	struct node n;

	takes("{}", &n);
	table_defaults(&node, arena, &n);
	assert_string_equal(n.mode, "legacy");
	assert_true(table_has(&node, &n, "mode"));
	takes("{\"mode\":\"switchdev\"}", &n);
	table_defaults(&node, arena, &n);
	assert_string_equal(n.mode, "switchdev");
}

static void bounds_name_the_value_and_the_bound(void **state)
{
	struct node n;

	takes("{\"mtu\":68,\"ports\":[{\"name\":\"a\",\"vlan\":4094}]}", &n);
	refuses("{\"mtu\":67}", "mtu: 67 is below 68\n");
	refuses("{\"ports\":[{\"name\":\"a\",\"vlan\":4095}]}", "ports[0].vlan: 4095 is above 4094\n");
	refuses("{\"mtu\":18446744073709551615}", "mtu: 18446744073709551615 is above 9223372036854775807\n");
	refuses("{\"mtu\":99999999999999999999999}", "mtu: 1e23 is too large\n");
	refuses("{\"mtu\":68.5}", "mtu: 68.5 is no whole number\n");
	takes("{\"mtu\":9e3,\"ports\":[{\"name\":\"a\",\"vlan\":4.0}]}", &n); /* as an API server */
	assert_int_equal(n.mtu, 9000);
	assert_int_equal(n.ports[0].vlan, 4);
	refuses("{\"mtu\":67.0}", "mtu: 67 is below 68\n");
	refuses("{\"mtu\":9007199254740993.0}", "mtu: 9007199254740992.0 is no whole number\n");
}

static void a_word_outside_the_choice_is_refused_with_the_choice(void **state)
{
	const char *says;
	struct node n;

	assert_int_equal(decode("{\"mode\":\"Legacy\"}", &n, &says), -EINVAL);
	assert_non_null(strstr(says, "mode: "));
	assert_non_null(strstr(says, "\"Legacy\""));
	assert_non_null(strstr(says, "legacy"));
	assert_non_null(strstr(says, "switchdev"));
}

static void a_pattern_is_held(void **state)
{
	const char *says;
	struct node n;

	takes("{\"uplink\":{\"name\":\"p1\"}}", &n);
	assert_int_equal(decode("{\"uplink\":{\"name\":\"1p\"}}", &n, &says), -EINVAL);
	assert_non_null(strstr(says, "uplink.name: \"1p\""));
}

static void every_mistake_is_told_with_its_place(void **state)
{
	refuses("{\"isRdma\":\"true\",\"mtu\":\"9000\",\"uplink\":{},\"labels\":{\"a\":1}}",
		"isRdma: \"true\" is a string, true or false is wanted without quotes\n"
		"mtu: \"9000\" is a string, a number is wanted: take the quotes away\n"
		"uplink.name: is missing\n"
		"labels.a: 1 is a number, a string is wanted: quote it\n");
	refuses("{\"ports\":[{\"name\":\"a\"},7]}", "ports[1]: 7 is a number, a mapping is wanted\n");
}

static void an_unknown_field_is_a_warning_with_the_nearest_name_and_is_kept(void **state)
{
	const char *says;
	struct node n;

	assert_int_equal(decode("{\"mut\":9000,\"uplink\":{\"name\":\"a\",\"vlna\":1},\"zzzzzz\":[]}", &n, &says), 0);
	assert_non_null(strstr(says, "warning: mut: unknown field; did you mean mtu?\n"));
	assert_non_null(strstr(says, "warning: uplink.vlna: unknown field; did you mean vlan?\n"));
	assert_non_null(strstr(says, "warning: zzzzzz: unknown field"));
	encodes(&n, "{\"uplink\":{\"name\":\"a\",\"vlna\":1},\"mut\":9000,\"zzzzzz\":[]}");
}

static void a_list_is_as_long_as_its_bound(void **state)
{
	const char *says;
	struct node n;

	takes("{\"names\":[\"a\",\"b\"]}", &n);
	assert_int_equal(decode("{\"names\":[\"a\",\"b\",\"c\"]}", &n, &says), -EINVAL);
	assert_non_null(strstr(says, "names: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_decoded_is_encoded_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_field_that_is_null_is_absent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_default_goes_where_the_field_is_absent_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bounds_name_the_value_and_the_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_word_outside_the_choice_is_refused_with_the_choice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_pattern_is_held, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_mistake_is_told_with_its_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_unknown_field_is_a_warning_with_the_nearest_name_and_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_list_is_as_long_as_its_bound, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
