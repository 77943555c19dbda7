/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of a pod as values: order, names, rules, default routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "attach/nets.h"

#define META "\"type\":\"multus\",\"name\":\"m\",\"confDir\":\"/nowhere\""
#define DEFAULT "\"delegates\":[{\"name\":\"cbr0\",\"type\":\"bridge\",\"cniVersion\":\"1.0.0\"}]"

struct fixture {
	struct arena *a;
	struct err e;
	struct attach_host host;
	struct meta_conf mc;
	struct pair annotations[2];
	struct attach_pod pod;
	struct net *nets;
	size_t n;
};

/* Every network is there: those of namespace "rails" are ours, "far/NAME" a bridge without a resource, "none" has none. */
static int network(void *arg, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	struct api_nad *nad = arena_alloc(a, sizeof(*nad));
	bool ours = !strcmp(ns, "rails"), bare = !strcmp(name, "bare"); /* "bare": without a resource */

	if (!strcmp(ns, "none"))
		return err_set(e, -ENOENT, "there is no network %s/%s", ns, name);
	nad->object.meta = arena_alloc(a, sizeof(*nad->object.meta));
	nad->object.meta->n_annotations = ours && !bare;
	nad->object.meta->annotations = arena_alloc(a, sizeof(struct pair));
	nad->object.meta->annotations[0] = (struct pair){ NAD_RESOURCE_NAME, "openshift.io/p2rdma" };
	nad->spec = arena_alloc(a, sizeof(*nad->spec));
	nad->spec->config = ours ? "{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"sriov\",\"trust\":\"on\"},{\"type\":\"rdma\"}]}" :
				   "{\"cniVersion\":\"0.4.0\",\"name\":\"br\",\"type\":\"bridge\"}";
	*ret = nad;
	return 0;
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .a = arena_new(), .host = { .network = network }, .pod = { .namespace = "rails", .name = "p" } };
	f.pod.annotations = f.annotations;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->a = arena_free(f->a);
	return 0;
}

static int meta(struct fixture *f, const char *conf)
{
	struct cni_failure why = { 0 };
	yyjson_val *v;
	int r;

	if (doc_parse_json(f->a, "conf", conf, strlen(conf), 1 << 20, &v, &f->e) < 0)
		fail_msg("%s", f->e.msg);
	r = meta_parse(f->a, v, NULL, &f->mc, &why);
	f->e = why.e;
	return r;
}

static int run(struct fixture *f, const char *networks, const char *chosen)
{
	f->pod.n_annotations = 0;
	if (networks)
		f->annotations[f->pod.n_annotations++] = (struct pair){ ANNOTATION_NETWORKS, networks };
	if (chosen)
		f->annotations[f->pod.n_annotations++] = (struct pair){ ANNOTATION_DEFAULT_NETWORK, chosen };
	return nets_of_pod(f->a, &f->host, &f->mc, "eth0", &f->pod, &f->nets, &f->n, &f->e);
}

static void assert_net(struct fixture *f, size_t i, const char *network, const char *ifname, bool ours)
{
	assert_true(i < f->n);
	assert_string_equal(f->nets[i].network, network);
	assert_string_equal(f->nets[i].ifname, ifname);
	assert_int_equal(f->nets[i].ours, ours);
	assert_int_equal(f->nets[i].master, i == 0);
}

static void interfaces_are_numbered_by_their_place_in_the_list(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META ",\"delegates\":[{\"name\":\"cbr0\",\"type\":\"bridge\"},{\"name\":\"second\",\"type\":\"ptp\"}],"
				 "\"defaultNetworks\":[\"every\"]}"), 0);
	assert_int_equal(run(f, "a, far/b@side0 ,c", NULL), 0);
	assert_int_equal(f->n, 6);
	assert_net(f, 0, "cbr0", "eth0", false);
	assert_net(f, 1, "second", "net1", false);
	assert_net(f, 2, "kube-system/every", "net2", false);
	assert_net(f, 3, "rails/a", "net3", true);
	assert_net(f, 4, "far/b", "side0", false);
	assert_net(f, 5, "rails/c", "net5", true);
	assert_string_equal(f->nets[3].resource, "openshift.io/p2rdma");
	assert_true(f->nets[3].rail.want.rdma);
	assert_null(f->nets[4].resource);
	assert_string_equal(f->nets[3].conf_name, "a");
	assert_string_equal(f->nets[4].conf_name, "br");
}

static void system_namespaces_get_no_default_networks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"defaultNetworks\":[\"every\"]}"), 0);
	f->pod.namespace = "kube-system";
	assert_int_equal(run(f, NULL, NULL), 0);
	assert_int_equal(f->n, 1);
	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"defaultNetworks\":[\"every\"],\"systemNamespaces\":[]}"), 0);
	assert_int_equal(run(f, NULL, NULL), 0);
	assert_int_equal(f->n, 2);
}

