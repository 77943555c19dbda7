/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "cmd/progress.h"

/* VFs of one port that went through the same step, not yet printed. */
struct group {
	const char *pci, *netdev, *what; /* what NULL: nothing is held back */
	unsigned n;
};

struct progress {
	struct arena *arena;
	uint64_t start;
	struct group *groups; /* one a port */
	size_t n;
};

struct progress *progress_new(struct arena *a)
{
	struct progress *p = arena_alloc(a, sizeof(*p));

	p->arena = a;
	p->start = clock_ns();
	return p;
}

double progress_seconds(const struct progress *p)
{
	return (double)(clock_ns() - p->start) / 1e9;
}

static void line(const struct progress *p, const char *netdev, const char *pci, bool ok, const char *text, const char *why)
{
	printf("%6.2f s  %-10s %-13s %s%s%s%s%s\n", progress_seconds(p), netdev ? netdev : "", pci ? pci : "",
	       ok ? "" : out_color(OUT_BAD), text, why ? ": " : "", why ? why : "", ok ? "" : out_color(OUT_PLAIN));
	fflush(stdout);
}

static void flush(const struct progress *p, struct group *g)
{
	if (g->what)
		line(p, g->netdev, g->pci, true, arena_printf(p->arena, "%u VF%s: %s", g->n, g->n == 1 ? "" : "s", g->what), NULL);
	g->what = NULL;
	g->n = 0;
}

static struct group *group_of(struct progress *p, const char *pci, const char *netdev)
{
	struct group *g;

	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->groups[i].pci, pci))
			return &p->groups[i];
	g = arena_push(p->arena, &p->groups, &p->n, sizeof(*g));
	g->pci = pci;
	g->netdev = netdev;
	return g;
}

/* "VF 3: set address 52:0e:..." is "set address" for every VF; NULL for a step of the port itself. */
static const char *vf_step(struct arena *a, const char *text)
{
	const char *what = !strncmp(text, "VF ", 3) && isdigit((unsigned char)text[3]) ? strstr(text, ": ") : NULL;

	if (!what)
		return NULL;
	what += 2;
	if (!strncmp(what, "set address ", 12))
		return "set their addresses through the PF";
	return arena_strndup(a, what, strcspn(what, "("));
}

void progress_step(struct progress *p, yyjson_val *step)
{
	const char *netdev = doc_str(step, "netdev"), *pci = doc_str(step, "pci"), *text = doc_str(step, "step"), *what;
	bool ok = doc_bool(step, "ok", false);
	struct group *g;

	if (!text)
		return;
	what = pci && ok ? vf_step(p->arena, text) : NULL;
	g = pci ? group_of(p, pci, netdev) : NULL;
	if (g && (!what || (g->what && strcmp(g->what, what))))
		flush(p, g);
	if (!what) {
		line(p, netdev, pci, ok, text, doc_str(step, "why"));
		return;
	}
	g->what = what;
	g->n++;
}

void progress_end(struct progress *p)
{
	for (size_t i = 0; i < p->n; i++)
		flush(p, &p->groups[i]);
}
