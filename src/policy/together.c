/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules between policies, and between a policy and the nodes it is for, in the admission webhook's words.
 * Unlike it, every pair of names is looked at, and a policy for a whole port overlaps with one for a part of it.
 */
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "policy/merge.h"
#include "policy/select.h"

#define VENDOR_INTEL "8086"
#define VENDOR_MELLANOX "15b3"
#define MELLANOX_VFS_MAX 128 /* the webhook's; what a port has is in totalvfs */

static const char *name_of(const struct api_policy *p)
{
	return p->object.meta->name;
}

static const char *at(struct complaints *c, const struct api_policy *p, const char *field)
{
	return arena_printf(c->arena, "%s: %s", name_of(p), field);
}

/* Does a node with all labels that @b asks for have all that @a asks for? */
static bool implied(const struct api_policy_spec *a, const struct api_policy_spec *b)
{
	for (size_t i = 0; i < a->n_node_selector; i++) {
		const char *value = pairs_get(b->node_selector, b->n_node_selector, a->node_selector[i].key);

		if (!value || strcmp(value, a->node_selector[i].value))
			return false;
	}
	return true;
}

/* Can no node have the labels of both? */
static bool apart(const struct api_policy_spec *a, const struct api_policy_spec *b)
{
	for (size_t i = 0; i < a->n_node_selector; i++) {
		const char *value = pairs_get(b->node_selector, b->n_node_selector, a->node_selector[i].key);

		if (value && strcmp(value, a->node_selector[i].value))
			return true;
	}
	return false;
}

/* The port's own name where @name is another one of it on the node of @state (NULL: no node is known). */
static const char *own_name(const struct api_nodestate *state, const char *name)
{
	const struct api_nodestate_status *s = state ? state->status : NULL;

	for (size_t i = 0; s && i < s->n_interfaces; i++)
		if (s->interfaces[i].name && strcmp(s->interfaces[i].name, name) && select_alt_name(&s->interfaces[i], name))
			return s->interfaces[i].name;
	return name;
}

/* Where and how strictly two policies are compared. */
struct rules {
	const struct api_nodestate *state; /* NULL: no node is known */
	bool maybe;			   /* nobody knows whether there is a node of both: warnings only */
	bool part_of_whole;		   /* a part of a port beside the whole of it: a warning, as the webhook lets it through */
};

/* Name and VFs of one pfNames entry; a name alone means all of the policy's VFs (*whole). False when it cannot be read. */
static bool vfs_of(struct complaints *c, const struct api_policy *p, const struct api_nodestate *state, const char *text,
		   const char **name, int64_t *from, int64_t *to, bool *whole)
{
	if (api_pf_name(c->arena, text, name, from, to, NULL) < 0)
		return false;
	*name = own_name(state, *name);
	*whole = *from < 0;
	if (*whole) {
		*from = 0;
		*to = p->spec->num_vfs > 0 ? p->spec->num_vfs - 1 : 0;
	}
	return true;
}

static void check_ports(const struct api_policy *new, const struct api_policy *old,
			const struct rules *rules, struct complaints *c)
{
	const struct api_nic_selector *ns = new->spec->nic_selector, *os = old->spec->nic_selector;

	for (size_t i = 0; i < ns->n_pf_names; i++) {
		for (size_t k = 0; k < os->n_pf_names; k++) {
			const char *n_name, *o_name;
			int64_t n_from, n_to, o_from, o_to;
			bool n_whole, o_whole;
			const char *path =
				at(c, new,
				   arena_printf(c->arena, "spec.nicSelector.pfNames[%zu]", i));

			if (!vfs_of(c, new, rules->state, ns->pf_names[i], &n_name, &n_from, &n_to, &n_whole) ||
			    !vfs_of(c, old, rules->state, os->pf_names[k], &o_name, &o_from, &o_to, &o_whole) ||
			    strcmp(n_name, o_name))
				continue;
			if (new->spec->externally_managed != old->spec->externally_managed)
				complain(c, rules->maybe, at(c, new, "spec.externallyManaged"),
					 "externallyManage is inconsistent with existing policy %s",
					 name_of(old));
			else if (n_from <= o_to && o_from <= n_to)
				complain(c, rules->maybe || (rules->part_of_whole && n_whole != o_whole), path,
					 "VF index range in %s is overlapped with existing policy %s",
					 ns->pf_names[i], name_of(old));
		}
	}
	for (size_t i = 0; i < ns->n_root_devices; i++)
		for (size_t k = 0; k < os->n_root_devices; k++)
			if (!strcmp(ns->root_devices[i], os->root_devices[k]))
				complain(c, rules->maybe,
					 at(c, new,
					    arena_printf(c->arena,
							 "spec.nicSelector.rootDevices[%zu]", i)),
					 "root device %s is overlapped with existing policy %s",
					 ns->root_devices[i], name_of(old));
}

