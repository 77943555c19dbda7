/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/file.h"
#include "controller/controller.h"

struct env {
	char dir[32], path[64];
	struct store *store;
	struct arena *a;
};

static int setup(void **state)
{
	struct env *env = calloc(1, sizeof(*env));
	struct err e;

	strcpy(env->dir, "/tmp/kvrail-ctl-XXXXXX");
	assert_non_null(mkdtemp(env->dir));
	snprintf(env->path, sizeof(env->path), "%s/db", env->dir);
	assert_int_equal(store_open_local(env->path, &env->store, &e), 0);
	env->a = arena_new();
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	struct env *env = *state;
	char path[80];

	store_close(env->store);
	arena_free(env->a);
	for (const char *const *s = (const char *const[]){ "", "-wal", "-shm", NULL }; *s; s++) {
		snprintf(path, sizeof(path), "%s%s", env->path, *s);
		unlink(path);
	}
	rmdir(env->dir);
	free(env);
	return 0;
}

static struct store_object network(struct arena *a, const char *name, const char *target)
{
	return (struct store_object){
		.kind = "SriovNetwork", .namespace = "ops", .name = name,
		.json = arena_printf(a, "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{"
				     "\"name\":\"%s\",\"namespace\":\"ops\"},\"spec\":{\"resourceName\":\"r\",\"networkNamespace\":\"%s\"}}",
				     name, target),
	};
}

/* The NADs that @changes to the store ask for; they are stored too when @keep. */
static int nads(struct env *env, struct store_object *changes, size_t n, bool keep, struct store_object **ret, size_t *ret_n,
		struct err *e)
{
	struct controller_objects o;
	int r;

	*ret = NULL;
	*ret_n = 0;
	r = controller_load(env->store, env->a, changes, n, &o, e);
	if (r == 0)
		r = controller_nads(env->store, env->a, &o, "openshift.io", ret, ret_n, e);
	if (r == 0 && keep && (store_apply(env->store, changes, n, e) < 0 || store_apply(env->store, *ret, *ret_n, e) < 0))
		r = e->code;
	return r;
}

static void network_brings_its_nad_and_takes_it_along(void **state)
{
	struct env *env = *state;
	struct store_object net = network(env->a, "roce", "llm"), *out;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(out[0].namespace, "llm");
	assert_string_equal(out[0].name, "roce");
	assert_non_null(strstr(out[0].json, "openshift.io/r"));
	assert_int_equal(nads(env, NULL, 0, false, &out, &n, &e), 0); /* steady: nothing to write */
	assert_int_equal(n, 0);
	net.json = NULL;
	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_null(out[0].json);
}

static void network_without_namespace_is_where_the_store_has_it(void **state)
{
	struct env *env = *state;
	struct store_object net = network(env->a, "roce", "llm"), *out;
	struct err e = { 0 };
	size_t n;

	net.json = "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"roce\","
		   "\"uid\":\"u\"},\"spec\":{\"resourceName\":\"r\"}}";
	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(out[0].namespace, "ops");
	assert_non_null(strstr(out[0].json, "\"ops\""));
}

static void moved_network_leaves_no_nad_behind(void **state)
{
	struct env *env = *state;
	struct store_object net = network(env->a, "roce", "llm"), *out;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	net = network(env->a, "roce", "llm2");
	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(out[0].namespace, "llm2");
	assert_non_null(out[0].json);
	assert_string_equal(out[1].namespace, "llm");
	assert_null(out[1].json);
}

static void somebody_elses_nad_is_left_alone(void **state)
{
	struct env *env = *state;
	const char *foreign = "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":\"NetworkAttachmentDefinition\",\"metadata\":{"
			      "\"name\":\"roce\",\"namespace\":\"llm\"},\"spec\":{\"config\":\"{}\"}}";
	struct store_object net = network(env->a, "roce", "llm"), *out;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(store_put(env->store, "NetworkAttachmentDefinition", "llm", "roce", foreign, &e), 0);
	assert_int_equal(nads(env, &net, 1, false, &out, &n, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "llm/roce"));
	net = network(env->a, "other", "llm");
	assert_int_equal(nads(env, &net, 1, true, &out, &n, &e), 0);
	assert_int_equal(n, 1); /* and the foreign one is not deleted */
	assert_string_equal(out[0].name, "other");
}

static void two_networks_for_one_nad_are_refused(void **state)
{
	struct env *env = *state;
	struct store_object nets[2] = { network(env->a, "roce", "llm"), network(env->a, "roce", "llm") }, *out;
	struct err e = { 0 };
	size_t n;

	nets[1].kind = "OVSNetwork";
	nets[1].json = "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"OVSNetwork\",\"metadata\":{\"name\":\"roce\","
		       "\"namespace\":\"ops\"},\"spec\":{\"resourceName\":\"r\",\"networkNamespace\":\"llm\"}}";
	assert_int_equal(nads(env, nets, 2, false, &out, &n, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "rename one"));
}

static void stored_object_that_no_longer_decodes_is_named(void **state)
{
	struct env *env = *state;
	struct controller_objects o;
	struct err e = { 0 };

	assert_int_equal(store_put(env->store, "SriovNetwork", "ops", "bad", "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\","
				   "\"kind\":\"SriovNetwork\",\"metadata\":{\"name\":\"bad\"},\"spec\":{\"vlan\":9999,\"resourceName\":\"r\"}}", &e), 0);
	assert_true(controller_load(env->store, env->a, NULL, 0, &o, &e) < 0);
	assert_non_null(strstr(e.msg, "ops/bad"));
	assert_non_null(strstr(e.msg, "spec.vlan"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(network_brings_its_nad_and_takes_it_along, setup, teardown),
		cmocka_unit_test_setup_teardown(network_without_namespace_is_where_the_store_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_network_leaves_no_nad_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(somebody_elses_nad_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(two_networks_for_one_nad_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(stored_object_that_no_longer_decodes_is_named, setup, teardown),
	};

	return cmocka_run_group_tests_name("controller_nads", tests, NULL, NULL);
}
