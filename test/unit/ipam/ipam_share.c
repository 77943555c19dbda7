/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "ipam/ipam.h"

static struct ipam_conf conf_of(struct arena *a, const char *text)
{
	struct ipam_conf conf;
	struct err e = { 0 };
	yyjson_val *v;

	assert_int_equal(doc_parse_json(a, "test", text, strlen(text), 4096, &v, &e), 0);
	assert_int_equal(ipam_conf_parse(a, v, &conf, &e), 0);
	return conf;
}

static const char *part_of(struct arena *a, const char *text, unsigned part, unsigned of)
{
	struct ipam_conf conf = conf_of(a, text);
	struct err e = { 0 };
	unsigned char *f, *l;

	if (ipam_share(a, &conf, part, of, &conf, &e) < 0)
		return arena_strdup(a, e.msg);
	f = conf.ranges[0].first.b;
	l = conf.ranges[0].last.b;
	return arena_printf(a, "%02x%02x%02x%02x-%02x%02x%02x%02x", f[12], f[13], f[14], f[15], l[12], l[13], l[14], l[15]);
}

#define RANGE "{\"type\":\"whereabouts\",\"range\":\"10.0.132.0/24\"}"

static void parts_follow_each_other_and_cover_the_range(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();

	assert_string_equal(part_of(a, RANGE, 1, 2), "0a008401-0a00847e");
	assert_string_equal(part_of(a, RANGE, 2, 2), "0a00847f-0a0084fe");
	assert_string_equal(part_of(a, RANGE, 1, 3), "0a008401-0a008454");
	assert_string_equal(part_of(a, RANGE, 3, 3), "0a0084a9-0a0084fe");
	assert_string_equal(part_of(a, RANGE, 1, 1), "0a008401-0a0084fe");
}

static void pool_keeps_its_name(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ipam_conf conf = conf_of(a, RANGE);

	assert_int_equal(ipam_share(a, &conf, 2, 2, &conf, NULL), 0);
	assert_string_equal(conf.ranges[0].pool, "10.0.132.0-24");
}

static void half_of_ipv6_is_reachable_beyond_64_bits(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ipam_conf conf = conf_of(a, "{\"type\":\"whereabouts\",\"range\":\"2001:db8::/32\"}");

	assert_int_equal(ipam_share(a, &conf, 2, 2, &conf, NULL), 0);
	assert_in_range(conf.ranges[0].first.b[4], 0x7f, 0x80);
	assert_int_equal(conf.ranges[0].last.b[4], 0xff);
}

static void range_smaller_than_the_hosts_is_refused(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();

	assert_non_null(strstr(part_of(a, "{\"type\":\"whereabouts\",\"range\":\"10.0.0.0/30\"}", 1, 9), "10.0.0.0/30 is too small"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_follow_each_other_and_cover_the_range),
		cmocka_unit_test(pool_keeps_its_name),
		cmocka_unit_test(half_of_ipv6_is_reachable_beyond_64_bits),
		cmocka_unit_test(range_smaller_than_the_hosts_is_refused),
	};

	return cmocka_run_group_tests_name("ipam_share", tests, NULL, NULL);
}