static void the_default_network_can_be_chosen_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"multusNamespace\":\"far\"}"), 0);
	assert_int_equal(run(f, " ", "own"), 0);
	assert_int_equal(f->n, 1);
	assert_net(f, 0, "far/own", "eth0", false);
	assert_int_equal(run(f, NULL, "rails/own"), 0);
	assert_net(f, 0, "rails/own", "eth0", true);
	assert_int_equal(run(f, NULL, "a,b"), -EINVAL);
	assert_non_null(strstr(f->e.msg, ANNOTATION_DEFAULT_NETWORK ": it names 2 networks"));
	assert_int_equal(run(f, NULL, ""), -EINVAL);
	assert_int_equal(run(f, NULL, "a@b@c"), -EINVAL);
}

static void isolation_keeps_to_the_own_and_the_global_namespaces(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"namespaceIsolation\":true,\"globalNamespaces\":\"x, far ,y\"}"), 0);
	assert_int_equal(run(f, "a,far/b", NULL), 0);
	assert_int_equal(run(f, "a,default/b", NULL), -EPERM);
	assert_int_equal(run(f, "fa/b", NULL), -EPERM);
	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"namespaceIsolation\":true}"), 0);
	assert_int_equal(run(f, "default/b", NULL), 0);
	assert_int_equal(run(f, "far/b", NULL), -EPERM);
	assert_non_null(strstr(f->e.msg, "network far/b: namespaceIsolation"));
}

static void what_cannot_be_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT "}"), 0);
	assert_int_equal(run(f, "none/x", NULL), -ENOENT);
	assert_string_equal(f->e.msg, "network none/x: there is no network none/x");
	assert_int_equal(run(f, "a,b@net1", NULL), -EINVAL);
	assert_int_equal(run(f, "a,", NULL), -EINVAL);
	assert_int_equal(run(f, "bare", NULL), -EINVAL);
	assert_non_null(strstr(f->e.msg, "says which VFs it takes"));
	assert_int_equal(run(f, "[{\"name\":\"bare\",\"deviceID\":\"0000:5c:00.2\"}]", NULL), -EPERM);
	assert_non_null(strstr(f->e.msg, "network rails/bare: deviceID: "));
	assert_int_equal(meta(f, "{" META "}"), CNI_INVALID_CONFIG);
	assert_int_equal(meta(f, "{" META ",\"clusterNetwork\":7}"), CNI_INVALID_CONFIG);
	assert_non_null(strstr(f->e.msg, "clusterNetwork"));
	assert_int_equal(meta(f, "{" META ",\"clusterNetwork\":\"/nowhere/x.conf\"}"), 0);
	assert_int_equal(run(f, NULL, NULL), -ENOENT);
	assert_non_null(strstr(f->e.msg, "clusterNetwork: /nowhere/x.conf"));
}

static void one_network_has_the_default_route_of_a_family(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT "}"), 0);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"default-route\":[\"10.0.0.1\"]},{\"name\":\"b\",\"default-route\":[\"fd00::1\"]},{\"name\":\"c\"}]", NULL), 0);
	assert_true(f->nets[0].filter_v4 && f->nets[0].filter_v6);
	assert_true(!f->nets[1].filter_v4 && f->nets[1].filter_v6);
	assert_true(f->nets[2].filter_v4 && !f->nets[2].filter_v6);
	assert_true(f->nets[3].filter_v4 && f->nets[3].filter_v6);
	/* nobody gives an IPv6 gateway: what there is of it stays */
	assert_int_equal(run(f, "[{\"name\":\"a\",\"default-route\":[\"10.0.0.1\"]}]", NULL), 0);
	assert_true(f->nets[0].filter_v4 && !f->nets[0].filter_v6 && !f->nets[1].filter_v6);
	/* an empty list: the network's own gateways are the pod's */
	assert_int_equal(run(f, "[{\"name\":\"a\",\"default-route\":[]},{\"name\":\"b\"}]", NULL), 0);
	assert_true(f->nets[0].filter_v4 && f->nets[0].filter_v6 && !f->nets[1].filter_v4 && !f->nets[1].filter_v6 && f->nets[2].filter_v4);
	assert_int_equal(run(f, "a,b", NULL), 0);
	assert_true(!f->nets[0].filter_v4 && !f->nets[1].filter_v4);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"default-route\":[\"10.0.0.1\"]},{\"name\":\"b\",\"default-route\":[\"10.0.0.2\"]}]", NULL), -EINVAL);
	assert_non_null(strstr(f->e.msg, "networks rails/a and rails/b both give an IPv4 gateway"));
}

