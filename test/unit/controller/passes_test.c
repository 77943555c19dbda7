/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "controller/passes.h"

#define NS "sriov"

/* A world whose objects went through what the informers keep. */
struct test {
	struct arena *a;
	struct world w;
	struct memos m;
	struct writes out;
	struct node_outcome *nodes;
	size_t n_nodes;
	unsigned next;
};

static void setup(struct test *t)
{
	*t = (struct test){ .a = arena_new() };
	t->w = (struct world){ .namespace = NS, .prefix = "openshift.io", .now = 1800000000, .stale_minutes = 30 };
	t->out.arena = t->a;
}

static void teardown(struct test *t)
{
	memo_free(&t->m);
	arena_free(t->a);
}
#define _cleanup_test_ _cleanup_(teardown)

static void add(struct test *t, enum world_kind kind, const char *json)
{
	struct world_collection c = world_collection(kind, NS);
	struct informer_object o = { .uid = "u", .version = "7" };
	yyjson_val *v, *meta;

	assert_int_equal(doc_parse_json(t->a, "test", json, strlen(json), DOC_SIZE_MAX, &v, NULL), 0);
	meta = yyjson_obj_get(v, "metadata");
	o.namespace = doc_str(meta, "namespace");
	o.name = doc_str(meta, "name");
	o.json = c.keep ? c.keep(NULL, t->a, v) : json;
	world_add(t->a, &t->w, kind, &o, 1);
}

static void add_node(struct test *t, const char *name, const char *labels)
{
	add(t, WORLD_NODES,
	    arena_printf(t->a, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":%s},\"status\":{\"conditions\":"
			       "[{\"type\":\"Ready\",\"status\":\"True\"}],\"capacity\":{\"cpu\":\"4\"}}}", name, labels));
}

static void add_policy(struct test *t, const char *name, const char *spec)
{
	add(t, WORLD_POLICIES,
	    arena_printf(t->a, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"name\":\"%s\","
			       "\"namespace\":\"" NS "\",\"generation\":3},\"spec\":%s}", name, spec));
}

static const char *state_meta = ""; /* more of the metadata of node states */

/* @spec may be NULL; two ports, p0 and p1, with @vfs VFs each. */
static void add_state(struct test *t, const char *node, const char *spec, const char *sync, int vfs)
{
	add(t, WORLD_STATES,
	    arena_printf(t->a, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"%s\","
			       "\"namespace\":\"" NS "\",\"uid\":\"s\",\"resourceVersion\":\"5\",\"generation\":2%s},%s%s%s"
			       "\"status\":{\"interfaces\":[%s],\"syncStatus\":\"%s\"}}", node, state_meta, spec ? "\"spec\":" : "", spec ? spec : "",
			 spec ? "," : "",
			 arena_printf(t->a, "{\"name\":\"p0\",\"pciAddress\":\"0000:01:00.0\",\"vendor\":\"15b3\",\"deviceID\":\"101d\",\"numVfs\":%d,\"totalvfs\":8,"
					    "\"Vfs\":[{\"pciAddress\":\"0000:01:00.1\",\"vfID\":0}]},{\"name\":\"p1\",\"pciAddress\":\"0000:02:00.0\","
					    "\"vendor\":\"15b3\",\"deviceID\":\"101d\",\"numVfs\":%d,\"totalvfs\":8}", vfs, vfs), sync));
}

static void run(struct test *t)
{
	t->out.n = 0;
	t->n_nodes = 0;
	t->next = 0;
	pass_nodes(t->a, &t->w, &t->m, &t->out, &t->nodes, &t->n_nodes, &t->next);
	pass_policies(t->a, &t->w, t->nodes, t->n_nodes, &t->out);
	pass_networks(t->a, &t->w, &t->m, &t->out);
}

/* The @nth write about @kind @name, NULL when there is none. */
static const struct write *nth(struct test *t, const char *kind, const char *name, const char *sub, size_t n)
{
	for (size_t i = 0; i < t->out.n; i++) {
		const struct write *x = &t->out.v[i];

		if (strcmp(x->kind->kind, kind) || strcmp(x->name, name) || strcmp(x->sub ? x->sub : "", sub ? sub : ""))
			continue;
		if (n-- == 0)
			return x;
	}
	return NULL;
}

static const struct write *written(struct test *t, const char *kind, const char *name, const char *sub)
{
	return nth(t, kind, name, sub, 0);
}

