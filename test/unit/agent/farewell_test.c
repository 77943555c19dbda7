/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/farewell.h"
#include "base/file.h"

static struct arena *a;
static char dir[64];
static struct agent_options options;

static const char *path(const char *name)
{
	return arena_printf(a, "%s/%s", dir, name);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(-1, path(name), text, strlen(text), 0644), 0);
}

static bool there(const char *name)
{
	return access(path(name), F_OK) == 0;
}

static int setup(void **state)
{
	static const char *const folders[] = { "bin", "cdi", "state", "state/attach", "state/spool", "state/ports" };

	a = arena_new();
	strcpy(dir, "/tmp/kvrail-farewell-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdir(path(folders[i]), 0700) < 0)
			return -1;
	options = (struct agent_options){ .cni_bin_dir = path("bin"), .cdi_dir = path("cdi"), .state_dir = path("state") };
	put("shim", "the shim");
	put("bin/kvrail", "the shim");
	put("bin/bridge", "not ours");
	put("cdi/kvrail-allocated-0000:01:10.0.json", "{}");
	put("cdi/vendor.json", "not ours");
	put("state/snapshot.json", "{}");
	put("state/agent.lock", "");
	return 0;
}

static int teardown(void **state)
{
	a = arena_free(a);
	return system(strcat(strcpy((char[99]){ 0 }, "rm -r "), dir));
}

static void nothing_of_kvrail_is_left_and_nothing_else_is_gone(void **state)
{
	farewell_clean(&options, path("shim"));
	assert_false(there("bin/kvrail"));
	assert_false(there("state"));
	assert_true(there("bin/bridge"));
	assert_false(there("cdi/kvrail-allocated-0000:01:10.0.json"));
	assert_true(there("cdi/vendor.json"));
}

static const char journal[] = "{\"version\":1,\"attachment\":{\"pod\":{\"namespace\":\"d\",\"name\":\"p\",\"uid\":\"u\"},\"container\":\"c1\",\"ifname\":\"eth0\","
				"\"netns\":\"/run/netns/p\",\"state\":\"ready\",\"created\":\"2026-01-31T09:00:00Z\",\"conf\":\"kvrail\",\"rails\":[%s]}}";
static const char rail[] = "{\"network\":\"d/n\",\"ifname\":\"net1\",\"resource\":\"r\",\"vf\":\"0000:01:10.0\"}";

/* The runtime detaches them with their own network's plugin, once kvrail's configuration is gone. */
static void pods_without_rails_keep_nothing_here(void **state)
{
	put("state/attach/c1-eth0.json", arena_printf(a, journal, ""));
	farewell_clean(&options, path("shim"));
	assert_false(there("bin/kvrail"));
	assert_false(there("state"));
}

static void while_a_pod_has_a_rail_the_plugin_stays_too(void **state)
{
	put("state/attach/c1-eth0.json", arena_printf(a, journal, rail));
	farewell_clean(&options, path("shim"));
	assert_true(there("bin/kvrail")); /* the hook of its containers, and what the runtime deletes it with */
	assert_true(there("state/attach/c1-eth0.json"));
}

static void a_plugin_that_is_not_ours_stays(void **state)
{
	put("bin/kvrail", "another version's, or a person's");
	farewell_clean(&options, path("shim"));
	assert_true(there("bin/kvrail"));
	farewell_clean(&options, NULL);
	assert_true(there("bin/kvrail"));
}

static void what_is_attached_spooled_or_provisioned_stays_known(void **state)
{
	static const char *const files[] = { "state/attach/c-net1.json", "state/spool/1-2.json", "state/ports/0000:01:00.0.json" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		put(files[i], "{}");
		farewell_clean(&options, path("shim"));
		assert_true(there(files[i]));
		assert_true(there("state/snapshot.json"));
		unlink(path(files[i]));
	}
	farewell_clean(&options, path("shim"));
	assert_false(there("state"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_of_kvrail_is_left_and_nothing_else_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(pods_without_rails_keep_nothing_here, setup, teardown),
		cmocka_unit_test_setup_teardown(while_a_pod_has_a_rail_the_plugin_stays_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_plugin_that_is_not_ours_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_attached_spooled_or_provisioned_stays_known, setup, teardown),
	};

	return cmocka_run_group_tests_name("farewell_test", tests, NULL, NULL);
}
