/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <linux/if_ether.h>
#include <string.h>
#include <cmocka.h>

#include "attach/rail.h"
#include "attach/sysctl.h"
#include "attach/result.h"

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

static const struct cni_env add_env = { "ADD", "c1", "/run/netns/x", "net1", "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u=1", "/p" };

static int parse(const struct cni_env *env, const char *conf, struct request *rq, struct cni_failure *f)
{
	return request_parse(a, env, conf, strlen(conf), rq, f);
}

static void pod_identity_comes_from_cni_args_and_a_value_may_hold_an_equals_sign(void **state)
{
	struct cni_failure f;
	struct request rq;

	assert_int_equal(parse(&add_env, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"sriov\"}", &rq, &f), 0);
	assert_string_equal(rq.pod_namespace, "ns");
	assert_string_equal(rq.pod_name, "p");
	assert_string_equal(rq.pod_uid, "u=1");
	assert_int_equal(rq.version, CNI_1_0_0);
}

static void a_configuration_without_a_version_is_the_oldest(void **state)
{
	struct cni_failure f;
	struct request rq;

	assert_int_equal(parse(&add_env, "{\"name\":\"n\",\"type\":\"sriov\"}", &rq, &f), 0);
	assert_int_equal(rq.version, CNI_0_1_0);
}