static yyjson_val *json_of(struct test *t, const struct write *x)
{
	yyjson_val *v;

	assert_non_null(x);
	assert_int_equal(doc_parse_json(t->a, "write", x->json, strlen(x->json), DOC_SIZE_MAX, &v, NULL), 0);
	return v;
}

static yyjson_val *condition(struct test *t, const struct write *x, const char *type)
{
	yyjson_val *c;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(json_of(t, x), "status"), "conditions"), i, max, c)
		if (!strcmp(doc_str(c, "type"), type))
			return c;
	return NULL;
}

static void expect_ready(struct test *t, const char *kind, const char *name, const char *status, const char *reason, const char *message)
{
	yyjson_val *c = condition(t, written(t, kind, name, "status"), "Ready");

	assert_non_null(c);
	assert_string_equal(doc_str(c, "status"), status);
	assert_string_equal(doc_str(c, "reason"), reason);
	if (!strstr(doc_str(c, "message"), message))
		fail_msg("'%s' is not in '%s'", message, doc_str(c, "message"));
}

#define P0 "{\"resourceName\":\"p0rdma\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"vendor\":\"15b3\",\"pfNames\":[\"p0\"]}}"

static void a_new_node_gets_a_state_and_waits_for_its_agent(void **state)
{
	_cleanup_test_ struct test t;
	yyjson_val *v;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_node(&t, "other", "{}");
	add_node(&t, "windows", "{\"kubernetes.io/os\":\"windows\"}");
	add_policy(&t, "rails", P0);
	run(&t);
	v = json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL));
	assert_string_equal(doc_str(yyjson_obj_get(v, "metadata"), "namespace"), NS);
	assert_non_null(written(&t, "SriovNetworkNodeState", "other", NULL));
	assert_null(written(&t, "SriovNetworkNodeState", "windows", NULL));
	expect_ready(&t, "RailNode", "n1", "False", "NoAgent", "spec.nodeName=n1");
	assert_null(written(&t, "RailNode", "other", "status")); /* nobody asks anything of it */
	expect_ready(&t, "RailPolicy", "rails", "False", "NoPortSelected", "1 of which has not reported");
}

static void policies_become_the_spec_and_steady_state_writes_nothing(void **state)
{
	_cleanup_test_ struct test t;
	const char *spec;
	yyjson_val *v, *port;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	v = yyjson_obj_get(json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL)), "spec");
	port = yyjson_arr_get_first(yyjson_obj_get(v, "interfaces"));
	assert_string_equal(doc_str(port, "pciAddress"), "0000:01:00.0");
	assert_int_equal(doc_int(port, "numVfs", 0), 4);
	expect_ready(&t, "RailNode", "n1", "False", "Configuring", "sets up");
	expect_ready(&t, "RailPolicy", "rails", "False", "NodesPending", "node n1");
	spec = doc_to_json(t.a, v, false);

	/* the agent works */
	t.w.n_states = 0;
	add_state(&t, "n1", spec, "Succeeded", 0);
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
	expect_ready(&t, "RailNode", "n1", "False", "Configuring", "p0 has 0 of 4 VFs");
	t.w.n_states = 0;
	add_state(&t, "n1", spec, "Succeeded", 4);
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
	expect_ready(&t, "RailNode", "n1", "True", "Configured", "1 port with 4 VFs");
	expect_ready(&t, "RailPolicy", "rails", "True", "Applied", "4 VFs on 1 port of 1 node, as openshift.io/p0rdma");
	assert_int_equal(doc_int(condition(&t, written(&t, "RailPolicy", "rails", "status"), "Ready"), "observedGeneration", 0), 3);

	/* what was written is there: nothing more to say */
	for (size_t i = 0, n = t.out.n; i < n; i++)
		if (t.out.v[i].sub)
			add(&t, strcmp(t.out.v[i].kind->kind, "RailNode") ? WORLD_RAIL_POLICIES : WORLD_RAIL_NODES, t.out.v[i].json);
	t.w.now += 1000;
	run(&t);
	assert_int_equal(t.out.n, 0);
}

