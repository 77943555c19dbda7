/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/strbuf.h"
#include "codec/doc.h"

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

/* Parses @text; its JSON must be @json (documents on lines of their own). */
static void reads(const char *text, const char *json)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
	struct err e = { 0 };
	struct doc *d;
	size_t n;

	if (doc_parse(arena, "f", text, strlen(text), &d, &n, &e) < 0)
		fail_msg("%s", e.msg);
	strbuf_addstr(&all, "");
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&all, "%s%s", i ? "\n" : "", doc_to_json(arena, d[i].root, false));
	assert_string_equal(all.s, json);
}

static void refuses_bytes(const char *text, size_t len, const char *message)
{
	struct err e = { 0 };
	struct doc *d;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", text, len, &d, &n, &e), -EINVAL);
	assert_string_equal(e.msg, message);
}

static void refuses(const char *text, const char *message)
{
	refuses_bytes(text, strlen(text), message);
}

static void yaml_words_of_1_1_are_booleans_unless_quoted(void **state)
{
	reads("a: yes\nb: On\nc: n\nd: \"off\"\ne: 'no'\nf: |-\n  on\n", "{\"a\":true,\"b\":true,\"c\":false,\"d\":\"off\",\"e\":\"no\",\"f\":\"on\"}");
	reads("a:\nb: ~\nc: Null\nd: ''\n", "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"\"}");
}

static void yaml_numbers_are_gos(void **state)
{
	reads("--- [0x1F, 010, 0o17, 0b101, 1_000, +7, -0x10, -9223372036854775808, 18446744073709551615]",
	      "[31,8,15,5,1000,7,-16,-9223372036854775808,18446744073709551615]");
	reads("--- [1e3, 8.0, 1.5, .5, 08, -2.5e-1]", "[1000,8,1.5,0.5,8,-0.25]");
	reads("--- [0x, 1.2.3, 101d, 0000:5c:00.0, '8', 1e, 0x0x1, 2024-01-01, 12:30]",
	      "[\"0x\",\"1.2.3\",\"101d\",\"0000:5c:00.0\",\"8\",\"1e\",\"0x0x1\",\"2024-01-01\",\"12:30\"]");
	reads("!!str 8", "\"8\"");
	reads("!!int \"8\"", "8");
	refuses("a: .inf", "f:1:4: .inf is no finite number");
	reads("--- [1e999, -1E+999, 12345e678, 1e-999]", "[\"1e999\",\"-1E+999\",\"12345e678\",0]");
	refuses("a: !!float 1e999", "f:1:4: tag float does not go with \"1e999\"");
	refuses("a: !!int x", "f:1:4: tag int does not go with \"x\"");
	refuses("a: !env x", "f:1:4: tag !env does not go with \"x\"");
	refuses("a: !thing {}", "f:1:4: tag !thing is not known");
}

static void yaml_keys_become_text(void **state)
{
	reads("1: a\nyes: b\n0x10: c\n\"on\": d\n", "{\"1\":\"a\",\"true\":\"b\",\"16\":\"c\",\"on\":\"d\"}");
	refuses("? [a]\n: b\n", "f:1:3: a key that is no text: quote it");
	refuses("~: b\n", "f:1:1: key ~ is no text: quote it");
}

static void yaml_streams_skip_empty_documents(void **state)
{
	reads("# only a comment\n", "");
	reads("", "");
	reads("---\n---\na: 1\n...\n---\n# nothing\n---\nb: 2\n", "{\"a\":1}\n{\"b\":2}");
	reads("\xef\xbb\xbf" "a: 1\r\nb: x\r\n", "{\"a\":1,\"b\":\"x\"}");
	reads("\xef\xbb\xbf{\"a\":1}\r\n", "{\"a\":1}");
	reads("{\"a\":1}\n---\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}");
	reads("{a: b, c: [d]}\n", "{\"a\":\"b\",\"c\":[\"d\"]}");
}

