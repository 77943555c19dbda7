/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "base/strbuf.h"
#include "controller/admit.h"

static int nad(void *arg, struct arena *a, const char *ns, const char *name, struct admit_nad *ret, const char **names, struct err *e)
{
	*ret = (struct admit_nad){ 0 };
	if (!strcmp(name, "away"))
		return err_set(e, -EHOSTUNREACH, "the API server does not answer");
	if (!strcmp(ns, "empty"))
		return -ENOENT;
	*names = "p0, p1";
	if (!strcmp(name, "p0") || !strcmp(name, "p1") || !strncmp(name, "rail", 4))
		ret->resource = arena_printf(a, "openshift.io/%srdma", name);
	else if (!strcmp(name, "zone"))
		ret->node_selector = "zone=a";
	else if (!strcmp(name, "broken"))
		ret->node_selector = "zone=a=b";
	else if (!strcmp(name, "spaced"))
		ret->node_selector = " zone = a ";
	else if (!strcmp(name, "bare"))
		ret->node_selector = "example.com/gpu-rails";
	else if (strcmp(name, "bridge"))
		return -ENOENT;
	return 0;
}

/* Two nodes with port p2, one of them with a policy; what else there is, tests say. */
static const char *const objects[] = {
	"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"labels\":{\"role\":\"gpu\"}}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n2\",\"labels\":{\"role\":\"cpu\"}}}",
#define STATE(node) \
	"{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"name\":\"" node "\"},\"spec\":{},\"status\":{" \
	"\"interfaces\":[{\"pciAddress\":\"0000:5c:00.0\",\"name\":\"p2\",\"altNames\":[\"enp92s0f0\"],\"vendor\":\"15b3\",\"deviceID\":\"101d\"," \
	"\"totalvfs\":16}]}}"
	STATE("n1"), STATE("n2"),
	"{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"name\":\"old\"},\"spec\":{"
	"\"resourceName\":\"o\",\"numVfs\":8,\"nodeSelector\":{\"role\":\"gpu\"},\"nicSelector\":{\"pfNames\":[\"p2#0-3\"]}}}",
};
static bool cluster_is_away;

static int cluster(void *arg, struct arena *a, struct admit_cluster *ret, struct err *e)
{
	if (cluster_is_away)
		return err_set(e, -EHOSTUNREACH, "the API server does not answer");
	*ret = (struct admit_cluster){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct complaints c = { .arena = a };
		const struct api_kind *kind;
		yyjson_val *v;
		void *o;

		assert_int_equal(doc_parse_json(a, "object", objects[i], strlen(objects[i]), DOC_SIZE_MAX, &v, NULL), 0);
		assert_int_equal(api_decode_value(a, v, &kind, &o, &c), 0);
		if (!strcmp(kind->kind, "Node"))
			*(void **)arena_push(a, &ret->nodes, &ret->n_nodes, sizeof(void *)) = o;
		else if (!strcmp(kind->kind, "SriovNetworkNodeState"))
			*(void **)arena_push(a, &ret->states, &ret->n_states, sizeof(void *)) = o;
		else
			*(void **)arena_push(a, &ret->policies, &ret->n_policies, sizeof(void *)) = o;
	}
	return 0;
}

static const struct admit_options options = { .namespace = "kvrail-system", .home = "home", .nad = nad, .cluster = cluster };

struct test {
	struct arena *a;
	enum admit_verdict verdict;
	yyjson_val *response, *patch; /* patch: array of operations or NULL */
};