static void what_the_device_plugin_must_know_is_an_annotation_of_the_node_state(void **state)
{
	static const char *const said = "{\"p0rdma\":{\"excludeTopology\":true,\"needVhostNet\":true}}";
	_cleanup_test_ struct test t;
	const char *spec;
	yyjson_val *v;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", "{\"resourceName\":\"p0rdma\",\"numVfs\":4,\"excludeTopology\":true,\"needVhostNet\":true,"
				"\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"pfNames\":[\"p0\"]}}");
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	v = json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL));
	assert_string_equal(doc_str(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "annotations"), "kvrail.io/resources"), said);
	spec = doc_to_json(t.a, yyjson_obj_get(v, "spec"), false);

	/* the spec is there and the annotation is not */
	t.w.n_states = 0;
	add_state(&t, "n1", spec, "Succeeded", 4);
	run(&t);
	assert_non_null(written(&t, "SriovNetworkNodeState", "n1", NULL));

	/* both are: nothing to write */
	state_meta = ",\"annotations\":{\"kvrail.io/resources\":\"{\\\"p0rdma\\\":{\\\"excludeTopology\\\":true,\\\"needVhostNet\\\":true}}\"}";
	t.w.n_states = 0;
	add_state(&t, "n1", spec, "Succeeded", 4);
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));

	/* the policy says nothing of it any more: what is applied without the annotation takes it away */
	t.w.n_policies = 0;
	add_policy(&t, "rails", "{\"resourceName\":\"p0rdma\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"pfNames\":[\"p0\"]}}");
	run(&t);
	v = json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL));
	assert_null(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "annotations"));
	state_meta = "";
}

static void failure_of_an_agent_is_told_in_its_words(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add(&t, WORLD_STATES, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"n1\","
			      "\"namespace\":\"sriov\"},\"status\":{\"interfaces\":[{\"name\":\"p0\",\"pciAddress\":\"0000:01:00.0\",\"vendor\":\"15b3\"}],"
			      "\"syncStatus\":\"Failed\",\"lastSyncError\":\"p0: firmware allows no VFs\"}}");
	run(&t);
	expect_ready(&t, "RailNode", "n1", "False", "SyncFailed", "p0: firmware allows no VFs");
	assert_string_equal(doc_str(condition(&t, written(&t, "RailNode", "n1", "status"), "Degraded"), "status"), "True");
	expect_ready(&t, "RailPolicy", "rails", "False", "NodesFailed", "node n1: p0: firmware allows no VFs");
}

static void port_that_waits_for_its_pods_is_told_in_the_agents_words(void **state)
{
#define WAITS "p0 (0000:01:00.0) must change (numVfs 2 to 4) and waits for its pods: llm/decode-0: drain the node or delete them"
	_cleanup_test_ struct test t;
	const char *spec;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", NULL, "Succeeded", 2);
	run(&t);
	spec = doc_to_json(t.a, yyjson_obj_get(json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL)), "spec"), false);
	t.w.n_states = 0;
	add_state(&t, "n1", spec, "InProgress\",\"lastSyncError\":\"" WAITS, 2);
	run(&t);
	expect_ready(&t, "RailNode", "n1", "False", "Configuring", WAITS);
	expect_ready(&t, "RailPolicy", "rails", "False", "NodesPending", "node n1: " WAITS);
	/* of a spec that is written just now the agent has said nothing yet */
	t.w.n_policies = 0;
	add_policy(&t, "rails", "{\"resourceName\":\"p0rdma\",\"numVfs\":2,\"nodeSelector\":{},\"nicSelector\":{\"pfNames\":[\"p0\"]}}");
	run(&t);
	expect_ready(&t, "RailNode", "n1", "False", "Configuring", "the agent sets up the ports");
}

static void policy_that_matches_nothing_says_what_excludes_what(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_node(&t, "n2", "{\"rdma\":\"yes\"}");
	add_node(&t, "n3", "{\"rdma\":\"no\"}");
	add_policy(&t, "labels", "{\"resourceName\":\"a\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"maybe\"},\"nicSelector\":{\"vendor\":\"15b3\"}}");
	add_policy(&t, "names", "{\"resourceName\":\"b\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"vendor\":\"15b3\",\"pfNames\":[\"p9\"]}}");
	add_policy(&t, "vendor", "{\"resourceName\":\"c\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"vendor\":\"8086\"}}");
	add_state(&t, "n1", NULL, "Succeeded", 0);
	add_state(&t, "n2", NULL, "Succeeded", 0);
	run(&t);
	expect_ready(&t, "RailPolicy", "labels", "False", "NoNodeSelected", "selects none of 3 nodes: nodeSelector rdma=maybe excludes 3 nodes");
	expect_ready(&t, "RailPolicy", "names", "False", "NoPortSelected",
		     "selects no port of 2 nodes: nicSelector.pfNames p9 excludes 4 ports on 2 nodes; there are p0, p1");
	expect_ready(&t, "RailPolicy", "vendor", "False", "NoPortSelected", "nicSelector.vendor 8086 excludes 4 ports on 2 nodes");
}

