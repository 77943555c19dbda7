/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "agent/cniconf.h"
#include "base/file.h"
#include "codec/doc.h"

static struct arena *a;
static char dir[64];
static struct cniconf_place place;

static int setup(void **state)
{
	a = arena_new();
	strcpy(dir, "/tmp/kvrail-cniconf-XXXXXX");
	place = (struct cniconf_place){ .dir = mkdtemp(dir), .name = "00-kvrail.conf" };
	return place.dir ? 0 : -1;
}

static int teardown(void **state)
{
	a = arena_free(a);
	return system(strcat(strcpy((char[99]){ 0 }, "rm -r "), dir));
}

static const char *path(const char *name)
{
	return arena_printf(a, "%s/%s", dir, name);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(-1, path(name), text, strlen(text), 0644), 0);
}

static const char *content(const char *name)
{
	char *text, *copy;

	if (file_read(-1, path(name), 65536, &text, NULL) < 0)
		return NULL;
	copy = arena_strdup(a, text);
	free(text);
	return copy;
}

static yyjson_val *json(const char *text)
{
	yyjson_val *v;

	assert_int_equal(doc_parse_json(a, "test", text, strlen(text), 65536, &v, NULL), 0);
	return v;
}

static const char conflist[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"cbr0\",\"plugins\":[{\"type\":\"flannel\"},"
			       "{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true,\"x\":false}},{\"type\":\"b\",\"capabilities\":{\"bandwidth\":true}}]}";

static void ours_names_the_default_network_and_has_the_capabilities_of_its_plugins(void **state)
{
	yyjson_val *v;
	char *text;

	assert_int_equal(cniconf_text(a, "/etc/cni/net.d/10-flannel.conflist", conflist, strlen(conflist), &text, NULL), 0);
	v = json(text);
	assert_string_equal(doc_str(v, "type"), "kvrail");
	assert_string_equal(doc_str(v, "cniVersion"), "1.0.0");
	assert_string_equal(doc_str(v, "clusterNetwork"), "/etc/cni/net.d/10-flannel.conflist");
	v = yyjson_obj_get(v, "capabilities");
	assert_int_equal(yyjson_obj_size(v), 2);
	assert_true(doc_bool(v, "portMappings", false) && doc_bool(v, "bandwidth", false));
}

static void an_old_or_missing_version_becomes_0_4_0(void **state)
{
	static const char *const confs[] = { "{\"type\":\"bridge\",\"name\":\"b\"}", "{\"cniVersion\":\"0.3.1\",\"type\":\"bridge\"}" };
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(confs); i++) {
		assert_int_equal(cniconf_text(a, "x", confs[i], strlen(confs[i]), &text, NULL), 0);
		assert_string_equal(doc_str(json(text), "cniVersion"), "0.4.0");
		assert_null(yyjson_obj_get(json(text), "capabilities"));
	}
}

static void what_is_no_configuration_is_refused_by_name(void **state)
{
	struct err e;
	char *text;

	assert_int_equal(cniconf_text(a, "10-x.conf", "{\"a\":1}", 7, &text, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "10-x.conf"));
	assert_true(cniconf_text(a, "10-x.conf", "{", 1, &text, &e) < 0);
}

static void the_first_by_name_that_is_neither_ours_nor_multus_is_the_master(void **state)
{
	const char *master;
	struct err e;

	assert_int_equal(cniconf_master(&place, a, &master, &e), -ENOENT);
	assert_non_null(strstr(e.msg, dir));
	put("00-kvrail.conf", "{\"type\":\"kvrail\"}");
	put("00-multus.conf", "{\"type\":\"multus-shim\"}");
	put("05-old.conf", "{\"type\":\"kvrail\",\"name\":\"of an earlier --cni-conf-name\"}");
	put("09-not-a-conf.json", "{\"type\":\"bridge\"}");
	assert_int_equal(cniconf_master(&place, a, &master, &e), -ENOENT);
	put("20-b.conf", "{\"type\":\"bridge\"}");
	put("10-a.conflist", conflist);
	assert_int_equal(cniconf_master(&place, a, &master, &e), 0);
	assert_string_equal(master, path("10-a.conflist"));
}

static void put_writes_once_with_mode_0600_and_follows_the_master(void **state)
{
	struct stat first, again;
	struct err e;

	put("10-a.conflist", conflist);
	assert_int_equal(cniconf_put(&place, &e), 0);
	assert_int_equal(stat(path("00-kvrail.conf"), &first), 0);
	assert_int_equal(first.st_mode & 0777, 0600);
	assert_int_equal(cniconf_put(&place, &e), 0);
	assert_int_equal(stat(path("00-kvrail.conf"), &again), 0);
	assert_int_equal(first.st_ino, again.st_ino);
	put("05-new.conf", "{\"cniVersion\":\"1.1.0\",\"type\":\"bridge\"}");
	assert_int_equal(cniconf_put(&place, &e), 0);
	assert_string_equal(doc_str(json(content("00-kvrail.conf")), "clusterNetwork"), path("05-new.conf"));
}

static void another_makers_file_of_our_name_is_neither_overwritten_nor_removed(void **state)
{
	struct err e;

	put("10-a.conflist", conflist);
	put("00-kvrail.conf", "{\"type\":\"calico\"}");
	assert_int_equal(cniconf_put(&place, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "--cni-conf-name"));
	assert_int_equal(cniconf_remove(&place, &e), 0);
	assert_string_equal(content("00-kvrail.conf"), "{\"type\":\"calico\"}");
}

static void remove_takes_ours_away_and_nothing_there_is_success(void **state)
{
	struct err e;

	put("10-a.conflist", conflist);
	assert_int_equal(cniconf_put(&place, &e), 0);
	assert_int_equal(cniconf_remove(&place, &e), 0);
	assert_null(content("00-kvrail.conf"));
	assert_int_equal(cniconf_remove(&place, &e), 0);
}

static void a_program_is_installed_by_rename_and_only_when_it_differs(void **state)
{
	struct stat first, again;
	struct err e;

	put("shim", "version 1");
	assert_int_equal(cniconf_install(path("shim"), path("bin"), "kvrail", &e), 0);
	assert_int_equal(stat(path("bin/kvrail"), &first), 0);
	assert_int_equal(first.st_mode & 0777, 0755);
	assert_int_equal(cniconf_install(path("shim"), path("bin"), "kvrail", &e), 0);
	assert_int_equal(stat(path("bin/kvrail"), &again), 0);
	assert_int_equal(first.st_ino, again.st_ino);
	put("shim", "version 2");
	assert_int_equal(cniconf_install(path("shim"), path("bin"), "kvrail", &e), 0);
	assert_string_equal(content("bin/kvrail"), "version 2");
	assert_int_equal(cniconf_install(path("gone"), path("bin"), "kvrail", &e), -ENOENT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ours_names_the_default_network_and_has_the_capabilities_of_its_plugins, setup, teardown),
		cmocka_unit_test_setup_teardown(an_old_or_missing_version_becomes_0_4_0, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_configuration_is_refused_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_by_name_that_is_neither_ours_nor_multus_is_the_master, setup, teardown),
		cmocka_unit_test_setup_teardown(put_writes_once_with_mode_0600_and_follows_the_master, setup, teardown),
		cmocka_unit_test_setup_teardown(another_makers_file_of_our_name_is_neither_overwritten_nor_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(remove_takes_ours_away_and_nothing_there_is_success, setup, teardown),
		cmocka_unit_test_setup_teardown(a_program_is_installed_by_rename_and_only_when_it_differs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
