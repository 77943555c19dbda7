/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ipam/addr.h"
#include "ipam/ipam.h"
#include "store/ip.h"

static char dir[64];
static struct store *store;
static struct ipam *home;
static struct arena *arena;
static yyjson_doc **docs;
static size_t n_docs;

static int setup(void **state)
{
	char path[128];

	strcpy(dir, "/tmp/kvrail-ipam-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/store.db", dir);
	arena = arena_new();
	if (store_open_local(path, &store, NULL) < 0)
		return -1;
	home = ipam_local(store);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	home = ipam_close(home);
	store = store_close(store);
	for (size_t i = 0; i < n_docs; i++)
		yyjson_doc_free(docs[i]);
	docs = NULL;
	n_docs = 0;
	arena = arena_free(arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) ? -1 : 0;
}

static int release(const char *container, const char *ifname)
{
	return ipam_release(home, container, &ifname, ifname ? 1 : 0, NULL);
}

static yyjson_val *json(const char *text)
{
	yyjson_doc **doc = arena_push(arena, &docs, &n_docs, sizeof(*docs));

	*doc = yyjson_read(text, strlen(text), 0);
	assert_non_null(*doc);
	return yyjson_doc_get_root(*doc);
}

static struct ipam_conf *conf(const char *text)
{
	struct ipam_conf *c = arena_alloc(arena, sizeof(*c));
	struct err e = { 0 };

