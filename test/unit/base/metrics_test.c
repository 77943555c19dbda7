/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/metrics.h"

static void samples_carry_their_labels_escaped(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	metrics_family(&b, "kvrail_adds_total", METRICS_COUNTER, "ADDs, by \"outcome\"\nand \\ more.");
	metrics_add(&b, "kvrail_adds_total", 3, "outcome", "ok", "pod", "a\"b\\c\nd", NULL);
	metrics_add(&b, "kvrail_adds_total", 1.25, "outcome", NULL, NULL);
	metrics_add(&b, "kvrail_adds_total", 9007199254740, NULL);
	metrics_add(&b, "kvrail_adds_total", NAN, NULL);
	assert_string_equal(b.s, "# HELP kvrail_adds_total ADDs, by \"outcome\"\\nand \\\\ more.\n"
				 "# TYPE kvrail_adds_total counter\n"
				 "kvrail_adds_total{outcome=\"ok\",pod=\"a\\\"b\\\\c\\nd\"} 3\n"
				 "kvrail_adds_total 1.25\n"
				 "kvrail_adds_total 9007199254740\n"
				 "kvrail_adds_total NaN\n");
}

static void histogram_buckets_are_cumulative(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct metrics_histogram h = { 0 };

	metrics_observe(&h, 1000000);	     /* 1 ms: its own bound counts it */
	metrics_observe(&h, 3000000);
	metrics_observe(&h, 300000000000u); /* five minutes */
	metrics_add_histogram(&b, "t_seconds", &h, "verb", "get", NULL);
	assert_non_null(strstr(b.s, "t_seconds_bucket{verb=\"get\",le=\"0.001\"} 1\n"));
	assert_non_null(strstr(b.s, "t_seconds_bucket{verb=\"get\",le=\"0.005\"} 2\n"));
	assert_non_null(strstr(b.s, "t_seconds_bucket{verb=\"get\",le=\"120\"} 2\n"));
	assert_non_null(strstr(b.s, "t_seconds_bucket{verb=\"get\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(b.s, "t_seconds_sum{verb=\"get\"} 300.004\n"));
	assert_non_null(strstr(b.s, "t_seconds_count{verb=\"get\"} 3\n"));
	b.len = 0;
	metrics_add_histogram(&b, "t", &h, NULL);
	assert_non_null(strstr(b.s, "t_bucket{le=\"0.001\"} 1\n"));
	assert_non_null(strstr(b.s, "t_count 3\n"));
}

static void process_is_described(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	double rss = 0, start = 0;
	const char *p;

	metrics_add_process(&b);
	p = strstr(b.s, "\nprocess_resident_memory_bytes ");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "\nprocess_resident_memory_bytes %lf", &rss), 1);
	assert_true(rss > 100e3);
	p = strstr(b.s, "\nprocess_start_time_seconds ");
	assert_int_equal(sscanf(p, "\nprocess_start_time_seconds %lf", &start), 1);
	assert_true(start > 1.7e9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_carry_their_labels_escaped),
		cmocka_unit_test(histogram_buckets_are_cumulative),
		cmocka_unit_test(process_is_described),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
