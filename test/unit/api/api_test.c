/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "api/network.h"
#include "api/nodestate.h"
#include "api/policy.h"
#include "base/strbuf.h"

static struct arena *arena;

static int set_up(void **state)
{
	arena = arena_new();
	return 0;
}

static int tear_down(void **state)
{
	arena = arena_free(arena);
	return 0;
}

/* "LINE path: text" of each complaint, warnings with a '~' before. */
static const char *complaints_of(const char *text, int expected, void **ret)
{
	struct complaints c = { .arena = arena };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const struct api_kind *kind;
	struct err e = { 0 };
	struct doc *d;
	void *object;
	size_t n;
	int r;

	if (doc_parse(arena, "f", text, strlen(text), &d, &n, &e) < 0)
		fail_msg("%s", e.msg);
	r = api_decode(arena, d, &kind, &object, &c);
	strbuf_addstr(&b, "");
	for (size_t i = 0; i < c.n; i++)
		strbuf_addf(&b, "%s%s%u %s: %s", i ? "\n" : "", c.v[i].warning ? "~" : "", c.v[i].line, c.v[i].path, c.v[i].text);
	if (r != expected)
		fail_msg("%d instead of %d: %s", r, expected, b.s);
	if (r == 0 && ret)
		*ret = object;
	return arena_strdup(arena, b.s);
}

#define HEAD(kind, spec) "apiVersion: sriovnetwork.openshift.io/v1\nkind: " kind "\nmetadata: {name: x}\nspec:\n" spec

static void *good(const char *text)
{
	void *object = NULL;

	assert_string_equal(complaints_of(text, 0, &object), "");
	return object;
}

static void bad(const char *text, const char *complaints)
{
	assert_string_equal(complaints_of(text, -EINVAL, NULL), complaints);
}

static void warned(const char *text, const char *complaints)
{
	assert_string_equal(complaints_of(text, 0, NULL), complaints);
}

static void a_policy_is_decoded_with_defaults_and_the_webhooks_mutations(void **state)
{
	struct api_policy *p = good(HEAD("SriovNetworkNodePolicy",
		"  resourceName: p2rdma\n  nodeSelector: {a: b}\n  numVfs: 8\n  mtu: 9000\n  nicSelector: {pfNames: ['p2#0-3']}\n"));

	assert_string_equal(p->object.meta->name, "x");
	assert_string_equal(p->spec->resource_name, "p2rdma");
	assert_int_equal(p->spec->num_vfs, 8);
	assert_int_equal(p->spec->mtu, 9000);
	assert_string_equal(p->spec->device_type, "netdevice");
	assert_int_equal(*p->spec->priority, 99);
	assert_false(p->spec->is_rdma);
	assert_string_equal(p->spec->nic_selector->pf_names[0], "p2#0-3");
	assert_string_equal(pairs_get(p->spec->node_selector, p->spec->n_node_selector, "a"), "b");
	p = good(HEAD("SriovNetworkNodePolicy", "  resourceName: r\n  nodeSelector: {}\n  numVfs: 1\n  linkType: IB\n  nicSelector: {vendor: 15b3}\n"));
	assert_true(p->spec->is_rdma);
	p = good(HEAD("SriovNetworkNodePolicy",
		      "  resourceName: r\n  nodeSelector: {}\n  numVfs: 1\n  linkType: ib\n  deviceType: vfio-pci\n  nicSelector: {vendor: 15b3}\n"));
	assert_false(p->spec->is_rdma);
}

static void types_bounds_and_words_are_told_with_path_value_and_line(void **state)
{
	bad(HEAD("SriovNetworkNodePolicy", "  resourceName: r\n  nodeSelector: {}\n  numVfs: \"8\"\n  mtu: 0\n  priority: 100\n  isRdma: 1\n"
		 "  deviceType: netdevise\n  nicSelector:\n    pfNames: [a, 7]\n    deviceID: 1017\n"),
	    "7 spec.numVfs: \"8\" is a string, a number is wanted: take the quotes away\n"
	    "8 spec.mtu: 0 is below 1\n9 spec.priority: 100 is above 99\n10 spec.isRdma: 1 is a number, true or false is wanted\n"
	    "11 spec.deviceType: \"netdevise\" is none of netdevice or vfio-pci; did you mean netdevice?\n"
	    "13 spec.nicSelector.pfNames[1]: 7 is a number, a string is wanted: quote it\n"
	    "14 spec.nicSelector.deviceID: 1017 is a number, a string is wanted: quote it");
	bad(HEAD("SriovNetworkNodePolicy", "  numVfs: 1.5\n  nodeSelector: {}\n"),
	    "5 spec.numVfs: 1.5 is no whole number\n4 spec.resourceName: is missing\n4 spec.nicSelector: is missing");
	bad(HEAD("SriovNetwork", "  resourceName: r\n  spoofChk: off\n  trust: yes\n  vlan: 5000\n"),
	    "6 spec.spoofChk: false is a boolean, a string is wanted: YAML takes off, no and false for a boolean, write \"off\" in quotes\n"
	    "7 spec.trust: true is a boolean, a string is wanted: YAML takes on, yes and true for a boolean, write \"on\" in quotes\n"
	    "8 spec.vlan: 5000 is above 4094");
	bad("apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetwork\nmetadata: []\nspec: 5\n",
	    "3 metadata: is a list, a mapping is wanted\n4 spec: 5 is a number, a mapping is wanted");
}

