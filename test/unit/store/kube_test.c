/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server's client decides by itself: kubeconfigs, when to try again, how a stream is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "store/kube-private.h"

#define PEM64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */

static const char two[] =
	"apiVersion: v1\nkind: Config\ncurrent-context: one\n"
	"clusters:\n"
	"- name: c1\n  cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: " PEM64 ", tls-server-name: api.example}\n"
	"- name: c2\n  cluster: {server: 'https://h2', certificate-authority: pki/ca.crt, insecure-skip-tls-verify: true}\n"
	"users:\n"
	"- name: u1\n  user: {token: abc}\n"
	"- name: u2\n  user: {tokenFile: tokens/t, client-certificate: c.pem, client-key: /k.pem, as: jane, as-groups: [g1, g2]}\n"
	"- name: u3\n  user:\n    exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/login, args: [-x], env: [{name: A, value: B}]}\n"
	"contexts:\n"
	"- name: one\n  context: {cluster: c1, user: u1, namespace: ns1}\n"
	"- name: two\n  context: {cluster: c2, user: u2}\n"
	"- name: three\n  context: {cluster: c1, user: u3}\n";

static int parse(struct arena *a, const char *text, const char *context, struct kubeconfig **ret, struct err *e)
{
	struct kubeconfig_text t = { "/etc/kube/config", text, strlen(text) };

	e->msg[0] = '\0';
	return kubeconfig_parse(a, &t, 1, context, ret, e);
}

static void the_current_context_is_used(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kubeconfig *k;
	struct err e;

	if (parse(a, two, NULL, &k, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(k->server, "https://10.0.0.1:6443");
	assert_string_equal(k->namespace, "ns1");
	assert_string_equal(k->token, "abc");
	assert_string_equal(k->tls.ca_pem, "-----BEGIN CERTIFICATE-----\n");
	assert_string_equal(k->tls.server_name, "api.example");
	assert_string_equal(k->source, "/etc/kube/config, context one");
}

static void paths_are_relative_to_their_file(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kubeconfig *k;
	struct err e;

	assert_int_equal(parse(a, two, "two", &k, &e), 0);
	assert_string_equal(k->tls.ca_file, "/etc/kube/pki/ca.crt");
	assert_string_equal(k->token_file, "/etc/kube/tokens/t");
	assert_string_equal(k->tls.cert_file, "/etc/kube/c.pem");
	assert_string_equal(k->tls.key_file, "/k.pem");
	assert_string_equal(k->namespace, "default");
	assert_string_equal(k->as, "jane");
	assert_int_equal(k->n_as_groups, 2);
	assert_true(k->tls.insecure);
	assert_int_equal(parse(a, two, "three", &k, &e), 0);
	assert_string_equal(k->exec->command, "/etc/kube/bin/login");
	assert_string_equal(k->exec->env[0].name, "A");
}

static void the_first_of_several_files_has_the_say(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	static const char first[] = "current-context: two\nusers:\n- {name: u2, user: {token: first}}\n";
	struct kubeconfig_text t[] = { { "/a/first", first, sizeof(first) - 1 }, { "/b/second", two, sizeof(two) - 1 } };
	struct kubeconfig *k;
	struct err e = { 0 };

	assert_int_equal(kubeconfig_parse(a, t, 2, NULL, &k, &e), 0);
	assert_string_equal(k->token, "first");
	assert_null(k->token_file);
	assert_string_equal(k->tls.ca_file, "/b/pki/ca.crt");
}

static void what_is_wrong_with_a_kubeconfig_is_said(void **state)
{
	static const struct {
		const char *text, *context, *says;
		int r;
	} bad[] = {
		{ two, "four", "there is no context 'four', its contexts: one, two, three", -ENOENT },
		{ "contexts:\n- {name: x, context: {cluster: c}}\n", NULL, "no current-context is set; choose one of its contexts: x", -ENOENT },
		{ "", NULL, "no current-context is set; choose one of its contexts: none", -ENOENT },
		{ "contexts:\n- {name: x, context: {cluster: c}}\n", "x", "context x names cluster 'c', which is not there: there is none", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {}}\n", "x", "cluster c has no server", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: s, certificate-authority-data: '!'}}\n", "x",
		  "cluster c: certificate-authority-data is no base64", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: s, certificate-authority-data: aGk=}}\n", "x",
		  "certificate-authority-data holds no PEM", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: s}}\n", "x",
		  "names user 'u', which is not there", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: s}}\n"
		  "users:\n- {name: u, user: {client-certificate: f}}\n", "x", "user u has a client certificate without its key", -EINVAL },
		{ "contexts:\n- {name: x, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: s}}\n"
		  "users:\n- {name: u, user: {username: f, password: g}}\n", "x", "has only a password", -EINVAL },
		{ "contexts: 7\n", NULL, "/etc/kube/config:1: contexts: ", -EINVAL },
		{ "- 7\n", NULL, "this is no kubeconfig", -EINVAL },
		{ "a: 1\n---\nb: 2\n", NULL, "2 documents", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct kubeconfig *k;
		struct err e;

		assert_int_equal(parse(a, bad[i].text, bad[i].context, &k, &e), bad[i].r);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("'%s' does not say '%s'", e.msg, bad[i].says);
	}
}

