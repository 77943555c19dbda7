/* SPDX-License-Identifier: Apache-2.0 */
/* IP pools as values: names, offsets, and the patches that change them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ipam/plan.h"
#include "patch.h"
#include "store/ip.h"

static struct arena *a;

static int setup(void **state)
{
	a = arena_new();
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

static const struct ipam_conf *conf(const char *text)
{
	struct ipam_conf *c = arena_alloc(a, sizeof(*c));
	struct err e;

	if (ipam_conf_parse(a, json(arena_printf(a, "{\"type\":\"whereabouts\",%s}", text)), c, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return c;
}

static struct store_ip ip(const char *text)
{
	struct store_ip ret;

	assert_int_equal(ipam_ip_parse(text, &ret), 0);
	return ret;
}

static yyjson_val *pool_json(const char *name, const char *range, const char *more_meta, const char *allocations)
{
	return json(arena_printf(a, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u1\",\"resourceVersion\":\"7\"%s},"
				    "\"spec\":{\"range\":\"%s\",\"allocations\":{%s}}}", name, more_meta, range, allocations));
}

static struct ipam_pool *decode(yyjson_val *obj)
{
	struct ipam_pool *p = arena_alloc(a, sizeof(*p));
	struct err e;

	if (ipam_pool_decode(a, obj, p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

#define ENTRY(offset, id, pod, ifname) "\"" offset "\":{\"id\":\"" id "\",\"podref\":\"llm/" pod "\",\"ifname\":\"" ifname "\"}"

static struct ipam_job *add(const struct ipam_conf *c, const char *container, const char *pod, size_t n)
{
	struct ipam_job *job = arena_alloc(a, sizeof(*job));

	*job = (struct ipam_job){ .kind = IPAM_ADD, .a = a, .container = container, .podref = arena_printf(a, "llm/%s", pod) };
	for (size_t i = 0; i < n; i++) {
		struct ipam_want *w = arena_push(a, &job->wants, &job->n_wants, sizeof(*w));

		w->conf = c;
		w->range = &c->ranges[0];
		w->ifname = arena_printf(a, "net%zu", i + 1);
	}
	return job;
}

static struct ipam_job *del(const char *container, const char *ifname)
{
	struct ipam_job *job = arena_alloc(a, sizeof(*job));
	const char **ifnames = arena_alloc(a, sizeof(*ifnames));

	ifnames[0] = ifname;
	*job = (struct ipam_job){ .kind = IPAM_DEL, .a = a, .container = container, .ifnames = ifnames, .n_ifnames = ifname ? 1 : 0 };
	return job;
}

static const char *got(const struct ipam_job *job, size_t i)
{
	assert_int_equal(job->result, 0);
	assert_int_not_equal(job->wants[i].how, IPAM_UNSERVED);
	return ipam_ip_text(a, &job->wants[i].ip);
}

static void ranges_offsets_and_domains_are_those_of_whereabouts(void **state)
{
	struct ipam_pool *p = decode(pool_json("net-a-10.0.132.0-24", "10.0.132.0/24", "", ENTRY("9", "c2", "b", "net1") "," ENTRY("5", "c1", "a", "net1")));
	struct store_ip at;

	assert_string_equal(p->domain, "net-a");
	assert_int_equal(p->n, 2);
	assert_string_equal(ipam_ip_text(a, &p->entries[0].ip), "10.0.132.5");
	assert_string_equal(p->entries[1].podref, "llm/b");
	assert_false(p->marked);
	at = ip("10.0.132.9");
	assert_ptr_equal(ipam_pool_at(p, &at), &p->entries[1]);
	assert_string_equal(ipam_offset(a, &p->net, &at), "9");
	assert_string_equal(decode(pool_json("10.0.0.0-8", "10.0.0.0/8", "", ""))->domain, "");
	/* another convention: its own domain */
	assert_string_equal(decode(pool_json("mine", "10.0.0.0/8", "", ""))->domain, "mine");
}