/* What is said again of the same is no event, however it is worded by now. */
static void turns_are_told_as_events_and_nothing_else(void **state)
{
	const struct write *x;
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_state(&t, "n1", NULL, "Succeeded", 0);
	add_policy(&t, "names", "{\"resourceName\":\"b\",\"numVfs\":4,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"pfNames\":[\"p9\"]}}");
	add(&t, WORLD_NAMESPACES, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"llm\"}}");
	add(&t, WORLD_SRIOV_NETWORKS, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"json\","
				      "\"namespace\":\"llm\",\"uid\":\"net\"},\"spec\":{\"resourceName\":\"b\",\"ipam\":\"{\"}}");
	run(&t);
	x = written(&t, "RailPolicy", "names", "status");
	assert_non_null(x);
	assert_string_equal(x->event.kind->kind, "SriovNetworkNodePolicy");
	assert_string_equal(x->event.reason, "NoPortSelected");
	assert_non_null(strstr(x->event.message, "nicSelector.pfNames p9 excludes 2 ports"));
	assert_true(x->event.warning);
	assert_string_equal(written(&t, "SriovNetwork", "json", "status")->event.reason, "UnsupportedConfiguration");
	assert_string_equal(written(&t, "SriovNetwork", "json", "status")->event.uid, "net");

	/* another node: other words, the same turn */
	add(&t, WORLD_RAIL_POLICIES, x->json);
	add_node(&t, "n2", "{\"rdma\":\"yes\"}");
	add_state(&t, "n2", NULL, "Succeeded", 0);
	run(&t);
	assert_non_null(written(&t, "RailPolicy", "names", "status"));
	assert_null(written(&t, "RailPolicy", "names", "status")->event.reason);

	/* it matches now: under way is no turn, there is one */
	t.w.n_policies = 0;
	add_policy(&t, "names", P0);
	run(&t);
	assert_null(written(&t, "RailPolicy", "names", "status")->event.reason);
	for (int n = 1; n <= 2; n++) {
		const char *name = n == 1 ? "n1" : "n2", *spec;

		spec = doc_to_json(t.a, yyjson_obj_get(json_of(&t, written(&t, "SriovNetworkNodeState", name, NULL)), "spec"), false);
		if (n == 1)
			t.w.n_states = 0;
		add_state(&t, name, spec, "Succeeded", 4);
	}
	run(&t);
	x = written(&t, "RailPolicy", "names", "status");
	assert_string_equal(x->event.reason, "Applied");
	assert_false(x->event.warning);
}

static void policy_that_cannot_be_read_is_invalid_and_harms_no_other(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "bad", "{\"resourceName\":\"a\",\"numVfs\":\"many\",\"nodeSelector\":{},\"nicSelector\":{\"vendor\":\"15b3\"}}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	expect_ready(&t, "RailPolicy", "bad", "False", "Invalid", "numVfs");
	expect_ready(&t, "RailPolicy", "rails", "False", "NodesPending", "n1");
}

static void node_of_two_pools_keeps_what_it_has(void **state)
{
#define POOL(name) "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkPoolConfig\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" NS "\"}," \
		   "\"spec\":{\"rdmaMode\":\"exclusive\",\"nodeSelector\":{\"matchLabels\":{\"rdma\":\"yes\"}}}}"
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", "{\"interfaces\":[]}", "Succeeded", 0);
	add(&t, WORLD_POOLS, POOL("a"));
	add(&t, WORLD_POOLS, POOL("b"));
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
	expect_ready(&t, "RailNode", "n1", "False", "TwoPools", "a and b");
	expect_ready(&t, "RailPolicy", "rails", "False", "NodesFailed", "node n1: two pools");
	t.w.n_pools = 1;
	run(&t);
	assert_non_null(strstr(written(&t, "SriovNetworkNodeState", "n1", NULL)->json, "\"system\":{\"rdmaMode\":\"exclusive\"}"));
}

#define STATE(more) "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"n1\",\"namespace\":\"" NS "\"}" more "}"

