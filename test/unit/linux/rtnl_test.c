/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses and routes of the running kernel, in network namespaces of the test's own. */
#include <arpa/inet.h>
#include <limits.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "linux/netns.h"
#include "linux/nl-msg.h"
#include "linux/rtnl.h"
#include "sandbox.h"

static struct nl *nl;
static struct arena *arena;
static struct err e;

#define ok(call)                                                                 \
	do {                                                                     \
		int _x = (call);                                                 \
		if (_x < 0)                                                      \
			fail_msg("%s: %s", #call, e.msg);                        \
	} while (0)

static unsigned index_of(const char *name)
{
	struct rtnl_link l;

	ok(rtnl_link(nl, arena, name, &l, &e));
	return l.index;
}

/* A link to play with: one end of a veth, which more kernels have than dummy. Its other end is NAME-. */
static void add(const char *name)
{
	char peer[32];

	snprintf(peer, sizeof(peer), "%s-", name);
	ok(rtnl_add_veth(nl, name, peer, &e));
}

static void set_pair_up(const char *name)
{
	char peer[32];

	snprintf(peer, sizeof(peer), "%s-", name);
	ok(rtnl_set_up(nl, index_of(name), true, &e));
	ok(rtnl_set_up(nl, index_of(peer), true, &e));
}

static int fresh_namespace(void **state)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	arena = arena_new();
	return rtnl_open(&nl, &e);
}

static int drop_namespace(void **state)
{
	nl = nl_close(nl);
	arena = arena_free(arena);
	return 0;
}

static void a_link_is_found_by_name_index_and_in_the_list(void **state)
{
	struct rtnl_link by_name, by_index, *all;
	size_t n;

	add("rail0");
	ok(rtnl_link(nl, arena, "rail0", &by_name, &e));
	assert_string_equal(by_name.kind, "veth");
	assert_int_equal(by_name.mtu, 1500);
	assert_int_equal(by_name.mac_len, 6);
	assert_int_equal(by_name.type, 1);
	assert_false(by_name.flags & IFF_UP);
	ok(rtnl_link_by_index(nl, arena, by_name.index, &by_index, &e));
	assert_string_equal(by_index.name, "rail0");
	ok(rtnl_links(nl, arena, &all, &n, &e));
	assert_int_equal(n, 3);
	assert_string_equal(all[0].name, "lo");
	assert_string_equal(all[1].name, "rail0-");
	assert_string_equal(all[2].name, "rail0");
}

static void a_missing_link_is_told_by_name(void **state)
{
	struct rtnl_link l = { .index = 77 };

	assert_int_equal(rtnl_link(nl, arena, "net1", &l, &e), -ENODEV);
	assert_string_equal(e.msg, "there is no network interface \"net1\"");
	assert_int_equal(rtnl_link(nl, arena, "", &l, &e), -ENODEV);
	assert_int_equal(rtnl_link(nl, arena, "a-name-that-no-interface-can-have", &l, &e), -ENODEV);
	assert_int_equal(rtnl_link_by_index(nl, arena, 4711, &l, &e), -ENODEV);
	assert_string_equal(e.msg, "there is no network interface with index 4711");
	assert_int_equal(rtnl_set_mtu(nl, 4711, 9000, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "link 4711: cannot set the MTU 9000: "));
	assert_int_equal(l.index, 77);
}

static void settings_are_read_back(void **state)
{
	static const unsigned char mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
	struct rtnl_link l;
	unsigned i;

	add("rail0");
	i = index_of("rail0");
	ok(rtnl_set_mtu(nl, i, 9000, &e));
	ok(rtnl_set_mac(nl, i, mac, &e));
	ok(rtnl_set_name(nl, i, "net1", &e));
	ok(rtnl_set_up(nl, i, true, &e));
	ok(rtnl_link(nl, arena, "net1", &l, &e));
	assert_int_equal(l.index, i);
	assert_int_equal(l.mtu, 9000);
	assert_memory_equal(l.mac, mac, 6);
	assert_true(l.flags & IFF_UP);
	ok(rtnl_set_up(nl, i, false, &e));
	ok(rtnl_link(nl, arena, "net1", &l, &e));
	assert_false(l.flags & IFF_UP);
}

