/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "device/pairing.h"
#include "device/preferred.h"

const char *preferred_upstream(const struct sysroot *r, struct arena *a, const char *pci)
{
	const char *path;
	char *up, *slash;
	size_t bridges = 0;

	if (sysfs_realpath(r, a, &path, "bus/pci/devices/%s", pci) < 0)
		return NULL;
	up = arena_strdup(a, path);
	slash = strrchr(up, '/');
	if (!slash)
		return NULL;
	*slash = '\0'; /* the port that it is plugged into: root port, or downstream port of a switch */
	for (const char *p = strstr(up, "/pci"); p && (p = strchr(p + 1, '/'));)
		bridges++;
	/* root port, switch upstream port, switch downstream port: functions under one switch differ in the last */
	if (bridges >= 3 && (slash = strrchr(up, '/')))
		*slash = '\0';
	return up;
}

/* A port and what is free on it. */
struct port {
	const char *pci, *upstream;
	int numa;
	size_t free, taken;
};

struct choice {
	const struct preferred_device *d;
	size_t n;
	struct port *ports;
	size_t n_ports;
	size_t *port_of; /* by device */
};

enum { DISTANCE_SWITCH, DISTANCE_NUMA, DISTANCE_FAR };

static unsigned distance(const struct port *a, const struct port *b)
{
	if (a == b || (a->upstream && b->upstream && !strcmp(a->upstream, b->upstream)))
		return DISTANCE_SWITCH;
	return a->numa >= 0 && a->numa == b->numa ? DISTANCE_NUMA : DISTANCE_FAR;
}

/* Sum over the ports that were chosen from: of a set, smaller is nearer. */
static unsigned distance_to_taken(const struct choice *c, const struct port *p)
{
	unsigned sum = 0;

	for (size_t i = 0; i < c->n_ports; i++)
		if (c->ports[i].taken && &c->ports[i] != p)
			sum += distance(&c->ports[i], p);
	return sum;
}

static bool better(const struct choice *c, const struct port *x, const struct port *y)
{
	unsigned dx, dy;

	if (x->taken != y->taken)
		return x->taken < y->taken;
	dx = distance_to_taken(c, x);
	dy = distance_to_taken(c, y);
	if (dx != dy)
		return dx < dy;
	if (x->free != y->free)
		return x->free > y->free;
	return pairing_by_address(x->pci, y->pci) < 0;
}

/* The first free VF of the port, by index. */
static size_t first_free(const struct choice *c, const struct port *p, const bool *chosen)
{
	size_t best = c->n;

	for (size_t i = 0; i < c->n; i++)
		if (&c->ports[c->port_of[i]] == p && !chosen[i] && !c->d[i].avoid && (best == c->n || c->d[i].index < c->d[best].index))
			best = i;
	return best;
}

static void take(struct choice *c, size_t device, bool *chosen)
{
	struct port *p = &c->ports[c->port_of[device]];

	chosen[device] = true;
	p->taken++;
	p->free -= !c->d[device].avoid;
}

/* Fill @chosen up to @size, one port after the other; the first from @start when that is not NULL. */
static void fill(struct choice *c, size_t size, struct port *start, bool *chosen)
{
	size_t have = 0;

	for (size_t i = 0; i < c->n; i++)
		have += chosen[i];
	for (; have < size; have++) {
		struct port *best = start;

		for (size_t i = 0; !start && i < c->n_ports; i++)
			if (c->ports[i].free && (!best || better(c, &c->ports[i], best)))
				best = &c->ports[i];
		if (!best)
			return;
		take(c, first_free(c, best, chosen), chosen);
		start = NULL;
	}
}

/* How far the ports of a choice are from each other. */
static unsigned spread(const struct choice *c)
{
	unsigned sum = 0;

	for (size_t i = 0; i < c->n_ports; i++)
		if (c->ports[i].taken)
			sum += distance_to_taken(c, &c->ports[i]);
	return sum;
}

static void find_ports(struct choice *c, struct arena *a)
{
	c->port_of = arena_alloc(a, c->n * sizeof(*c->port_of));
	for (size_t i = 0; i < c->n; i++) {
		size_t p = 0;

		while (p < c->n_ports && strcmp(c->ports[p].pci, c->d[i].pf_pci))
			p++;
		if (p == c->n_ports)
			*(struct port *)arena_push(a, &c->ports, &c->n_ports, sizeof(struct port)) =
				(struct port){ .pci = c->d[i].pf_pci, .upstream = c->d[i].upstream, .numa = c->d[i].numa };
		c->port_of[i] = p;
		c->ports[p].free += !c->d[i].avoid;
	}
}

void preferred_choose(const struct preferred_device *d, size_t n, size_t size, bool *chosen)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct choice c = { .d = d, .n = n };
	struct port *before;
	bool *best = arena_alloc(a, n * sizeof(*best)), *one = arena_alloc(a, n * sizeof(*one));
	unsigned least = 0;
	size_t musts = 0, best_port = 0;
	bool found = false;

	memset(chosen, 0, n * sizeof(*chosen));
	find_ports(&c, a);
	for (size_t i = 0; i < n && musts < size; i++)
		if (d[i].must) {
			take(&c, i, chosen);
			musts++;
		}
	before = arena_memdup(a, c.ports, c.n_ports * sizeof(*c.ports));
	if (musts) {
		fill(&c, size, NULL, chosen);
		return;
	}
	for (size_t start = 0; size && start < c.n_ports; start++) {
		if (!before[start].free)
			continue;
		memcpy(c.ports, before, c.n_ports * sizeof(*c.ports));
		memset(one, 0, n * sizeof(*one));
		fill(&c, size, &c.ports[start], one);
		if (found && (spread(&c) > least ||
			      (spread(&c) == least && (before[start].free < before[best_port].free ||
						       (before[start].free == before[best_port].free &&
							pairing_by_address(before[start].pci, before[best_port].pci) > 0)))))
			continue;
		found = true;
		least = spread(&c);
		best_port = start;
		memcpy(best, one, n * sizeof(*one));
	}
	if (found)
		memcpy(chosen, best, n * sizeof(*chosen));
}
