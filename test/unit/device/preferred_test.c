/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "device/preferred.h"

#define MAX 64

/* Ports of a machine, each with some free VFs; "a0" is VF 0 of port a. */
struct machine {
	struct preferred_device d[MAX];
	char ids[MAX][4], pfs[MAX][16];
	size_t n;
};

static void port(struct machine *m, char name, const char *upstream, int numa, unsigned vfs)
{
	for (unsigned i = 0; i < vfs; i++, m->n++) {
		snprintf(m->ids[m->n], 4, "%c%u", name, i);
		snprintf(m->pfs[m->n], 16, "0000:%02x:00.0", 16 + name - 'a');
		m->d[m->n] = (struct preferred_device){ .id = m->ids[m->n], .pf_pci = m->pfs[m->n], .index = i, .numa = numa, .upstream = upstream };
	}
}

static struct preferred_device *vf(struct machine *m, const char *id)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->ids[i], id))
			return &m->d[i];
	fail();
	return NULL;
}

static const char *choose(const struct machine *m, size_t size)
{
	static char out[512];
	bool chosen[MAX];
	size_t len = 0;

	out[0] = '\0';
	preferred_choose(m->d, m->n, size, chosen);
	for (size_t i = 0; i < m->n; i++)
		if (chosen[i])
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s", len ? " " : "", m->ids[i]);
	return out;
}

/* HGX: a port behind a switch for each GPU, four a socket. */
static void hgx(struct machine *m)
{
	static const char *const up[] = { "pci15/15:01/16:00", "pci37/37:01/38:00", "pci48/48:01/49:00", "pci59/59:01/5a:00",
					  "pci97/97:01/98:00", "pcib7/b7:01/b8:00", "pcic7/c7:01/c8:00", "pcid7/d7:01/d8:00" };

	m->n = 0;
	for (int i = 0; i < 8; i++)
		port(m, (char)('a' + i), up[i], i / 4, 4);
}

static void each_rail_is_a_port_of_its_own(void **state)
{
	struct machine m;

	hgx(&m);
	assert_string_equal(choose(&m, 8), "a0 b0 c0 d0 e0 f0 g0 h0");
	assert_string_equal(choose(&m, 10), "a0 a1 b0 b1 c0 d0 e0 f0 g0 h0");
}

static void few_rails_stay_on_one_socket(void **state)
{
	struct machine m;

	hgx(&m);
	assert_string_equal(choose(&m, 4), "a0 b0 c0 d0");
	/* socket 0 has only two ports with something free: four from socket 1 */
	for (size_t i = 0; i < m.n; i++)
		m.d[i].avoid = m.ids[i][0] == 'a' || m.ids[i][0] == 'b';
	assert_string_equal(choose(&m, 4), "e0 f0 g0 h0");
}

static void ports_of_one_switch_come_before_ports_of_one_socket(void **state)
{
	struct machine m = { .n = 0 };

	port(&m, 'a', "pci5b/5b:01", 0, 2);
	port(&m, 'b', "pci3a/3a:01", 0, 2);
	port(&m, 'c', "pci5b/5b:01", 0, 2);
	assert_string_equal(choose(&m, 2), "a0 c0");
	vf(&m, "b0")->must = true;
	assert_string_equal(choose(&m, 2), "a0 b0");
	assert_string_equal(choose(&m, 3), "a0 b0 c0");
}

static void what_must_be_in_is_in_and_the_rest_is_near_it(void **state)
{
	struct machine m;

	hgx(&m);
	vf(&m, "g2")->must = true;
	assert_string_equal(choose(&m, 1), "g2");
	assert_string_equal(choose(&m, 4), "e0 f0 g2 h0");
}

static void single_vf_comes_from_the_emptiest_port(void **state)
{
	struct machine m = { .n = 0 };

	port(&m, 'a', "x", 0, 2);
	port(&m, 'b', "y", 0, 5);
	port(&m, 'c', "z", 1, 5);
	assert_string_equal(choose(&m, 1), "b0");
	vf(&m, "b0")->avoid = true;
	assert_string_equal(choose(&m, 1), "c0");
}

static void held_vf_is_never_proposed(void **state)
{
	struct machine m = { .n = 0 };

	port(&m, 'a', "x", 0, 3);
	vf(&m, "a1")->avoid = true;
	assert_string_equal(choose(&m, 3), "a0 a2");
	assert_string_equal(choose(&m, 100), "a0 a2");
	vf(&m, "a0")->avoid = vf(&m, "a2")->avoid = true;
	assert_string_equal(choose(&m, 1), "");
}

static void nothing_asked_or_nothing_there_is_nothing(void **state)
{
	struct machine m, none = { .n = 0 };

	hgx(&m);
	assert_string_equal(choose(&m, 0), "");
	assert_string_equal(choose(&none, 3), "");
}

static void unknown_numa_nodes_and_switches_are_not_near(void **state)
{
	struct machine m = { .n = 0 };

	port(&m, 'a', NULL, -1, 1);
	port(&m, 'b', NULL, -1, 1);
	port(&m, 'c', NULL, 1, 1);
	port(&m, 'd', NULL, 1, 1);
	assert_string_equal(choose(&m, 2), "c0 d0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rail_is_a_port_of_its_own),
		cmocka_unit_test(few_rails_stay_on_one_socket),
		cmocka_unit_test(ports_of_one_switch_come_before_ports_of_one_socket),
		cmocka_unit_test(what_must_be_in_is_in_and_the_rest_is_near_it),
		cmocka_unit_test(single_vf_comes_from_the_emptiest_port),
		cmocka_unit_test(held_vf_is_never_proposed),
		cmocka_unit_test(nothing_asked_or_nothing_there_is_nothing),
		cmocka_unit_test(unknown_numa_nodes_and_switches_are_not_near),
	};

	return cmocka_run_group_tests_name("preferred", tests, NULL, NULL);
}