static void the_kernels_own_words_are_passed_on(void **state)
{
	unsigned i;

	ok(rtnl_add_veth(nl, "a", "b", &e));
	i = index_of("a");
	assert_int_equal(rtnl_set_mtu(nl, i, 20, &e), -EINVAL);
	assert_string_equal(e.msg, "a: cannot set the MTU 20: Invalid argument, kernel says: mtu less than device minimum");
	assert_int_equal(rtnl_set_name(nl, i, "b", &e), -EEXIST);
	assert_int_equal(rtnl_add_veth(nl, "a", "c", &e), -EEXIST);
	assert_non_null(strstr(e.msg, "cannot add the veth link a: File exists"));
}

static void a_name_that_is_a_pattern_is_refused(void **state)
{
	unsigned i;

	add("rail0");
	i = index_of("rail0");
	assert_int_equal(rtnl_set_name(nl, i, "net%d", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "\"net%d\""));
	assert_int_equal(rtnl_set_name(nl, i, "a/b", &e), -EINVAL);
	assert_int_equal(rtnl_set_name(nl, i, "sixteen-bytes-xx", &e), -EINVAL);
	assert_int_equal(rtnl_move(nl, i, 0, "", &e), -EINVAL);
	assert_int_equal(rtnl_add_veth(nl, "x y", "z", &e), -EINVAL);
}

static void alternative_names_find_the_link(void **state)
{
	struct rtnl_link l;
	unsigned i;

	add("rail0");
	i = index_of("rail0");
	ok(rtnl_add_altname(nl, i, "enp24s0v3", &e));
	ok(rtnl_add_altname(nl, i, "enp24s0f0np0v3-a-long-name", &e));
	ok(rtnl_link(nl, arena, "enp24s0v3", &l, &e));
	assert_int_equal(l.index, i);
	ok(rtnl_link(nl, arena, "enp24s0f0np0v3-a-long-name", &l, &e));
	assert_int_equal(l.index, i);
	assert_string_equal(l.name, "rail0");
	assert_int_equal(l.n_alt_names, 2);
	assert_string_equal(l.alt_names[0], "enp24s0v3");
	assert_string_equal(l.alt_names[1], "enp24s0f0np0v3-a-long-name");
	assert_int_equal(rtnl_add_altname(nl, i, "enp24s0v3", &e), -EEXIST);
}

struct pod {
	struct rtnl_link *links;
	size_t n;
};

static int list_links(void *arg)
{
	struct pod *p = arg;
	_cleanup_nl_ struct nl *there = NULL;
	int x = rtnl_open(&there, &e);

	return x < 0 ? x : rtnl_links(there, arena, &p->links, &p->n, &e);
}

static void a_link_moves_under_a_new_name(void **state)
{
	_cleanup_close_ int pod = netns_new(&e);
	struct pod p = { 0 };
	struct rtnl_link l;
	unsigned i;

	ok(pod);
	add("rail0");
	i = index_of("rail0");
	ok(rtnl_set_mtu(nl, i, 9000, &e));
	ok(rtnl_set_up(nl, i, true, &e));
	ok(rtnl_move(nl, i, pod, "net1", &e));
	assert_int_equal(rtnl_link(nl, arena, "rail0", &l, &e), -ENODEV);
	assert_int_equal(rtnl_link(nl, arena, "net1", &l, &e), -ENODEV);
	ok(netns_call(pod, false, list_links, &p, &e));
	assert_int_equal(p.n, 2);
	assert_string_equal(p.links[1].name, "net1");
	assert_int_equal(p.links[1].mtu, 9000);
	assert_false(p.links[1].flags & IFF_UP);
}