	if (ipam_conf_parse(arena, json(text), c, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return c;
}

static void refused(const char *text, const char *words)
{
	struct ipam_conf c;
	struct err e = { 0 };

	assert_true(ipam_conf_parse(arena, json(text), &c, &e) < 0);
	if (!strstr(e.msg, words))
		fail_msg("%s: '%s' has no '%s'", text, e.msg, words);
}

#define W "{\"type\":\"whereabouts\","

static const char *window(const char *text)
{
	struct ipam_conf *c = conf(text);

	assert_int_equal(c->n_ranges, 1);
	return arena_printf(arena, "%s %s %s", c->ranges[0].pool, ipam_ip_text(arena, &c->ranges[0].first),
			    ipam_ip_text(arena, &c->ranges[0].last));
}

static void pool_names_are_those_of_whereabouts(void **state)
{
	static const struct {
		const char *range, *pool;
	} cases[] = {
		{ "10.0.132.0/24", "10.0.132.0-24" },
		{ "10.0.132.77/24", "10.0.132.0-24" },
		{ "010.000.132.077/024", "10.0.132.0-24" },
		{ "10.0.132.10-10.0.132.20/24", "10.0.132.0-24" },
		{ "192.168.0.0/20", "192.168.0.0-20" },
		{ "2001:db8::/64", "2001-db8---64" },
		{ "2001:DB8:0:0:1::7/80", "2001-db8-0-0-1---80" },
		{ "::/64", "---64" },
		{ "fd00:0:0:1::/64", "fd00-0-0-1---64" },
		{ "::ffff:10.0.0.0/120", "10.0.0.0-24" },
		{ "::10.0.0.0/120", "--a00-0-120" },
		{ "1::2:3:4:5:6:7/126", "1-0-2-3-4-5-6-4-126" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipam_conf *c = conf(arena_printf(arena, W "\"range\":\"%s\"}", cases[i].range));

		assert_string_equal(c->ranges[0].pool, cases[i].pool);
		c = conf(arena_printf(arena, W "\"network_name\":\"net:1\",\"range\":\"%s\"}", cases[i].range));
		assert_string_equal(c->ranges[0].pool, arena_printf(arena, "net:1-%s", cases[i].pool));
	}
}

static void windows_skip_network_and_broadcast(void **state)
{
	assert_string_equal(window(W "\"range\":\"10.0.132.0/24\"}"), "10.0.132.0-24 10.0.132.1 10.0.132.254");
	assert_string_equal(window(W "\"range\":\"10.0.132.4/30\"}"), "10.0.132.4-30 10.0.132.5 10.0.132.6");
	assert_string_equal(window(W "\"range\":\"fd00::/126\"}"), "fd00---126 fd00::1 fd00::2");
	assert_string_equal(window(W "\"range\":\"fd00::/64\"}"), "fd00---64 fd00::1 fd00::ffff:ffff:ffff:fffe");
	assert_string_equal(window(W "\"range\":\"0.0.0.0/0\"}"), "0.0.0.0-0 0.0.0.1 255.255.255.254");
	assert_string_equal(window(W "\"range\":\"10.0.0.0/24\",\"range_start\":\"10.0.0.0\",\"range_end\":\"10.0.0.255\"}"),
			    "10.0.0.0-24 10.0.0.1 10.0.0.254");
	assert_string_equal(window(W "\"range\":\"10.0.0.0/24\",\"range_start\":\"10.0.0.010\",\"range_end\":\"10.0.0.020\"}"),
			    "10.0.0.0-24 10.0.0.10 10.0.0.20");
	assert_string_equal(window(W "\"range\":\"10.0.0.9-10.0.0.11/24\"}"), "10.0.0.0-24 10.0.0.9 10.0.0.11");
	refused(W "\"range\":\"10.0.0.0/31\"}", "10.0.0.0/31 has no address to give");
	refused(W "\"range\":\"10.0.0.1/32\"}", "use /30 or shorter");
	refused(W "\"range\":\"fd00::/127\"}", "use /126 or shorter");
	refused(W "\"range\":\"fd00::1/128\"}", "has no address to give");
}

static void bad_configurations_name_the_key_the_value_and_the_way_out(void **state)
{
	refused(W "\"range\":\"10.0.0.0\"}", "ipam.range 10.0.0.0 is no CIDR: write it like");
	refused(W "\"range\":\"10.0.0.0/33\"}", "ipam.range 10.0.0.0/33 is no CIDR");
	refused(W "\"range\":\"10.0.0.256/24\"}", "is no CIDR");
	refused(W "\"range\":5}", "ipam.range is no string");
	refused(W "\"range\":\"\"}", "ipam.range is missing");
	refused(W "\"gateway\":\"10.0.0.1\"}", "ipam.range is missing");
	refused(W "\"range\":\"10.0.1.1-10.0.0.20/24\"}", "10.0.1.1 is outside 10.0.0.0/24");
	refused(W "\"range\":\"x-10.0.0.20/24\"}", "x is no IP address");
	refused(W "\"range\":\"10.0.132.0/24\",\"range_end\":\"10.0.133.9\"}", "range_end 10.0.133.9 is outside 10.0.132.0/24");
	refused(W "\"range\":\"10.0.132.0/24\",\"range_start\":\"fd00::1\"}", "range_start fd00::1 is outside 10.0.132.0/24");
	refused(W "\"range\":\"10.0.132.0/24\",\"range_start\":\"10.0.132.x\"}", "range_start 10.0.132.x is no IP address");
	refused(W "\"range\":\"10.0.132.0/24\",\"range_start\":\"10.0.132.9\",\"range_end\":\"10.0.132.8\"}",
		"range_end 10.0.132.8 is below 10.0.132.9");
	refused(W "\"range\":\"10.0.132.0/24\",\"exclude\":[\"10.0.133.0/28\"]}", "exclude[0] 10.0.133.0/28 is outside 10.0.132.0/24");
	refused(W "\"range\":\"10.0.132.0/24\",\"exclude\":[\"10.0.132.0/28\",\"fd00::1\"]}", "exclude[1] fd00::1 is outside");
	refused(W "\"range\":\"10.0.132.0/24\",\"exclude\":[\"pods\"]}", "exclude[0] pods is neither a CIDR nor an IP address");
	refused(W "\"range\":\"10.0.132.0/24\",\"exclude\":\"10.0.132.1\"}", "ipam.exclude is no list");
	refused(W "\"range\":\"10.0.132.0/24\",\"gateway\":\"10.0.132\"}", "ipam.gateway 10.0.132 is no IP address");
	refused(W "\"ipRanges\":[{\"range\":\"10.0.0.0/24\"},{\"range\":\"10.0.0.7/24\"}]}", "ipRanges[1].range 10.0.0.0/24 is in the list twice");
	refused(W "\"ipRanges\":[{\"range\":\"10.0.0.0/240\"}]}", "ipam.ipRanges[0].range 10.0.0.0/240 is no CIDR");
	refused(W "\"ipRanges\":[7]}", "ipam.ipRanges[0] is no object");
	refused(W "\"range\":\"10.0.0.0/24\",\"routes\":[{\"dst\":\"default\"}]}", "ipam.routes[0].dst default is no CIDR");
	refused(W "\"range\":\"10.0.0.0/24\",\"enable_overlapping_ranges\":\"no\"}", "is neither true nor false");
	refused(W "\"range\":\"10.0.0.0/24\",\"dns\":[]}", "ipam.dns is no object");
	refused("{\"type\":\"dhcp\"}", "ipam.type dhcp is not known here");
	refused("{\"type\":\"static\",\"addresses\":[{\"address\":\"10.0.0.5\"}]}", "addresses[0].address 10.0.0.5 is no address with a prefix");
	refused("[]", "ipam is no object");
}

static void legacy_keys_of_whereabouts_are_accepted(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\",\"datastore\":\"kubernetes\",\"etcd_host\":\"x\",\"log_file\":\"/tmp/x\","
				   "\"kubernetes\":{\"kubeconfig\":\"/x\"},\"node_slice_size\":\"/26\",\"sleep_for_race\":1,"
				   "\"leader_lease_duration\":1500,\"reconciler_cron_expression\":\"* * * * *\"}");

	assert_int_equal(c->n_ranges, 1);
	assert_true(c->overlapping);
	assert_null(conf("{}")->type);
}

static void the_rest_of_the_configuration_is_kept(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\",\"ipRanges\":[{\"range\":\"fd00::/64\",\"range_start\":\"fd00::10\"}],"
				   "\"gateway\":\"010.0.0.1\",\"enable_overlapping_ranges\":false,"
				   "\"routes\":[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"10.1.0.0/16\",\"gw\":\"10.0.0.2\",\"mtu\":9000,\"table\":5}],"
				   "\"addresses\":[{\"address\":\"10.9.0.1/16\",\"gateway\":\"10.9.0.254\"}],\"dns\":{\"domain\":\"x\"}}");

	assert_int_equal(c->n_ranges, 2);
	assert_string_equal(c->ranges[0].cidr, "10.0.0.0/24");
	assert_string_equal(c->ranges[1].cidr, "fd00::/64");
	assert_false(c->ranges[1].v4);
	assert_int_equal(c->ranges[1].prefix_len, 64);
	assert_string_equal(c->gateway, "10.0.0.1");
	assert_false(c->overlapping);
	assert_string_equal(c->routes[0].dst, "0.0.0.0/0");
	assert_null(c->routes[0].gw);
	assert_int_equal(c->routes[0].mtu, -1);
	assert_string_equal(c->routes[1].gw, "10.0.0.2");
	assert_int_equal(c->routes[1].mtu, 9000);
	assert_int_equal(c->routes[1].table, 5);
	assert_string_equal(c->addresses[0].gateway, "10.9.0.254");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(c->dns, "domain")), "x");
}

