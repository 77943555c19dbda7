/* SPDX-License-Identifier: Apache-2.0 */
/* The standalone agent's apply on a recorded node, which can be planned for and not changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state.h"

/* Of the tree x710: ens3f0 has two VFs, no port has more than 32. */
#define POLICY(name, port, vfs)                                                                                                        \
	"{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodePolicy\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" \
	name "\"},\"spec\":{\"resourceName\":\"" name "\",\"numVfs\":" vfs ",\"nicSelector\":{\"pfNames\":[\"" port "\"]},\"nodeSelector\":{}}}"

static char folder[] = "/tmp/kvrail-apply-XXXXXX";
static const struct agent_options options = { .state_dir = folder, .namespace = "ns", .prefix = "openshift.io" };
static struct agent ag = { .options = &options, .node = "n", .pools_lock = PTHREAD_MUTEX_INITIALIZER, .apply_lock = PTHREAD_MUTEX_INITIALIZER };
static struct arena *a;

static int start(void **state)
{
	const struct attach_host host = { .state_dir = folder };

	a = arena_new();
	if (!mkdtemp(folder) ||
	    system(arena_printf(a, "/usr/bin/python3 %s/test/trees/generate.py %s x710", getenv("KVRAIL_SOURCE"), folder)) ||
	    sysroot_open(arena_printf(a, "%s/x710", folder), &ag.root, NULL) < 0 || attach_engine_new(&host, &ag.engine, NULL) < 0)
		return -1;
	return store_open_local(arena_printf(a, "%s/store.db", folder), &ag.store, NULL);
}

static int stop(void **state)
{
	int r = system(arena_printf(a, "rm -r %s", folder));

	attach_engine_free(ag.engine);
	store_close(ag.store);
	sysroot_close(ag.root);
	pools_free(ag.pools);
	free(ag.problem);
	a = arena_free(a);
	return r;
}

static void a_port_that_cannot_be_had_is_refused_when_asked_for_and_holds_up_no_other_at_start(void **state)
{
	struct store_object policies[] = {
		{ .kind = "SriovNetworkNodePolicy", .namespace = "ns", .name = "have", .json = POLICY("have", "ens3f0", "2") },
		{ .kind = "SriovNetworkNodePolicy", .namespace = "ns", .name = "much", .json = POLICY("much", "ens3f1", "33") },
	};
	struct attach_vf vf;
	struct err e = { 0 };

	assert_int_equal(agent_apply(&ag, a, policies, 2, false, -1, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "ens3f1"));
	assert_false(pools_known(&ag));
	assert_int_equal(store_apply(ag.store, policies, 2, &e), 2); /* as if the port had shrunk since */
	assert_true(agent_apply(&ag, a, NULL, 0, false, -1, &e) < 0);
	assert_non_null(strstr(ag.problem, "planned for, not changed")); /* the others' steps were tried */
	assert_true(pools_known(&ag));
	assert_int_equal(ag.pools->n, 2);
	assert_int_equal(pools_pick(&ag, a, "openshift.io/have", NULL, NULL, 0, &vf, &e), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_that_cannot_be_had_is_refused_when_asked_for_and_holds_up_no_other_at_start),
	};

	return cmocka_run_group_tests_name("apply_test", tests, start, stop);
}