static void ask(struct test *t, enum admit_path path, const char *ns, const char *operation, const char *object)
{
	const char *body = arena_printf(t->a, "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u1\","
					      "\"namespace\":\"%s\",\"operation\":\"%s\",\"object\":%s}}", ns, operation, object);
	const char *out;
	yyjson_val *v;
	struct err e;
	size_t len;
	char *text;

	assert_int_equal(admit_review(t->a, &options, path, body, strlen(body), &out, &t->verdict, &e), 0);
	assert_int_equal(doc_parse_json(t->a, "out", out, strlen(out), DOC_SIZE_MAX, &v, NULL), 0);
	t->response = yyjson_obj_get(v, "response");
	assert_string_equal(doc_str(t->response, "uid"), "u1");
	t->patch = NULL;
	if (!doc_str(t->response, "patch"))
		return;
	assert_string_equal(doc_str(t->response, "patchType"), "JSONPatch");
	assert_int_equal(base64_decode(t->a, doc_str(t->response, "patch"), &text, &len), 0);
	assert_int_equal(doc_parse_json(t->a, "patch", text, len, DOC_SIZE_MAX, &t->patch, NULL), 0);
}

static void pod(struct test *t, const char *networks, const char *spec)
{
	ask(t, ADMIT_PODS, "llm", "CREATE",
	    arena_printf(t->a, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"annotations\":{\"k8s.v1.cni.cncf.io/networks\":"
			       "\"%s\"}},\"spec\":%s}", networks, spec));
}

static const char *text(struct test *t)
{
	return t->patch ? doc_to_json(t->a, t->patch, false) : "";
}

static const char *message(struct test *t)
{
	return doc_str(yyjson_obj_get(t->response, "status"), "message");
}

static void resource_goes_to_the_container_with_the_gpu(void **state)
{
	struct test t = { .a = arena_new() };

	pod(&t, "p0", "{\"containers\":[{\"name\":\"proxy\"},{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"4\",\"nvidia.com/gpu\":\"1\"},"
		      "\"requests\":{\"cpu\":\"2\",\"nvidia.com/gpu\":\"1\"}}}]}");
	assert_int_equal(t.verdict, ADMIT_CHANGED);
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/containers/1/resources\",\"value\":{\"limits\":{\"cpu\":\"4\",\"nvidia.com/gpu\":\"1\","
				      "\"openshift.io/p0rdma\":\"1\"},\"requests\":{\"cpu\":\"2\",\"nvidia.com/gpu\":\"1\",\"openshift.io/p0rdma\":\"1\"}}}]");
	pod(&t, "p0", "{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"resources\":{\"limits\":{\"nvidia.com/mig-1g.10gb\":1}}}]}");
	assert_non_null(strstr(text(&t), "/spec/containers/1/"));
	pod(&t, "p0", "{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"resources\":{\"limits\":{\"rdma/roce_gdr\":\"1\"}}}]}");
	assert_non_null(strstr(text(&t), "/spec/containers/1/"));
	pod(&t, "p0", "{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"0\"}}}]}");
	assert_non_null(strstr(text(&t), "/spec/containers/0/"));
	arena_free(t.a);
}

static void a_pod_of_many_containers_gets_its_devices(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct test t = { .a = arena_new() };

	for (unsigned i = 0; i < 300; i++)
		strbuf_addf(&b, "{\"name\":\"c%u\"},", i);
	pod(&t, "p0", arena_printf(t.a, "{\"containers\":[%s{\"name\":\"gpu\",\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"1\"}}}]}", b.s));
	assert_non_null(strstr(text(&t), "/spec/containers/300/"));
	arena_free(t.a);
}

static void networks_are_counted_by_resource(void **state)
{
	struct test t = { .a = arena_new() };

	pod(&t, "p0, p1 ,llm/p0@net9,bridge", "{\"containers\":[{\"name\":\"a\"}]}");
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/containers/0/resources\",\"value\":{\"requests\":{\"openshift.io/p0rdma\":\"2\","
				      "\"openshift.io/p1rdma\":\"1\"},\"limits\":{\"openshift.io/p0rdma\":\"2\",\"openshift.io/p1rdma\":\"1\"}}}]");
	pod(&t, "[{\\\"name\\\":\\\"p1\\\",\\\"namespace\\\":\\\"other\\\"}]", "{\"containers\":[{\"name\":\"a\"}]}");
	assert_non_null(strstr(text(&t), "\"limits\":{\"openshift.io/p1rdma\":\"1\"}"));
	pod(&t, "bridge", "{\"containers\":[{\"name\":\"a\"}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_PODS, "llm", "CREATE", "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"v1.multus-cni.io/default-network\":\"p0\"}},"
					     "\"spec\":{\"containers\":[{}]}}");
	assert_non_null(strstr(text(&t), "openshift.io/p0rdma"));
	/* as in Multus it is of another namespace, and one that is not there is not for us to refuse */
	ask(&t, ADMIT_PODS, "llm", "CREATE", "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"v1.multus-cni.io/default-network\":\"mine\"}},"
					     "\"spec\":{\"containers\":[{}]}}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_non_null(strstr(yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(t.response, "warnings"))), "kube-system/mine"));
	arena_free(t.a);
}