static struct ipam_given *allocate(const char *pod, const struct ipam_ask *asks, size_t n)
{
	struct ipam_given *given = NULL;
	struct err e = { 0 };

	if (ipam_allocate(home, arena, pod, arena_printf(arena, "llm/%s", pod), asks, n, &given, &e) < 0)
		fail_msg("%s", e.msg);
	return given;
}

static const char *address(const char *pod, const struct ipam_conf *c, const char *requested)
{
	struct ipam_ask ask = { c, "net1", requested };

	return allocate(pod, &ask, 1)->ips[0].address;
}

static int denied(const char *pod, const struct ipam_conf *c, const char *requested, const char *words)
{
	struct ipam_ask ask = { c, "net1", requested };
	struct ipam_given *given;
	struct err e = { 0 };
	int r = ipam_allocate(home, arena, pod, arena_printf(arena, "llm/%s", pod), &ask, 1, &given, &e);

	assert_true(r < 0);
	if (!strstr(e.msg, words))
		fail_msg("'%s' has no '%s'", e.msg, words);
	return r;
}

static void the_same_pod_and_interface_keeps_its_address(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.132.0/24\"}");
	struct ipam_ask ask = { c, "net1", NULL };
	struct ipam_given *given;
	struct err e = { 0 };

	assert_string_equal(address("a", c, NULL), "10.0.132.1/24");
	assert_string_equal(address("b", c, NULL), "10.0.132.2/24");
	/* a sandbox made anew: another container, the same pod */
	assert_int_equal(ipam_allocate(home, arena, "a-again", "llm/a", &ask, 1, &given, &e), 0);
	assert_string_equal(given->ips[0].address, "10.0.132.1/24");
	/* the DEL of the old sandbox comes late and takes nothing */
	assert_int_equal(release("a", "net1"), 0);
	assert_string_equal(address("c", c, NULL), "10.0.132.3/24");
	assert_true(release("a-again", "net1") >= 0);
	assert_string_equal(address("d", c, NULL), "10.0.132.1/24");
}