static void yaml_aliases_and_merge_keys_are_expanded(void **state)
{
	reads("a: &x {p: 1, q: [2]}\nb: *x\nc:\n  <<: *x\n  p: 3\n",
	      "{\"a\":{\"p\":1,\"q\":[2]},\"b\":{\"p\":1,\"q\":[2]},\"c\":{\"q\":[2],\"p\":3}}");
	reads("a: &x {p: 1}\nb: &y {p: 2, r: 3}\nc: {<<: [*x, *y]}\n", "{\"a\":{\"p\":1},\"b\":{\"p\":2,\"r\":3},\"c\":{\"p\":1,\"r\":3}}");
	reads("\"<<\": 1", "{\"<<\":1}");
	refuses("a: *nobody\n", "f:1:4: alias *nobody: no such anchor before it");
	refuses("a: &x {b: *x}\n", "f:1:11: alias *x: no such anchor before it");
	refuses("a: {<<: 1}\n", "f:1:5: a merge key (<<) takes a mapping or a list of mappings");
	refuses("--- &x {a: 1}\n--- *x\n", "f:2:5: alias *x: no such anchor before it");
}

static void yaml_aliases_that_multiply_are_refused(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct err e;
	struct doc *d;
	size_t n;

	strbuf_addstr(&b, "a0: &a0 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
	for (int i = 1; i < 12; i++) {
		strbuf_addf(&b, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			strbuf_addf(&b, "%s*a%d", j ? ", " : "", i - 1);
		strbuf_addstr(&b, "]\n");
	}
	assert_int_equal(doc_parse(arena, "f", b.s, b.len, &d, &n, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "aliases expand to more than 16 MiB"));
}

static void duplicate_keys_are_refused_with_their_line(void **state)
{
	refuses("a: 1\nb: 2\na: 3\n", "f:3:1: key \"a\" is there twice, first in line 1");
	refuses("a:\n  - b: 1\n    \"b\": 2\n", "f:3:5: key \"b\" is there twice, first in line 2");
	refuses("{\"a\": 1,\n \"\\u0061\": 2}", "f:2:3: \"a\": the key is there twice");
	refuses("{\"x\": {\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1,"
		"\"m\":1,\"n\":1,\"o\":1,\"p\":1,\n\"c\":2}}", "f:2:2: \"c\": the key is there twice");
}

static void depth_is_bounded(void **state)
{
	char json[2 * DOC_DEPTH_MAX + 3];

	memset(json, '[', DOC_DEPTH_MAX);
	memset(json + DOC_DEPTH_MAX, ']', DOC_DEPTH_MAX);
	json[2 * DOC_DEPTH_MAX] = '\0';
	reads(json, json);
	memset(json, '[', DOC_DEPTH_MAX + 1);
	memset(json + DOC_DEPTH_MAX + 1, ']', DOC_DEPTH_MAX + 1);
	json[2 * DOC_DEPTH_MAX + 2] = '\0';
	refuses(json, "f:1:65: nested more than 64 deep");
	json[0] = ' ';
	memmove(json + 3, json, 2 * DOC_DEPTH_MAX);
	memcpy(json, "a: ", 3);
	json[2 * DOC_DEPTH_MAX + 2] = '\0';
	refuses(json, "f:1:68: nested more than 64 deep");
}

static void an_alias_cannot_go_deeper_than_the_bound(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct err e;
	struct doc *d;
	size_t n;

	strbuf_addstr(&b, "a: &x ");
	for (int i = 0; i < 40; i++)
		strbuf_addch(&b, '[');
	for (int i = 0; i < 40; i++)
		strbuf_addch(&b, ']');
	strbuf_addstr(&b, "\nb: ");
	for (int i = 0; i < 24; i++)
		strbuf_addch(&b, '[');
	strbuf_addstr(&b, "*x");
	for (int i = 0; i < 24; i++)
		strbuf_addch(&b, ']');
	strbuf_addch(&b, '\n');
	assert_int_equal(doc_parse(arena, "f", b.s, b.len, &d, &n, &e), -EINVAL);
	assert_string_equal(e.msg, "f:2:28: nested more than 64 deep");
}

static void malformed_text_is_refused_with_its_place(void **state)
{
	refuses("a: 1\n\tb: 2\n", "f:2:1: a tab; YAML indents with spaces only");
	refuses("a: [1\nb: 2\n", "f:2:2: no YAML: did not find expected ',' or ']', while parsing a flow sequence");
	refuses("{\"a\": 1,\n}", "f:1:8: no JSON: trailing comma is not allowed");
	refuses("{\"a\": 1} x", "f:1:10: text after the end of the JSON value");
	refuses("{\"a\": NaN}", "f:1:7: no JSON: unexpected character, expected a valid JSON value");
	refuses("{\"a\": 1e999}", "f:1:7: no JSON: number is infinity when parsed as double");
	refuses("a: \xff\n", "f:1:4: byte 0xff is not UTF-8");
	refuses("a: \xc3\xa9 \xed\xa0\x80\n", "f:1:6: byte 0xed is not UTF-8");
	refuses_bytes("a: b\0c", 6, "f:1:5: a NUL byte");
}

static void json_values_may_follow_each_other(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct err e;
	struct doc *d;
	size_t n;

	reads("{\"a\":1}\n{\"b\":\"}{\\\"\"}\n\n[2] {}\n", "{\"a\":1}\n{\"b\":\"}{\\\"\"}\n[2]\n{}");
	refuses("{\"a\":1}\n{\"b\":}\n", "f:2:6: no JSON: unexpected character, expected a valid JSON value");
	refuses("{\"a\":1}\n{\"b\":\n[1", "f:3:3: no JSON: unexpected end of data");
	refuses("{\"a\":1}\n{\"b\":1,\"b\":2}\n", "f:2:9: \"b\": the key is there twice");
	refuses("{\"a\":1}\n,{}\n", "f:2:1: text after the end of the JSON value");
	for (int i = 0; i < 65537; i++)
		strbuf_addstr(&b, "{}");
	assert_int_equal(doc_parse(arena, "f", b.s, b.len - 2, &d, &n, &e), 0);
	assert_int_equal(n, 65536);
	assert_int_equal(doc_parse(arena, "f", b.s, b.len, &d, &n, &e), -EFBIG);
}

static void strings_hold_no_nul(void **state)
{
	refuses("{\"a\": \"x\\u0000y\"}", "f:1:8: \"x\": the string holds a NUL character");
	refuses("{\"a\\u0000\": 1}", "f:1:3: \"a\": the key holds a NUL character");
	refuses("a: \"x\\0y\"\n", "f:1:4: a string holds a NUL character");
}

static void json_for_wires_is_one_bounded_value(void **state)
{
	struct err e;
	yyjson_val *v;

	assert_int_equal(doc_parse_json(arena, "conf", "{\"a\":1} ", 8, 8, &v, &e), 0);
	assert_int_equal(doc_int(v, "a", 0), 1);
	assert_int_equal(doc_int(v, "b", 7), 7);
	assert_int_equal(doc_parse_json(arena, "conf", "{\"a\":1} ", 8, 7, &v, &e), -EFBIG);
	assert_string_equal(e.msg, "conf: 8 bytes; at most 7 are taken");
	assert_int_equal(doc_parse_json(arena, "conf", "", 0, 7, &v, &e), -EINVAL);
	assert_string_equal(e.msg, "conf: empty, JSON is wanted");
	assert_int_equal(doc_parse_json(arena, "conf", "a: 1", 4, 7, &v, &e), -EINVAL);
}

static void lines_of(const char *text, size_t index, const char *const *paths, const unsigned *lines)
{
	struct err e;
	struct doc *d;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", text, strlen(text), &d, &n, &e), 0);
	assert_true(index < n);
	for (size_t i = 0; paths[i]; i++)
		if (doc_line(&d[index], paths[i]) != lines[i])
			fail_msg("%s: line %u, not %u", paths[i], doc_line(&d[index], paths[i]), lines[i]);
}

static void lines_are_told_by_path(void **state)
{
	const char *const paths[] = { "", "spec.mtu", "spec.sel.pfNames[1]", "spec.sel.none.deeper", "items[1].a", "none", NULL };

	lines_of("---\n---\n# first\nx: 1\n---\n\nspec:\n  mtu: 9\n  sel:\n    pfNames:\n    - a\n    - b\nitems: [{a: 1},\n {a: 2}]\n", 1,
		 paths, (const unsigned[]){ 7, 8, 12, 9, 14, 7 });
	lines_of("{\"spec\": {\n \"mtu\": 9, \"sel\":\n {\"pfNames\": [\"a]}\\\"\",\n \"b\"]}},\n\"items\": [{\"a\": 1},\n {\"a\": 2}]}", 0, paths,
		 (const unsigned[]){ 1, 2, 4, 2, 6, 1 });
	lines_of("{\"spec\": {\"mtu\": 9}}\n[1]\n\n{\"spec\":\n {\"mtu\": 9, \"sel\":\n {\"pfNames\": [1,\n2]}}, \"items\": [0, {\n\"a\":1}]}\n", 2,
		 paths, (const unsigned[]){ 4, 5, 7, 5, 8, 4 });
}

static void lines_of_a_list_item_count_from_the_file(void **state)
{
	struct doc *d;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", "items:\n- a: 1\n- a: 2\n  b: 3\n", 28, &d, &n, NULL), 0);
	d->at = "items[1]";
	assert_int_equal(doc_line(d, "b"), 4);
	assert_int_equal(doc_line(d, ""), 3);
}

/* What is written is read back as the same value, by YAML's rules too. */
static void survives(const char *json)
{
	struct doc *d, *again;
	struct err e = { 0 };
	char *yaml;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", json, strlen(json), &d, &n, NULL), 0);
	yaml = doc_to_yaml(arena, d->root);
	if (doc_parse(arena, "f", arena_printf(arena, "---\n%s\n", yaml), strlen(yaml) + 5, &again, &n, &e) < 0)
		fail_msg("%s in:\n%s", e.msg, yaml);
	assert_int_equal(n, 1);
	assert_string_equal(doc_to_json(arena, again->root, false), doc_to_json(arena, d->root, false));
}

static void yaml_output_is_read_back_unchanged(void **state)
{
	survives("{\"a\":[1,-2,1.5,true,null,\"\",\"x\"],\"b\":{},\"c\":[],\"d\":[[1,[2]],{\"e\":[{\"f\":1,\"g\":2}]}]}");
	survives("{\"yes\":\"on\",\"1\":\"8\",\"n\":\"null\",\"t\":\"2024-01-01T00:00:00Z\",\"p\":\"0000:01:10.0\",\"x\":\"0x1f\",\"e\":\"1e3\"}");
	survives("[\"- a\",\"a: b\",\"a #b\",\"#\",\" a\",\"a \",\"a:\",\"{\",\"*a\",\"&a\",\"!a\",\"%a\",\"@a\",\"`a\",\"'\",\"\\\"\",\"<<\",\"=\",\"---\",\"...\",\"?\",\"~\"]");
	survives("[\"a\\nb\",\"a\\n\",\"\\na\",\" a\\nb\",\"a\\n\\n  b\",\"a\\tb\",\"\\u0001\",\"\\u0085\",\"\\u2028\",\"\\ufeff\",\"\\u00e9\",\"\\ud83d\\ude00\",\"a\\r\\nb\",\"a \\nb \"]");
	survives("{\"spec\":{\"config\":\"{\\n  \\\"a\\\": 1\\n}\"}}");
}

static void yaml_output_looks_as_kubectl_prints_it(void **state)
{
	const char *json = "{\"a\":{\"b\":[{\"c\":1,\"d\":\"on\"},{\"c\":2}],\"e\":\"x\\ny\"},\"f\":[\"g\",\"0000:5c:00.0\"],\"h\":{}}";
	struct doc *d;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", json, strlen(json), &d, &n, NULL), 0);
	assert_string_equal(doc_to_yaml(arena, d->root), "a:\n  b:\n  - c: 1\n    d: \"on\"\n  - c: 2\n  e: |-\n    x\n    y\n"
							 "f:\n- g\n- 0000:5c:00.0\nh: {}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(yaml_words_of_1_1_are_booleans_unless_quoted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_numbers_are_gos, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_keys_become_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_streams_skip_empty_documents, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_aliases_and_merge_keys_are_expanded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_aliases_that_multiply_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(duplicate_keys_are_refused_with_their_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(depth_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_alias_cannot_go_deeper_than_the_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(malformed_text_is_refused_with_its_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(json_values_may_follow_each_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strings_hold_no_nul, set_up, tear_down),
		cmocka_unit_test_setup_teardown(json_for_wires_is_one_bounded_value, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lines_are_told_by_path, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lines_of_a_list_item_count_from_the_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_output_is_read_back_unchanged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(yaml_output_looks_as_kubectl_prints_it, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
