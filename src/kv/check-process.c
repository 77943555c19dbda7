/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and environment of the programs that run in this network namespace: those of the pod. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "kv/check.h"

#define ENVIRON_MAX (4u << 20)
#define STATUS_MAX 65536
#define MEMLOCK_ENOUGH (UINT64_C(512) << 20) /* an engine pins its whole cache; less is a default that nobody thought about */
#define CAP_IPC_LOCK_BIT 14

struct process {
	const char *pid, *name;
	int dir; /* /proc/PID */
};

static bool same_netns(int dir)
{
	struct stat own, other;

	return stat("/proc/self/ns/net", &own) == 0 && fstatat(dir, "ns/net", &other, 0) == 0 && own.st_ino == other.st_ino &&
	       own.st_dev == other.st_dev;
}

/* The value behind "KEY" at the beginning of a line of @text, or NULL. */
static const char *line_value(struct arena *a, const char *text, const char *key)
{
	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, strlen(key))) {
			p += strlen(key);
			p += strspn(p, " \t");
			return arena_strndup(a, p, strcspn(p, "\n"));
		}
	}
	return NULL;
}

/* Bytes that the process may lock: UINT64_MAX without limit, also when it has the capability. */
static uint64_t memlock_of(struct check *c, const struct process *p)
{
	_cleanup_free_ char *status = NULL, *limits = NULL;
	const char *caps, *limit;
	uint64_t v = 0;

	if (file_read(p->dir, "status", STATUS_MAX, &status, NULL) == 0) {
		caps = line_value(c->arena, status, "CapEff:");
		if (caps && parse_u64(caps, 16, 0, UINT64_MAX, &v) == 0 && v >> CAP_IPC_LOCK_BIT & 1)
			return UINT64_MAX;
	}
	if (file_read(p->dir, "limits", STATUS_MAX, &limits, NULL) < 0)
		return 0;
	limit = line_value(c->arena, limits, "Max locked memory");
	if (!limit)
		return 0;
	limit = arena_strndup(c->arena, limit, strcspn(limit, " "));
	if (!strcmp(limit, "unlimited"))
		return UINT64_MAX;
	return parse_u64(limit, 10, 0, UINT64_MAX, &v) == 0 ? v : 0;
}

struct memlock {
	uint64_t best;
	const char *who;
};

/* The engine is one of them, and all containers of a pod start with the same limit: the best one counts. */
static void fold_memlock(struct check *c, const struct process *p, struct memlock *m)
{
	uint64_t v = memlock_of(c, p);

	if (m->who && v <= m->best)
		return;
	m->best = v;
	m->who = arena_printf(c->arena, "%s (process %s)", p->name, p->pid);
}

static void report_memlock(struct check *c, const struct memlock *m)
{
	const char *expected = "512 MiB or more, or an effective CAP_IPC_LOCK";

	if (m->best == UINT64_MAX)
		check_add(c, CHECK_HERE, CHECK_GOOD, NULL, "locked memory", expected, NULL, "no limit for %s", m->who);
	else if (m->best >= MEMLOCK_ENOUGH)
		check_add(c, CHECK_HERE, CHECK_GOOD, NULL, "locked memory", expected, NULL, "%lu MiB for %s", (unsigned long)(m->best >> 20), m->who);
	else
		check_add(c, CHECK_HERE, CHECK_BAD, NULL, "locked memory", expected,
			  "raise LimitMEMLOCK of the container runtime; a capability added to a container that is not root stays without effect",
			  "%lu KiB for %s", (unsigned long)(m->best >> 10), m->who);
}

static const char *const index_names[] = { "UCX_IB_GID_INDEX", "NCCL_IB_GID_INDEX", "NVSHMEM_IB_GID_INDEX", NULL };

/* "net1 has 1, net2 has 3" when @index is wrong for one of the rails, else NULL. */
static const char *index_is_wrong(struct check *c, int64_t index)
{
	const char *text = NULL;
	bool wrong = false;

	for (size_t i = 0; i < c->n_rails; i++) {
		const struct check_rail *r = &c->rails[i];

		if (r->gid_index < 0)
			continue;
		wrong = wrong || r->gid_index != index;
		text = arena_printf(c->arena, "%s%s%s has %d", text ? text : "", text ? ", " : "", r->ifname, r->gid_index);
	}
	return wrong ? text : NULL;
}

/* @line is "NAME=VALUE" of the process's environment. Returns whether it was found wrong. */
static bool check_variable(struct check *c, const struct process *p, const char *line)
{
	const char *value = strchr(line, '='), *name = NULL, *measured;
	int64_t index;

	for (const char *const *n = index_names; value && *n && !name; n++)
		if (strlen(*n) == (size_t)(value - line) && !strncmp(line, *n, strlen(*n)))
			name = *n;
	if (!name)
		return false;
	value++;
	if (!*value || !strcmp(value, "auto") || !strcmp(value, "-1"))
		return false;
	if (parse_i64(value, 10, 0, INT32_MAX, &index) < 0)
		index = -1;
	measured = index_is_wrong(c, index);
	if (!measured)
		return false;
	check_add(c, CHECK_HERE, CHECK_BAD, NULL, name, measured,
		  "take it out of the pod's manifest: the library finds the entry itself (kvrail env tells what to set)", "%.40s in %s (process %s)",
		  value, p->name, p->pid);
	return true;
}

/* How many wrong variables the process has. */
static size_t check_environment(struct check *c, const struct process *p)
{
	_cleanup_free_ char *environment = NULL;
	size_t len, bad = 0;

	if (file_read(p->dir, "environ", ENVIRON_MAX, &environment, &len) < 0)
		return 0;
	for (const char *line = environment; line < environment + len; line += strlen(line) + 1)
		bad += check_variable(c, p, line);
	return bad;
}

/* Programs of the pod: in this namespace, and neither this one nor the sandbox that only holds the namespace. */
static bool open_process(struct check *c, const char *pid, struct process *ret)
{
	_cleanup_close_ int dir = open(arena_printf(c->arena, "/proc/%s", pid), O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *name = NULL;
	uint64_t number;

	if (dir < 0 || parse_u64(pid, 10, 1, INT32_MAX, &number) < 0 || (pid_t)number == getpid() || !same_netns(dir) ||
	    file_read(dir, "comm", 4096, &name, NULL) < 0)
		return false;
	name[strcspn(name, "\n")] = '\0';
	if (!strcmp(name, "pause") || !strcmp(name, "kvrail-kv"))
		return false;
	*ret = (struct process){ .pid = arena_strdup(c->arena, pid), .name = arena_strdup(c->arena, name), .dir = TAKE_FD(dir) };
	return true;
}

void check_processes(struct check *c)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct memlock memlock = { 0 };
	size_t n = 0, bad = 0;
	struct dirent *d;

	while (proc && (d = readdir(proc))) {
		struct process p;

		if (!open_process(c, d->d_name, &p))
			continue;
		n++;
		fold_memlock(c, &p, &memlock);
		bad += check_environment(c, &p);
		close(p.dir);
	}
	if (n == 0) {
		check_add(c, CHECK_HERE, CHECK_NOTE, NULL, "pod's programs", "limits and environment to look at", NULL,
			  "none runs in this namespace, or they cannot be looked at without root");
		return;
	}
	report_memlock(c, &memlock);
	if (bad == 0)
		check_add(c, CHECK_HERE, CHECK_GOOD, NULL, "GID index in environment", "none that is wrong", NULL, "none in %zu program%s", n,
			  n == 1 ? "" : "s");
}
