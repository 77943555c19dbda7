/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/strbuf.h"
#include "policy/merge.h"
#include "policy/resources.h"
#include "policy/pool.h"

#include "decode.h"

#define MAX 16

static struct arena *arena;

static int setup(void **state)
{
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena = arena_free(arena);
	return 0;
}

static const char *const ports =
	"apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodeState\nmetadata: {name: n1, namespace: op}\n"
	"status:\n  interfaces:\n"
	"  - {name: p2, pciAddress: '0000:5c:00.0', vendor: 15b3, deviceID: 101d, totalvfs: 16, mtu: 1500, altNames: [enp92s0f0]}\n"
	"  - {name: p3, pciAddress: '0000:5c:00.1', vendor: 15b3, deviceID: 101d, totalvfs: 16, mtu: 1500}\n"
	"  - {name: e1, pciAddress: '0000:01:00.0', vendor: '8086', deviceID: '1592', totalvfs: 8, mtu: 1500,"
	" netFilter: 'openstack/NetworkID:aa-bb'}\n";

/* One policy: @spec is what comes between "resourceName" and the end, in flow style. */
static const char *policy(const char *name, const char *spec)
{
	return arena_printf(arena, "---\napiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodePolicy\n"
			    "metadata: {name: %s, namespace: op}\nspec: {%s}\n", name, spec);
}

static struct merge_result merge_labels(const char *policies, const struct pair *labels, size_t n_labels)
{
	const struct api_policy *list[MAX];
	struct decoded d[MAX], state[1];
	struct merge_result result;
	struct err e = { 0 };
	size_t n = decode(arena, policies, d, MAX);

	decode(arena, ports, state, 1);
	for (size_t i = 0; i < n; i++)
		list[i] = d[i].object;
	if (merge_policies(arena, list, n, labels, n_labels, false, ((struct api_nodestate *)state[0].object)->status, NULL, &result, &e) < 0)
		fail_msg("%s", e.msg);
	return result;
}

/* The spec in short: "p2 vfs=8 mtu=9000 [r1 0-7 pol]; p3 ..." */
static const char *merged(const char *policies)
{
	struct merge_result result = merge_labels(policies, NULL, 0);
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < result.spec->n_interfaces; i++) {
		const struct api_interface *p = &result.spec->interfaces[i];

		strbuf_addf(&b, "%s%s vfs=%d mtu=%d [", i ? "; " : "", p->name, (int)p->num_vfs, (int)p->mtu);
		for (size_t k = 0; k < p->n_vf_groups; k++)
			strbuf_addf(&b, "%s%s %s", k ? ", " : "", p->vf_groups[k].resource_name, p->vf_groups[k].vf_range);
		strbuf_addch(&b, ']');
	}
	return arena_strdup(arena, b.s ? b.s : "");
}

static const char *two(const char *a, const char *b)
{
	return arena_printf(arena, "%s%s", policy("a", a), policy("b", b));
}

#define COMMON "nodeSelector: {}, deviceType: netdevice, "

static void the_stronger_policy_replaces_the_weaker(void **state)
{
	const char *strong = COMMON "resourceName: s, priority: 1, numVfs: 4, mtu: 1500, nicSelector: {pfNames: [p2]}";
	const char *weak = COMMON "resourceName: w, priority: 9, numVfs: 8, mtu: 9000, nicSelector: {pfNames: [p2]}";

	assert_string_equal(merged(two(strong, weak)), "p2 vfs=4 mtu=1500 [s 0-3]");
	assert_string_equal(merged(two(weak, strong)), "p2 vfs=4 mtu=1500 [s 0-3]");
}

static void a_policy_without_priority_is_the_weakest(void **state)
{
	assert_string_equal(merged(two(COMMON "resourceName: none, numVfs: 8, nicSelector: {pfNames: [p2]}",
				       COMMON "resourceName: nine, priority: 98, numVfs: 4, nicSelector: {pfNames: [p2]}")),
			    "p2 vfs=4 mtu=0 [nine 0-3]");
}

static void ranges_of_one_port_are_kept_side_by_side(void **state)
{
	assert_string_equal(merged(two(COMMON "resourceName: r1, priority: 1, numVfs: 8, mtu: 1500, nicSelector: {pfNames: ['p2#0-3']}",
				       COMMON "resourceName: r2, priority: 9, numVfs: 12, mtu: 9000, nicSelector: {pfNames: ['p2#4-11']}")),
			    "p2 vfs=12 mtu=9000 [r1 0-3, r2 4-11]");
}