static void spec_stays_while_the_agent_has_reported_no_port(void **state)
{
	_cleanup_test_ struct test t;
	const char *spec;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	spec = arena_printf(t.a, ",\"spec\":%s", doc_to_json(t.a, yyjson_obj_get(json_of(&t, written(&t, "SriovNetworkNodeState", "n1", NULL)), "spec"), false));

	/* it comes back from a backup */
	t.w.n_states = 0;
	add(&t, WORLD_STATES, arena_printf(t.a, STATE("%s"), spec));
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
	expect_ready(&t, "RailNode", "n1", "False", "NoAgent", "no agent has reported");

	/* a node without ports, as the operator has it too */
	t.w.n_states = 0;
	add(&t, WORLD_STATES, arena_printf(t.a, STATE("%s,\"status\":{\"syncStatus\":\"Succeeded\"}"), spec));
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));

	/* it has none yet */
	t.w.n_states = 0;
	add(&t, WORLD_STATES, STATE(",\"status\":{\"syncStatus\":\"Succeeded\"}"));
	run(&t);
	assert_non_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
	expect_ready(&t, "RailPolicy", "rails", "False", "NoPortSelected", "there are no SR-IOV ports");
}

static void policy_that_a_stronger_one_replaces_says_so(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_policy(&t, "strong", "{\"resourceName\":\"other\",\"priority\":1,\"numVfs\":2,\"nodeSelector\":{\"rdma\":\"yes\"},\"nicSelector\":{\"pfNames\":[\"p0\"]}}");
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	expect_ready(&t, "RailPolicy", "strong", "False", "NodesPending", "n1");
	expect_ready(&t, "RailPolicy", "rails", "False", "Overridden", "stronger policies take whole");
	expect_ready(&t, "RailPolicy", "strong", "False", "NodesPending", "VF index range in p0 is overlapped with existing policy rails");
}

static void state_of_a_gone_node_is_kept_for_a_while(void **state)
{
	_cleanup_test_ struct test t;
	const char *kept;

	setup(&t);
	add_state(&t, "n1", NULL, "Succeeded", 0);
	run(&t);
	kept = written(&t, "SriovNetworkNodeState", "n1", NULL)->json;
	assert_string_equal(kept, "{\"metadata\":{\"annotations\":{\"sriovnetwork.openshift.io/keep-state-until\":\"2027-01-15T08:30:00Z\"}}}");
	assert_int_equal(t.next, 1800);
	t.w.n_states = 0;
	add(&t, WORLD_STATES, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"n1\","
			      "\"namespace\":\"sriov\",\"uid\":\"s\",\"annotations\":{\"sriovnetwork.openshift.io/keep-state-until\":\"2027-01-15T08:30:00Z\"}}}");
	run(&t);
	assert_int_equal(t.out.n, 0);
	assert_int_equal(t.next, 1800);
	t.w.now += 1801;
	run(&t);
	assert_int_equal(written(&t, "SriovNetworkNodeState", "n1", NULL)->verb, WRITE_DELETE);
	assert_string_equal(written(&t, "SriovNetworkNodeState", "n1", NULL)->uid, "s");
	add_node(&t, "n1", "{}"); /* it is back */
	run(&t);
	assert_non_null(strstr(nth(&t, "SriovNetworkNodeState", "n1", NULL, 1)->json, "null"));
}

static void node_that_is_not_selected_any_more_is_as_one_that_is_gone(void **state)
{
#define CONFIG "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovOperatorConfig\",\"metadata\":{\"name\":\"default\",\"namespace\":\"" NS "\"}," \
	       "\"spec\":{\"configDaemonNodeSelector\":{\"rails\":\"yes\"}}}"
	_cleanup_test_ struct test t;
	const struct write *x;

	setup(&t);
	add(&t, WORLD_CONFIGS, CONFIG);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", NULL, "Succeeded", 4);
	add(&t, WORLD_RAIL_NODES, "{\"apiVersion\":\"kvrail.io/v1alpha1\",\"kind\":\"RailNode\",\"metadata\":{\"name\":\"n1\",\"namespace\":\"" NS "\",\"uid\":\"r\"}}");
	run(&t);
	x = written(&t, "SriovNetworkNodeState", "n1", NULL);
	assert_string_equal(x->json, "{\"metadata\":{\"annotations\":{\"sriovnetwork.openshift.io/keep-state-until\":\"2027-01-15T08:30:00Z\"}}}");
	x = written(&t, "RailNode", "n1", NULL);
	assert_int_equal(x->verb, WRITE_DELETE);
	assert_string_equal(x->uid, "r");
	t.w.stale_minutes = 0;
	run(&t);
	assert_int_equal(written(&t, "SriovNetworkNodeState", "n1", NULL)->verb, WRITE_DELETE);

	/* selected again */
	t.w.n_nodes = 0;
	add_node(&t, "n1", "{\"rdma\":\"yes\",\"rails\":\"yes\"}");
	run(&t);
	assert_int_equal(written(&t, "SriovNetworkNodeState", "n1", NULL)->verb, WRITE_APPLY);
	assert_non_null(written(&t, "RailNode", "n1", "status"));
}