static void verbs_need_their_variables_and_versions(void **state)
{
	static const struct {
		struct cni_env env;
		const char *version;
		int code;
		const char *says;
	} cases[] = {
		{ { "DEL", "c1", NULL, "net1", NULL, "/p" }, "0.3.1", 0, NULL },
		{ { "DEL", "c1", NULL, "net1", NULL, NULL }, "0.3.1", 4, "[CNI_PATH]" },
		{ { "ADD", NULL, NULL, NULL, NULL, NULL }, "0.3.1", 4, "[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH]" },
		{ { "CHECK", "c1", "/n", "net1", NULL, "/p" }, "0.3.1", 1, "config version does not allow CHECK" },
		{ { "CHECK", "c1", "/n", "net1", NULL, "/p" }, "0.4.0", 0, NULL },
		{ { "STATUS", NULL, NULL, NULL, NULL, "/p" }, "1.1.0", 0, NULL },
		{ { "STATUS", NULL, NULL, NULL, NULL, "/p" }, "1.0.0", 1, "config version does not allow STATUS" },
		{ { "GC", NULL, NULL, NULL, NULL, "/p" }, "1.1.0", 7, "valid-attachments" },
		{ { "JUMP", "c1", "/n", "net1", NULL, "/p" }, "1.1.0", 4, "unknown CNI_COMMAND: JUMP" },
		{ { NULL, "c1", "/n", "net1", NULL, "/p" }, "1.1.0", 4, "CNI_COMMAND" },
		{ { "ADD", "a/../b", "/n", "net1", NULL, "/p" }, "1.1.0", 4, "invalid characters in containerID" },
		{ { "ADD", "c1", "/n", "0123456789abcdef", NULL, "/p" }, "1.1.0", 4, "interface name is too long" },
		{ { "ADD", "c1", "/n", "a b", NULL, "/p" }, "1.1.0", 4, "whitespace" },
		{ { "ADD", "c1", "/n", "net1", "K8S_POD_NAME", "/p" }, "1.1.0", 4, "CNI_ARGS" },
		{ { "ADD", "c1", "/n", "net1", "A=1;;B=", "/p" }, "1.1.0", 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cni_failure f = { 0 };
		struct request rq;
		char *conf = arena_printf(a, "{\"cniVersion\":\"%s\",\"name\":\"n\",\"type\":\"sriov\"}", cases[i].version);
		int code = parse(&cases[i].env, conf, &rq, &f);

		if (code != cases[i].code || (code && !strstr(f.e.msg, cases[i].says)))
			fail_msg("case %zu: %d %s", i, code, f.e.msg);
	}
}

static void an_unsupported_version_says_which_are(void **state)
{
	struct cni_failure f;
	struct request rq;

	assert_int_equal(parse(&add_env, "{\"cniVersion\":\"2.0.0\",\"name\":\"n\"}", &rq, &f), CNI_INCOMPATIBLE_VERSION);
	assert_string_equal(f.e.msg, "incompatible CNI versions");
	assert_string_equal(f.details,
			    "config is \"2.0.0\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]");
}

static int rail(const char *conf, struct rail *ret, struct err *e)
{
	yyjson_val *v;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(doc_parse_json(a, "conf", conf, strlen(conf), 1u << 20, &v, e), 0);
	return rail_from_conf(a, v, ret, e);
}

static void the_operators_configuration_sets_what_it_names_and_nothing_else(void **state)
{
	struct rail r;
	struct err e;

	/* as rendered for KServe's network-roce.yaml */
	assert_int_equal(rail("{\"cniVersion\":\"1.0.0\",\"name\":\"roce-p2\",\"type\":\"sriov\",\"vlan\":0,\"spoofchk\":\"off\",\"trust\":\"on\","
			      "\"vlanQoS\":0,\"link_state\":\"enable\",\"logLevel\":\"info\",\"ipam\":{\"type\":\"whereabouts\",\"range\":\"10.0.132.0/24\"}}",
			      &r, &e), 0);
	assert_string_equal(r.ipam.name, "roce-p2");
	assert_int_equal(r.want.vlan, 0);
	assert_int_equal(r.want.spoofchk, 0);
	assert_int_equal(r.want.trust, 1);
	assert_int_equal(r.want.link_state, 1);
	assert_int_equal(r.want.max_rate, RAIL_UNSET);
	assert_int_equal(r.want.mtu, 0);
	assert_false(r.want.has_mac);
	assert_false(r.want.rdma);
	assert_string_equal(r.ipam.type, "whereabouts");

	assert_int_equal(rail("{\"type\":\"sriov\",\"ipam\":{}}", &r, &e), 0);
	assert_int_equal(r.want.vlan, RAIL_UNSET);
	assert_int_equal(r.want.spoofchk, RAIL_UNSET);
	assert_int_equal(r.want.trust, RAIL_UNSET);
	assert_int_equal(r.want.link_state, RAIL_UNSET);
	assert_null(r.ipam.type);
}

static void vlan_settings_go_together_as_in_sriov_cni(void **state)
{
	static const struct {
		const char *conf, *says; /* NULL: taken */
	} cases[] = {
		{ "\"vlan\":0,\"vlanQoS\":0,\"vlanProto\":\"802.1q\"", NULL },
		{ "\"vlan\":0,\"vlanProto\":\"802.1Q\"", NULL },
		{ "\"vlan\":0,\"vlanProto\":\"802.1ad\"", "vlanProto: 802.1ad needs a vlan other than 0" },
		{ "\"vlan\":0,\"vlanQoS\":1", "vlanQoS: 1 needs a vlan other than 0" },
		{ "\"vlan\":5,\"vlanQoS\":7,\"vlanProto\":\"802.1AD\"", NULL },
		{ "\"vlan\":5,\"vlanProto\":\"\"", "neither 802.1q nor 802.1ad" },
		{ "\"vlan\":5,\"vlanProto\":\"802.1x\"", "neither 802.1q nor 802.1ad" },
		{ "\"vlan\":5,\"vlanQoS\":8", "vlanQoS" },
		{ "\"vlan\":4095", "vlan" },
		{ "\"vlan\":-1", "vlan" },
		{ "\"vlanQoS\":0", "vlanQoS: 0 needs a vlan" },
		{ "\"vlanProto\":\"802.1q\"", "vlanProto: 802.1q needs a vlan" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { 0 };
		struct rail r;
		int code = rail(arena_printf(a, "{\"type\":\"sriov\",%s}", cases[i].conf), &r, &e);

		if ((code < 0) != (cases[i].says != NULL) || (code < 0 && !strstr(e.msg, cases[i].says)))
			fail_msg("%s: %d %s", cases[i].conf, code, e.msg);
	}
}

static void meta_plugins_add_to_the_interface(void **state)
{
	struct rail r;
	struct err e;

	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\",\"vlan\":100,\"vlanQoS\":3,\"vlanProto\":\"802.1AD\",\"ipam\":{}},{\"type\":\"rdma\"},"
			      "{\"type\":\"tuning\",\"mtu\":9000,\"mac\":\"02:00:5e:10:00:01\"}]}", &r, &e), 0);
	assert_true(r.want.rdma);
	assert_int_equal(r.want.mtu, 9000);
	assert_int_equal(r.want.mac[5], 1);
	assert_int_equal(r.want.vlan_proto, ETH_P_8021AD);
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"rdma\"}]}", &r, &e), -EINVAL);
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"sriov\"}]}", &r, &e), -EINVAL);
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"sbr\"}]}", &r, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "plugins[1]"));
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"tuning\",\"promisc\":true}]}", &r, &e), -EINVAL);
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"tuning\",\"sysctl\":{\"net.core.somaxconn\":\"500\"}},"
			      "{\"type\":\"tuning\",\"sysctl\":{\"net.ipv4.conf.IFNAME.arp_filter\":\"1\"}}]}", &r, &e), 0);
	assert_int_equal(r.n_sysctls, 2);
	assert_string_equal(r.sysctls[0].key, "net.core.somaxconn");
	assert_string_equal(r.sysctls[1].value, "1");
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"tuning\",\"sysctl\":{\"kernel.panic\":\"1\"}}]}", &r, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "plugins[1]: sysctl: \"kernel.panic\" is none of the network"));
	assert_int_equal(rail("{\"plugins\":[{\"type\":\"sriov\"},{\"type\":\"tuning\",\"sysctl\":{\"net.core.somaxconn\":500}}]}", &r, &e), -EINVAL);
}

