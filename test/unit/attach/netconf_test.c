/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations of other makers' plugins, and results, as libcni and Multus handle them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "attach/cache.h"
#include "attach/cniresult.h"
#include "attach/netconf.h"
#include "attach/netstatus.h"
#include "attach/plugin.h"

struct fixture {
	struct arena *a;
	struct err e;
};

static int setup(void **state)
{
	static struct fixture f;

	f.a = arena_new();
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->a = arena_free(f->a);
	return 0;
}

static yyjson_val *json(struct fixture *f, const char *text)
{
	yyjson_val *v;

	if (doc_parse_json(f->a, "test", text, strlen(text), 1 << 20, &v, &f->e) < 0)
		fail_msg("%s", f->e.msg);
	return v;
}

static struct netconf parse(struct fixture *f, const char *text)
{
	struct netconf nc;

	if (netconf_parse(f->a, "conf", text, strlen(text), &nc, &f->e) < 0)
		fail_msg("%s: %s", text, f->e.msg);
	return nc;
}

static void a_configuration_is_a_plugin_or_a_list(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "{", "conf:1:" },
		{ "[]", "no JSON object" },
		{ "{}", "neither \"type\" nor a list \"plugins\"" },
		{ "{\"plugins\":[]}", "neither" },
		{ "{\"plugins\":{}}", "neither" },
		{ "{\"plugins\":[{\"type\":\"a\"},{}]}", "plugins[1].type is missing" },
		{ "{\"plugins\":[7]}", "plugins[0].type is missing" },
		{ "{\"type\":\"a\",\"cniVersion\":\"9.9\"}", "cniVersion: \"9.9\"" },
		{ "{\"type\":\"a\",\"cniVersion\":1}", "conf: cniVersion must be a string" },
		{ "{\"type\":\"a\",\"name\":5}", "conf: name must be a string" },
		{ "{\"type\":5}", "conf: type must be a string" },
		{ "{\"type\":\"a\",\"capabilities\":{\"mac\":\"yes\"}}", "conf: capabilities must be an object like" },
		{ "{\"type\":\"a\",\"capabilities\":[]}", "conf: capabilities must be" },
		{ "{\"type\":\"a\",\"ipam\":\"host-local\"}", "conf: ipam must be an object" },
		{ "{\"type\":\"a\",\"ipam\":{\"type\":1}}", "conf: ipam.type must be a string" },
		{ "{\"type\":\"a\",\"dns\":{\"nameservers\":\"10.0.0.1\"}}", "conf: dns.nameservers must be a list of strings" },
		{ "{\"type\":\"a\",\"dns\":{\"search\":[1]}}", "conf: dns.search must be" },
		{ "{\"plugins\":[{\"type\":\"a\"}],\"disableCheck\":\"true\"}", "conf: disableCheck must be true or false" },
		{ "{\"plugins\":[{\"type\":\"a\"},{\"type\":\"b\",\"ipam\":[]}]}", "plugins[1]: conf: ipam must be" },
		{ "{\"type\":\"a\",\"name\":\"../x\"}", "name: \"../x\"" },
	};
	struct fixture *f = *state;
	struct netconf nc = parse(f, "{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"type\":\"bridge\",\"plugins\":[{\"type\":\"x\"}]}");
	char *large = arena_alloc(f->a, NETCONF_SIZE_MAX + 2);

	assert_false(nc.list);
	assert_int_equal(nc.n_plugins, 1);
	assert_string_equal(netconf_type(&nc, 0), "bridge");
	assert_int_equal(nc.version, CNI_0_4_0);
	nc = parse(f, "{\"type\":\"\",\"cniVersions\":[\"0.3.1\",\"1.0.0\",\"7\",\"0.4.0\"],\"plugins\":[{\"type\":\"a\"},{\"type\":\"b\"}],\"disableGC\":true}");
	assert_true(nc.list && nc.disable_gc && !nc.disable_check);
	assert_int_equal(nc.n_plugins, 2);
	assert_int_equal(nc.version, CNI_1_0_0);
	assert_null(nc.name);
	/* null is nothing, as in Go, and a plugin alone has no switches of a list */
	parse(f, "{\"type\":\"a\",\"name\":null,\"capabilities\":null,\"ipam\":null,\"dns\":null,\"disableCheck\":\"x\"}");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (netconf_parse(f->a, "conf", bad[i].text, strlen(bad[i].text), &nc, &f->e) >= 0)
			fail_msg("accepted: %s", bad[i].text);
		if (!strstr(f->e.msg, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, f->e.msg, bad[i].says);
	}
	memset(large, ' ', NETCONF_SIZE_MAX + 1);
	assert_int_equal(netconf_parse(f->a, "conf", large, NETCONF_SIZE_MAX + 1, &nc, &f->e), -E2BIG);
}