static void another_writer_is_told_and_not_fought(void **state)
{
	_cleanup_test_ struct test t;
	struct memo *m;

	setup(&t);
	add_node(&t, "n1", "{\"rdma\":\"yes\"}");
	add_policy(&t, "rails", P0);
	add_state(&t, "n1", "{\"interfaces\":[]}", "Succeeded", 0);
	run(&t);
	m = memo_find(&t.m, written(&t, "SriovNetworkNodeState", "n1", NULL)->contested, true);
	m->conflict = strdup("conflict with \"sriov-network-config-daemon\"");
	run(&t);
	expect_ready(&t, "RailNode", "n1", "False", "OtherWriter", "sriov-network-config-daemon");
	/* a server that makes something else of what it was told (a default, a field it does not know) is not asked again */
	m->wanted = write_hash(written(&t, "SriovNetworkNodeState", "n1", NULL)->wanted);
	m->accepted = write_hash(pass_state_spec(t.a, json_of(&t, &(struct write){ .json =
		"{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"interfaces\":[]}}" })));
	run(&t);
	assert_null(written(&t, "SriovNetworkNodeState", "n1", NULL));
}

#define NETWORK(ns, name, more, spec)                                                                                       \
	"{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns \
	"\",\"uid\":\"n\",\"resourceVersion\":\"9\"" more "},\"spec\":{\"resourceName\":\"p0rdma\"" spec "}}"
#define NAMESPACE(name, more) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\"" more "}}"

static void network_in_its_own_namespace_gets_an_owned_nad(void **state)
{
	_cleanup_test_ struct test t;
	yyjson_val *v;

	setup(&t);
	add(&t, WORLD_NAMESPACES, NAMESPACE("llm", ""));
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "roce", "", ""));
	run(&t);
	assert_int_equal(t.out.n, 1);
	v = json_of(&t, written(&t, "NetworkAttachmentDefinition", "roce", NULL));
	assert_string_equal(doc_str(yyjson_arr_get_first(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "ownerReferences")), "uid"), "n");
	assert_string_equal(doc_str(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "annotations"), "k8s.v1.cni.cncf.io/resourceName"),
			    "openshift.io/p0rdma");
	add(&t, WORLD_NADS, t.out.v[0].json);
	run(&t);
	assert_int_equal(t.out.n, 1); /* its status */
	expect_ready(&t, "SriovNetwork", "roce", "True", "NetworkReady", "llm/roce is there; no SriovNetworkNodePolicy");
	/* its words were changed by hand */
	t.w.n_nads = 0;
	add(&t, WORLD_NADS, "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":\"NetworkAttachmentDefinition\",\"metadata\":{\"name\":\"roce\",\"namespace\":"
			    "\"llm\",\"annotations\":{\"sriovnetwork.openshift.io/owner-ref\":\"SriovNetwork.sriovnetwork.openshift.io/llm/roce\"}},"
			    "\"spec\":{\"config\":\"{}\"}}");
	run(&t);
	assert_non_null(written(&t, "NetworkAttachmentDefinition", "roce", NULL));
	assert_true(written(&t, "NetworkAttachmentDefinition", "roce", NULL)->mine);
}