static void offsets_are_as_wide_as_addresses(void **state)
{
	struct ipam_pool *p = decode(pool_json("fd00---14", "fd00::/14", "", ENTRY("20769187434139310514121985316880383", "c", "a", "net1")));
	struct store_ip last = ip("fd03:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	assert_int_equal(p->n, 1);
	assert_int_equal(store_ip_cmp(&p->entries[0].ip, &last), 0);
	assert_string_equal(ipam_offset(a, &p->net, &last), "20769187434139310514121985316880383");
	/* the half of a /64 that Go's signed number does not reach */
	p = decode(pool_json("fd00---64", "fd00::/64", "", ENTRY("9223372036854775809", "c", "a", "net1")));
	assert_string_equal(ipam_ip_text(a, &p->entries[0].ip), "fd00::8000:0:0:1");
}

static void keys_that_are_no_offset_are_left_alone(void **state)
{
	struct ipam_pool *p = decode(pool_json("10.0.0.0-24", "10.0.0.0/24", "",
					       ENTRY("256", "c", "a", "x") "," ENTRY("-1", "c", "a", "x") "," ENTRY("05", "c", "a", "x") ","
					       ENTRY("", "c", "a", "x") "," ENTRY("5x", "c", "a", "x") ",\"6\":7,"
					       ENTRY("340282366920938463463374607431768211456", "c", "a", "x") "," ENTRY("255", "c", "a", "x")));

	assert_int_equal(p->n, 1);
	assert_int_equal(p->n_bad, 7);
	assert_string_equal(p->entries[0].offset, "255");
}

static void reservation_names_are_those_of_whereabouts(void **state)
{
	static const struct {
		const char *ip, *net, *name;
	} cases[] = {
		{ "10.0.132.5", NULL, "10.0.132.5" },	 { "10.0.132.5", "net-a", "net-a-10.0.132.5" },
		{ "fd00::5", "", "fd00--5" },		 { "fd00::", NULL, "fd00--0" },
		{ "fd00::", "n", "n-fd00--0" },		 { "2001:db8:0:0:1::1", NULL, "2001-db8--1-0-0-1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_ip at = ip(cases[i].ip);

		assert_string_equal(ipam_reservation_name(a, cases[i].net, &at), cases[i].name);
	}
}

static void a_pod_takes_the_lowest_free_ones_in_one_patch(void **state)
{
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("1", "c1", "a", "net1") "," ENTRY("3", "c3", "c", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n1" };
	struct ipam_job *job = add(conf("\"range\":\"10.0.0.0/24\",\"exclude\":[\"10.0.0.4/31\"]"), "c9", "b", 3);
	const char *patch = ipam_plan(a, &view, &job, 1);
	struct ipam_pool *after;

	assert_string_equal(got(job, 0), "10.0.0.2");
	assert_string_equal(got(job, 1), "10.0.0.6");
	assert_string_equal(got(job, 2), "10.0.0.7");
	assert_string_equal(patch, "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"7\"},"
				   "{\"op\":\"test\",\"path\":\"/spec/allocations/2\",\"value\":null},"
				   "{\"op\":\"add\",\"path\":\"/spec/allocations/2\",\"value\":{\"id\":\"c9\",\"podref\":\"llm/b\",\"ifname\":\"net1\"}},"
				   "{\"op\":\"test\",\"path\":\"/spec/allocations/6\",\"value\":null},"
				   "{\"op\":\"add\",\"path\":\"/spec/allocations/6\",\"value\":{\"id\":\"c9\",\"podref\":\"llm/b\",\"ifname\":\"net2\"}},"
				   "{\"op\":\"test\",\"path\":\"/spec/allocations/7\",\"value\":null},"
				   "{\"op\":\"add\",\"path\":\"/spec/allocations/7\",\"value\":{\"id\":\"c9\",\"podref\":\"llm/b\",\"ifname\":\"net3\"}}]");
	after = decode(patch_apply(a, obj, patch));
	assert_int_equal(after->n, 5);
	/* a second time: nothing to write */
	view.pool = after;
	job = add(conf("\"range\":\"10.0.0.0/24\""), "c9", "b", 3);
	assert_null(ipam_plan(a, &view, &job, 1));
	assert_string_equal(got(job, 1), "10.0.0.6");
	assert_int_equal(job->wants[1].how, IPAM_KEPT);
}

static void the_same_pod_in_a_new_sandbox_keeps_its_address(void **state)
{
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("1", "c1", "z", "net1") "," ENTRY("9", "old", "a", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n1" };
	struct ipam_job *jobs[] = { del("old", "net1"), add(conf("\"range\":\"10.0.0.0/24\""), "new", "a", 1) };
	struct ipam_pool *after;

	/* the old sandbox' DEL comes in the same batch: too late */
	after = decode(patch_apply(a, obj, ipam_plan(a, &view, jobs, 2)));
	assert_string_equal(got(jobs[1], 0), "10.0.0.9");
	assert_int_equal(jobs[0]->n_held, 0);
	assert_int_equal(after->n, 2);
	assert_string_equal(after->entries[1].id, "new");
	assert_string_equal(after->entries[1].ifname, "net1");
}

static void del_takes_all_that_the_container_holds(void **state)
{
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "",
				    ENTRY("1", "c1", "a", "net1") "," ENTRY("2", "c1", "a", "net2") "," ENTRY("3", "c2", "b", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n1" };
	struct ipam_job *jobs[] = { del("c1", NULL), del("c1", NULL), del("nobody", NULL), del("c2", "net2") };
	const char *patch = ipam_plan(a, &view, jobs, 4);
	struct ipam_pool *after = decode(patch_apply(a, obj, patch));

	assert_int_equal(jobs[0]->n_held, 2);
	assert_int_equal(jobs[1]->n_held, 0);
	assert_int_equal(after->n, 1);
	assert_string_equal(after->entries[0].podref, "llm/b");
	/* who holds nothing any more is forgotten */
	assert_false(jobs[0]->keeps || jobs[1]->keeps || jobs[2]->keeps);
	assert_true(jobs[3]->keeps);
	jobs[0] = del("c1", "net1");
	jobs[1] = del("c1", "net2");
	ipam_plan(a, &view, jobs, 2);
	assert_false(jobs[1]->keeps);
	assert_non_null(strstr(patch, "resourceVersion"));
	view.loose = true;
	patch = ipam_plan(a, &view, jobs, 4);
	assert_null(strstr(patch, "resourceVersion"));
	/* taken over by another sandbox in the meantime: does not apply */
	assert_null(patch_apply(a, pool_json("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("1", "c5", "a", "net1") "," ENTRY("2", "c1", "a", "net2")), patch));
}

static bool has_reservation(void *arg, const struct ipam_entry *entry)
{
	return !strcmp(entry->offset, arg);
}

static void an_entry_with_a_reservation_stays_until_that_is_gone(void **state)
{
	char reserved_offset[] = "2";
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("1", "c1", "a", "net1") "," ENTRY("2", "c1", "a", "net2"));
	struct ipam_view view = { .pool = decode(obj), .node = "n1", .has_reservation = has_reservation, .arg = reserved_offset };
	struct ipam_job *jobs[] = { del("c1", NULL), add(conf("\"range\":\"10.0.0.0/24\""), "c2", "b", 1) };
	const char *patch = ipam_plan(a, &view, jobs, 2);

	assert_int_equal(jobs[0]->result, -EINPROGRESS);
	assert_int_equal(jobs[0]->n_held, 2);
	assert_int_equal(decode(patch_apply(a, obj, patch))->n, 3);
	jobs[0]->unreserved = true;
	assert_int_equal(decode(patch_apply(a, obj, ipam_plan(a, &view, jobs, 2)))->n, 1);
}

static void a_patch_decided_on_another_pool_does_not_apply(void **state)
{
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "", "");
	yyjson_val *changed = json("{\"metadata\":{\"name\":\"10.0.0.0-24\",\"uid\":\"u1\",\"resourceVersion\":\"8\"},"
				   "\"spec\":{\"range\":\"10.0.0.0/24\",\"allocations\":{" ENTRY("200", "c", "z", "net1") "}}}");
	yyjson_val *marked = json("{\"metadata\":{\"name\":\"10.0.0.0-24\",\"uid\":\"u1\",\"resourceVersion\":\"8\","
				  "\"annotations\":{\"kvrail.io/overlaps\":\"true\"}},\"spec\":{\"range\":\"10.0.0.0/24\",\"allocations\":{}}}");
	yyjson_val *another = json("{\"metadata\":{\"name\":\"10.0.0.0-24\",\"uid\":\"u2\",\"resourceVersion\":\"9\"},"
				   "\"spec\":{\"range\":\"10.0.0.0/24\",\"allocations\":{}}}");
	struct ipam_view view = { .pool = decode(obj), .node = "n1" };
	struct ipam_job *job = add(conf("\"range\":\"10.0.0.0/24\""), "c1", "a", 1);
	const char *patch = ipam_plan(a, &view, &job, 1);

	assert_non_null(patch_apply(a, obj, patch));
	assert_null(patch_apply(a, changed, patch));
	/* loose: another address of the same pool is no matter, the mark and another object are */
	view.loose = true;
	job = add(conf("\"range\":\"10.0.0.0/24\""), "c1", "a", 1);
	patch = ipam_plan(a, &view, &job, 1);
	assert_non_null(patch_apply(a, changed, patch));
	assert_null(patch_apply(a, marked, patch));
	assert_null(patch_apply(a, another, patch));
	/* the offset itself is taken */
	assert_null(patch_apply(a, patch_apply(a, obj, patch), patch));
	/* marks mean nothing to a network that opts out */
	job = add(conf("\"range\":\"10.0.0.0/24\",\"enable_overlapping_ranges\":false"), "c1", "a", 1);
	assert_non_null(patch_apply(a, marked, ipam_plan(a, &view, &job, 1)));
	/* a mark that is known is no obstacle */
	view.pool = decode(marked);
	job = add(conf("\"range\":\"10.0.0.0/24\""), "c1", "a", 1);
	assert_non_null(patch_apply(a, marked, ipam_plan(a, &view, &job, 1)));
}

static void nodes_search_their_windows_when_others_write_too(void **state)
{
	const struct ipam_conf *c = conf("\"range\":\"10.0.0.0/20\""), *small = conf("\"range\":\"10.0.0.0/28\"");
	yyjson_val *obj = pool_json("10.0.0.0-20", "10.0.0.0/20", "", "");
	struct ipam_view view = { .pool = decode(obj), .windowed = true };
	size_t distinct = 0;
	struct store_ip seen[16];

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		struct ipam_job *job = add(c, "c", "a", 1);
		bool known = false;

		view.node = arena_printf(a, "node-%zu", i);
		ipam_plan(a, &view, &job, 1);
		assert_int_equal(job->result, 0);
		seen[i] = ipam_window(&c->ranges[0], view.node);
		assert_memory_equal(&seen[i], &job->wants[0].ip, sizeof(seen[i]));
		for (size_t k = 0; k < i; k++)
			known |= store_ip_cmp(&seen[k], &seen[i]) == 0;
		distinct += !known;
		/* a range of one window begins where it begins */
		seen[i] = ipam_window(&small->ranges[0], view.node);
		assert_memory_equal(&seen[i], &small->ranges[0].first, sizeof(seen[i]));
		seen[i] = job->wants[0].ip;
	}
	assert_true(distinct >= 12);
}

/* Every address of the pool is found, from wherever the search begins, and then who holds them is said. */
static void an_exact_fit_pool_is_filled_to_the_last(void **state)
{
	for (int contended = 0; contended < 2; contended++) {
		const struct ipam_conf *c = conf("\"range\":\"10.0.0.0/23\",\"range_start\":\"10.0.0.10\",\"range_end\":\"10.0.1.253\",\"exclude\":[\"10.0.0.128/26\"]");
		yyjson_val *obj = pool_json("10.0.0.0-23", "10.0.0.0/23", "", "");
		struct ipam_view view = { .node = "node-3", .windowed = contended };
		struct ipam_job *job;

		for (size_t i = 0; i < (500 - 64) / 4; i++) {
			view.pool = decode(obj);
			job = add(c, arena_printf(a, "c%zu", i), arena_printf(a, "p%zu", i), 4);
			obj = patch_apply(a, obj, ipam_plan(a, &view, &job, 1));
			assert_int_equal(job->result, 0);
		}
		view.pool = decode(obj);
		assert_int_equal(view.pool->n, 500 - 64);
		job = add(c, "last", "last", 1);
		assert_null(ipam_plan(a, &view, &job, 1));
		assert_int_equal(job->result, -ENOSPC);
		assert_non_null(strstr(job->err.msg, "10.0.0.0/23 (10.0.0.10 to 10.0.1.253, without what it excludes) has no free address left: 436 held, by llm/"));
		assert_non_null(strstr(job->err.msg, "and 431 more"));
	}
}

static void one_pod_without_room_takes_nothing_and_others_are_served(void **state)
{
	const struct ipam_conf *c = conf("\"range\":\"10.0.0.0/29\"");
	yyjson_val *obj = pool_json("10.0.0.0-29", "10.0.0.0/29", "", ENTRY("1", "c", "x", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n" };
	struct ipam_job *jobs[] = { add(c, "c1", "a", 3), add(c, "c2", "b", 3), add(c, "c3", "c", 2) };
	struct ipam_pool *after = decode(patch_apply(a, obj, ipam_plan(a, &view, jobs, 3)));

	assert_int_equal(jobs[0]->result, 0);
	assert_int_equal(jobs[1]->result, -ENOSPC);
	assert_int_equal(jobs[1]->wants[0].how, IPAM_UNSERVED);
	assert_int_equal(jobs[2]->result, 0);
	assert_int_equal(after->n, 6);
}

static bool reserved(void *arg, const char *network_name, const struct store_ip *at, const char *podref, const char *ifname)
{
	static const struct ipam_reservation r = { "net-10.0.0.3", "u", "llm/owner", "net1" };

	return !strcmp(ipam_reservation_name(a, network_name, at), r.name) && !ipam_reservation_is_of(&r, podref, ifname);
}

static void what_other_pools_gave_is_not_given(void **state)
{
	const struct ipam_conf *c = conf("\"range\":\"10.0.0.0/24\",\"network_name\":\"net\"");
	yyjson_val *obj = pool_json("net-10.0.0.0-24", "10.0.0.0/24", "", ENTRY("4", "mine", "me", "net1"));
	const struct ipam_pool *neighbour = decode(pool_json("net-10.0.0.0-16", "10.0.0.0/16", "", ENTRY("1", "c1", "z", "net1") "," ENTRY("2", "c2", "y", "net1")));
	struct ipam_view view = { .pool = decode(obj), .neighbours = &neighbour, .n_neighbours = 1, .reserved = reserved, .node = "n" };
	struct ipam_job *job = add(c, "c9", "b", 1), *owner = add(c, "c8", "owner", 1);
	struct ipam_pool *after;
	struct store_ip taken = ip("10.0.0.4");

	ipam_plan(a, &view, &job, 1);
	assert_string_equal(got(job, 0), "10.0.0.5");
	/* one's own reservation is no obstacle, unless it is for another interface: two of one pod never get one address */
	ipam_plan(a, &view, &owner, 1);
	assert_string_equal(got(owner, 0), "10.0.0.3");
	owner->wants[0].ifname = "net2";
	ipam_plan(a, &view, &owner, 1);
	assert_string_equal(got(owner, 0), "10.0.0.5");
	/* the entry whose address turned out to be reserved by another is exchanged in one patch */
	job = add(c, "mine", "me", 1);
	job->wants[0].avoid = &taken;
	job->wants[0].n_avoid = 1;
	after = decode(patch_apply(a, obj, ipam_plan(a, &view, &job, 1)));
	assert_string_equal(got(job, 0), "10.0.0.5");
	assert_int_equal(after->n, 1);
	assert_string_equal(after->entries[0].offset, "5");
	/* a network without overlapping ranges looks at its own pool only */
	job = add(conf("\"range\":\"10.0.0.0/24\",\"network_name\":\"net\",\"enable_overlapping_ranges\":false"), "c9", "b", 1);
	ipam_plan(a, &view, &job, 1);
	assert_string_equal(got(job, 0), "10.0.0.1");
}

static void an_address_asked_for_is_given_or_said_to_be_held(void **state)
{
	const struct ipam_conf *c = conf("\"range\":\"10.0.0.0/24\"");
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", "", ENTRY("4", "c1", "me", "net1") "," ENTRY("5", "c2", "you", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n" };
	struct ipam_job *job = add(c, "c1", "me", 1);
	struct store_ip want = ip("10.0.0.77"), held = ip("10.0.0.5"), outside = ip("10.0.0.255");
	struct ipam_pool *after;

	job->wants[0].requested = &want;
	after = decode(patch_apply(a, obj, ipam_plan(a, &view, &job, 1)));
	assert_string_equal(got(job, 0), "10.0.0.77");
	assert_int_equal(after->n, 2);
	assert_string_equal(after->entries[1].offset, "77");
	job->wants[0].requested = &held;
	assert_null(ipam_plan(a, &view, &job, 1));
	assert_int_equal(job->result, -EADDRINUSE);
	assert_non_null(strstr(job->err.msg, "held by llm/you net1"));
	job->wants[0].requested = &outside;
	ipam_plan(a, &view, &job, 1);
	assert_int_equal(job->result, -ERANGE);
}

static void a_pool_without_a_map_gets_one(void **state)
{
	yyjson_val *obj = json("{\"metadata\":{\"name\":\"10.0.0.0-24\",\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":{\"range\":\"10.0.0.0/24\"}}");
	struct ipam_view view = { .pool = decode(obj), .node = "n" };
	struct ipam_job *job = add(conf("\"range\":\"10.0.0.0/24\""), "c", "a", 1);

	assert_int_equal(decode(patch_apply(a, obj, ipam_plan(a, &view, &job, 1)))->n, 1);
}

static void a_pool_is_not_tracked_field_by_field(void **state)
{
	yyjson_val *obj = pool_json("10.0.0.0-24", "10.0.0.0/24", ",\"managedFields\":[{\"manager\":\"whereabouts\"}]", "");
	struct ipam_view view = { .pool = decode(obj), .node = "n" };
	struct ipam_job *job = add(conf("\"range\":\"10.0.0.0/24\""), "c", "a", 1);
	const char *patch = ipam_plan(a, &view, &job, 1);

	assert_non_null(strstr(patch, "{\"op\":\"replace\",\"path\":\"/metadata/managedFields\",\"value\":[{}]}"));
	assert_int_equal(decode(patch_apply(a, obj, patch))->n, 1);
}

static void ipv6_counts_from_the_network(void **state)
{
	const struct ipam_conf *c = conf("\"range\":\"fd00::/64\",\"range_start\":\"fd00::ffff:ffff:ffff:fff0\"");
	yyjson_val *obj = pool_json("fd00---64", "fd00::/64", "", ENTRY("18446744073709551600", "c", "z", "net1"));
	struct ipam_view view = { .pool = decode(obj), .node = "n" };
	struct ipam_job *job = add(c, "c1", "a", 1);
	const char *patch = ipam_plan(a, &view, &job, 1);

	assert_string_equal(got(job, 0), "fd00::ffff:ffff:ffff:fff1");
	assert_non_null(strstr(patch, "/spec/allocations/18446744073709551601"));
}

static void a_pool_is_full_when_nothing_of_its_range_can_be_given(void **state)
{
	assert_false(ipam_pool_is_full(decode(pool_json("p", "10.0.0.0/30", "", ENTRY("1", "c", "a", "net1")))));
	assert_true(ipam_pool_is_full(decode(pool_json("p", "10.0.0.0/30", "", ENTRY("1", "c", "a", "net1") "," ENTRY("2", "c", "a", "net2")))));
	assert_false(ipam_pool_is_full(decode(pool_json("p", "10.0.0.0/31", "", ENTRY("0", "c", "a", "net1")))));
	assert_true(ipam_pool_is_full(decode(pool_json("p", "10.0.0.0/31", "", ENTRY("0", "c", "a", "net1") "," ENTRY("1", "c", "a", "net2")))));
	assert_true(ipam_pool_is_full(decode(pool_json("p", "10.0.0.1/32", "", ENTRY("0", "c", "a", "net1")))));
	assert_false(ipam_pool_is_full(decode(pool_json("p", "::/0", "", ENTRY("1", "c", "a", "net1")))));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(ranges_offsets_and_domains_are_those_of_whereabouts),
		T(offsets_are_as_wide_as_addresses),
		T(keys_that_are_no_offset_are_left_alone),
		T(reservation_names_are_those_of_whereabouts),
		T(a_pod_takes_the_lowest_free_ones_in_one_patch),
		T(the_same_pod_in_a_new_sandbox_keeps_its_address),
		T(del_takes_all_that_the_container_holds),
		T(an_entry_with_a_reservation_stays_until_that_is_gone),
		T(a_patch_decided_on_another_pool_does_not_apply),
		T(nodes_search_their_windows_when_others_write_too),
		T(an_exact_fit_pool_is_filled_to_the_last),
		T(one_pod_without_room_takes_nothing_and_others_are_served),
		T(what_other_pools_gave_is_not_given),
		T(an_address_asked_for_is_given_or_said_to_be_held),
		T(a_pool_without_a_map_gets_one),
		T(a_pool_is_not_tracked_field_by_field),
		T(ipv6_counts_from_the_network),
		T(a_pool_is_full_when_nothing_of_its_range_can_be_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
