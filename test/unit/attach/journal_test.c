/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "attach/journal.h"
#include "attach/vf.h"
#include "base/file.h"

struct fixture {
	char dir[PATH_MAX];
	int fd;
	struct arena *a;
};

static int setup(void **state)
{
	static struct fixture f;

	strcpy(f.dir, "/tmp/kvrail-journal-XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	f.fd = journal_open(f.dir, true, NULL);
	f.a = arena_new();
	*state = &f;
	return f.fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *command = arena_printf(f->a, "rm -rf '%s'", f->dir);

	close(f->fd);
	(void)!system(command);
	arena_free(f->a);
	return 0;
}

/* An attachment that says something in every field. */
static struct attachment *sample(const char *container, const char *ifname)
{
	struct attachment *at = attachment_new();
	struct attachment_rail *r = arena_alloc(at->arena, sizeof(*r));
	static const char *addresses[] = { "10.0.132.1/24", "fd00::1/64" };
	static int64_t rate = 1000;
	static bool yes = true;

	at->container = container;
	at->ifname = ifname;
	at->netns = "/run/netns/x";
	at->netns_id = "4:1";
	at->state = ATTACHMENT_ADDING;
	at->conf_name = "rails";
	at->pod->name = "prefill-0";
	attachment_warn(at, "net1: %s", "no carrier");
	r->ifname = "net1";
	r->vf = "0000:01:10.0";
	r->pf = "p2";
	r->vf_index = 3;
	r->addresses = addresses;
	r->n_addresses = 2;
	r->found = arena_alloc(at->arena, sizeof(*r->found));
	r->found->netdev = "p2v3";
	r->found->mtu = 1500;
	r->found->mac = r->found->admin_mac = "02:00:00:00:00:01";
	r->found->vlan = 100;
	r->found->max_rate = &rate;
	r->found->trust = &yes;
	r->set = arena_alloc(at->arena, sizeof(*r->set));
	r->set->vlan = r->set->trust = true;
	r->set->rxe = "rxe_net1_123456";
	at->rails = r;
	at->n_rails = 1;
	return at;
}

static void what_is_written_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct attachment *at = sample("c1", "net1"), **found, *got;
	struct err e;
	size_t n, bad;

	assert_int_equal(journal_write(f->fd, at, &e), 0);
	assert_int_equal(journal_load(f->fd, f->a, true, &found, &n, &bad, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(bad, 0);
	got = found[0];
	assert_string_equal(attachment_encode(f->a, got), attachment_encode(f->a, at));
	assert_int_equal(*got->rails[0].found->max_rate, 1000);
	assert_null(got->rails[0].found->min_rate);
	assert_true(*got->rails[0].found->trust);
	assert_string_equal(got->rails[0].set->rxe, "rxe_net1_123456");
	assert_string_equal(got->warnings[0], "net1: no carrier");
	assert_int_equal(journal_remove(f->fd, at, &e), 0);
	assert_int_equal(journal_remove(f->fd, at, &e), 0);
	attachment_free(got);
	attachment_free(at);
}

static void status_shows_no_undo(void **state)
{
	struct fixture *f = *state;
	struct attachment *at = sample("c1", "net1");
	const char *text = doc_mut_to_json(f->a, attachment_json(doc_new(f->a), at), false);

	assert_null(strstr(text, "found"));
	assert_null(strstr(text, "\"set\""));
	assert_non_null(strstr(text, "\"vfIndex\":3"));
	attachment_free(at);
}

static void two_attachments_never_share_a_file(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(journal_name(f->a, "c1", "net1"), "c1-net1.json");
	assert_string_not_equal(journal_name(f->a, "a-b", "c"), journal_name(f->a, "a", "b-c"));
	assert_string_not_equal(journal_name(f->a, "a", "b%2Dc"), journal_name(f->a, "a", "b-c"));
}

static void a_file_under_the_wrong_name_is_refused(void **state)
{
	struct fixture *f = *state;
	struct attachment *at = sample("c1", "net1"), **found;
	struct err e;
	size_t n, bad;

	assert_int_equal(journal_write(f->fd, at, &e), 0);
	assert_int_equal(renameat(f->fd, "c1-net1.json", f->fd, "c2-net1.json"), 0);
	assert_int_equal(journal_load(f->fd, f->a, true, &found, &n, &bad, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(bad, 1);
	assert_int_equal(faccessat(f->fd, "c2-net1.json.corrupt", F_OK, 0), 0);
	attachment_free(at);
}

static void damage_at_every_length_is_seen_and_set_aside(void **state)
{
	struct fixture *f = *state;
	struct attachment *at = sample("c1", "net1"), *got;
	char *text = attachment_encode(f->a, at);
	struct err e;

	for (size_t len = 0; len < strlen(text); len++) {
		assert_int_equal(attachment_decode("x", text, len, &got, &e), -EBADMSG);
		assert_non_null(strstr(e.msg, "x"));
	}
	assert_int_equal(attachment_decode("x", text, strlen(text), &got, &e), 0);
	attachment_free(got);
	attachment_free(at);
}

static void two_damaged_files_of_one_name_are_both_kept(void **state)
{
	struct fixture *f = *state;
	struct attachment **found;
	struct err e;
	size_t n;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(file_write_atomic(f->fd, "c1-net1.json", "{", 1, 0600), 0);
		assert_int_equal(journal_load(f->fd, f->a, true, &found, &n, NULL, &e), 0);
	}
	assert_int_equal(faccessat(f->fd, "c1-net1.json.corrupt", F_OK, 0), 0);
	assert_int_equal(faccessat(f->fd, "c1-net1.json.corrupt.1", F_OK, 0), 0);
}

static void only_what_differs_is_set_and_so_undone(void **state)
{
	struct attachment *at = sample("c1", "net1");
	struct attachment_rail *r = at->rails;
	struct rail_want want = { .vlan = 100, .vlan_qos = 0, .vlan_proto = 0x8100, .spoofchk = RAIL_UNSET, .trust = 1, .link_state = RAIL_UNSET,
				  .min_rate = RAIL_UNSET, .max_rate = 1000 };

	memset(r->set, 0, sizeof(*r->set));
	r->found->vlan_proto = "802.1q";
	vf_plan(&want, at, r);
	assert_false(r->set->vlan || r->set->trust || r->set->rate || r->set->spoofchk || r->set->mac || r->set->link_state);
	want.vlan = 0;
	want.trust = 0;
	want.spoofchk = 0; /* not told by the driver */
	want.max_rate = 2000;
	want.link_state = 1;
	want.has_mac = true;
	vf_plan(&want, at, r);
	assert_true(r->set->vlan && r->set->trust && r->set->rate && r->set->spoofchk && r->set->mac && r->set->link_state);
	attachment_free(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(status_shows_no_undo, setup, teardown),
		cmocka_unit_test_setup_teardown(two_attachments_never_share_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_under_the_wrong_name_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_at_every_length_is_seen_and_set_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(two_damaged_files_of_one_name_are_both_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_differs_is_set_and_so_undone, setup, teardown),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