static void network_for_another_namespace_is_held_by_a_finalizer(void **state)
{
	_cleanup_test_ struct test t;
	yyjson_val *meta;
	const char *nad;

	setup(&t);
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK(NS, "roce", ",\"finalizers\":[\"someone.else\"]", ",\"networkNamespace\":\"llm\""));
	run(&t);
	assert_int_equal(t.out.n, 1);
	expect_ready(&t, "SriovNetwork", "roce", "False", "NamespaceNotFound", "namespace llm does not exist");
	add(&t, WORLD_NAMESPACES, NAMESPACE("llm", ""));
	run(&t);
	assert_int_equal(t.out.n, 2);
	assert_int_equal(t.out.v[0].group, t.out.v[1].group); /* no NAD when the finalizer could not be written */
	meta = yyjson_obj_get(json_of(&t, &t.out.v[0]), "metadata");
	assert_string_equal(doc_str(meta, "resourceVersion"), "9");
	assert_string_equal(doc_to_json(t.a, yyjson_obj_get(meta, "finalizers"), false),
			    "[\"someone.else\",\"netattdef.finalizers.sriovnetwork.openshift.io\"]");
	assert_string_equal(doc_str(yyjson_obj_get(meta, "annotations"), "operator.sriovnetwork.openshift.io/last-network-namespace"), "llm");
	nad = t.out.v[1].json;
	assert_string_equal(t.out.v[1].ns, "llm");
	assert_null(strstr(nad, "ownerReferences"));

	/* networkNamespace changes: the old NAD goes, the new one comes */
	add(&t, WORLD_NADS, nad);
	add(&t, WORLD_NAMESPACES, NAMESPACE("llm2", ""));
	t.w.n_networks = 0;
#define NOTED(ns) ",\"annotations\":{\"operator.sriovnetwork.openshift.io/last-network-namespace\":\"" ns "\"}"
#define HELD ",\"finalizers\":[\"netattdef.finalizers.sriovnetwork.openshift.io\"]" NOTED("llm")
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK(NS, "roce", HELD, ",\"networkNamespace\":\"llm2\""));
	run(&t);
	assert_int_equal(t.out.v[0].verb, WRITE_DELETE);
	assert_string_equal(t.out.v[0].ns, "llm");
	assert_string_equal(t.out.v[2].ns, "llm2");

	/* it is deleted: first the NAD, then the finalizer */
	t.w.n_networks = 0;
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK(NS, "roce", HELD ",\"deletionTimestamp\":\"2027-01-01T00:00:00Z\"", ",\"networkNamespace\":\"llm\""));
	run(&t);
	assert_int_equal(t.out.n, 1);
	assert_int_equal(t.out.v[0].verb, WRITE_DELETE);
	t.w.n_nads = 0;
	run(&t);
	assert_int_equal(t.out.n, 1);
	assert_non_null(strstr(t.out.v[0].json, "\"finalizers\":[]"));
}

static void foreign_nads_are_left_alone(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add(&t, WORLD_NAMESPACES, NAMESPACE("llm", ""));
	add(&t, WORLD_NADS, "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":\"NetworkAttachmentDefinition\",\"metadata\":{\"name\":\"roce\",\"namespace\":"
			    "\"llm\"},\"spec\":{\"config\":\"{}\"}}");
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "roce", "", ""));
	run(&t);
	assert_int_equal(t.out.n, 1);
	expect_ready(&t, "SriovNetwork", "roce", "False", "NetworkAttachmentDefinitionInvalid", "belongs to somebody else");
	/* one where an operator that marked none noted that its own is, is taken over */
	t.w.n_networks = 0;
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "roce", NOTED("llm"), ""));
	run(&t);
	assert_non_null(written(&t, "NetworkAttachmentDefinition", "roce", NULL));
	assert_true(written(&t, "NetworkAttachmentDefinition", "roce", NULL)->mine);
	t.w.n_networks = 0;
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK(NS, "roce", HELD ",\"deletionTimestamp\":\"2027-01-01T00:00:00Z\"", ",\"networkNamespace\":\"llm\""));
	run(&t);
	assert_int_equal(t.out.n, 1);
	assert_int_equal(t.out.v[0].verb, WRITE_DELETE);
	/* nor one of an operator that is none of the three kinds; but one whose network is gone goes */
	t.w.n_nads = t.w.n_networks = 0;
	add(&t, WORLD_NADS, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"llm\",\"annotations\":{\"sriovnetwork.openshift.io/owner-ref\":\"Other.x/llm/a\"}}}");
	add(&t, WORLD_NADS, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"llm\",\"annotations\":{\"sriovnetwork.openshift.io/owner-ref\":"
			    "\"OVSNetwork.sriovnetwork.openshift.io/llm/b\"}}}");
	run(&t);
	assert_int_equal(t.out.n, 1);
	assert_string_equal(t.out.v[0].name, "b");
	assert_int_equal(t.out.v[0].verb, WRITE_DELETE);
}