static void a_move_can_exchange_clashing_names(void **state)
{
	_cleanup_close_ int pod = netns_new(&e);
	struct pod p = { 0 };
	unsigned i;

	ok(pod);
	add("same");
	ok(rtnl_move(nl, index_of("same"), pod, NULL, &e));
	ok(rtnl_set_name(nl, index_of("same-"), "first-", &e));
	add("same");
	i = index_of("same");
	assert_int_equal(rtnl_move(nl, i, pod, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "same: cannot move it to another network namespace: File exists"));
	assert_int_equal(index_of("same"), i);
	ok(rtnl_move(nl, i, pod, "other", &e));
	ok(netns_call(pod, false, list_links, &p, &e));
	assert_int_equal(p.n, 3);
}

static void a_link_whose_names_are_taken_moves_under_a_number(void **state)
{
	_cleanup_close_ int pod = netns_new(&e);
	struct pod p = { 0 };
	size_t numbered = 0;

	ok(pod);
	add("same");
	ok(rtnl_move_numbered(nl, index_of("same"), pod, "kvrail", &e));
	ok(rtnl_set_name(nl, index_of("same-"), "first-", &e));
	add("same");
	ok(rtnl_move(nl, index_of("same"), pod, NULL, &e));
	ok(rtnl_set_name(nl, index_of("same-"), "second-", &e));
	add("same");
	ok(rtnl_move_numbered(nl, index_of("same"), pod, "kvrail", &e)); /* its own name is taken there, too */
	ok(netns_call(pod, false, list_links, &p, &e));
	assert_int_equal(p.n, 4);
	for (size_t i = 0; i < p.n; i++)
		numbered += !strncmp(p.links[i].name, "kvrail", 6) && p.links[i].name[6] >= '0' && p.links[i].name[6] <= '9';
	assert_int_equal(numbered, 2);
	add("rail0");
	assert_int_equal(rtnl_move_numbered(nl, index_of("rail0"), pod, "a%d", &e), -EINVAL);
	assert_int_equal(rtnl_move_numbered(nl, index_of("rail0"), pod, "fourteen-bytes", &e), -EINVAL);
}

static void a_move_to_what_is_no_namespace_fails(void **state)
{
	_cleanup_close_ int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	add("rail0");
	assert_int_equal(rtnl_move(nl, index_of("rail0"), file, "net1", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "rail0: cannot move it to another network namespace as net1: "));
	index_of("rail0");
}

static struct rtnl_addr address(int family, const char *text, uint8_t prefix_len)
{
	struct rtnl_addr a = { .family = family, .prefix_len = prefix_len };

	assert_int_equal(inet_pton(family, text, a.addr), 1);
	return a;
}

static const struct rtnl_addr *find(const struct rtnl_addr *all, size_t n, const struct rtnl_addr *want)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].family == want->family && memcmp(all[i].addr, want->addr, want->family == AF_INET ? 4 : 16) == 0)
			return &all[i];
	return NULL;
}

static void addresses_are_there_at_once_and_on_their_link_alone(void **state)
{
	struct rtnl_addr v4 = address(AF_INET, "10.0.132.1", 24), v6 = address(AF_INET6, "fd00:132::1", 64), *all;
	const struct rtnl_addr *found;
	unsigned i;
	size_t n;

	ok(rtnl_add_veth(nl, "a", "b", &e));
	ok(rtnl_set_up(nl, index_of("b"), true, &e));
	i = index_of("a");
	ok(rtnl_set_up(nl, i, true, &e));
	ok(rtnl_add_addr(nl, i, &v4, &e));
	ok(rtnl_add_addr(nl, i, &v6, &e));
	ok(rtnl_add_addr(nl, i, &v4, &e)); /* a second time is success */
	ok(rtnl_add_addr(nl, i, &v6, &e));
	ok(rtnl_addrs(nl, arena, i, &all, &n, &e));
	found = find(all, n, &v4);
	assert_non_null(found);
	assert_int_equal(found->prefix_len, 24);
	found = find(all, n, &v6);
	assert_non_null(found);
	assert_int_equal(found->prefix_len, 64);
	assert_false(found->flags & IFA_F_TENTATIVE); /* usable at once */
	assert_true(found->flags & IFA_F_NODAD);
	ok(rtnl_addrs(nl, arena, index_of("b"), &all, &n, &e));
	assert_null(find(all, n, &v6));
}