static void overlapping_ranges_go_to_the_stronger(void **state)
{
	assert_string_equal(merged(two(COMMON "resourceName: r1, priority: 1, numVfs: 8, mtu: 1500, nicSelector: {pfNames: ['p2#0-5']}",
				       COMMON "resourceName: r2, priority: 9, numVfs: 12, mtu: 9000, nicSelector: {pfNames: ['p2#4-11']}")),
			    "p2 vfs=8 mtu=1500 [r1 0-5]");
}

static void equal_priorities_take_the_larger_mtu_and_numVfs(void **state)
{
	assert_string_equal(merged(two(COMMON "resourceName: r1, priority: 5, numVfs: 12, mtu: 9000, nicSelector: {pfNames: [p2]}",
				       COMMON "resourceName: r2, priority: 5, numVfs: 8, mtu: 1500, nicSelector: {pfNames: [p2]}")),
			    "p2 vfs=12 mtu=9000 [r2 0-7]");
}

static void a_group_of_the_same_resource_is_replaced(void **state)
{
	assert_string_equal(merged(two(COMMON "resourceName: r, priority: 9, numVfs: 12, nicSelector: {pfNames: ['p2#6-11']}",
				       COMMON "resourceName: r, priority: 1, numVfs: 8, nicSelector: {pfNames: ['p2#0-3']}")),
			    "p2 vfs=8 mtu=0 [r 0-3]");
}

static void a_range_behind_an_alternative_name_counts(void **state)
{
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 8, nicSelector: {pfNames: ['enp92s0f0#2-3']}")),
			    "p2 vfs=8 mtu=0 [r 2-3]");
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 8, nicSelector: {pfNames: ['enp92s0f0#2-3', 'p2#5-6']}")),
			    "p2 vfs=8 mtu=0 [r 5-6]");
}

