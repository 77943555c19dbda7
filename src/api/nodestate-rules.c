/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "api/fields.h"
#include "api/nodestate.h"

static void check_group(const struct api_interface *i, const struct api_vf_group *g,
			const char *path, struct complaints *c)
{
	long long first, last;
	int end = 0;

	if (!g->vf_range)
		complain(c, false, arena_printf(c->arena, "%s.vfRange", path),
			 "is missing: which VFs are these? \"0-7\"");
	else if (sscanf(g->vf_range, "%9lld-%9lld%n", &first, &last, &end) != 2 ||
		 g->vf_range[end] || first < 0)
		complain(c, false, arena_printf(c->arena, "%s.vfRange", path),
			 "\"%.40s\" is no range of VFs such as \"0-7\"", g->vf_range);
	else if (last < first || last >= i->num_vfs)
		complain(c, false, arena_printf(c->arena, "%s.vfRange", path),
			 "\"%s\" is outside the %lld VFs of the port", g->vf_range,
			 (long long)i->num_vfs);
}

void api_nodestate_validate(const void *object, struct complaints *c)
{
	const struct api_nodestate *n = object;

	if (!n->spec)
		return;
	for (size_t i = 0; i < n->spec->n_interfaces; i++) {
		const struct api_interface *port = &n->spec->interfaces[i];

		for (size_t j = 0; j < port->n_vf_groups; j++)
			check_group(port, &port->vf_groups[j],
				    arena_printf(c->arena, "spec.interfaces[%zu].vfGroups[%zu]", i, j), c);
	}
}