static void each_of_very_many_networks_counts(void **state)
{
	struct test t = { .a = arena_new() };
	const char *networks = "rail0";

	for (int i = 1; i < 64; i++)
		networks = arena_printf(t.a, "%s,rail%d", networks, i);
	ask(&t, ADMIT_PODS, "llm", "CREATE",
	    arena_printf(t.a, "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"k8s.v1.cni.cncf.io/networks\":\"%s\",\"v1.multus-cni.io/default-network\":"
			      "\"p0\"}},\"spec\":{\"containers\":[{}]}}", networks));
	assert_non_null(strstr(text(&t), "openshift.io/rail63rdma"));
	assert_non_null(strstr(text(&t), "openshift.io/p0rdma"));
	arena_free(t.a);
}

static void what_is_asked_for_already_counts(void **state)
{
	struct test t = { .a = arena_new() };

	/* all of it, in one or spread over several */
	pod(&t, "p0,p0", "{\"containers\":[{\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"1\"}}},{\"resources\":{\"requests\":{\"openshift.io/p0rdma\":1}}}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	/* the difference, where the resource is asked for, even beside a GPU */
	pod(&t, "p0,p0,p0", "{\"containers\":[{\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"8\"}}},{\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"1\"},"
			    "\"requests\":{\"openshift.io/p0rdma\":\"1\"}}}]}");
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/containers/1/resources\",\"value\":{\"limits\":{\"openshift.io/p0rdma\":\"3\"},"
				      "\"requests\":{\"openshift.io/p0rdma\":\"3\"}}}]");
	/* a sidecar holds its device for the pod's life; another init container lends it */
	pod(&t, "p0", "{\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"1\"}}}],\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	pod(&t, "p0", "{\"initContainers\":[{\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"1\"}}}],\"containers\":[{}]}");
	assert_non_null(strstr(text(&t), "/spec/containers/0/resources"));
	/* more than its networks take is the pod's own business, and so is a quantity of another form */
	pod(&t, "p0", "{\"containers\":[{\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"4\"}}}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	pod(&t, "p0", "{\"containers\":[{\"resources\":{\"limits\":{\"openshift.io/p0rdma\":\"1k\"}}}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	arena_free(t.a);
}

static void missing_network_is_named_with_those_that_are_there(void **state)
{
	struct test t = { .a = arena_new() };

	pod(&t, "p0,p7", "{\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_DENIED);
	assert_false(doc_bool(t.response, "allowed", true));
	assert_string_equal(message(&t), "network llm/p7: there is no NetworkAttachmentDefinition p7 in namespace llm; there are p0, p1");
	pod(&t, "empty/p7", "{\"containers\":[{}]}");
	assert_non_null(strstr(message(&t), "and no other"));
	pod(&t, "away", "{\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_FAILED);
	assert_int_equal(doc_int(yyjson_obj_get(t.response, "status"), "code", 0), 503);
	pod(&t, "a//b", "{\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_DENIED);
	assert_non_null(strstr(message(&t), "annotation k8s.v1.cni.cncf.io/networks: "));
	arena_free(t.a);
}

static void pods_of_the_system_are_never_touched(void **state)
{
	static const char *const body = "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"k8s.v1.cni.cncf.io/networks\":\"nowhere\"}},\"spec\":{\"containers\":[{}]}}";
	struct test t = { .a = arena_new() };

	ask(&t, ADMIT_PODS, "kube-system", "CREATE", body);
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_true(doc_bool(t.response, "allowed", false));
	ask(&t, ADMIT_PODS, "home", "CREATE", body);
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_PODS, "llm", "UPDATE", body);
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_PODS, "llm", "CREATE", "{\"kind\":\"Pod\",\"metadata\":{},\"spec\":{\"containers\":[{}]}}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_PODS, "llm", "DELETE", "null");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_PODS, "llm", "CREATE", "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"kubernetes.io/config.mirror\":\"x\","
					     "\"k8s.v1.cni.cncf.io/networks\":\"p0\"}},\"spec\":{\"containers\":[{}]}}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	pod(&t, "nowhere", "{\"hostNetwork\":true,\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_non_null(strstr(yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(t.response, "warnings"))), "hostNetwork"));
	arena_free(t.a);
}

static void nodes_of_a_network_are_selected(void **state)
{
	struct test t = { .a = arena_new() };

	pod(&t, "zone", "{\"containers\":[{}]}");
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/nodeSelector\",\"value\":{\"zone\":\"a\"}}]");
	pod(&t, "zone", "{\"nodeSelector\":{\"zone\":\"a\",\"b\":\"c\"},\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	pod(&t, "zone", "{\"nodeSelector\":{\"zone\":\"b\"},\"containers\":[{}]}");
	assert_string_equal(message(&t), "network llm/zone is for nodes with zone=a, and the pod's nodeSelector wants zone=b");
	pod(&t, "spaced", "{\"containers\":[{}]}");
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/nodeSelector\",\"value\":{\"zone\":\"a\"}}]");
	pod(&t, "bare", "{\"containers\":[{}]}");
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/nodeSelector\",\"value\":{\"example.com/gpu-rails\":\"\"}}]");
	pod(&t, "broken", "{\"containers\":[{}]}");
	assert_int_equal(t.verdict, ADMIT_DENIED);
	arena_free(t.a);
}

static void what_is_no_review_is_refused(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{}", "{\"apiVersion\":\"admission.k8s.io/v1beta1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\"}}",
					   "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}" };
	struct test t = { .a = arena_new() };
	const char *out;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(admit_review(t.a, &options, ADMIT_PODS, bad[i], strlen(bad[i]), &out, &t.verdict, &e), -EINVAL);
	arena_free(t.a);
}

#define POLICY(more) "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"name\":\"x\"},\"spec\":{" \
		     "\"resourceName\":\"a\",\"numVfs\":4,\"nodeSelector\":{},\"nicSelector\":{\"vendor\":\"15b3\"}" more "}}"

static void policy_gets_the_operators_defaults(void **state)
{
	struct test t = { .a = arena_new() };

	ask(&t, ADMIT_DEFAULTS, "kvrail-system", "CREATE", POLICY(""));
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/priority\",\"value\":99},{\"op\":\"add\",\"path\":\"/spec/isRdma\",\"value\":false}]");
	ask(&t, ADMIT_DEFAULTS, "kvrail-system", "CREATE", POLICY(",\"priority\":3,\"linkType\":\"ib\",\"isRdma\":false"));
	assert_string_equal(text(&t), "[{\"op\":\"add\",\"path\":\"/spec/isRdma\",\"value\":true}]");
	ask(&t, ADMIT_DEFAULTS, "kvrail-system", "UPDATE", POLICY(",\"priority\":3,\"isRdma\":true"));
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	arena_free(t.a);
}

static void objects_are_refused_in_the_operators_words(void **state)
{
	struct test t = { .a = arena_new() };

	ask(&t, ADMIT_VALIDATE, "kvrail-system", "CREATE", POLICY(",\"deviceType\":\"vfio-pci\",\"isRdma\":true"));
	assert_int_equal(t.verdict, ADMIT_DENIED);
	assert_non_null(strstr(message(&t), "'deviceType: vfio-pci' conflicts with 'isRdma: true'"));
	ask(&t, ADMIT_VALIDATE, "kvrail-system", "CREATE", POLICY(""));
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_VALIDATE, "llm", "CREATE", POLICY(""));
	assert_string_equal(yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(t.response, "warnings"))),
			    "x is created or updated but not used. Only policy in kvrail-system namespace is respected.");
	ask(&t, ADMIT_VALIDATE, "llm", "CREATE", "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovOperatorConfig\",\"metadata\":{\"name\":"
						 "\"default\"},\"spec\":{}}");
	assert_string_equal(message(&t), "only default SriovOperatorConfig in kvrail-system namespace is used");
	ask(&t, ADMIT_VALIDATE, "llm", "CREATE", "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"x\"},\"spec\":{"
						 "\"resourceName\":\"a\",\"networkNamespace\":\"b\"}}");
	assert_string_equal(message(&t), ".Spec.NetworkNamespace field can't be specified if the resource is not in the kvrail-system namespace");
	ask(&t, ADMIT_VALIDATE, "llm", "UPDATE", "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"x\","
						 "\"deletionTimestamp\":\"2027-01-01T00:00:00Z\"},\"spec\":{\"resourceName\":\"a\",\"networkNamespace\":\"b\"}}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	ask(&t, ADMIT_VALIDATE, "llm", "DELETE", "null");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	arena_free(t.a);
}

/* What is said of policy @name for nodes of @role with @nic and @more: the refusal, the first warning, or "". */
static const char *said(struct test *t, const char *name, const char *role, const char *nic, const char *more)
{
	const char *warning;

	ask(t, ADMIT_VALIDATE, "kvrail-system", "CREATE",
	    arena_printf(t->a, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"name\":\"%s\"},"
			       "\"spec\":{\"resourceName\":\"r\",\"nodeSelector\":{\"role\":\"%s\"},\"nicSelector\":{%s}%s}}", name, role, nic, more));
	if (t->verdict == ADMIT_DENIED || t->verdict == ADMIT_FAILED)
		return message(t);
	warning = yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(t->response, "warnings")));
	return warning ? warning : "";
}