static void an_mtu_that_no_port_takes_is_refused(void **state)
{
	bad(HEAD("SriovNetworkNodePolicy", "  resourceName: r\n  nodeSelector: {}\n  numVfs: 1\n  mtu: 64\n  nicSelector: {vendor: 15b3}\n"),
	    "8 spec.mtu: 64 is below 68");
}

static void unknown_fields_are_warned_of_with_the_nearest_name(void **state)
{
	warned(HEAD("SriovNetwork", "  resourceName: r\n  linkstate: auto\n  metaPluginsConfig: x\n  qqqqqqqq: 1\n"),
	       "~6 spec.linkstate: unknown field; did you mean linkState?\n"
	       "~7 spec.metaPluginsConfig: unknown field; did you mean metaPlugins?\n"
	       "~8 spec.qqqqqqqq: unknown field of a SriovNetworkSpec");
}

static void policy_rules_speak_the_webhooks_words(void **state)
{
#define POLICY(more) HEAD("SriovNetworkNodePolicy", "  nodeSelector: {}\n  numVfs: 8\n" more)
	bad(POLICY("  resourceName: ''\n  nicSelector: {}\n"),
	    "7 spec.resourceName: resource name must not be empty\n8 spec.nicSelector: at least one of these parameters (vendor, deviceID, "
	    "pfNames, rootDevices or netFilter) has to be defined in nicSelector in CR x");
	bad(POLICY("  resourceName: r_\n  nicSelector: {vendor: 15b3}\n"),
	    "7 spec.resourceName: resource name \"r_\" is invalid: must consist of alphanumeric characters or hyphens (or underscores), and must "
	    "start and end with an alphanumeric character");
	bad(POLICY("  resourceName: r\n  isRdma: true\n  deviceType: vfio-pci\n  nicSelector: {vendor: 15b3}\n"),
	    "8 spec.isRdma: 'deviceType: vfio-pci' conflicts with 'isRdma: true'; Set 'deviceType' to (string)'netdevice' Or Set 'isRdma' to (bool)'false'");
	bad(POLICY("  resourceName: r\n  linkType: ib\n  eSwitchMode: switchdev\n  nicSelector: {vendor: 15b3}\n"),
	    "9 spec.eSwitchMode: 'eSwitchMode: switchdev' can be used only with ethernet links");
	bad(POLICY("  resourceName: r\n  vdpaType: vhost\n  nicSelector: {vendor: 15b3}\n"),
	    "8 spec.vdpaType: vdpa requires the device to be configured in switchdev mode");
	bad(POLICY("  resourceName: r\n  vdpaType: vhost\n  deviceType: vfio-pci\n  eSwitchMode: switchdev\n  nicSelector: {vendor: 15b3}\n"),
	    "8 spec.vdpaType: 'deviceType: vfio-pci' conflicts with 'vhost'; Set 'deviceType' to (string)'netdevice' Or Remove 'vdpaType'");
	bad(POLICY("  resourceName: r\n  bridge: {ovs: {}}\n  externallyManaged: true\n  nicSelector: {vendor: 15b3}\n"),
	    "8 spec.bridge: software bridge management requires the device to be configured in switchdev mode\n"
	    "8 spec.bridge: software bridge management can't be used when the device externally managed");
	bad(POLICY("  resourceName: r\n  linkType: ib\n  nicSelector: {vendor: 15b3, netFilter: 'aws/NetworkID:x'}\n"),
	    "9 spec.nicSelector.netFilter: vendor, deviceID, pfNames and rootDevices cannot be given when netFilter is specified\n"
	    "8 spec.linkType: \"ib\" must be eth when netFilter is specified");
	warned(POLICY("  resourceName: r\n  nicSelector: {netFilter: 'openstack/NetworkTag:x'}\n"),
	       "~8 spec.nicSelector.netFilter: \"openstack/NetworkTag:x\" is neither openstack/NetworkID:UUID nor aws/NetworkID:ID: is that what the "
	       "ports report?");
	bad(HEAD("SriovNetworkNodePolicy", "  nodeSelector: {}\n  numVfs: 0\n  resourceName: r\n  nicSelector: {vendor: 15b3}\n"),
	    "6 spec.numVfs: numVfs(0) in CR x is not allowed");
	warned(POLICY("  resourceName: r\n  nicSelector: {vendor: 15B3, deviceID: '0x101d'}\n"),
	       "~8 spec.nicSelector.vendor: \"15B3\" selects nothing: PCI ids are compared in lower case\n"
	       "~8 spec.nicSelector.deviceID: \"0x101d\" selects nothing: PCI ids are four hex digits, such as \"15b3\"");
	warned(POLICY("  resourceName: r\n  nicSelector: {vendor: 15b4, deviceID: 101d}\n"),
	       "~8 spec.nicSelector.vendor: vendor 15b4 is not supported by the SR-IOV operator: is it right?");
	warned(POLICY("  resourceName: r\n  nicSelector: {vendor: '8086', deviceID: 101d}\n"),
	       "~8 spec.nicSelector.deviceID: vendor/device 8086/101d is not supported by the SR-IOV operator: is it right?");
	warned(POLICY("  resourceName: r\n  nicSelector: {deviceID: '9999'}\n"),
	       "~8 spec.nicSelector.deviceID: device 9999 is not supported by the SR-IOV operator: is it right?");
	good(POLICY("  resourceName: r\n  nicSelector: {deviceID: 101d}\n"));
	good(POLICY("  resourceName: r\n  nicSelector: {vendor: '8086', deviceID: 10c9}\n"));
}