static void name_device_and_args_are_put_in_where_multus_puts_them(void **state)
{
	struct fixture *f = *state;
	struct netconf nc = parse(f, "{\"type\":\"host-device\",\"deviceID\":\"old\",\"args\":{\"x\":1,\"cni\":{\"a\":1,\"b\":2}}}");

	assert_string_equal(netconf_final(f->a, &nc, "nad", "0000:5c:00.2", json(f, "{\"b\":[3],\"c\":4}")),
			    "{\"type\":\"host-device\",\"deviceID\":\"0000:5c:00.2\",\"args\":{\"x\":1,\"cni\":{\"a\":1,\"b\":[3],\"c\":4}},"
			    "\"name\":\"nad\",\"pciBusID\":\"0000:5c:00.2\"}");
	nc = parse(f, "{\"name\":\"own\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"b\",\"args\":7}]}");
	assert_string_equal(netconf_final(f->a, &nc, "nad", "d", json(f, "{\"k\":1}")),
			    "{\"name\":\"own\",\"plugins\":[{\"type\":\"a\",\"deviceID\":\"d\",\"pciBusID\":\"d\",\"args\":{\"cni\":{\"k\":1}}},"
			    "{\"type\":\"b\",\"args\":{\"cni\":{\"k\":1}},\"deviceID\":\"d\",\"pciBusID\":\"d\"}]}");
	assert_string_equal(netconf_final(f->a, &nc, "nad", NULL, NULL), "{\"name\":\"own\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"b\",\"args\":7}]}");
}

static void a_plugin_reads_what_libcni_would_give_it(void **state)
{
	struct fixture *f = *state;
	struct netconf nc = parse(f, "{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"name\":\"other\",\"capabilities\":"
				     "{\"mac\":true,\"ips\":false,\"portMappings\":true}},{\"type\":\"b\",\"prevResult\":1}]}");
	yyjson_val *runtime = json(f, "{\"mac\":\"m\",\"ips\":[\"i\"],\"deviceID\":\"d\"}");

	assert_string_equal(netconf_stdin(f->a, &nc, 0, NULL, runtime, NULL),
			    "{\"type\":\"a\",\"name\":\"n\",\"capabilities\":{\"mac\":true,\"ips\":false,\"portMappings\":true},\"cniVersion\":\"0.4.0\","
			    "\"runtimeConfig\":{\"mac\":\"m\"}}");
	assert_string_equal(netconf_stdin(f->a, &nc, 1, json(f, "{\"ips\":[]}"), runtime, NULL),
			    "{\"type\":\"b\",\"prevResult\":{\"ips\":[]},\"name\":\"n\",\"cniVersion\":\"0.4.0\"}");
}

static char *converted(struct fixture *f, const char *text, enum cni_version from, enum cni_version to)
{
	struct cniresult res;

	if (cniresult_parse(f->a, json(f, text), from, &res, &f->e) < 0)
		fail_msg("%s: %s", text, f->e.msg);
	return doc_mut_to_json(f->a, cniresult_json(doc_new(f->a), &res, to), false);
}