static void a_long_warning_is_cut_at_a_character(void **state)
{
	struct test t = { .a = arena_new() };
	char key[301];
	size_t ends[2];

	for (size_t i = 0; i < sizeof(key) - 1; i += 2)
		memcpy(key + i, "\xc3\xa9", 2);
	key[sizeof(key) - 1] = '\0';
	for (size_t from = 0; from < 2; from++) { /* where a character ends, and within one */
		const char *warning = said(&t, "new", "cpu", "\"pfNames\":[\"p2\"]", arena_printf(t.a, ",\"numVfs\":8,\"%s%s\":1", from ? "a" : "", key));

		ends[from] = strlen(warning);
		assert_in_range(ends[from], 255, 256);
		assert_string_equal(warning + ends[from] - 5, "\xc3\xa9...");
	}
	assert_int_not_equal(ends[0], ends[1]);
	arena_free(t.a);
}

static void policy_is_held_to_those_that_are_there(void **state)
{
	const char *const eight = ",\"numVfs\":8";
	struct test t = { .a = arena_new() };

	assert_string_equal(said(&t, "new", "gpu", "\"pfNames\":[\"p2#3-7\"]", eight),
			    "new: spec.nicSelector.pfNames[0]: VF index range in p2#3-7 is overlapped with existing policy old");
	assert_int_equal(t.verdict, ADMIT_DENIED);
	/* the same port by its other name */
	assert_non_null(strstr(said(&t, "new", "gpu", "\"pfNames\":[\"enp92s0f0#3-7\"]", eight), "is overlapped with existing policy old"));
	assert_string_equal(said(&t, "new", "gpu", "\"pfNames\":[\"p2#4-7\"]", eight), "");
	assert_string_equal(said(&t, "new", "cpu", "\"pfNames\":[\"p2#3-7\"]", eight), "");
	assert_string_equal(said(&t, "old", "gpu", "\"pfNames\":[\"p2#3-7\"]", eight), ""); /* itself, changed */
	assert_non_null(strstr(said(&t, "new", "gpu", "\"pfNames\":[\"p2#4-7\"]", ",\"numVfs\":8,\"externallyManaged\":true"),
			       "numVfs(8) in CR new is higher than the virtual functions allocated for the PF externally value(0)"));
	assert_non_null(strstr(said(&t, "new", "gpu", "\"vendor\":\"15b3\"", ",\"numVfs\":129"),
			       "numVfs(129) in CR new exceed the maximum allowed value(128) interface(p2)"));
	/* the API server has not made its name yet */
	ask(&t, ADMIT_VALIDATE, "kvrail-system", "CREATE",
	    "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"generateName\":\"a-\"},"
	    "\"spec\":{\"resourceName\":\"r\",\"nodeSelector\":{},\"nicSelector\":{\"pfNames\":[\"p9\"]},\"numVfs\":8}}");
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_string_equal(said(&t, "new", "cpu", "\"vendor\":\"15b3\"", ",\"numVfs\":8,\"eSwitchMode\":\"switchdev\",\"vdpaType\":\"vhost\""),
			    "spec.vdpaType: kvrail makes no vDPA devices: it will set up no port of this policy");
	arena_free(t.a);
}