static void what_the_operator_does_and_kvrail_does_not_is_a_warning(void **state)
{
	warned(POLICY("  resourceName: r\n  vdpaType: vhost\n  eSwitchMode: switchdev\n  nicSelector: {vendor: 15b3}\n"),
	       "~8 spec.vdpaType: kvrail makes no vDPA devices: it will set up no port of this policy");
	warned(POLICY("  resourceName: r\n  eSwitchMode: switchdev\n  bridge: {ovs: {}}\n  nicSelector: {vendor: 15b3}\n"),
	       "~8 spec.eSwitchMode: kvrail sets the mode and no more: tc offload (ethtool -K PF hw-tc-offload on), flow steering and the names of port and "
	       "representors are the node's to set up\n"
	       "~9 spec.bridge: kvrail manages no software bridges: it leaves them alone");
	good(POLICY("  resourceName: r\n  eSwitchMode: switchdev\n  externallyManaged: true\n  nicSelector: {vendor: 15b3}\n"));
}

static void a_policy_named_default_is_not_judged(void **state)
{
	good("apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodePolicy\nmetadata: {name: default}\n"
	     "spec: {resourceName: '', nodeSelector: {}, numVfs: 0, nicSelector: {}}\n");
}

static void pf_name(const char *text, const char *name, int64_t from, int64_t to, const char *message)
{
	const char *got = NULL;
	int64_t first = 7, last = 7;
	struct err e = { 0 };
	int r = api_pf_name(arena, text, &got, &first, &last, &e);

	if (message) {
		assert_int_equal(r, -EINVAL);
		assert_string_equal(e.msg, message);
		assert_null(got);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(got, name);
	assert_int_equal(first, from);
	assert_int_equal(last, to);
}

static void pf_names_carry_a_vf_range_after_a_hash(void **state)
{
	pf_name("p2", "p2", -1, -1, NULL);
	pf_name("p2#0-3", "p2", 0, 3, NULL);
	pf_name("p2#7-7", "p2", 7, 7, NULL);
	pf_name("a#b#1-2", NULL, 0, 0, "failed to parse a#b#1-2 PF name in nicSelector, probably incorrect separator character usage");
	pf_name("p2#3", NULL, 0, 0, "failed to parse p2#3 PF name nicSelector, probably incorrect range character usage");
	pf_name("p2#1-2-3", NULL, 0, 0, "failed to parse p2#1-2-3 PF name nicSelector, probably incorrect range character usage");
	pf_name("p2#x-3", NULL, 0, 0, "failed to parse p2#x-3 PF name nicSelector, start range is incorrect");
	pf_name("p2#-3", NULL, 0, 0, "failed to parse p2#-3 PF name nicSelector, start range is incorrect");
	pf_name("p2#0-", NULL, 0, 0, "failed to parse p2#0- PF name nicSelector, end range is incorrect");
	pf_name("p2#0-99999999999999999999999", NULL, 0, 0, "failed to parse p2#0-99999999999999999999999 PF name nicSelector, end range is incorrect");
	pf_name("p2#3-1", NULL, 0, 0, "failed to parse p2#3-1 PF name nicSelector, end range shall not be smaller than start range");
	bad(POLICY("  resourceName: r\n  nicSelector:\n    pfNames:\n    - p2#0-7\n    - p2#0-8\n"),
	    "11 spec.nicSelector.pfNames[1]: failed to parse p2#0-8 PF name nicSelector, end range exceeds the maximum VF index ");
}

static void json_inside_a_network_is_checked(void **state)
{
	struct api_network *n = good(HEAD("SriovNetwork", "  resourceName: r\n  ipam: |\n    {\"type\": \"static\"}\n  capabilities: '{\"mac\": true}'\n"
					  "  metaPlugins: '{\"type\": \"rdma\"}, {\"type\": \"tuning\", \"mtu\": 9000}'\n  spoofChk: \"off\"\n"));

	assert_string_equal(n->spec->log_level, "info");
	assert_string_equal(n->spec->spoof_chk, "off");
	good(HEAD("SriovIBNetwork", "  resourceName: r\n  ipam: '{}'\n"));
	bad(HEAD("SriovNetwork", "  resourceName: r\n  ipam: '{\"type\": }'\n  capabilities: '{\"mac\": 1}'\n  metaPlugins: '[{\"type\": \"a\"}]'\n"),
	    "7 spec.capabilities: capabilities must be a JSON object with boolean values, e.g. '{\"mac\": true}': \"mac\" is 1\n"
	    "6 spec.ipam: ipam must be a valid JSON object: ipam:1:10: no JSON: unexpected character, expected a valid JSON value\n"
	    "8 spec.metaPlugins: metaPlugins must be one or more JSON plugin objects, and no list around them");
	bad(HEAD("SriovNetwork", "  resourceName: r\n  ipam: '{\"range\": \"10.0.0.0/8\"}'\n  metaPlugins: '{\"type\": \"a\"},{\"kind\": \"b\"}'\n"),
	    "6 spec.ipam: ipam must contain a \"type\" field\n7 spec.metaPlugins: metaPlugins[1] must contain a \"type\" field");
	/* pasted into a configuration, blanks are not nothing */
	bad(HEAD("SriovNetwork", "  resourceName: r\n  ipam: ' '\n  capabilities: ' '\n  metaPlugins: ' '\n"),
	    "7 spec.capabilities: capabilities must be a JSON object with boolean values, e.g. '{\"mac\": true}': capabilities:1:1: no JSON: input data "
	    "is empty\n"
	    "6 spec.ipam: ipam must be a valid JSON object: ipam:1:1: no JSON: input data is empty\n"
	    "8 spec.metaPlugins: metaPlugins must be one or more JSON plugin objects, or not be there: it is blank");
	bad(HEAD("SriovNetworkPoolConfig", "  maxUnavailable: '5'\n"),
	    "5 spec.maxUnavailable: \"5\" is a string, a whole number or another string is wanted: take the quotes away");
	bad("apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: x}\nspec:\n  config: '{\"plugins\": []}'\n",
	    "5 spec.config: config \"plugins\" must be a list with at least one plugin");
}

static void what_is_no_known_object_is_told(void **state)
{
	complaints_of("apiVersion: v1\nkind: Pod\n", -ENOTSUP, NULL);
	complaints_of("apiVersion: example.com/v1\nkind: SriovNetwork\n", -ENOTSUP, NULL);
	bad("a: 1\n", "1 kind: is missing: which kind of object is this?");
	bad("--- 5\n", "1 : not a mapping: an object with apiVersion and kind is wanted");
	bad("apiVersion: sriovnetwork.openshift.io/v2\nkind: SriovNetwork\n",
	    "1 apiVersion: \"sriovnetwork.openshift.io/v2\" is not sriovnetwork.openshift.io/v1");
	bad("apiVersion: v1\nkind: Node\nmetadata: {name: Big_Name}\n",
	    "3 metadata.name: \"Big_Name\" is no name: lower case letters, digits, '-' and '.', a letter or digit at both ends");
	bad("apiVersion: v1\nkind: Node\n", "1 metadata.name: is missing");
}

static void kinds_are_found_by_any_of_their_names(void **state)
{
	assert_string_equal(api_kind_named("SRIOVNETWORKS")->kind, "SriovNetwork");
	assert_string_equal(api_kind_named("net-attach-def")->kind, "NetworkAttachmentDefinition");
	assert_string_equal(api_kind_named("sriovnetworknodepolicy")->kind, "SriovNetworkNodePolicy");
	assert_null(api_kind_named("pods"));
}

static void lists_are_unfolded_and_keep_their_lines(void **state)
{
	const char *text = "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n"
			   "- apiVersion: v1\n  kind: Node\n  metadata: {name: B}\n";
	struct complaints c = { .arena = arena };
	const struct api_kind *kind;
	struct doc *d;
	void *object;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", text, strlen(text), &d, &n, NULL), 0);
	api_unfold(arena, d, n, &d, &n);
	assert_int_equal(n, 2);
	assert_int_equal(api_decode(arena, &d[0], &kind, &object, &c), 0);
	assert_int_equal(api_decode(arena, &d[1], &kind, &object, &c), -EINVAL);
	assert_int_equal(c.v[0].line, 9);
}

static void items_of_a_list_of_one_kind_are_of_that_kind(void **state)
{
	const char *text = "{\"apiVersion\":\"v1\",\"kind\":\"NodeList\",\"items\":[\n{\"metadata\":{\"name\":\"a\"}},\n"
			   "{\"kind\":\"Node\",\"metadata\":{\"name\":\"B\"}}]}"
			   "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"metadata\":{\"name\":\"a\"}}]}";
	struct complaints c = { .arena = arena };
	const struct api_kind *kind;
	struct doc *d;
	void *object;
	size_t n;

	assert_int_equal(doc_parse(arena, "f", text, strlen(text), &d, &n, NULL), 0);
	api_unfold(arena, d, n, &d, &n);
	assert_int_equal(n, 3);
	assert_int_equal(api_decode(arena, &d[0], &kind, &object, &c), 0);
	assert_string_equal(kind->kind, "Node");
	assert_string_equal(doc_str(d[0].root, "apiVersion"), "v1");
	assert_int_equal(api_decode(arena, &d[1], &kind, &object, &c), -EINVAL);
	assert_string_equal(c.v[0].path, "metadata.name");
	assert_int_equal(c.v[0].line, 3);
	assert_int_equal(api_decode(arena, &d[2], &kind, &object, &c), -EINVAL);
	assert_string_equal(c.v[1].path, "kind");
}

static void what_is_decoded_is_encoded_again_unknown_fields_too(void **state)
{
	const char *json = "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"n\",\"zz\":[1,null]},"
			   "\"spec\":{\"interfaces\":[{\"pciAddress\":\"0000:01:00.0\",\"numVfs\":0,\"vfGroups\":[],\"new\":{\"a\":1}}],\"future\":false},"
			   "\"status\":{\"interfaces\":[{\"pciAddress\":\"0000:01:00.0\",\"Vfs\":[{\"pciAddress\":\"0000:01:10.0\",\"vfID\":0,\"x\":\"y\"}]}]},\"top\":1.5}";
	struct complaints c = { .arena = arena };
	const struct api_kind *kind;
	yyjson_mut_doc *out = doc_new(arena);
	yyjson_val *v;
	void *object;

	assert_int_equal(doc_parse_json(arena, "t", json, strlen(json), 4096, &v, NULL), 0);
	assert_int_equal(api_decode_value(arena, v, &kind, &object, &c), 0);
	assert_string_equal(doc_mut_to_json(arena, api_encode(kind, out, object), false), json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_policy_is_decoded_with_defaults_and_the_webhooks_mutations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(types_bounds_and_words_are_told_with_path_value_and_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_mtu_that_no_port_takes_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_fields_are_warned_of_with_the_nearest_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(policy_rules_speak_the_webhooks_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_operator_does_and_kvrail_does_not_is_a_warning, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_policy_named_default_is_not_judged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pf_names_carry_a_vf_range_after_a_hash, set_up, tear_down),
		cmocka_unit_test_setup_teardown(json_inside_a_network_is_checked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_known_object_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(kinds_are_found_by_any_of_their_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lists_are_unfolded_and_keep_their_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(items_of_a_list_of_one_kind_are_of_that_kind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_decoded_is_encoded_again_unknown_fields_too, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