static void networks_of_one_range_share_its_addresses(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.132.0/24\"}");
	struct ipam_ask asks[] = { { c, "net1", NULL }, { c, "net2", NULL } };
	struct ipam_given *given = allocate("a", asks, 2);

	assert_string_equal(given[0].ips[0].address, "10.0.132.1/24");
	assert_string_equal(given[1].ips[0].address, "10.0.132.2/24");
}

static void overlapping_ranges_never_give_the_same_address(void **state)
{
	struct ipam_conf *wide = conf(W "\"range\":\"10.0.0.0/16\"}"), *narrow = conf(W "\"range\":\"10.0.0.0/24\"}");
	struct ipam_conf *apart = conf(W "\"range\":\"10.0.0.0/24\",\"network_name\":\"blue\"}");
	struct ipam_conf *loose = conf(W "\"range\":\"10.0.0.0/25\",\"enable_overlapping_ranges\":false}");

	assert_string_equal(address("a", wide, NULL), "10.0.0.1/16");
	assert_string_equal(address("b", narrow, NULL), "10.0.0.2/24");
	assert_string_equal(address("c", wide, NULL), "10.0.0.3/16");
	assert_string_equal(address("d", apart, NULL), "10.0.0.1/24");
	assert_string_equal(address("e", loose, NULL), "10.0.0.1/25");
}

static void excludes_are_never_given(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/28\",\"exclude\":[\"10.0.0.12/30\",\"10.0.0.2\",\"10.0.0.4/31\",\"10.0.0.0/31\","
				   "\"10.0.0.5\"]}");
	static const char *const expect[] = { "10.0.0.3/28", "10.0.0.6/28", "10.0.0.7/28", "10.0.0.8/28", "10.0.0.9/28", "10.0.0.10/28",
					      "10.0.0.11/28" };

	for (size_t i = 0; i < ARRAY_SIZE(expect); i++)
		assert_string_equal(address(arena_printf(arena, "p%zu", i), c, NULL), expect[i]);
	assert_int_equal(denied("late", c, NULL, "7 held, by llm/p0 net1 (10.0.0.3), llm/p1 net1 (10.0.0.6)"), -ENOSPC);
}

static void an_exhausted_range_says_who_holds_it(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/28\"}");
	const char *words = "range 10.0.0.0/28 (10.0.0.1 to 10.0.0.14) has no free address left: 14 held, by llm/p0 net1 (10.0.0.1), "
			    "llm/p1 net1 (10.0.0.2), llm/p2 net1 (10.0.0.3), llm/p3 net1 (10.0.0.4), llm/p4 net1 (10.0.0.5) and 9 more";

	for (int i = 0; i < 14; i++)
		address(arena_printf(arena, "p%d", i), c, NULL);
	assert_int_equal(denied("late", c, NULL, words), -ENOSPC);
}

static void all_of_a_pods_addresses_or_none(void **state)
{
	struct ipam_conf *big = conf(W "\"range\":\"10.0.0.0/24\"}"), *small = conf(W "\"range\":\"10.1.0.0/30\"}");
	struct ipam_ask asks[] = { { big, "net1", NULL }, { small, "net2", NULL } };
	struct ipam_given *given;
	struct store_lease *leases;
	struct err e = { 0 };
	size_t n;

	address("x", small, NULL);
	address("y", small, NULL);
	assert_int_equal(ipam_allocate(home, arena, "a", "llm/a", asks, 2, &given, &e), -ENOSPC);
	assert_int_equal(store_leases(store, arena, "10.0.0.0-24", &leases, &n, &e), 0);
	assert_int_equal(n, 0);
}

