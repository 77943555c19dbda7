/* SPDX-License-Identifier: Apache-2.0 */
/* When a Lease is free, and what a candidate writes: as client-go's leaderelection. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "store/election.h"

#define S 1000000000ull

static yyjson_val *spec(struct arena *a, const char *text)
{
	yyjson_val *v;
	struct err e;

	if (doc_parse_json(a, "spec", text, strlen(text), 10000, &v, &e) < 0)
		fail_msg("%s", e.msg);
	return v;
}

static const char held[] = "{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":15,\"acquireTime\":\"2026-01-01T00:00:00.000000Z\","
			   "\"renewTime\":\"2026-01-01T00:00:05.000000Z\",\"leaseTransitions\":3,\"strategy\":\"OldestEmulationVersion\"}";

static void a_lease_expires_when_it_was_not_seen_to_change(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct lease_seen l = { 0 };

	/* its times are of another clock: they are not looked at */
	lease_note(&l, spec(a, held), 100 * S);
	assert_false(lease_is_free(&l, "me", 100 * S));
	lease_note(&l, spec(a, held), 110 * S);
	assert_false(lease_is_free(&l, "me", 115 * S - 1));
	assert_true(lease_is_free(&l, "me", 115 * S));
	assert_true(lease_is_free(&l, "other", 100 * S)); /* its own, after a restart */
}

static void a_renewal_starts_the_time_anew(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct lease_seen l = { 0 };

	lease_note(&l, spec(a, held), 100 * S);
	lease_note(&l, spec(a, "{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":15,\"renewTime\":\"2026-01-01T00:00:07.000000Z\"}"), 110 * S);
	assert_false(lease_is_free(&l, "me", 124 * S));
	assert_true(lease_is_free(&l, "me", 125 * S));
}

static void what_was_given_back_is_free(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct lease_seen l = { 0 };

	lease_note(&l, spec(a, "{\"holderIdentity\":\"\",\"leaseDurationSeconds\":1}"), 100 * S); /* client-go before 0.31 */
	assert_true(lease_is_free(&l, "me", 100 * S));
	lease_note(&l, spec(a, "{\"leaseDurationSeconds\":15}"), 100 * S);
	assert_true(lease_is_free(&l, "me", 100 * S));
	lease_note(&l, NULL, 100 * S); /* no spec at all */
	assert_true(lease_is_free(&l, "me", 100 * S));
}

static void the_holder_keeps_its_time_another_counts_on(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	struct lease_seen l = { 0 };

	lease_note(&l, spec(a, held), 100 * S);
	assert_string_equal(doc_mut_to_json(a, lease_spec(doc, spec(a, held), &l, "me", 15, "NOW"), false),
			    "{\"strategy\":\"OldestEmulationVersion\",\"holderIdentity\":\"me\",\"leaseDurationSeconds\":15,"
			    "\"acquireTime\":\"NOW\",\"renewTime\":\"NOW\",\"leaseTransitions\":4}");
	assert_string_equal(doc_mut_to_json(a, lease_spec(doc, NULL, &l, "other", 15, "NOW"), false),
			    "{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":15,\"acquireTime\":\"2026-01-01T00:00:00.000000Z\","
			    "\"renewTime\":\"NOW\",\"leaseTransitions\":3}");
	assert_string_equal(doc_mut_to_json(a, lease_spec_released(doc, &l, "NOW"), false),
			    "{\"leaseDurationSeconds\":1,\"acquireTime\":\"NOW\",\"renewTime\":\"NOW\",\"leaseTransitions\":3}");
	l = (struct lease_seen){ 0 };
	assert_string_equal(doc_mut_to_json(a, lease_spec(doc, NULL, &l, "me", 1, "NOW"), false),
			    "{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":1,\"acquireTime\":\"NOW\",\"renewTime\":\"NOW\",\"leaseTransitions\":0}");
}

static void times_have_microseconds(void **state)
{
	char now[32];

	lease_now(now);
	assert_int_equal(strlen(now), 27);
	assert_int_equal(now[19], '.');
	assert_int_equal(now[26], 'Z');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lease_expires_when_it_was_not_seen_to_change),
		cmocka_unit_test(a_renewal_starts_the_time_anew),
		cmocka_unit_test(what_was_given_back_is_free),
		cmocka_unit_test(the_holder_keeps_its_time_another_counts_on),
		cmocka_unit_test(times_have_microseconds),
	};

	return cmocka_run_group_tests_name("kube_lease", tests, NULL, NULL);
}