static void check_topology(const struct api_policy *new, const struct api_policy *old, bool maybe,
			   struct complaints *c)
{
	const struct api_policy_spec *n = new->spec, *o = old->spec;

	if (!n->resource_name || !o->resource_name || strcmp(n->resource_name, o->resource_name) ||
	    n->exclude_topology == o->exclude_topology)
		return;
	complain(c, maybe, at(c, new, "spec.excludeTopology"),
		 "excludeTopology[%s] field conflicts with policy [%s].ExcludeTopology[%s] as they target the same resource[%s]",
		 n->exclude_topology ? "true" : "false", name_of(old),
		 o->exclude_topology ? "true" : "false", n->resource_name);
}

static bool is_ignored(const struct api_policy *p)
{
	return !strcmp(name_of(p), "default");
}

static void check_pair(const struct api_policy *new, const struct api_policy *old,
		       const struct rules *rules, struct complaints *c)
{
	if (new->spec->nic_selector && old->spec->nic_selector)
		check_ports(new, old, rules, c);
	check_topology(new, old, rules->maybe, c);
}

void validate_together(const struct api_policy **policies, size_t n, struct complaints *c)
{
	for (size_t i = 1; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			const struct api_policy *new = policies[i], *old = policies[k];
			/* a node that both are for is certain only when one asks for no label that the other does not */
			const struct rules rules = { .maybe = !implied(new->spec, old->spec) && !implied(old->spec, new->spec) };

			if (!is_ignored(new) && !is_ignored(old) && !apart(new->spec, old->spec))
				check_pair(new, old, &rules, c);
		}
	}
}

static void check_external(const struct api_policy *p, const struct api_interface_status *pf,
			   struct complaints *c)
{
	const struct api_policy_spec *s = p->spec;

	if (s->num_vfs > pf->num_vfs)
		complain(c, false, at(c, p, "spec.numVfs"),
			 "numVfs(%lld) in CR %s is higher than the virtual functions allocated for the PF externally value(%lld)",
			 (long long)s->num_vfs, name_of(p), (long long)pf->num_vfs);
	if (s->mtu > pf->mtu)
		complain(c, false, at(c, p, "spec.mtu"),
			 "MTU(%lld) in CR %s is higher than the MTU for the PF externally value(%lld)",
			 (long long)s->mtu, name_of(p), (long long)pf->mtu);
	if (is_given(s->link_type) && strcasecmp(s->link_type, pf->link_type ? pf->link_type : ""))
		complain(c, false, at(c, p, "spec.linkType"),
			 "LinkType(%s) in CR %s is not equal to the LinkType for the PF externally value(%s)",
			 s->link_type, name_of(p), pf->link_type ? pf->link_type : "");
}

static void check_port(const struct api_policy *p, const struct api_interface_status *pf,
		       struct complaints *c)
{
	const struct api_policy_spec *s = p->spec;
	const char *vendor = pf->vendor ? pf->vendor : "";
	int64_t max = pf->total_vfs;

	/* the webhook looks at totalvfs of Intel's ports only, and not at all at those of others */
	if (!strcmp(vendor, VENDOR_MELLANOX))
		max = MELLANOX_VFS_MAX;
	if (s->num_vfs == 0)
		complain(c, false, at(c, p, "spec.numVfs"), "numVfs(0) in CR %s is not allowed", name_of(p));
	/* firmware of Mellanox' ports is set to what is asked for: totalvfs may be smaller today */
	if (max > 0 && s->num_vfs > max)
		complain(c, false, at(c, p, "spec.numVfs"),
			 "numVfs(%lld) in CR %s exceed the maximum allowed value(%lld) interface(%s)",
			 (long long)s->num_vfs, name_of(p), (long long)max, pf->name ? pf->name : "");
	if (s->externally_managed)
		check_external(p, pf, c);
	if (is_given(s->vdpa_type) && strcmp(vendor, VENDOR_MELLANOX))
		complain(c, false, at(c, p, "spec.vdpaType"),
			 "vendor(%s) in CR %s not supported for vdpa interface(%s)", vendor,
			 name_of(p), pf->name ? pf->name : "");
}