static void sysctls_are_named_with_dots_or_slashes(void **state)
{
	static const struct {
		const char *key, *path; /* NULL: refused */
	} cases[] = {
		{ "net.core.somaxconn", "net/core/somaxconn" },
		{ "net/core/somaxconn", "net/core/somaxconn" },
		{ "net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/v.5/arp_filter" },
		{ "net/ipv4/conf/IFNAME/arp_filter", "net/ipv4/conf/v.5/arp_filter" },
		{ "net.ipv4.conf.eth0/100.arp_filter", "net/ipv4/conf/eth0.100/arp_filter" },
		{ "net/ipv4/conf/eth0.100/arp_filter", "net/ipv4/conf/eth0.100/arp_filter" },
		{ "net", NULL }, { "", NULL }, { "net.", NULL }, { ".net.core", NULL }, { "net..core", NULL }, { "kernel.panic", NULL },
		{ "network.x", NULL }, { "net/../kernel/panic", NULL }, { "net/./core", NULL }, { "net.//.kernel", NULL }, { "net/core/some conn", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *path = NULL;
		struct err e;
		int r = sysctl_path(a, cases[i].key, "v.5", &path, &e);

		if ((r < 0) != !cases[i].path || (path && strcmp(path, cases[i].path)))
			fail_msg("%s: %d %s", cases[i].key, r, path ? path : e.msg);
	}
}

static void the_runtimes_word_counts_more_than_the_configurations(void **state)
{
	struct rail r;
	struct err e;

	assert_int_equal(rail("{\"type\":\"sriov\",\"deviceID\":\"0000:5c:00.2\",\"mac\":\"02:00:00:00:00:01\",\"args\":{\"cni\":{\"ips\":[\"10.0.0.1\"]}},"
			      "\"runtimeConfig\":{\"deviceID\":\"0000:5c:00.3\",\"mac\":\"02:00:00:00:00:02\",\"ips\":[\"10.0.0.2/24\"]}}", &r, &e), 0);
	assert_string_equal(r.device_id, "0000:5c:00.3");
	assert_int_equal(r.want.mac[5], 2);
	assert_string_equal(r.ip, "10.0.0.2/24");
	assert_int_equal(rail("{\"type\":\"sriov\",\"deviceID\":\"0000:5c:00.2\",\"runtimeConfig\":{\"ips\":[\"10.0.0.2/24\",\"ten\"]}}", &r, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "runtimeConfig.ips: \"ten\" is no IP address"));
}

static struct ipam_ip ips[] = { { "10.0.132.5/24", "10.0.132.1", true }, { "fd00::5/64", NULL, false } };
static struct ipam_route routes[] = { { "0.0.0.0/0", "10.0.132.1", -1, -1, 100, -1, -1 }, { "fd01::/64", NULL, 1400, -1, -1, -1, 253 } };
static struct ipam_conf ipam = { .routes = routes, .n_routes = 2 };
static const struct result_rail rails[] = {
	{ .name = "net1", .mac = "02:00:5e:10:00:01", .sandbox = "/run/netns/x", .pci_id = "0000:5c:00.2", .mtu = 9000, .ipam = &ipam, .ips = ips, .n_ips = 2 },
};

static void results_have_the_form_of_their_version(void **state)
{
	static const struct {
		enum cni_version version;
		const char *text;
	} golden[] = {
		{ CNI_0_2_0, "{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.0.132.5/24\",\"gateway\":\"10.0.132.1\","
			     "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.132.1\"}]},\"ip6\":{\"ip\":\"fd00::5/64\",\"routes\":[{\"dst\":\"fd01::/64\"}]},\"dns\":{}}" },
		{ CNI_0_3_1, "{\"cniVersion\":\"0.3.1\",\"interfaces\":[{\"name\":\"net1\",\"mac\":\"02:00:5e:10:00:01\",\"sandbox\":\"/run/netns/x\"}],"
			     "\"ips\":[{\"version\":\"4\",\"interface\":0,\"address\":\"10.0.132.5/24\",\"gateway\":\"10.0.132.1\"},"
			     "{\"version\":\"6\",\"interface\":0,\"address\":\"fd00::5/64\"}],"
			     "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.132.1\"},{\"dst\":\"fd01::/64\"}],\"dns\":{}}" },
		{ CNI_1_0_0, "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"net1\",\"mac\":\"02:00:5e:10:00:01\",\"sandbox\":\"/run/netns/x\"}],"
			     "\"ips\":[{\"interface\":0,\"address\":\"10.0.132.5/24\",\"gateway\":\"10.0.132.1\"},{\"interface\":0,\"address\":\"fd00::5/64\"}],"
			     "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.132.1\"},{\"dst\":\"fd01::/64\"}],\"dns\":{}}" },
		{ CNI_1_1_0, "{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"net1\",\"mac\":\"02:00:5e:10:00:01\",\"mtu\":9000,\"sandbox\":\"/run/netns/x\","
			     "\"pciID\":\"0000:5c:00.2\"}],"
			     "\"ips\":[{\"interface\":0,\"address\":\"10.0.132.5/24\",\"gateway\":\"10.0.132.1\"},{\"interface\":0,\"address\":\"fd00::5/64\"}],"
			     "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.132.1\",\"priority\":100},{\"dst\":\"fd01::/64\",\"mtu\":1400,\"scope\":253}],\"dns\":{}}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(golden); i++)
		assert_string_equal(result_make(a, golden[i].version, NULL, rails, 1), golden[i].text);
}

static void what_a_chain_made_before_stays_in_front(void **state)
{
	static const char prev[] = "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/n\"}],"
				   "\"ips\":[{\"interface\":0,\"address\":\"10.1.0.2/24\"}],\"dns\":{\"nameservers\":[\"10.1.0.1\"]}}";
	yyjson_val *v;
	struct err e;
	const char *text;

	assert_int_equal(doc_parse_json(a, "prev", prev, strlen(prev), 1u << 20, &v, &e), 0);
	text = result_make(a, CNI_1_0_0, v, rails, 1);
	assert_non_null(strstr(text, "\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/n\"},{\"name\":\"net1\""));
	assert_non_null(strstr(text, "{\"interface\":0,\"address\":\"10.1.0.2/24\"},{\"interface\":1,\"address\":\"10.0.132.5/24\""));
	assert_non_null(strstr(text, "\"dns\":{\"nameservers\":[\"10.1.0.1\"]}"));
}

static void an_error_carries_code_words_and_details(void **state)
{
	struct cni_failure f;

	cni_fail(&f, CNI_TRY_AGAIN, "de\"tails", "no VF of %s", "p2rdma");
	assert_string_equal(result_error(a, CNI_0_4_0, &f),
			    "{\"cniVersion\":\"0.4.0\",\"code\":11,\"msg\":\"no VF of p2rdma\",\"details\":\"de\\\"tails\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pod_identity_comes_from_cni_args_and_a_value_may_hold_an_equals_sign, setup, teardown),
		cmocka_unit_test_setup_teardown(a_configuration_without_a_version_is_the_oldest, setup, teardown),
		cmocka_unit_test_setup_teardown(verbs_need_their_variables_and_versions, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unsupported_version_says_which_are, setup, teardown),
		cmocka_unit_test_setup_teardown(the_operators_configuration_sets_what_it_names_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(vlan_settings_go_together_as_in_sriov_cni, setup, teardown),
		cmocka_unit_test_setup_teardown(meta_plugins_add_to_the_interface, setup, teardown),
		cmocka_unit_test_setup_teardown(sysctls_are_named_with_dots_or_slashes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_runtimes_word_counts_more_than_the_configurations, setup, teardown),
		cmocka_unit_test_setup_teardown(results_have_the_form_of_their_version, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_chain_made_before_stays_in_front, setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_carries_code_words_and_details, setup, teardown),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