static void every_part_of_a_selector_must_match(void **state)
{
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {vendor: 15b3}")),
			    "p2 vfs=1 mtu=0 [r 0-0]; p3 vfs=1 mtu=0 [r 0-0]");
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {vendor: 15b3, rootDevices: ['0000:5c:00.1']}")),
			    "p3 vfs=1 mtu=0 [r 0-0]");
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {vendor: '8086', pfNames: [p2]}")), "");
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {netFilter: 'openstack/NetworkID:aa-bb'}")),
			    "e1 vfs=1 mtu=0 [r 0-0]");
	assert_string_equal(merged(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {netFilter: 'openstack/NetworkID:aa'}")), "");
}

static void infiniband_vfs_are_rdma(void **state)
{
	struct merge_result r = merge_labels(policy("a", COMMON "resourceName: r, numVfs: 1, linkType: ib, isRdma: false,"
						    " nicSelector: {pfNames: [p2]}"), NULL, 0);

	assert_true(r.spec->interfaces[0].vf_groups[0].is_rdma);
	assert_string_equal(r.spec->interfaces[0].vf_groups[0].device_type, "netdevice");
	assert_string_equal(r.spec->interfaces[0].link_type, "ib");
}

static void the_policy_named_default_is_ignored(void **state)
{
	assert_string_equal(merged(policy("default", COMMON "resourceName: r, numVfs: 1, nicSelector: {vendor: 15b3}")), "");
}

static void bridges_follow_the_last_policy_in_order_of_their_names(void **state)
{
	const char *yaml = two(COMMON "resourceName: r, numVfs: 1, mtu: 4000, priority: 9, eSwitchMode: switchdev, nicSelector: {vendor: 15b3},"
			       " bridge: {ovs: {bridge: {datapathType: netdev}, uplink: {interface: {type: dpdk, mtuRequest: 7}}}}",
			       COMMON "resourceName: q, numVfs: 1, priority: 1, nicSelector: {pfNames: [p2]}");
	struct merge_result r = merge_labels(yaml, NULL, 0);
	const struct api_ovs_bridge_state *b = r.spec->bridges->ovs;

	assert_int_equal(r.spec->bridges->n_ovs, 1);
	assert_string_equal(b->name, "br-0000_5c_00.1");
	assert_string_equal(b->bridge->datapath_type, "netdev");
	assert_string_equal(b->uplinks[0].name, "p3");
	assert_string_equal(b->uplinks[0].interface->type, "dpdk");
	assert_int_equal(*b->uplinks[0].interface->mtu_request, 4000);
}

static void notes_say_why_a_policy_gave_nothing(void **state)
{
	static const struct pair labels[] = { { "role", "gpu" } };
	const char *yaml = arena_printf(arena, "%s%s%s%s%s",
		policy("elsewhere", "nodeSelector: {role: cpu}, resourceName: a, numVfs: 1, nicSelector: {vendor: 15b3}"),
		policy("absent", COMMON "resourceName: b, numVfs: 1, nicSelector: {vendor: 15b3, deviceID: '1021'}"),
		policy("strong", COMMON "resourceName: d, priority: 1, numVfs: 2, nicSelector: {pfNames: [p2, p3]}"),
		policy("weak", COMMON "resourceName: e, priority: 2, numVfs: 2, nicSelector: {pfNames: [p2]}"),
		policy("default", COMMON "resourceName: f, numVfs: 1, nicSelector: {vendor: 15b3}"));
	struct merge_result r = merge_labels(yaml, labels, 1);

	assert_int_equal(r.n_notes, 5);
	assert_string_equal(r.notes[0].text, "is for other nodes: nodeSelector role=cpu, and this node's label is gpu");
	assert_false(r.notes[0].node_selected);
	assert_string_equal(r.notes[1].text, "selects no port here: of 3 ports (p2 (enp92s0f0), p3, e1), vendor 15b3 matches 2, deviceID 1021 matches 0");
	assert_string_equal(r.notes[2].text, "selects 2 ports");
	assert_int_equal(r.notes[2].ports_selected, 2);
	assert_string_equal(r.notes[3].text, "selects 1 port, all of which stronger policies take whole");
	assert_string_equal(r.notes[4].text, "is ignored because of its name, \"default\"");
}

static void a_selector_names_the_first_part_that_fails(void **state)
{
	struct api_interface_status pf = { .name = "p2", .vendor = "15b3", .device_id = "101d" };
	struct api_nic_selector s = { .vendor = "15b3", .device_id = "1021" };
	const char *why = NULL;

	assert_false(merge_selects(arena, &s, &pf, &why));
	assert_string_equal(why, "deviceID is 101d, not 1021");
	s = (struct api_nic_selector){ 0 };
	assert_false(merge_selects(arena, &s, &pf, &why));
	assert_string_equal(why, "nicSelector is empty, which selects nothing");
}

/* What validate_together() says, "path: text" a line. */
static const char *said(const char *yaml)
{
	struct complaints c = { .arena = arena };
	const struct api_policy *list[MAX];
	struct decoded d[MAX];
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t n = decode(arena, yaml, d, MAX);

	for (size_t i = 0; i < n; i++)
		list[i] = d[i].object;
	validate_together(list, n, &c);
	for (size_t i = 0; i < c.n; i++)
		strbuf_addf(&b, "%s%s%s: %s", i ? "\n" : "", c.v[i].warning ? "warning: " : "", c.v[i].path, c.v[i].text);
	return arena_strdup(arena, b.s ? b.s : "");
}

static void overlapping_ranges_of_two_policies_are_refused(void **state)
{
	const char *first = COMMON "resourceName: a, numVfs: 8, nicSelector: {pfNames: ['p2#0-3', 'p3#0-3']}";

	assert_string_equal(said(two(first, COMMON "resourceName: b, numVfs: 8, nicSelector: {pfNames: ['p2#4-7', 'p3#4-7']}")), "");
	/* the second pair counts too */
	assert_string_equal(said(two(first, COMMON "resourceName: b, numVfs: 8, nicSelector: {pfNames: ['p2#4-7', 'p3#3-7']}")),
			    "b: spec.nicSelector.pfNames[1]: VF index range in p3#3-7 is overlapped with existing policy a");
	/* a whole port overlaps with each of its ranges */
	assert_string_equal(said(two(first, COMMON "resourceName: b, numVfs: 8, nicSelector: {pfNames: [p2]}")),
			    "b: spec.nicSelector.pfNames[0]: VF index range in p2 is overlapped with existing policy a");
}

static void policies_of_different_nodes_never_meet(void **state)
{
	assert_string_equal(said(two("nodeSelector: {r: a}, resourceName: a, numVfs: 8, nicSelector: {pfNames: [p2]}",
				     "nodeSelector: {r: b}, resourceName: b, numVfs: 8, nicSelector: {pfNames: [p2]}")), "");
	/* nodes with both labels may or may not be there */
	assert_string_equal(said(two("nodeSelector: {r: a}, resourceName: a, numVfs: 8, nicSelector: {rootDevices: ['0000:01:00.0']}",
				     "nodeSelector: {q: b}, resourceName: b, numVfs: 8, nicSelector: {rootDevices: ['0000:01:00.0']}")),
			    "warning: b: spec.nicSelector.rootDevices[0]: root device 0000:01:00.0 is overlapped with existing policy a");
}

static void other_conflicts_have_the_webhooks_words(void **state)
{
	assert_string_equal(said(two(COMMON "resourceName: a, numVfs: 8, nicSelector: {pfNames: ['p2#0-3']}",
				     COMMON "resourceName: b, numVfs: 8, externallyManaged: true, nicSelector: {pfNames: ['p2#4-7']}")),
			    "b: spec.externallyManaged: externallyManage is inconsistent with existing policy a");
	assert_string_equal(said(two(COMMON "resourceName: a, numVfs: 8, excludeTopology: true, nicSelector: {pfNames: [p2]}",
				     COMMON "resourceName: a, numVfs: 8, nicSelector: {pfNames: [p3]}")),
			    "b: spec.excludeTopology: excludeTopology[false] field conflicts with policy [a].ExcludeTopology[true] as they target "
			    "the same resource[a]");
}

static const char *said_on_node(const char *yaml)
{
	struct complaints c = { .arena = arena };
	struct decoded d[MAX], node[1], state[1];
	const struct api_policy *list[MAX];
	size_t n = decode(arena, yaml, d, MAX);

	decode(arena, "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {role: gpu, zone: z}}\n", node, 1);
	decode(arena, ports, state, 1);
	for (size_t i = 0; i < n; i++)
		list[i] = d[i].object;
	validate_on_nodes(list, n, (const struct api_node *[]){ node[0].object }, 1, (const struct api_nodestate *[]){ state[0].object }, 1, &c);
	return c.n ? c.v[0].text : "";
}

static void rules_about_nodes_have_the_webhooks_words(void **state)
{
	assert_string_equal(said_on_node(policy("a", "nodeSelector: {role: cpu}, resourceName: r, numVfs: 1, nicSelector: {vendor: 15b3}")),
			    "no matched node is selected by the nodeSelector in CR a");
	assert_string_equal(said_on_node(policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {pfNames: [p9]}")),
			    "no supported NIC is selected by the nicSelector in CR a");
	assert_string_equal(said_on_node(policy("a", COMMON "resourceName: r, numVfs: 9, nicSelector: {vendor: '8086'}")),
			    "numVfs(9) in CR a exceed the maximum allowed value(8) interface(e1)");
	assert_string_equal(said_on_node(policy("a", COMMON "resourceName: r, numVfs: 129, nicSelector: {pfNames: [p2]}")),
			    "numVfs(129) in CR a exceed the maximum allowed value(128) interface(p2)");
	assert_string_equal(said_on_node(policy("a", COMMON "resourceName: r, numVfs: 2, externallyManaged: true, nicSelector: {pfNames: [p2]}")),
			    "numVfs(2) in CR a is higher than the virtual functions allocated for the PF externally value(0)");
	assert_string_equal(said_on_node(policy("a", COMMON "resourceName: r, numVfs: 4, nicSelector: {vendor: 15b3}")), "");
}

static void policies_meet_on_the_nodes_that_both_select(void **state)
{
	const char *a = policy("a", COMMON "resourceName: a, numVfs: 8, nicSelector: {pfNames: ['p2#0-3']}");

	/* a port by its other name is the same port */
	assert_string_equal(said_on_node(arena_printf(arena, "%s%s", a, policy("b", COMMON "resourceName: b, numVfs: 8, "
								      "nicSelector: {pfNames: ['enp92s0f0#3-7']}"))),
			    "VF index range in enp92s0f0#3-7 is overlapped with existing policy a");
	assert_string_equal(said_on_node(arena_printf(arena, "%s%s", a, policy("b", COMMON "resourceName: b, numVfs: 8, "
								      "nicSelector: {pfNames: ['enp92s0f0#4-7']}"))), "");
	/* labels alone would not tell: the node has both */
	assert_string_equal(said_on_node(arena_printf(arena, "%s%s",
						      policy("a", "nodeSelector: {role: gpu}, resourceName: a, numVfs: 4, nicSelector: {rootDevices: ['0000:5c:00.0']}"),
						      policy("b", "nodeSelector: {zone: z}, resourceName: b, numVfs: 4, nicSelector: {rootDevices: ['0000:5c:00.0']}"))),
			    "root device 0000:5c:00.0 is overlapped with existing policy a");
	assert_string_equal(said_on_node(arena_printf(arena, "%s%s",
						      policy("a", "nodeSelector: {role: gpu}, resourceName: r, numVfs: 4, nicSelector: {pfNames: [p2]}"),
						      policy("b", "nodeSelector: {zone: z}, resourceName: r, excludeTopology: true, numVfs: 4, "
								  "nicSelector: {pfNames: [p3]}"))),
			    "excludeTopology[true] field conflicts with policy [a].ExcludeTopology[false] as they target the same resource[r]");
}

static void ports_that_no_node_reports_are_selected_by_nothing(void **state)
{
	static const struct pair labels[] = { { "role", "gpu" } };
	struct complaints c = { .arena = arena };
	struct api_nodestate_status empty = { 0 };
	struct api_meta meta = { .name = "n1", .labels = (struct pair *)labels, .n_labels = 1 };
	const struct api_node node = { .object.meta = &meta };
	const struct api_nodestate reported = { .object.meta = &meta, .status = &empty };
	struct decoded d[1];
	const struct api_policy *p;

	decode(arena, policy("a", COMMON "resourceName: r, numVfs: 1, nicSelector: {vendor: 15b3}"), d, 1);
	p = d[0].object;
	validate_on_nodes(&p, 1, (const struct api_node *[]){ &node }, 1, NULL, 0, &c);
	assert_int_equal(c.n, 0); /* no state in the input: nobody knows the ports */
	validate_on_nodes(&p, 1, (const struct api_node *[]){ &node }, 1, (const struct api_nodestate *[]){ &reported }, 1, &c);
	assert_int_equal(c.n, 1);
	assert_string_equal(c.v[0].text, "no supported NIC is selected by the nicSelector in CR a");
}

static void settings_of_resources_survive_their_text(void **state)
{
	struct api_vf_group groups[] = { { .resource_name = "b", .policy_name = "p1" }, { .resource_name = "a", .policy_name = "p2" },
					 { .resource_name = "c", .policy_name = "p3" }, { .resource_name = "b", .policy_name = "p4" } };
	struct api_interface port = { .vf_groups = groups, .n_vf_groups = ARRAY_SIZE(groups) };
	const struct api_nodestate_spec spec = { .interfaces = &port, .n_interfaces = 1 };
	struct decoded d[MAX];
	const struct api_policy *list[MAX];
	struct resource_settings *all;
	const char *text;
	size_t n;

	n = decode(arena, arena_printf(arena, "%s%s%s%s%s", policy("p1", COMMON "resourceName: b, numVfs: 1, needVhostNet: true, nicSelector: {vendor: 15b3}"),
				       policy("p2", COMMON "resourceName: a, numVfs: 1, excludeTopology: true, nicSelector: {vendor: 15b3}"),
				       policy("p3", COMMON "resourceName: c, numVfs: 1, nicSelector: {vendor: 15b3}"),
				       policy("p4", COMMON "resourceName: b, numVfs: 1, excludeTopology: true, nicSelector: {vendor: 15b3}"),
				       policy("p5", COMMON "resourceName: d, numVfs: 1, needVhostNet: true, nicSelector: {vendor: 15b3}")), d, MAX);
	for (size_t i = 0; i < n; i++)
		list[i] = d[i].object;
	text = resources_text(arena, list, n, &spec);
	/* in order of names; without those that want nothing, or have no VF here */
	assert_string_equal(text, "{\"a\":{\"excludeTopology\":true},\"b\":{\"excludeTopology\":true,\"needVhostNet\":true}}");
	resources_read(arena, text, &all, &n);
	assert_int_equal(n, 2);
	assert_string_equal(all[1].name, "b");
	assert_true(all[0].exclude_topology && !all[0].need_vhost_net && all[1].exclude_topology && all[1].need_vhost_net);
	assert_null(resources_text(arena, list, 0, &spec));
	for (const char *const *bad = (const char *const[]){ "", "{", "[]", "7", "{\"a\":7}", NULL }; *bad; bad++) {
		resources_read(arena, *bad, &all, &n);
		for (size_t i = 0; i < n; i++)
			assert_false(all[i].exclude_topology || all[i].need_vhost_net);
	}
	resources_read(arena, NULL, &all, &n);
	assert_int_equal(n, 0);
}

static const struct api_pool_config *pool(const char *name, const char *spec)
{
	struct decoded d[1];

	decode(arena, arena_printf(arena, "{apiVersion: sriovnetwork.openshift.io/v1, kind: SriovNetworkPoolConfig,"
				   " metadata: {name: %s}, spec: %s}\n", name, spec), d, 1);
	return d[0].object;
}

static void a_node_is_of_one_pool(void **state)
{
	static const struct pair labels[] = { { "role", "gpu" }, { "zone", "a" } };
	const struct api_pool_config *pools[] = {
		pool("one", "{rdmaMode: exclusive, nodeSelector: {matchLabels: {role: gpu}, matchExpressions: ["
			    "{key: zone, operator: NotIn, values: [b]}, {key: x, operator: DoesNotExist}]}}"),
		pool("offload", "{ovsHardwareOffloadConfig: {name: m}}"),
		pool("other", "{nodeSelector: {matchExpressions: [{key: zone, operator: In, values: [c]}]}}"),
		pool("all", "{rdmaMode: shared}"),
	};
	const char *mode = NULL;
	struct err e = { 0 };

	assert_int_equal(pool_rdma_mode(pools, 3, labels, 2, &mode, &e), 0);
	assert_string_equal(mode, "exclusive");
	assert_int_equal(pool_rdma_mode(pools, 4, labels, 2, &mode, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "two pools select the node, one and all"));
	assert_int_equal(pool_rdma_mode(pools, 3, NULL, 0, &mode, &e), 0);
	assert_null(mode);
}

/* As in the operator, where one selector that is none leaves every node without a pool. */
static void a_pool_whose_selector_is_broken_counts_for_no_node(void **state)
{
	static const char *const operators[] = { "Exists", "In", "Is" };

	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		struct api_pool_config bad = *pool("bad", "{}");
		const struct api_pool_config *pools[] = { pool("all", "{rdmaMode: shared}"), &bad };
		struct api_requirement r = { .key = "a", .operator = operators[i], .values = (const char *[]){ "b" }, .n_values = i != 1 };
		struct api_label_selector s = { .match_expressions = &r, .n_match_expressions = 1 };
		struct api_pool_config_spec spec = { .node_selector = &s };
		const char *mode = NULL;
		struct err e = { 0 };

		bad.spec = &spec;
		assert_int_equal(pool_rdma_mode(pools, 2, NULL, 0, &mode, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "pool bad: nodeSelector"));
		assert_null(mode);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(the_stronger_policy_replaces_the_weaker),
		T(a_policy_without_priority_is_the_weakest),
		T(ranges_of_one_port_are_kept_side_by_side),
		T(overlapping_ranges_go_to_the_stronger),
		T(equal_priorities_take_the_larger_mtu_and_numVfs),
		T(a_group_of_the_same_resource_is_replaced),
		T(a_range_behind_an_alternative_name_counts),
		T(every_part_of_a_selector_must_match),
		T(infiniband_vfs_are_rdma),
		T(the_policy_named_default_is_ignored),
		T(bridges_follow_the_last_policy_in_order_of_their_names),
		T(notes_say_why_a_policy_gave_nothing),
		T(a_selector_names_the_first_part_that_fails),
		T(overlapping_ranges_of_two_policies_are_refused),
		T(policies_of_different_nodes_never_meet),
		T(other_conflicts_have_the_webhooks_words),
		T(rules_about_nodes_have_the_webhooks_words),
		T(policies_meet_on_the_nodes_that_both_select),
		T(ports_that_no_node_reports_are_selected_by_nothing),
		T(settings_of_resources_survive_their_text),
		T(a_node_is_of_one_pool),
		T(a_pool_whose_selector_is_broken_counts_for_no_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
