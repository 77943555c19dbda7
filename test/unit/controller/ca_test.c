/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "controller/ca.h"

#define DAY 86400

static const char *const names[] = { "kvrail-controller.kvrail-system.svc", "127.0.0.1", NULL };

static bool step(struct arena *a, struct ca_state *s, time_t now, bool trusted, unsigned *next)
{
	struct ca_state out;
	bool changed;
	struct err e;

	assert_int_equal(ca_next(a, s, names, now, trusted, &out, &changed, next, &e), 0);
	if (changed)
		*s = out;
	return changed;
}

static unsigned certificates(const char *bundle)
{
	unsigned n = 0;

	for (const char *p = bundle; (p = strstr(p, "BEGIN CERT")); p++)
		n++;
	return n;
}

static void first_start_makes_all_and_then_rests(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ca_state s = { 0 }, back;
	time_t now = time(NULL);
	unsigned next;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *secret = yyjson_mut_obj(doc);
	const char *text;
	yyjson_val *v;

	assert_true(step(a, &s, now, false, &next));
	for (const char *const *n = names; *n; n++)
		assert_int_equal(x509_verify(s.server.cert, s.bundle, *n, NULL), 0);
	assert_false(step(a, &s, now, false, &next));
	assert_false(step(a, &s, now, true, &next));
	assert_int_equal(next, 30 * DAY); /* not in one sleep to its end */
	yyjson_mut_obj_add_val(doc, secret, "data", ca_data(a, doc, &s));
	text = doc_mut_to_json(a, secret, false);
	assert_int_equal(doc_parse_json(a, "s", text, strlen(text), DOC_SIZE_MAX, &v, NULL), 0);
	ca_read(a, v, &back);
	assert_string_equal(back.ca.key, s.ca.key);
	assert_string_equal(back.bundle, s.bundle);
	assert_string_equal(back.server.cert, s.server.cert);
}

static void server_is_renewed_by_the_same_ca(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ca_state s = { 0 }, before;
	time_t now = time(NULL);
	unsigned next;

	step(a, &s, now - 70 * DAY, false, &next);
	before = s;
	assert_false(step(a, &s, now - 20 * DAY, true, &next));
	assert_true(step(a, &s, now, true, &next));
	assert_string_equal(s.ca.cert, before.ca.cert);
	assert_string_equal(s.bundle, before.bundle);
	assert_string_not_equal(s.server.cert, before.server.cert);
	assert_false(step(a, &s, now, true, &next));
}

static void ca_is_renewed_without_a_moment_in_which_a_client_trusts_nobody(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	time_t now = time(NULL);
	struct ca_state s = { 0 }, old;
	unsigned next;

	step(a, &s, now - 500 * DAY, false, &next);
	assert_int_equal(x509_make_server(a, &s.ca, names, now - DAY, now + 80 * DAY, &s.server, NULL), 0);
	old = s;
	/* first the new CA is only trusted */
	assert_true(step(a, &s, now, true, &next));
	assert_int_equal(certificates(s.bundle), 2);
	assert_string_equal(s.server.cert, old.server.cert);
	assert_string_not_equal(s.ca.cert, old.ca.cert);
	assert_int_equal(x509_verify(old.server.cert, s.bundle, names[0], NULL), 0);
	/* as long as clients do not know the bundle, nothing more happens */
	assert_false(step(a, &s, now, false, &next));
	/* then it signs */
	assert_true(step(a, &s, now, true, &next));
	assert_int_equal(x509_verify(s.server.cert, s.ca.cert, names[0], NULL), 0);
	assert_int_equal(x509_verify(old.server.cert, s.bundle, names[0], NULL), 0); /* a replica that has not reloaded */
	assert_false(step(a, &s, now, true, &next));
	/* and when the old one has expired it is dropped */
	assert_true(step(a, &s, now + 300 * DAY, true, &next));
	assert_int_equal(certificates(s.bundle), 1);
}

static void damaged_secret_is_made_anew(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	time_t now = time(NULL);
	struct ca_state s = { 0 }, old;
	unsigned next;

	step(a, &s, now, false, &next);
	old = s;
	s.server.key = old.ca.key; /* of another pair */
	assert_true(step(a, &s, now, true, &next));
	assert_string_equal(s.ca.cert, old.ca.cert);
	assert_int_equal(x509_check_pair(&s.server, NULL), 0);
	s.ca.key = NULL;
	assert_true(step(a, &s, now, true, &next));
	assert_string_not_equal(s.ca.cert, old.ca.cert);
	assert_int_equal(certificates(s.bundle), 2);
	s.bundle = old.ca.cert; /* somebody edited it */
	assert_true(step(a, &s, now, true, &next));
	assert_int_equal(certificates(s.bundle), 2);
	s = (struct ca_state){ .ca = { "x", "y" }, .server = { "x", "y" }, .bundle = "z" };
	assert_true(step(a, &s, now, true, &next));
	assert_int_equal(x509_verify(s.server.cert, s.bundle, names[0], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_start_makes_all_and_then_rests),
		cmocka_unit_test(server_is_renewed_by_the_same_ca),
		cmocka_unit_test(ca_is_renewed_without_a_moment_in_which_a_client_trusts_nobody),
		cmocka_unit_test(damaged_secret_is_made_anew),
	};

	return cmocka_run_group_tests_name("ca", tests, NULL, NULL);
}