static const struct api_nodestate *state_of(const struct api_node *node,
					    const struct api_nodestate **states, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(states[i]->object.meta->name, node->object.meta->name))
			return states[i];
	return NULL;
}

static bool is_for(const struct api_policy *p, const struct api_node *node)
{
	const struct api_meta *meta = node->object.meta;

	for (size_t i = 0; i < p->spec->n_node_selector; i++) {
		const char *value = pairs_get(meta->labels, meta->n_labels, p->spec->node_selector[i].key);

		if (!value || strcmp(value, p->spec->node_selector[i].value))
			return false;
	}
	return true;
}

/* @later: nodes and ports may come yet, and that there are none is a warning. */
static void check_on_nodes(const struct api_policy *p, const struct api_node **nodes, size_t n_nodes,
			   const struct api_nodestate **states, size_t n_states, bool later, struct complaints *c)
{
	size_t matched = 0, ports = 0;

	for (size_t i = 0; i < n_nodes; i++) {
		const struct api_nodestate *state = state_of(nodes[i], states, n_states);

		if (!is_for(p, nodes[i]))
			continue;
		matched++;
		if (!state || !state->status)
			continue;
		for (size_t k = 0; k < state->status->n_interfaces; k++) {
			if (!merge_selects(c->arena, p->spec->nic_selector,
					   &state->status->interfaces[k], NULL))
				continue;
			ports++;
			check_port(p, &state->status->interfaces[k], c);
		}
	}
	if (matched == 0)
		complain(c, later, at(c, p, "spec.nodeSelector"),
			 "no matched node is selected by the nodeSelector in CR %s", name_of(p));
	else if (n_states && ports == 0) /* without any state nobody can tell */
		complain(c, later, at(c, p, "spec.nicSelector"),
			 "no supported NIC is selected by the nicSelector in CR %s", name_of(p));
}

/* Once for each pair, on the first node of both where there is something to say. */
static void check_pair_on_nodes(const struct api_policy *new, const struct api_policy *old, const struct api_node **nodes,
				size_t n_nodes, const struct api_nodestate **states, size_t n_states, bool part_of_whole,
				struct complaints *c)
{
	size_t before = c->n;

	for (size_t i = 0; i < n_nodes && c->n == before; i++) {
		const struct rules rules = { .state = state_of(nodes[i], states, n_states), .part_of_whole = part_of_whole };

		if (is_for(new, nodes[i]) && is_for(old, nodes[i]))
			check_pair(new, old, &rules, c);
	}
}

void validate_on_nodes(const struct api_policy **policies, size_t n, const struct api_node **nodes,
		       size_t n_nodes, const struct api_nodestate **states, size_t n_states,
		       struct complaints *c)
{
	for (size_t i = 0; i < n; i++) {
		if (is_ignored(policies[i]))
			continue;
		check_on_nodes(policies[i], nodes, n_nodes, states, n_states, false, c);
		for (size_t k = 0; k < i; k++)
			if (!is_ignored(policies[k]))
				check_pair_on_nodes(policies[i], policies[k], nodes, n_nodes, states, n_states, false, c);
	}
}

void validate_among(const struct api_policy *p, const struct api_policy **others, size_t n, const struct api_node **nodes,
		    size_t n_nodes, const struct api_nodestate **states, size_t n_states, struct complaints *c)
{
	if (is_ignored(p))
		return;
	check_on_nodes(p, nodes, n_nodes, states, n_states, true, c);
	for (size_t i = 0; i < n; i++)
		if (!is_ignored(others[i]) && strcmp(name_of(others[i]), name_of(p)))
			check_pair_on_nodes(p, others[i], nodes, n_nodes, states, n_states, true, c);
}