static void policy_that_the_operator_lets_through_or_that_comes_before_its_nodes_is_a_warning(void **state)
{
	const char *const eight = ",\"numVfs\":8";
	struct test t = { .a = arena_new() };

	assert_non_null(strstr(said(&t, "new", "gpu", "\"pfNames\":[\"p2\"]", eight), "VF index range in p2 is overlapped with existing policy old"));
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_non_null(strstr(said(&t, "new", "none", "\"pfNames\":[\"p2\"]", eight), "no matched node is selected by the nodeSelector in CR new"));
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	assert_non_null(strstr(said(&t, "new", "cpu", "\"pfNames\":[\"p9\"]", eight), "no supported NIC is selected by the nicSelector in CR new"));
	assert_int_equal(t.verdict, ADMIT_UNCHANGED);
	arena_free(t.a);
}

static void policy_waits_while_the_others_cannot_be_listed(void **state)
{
	struct test t = { .a = arena_new() };

	cluster_is_away = true;
	assert_string_equal(said(&t, "new", "gpu", "\"pfNames\":[\"p2#4-7\"]", ",\"numVfs\":8"),
			    "whether policy new goes with the others cannot be found out: the API server does not answer");
	assert_int_equal(t.verdict, ADMIT_FAILED);
	cluster_is_away = false;
	arena_free(t.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resource_goes_to_the_container_with_the_gpu),
		cmocka_unit_test(networks_are_counted_by_resource),
		cmocka_unit_test(a_pod_of_many_containers_gets_its_devices),
		cmocka_unit_test(each_of_very_many_networks_counts),
		cmocka_unit_test(what_is_asked_for_already_counts),
		cmocka_unit_test(missing_network_is_named_with_those_that_are_there),
		cmocka_unit_test(pods_of_the_system_are_never_touched),
		cmocka_unit_test(nodes_of_a_network_are_selected),
		cmocka_unit_test(what_is_no_review_is_refused),
		cmocka_unit_test(policy_gets_the_operators_defaults),
		cmocka_unit_test(objects_are_refused_in_the_operators_words),
		cmocka_unit_test(policy_is_held_to_those_that_are_there),
		cmocka_unit_test(a_long_warning_is_cut_at_a_character),
		cmocka_unit_test(policy_that_the_operator_lets_through_or_that_comes_before_its_nodes_is_a_warning),
		cmocka_unit_test(policy_waits_while_the_others_cannot_be_listed),
	};

	return cmocka_run_group_tests_name("admit", tests, NULL, NULL);
}