static void a_requested_address_is_given_or_the_reason_why_not(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\",\"range_start\":\"10.0.0.10\",\"exclude\":[\"10.0.0.50\"]}");

	assert_string_equal(address("a", c, "10.0.0.77"), "10.0.0.77/24");
	assert_string_equal(address("b", c, "10.0.0.78/24"), "10.0.0.78/24");
	assert_string_equal(address("a", c, "10.0.0.77"), "10.0.0.77/24");
	assert_int_equal(denied("c", c, "10.0.0.77", "is held by llm/a net1"), -EADDRINUSE);
	denied("c", c, "10.0.0.50", "is not among those that range 10.0.0.0/24 gives out");
	denied("c", c, "10.0.0.9", "is not among those that range 10.0.0.0/24 gives out (10.0.0.10 to 10.0.0.254");
	denied("c", c, "10.0.0.80,10.0.0.81/24", "10.0.0.80 and 10.0.0.81/24, which the pod asks for on net1, are both of range 10.0.0.0/24");
	denied("c", c, "ten", "is no IP address");
	denied("c", c, "10.0.0.80,,10.0.1.9/24", "is no IP address");
	assert_int_equal(denied("c", c, "10.0.1.9", "has no prefix length"), -EINVAL);
	/* the pod comes again and asks for another */
	assert_string_equal(address("a", c, "10.0.0.79"), "10.0.0.79/24");
	assert_string_equal(address("c", c, "10.0.0.77"), "10.0.0.77/24");
}

/* As Whereabouts gives it. */
static void an_address_of_no_range_is_static_beside_those_of_the_ranges(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\",\"ipRanges\":[{\"range\":\"fd00::/64\"}],\"gateway\":\"10.0.0.254\","
				   "\"addresses\":[{\"address\":\"10.8.0.1/16\",\"gateway\":\"10.8.0.254\"}]}");
	struct ipam_ask ask = { c, "net1", "172.16.0.9/12,fd00::77,10.8.0.9" };
	struct ipam_given *given = allocate("a", &ask, 1);
	static const char *const expect[] = { "10.0.0.1/24", "fd00::77/64", "10.8.0.1/16", "172.16.0.9/12", "10.8.0.9/16" };
	struct store_lease *leases;
	size_t n;

	assert_int_equal(given->n_ips, ARRAY_SIZE(expect));
	for (size_t i = 0; i < ARRAY_SIZE(expect); i++)
		assert_string_equal(given->ips[i].address, expect[i]);
	assert_null(given->ips[3].gateway);
	assert_string_equal(given->ips[4].gateway, "10.8.0.254");
	assert_int_equal(store_leases(store, arena, NULL, &leases, &n, NULL), 0);
	assert_int_equal(n, 2);
}

static void dual_stack_gives_one_address_of_each_range(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\",\"gateway\":\"10.0.0.254\",\"ipRanges\":[{\"range\":\"fd00:1::/64\"}],"
				   "\"addresses\":[{\"address\":\"10.9.0.1/16\",\"gateway\":\"10.9.0.254\"}]}");
	struct ipam_ask ask = { c, "net1", "fd00:1::77" };
	struct ipam_given *given = allocate("a", &ask, 1);

	assert_int_equal(given->n_ips, 3);
	assert_string_equal(given->ips[0].address, "10.0.0.1/24");
	assert_string_equal(given->ips[0].gateway, "10.0.0.254");
	assert_string_equal(given->ips[1].address, "fd00:1::77/64");
	assert_null(given->ips[1].gateway);
	assert_false(given->ips[1].v4);
	assert_string_equal(given->ips[2].address, "10.9.0.1/16");
}

static void a_large_v6_range_is_used_beyond_64_bits(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"fd00::/16\",\"range_start\":\"fd00:ffff:ffff:ffff:ffff:ffff:ffff:fffe\"}");

	assert_string_equal(address("a", c, NULL), "fd00:ffff:ffff:ffff:ffff:ffff:ffff:fffe/16");
	denied("b", c, NULL, "1 held, by llm/a");
}

static void static_addresses_need_no_lease(void **state)
{
	struct ipam_conf *c = conf("{\"type\":\"static\",\"addresses\":[{\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\"},"
				   "{\"address\":\"fd00::5/64\"}]}");
	struct ipam_ask ask = { c, "net1", NULL };
	struct ipam_given *given = allocate("a", &ask, 1);

	assert_int_equal(given->n_ips, 2);
	assert_string_equal(given->ips[0].address, "10.0.0.5/24");
	assert_string_equal(given->ips[0].gateway, "10.0.0.1");
	assert_string_equal(given->ips[1].address, "fd00::5/64");
	assert_string_equal(address("a", c, "10.0.0.9"), "10.0.0.9/24");
	assert_string_equal(address("a", c, "172.16.0.9/12"), "172.16.0.9/12");
	ask.requested = "172.16.0.9/12,fd00::9";
	given = allocate("a", &ask, 1);
	assert_int_equal(given->n_ips, 2);
	assert_string_equal(given->ips[1].address, "fd00::9/64");
	denied("a", c, "172.16.0.9", "has no prefix length");
	assert_int_equal(release("a", NULL), 0);
}