static void a_pod_uses_its_service_account(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char folder[] = "/tmp/kvrail-sa-XXXXXX";
	struct kubeconfig *k;
	struct err e = { 0 };
	FILE *f;

	assert_non_null(mkdtemp(folder));
	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_int_equal(kubeconfig_in_cluster(a, folder, &k, &e), -ENOENT);
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	assert_int_equal(kubeconfig_in_cluster(a, folder, &k, &e), -ENOENT);
	for (int i = 0; i < 3; i++) {
		f = fopen(arena_printf(a, "%s/%s", folder, i == 0 ? "token" : i == 1 ? "ca.crt" : "namespace"), "w");
		fputs(i == 0 ? "t" : i == 1 ? "-----BEGIN CERTIFICATE-----\n" : "kvrail", f);
		fclose(f);
	}
	if (kubeconfig_in_cluster(a, folder, &k, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(k->server, "https://[fd00::1]:443");
	assert_string_equal(k->namespace, "kvrail");
	assert_string_equal(k->token_file, arena_printf(a, "%s/token", folder));
	unsetenv("KUBERNETES_SERVICE_HOST");
	for (int i = 0; i < 3; i++)
		unlink(arena_printf(a, "%s/%s", folder, i == 0 ? "token" : i == 1 ? "ca.crt" : "namespace"));
	rmdir(folder);
}

static void a_tokens_expiry_is_read(void **state)
{
	assert_int_equal(kubeconfig_token_expiry("eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDAsImlzcyI6Imt1YmUifQ.c2ln"), 1700000000);
	assert_int_equal(kubeconfig_token_expiry("plain-token"), 0);
	assert_int_equal(kubeconfig_token_expiry("a.!!.c"), 0);
	assert_int_equal(kubeconfig_token_expiry(""), 0);
}

static void only_what_may_pass_is_tried_again(void **state)
{
	static const struct {
		struct kube_try t;
		bool again;
	} cases[] = {
		/* nobody listens: nothing was sent, anything may be repeated */
		{ { .r = -EHOSTUNREACH }, true },
		{ { .r = -ECONNRESET, .sent = true }, false },
		{ { .r = -ECONNRESET, .sent = true, .repeatable = true }, true },
		{ { .r = -ETIMEDOUT, .sent = true }, false },
		{ { .r = -EKEYREJECTED, .repeatable = true }, false },
		{ { .r = -ECANCELED, .repeatable = true }, false },
		{ { .status = 429 }, true },
		{ { .status = 500 }, false },
		{ { .status = 500, .repeatable = true }, true },
		{ { .status = 503 }, false },
		{ { .status = 503, .retry_after_s = 1 }, true },
		{ { .status = 504, .retry_after_s = 1 }, false }, /* it may have been made, and took long */
		{ { .status = 404, .repeatable = true }, false },
		{ { .status = 409, .repeatable = true }, false },
		{ { .status = 401, .repeatable = true }, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_try t = cases[i].t;

		t.left_ms = 30000;
		t.random = 12345;
		if (!t.retry_after_s)
			t.retry_after_s = -1;
		if ((kube_retry(&t) >= 0) != cases[i].again)
			fail_msg("case %zu", i);
	}
}

static void pauses_grow_and_keep_to_what_the_server_says(void **state)
{
	struct kube_try t = { .r = -EHOSTUNREACH, .retry_after_s = -1, .left_ms = 60000 };

	assert_in_range(kube_retry(&t), 50, 100);
	t.attempt = 3;
	assert_in_range(kube_retry(&t), 400, 800);
	t.attempt = 40;
	t.random = UINT32_MAX;
	assert_in_range(kube_retry(&t), 2500, 5000);
	t = (struct kube_try){ .status = 429, .retry_after_s = 7, .left_ms = 60000, .random = 999999 };
	assert_in_range(kube_retry(&t), 7000, 8400);
	t.left_ms = 6000; /* it would be too late */
	assert_true(kube_retry(&t) < 0);
}

static int add_line(void *arg, char *text, size_t len)
{
	assert_int_equal(strlen(text), len);
	strcat(arg, text);
	strcat(arg, "|");
	return !strcmp(text, "stop") ? 9 : 0;
}

static void lines_come_whole_however_they_are_cut(void **state)
{
	static const char text[] = "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}\nrest";

	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct kube_lines l = { .max = 100 };
		char got[64] = "";

		for (size_t at = 0; at < sizeof(text) - 1; at += piece)
			assert_int_equal(kube_lines_feed(&l, text + at, piece < sizeof(text) - 1 - at ? piece : sizeof(text) - 1 - at, add_line,
							 got),
					 0);
		assert_string_equal(got, "{\"a\":1}|{\"b\":2}\r|{\"c\":3}|");
		strbuf_free(&l.tail);
	}
}

static void a_line_is_bounded_and_its_reader_can_stop(void **state)
{
	struct kube_lines l = { .max = 8 };
	char got[64] = "";

	assert_int_equal(kube_lines_feed(&l, "12345678\n123456789", 18, add_line, got), -EFBIG);
	assert_string_equal(got, "12345678|");
	strbuf_free(&l.tail);
	assert_int_equal(kube_lines_feed(&l, "stop\nmore\n", 10, add_line, got), 9);
	assert_string_equal(got, "12345678|stop|");
	strbuf_free(&l.tail);
}

static int add_item(void *arg, const char *text, size_t len)
{
	strncat(arg, text, len);
	strcat(arg, "|");
	return 0;
}

static void a_list_is_cut_into_its_items(void **state)
{
	static const struct {
		const char *text, *items, *rest;
	} lists[] = {
		{ "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\",\"items\":[1]},\"items\":[{\"a\":[1,{\"b\":\"]}\\\"\"}]},\n {}]}\n",
		  "{\"a\":[1,{\"b\":\"]}\\\"\"}]}|{}|", "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\",\"items\":[1]},\"items\":[]}\n" },
		{ "{\"items\":[{\"x\":1}],\"kind\":\"L\",\"x\":\"items\",\"y\":[2]}", "{\"x\":1}|",
		  "{\"items\":[],\"kind\":\"L\",\"x\":\"items\",\"y\":[2]}" },
		{ "{\"items\":null,\"metadata\":{}}", "", "{\"items\":null,\"metadata\":{}}" },
		{ "{\"items\":[]}", "", "{\"items\":[]}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		size_t len = strlen(lists[i].text);

		for (size_t piece = 1; piece <= len; piece++) {
			struct kube_items s = { .max = 100 };
			char got[128] = "";

			for (size_t at = 0; at < len; at += piece)
				assert_int_equal(kube_items_feed(&s, lists[i].text + at, piece < len - at ? piece : len - at, add_item, got), 0);
			assert_string_equal(got, lists[i].items);
			assert_string_equal(s.rest.s, lists[i].rest);
			kube_items_free(&s);
		}
	}
}

static void what_is_no_list_is_refused(void **state)
{
	struct kube_items s = { .max = 4 };
	char got[64] = "";

	assert_int_equal(kube_items_feed(&s, "{\"items\":[7]}", 13, add_item, got), -EPROTO);
	kube_items_free(&s);
	s = (struct kube_items){ .max = 4 };
	assert_int_equal(kube_items_feed(&s, "{\"items\":[{\"a\":1}]}", 19, add_item, got), -EFBIG);
	kube_items_free(&s);
}

static void targets_are_the_api_servers_paths(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kube_ref pod = { "", "v1", "pods", "ns", "web-0", "status" };
	struct kube_ref pools = { "whereabouts.cni.cncf.io", "v1alpha1", "ippools", NULL, "a/../b", NULL };
	struct kube_select s = { "a=b,c", "spec.nodeName=n1" };

	assert_string_equal(kube_target(a, &pod, NULL), "/api/v1/namespaces/ns/pods/web-0/status");
	assert_string_equal(kube_target(a, &pools, "x=y"), "/apis/whereabouts.cni.cncf.io/v1alpha1/ippools/a%2F..%2Fb?x=y");
	assert_string_equal(kube_selectors(a, &s), "&labelSelector=a%3Db%2Cc&fieldSelector=spec.nodeName%3Dn1");
	assert_string_equal(kube_selectors(a, NULL), "");
}

static void put(struct kube_cache *c, const char *ns, const char *name, const char *uid, const char *json)
{
	free(kube_cache_put(c, kube_entry_new(ns, name, uid, "1", json)));
}

static void note(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	char *out = arg;

	sprintf(out + strlen(out), "%c%s%s%s ", "+*-"[what], (is ? is : was)->namespace, *(is ? is : was)->namespace ? "/" : "",
		(is ? is : was)->name);
}

static void a_new_list_is_told_by_what_differs(void **state)
{
	struct kube_cache was = { 0 }, is = { 0 };
	char got[256] = "";

	put(&was, "a", "gone", "1", "{}");
	put(&was, "a", "same", "2", "{}");
	put(&was, "b", "changed", "3", "{}");
	put(&was, "b", "reborn", "4", "{}");
	put(&is, "z", "new", "9", "{}");
	put(&is, "b", "reborn", "5", "{}");
	put(&is, "a", "same", "2", "{}");
	put(&is, "b", "changed", "3", "{\"x\":1}");
	put(&is, "", "first", "6", "{}");
	kube_cache_diff(&was, &is, note, got);
	assert_string_equal(got, "+first -a/gone *b/changed -b/reborn +b/reborn +z/new ");
	kube_cache_free(&was);
	kube_cache_free(&is);
}

static void the_cache_keeps_its_order(void **state)
{
	struct kube_cache c = { 0 };
	struct kube_entry *e;
	char name[16];
	bool found;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%03u", i * 7 % 500); /* each twice */
		put(&c, "x", name, "1", "{}");
	}
	assert_int_equal(c.n, 500);
	for (unsigned i = 1; i < c.n; i++)
		assert_true(strcmp(c.v[i - 1]->o.name, c.v[i]->o.name) < 0);
	e = kube_cache_take(&c, "x", "n250");
	assert_string_equal(e->o.name, "n250");
	free(e);
	assert_null(kube_cache_take(&c, "x", "n250"));
	kube_cache_find(&c, "x", "n250", &found);
	assert_false(found);
	kube_cache_find(&c, "x", "n499", &found);
	assert_true(found);
	kube_cache_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_current_context_is_used),
		cmocka_unit_test(paths_are_relative_to_their_file),
		cmocka_unit_test(the_first_of_several_files_has_the_say),
		cmocka_unit_test(what_is_wrong_with_a_kubeconfig_is_said),
		cmocka_unit_test(a_pod_uses_its_service_account),
		cmocka_unit_test(a_tokens_expiry_is_read),
		cmocka_unit_test(only_what_may_pass_is_tried_again),
		cmocka_unit_test(pauses_grow_and_keep_to_what_the_server_says),
		cmocka_unit_test(lines_come_whole_however_they_are_cut),
		cmocka_unit_test(a_line_is_bounded_and_its_reader_can_stop),
		cmocka_unit_test(a_list_is_cut_into_its_items),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(a_new_list_is_told_by_what_differs),
		cmocka_unit_test(the_cache_keeps_its_order),
		cmocka_unit_test(targets_are_the_api_servers_paths),
	};

	return cmocka_run_group_tests_name("kube_test", tests, NULL, NULL);
}