static void the_same_address_with_another_prefix_is_no_success(void **state)
{
	struct rtnl_addr v6 = address(AF_INET6, "fd00::1", 64), other = address(AF_INET6, "fd00::1", 80),
			 bad = address(AF_INET, "10.0.0.1", 33);
	unsigned i;

	add("rail0");
	i = index_of("rail0");
	ok(rtnl_add_addr(nl, i, &v6, &e));
	assert_int_equal(rtnl_add_addr(nl, i, &other, &e), -EEXIST);
	assert_int_equal(rtnl_add_addr(nl, i, &bad, &e), -EINVAL);
	assert_string_equal(e.msg, "the prefix length 33 is above 32");
}

static struct rtnl_route route(int family, const char *dst, uint8_t len, const char *via)
{
	struct rtnl_route r = { .family = family, .dst_len = len, .scope = -1, .has_gateway = via };

	assert_int_equal(inet_pton(family, dst, r.dst), 1);
	if (via)
		assert_int_equal(inet_pton(family, via, r.gateway), 1);
	return r;
}

/* What `ip` sees, so that the routes are not judged by the code that made them. */
static void ip_shows(const char *command, const char *want)
{
	char out[4096] = "";
	FILE *f = popen(command, "r");
	size_t n = fread(out, 1, sizeof(out) - 1, f);

	out[n] = '\0';
	pclose(f);
	if (!strstr(out, want))
		fail_msg("%s: \"%s\" is not in: %s", command, want, out);
}

static void routes_are_added_with_their_metrics(void **state)
{
	struct rtnl_addr v4 = address(AF_INET, "10.0.132.1", 24), v6 = address(AF_INET6, "fd00:132::1", 64);
	struct rtnl_route link = route(AF_INET, "10.1.0.0", 16, NULL), via = route(AF_INET, "10.2.0.0", 16, "10.0.132.254"),
			  six = route(AF_INET6, "fd00:9::", 32, "fd00:132::fe"), table = route(AF_INET, "0.0.0.0", 0, "10.0.132.254"),
			  nowhere = route(AF_INET, "10.3.0.0", 16, "192.0.2.1");
	unsigned i, found = 9;

	add("rail0");
	i = index_of("rail0");
	set_pair_up("rail0");
	ok(rtnl_add_addr(nl, i, &v4, &e));
	ok(rtnl_add_addr(nl, i, &v6, &e));
	via.mtu = 8000;
	via.advmss = 7000;
	via.priority = 50;
	table.table = 1000;
	ok(rtnl_add_route(nl, i, &link, &e));
	ok(rtnl_add_route(nl, i, &via, &e));
	ok(rtnl_add_route(nl, i, &six, &e));
	ok(rtnl_add_route(nl, i, &table, &e));
	ip_shows("ip route", "10.1.0.0/16 dev rail0 scope link");
	ip_shows("ip route", "10.2.0.0/16 via 10.0.132.254 dev rail0 metric 50 mtu 8000 advmss 7000");
	ip_shows("ip -6 route", "fd00:9::/32 via fd00:132::fe dev rail0");
	ip_shows("ip route show table 1000", "default via 10.0.132.254 dev rail0");
	ip_shows("ip addr show dev rail0", "inet 10.0.132.1/24 brd 10.0.132.255");
	ok(rtnl_default_route(nl, &found, &e)); /* that of table 1000 does not count */
	assert_int_equal(found, 0);
	assert_int_equal(rtnl_add_route(nl, i, &via, &e), -EEXIST);
	assert_int_equal(rtnl_add_route(nl, i, &nowhere, &e), -ENETUNREACH);
	assert_non_null(strstr(e.msg, "rail0: cannot add the route 10.3.0.0/16 via 192.0.2.1: Network is unreachable"));
}