static void a_lease_needs_a_pod(void **state)
{
	struct ipam_conf *c = conf(W "\"range\":\"10.0.0.0/24\"}");
	struct ipam_ask ask = { c, "net1", NULL };
	struct ipam_given *given;
	struct err e = { 0 };

	assert_int_equal(ipam_allocate(home, arena, "c", "", &ask, 1, &given, &e), -EINVAL);
}

/* Random adds and deletes of pods on three networks against arrays of who holds what. */
static void a_naive_allocator_agrees(void **state)
{
	enum { PODS = 24, NETS = 3, HOSTS = 32 };
	static const struct {
		const char *text;
		int first, last, domain; /* of HOSTS; domain -1: alone */
	} nets[NETS] = {
		{ W "\"range\":\"10.0.0.0/27\",\"exclude\":[\"10.0.0.8/30\"]}", 1, 30, 0 },
		{ W "\"range\":\"10.0.0.16/28\"}", 17, 30, 0 },
		{ W "\"range\":\"10.0.0.0/26\",\"range_end\":\"10.0.0.20\",\"enable_overlapping_ranges\":false}", 1, 20, -1 },
	};
	int held[PODS][NETS] = { { 0 } };
	const struct ipam_conf *confs[NETS];
	unsigned seed = 7;

	for (int i = 0; i < NETS; i++)
		confs[i] = conf(nets[i].text);
	for (int op = 0; op < 1500; op++) {
		int pod = rand_r(&seed) % PODS, net = rand_r(&seed) % NETS, expect = 0;
		const char *name = arena_printf(arena, "p%d", pod), *ifname = arena_printf(arena, "net%d", net);
		struct ipam_ask ask = { confs[net], ifname, NULL };
		struct ipam_given *given;
		struct err e = { 0 };
		int r;

		if (rand_r(&seed) % 5 < 2) {
			assert_int_equal(release(name, ifname), 0);
			held[pod][net] = 0;
			continue;
		}
		for (int h = nets[net].first; !expect && h <= nets[net].last; h++) {
			bool taken = net == 0 && h >= 8 && h < 12;

			for (int p = 0; p < PODS; p++)
				for (int k = 0; k < NETS; k++)
					taken |= held[p][k] == h && (k == net || (nets[k].domain == 0 && nets[net].domain == 0));
			expect = taken ? 0 : h;
		}
		if (held[pod][net])
			expect = held[pod][net];
		r = ipam_allocate(home, arena, name, arena_printf(arena, "llm/%s", name), &ask, 1, &given, &e);
		if (!expect) {
			assert_int_equal(r, -ENOSPC);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(atoi(strrchr(given->ips[0].address, '.') + 1), expect);
		held[pod][net] = expect;
	}
}

static void an_exclude_of_the_other_family_is_refused(void **state)
{
	refused(W "\"range\":\"10.0.0.0/24\",\"exclude\":[\"::/0\"]}", "ipam.exclude[0] ::/0 is outside 10.0.0.0/24");
	refused(W "\"range\":\"fd00::/64\",\"exclude\":[\"10.0.0.1\"]}", "ipam.exclude[0] 10.0.0.1 is outside fd00::/64");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(pool_names_are_those_of_whereabouts),
		T(windows_skip_network_and_broadcast),
		T(an_exclude_of_the_other_family_is_refused),
		T(bad_configurations_name_the_key_the_value_and_the_way_out),
		T(legacy_keys_of_whereabouts_are_accepted),
		T(the_rest_of_the_configuration_is_kept),
		T(the_same_pod_and_interface_keeps_its_address),
		T(networks_of_one_range_share_its_addresses),
		T(overlapping_ranges_never_give_the_same_address),
		T(excludes_are_never_given),
		T(an_exhausted_range_says_who_holds_it),
		T(all_of_a_pods_addresses_or_none),
		T(a_requested_address_is_given_or_the_reason_why_not),
		T(an_address_of_no_range_is_static_beside_those_of_the_ranges),
		T(dual_stack_gives_one_address_of_each_range),
		T(a_large_v6_range_is_used_beyond_64_bits),
		T(static_addresses_need_no_lease),
		T(a_lease_needs_a_pod),
		T(a_naive_allocator_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