static void results_are_read_and_written_in_every_version(void **state)
{
	static const char current[] =
		"{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"mac\":\"m\",\"mtu\":1500,\"sandbox\":\"/s\",\"pciID\":\"p\"}],"
		"\"ips\":[{\"interface\":1,\"address\":\"10.0.0.2/24\",\"gateway\":\"10.0.0.1\"},{\"address\":\"fd00::2/64\"}],"
		"\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\",\"mtu\":1400},{\"dst\":\"fd01::/64\"}],\"dns\":{\"domain\":\"x\"}}";
	struct fixture *f = *state;

	assert_string_equal(converted(f, current, CNI_0_1_0, CNI_1_1_0), current);
	assert_string_equal(converted(f, current, CNI_0_1_0, CNI_0_4_0),
			    "{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"mac\":\"m\",\"sandbox\":\"/s\"}],"
			    "\"ips\":[{\"version\":\"4\",\"interface\":1,\"address\":\"10.0.0.2/24\",\"gateway\":\"10.0.0.1\"},"
			    "{\"version\":\"6\",\"address\":\"fd00::2/64\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"},{\"dst\":\"fd01::/64\"}],"
			    "\"dns\":{\"domain\":\"x\"}}");
	assert_string_equal(converted(f, current, CNI_0_1_0, CNI_0_2_0),
			    "{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.0.0.2/24\",\"gateway\":\"10.0.0.1\",\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"}]},"
			    "\"ip6\":{\"ip\":\"fd00::2/64\",\"routes\":[{\"dst\":\"fd01::/64\"}]},\"dns\":{\"domain\":\"x\"}}");
	assert_string_equal(converted(f, "{\"ip4\":{\"ip\":\"10.0.0.2/24\",\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}}", CNI_0_2_0, CNI_1_0_0),
			    "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.2/24\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}],\"dns\":{}}");
	assert_string_equal(converted(f, "{\"cniVersion\":\"0.3.1\",\"ips\":null,\"interfaces\":null}", CNI_1_0_0, CNI_1_0_0),
			    "{\"cniVersion\":\"1.0.0\",\"dns\":{}}");
}

static void what_is_no_result_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "[]", "no JSON object" },
		{ "{\"cniVersion\":\"2\"}", "cniVersion: \"2\"" },
		{ "{\"ips\":{}}", "ips is no list" },
		{ "{\"ips\":[{\"address\":\"10.0.0.300/24\"}]}", "ips[0].address: \"10.0.0.300/24\"" },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\",\"interface\":0}]}", "ips[0].interface: there is no interface 0" },
		{ "{\"interfaces\":[{}]}", "interfaces[0].name" },
		{ "{\"routes\":[{\"dst\":\"x\"}]}", "routes[0].dst: \"x\"" },
	};
	struct fixture *f = *state;
	struct cniresult res;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(cniresult_parse(f->a, json(f, bad[i].text), CNI_1_0_0, &res, &f->e), -EBADMSG);
		if (!strstr(f->e.msg, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, f->e.msg, bad[i].says);
	}
}

static void the_result_cache_is_libcnis(void **state)
{
	struct fixture *f = *state;
	const struct cache_entry entry = { .network = "n", .container = "c", .ifname = "eth0", .netns = "/s", .config = "{\"type\":\"x\"}",
					   .args = "IgnoreUnknown=true;A=b=c;;bad;K=", .runtime = json(f, "{\"mac\":\"m\"}"), .result = json(f, "{\"ips\":[]}") };
	char *text = cache_text(f->a, &entry);

	assert_string_equal(text, "{\"kind\":\"cniCacheV1\",\"containerId\":\"c\",\"config\":\"eyJ0eXBlIjoieCJ9\",\"ifName\":\"eth0\",\"networkName\":\"n\","
				  "\"netns\":\"/s\",\"cniArgs\":[[\"IgnoreUnknown\",\"true\"],[\"A\",\"b=c\"],[\"K\",\"\"]],\"capabilityArgs\":{\"mac\":\"m\"},"
				  "\"result\":{\"ips\":[]}}");
	assert_string_equal(doc_to_json(f->a, cache_parse(f->a, text, strlen(text)), false), "{\"ips\":[]}");
	/* older libraries kept the result alone */
	assert_non_null(cache_parse(f->a, "{\"ips\":[]}", 10));
	assert_null(cache_parse(f->a, "{\"kind\":\"cniCacheV9\",\"result\":{}}", 33));
	assert_null(cache_parse(f->a, "{\"kind\":\"cniCacheV1\"}", 21));
	assert_null(cache_parse(f->a, "{cut", 4));
	assert_null(cache_parse(f->a, "[]", 2));
}

