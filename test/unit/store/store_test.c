/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "store/ip.h"

static char dir[64];
static char path[128];

static int setup(void **state)
{
	strcpy(dir, "/tmp/kvrail-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/store.db", dir);
	return 0;
}

static int teardown(void **state)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) ? -1 : 0;
}

static struct store *open_store(void)
{
	struct err e = { 0 };
	struct store *s = NULL;

	if (store_open_local(path, &s, &e) < 0)
		fail_msg("%s", e.msg);
	return s;
}

static struct store_ip v4(uint32_t host)
{
	struct store_ip ip = { { [10] = 0xff, [11] = 0xff } };

	for (int i = 0; i < 4; i++)
		ip.b[15 - i] = (unsigned char)(host >> 8 * i);
	return ip;
}

static uint32_t host_of(struct store_ip ip)
{
	return (uint32_t)ip.b[12] << 24 | (uint32_t)ip.b[13] << 16 | (uint32_t)ip.b[14] << 8 | ip.b[15];
}

static int put(struct store *s, const char *pool, uint32_t host, const char *pod, const char *domain)
{
	struct store_lease l = { .pool = pool, .ip = v4(host), .container = pod, .ifname = "net1", .podref = pod,
				 .overlap = domain, .domain = domain ? domain : "" };
	struct err e = { 0 };
	int r = store_lease_put(s, &l, &e);

	if (r < 0 && r != -EEXIST)
		fail_msg("%s", e.msg);
	return r;
}

static void begin(struct store *s)
{
	struct err e = { 0 };

	if (store_lease_begin(s, &e) < 0)
		fail_msg("%s", e.msg);
}

static void commit(struct store *s)
{
	struct err e = { 0 };

	if (store_lease_commit(s, &e) < 0)
		fail_msg("%s", e.msg);
}

static long free_in(struct store *s, const char *pool, const char *domain, uint32_t from, uint32_t to)
{
	struct store_ip ip;
	int r = store_lease_free_ip(s, pool, domain, v4(from), v4(to), &ip);

	return r < 0 ? r : (long)host_of(ip);
}

/* The runs in the file are exactly the maximal runs of its leases. */
static void assert_runs_match_leases(void)
{
	static const char *const rows[] = {
		"SELECT 0, pool, hex(ip), hex(ip) FROM leases ORDER BY pool, ip",
		"SELECT 1, domain, hex(ip), hex(ip) FROM leases WHERE overlap ORDER BY domain, ip",
	};
	sqlite3 *db;
	char cur[3][80] = { "", "", "" };
	int runs = 0, found = 0;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	for (int space = 0; space < 2; space++) {
		sqlite3_stmt *q, *check;
		bool more = true, have = false;

		assert_int_equal(sqlite3_prepare_v2(db, rows[space], -1, &q, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM runs WHERE space=?1 AND name=?2 AND hex(first)=?3"
					" AND hex(last)=?4", -1, &check, NULL), SQLITE_OK);
		while (more) {
			const char *name = "", *ip = "";

			more = sqlite3_step(q) == SQLITE_ROW;
			if (more) {
				name = (const char *)sqlite3_column_text(q, 1);
				ip = (const char *)sqlite3_column_text(q, 2);
				/* IPv4 only: the last eight digits are the host */
				if (have && !strcmp(cur[0], name) &&
				    strtoul(cur[2] + 24, NULL, 16) + 1 == strtoul(ip + 24, NULL, 16)) {
					strcpy(cur[2], ip);
					continue;
				}
			}
			if (have) {
				sqlite3_reset(check);
				sqlite3_bind_int(check, 1, space);
				sqlite3_bind_text(check, 2, cur[0], -1, SQLITE_TRANSIENT);
				sqlite3_bind_text(check, 3, cur[1], -1, SQLITE_TRANSIENT);
				sqlite3_bind_text(check, 4, cur[2], -1, SQLITE_TRANSIENT);
				assert_int_equal(sqlite3_step(check), SQLITE_ROW);
				assert_int_equal(sqlite3_column_int(check, 0), 1);
				runs++;
			}
			have = more;
			snprintf(cur[0], sizeof(cur[0]), "%s", name);
			snprintf(cur[1], sizeof(cur[1]), "%s", ip);
			snprintf(cur[2], sizeof(cur[2]), "%s", ip);
		}
		sqlite3_finalize(q);
		sqlite3_finalize(check);
	}
	{
		sqlite3_stmt *q;

		assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM runs", -1, &q, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_step(q), SQLITE_ROW);
		found = sqlite3_column_int(q, 0);
		sqlite3_finalize(q);
	}
	sqlite3_close(db);
	assert_int_equal(found, runs);
}

