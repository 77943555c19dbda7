/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries and reservations are dropped, and, more important, which are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ipam/reconcile.h"
#include "patch.h"

#define GRACE 300000u

static struct arena *a;
static struct ipam_pool *pools;
static size_t n_pools;
static struct ipam_reservation *reservations;
static size_t n_reservations;
static struct ipam_pod *pods;
static size_t n_pods;
static uint64_t grace, next_ms;
static struct ipam_node nodes[] = { { "n1", IPAM_NODE_READY }, { "n2", IPAM_NODE_READY } };

static int setup(void **state)
{
	a = arena_new();
	pools = NULL;
	reservations = NULL;
	pods = NULL;
	n_pools = n_reservations = n_pods = 0;
	grace = GRACE;
	nodes[0].state = nodes[1].state = IPAM_NODE_READY;
	return 0;
}

static int teardown(void **state)
{
	a = arena_free(a);
	return 0;
}

static yyjson_val *json(const char *text)
{
	yyjson_val *v;
	struct err e;

	if (doc_parse_json(a, "test", text, strlen(text), DOC_SIZE_MAX, &v, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return v;
}

static yyjson_val *pool(const char *name, const char *range, const char *annotations, const char *allocations)
{
	struct ipam_pool *p = arena_push(a, &pools, &n_pools, sizeof(*p));
	yyjson_val *obj = json(arena_printf(a, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"annotations\":{%s}},"
					       "\"spec\":{\"range\":\"%s\",\"allocations\":{%s}}}", name, annotations, range, allocations));

	assert_int_equal(ipam_pool_decode(a, obj, p, NULL), 0);
	return obj;
}

#define ENTRY(offset, id, pod) "\"" offset "\":{\"id\":\"" id "\",\"podref\":\"llm/" pod "\",\"ifname\":\"net1\"}"

static struct ipam_pod *pod(const char *name, const char *node, const char *ip)
{
	struct ipam_pod *p = arena_push(a, &pods, &n_pods, sizeof(*p));

	p->podref = arena_printf(a, "llm/%s", name);
	p->node = node;
	p->has_status = ip;
	if (ip)
		*(const char **)arena_push(a, &p->ips, &p->n_ips, sizeof(char *)) = ip;
	return p;
}

static void reservation(const char *name, const char *owner)
{
	struct ipam_reservation *r = arena_push(a, &reservations, &n_reservations, sizeof(*r));

	*r = (struct ipam_reservation){ name, arena_printf(a, "uid-%s", name), arena_printf(a, "llm/%s", owner), "net1" };
}

/* What is fixed once the grace period is over: "drop 10.0.0.0-24/5; ..." */
static const char *fixes_after(uint64_t ms)
{
	struct ipam_reconcile_in in = { pools, n_pools, reservations, n_reservations, pods, n_pods, nodes, ARRAY_SIZE(nodes), .now_ms = 1000000,
					.grace_ms = grace };
	struct ipam_reconcile_out out;
	const char *text = "";

	ipam_reconcile(a, &in, &out);
	assert_int_equal(out.n_fixes, 0);
	next_ms = out.next_ms;
	in.suspects = out.suspects;
	in.n_suspects = out.n_suspects;
	in.now_ms += ms;
	ipam_reconcile(a, &in, &out);
	for (size_t i = 0; i < out.n_fixes; i++) {
		const struct ipam_fix *f = &out.fixes[i];

		text = f->kind == IPAM_DROP_ENTRY ? arena_printf(a, "%sdrop %s/%s; ", text, f->object, f->entry->offset) :
		       f->kind == IPAM_DROP_RESERVATION ? arena_printf(a, "%sdrop %s; ", text, f->uid) :
							  arena_printf(a, "%sadd %s for %s; ", text, f->object, f->entry->podref);
	}
	return text;
}

static void a_pod_that_is_gone_loses_its_address_after_the_grace(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a") "," ENTRY("6", "c2", "b"));
	pod("b", "n1", "10.0.0.6");
	assert_string_equal(fixes_after(GRACE - 1), "");
	assert_string_equal(fixes_after(GRACE), "drop 10.0.0.0-24/5; ");
	pod("a", "n1", NULL)->gone = true;
	assert_string_equal(fixes_after(GRACE), "drop 10.0.0.0-24/5; ");
}

static void a_new_sandbox_begins_a_new_grace(void **state)
{
	struct ipam_reconcile_in in = { .grace_ms = GRACE, .now_ms = 5 };
	struct ipam_reconcile_out out;

	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a"));
	in.pools = pools;
	in.n_pools = 1;
	ipam_reconcile(a, &in, &out);
	assert_int_equal(out.n_suspects, 1);
	assert_int_equal(out.next_ms, GRACE);
	in.suspects = out.suspects;
	in.n_suspects = 1;
	in.now_ms += GRACE;
	n_pools = 0;
	pools = NULL;
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c2", "a"));
	in.pools = pools;
	ipam_reconcile(a, &in, &out);
	assert_int_equal(out.n_fixes, 0);
	assert_int_equal(out.next_ms, GRACE);
}

static void a_pod_in_add_is_never_touched(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a"));
	pod("a", "n1", NULL);
	assert_string_equal(fixes_after(100 * GRACE), "");
}

static void a_pod_of_the_same_name_that_lives_counts(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a"));
	pod("a", "n1", "10.0.0.5")->gone = true;
	pod("a", "n2", NULL);
	pod("b", "n2", NULL);
	assert_string_equal(fixes_after(GRACE), "");
}

static void a_node_that_is_cut_off_keeps_its_addresses(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a") "," ENTRY("6", "c2", "b") "," ENTRY("7", "c3", "c"));
	pod("a", "n1", "10.0.0.5")->gone = true; /* force-deleted while its node is away */
	pod("b", "n1", "10.0.0.6")->ended = true;
	nodes[0].state = IPAM_NODE_AWAY;
	/* nobody saw where c was: it may have been there */
	assert_string_equal(fixes_after(GRACE), "");
	nodes[0].state = IPAM_NODE_GONE;
	assert_string_equal(fixes_after(GRACE), "drop 10.0.0.0-24/5; drop 10.0.0.0-24/6; drop 10.0.0.0-24/7; ");
	nodes[0].state = IPAM_NODE_READY;
	nodes[1].state = IPAM_NODE_AWAY;
	assert_string_equal(fixes_after(GRACE), "drop 10.0.0.0-24/5; drop 10.0.0.0-24/6; ");
}

static void an_address_that_a_running_pod_does_not_have_goes(void **state)
{
	pool("fd00---64", "fd00::/64", "", ENTRY("5", "c1", "a") "," ENTRY("6", "c2", "b"));
	pod("a", "n1", "fd00::0005");
	pod("b", "n1", "10.0.0.6");
	assert_string_equal(fixes_after(GRACE), "drop fd00---64/6; ");
}

/* Started anew after its node was: the old address went with the old sandbox, network-status is the old one's while the new ADD lasts. */
static void an_address_that_a_new_sandbox_of_a_pod_has_just_taken_outlasts_its_add(void **state)
{
	grace = 50000;
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "new", "a") "," ENTRY("6", "c2", "b") "," ENTRY("7", "c3", "c"));
	pod("a", "n1", "10.0.0.9");
	pod("b", "n1", "10.0.0.9")->ended = true;
	assert_string_equal(fixes_after(240000), "drop 10.0.0.0-24/6; drop 10.0.0.0-24/7; ");
	assert_int_equal(next_ms, 50000);
	assert_string_equal(fixes_after(300000), "drop 10.0.0.0-24/5; drop 10.0.0.0-24/6; drop 10.0.0.0-24/7; ");
}