static void networks_that_cannot_be_are_told_why(void **state)
{
	_cleanup_test_ struct test t;

	setup(&t);
	add(&t, WORLD_NAMESPACES, NAMESPACE("llm", ""));
	add(&t, WORLD_NAMESPACES, NAMESPACE(NS, ""));
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "far", "", ",\"networkNamespace\":\"" NS "\""));
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "json", "", ",\"ipam\":\"{\""));
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK("llm", "type", "", ",\"vlan\":\"x\""));
	add(&t, WORLD_SRIOV_NETWORKS, NETWORK(NS, "twice", "", ",\"networkNamespace\":\"llm\""));
	add(&t, WORLD_OVS_NETWORKS, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"OVSNetwork\",\"metadata\":{\"name\":\"twice\",\"namespace\":"
				    "\"llm\",\"uid\":\"o\"},\"spec\":{\"resourceName\":\"x\"}}");
	run(&t);
	expect_ready(&t, "SriovNetwork", "far", "False", "UnsupportedConfiguration", ".Spec.NetworkNamespace field can't be specified");
	expect_ready(&t, "SriovNetwork", "json", "False", "UnsupportedConfiguration", "ipam");
	expect_ready(&t, "SriovNetwork", "type", "False", "UnsupportedConfiguration", "vlan");
	expect_ready(&t, "OVSNetwork", "twice", "False", "NetworkAttachmentDefinitionInvalid", "another network asks for");
	assert_null(nth(&t, "NetworkAttachmentDefinition", "twice", NULL, 1));
	/* the one that has it keeps it, whatever order they come in */
	add(&t, WORLD_NADS, "{\"metadata\":{\"name\":\"twice\",\"namespace\":\"llm\",\"annotations\":{\"sriovnetwork.openshift.io/owner-ref\":"
			    "\"OVSNetwork.sriovnetwork.openshift.io/llm/twice\"}}}");
	run(&t);
	expect_ready(&t, "SriovNetwork", "twice", "False", "NetworkAttachmentDefinitionInvalid", "belongs to somebody else");
	assert_non_null(written(&t, "NetworkAttachmentDefinition", "twice", NULL));
	t.w.n_nads = 0;
	run(&t);
	/* what was said of an object that cannot be read is not said again */
	for (size_t i = 0; i < t.out.n; i++) {
		yyjson_val *c = condition(&t, &t.out.v[i], "Ready");

		if (!strcmp(t.out.v[i].name, "type")) {
			t.w.bad = NULL;
			t.w.n_bad = t.w.n_networks = 0;
			add(&t, WORLD_SRIOV_NETWORKS, arena_printf(t.a, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\","
				"\"metadata\":{\"name\":\"type\",\"namespace\":\"llm\"},\"spec\":{\"resourceName\":\"p0rdma\",\"vlan\":\"x\"},\"status\":%s}",
				doc_to_json(t.a, yyjson_obj_get(json_of(&t, &t.out.v[i]), "status"), false)));
			assert_non_null(c);
			break;
		}
	}
	assert_int_equal(t.w.n_bad, 1);
	run(&t);
	assert_null(written(&t, "SriovNetwork", "type", "status"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_node_gets_a_state_and_waits_for_its_agent),
		cmocka_unit_test(policies_become_the_spec_and_steady_state_writes_nothing),
		cmocka_unit_test(what_the_device_plugin_must_know_is_an_annotation_of_the_node_state),
		cmocka_unit_test(failure_of_an_agent_is_told_in_its_words),
		cmocka_unit_test(port_that_waits_for_its_pods_is_told_in_the_agents_words),
		cmocka_unit_test(policy_that_matches_nothing_says_what_excludes_what),
		cmocka_unit_test(turns_are_told_as_events_and_nothing_else),
		cmocka_unit_test(policy_that_cannot_be_read_is_invalid_and_harms_no_other),
		cmocka_unit_test(node_of_two_pools_keeps_what_it_has),
		cmocka_unit_test(spec_stays_while_the_agent_has_reported_no_port),
		cmocka_unit_test(policy_that_a_stronger_one_replaces_says_so),
		cmocka_unit_test(state_of_a_gone_node_is_kept_for_a_while),
		cmocka_unit_test(node_that_is_not_selected_any_more_is_as_one_that_is_gone),
		cmocka_unit_test(another_writer_is_told_and_not_fought),
		cmocka_unit_test(network_in_its_own_namespace_gets_an_owned_nad),
		cmocka_unit_test(network_for_another_namespace_is_held_by_a_finalizer),
		cmocka_unit_test(foreign_nads_are_left_alone),
		cmocka_unit_test(networks_that_cannot_be_are_told_why),
	};

	return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
