/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach/gone.h"

void gone_note(struct gone *g, const char *container, const char *ifname)
{
	char *name;

	if (asprintf(&name, "%s/%s", container, ifname) < 0)
		return; /* then it is undone again */
	free(g->names[g->next]);
	g->names[g->next] = name;
	g->next = (g->next + 1) % GONE_MAX;
}

/* Neither a container id nor an interface name has a "/". */
static bool is(const char *name, const char *container, const char *ifname)
{
	size_t n = strlen(container);

	return !strncmp(name, container, n) && name[n] == '/' && !strcmp(name + n + 1, ifname);
}

bool gone_has(const struct gone *g, const char *container, const char *ifname)
{
	for (size_t i = 0; i < GONE_MAX; i++)
		if (g->names[i] && is(g->names[i], container, ifname))
			return true;
	return false;
}

void gone_clear(struct gone *g)
{
	for (size_t i = 0; i < GONE_MAX; i++)
		free(g->names[i]);
	memset(g, 0, sizeof(*g));
}