/* Names with dashes and digits, IPv6, and network_name together: taken apart, they would be read wrong. */
static void reservations_are_compared_by_the_name_that_an_entry_makes(void **state)
{
	pool("net-1-fd00---64", "fd00::/64", "", ENTRY("5", "c1", "a") "," ENTRY("0", "c4", "d"));
	pool("a-10.0.0.0-24", "10.0.0.0/24", "", ENTRY("7", "c2", "b"));
	pool("fd01---64", "fd01::/64", "", ENTRY("9", "c3", "c"));
	pod("a", "n1", "fd00::5");
	pod("d", "n1", "fd00::");
	pod("b", "n1", "10.0.0.7");
	pod("c", "n1", "fd01::9");
	reservation("net-1-fd00--5", "a");
	reservation("net-1-fd00--0", "d");
	reservation("a-10.0.0.7", "b");
	reservation("fd01--9", "c");
	reservation("a-10.0.0.8", "b"); /* another address */
	reservation("10.0.0.7", "b");	/* another network */
	reservation("b-10.0.0.7", "b");
	assert_string_equal(fixes_after(GRACE), "drop uid-a-10.0.0.8; drop uid-10.0.0.7; drop uid-b-10.0.0.7; ");
	assert_string_equal(fixes_after(GRACE - 1), "");
}