static void the_default_route_of_least_metric_counts(void **state)
{
	struct rtnl_addr a = address(AF_INET, "10.0.1.1", 24), b = address(AF_INET, "10.0.2.1", 24);
	struct rtnl_route via_a = route(AF_INET, "0.0.0.0", 0, "10.0.1.254"), via_b = route(AF_INET, "0.0.0.0", 0, "10.0.2.254");
	unsigned ia, ib, found = 9;

	add("a");
	add("b");
	ia = index_of("a");
	ib = index_of("b");
	set_pair_up("a");
	set_pair_up("b");
	ok(rtnl_add_addr(nl, ia, &a, &e));
	ok(rtnl_add_addr(nl, ib, &b, &e));
	ok(rtnl_default_route(nl, &found, &e));
	assert_int_equal(found, 0);
	via_a.priority = 200;
	via_b.priority = 100;
	ok(rtnl_add_route(nl, ia, &via_a, &e));
	ok(rtnl_default_route(nl, &found, &e));
	assert_int_equal(found, ia);
	ok(rtnl_add_route(nl, ib, &via_b, &e));
	ok(rtnl_default_route(nl, &found, &e));
	assert_int_equal(found, ib);
}

static void a_dump_longer_than_a_page_is_whole(void **state)
{
	struct rtnl_link *all;
	size_t n;

	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "rail%d", i);
		add(name);
	}
	ok(rtnl_links(nl, arena, &all, &n, &e));
	assert_int_equal(n, 201);
	assert_string_equal(all[200].name, "rail99");
}

/* any process may send to a netlink socket: what does not come from the kernel is no answer */
static void a_forged_answer_is_dropped(void **state)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	_cleanup_close_ int liar = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr h;
		struct nlmsgerr ack;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = 1 }, .ack = { .error = -EIO } };
	struct rtnl_link l;
	FILE *f = fopen("/proc/net/netlink", "r");
	char line[256];
	int sent = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned protocol, port;

		if (sscanf(line, "%*s %u %u", &protocol, &port) != 2 || protocol != NETLINK_ROUTE || !port)
			continue;
		to.nl_pid = m.h.nlmsg_pid = port;
		if (sendto(liar, &m, sizeof(m), 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)sizeof(m))
			sent++;
	}
	fclose(f);
	assert_true(sent);
	ok(rtnl_link(nl, arena, "lo", &l, &e));
	assert_int_equal(l.index, 1);
}

#define in_namespace(f) cmocka_unit_test_setup_teardown(f, fresh_namespace, drop_namespace)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_namespace(a_link_is_found_by_name_index_and_in_the_list),
		in_namespace(a_missing_link_is_told_by_name),
		in_namespace(settings_are_read_back),
		in_namespace(the_kernels_own_words_are_passed_on),
		in_namespace(a_name_that_is_a_pattern_is_refused),
		in_namespace(alternative_names_find_the_link),
		in_namespace(a_link_moves_under_a_new_name),
		in_namespace(a_move_can_exchange_clashing_names),
		in_namespace(a_link_whose_names_are_taken_moves_under_a_number),
		in_namespace(a_move_to_what_is_no_namespace_fails),
		in_namespace(addresses_are_there_at_once_and_on_their_link_alone),
		in_namespace(the_same_address_with_another_prefix_is_no_success),
		in_namespace(routes_are_added_with_their_metrics),
		in_namespace(the_default_route_of_least_metric_counts),
		in_namespace(a_dump_longer_than_a_page_is_whole),
		in_namespace(a_forged_answer_is_dropped),
	};

	sandbox_enter(CLONE_NEWNET | CLONE_NEWNS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
