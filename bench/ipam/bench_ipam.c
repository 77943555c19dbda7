/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool of 60,000 leases costs: allocations and releases in a /16 that holds them against the same in an
 * empty one. The two stores take turns, so that a busy machine slows both. On a disk each call ends in an fsync;
 * in memory (/dev/shm) what is left is the work.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "ipam/ipam.h"
#include "store/ip.h"

enum { LEASES = 60000, ROUNDS = 400, WARM = 20 };

static struct arena *arena;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "bench_ipam: %s: %s\n", what, e->msg);
	exit(1);
}

static struct store *open_store(const char *dir, const char *name)
{
	struct store *s;
	struct err e;

	if (store_open_local(arena_printf(arena, "%s/%s", dir, name), &s, &e) < 0)
		die(name, &e);
	return s;
}

static void fill(struct store *s, const struct ipam_conf *conf)
{
	struct store_lease l = { .pool = conf->ranges[0].pool, .ip = conf->ranges[0].first, .ifname = "net1", .overlap = true, .domain = "" };
	struct err e;

	if (store_lease_begin(s, &e) < 0)
		die("begin", &e);
	for (int i = 0; i < LEASES; i++, store_ip_next(&l.ip)) {
		/* as runtimes name containers: nothing in their order */
		char container[40], podref[40];

		snprintf(container, sizeof(container), "%016llx", (unsigned long long)i * 0x9e3779b97f4a7c15ull);
		snprintf(podref, sizeof(podref), "llm/decode-%d", i);
		l.container = container;
		l.podref = podref;
		if (store_lease_put(s, &l, &e) < 0)
			die("put", &e);
	}
	if (store_lease_commit(s, &e) < 0)
		die("commit", &e);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double median_us(uint64_t *ns)
{
	qsort(ns, ROUNDS, sizeof(*ns), by_value);
	return (double)ns[ROUNDS / 2] / 1000;
}

struct times {
	uint64_t allocate[ROUNDS], release[ROUNDS];
};

static void once(struct ipam *home, const struct ipam_conf *conf, int round, struct times *t)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *container = arena_printf(a, "c%d", round), *podref = arena_printf(a, "llm/bench-%d", round);
	struct ipam_ask ask = { conf, "net1", NULL };
	struct ipam_given *given;
	uint64_t begin = clock_ns(), middle;
	struct err e;

	if (ipam_allocate(home, a, container, podref, &ask, 1, &given, &e) < 0)
		die("allocate", &e);
	middle = clock_ns();
	if (ipam_release(home, container, &ask.ifname, 1, &e) < 0)
		die("release", &e);
	if (round < WARM)
		return;
	t->allocate[round - WARM] = middle - begin;
	t->release[round - WARM] = clock_ns() - middle;
}

/* As bench/run collects them. */
static void row(const char *where, const char *what, double reach, uint64_t *empty, uint64_t *full)
{
	double e = median_us(empty), f = median_us(full);

	printf("IPAM, %s, %d leases against none, store %s | %.2fx (%.0f / %.0f us) | ", what, LEASES, where, f / e, f, e);
	if (reach > 0)
		printf("<= %.1fx | %s\n", reach, f / e <= reach ? "reached" : "MISSED");
	else
		puts("- | -");
}

static void measure(const char *where, const char *parent, const struct ipam_conf *conf)
{
	static struct times empty, full;
	char *dir = arena_printf(arena, "%s/kvrail-bench-XXXXXX", parent);
	struct store *se, *sf;
	struct ipam *empty_home, *full_home;

	if (!mkdtemp(dir)) {
		printf("IPAM, store %s | - | <= 1.2x | skipped: %s cannot be written\n", where, parent);
		return;
	}
	se = open_store(dir, "empty.db");
	sf = open_store(dir, "full.db");
	fill(sf, conf);
	empty_home = ipam_local(se);
	full_home = ipam_local(sf);
	for (int i = 0; i < ROUNDS + WARM; i++) {
		once(empty_home, conf, i, &empty);
		once(full_home, conf, i, &full);
	}
	row(where, "allocate", 1.2, empty.allocate, full.allocate);
	row(where, "release", 0, empty.release, full.release);
	ipam_close(empty_home);
	ipam_close(full_home);
	store_close(se);
	store_close(sf);
	if (system(arena_printf(arena, "rm -rf %s", dir)))
		fprintf(stderr, "bench_ipam: %s is left behind\n", dir);
}

int main(void)
{
	static const char text[] = "{\"type\":\"whereabouts\",\"range\":\"10.0.0.0/16\"}";
	struct ipam_conf conf;
	yyjson_val *ipam;
	struct err e;

	arena = arena_new();
	if (doc_parse_json(arena, "ipam", text, strlen(text), sizeof(text), &ipam, &e) < 0 || ipam_conf_parse(arena, ipam, &conf, &e) < 0)
		die("configuration", &e);
	measure("on disk", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp", &conf);
	measure("in memory", "/dev/shm", &conf);
	arena_free(arena);
	return 0;
}