static void slices_of_nodes_share_the_network_name(void **state)
{
	pool("net-n1-10.0.0.0-26", "10.0.0.0/26", "", ENTRY("7", "c2", "b"));
	pool("n2-10.0.0.64-26", "10.0.0.64/26", "", ENTRY("1", "c3", "c"));
	pod("b", "n1", "10.0.0.7");
	pod("c", "n2", "10.0.0.65");
	reservation("net-10.0.0.7", "b");
	reservation("10.0.0.65", "c");
	assert_string_equal(fixes_after(GRACE), "");
}

static void a_reservation_of_another_pod_is_an_orphan(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("7", "c2", "b"));
	pod("b", "n1", "10.0.0.7");
	reservation("10.0.0.7", "old");
	assert_string_equal(fixes_after(GRACE), "drop uid-10.0.0.7; ");
}

static void entries_of_pools_that_overlap_get_their_reservations(void **state)
{
	pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("7", "c2", "b"));
	pool("10.0.0.0-16", "10.0.0.0/16", "", ENTRY("9", "c3", "c"));
	pool("n-10.0.0.0-16", "10.0.0.0/16", "", ENTRY("9", "c4", "d"));
	pool("10.9.0.0-24", "10.9.0.0/24", "\"kvrail.io/overlaps\":\"true\"", ENTRY("3", "c5", "e"));
	pod("b", "n1", "10.0.0.7");
	pod("c", "n1", "10.0.0.9");
	pod("d", "n1", "10.0.0.9");
	pod("e", "n1", "10.9.0.3");
	reservation("10.0.0.9", "c");
	assert_string_equal(fixes_after(9999), "");
	assert_string_equal(fixes_after(10000), "add 10.0.0.7 for llm/b; add 10.9.0.3 for llm/e; ");
}

static void the_patch_drops_only_what_the_container_still_holds(void **state)
{
	yyjson_val *obj = pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c1", "a") "," ENTRY("6", "c2", "b"));
	const struct ipam_entry *both[] = { &pools[0].entries[0], &pools[0].entries[1] };
	const char *patch = ipam_drop_patch(a, both, 2);
	struct ipam_pool after;

	assert_int_equal(ipam_pool_decode(a, patch_apply(a, obj, patch), &after, NULL), 0);
	assert_int_equal(after.n, 0);
	assert_null(patch_apply(a, pool("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("5", "c9", "a") "," ENTRY("6", "c2", "b")), patch));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_pod_that_is_gone_loses_its_address_after_the_grace),
		T(a_new_sandbox_begins_a_new_grace),
		T(a_pod_in_add_is_never_touched),
		T(a_pod_of_the_same_name_that_lives_counts),
		T(a_node_that_is_cut_off_keeps_its_addresses),
		T(an_address_that_a_running_pod_does_not_have_goes),
		T(an_address_that_a_new_sandbox_of_a_pod_has_just_taken_outlasts_its_add),
		T(reservations_are_compared_by_the_name_that_an_entry_makes),
		T(slices_of_nodes_share_the_network_name),
		T(a_reservation_of_another_pod_is_an_orphan),
		T(entries_of_pools_that_overlap_get_their_reservations),
		T(the_patch_drops_only_what_the_container_still_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