static void objects_survive_reopening_and_their_version_grows(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store *s = open_store();
	struct store_object o, *all;
	uint64_t first;
	size_t n;
	struct err e = { 0 };

	assert_int_equal(store_put(s, "NetworkAttachmentDefinition", "llm", "roce-p2", "{\"a\":1}", &e), 0);
	assert_int_equal(store_put(s, "NetworkAttachmentDefinition", "other", "roce-p2", "{}", &e), 0);
	assert_int_equal(store_get(s, a, "NetworkAttachmentDefinition", "llm", "roce-p2", &o, &e), 0);
	first = o.version;
	assert_int_equal(store_put(s, "NetworkAttachmentDefinition", "llm", "roce-p2", "{\"a\":1}", &e), 0);
	assert_int_equal(store_get(s, a, "NetworkAttachmentDefinition", "llm", "roce-p2", &o, &e), 0);
	assert_int_equal(o.version, first); /* nothing changed */
	assert_int_equal(store_apply(s, &(struct store_object){ "NetworkAttachmentDefinition", "llm", "roce-p2" }, 1, &e), 1);
	assert_int_equal(store_put(s, "NetworkAttachmentDefinition", "llm", "roce-p2", "{\"a\":2}", &e), 0);
	s = store_close(s);
	s = open_store();
	assert_int_equal(store_get(s, a, "NetworkAttachmentDefinition", "llm", "roce-p2", &o, &e), 0);
	assert_string_equal(o.json, "{\"a\":2}");
	assert_true(o.version > first);
	assert_int_equal(store_list(s, a, "NetworkAttachmentDefinition", NULL, &all, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(store_list(s, a, "NetworkAttachmentDefinition", "other", &all, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_get(s, a, "Node", NULL, "gone", &o, &e), -ENOENT);
	assert_string_equal(e.msg, "there is no Node gone");
	store_close(s);
}

static void changes_are_applied_all_or_none(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store *s = open_store();
	struct store_object o, changes[] = {
		{ .kind = "Node", .namespace = "", .name = "n1", .json = "{}" },
		{ .kind = "Node", .namespace = "", .name = NULL, .json = "{}" }, /* NOT NULL */
	};
	struct err e = { 0 };

	assert_true(store_apply(s, changes, 2, &e) < 0);
	assert_int_equal(store_get(s, a, "Node", "", "n1", &o, &e), -ENOENT);
	assert_int_equal(store_apply(s, changes, 1, &e), 1);
	assert_int_equal(store_get(s, a, "Node", "", "n1", &o, &e), 0);
	changes[0].json = NULL;
	assert_int_equal(store_apply(s, changes, 1, &e), 1);
	assert_int_equal(store_apply(s, changes, 1, &e), 0);
	store_close(s);
}

static void the_lowest_free_address_is_found(void **state)
{
	struct store *s = open_store();

	begin(s);
	assert_int_equal(free_in(s, "p", "", 1, 9), 1);
	for (uint32_t h = 1; h <= 5; h++)
		assert_int_equal(put(s, "p", h, "a/a", ""), 0);
	assert_int_equal(free_in(s, "p", "", 1, 9), 6);
	assert_int_equal(free_in(s, "p", "", 1, 5), -ENOSPC);
	assert_int_equal(free_in(s, "q", "", 1, 9), 6);	  /* the same domain */
	assert_int_equal(free_in(s, "q", "net", 1, 9), 1); /* another domain */
	assert_int_equal(free_in(s, "q", NULL, 1, 9), 1);  /* no overlap asked for */
	assert_int_equal(put(s, "q", 3, "b/b", ""), -EEXIST);
	assert_int_equal(put(s, "q", 3, "b/b", NULL), 0);
	assert_int_equal(put(s, "p", 3, "b/b", NULL), -EEXIST);
	commit(s);
	s = store_close(s);
	assert_runs_match_leases();
}

static void the_last_address_there_is_can_be_leased(void **state)
{
	struct store *s = open_store();
	struct store_ip last, ip;
	struct store_lease l = { .pool = "p", .container = "c", .ifname = "net1", .podref = "a/a", .domain = "" };
	struct err e = { 0 };

	memset(&last, 0xff, sizeof(last));
	l.ip = last;
	begin(s);
	assert_int_equal(store_lease_put(s, &l, &e), 0);
	assert_int_equal(store_lease_free_ip(s, "p", NULL, last, last, &ip), -ENOSPC);
	assert_int_equal(store_lease_release(s, "c", "net1", &e), 1);
	assert_int_equal(store_lease_free_ip(s, "p", NULL, last, last, &ip), 0);
	commit(s);
	store_close(s);
}

static void a_lease_of_the_same_pod_is_refreshed(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store *s = open_store();
	struct store_lease l = { .pool = "p", .ip = v4(7), .container = "old", .ifname = "net1", .podref = "a/a",
				 .overlap = true, .domain = "" }, found;
	struct err e = { 0 };

	begin(s);
	assert_int_equal(store_lease_put(s, &l, &e), 0);
	l.container = "new";
	assert_int_equal(store_lease_put(s, &l, &e), 0);
	assert_int_equal(store_lease_find(s, a, "p", "a/a", "net1", &found), 0);
	assert_string_equal(found.container, "new");
	assert_int_equal(store_lease_release(s, "old", NULL, &e), 0);
	l.overlap = false; /* the network's configuration changed */
	assert_int_equal(store_lease_put(s, &l, &e), 0);
	assert_int_equal(free_in(s, "q", "", 7, 7), 7);
	assert_int_equal(store_lease_find(s, a, "p", "a/a", "net2", &found), -ENOENT);
	commit(s);
	store_close(s);
	assert_runs_match_leases();
}

static void a_rolled_back_transaction_leaves_nothing(void **state)
{
	struct store *s = open_store();

	begin(s);
	put(s, "p", 1, "a/a", "");
	store_lease_rollback(s);
	begin(s);
	assert_int_equal(free_in(s, "p", "", 1, 9), 1);
	commit(s);
	store_close(s);
}

static void leases_change_only_inside_a_transaction(void **state)
{
	struct store *s = open_store();
	struct store_lease l = { .pool = "p", .ip = v4(7), .container = "c", .ifname = "net1", .podref = "a/a", .domain = "" };
	struct err e = { 0 };

	assert_int_equal(store_lease_put(s, &l, &e), -EINVAL);
	assert_int_equal(store_lease_release(s, "c", NULL, &e), -EINVAL);
	store_close(s);
}

/* Random puts and releases against a plain array of who holds what. */
static void runs_follow_every_put_and_release(void **state)
{
	enum { HOSTS = 40, OPS = 4000 };
	bool taken[2][HOSTS] = { { false } };
	struct store *s = open_store();
	struct err e = { 0 };
	unsigned seed = 1;

	for (int i = 0; i < OPS; i++) {
		int p = rand_r(&seed) % 2, h = rand_r(&seed) % HOSTS, expect = -ENOSPC;
		const char *pool = p ? "p" : "q";
		char pod[32];

		snprintf(pod, sizeof(pod), "%s/%d", pool, h);
		begin(s);
		if (taken[p][h]) {
			assert_int_equal(store_lease_release(s, pod, "net1", &e), 1);
			taken[p][h] = false;
		} else {
			assert_int_equal(put(s, pool, (uint32_t)h, pod, ""), taken[!p][h] ? -EEXIST : 0);
			taken[p][h] = !taken[!p][h];
		}
		for (int j = HOSTS - 1; j >= 0; j--)
			if (!taken[0][j] && !taken[1][j])
				expect = j;
		assert_int_equal(free_in(s, pool, "", 0, HOSTS - 1), expect);
		if (rand_r(&seed) % 4)
			commit(s);
		else { /* taken back: ask who holds it */
			_cleanup_arena_ struct arena *a = arena_new();
			struct store_lease l;

			store_lease_rollback(s);
			taken[p][h] = store_lease_at(s, a, pool, v4((uint32_t)h), &l) == 0;
		}
	}
	store_close(s);
	assert_runs_match_leases();
}

static sqlite3 *seen;

static int see(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
	seen = db;
	return SQLITE_OK;
}

/* Virtual machine steps of all statements since the last call; none may scan or sort. */
static int steps(void)
{
	int sum = 0;

	for (sqlite3_stmt *q = sqlite3_next_stmt(seen, NULL); q; q = sqlite3_next_stmt(seen, q)) {
		sum += sqlite3_stmt_status(q, SQLITE_STMTSTATUS_VM_STEP, 1);
		assert_int_equal(sqlite3_stmt_status(q, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1), 0);
		assert_int_equal(sqlite3_stmt_status(q, SQLITE_STMTSTATUS_SORT, 1), 0);
	}
	return sum;
}

/* One allocation and its release: their steps. */
static int steps_of_one(struct store *s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store_lease l;
	struct err e = { 0 };
	long h;
	int n;

	begin(s);
	steps();
	assert_int_equal(store_lease_find(s, a, "10.0.0.0-16", "pod/new", "net1", &l), -ENOENT);
	assert_int_equal(store_lease_find(s, a, "10.0.0.0-16", "pod/1", "net1", &l), 0);
	h = free_in(s, "10.0.0.0-16", "", 1, 65534);
	assert_int_equal(put(s, "10.0.0.0-16", (uint32_t)h, "pod/new", ""), 0);
	assert_int_equal(store_lease_release(s, "pod/new", "net1", &e), 1);
	n = steps();
	commit(s);
	return n;
}

static void sixty_thousand_leases_cost_no_more_steps_than_one(void **state)
{
	struct store *s;
	int few, many;

	sqlite3_auto_extension((void (*)(void))see);
	s = open_store();
	sqlite3_cancel_auto_extension((void (*)(void))see);
	begin(s);
	put(s, "10.0.0.0-16", 1, "pod/1", "");
	commit(s);
	few = steps_of_one(s);
	begin(s);
	for (uint32_t h = 2; h <= 60000; h++) {
		char pod[32];

		snprintf(pod, sizeof(pod), "pod/%u", h);
		put(s, "10.0.0.0-16", h, pod, "");
	}
	commit(s);
	many = steps_of_one(s);
	assert_true(few > 0);
	assert_int_equal(many, few);
	store_close(s);
}

static void a_newer_format_is_refused_with_words(void **state)
{
	struct store *s = store_close(open_store());
	struct err e = { 0 };
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open_local(path, &s, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "written by a newer kvrail (its format is 99, this program knows 1)"));
	assert_null(s);
}

/* @keep bytes of the file remain; with @scribble its middle is overwritten. */
static void damage(off_t keep, bool scribble)
{
	struct store *s = open_store();
	struct err e = { 0 };
	struct stat st;
	int fd;

	begin(s);
	for (uint32_t h = 1; h < 2000; h++)
		put(s, "p", h, "a/a", "");
	commit(s);
	s = store_close(s);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	if (scribble) {
		char junk[8192];

		memset(junk, 0x5a, sizeof(junk));
		assert_int_equal(pwrite(fd, junk, sizeof(junk), st.st_size / 2), (ssize_t)sizeof(junk));
	} else {
		assert_int_equal(ftruncate(fd, keep < 0 ? st.st_size + keep : keep), 0);
	}
	close(fd);
	assert_int_equal(store_open_local(path, &s, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "is damaged"));
	assert_non_null(strstr(e.msg, "stop kvrail, move it"));
	unlink(path);
}

static void a_damaged_file_says_what_to_do(void **state)
{
	damage(0, false);
	damage(50, false);
	damage(5000, false);
	damage(-4096, false);
	damage(0, true);
}

static void a_foreign_database_is_refused(void **state)
{
	struct store *s = NULL;
	struct err e = { 0 };
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open_local(path, &s, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "it is no store of kvrail"));
}

static void the_log_of_a_lost_store_is_not_replayed(void **state)
{
	struct store *s;
	char wal[160];

	snprintf(wal, sizeof(wal), "%s-wal", path);
	assert_int_equal(file_write_atomic(AT_FDCWD, wal, "left behind", 11, 0600), 0);
	s = open_store();
	begin(s);
	assert_int_equal(free_in(s, "p", "", 1, 9), 1);
	commit(s);
	store_close(s);
}

/* In a namespace of its own with a small tmpfs. Returns the child's exit code: 77 is "not allowed here". */
static int on_a_small_disk(void)
{
	struct store *s;
	struct err e = { 0 };
	_cleanup_arena_ struct arena *a = arena_new();
	struct store_lease *l;
	size_t n = 0;
	int r = 0;

	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=512k") < 0)
		return 77;
	if (store_open_local(path, &s, &e) < 0)
		return 1;
	for (uint32_t h = 1; r == 0 && h < 100000; h++) {
		struct store_lease lease = { .pool = "p", .ip = v4(h), .container = "c", .ifname = "net1", .podref = "a/a",
					     .domain = "" };

		r = store_lease_begin(s, &e);
		if (r < 0)
			break;
		r = store_lease_put(s, &lease, &e);
		if (r < 0)
			store_lease_rollback(s);
		else
			r = store_lease_commit(s, &e);
		if (r == 0)
			n = h;
	}
	if (r != -ENOSPC || !strstr(e.msg, "no space left on its disk")) {
		fprintf(stderr, "# %d %s\n", r, e.msg);
		return 2;
	}
	s = store_close(s);
	/* what was answered is there, what failed is not */
	if (store_open_local(path, &s, &e) < 0) {
		fprintf(stderr, "# %s\n", e.msg);
		return 3;
	}
	size_t have = 0;
	if (store_leases(s, a, "p", &l, &have, &e) < 0 || have != n)
		return 4;
	store_close(s);
	return 0;
}

static void a_full_disk_fails_in_words_and_loses_nothing(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(on_a_small_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define RAILS 4

/* Pods of RAILS leases come and go; after each commit the pod's number (negative: gone) is told. */
static void write_for_ever(int tell, int generation)
{
	struct store *s = open_store();
	unsigned seed = (unsigned)generation;

	for (int i = 1;; i++) {
		char pod[32], ifname[8];
		int32_t word = generation * 100000 + i;
		struct err e = { 0 };

		snprintf(pod, sizeof(pod), "p/%d", word);
		begin(s);
		for (int k = 0; k < RAILS; k++) {
			struct store_lease l = { .pool = "p", .container = pod, .ifname = ifname, .podref = pod, .overlap = true,
						 .domain = "" };

			snprintf(ifname, sizeof(ifname), "net%d", k);
			if (store_lease_free_ip(s, "p", "", v4(1), v4(100000), &l.ip) < 0 || store_lease_put(s, &l, &e) < 0)
				_exit(1);
		}
		commit(s);
		if (write(tell, &word, sizeof(word)) < 0)
			_exit(1);
		if (rand_r(&seed) % 3 == 0) {
			/* told first: whether it still goes is open when the kill comes between */
			word = -word;
			if (write(tell, &word, sizeof(word)) < 0)
				_exit(1);
			begin(s);
			if (store_lease_release(s, pod, NULL, &e) != RAILS)
				_exit(1);
			commit(s);
		}
	}
}

static void assert_pods_are_whole(const bool *there, const bool *maybe, size_t pods)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store *s = open_store();
	int *count = arena_alloc(a, pods * sizeof(int));
	struct store_lease *l;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(store_leases(s, a, "p", &l, &n, &e), 0);
	for (size_t i = 0; i < n; i++) {
		int word = atoi(l[i].podref + 2);

		count[word % 100000 + word / 100000 * 2000]++;
		if (i)
			assert_true(store_ip_cmp(&l[i - 1].ip, &l[i].ip) < 0);
	}
	for (size_t i = 0; i < pods; i++) {
		assert_true(count[i] == 0 || count[i] == RAILS);
		if (there[i] && !maybe[i])
			assert_int_equal(count[i], RAILS);
	}
	store_close(s);
}

static void a_killed_writer_leaves_whole_transactions(void **state)
{
	enum { GENERATIONS = 12, PODS = (GENERATIONS + 1) * 2000 };
	static bool there[PODS], maybe[PODS];

	for (int g = 0; g < GENERATIONS; g++) {
		int tell[2], status;
		int32_t word;
		pid_t pid;

		assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0)
			write_for_ever(tell[1], g);
		close(tell[1]);
		usleep((useconds_t)(20000 + rand() % 60000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(tell[0], &word, sizeof(word)) == sizeof(word)) {
			size_t i = (size_t)(abs(word) % 100000 + abs(word) / 100000 * 2000);

			assert_true(i < PODS);
			there[i] = true;
			maybe[i] = word < 0;
		}
		close(tell[0]);
		assert_pods_are_whole(there, maybe, PODS);
		assert_runs_match_leases();
	}
}

static void *allocate_many(void *arg)
{
	struct store *s = arg;

	for (int i = 0; i < 50; i++) {
		char pod[64];
		long h;

		snprintf(pod, sizeof(pod), "t/%lx-%d", (unsigned long)pthread_self(), i);
		begin(s);
		h = free_in(s, "p", "", 1, 60000);
		assert_int_equal(put(s, "p", (uint32_t)h, pod, ""), 0);
		commit(s);
	}
	return NULL;
}

static void threads_never_get_the_same_address(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct store *s = open_store();
	struct store_lease *l;
	struct err e = { 0 };
	pthread_t t[4];
	size_t n;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, allocate_many, s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(store_leases(s, a, NULL, &l, &n, &e), 0);
	assert_int_equal(n, 200);
	assert_int_equal(host_of(l[199].ip), 200);
	store_close(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(objects_survive_reopening_and_their_version_grows),
		T(changes_are_applied_all_or_none),
		T(the_lowest_free_address_is_found),
		T(the_last_address_there_is_can_be_leased),
		T(a_lease_of_the_same_pod_is_refreshed),
		T(a_rolled_back_transaction_leaves_nothing),
		T(leases_change_only_inside_a_transaction),
		T(runs_follow_every_put_and_release),
		T(sixty_thousand_leases_cost_no_more_steps_than_one),
		T(a_newer_format_is_refused_with_words),
		T(a_damaged_file_says_what_to_do),
		T(a_foreign_database_is_refused),
		T(the_log_of_a_lost_store_is_not_replayed),
		T(a_full_disk_fails_in_words_and_loses_nothing),
		T(a_killed_writer_leaves_whole_transactions),
		T(threads_never_get_the_same_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