static void a_rail_is_asked_for_mac_address_and_guid(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(meta(f, "{" META "," DEFAULT "}"), 0);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01\",\"ips\":[\"10.0.0.9\",\"fd00::9/64\"],\"infiniband-guid\":\"c2:11:22:33:44:55:66:77\"},"
				"{\"name\":\"b\"}]", NULL), 0);
	assert_true(f->nets[1].rail.want.has_guid && f->nets[1].rail.want.guid == 0xc211223344556677u);
	assert_true(f->nets[1].rail.want.has_mac && f->nets[1].rail.want.mac[5] == 1);
	assert_string_equal(f->nets[1].rail.ip, "10.0.0.9,fd00::9/64");
	assert_false(f->nets[2].rail.want.has_guid || f->nets[2].rail.want.has_mac);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"cni-args\":{\"guid\":\"02:11:22:33:44:55:66:77\",\"ips\":[\"10.0.0.8\"]}},"
				"{\"name\":\"b\",\"cni-args\":{\"guid\":\"02:11:22:33:44:55:66:77\"},\"infiniband-guid\":\"c2:11:22:33:44:55:66:77\"}]", NULL), 0);
	assert_true(f->nets[1].rail.want.has_guid && f->nets[1].rail.want.guid == 0x0211223344556677u);
	assert_string_equal(f->nets[1].rail.ip, "10.0.0.8");
	assert_true(f->nets[2].rail.want.guid == 0xc211223344556677u);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"cni-args\":{\"guid\":\"x\"}}]", NULL), -EINVAL);
	assert_non_null(strstr(f->e.msg, "network rails/a: plugins[0]: args.cni.guid: \"x\" is no GUID"));
	assert_int_equal(run(f, "[{\"name\":\"a\",\"infiniband-guid\":\"ff:ff:ff:ff:ff:ff:ff:ff\"}]", NULL), -EINVAL);
	assert_non_null(strstr(f->e.msg, "network rails/a: infiniband-guid: ff:ff"));
}

static void devices_and_requests_end_in_the_configuration(void **state)
{
	struct fixture *f = *state;
	struct attach_ask *asks;
	const char *ids[4] = { NULL, "0000:5c:00.2", NULL, NULL };
	size_t *of_net;

	assert_int_equal(meta(f, "{" META "," DEFAULT ",\"runtimeConfig\":{\"portMappings\":[1]}}"), 0);
	assert_int_equal(run(f, "[{\"name\":\"a\",\"mac\":\"02:00:5e:10:00:01\"},{\"name\":\"b\",\"namespace\":\"far\",\"ips\":[\"10.0.0.1\",\"fd00::1\"],"
				"\"deviceID\":\"x\"},{\"name\":\"c\",\"deviceID\":\"0000:5c:00.7\"}]", NULL), 0);
	assert_int_equal(nets_asks(f->a, f->nets, f->n, &asks, &of_net), 2);
	assert_int_equal(of_net[0], 1);
	assert_null(asks[0].device_id);
	assert_int_equal(of_net[1], 3);
	assert_string_equal(asks[1].device_id, "0000:5c:00.7");
	assert_int_equal(nets_finish(f->a, f->nets, f->n, &f->pod, "K8S_POD_UID=u;X=1;K8S_POD_NAMESPACE=rails;IgnoreUnknown=1;K8S_POD_NAME=p;Y=a=b", f->mc.runtime,
				     ids, &f->e), 0);
	assert_string_equal(f->nets[1].rail.device_id, "0000:5c:00.2");
	assert_string_equal(f->nets[1].rail.ipam.name, "a"); /* the network's: its configuration has none */
	assert_string_equal(f->nets[3].rail.device_id, "0000:5c:00.7");
	assert_string_equal(f->nets[0].runtime, "{\"portMappings\":[1]}");
	assert_string_equal(f->nets[2].runtime, "{\"ips\":[\"10.0.0.1\",\"fd00::1\"],\"deviceID\":\"x\"}");
	assert_string_equal(f->nets[2].args, "IgnoreUnknown=true;K8S_POD_NAMESPACE=rails;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID=u;X=1;Y=a=b;"
					     "IP=10.0.0.1,fd00::1");
	assert_string_equal(nets_args(f->a, "A=1", NULL, NULL), "IgnoreUnknown=true;A=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(interfaces_are_numbered_by_their_place_in_the_list, setup, teardown),
		cmocka_unit_test_setup_teardown(system_namespaces_get_no_default_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(the_default_network_can_be_chosen_once, setup, teardown),
		cmocka_unit_test_setup_teardown(isolation_keeps_to_the_own_and_the_global_namespaces, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(one_network_has_the_default_route_of_a_family, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rail_is_asked_for_mac_address_and_guid, setup, teardown),
		cmocka_unit_test_setup_teardown(devices_and_requests_end_in_the_configuration, setup, teardown),
	};

	return cmocka_run_group_tests_name("nets", tests, NULL, NULL);
}