static void multus_notes_are_read(void **state)
{
	static const char text[] = "[{\"Conf\":{\"type\":\"x\"},\"ConfList\":{},\"Name\":\"cbr0\",\"Bytes\":\"eyJ0eXBlIjoieCJ9\",\"IsFilterV4Gateway\":false},"
				   "{\"Name\":\"ns/b\",\"ifnameRequest\":\"side\",\"macRequest\":\"m\",\"ipRequest\":[\"10.0.0.1\",7],\"deviceID\":\"d\",\"Bytes\":\"e30=\"}]";
	static const char *const bad[] = { "", "{}", "[1]", "[{}]", "[{\"Bytes\":\"!\"}]", "[{\"Bytes\":\"e30=\",\"ifnameRequest\":\"a/b\"}]" };
	struct scratch_delegate *d;
	struct fixture *f = *state;
	size_t n;

	assert_int_equal(scratch_parse(f->a, text, strlen(text), &d, &n, &f->e), 0);
	assert_int_equal(n, 2);
	assert_null(d[0].ifname);
	assert_string_equal(d[0].conf, "{\"type\":\"x\"}");
	assert_string_equal(d[1].ifname, "side");
	assert_string_equal(d[1].mac, "m");
	assert_int_equal(d[1].n_ips, 1);
	assert_int_equal(scratch_parse(f->a, "[]", 2, &d, &n, &f->e), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (scratch_parse(f->a, bad[i], strlen(bad[i]), &d, &n, &f->e) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
}

static void assert_same(const char *is, const char *want)
{
	assert_true(!is == !want);
	if (want)
		assert_string_equal(is, want);
}

static void network_status_is_written_as_multus_writes_it(void **state)
{
	struct fixture *f = *state;
	struct netstatus *list = NULL, rail = { .name = "llm/roce-p2", .interface = "net1", .mac = "02:00:5e:10:00:01", .mtu = 9000,
						.pci = "0000:5c:00.2", .rdma = "mlx5_3", .pf_pci = "0000:5c:00.0" };
	const char *ips[] = { "10.0.132.1" };
	struct cniresult res;
	size_t n = 0;

	assert_int_equal(cniresult_parse(f->a, json(f, "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"mac\":\"m\",\"sandbox\":\"/s\"}],"
							"\"ips\":[{\"interface\":1,\"address\":\"10.88.0.5/16\",\"gateway\":\"10.88.0.1\"}],"
							"\"routes\":[{\"dst\":\"0.0.0.0/0\"}],\"dns\":{\"nameservers\":[\"9.9.9.9\"],\"search\":[]}}"),
					 CNI_1_0_0, &res, &f->e), 0);
	netstatus_of_result(f->a, &res, "cbr0", true, &list, &n);
	assert_int_equal(n, 1);
	rail.ips = ips;
	rail.n_ips = 1;
	*(struct netstatus *)arena_push(f->a, &list, &n, sizeof(*list)) = rail;
	assert_string_equal(netstatus_text(f->a, list, n),
			    "[{\n    \"name\": \"cbr0\",\n    \"interface\": \"eth0\",\n    \"ips\": [\n        \"10.88.0.5\"\n    ],\n    \"mac\": \"m\",\n"
			    "    \"default\": true,\n    \"dns\": {\n        \"nameservers\": [\n            \"9.9.9.9\"\n        ]\n    },\n"
			    "    \"gateway\": [\n        \"10.88.0.1\"\n    ]\n},{\n    \"name\": \"llm/roce-p2\",\n    \"interface\": \"net1\",\n"
			    "    \"ips\": [\n        \"10.0.132.1\"\n    ],\n    \"mac\": \"02:00:5e:10:00:01\",\n    \"mtu\": 9000,\n    \"dns\": {},\n"
			    "    \"device-info\": {\n        \"type\": \"pci\",\n        \"version\": \"1.1.0\",\n        \"pci\": {\n"
			    "            \"pci-address\": \"0000:5c:00.2\",\n            \"rdma-device\": \"mlx5_3\",\n            \"pf-pci-address\": \"0000:5c:00.0\"\n"
			    "        }\n    }\n}]");
	assert_string_equal(netstatus_text(f->a, NULL, 0), "[]");
}

/* CreateNetworkStatuses() of network-attachment-definition-client 1.7.6. */
static void the_interfaces_of_a_result_are_told_as_multus_tells_them(void **state)
{
	static const struct {
		const char *result;
		size_t n;
		int dflt; /* -1: none */
		const char *interfaces[2], *ips[2], *gateways[2];
	} cases[] = {
		{ "{\"interfaces\":[{\"name\":\"a\",\"sandbox\":\"/s\"},{\"name\":\"h\"},{\"name\":\"b\",\"sandbox\":\"/s\"}],\"ips\":["
		  "{\"interface\":0,\"address\":\"10.0.0.1/24\"},{\"interface\":2,\"address\":\"10.0.1.1/24\",\"gateway\":\"10.0.1.254\"}],"
		  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.1.254\"}]}",
		  2, 1, { "a", "b" }, { "10.0.0.1", "10.0.1.1" }, { "10.0.1.254", "10.0.1.254" } },
		{ "{\"interfaces\":[{\"name\":\"a\",\"sandbox\":\"/s\"},{\"name\":\"b\",\"sandbox\":\"/s\"}],\"ips\":[{\"address\":\"10.0.0.1/24\"}]}",
		  2, 0, { "a", "b" }, { NULL, "10.0.0.1" }, { NULL, NULL } },
		{ "{\"interfaces\":[{\"name\":\"h\"},{\"name\":\"a\",\"sandbox\":\"/s\"}],\"ips\":["
		  "{\"interface\":0,\"address\":\"10.0.0.254/24\",\"gateway\":\"10.0.0.9\"},{\"interface\":1,\"address\":\"10.0.0.1/24\"}]}",
		  1, -1, { "a" }, { "10.0.0.1" }, { NULL } },
		{ "{\"interfaces\":[{\"name\":\"h\"}],\"ips\":[{\"interface\":0,\"address\":\"10.0.0.1/24\"}]}", 1, 0, { NULL }, { "10.0.0.1" }, { NULL } },
		{ "{\"ips\":[{\"address\":\"10.0.0.1/24\"}]}", 0, -1, { NULL }, { NULL }, { NULL } },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netstatus *list = NULL;
		struct cniresult res;
		size_t n = 0;

		assert_int_equal(cniresult_parse(f->a, json(f, cases[i].result), CNI_1_0_0, &res, &f->e), 0);
		netstatus_of_result(f->a, &res, "x/y", true, &list, &n);
		assert_int_equal(n, cases[i].n);
		for (size_t k = 0; k < n; k++) {
			assert_int_equal(list[k].is_default, cases[i].dflt == (int)k);
			assert_same(list[k].interface, cases[i].interfaces[k]);
			assert_same(list[k].n_ips ? list[k].ips[0] : NULL, cases[i].ips[k]);
			assert_same(list[k].n_gateways ? list[k].gateways[0] : NULL, cases[i].gateways[k]);
		}
	}
}

static void a_plugins_failure_is_told_in_its_words(void **state)
{
	static const struct {
		struct attach_ran ran;
		int code;
		const char *msg, *details;
	} cases[] = {
		{ { 0, false, "{}", 2, "noise" }, 0, NULL, NULL },
		{ { 1, false, "{\"code\":11,\"msg\":\"later\"}", 25, "" }, 11, "plugin \"x\": later", NULL },
		{ { 1, false, "{\"code\":7,\"msg\":\"no\",\"details\":\"why\\nso\"}", 41, "log" }, 7, "plugin \"x\": no; why so", "stderr: log" },
		{ { 1, false, "{\"msg\":\"no code\"}", 17, "" }, 999, "ended with status 1 and printed no CNI error", NULL },
		{ { 2, false, "", 0, "panic: \x1b[31m\n" }, 999, "plugin \"x\" ended with status 2: panic:  [31m", NULL },
		{ { 2, false, "", 0, "" }, 999, "said nothing", NULL },
		{ { 137, false, "{\"code\":7,\"msg\":\"no\"}", 21, "" }, 999, "was killed by signal 9", NULL },
		{ { 137, true, "", 0, "stuck" }, 11, "has not answered ADD within 30 seconds", "stderr: stuck" },
		{ { 0, false, "a\0b", 3, "" }, 999, "NUL byte", NULL },
	};
	const struct plugin_call call = { .command = "ADD" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cni_failure why = { 0 };

		assert_int_equal(plugin_judge(f->a, "x", &call, &cases[i].ran, &why), cases[i].code);
		if (cases[i].msg && !strstr(why.e.msg, cases[i].msg))
			fail_msg("\"%s\" does not say \"%s\"", why.e.msg, cases[i].msg);
		if (cases[i].details ? !why.details || strcmp(why.details, cases[i].details) : why.details != NULL)
			fail_msg("%s: details are \"%s\"", why.e.msg, why.details ? why.details : "(none)");
	}
}

/* What a shim on the host would do: it has plugins in its second folder, one of them broken. */
static int run_there(void *caller, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len, unsigned timeout_s,
		     struct attach_ran *ret, struct err *e)
{
	struct fixture *f = caller;

	assert_int_equal(timeout_s, 2);
	assert_string_equal(env[0], "CNI_COMMAND=ADD");
	for (const char *const *v = env; *v; v++)
		assert_int_equal(strncmp(*v, "CNI_", 4), 0); /* the host's own variables are there already */
	if (!strcmp(path, "/second/gone"))
		return err_set(e, -ENOTCONN, "the shim has left");
	if (strncmp(path, "/second/", 8))
		return -ENOENT;
	if (!strcmp(path, "/second/broken"))
		return err_set(e, -EACCES, "permission denied");
	*ret = (struct attach_ran){ .out = arena_strndup(f->a, in, in_len), .out_len = in_len, .err = "" };
	return 0;
}

static void plugins_are_run_where_the_runtime_is(void **state)
{
	struct fixture *f = *state;
	const struct attach_cluster cluster = { .run_plugin = run_there };
	const struct plugin_call call = { .command = "ADD", .dirs = "/first::/second", .timeout_ms = 1500, .cluster = &cluster, .caller = f };
	const struct plugin_call alone = { .command = "ADD", .dirs = "/first:/second", .cluster = &cluster };
	struct cni_failure why = { 0 };
	char *out;

	assert_int_equal(plugin_run(f->a, "bridge", &call, "{}", &out, &why), 0);
	assert_string_equal(out, "{}");
	assert_int_equal(plugin_run(f->a, "broken", &call, "{}", &out, &why), CNI_INTERNAL);
	assert_string_equal(why.e.msg, "plugin \"broken\": permission denied");
	/* a shim that has left, and none at all: here, where there is no such plugin */
	assert_int_equal(plugin_run(f->a, "gone", &call, "{}", &out, &why), CNI_INVALID_CONFIG);
	assert_non_null(strstr(why.e.msg, "plugin \"gone\" is not found in /first::/second"));
	assert_int_equal(plugin_run(f->a, "bridge", &alone, "{}", &out, &why), CNI_INVALID_CONFIG);
	assert_int_equal(plugin_run(f->a, "../x", &call, "{}", &out, &why), CNI_INVALID_CONFIG);
	assert_non_null(strstr(why.e.msg, "no plugin's name"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_configuration_is_a_plugin_or_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(name_device_and_args_are_put_in_where_multus_puts_them, setup, teardown),
		cmocka_unit_test_setup_teardown(a_plugin_reads_what_libcni_would_give_it, setup, teardown),
		cmocka_unit_test_setup_teardown(results_are_read_and_written_in_every_version, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_result_is_refused_with_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(the_result_cache_is_libcnis, setup, teardown),
		cmocka_unit_test_setup_teardown(multus_notes_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(network_status_is_written_as_multus_writes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(the_interfaces_of_a_result_are_told_as_multus_tells_them, setup, teardown),
		cmocka_unit_test_setup_teardown(plugins_are_run_where_the_runtime_is, setup, teardown),
		cmocka_unit_test_setup_teardown(a_plugins_failure_is_told_in_its_words, setup, teardown),
	};

	return cmocka_run_group_tests_name("netconf", tests, NULL, NULL);
}
