/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies into a node's desired state. The strongest policy is applied last: on a port it replaces what weaker
 * ones asked for, except VF groups of other resources whose ranges it leaves alone.
 */
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "policy/merge.h"
#include "policy/select.h"

#define PRIORITY_WEAKEST 99
#define POLICY_IGNORED "default" /* the operator's former catch-all policy, kept in old clusters */

static bool streq(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

static int64_t priority(const struct api_policy *p)
{
	return p->spec->priority ? *p->spec->priority : PRIORITY_WEAKEST;
}

static int weakest_first(const void *x, const void *y)
{
	const struct api_policy *a = *(const struct api_policy *const *)x,
				*b = *(const struct api_policy *const *)y;

	if (priority(a) != priority(b))
		return priority(a) > priority(b) ? -1 : 1;
	return strcmp(a->object.meta->name, b->object.meta->name);
}

/* The VFs of this port that the policy means: those of its pfNames entry, all where that has no '#'. */
static int vf_range(struct arena *a, const struct api_policy *p,
		    const struct api_interface_status *pf, int64_t *from, int64_t *to, struct err *e)
{
	const struct api_nic_selector *s = p->spec->nic_selector;

	*from = 0;
	*to = p->spec->num_vfs - 1;
	/* the name itself goes before alternative names */
	for (int alt = 0; alt < 2; alt++) {
		for (size_t i = 0; i < s->n_pf_names; i++) {
			const char *name;
			int64_t first, last;
			int r = api_pf_name(a, s->pf_names[i], &name, &first, &last, e);

			if (r < 0)
				return r;
			if (alt ? !select_alt_name(pf, name) : !streq(name, pf->name))
				continue;
			if (first >= 0) {
				*from = first;
				*to = last;
			}
			return 0;
		}
	}
	return 0;
}

/* InfiniBand VFs are nothing without RDMA (the operator's webhook sets it so). */
static bool is_rdma(const struct api_policy_spec *s)
{
	return s->is_rdma || (s->link_type && !strcasecmp(s->link_type, "ib") &&
			      !(s->device_type && !strcasecmp(s->device_type, "vfio-pci")));
}

static int make_entry(struct arena *a, const struct api_policy *p, const struct api_interface_status *pf,
		      struct api_interface *ret, struct err *e)
{
	const struct api_policy_spec *s = p->spec;
	struct api_vf_group *group;
	int64_t from, to;
	int r = vf_range(a, p, pf, &from, &to, e);

	if (r < 0)
		return err_wrap(e, r, "policy %s", p->object.meta->name);
	*ret = (struct api_interface){
		.pci_address = pf->pci_address,
		.name = pf->name,
		.link_type = s->link_type,
		.eswitch_mode = s->eswitch_mode,
		.num_vfs = s->num_vfs,
		.mtu = s->mtu,
		.externally_managed = s->externally_managed,
	};
	group = arena_push(a, &ret->vf_groups, &ret->n_vf_groups, sizeof(*group));
	*group = (struct api_vf_group){
		.resource_name = s->resource_name,
		.device_type = s->device_type ? s->device_type : "netdevice",
		.vf_range = arena_printf(a, "%lld-%lld", (long long)from, (long long)to),
		.policy_name = p->object.meta->name,
		.vdpa_type = s->vdpa_type,
		.mtu = s->mtu,
		.is_rdma = is_rdma(s),
	};
	return 0;
}

static bool overlaps(const char *x, const char *y)
{
	long long x0, x1, y0, y1;

	if (sscanf(x, "%lld-%lld", &x0, &x1) != 2 || sscanf(y, "%lld-%lld", &y0, &y1) != 2)
		return false;
	return x0 <= y1 && y0 <= x1;
}

/* @entry is the stronger: what stays of @old comes behind its own group. */
static void merge_entry(struct arena *a, struct api_interface *entry,
			const struct api_interface *old, bool equal_priority)
{
	bool kept = false;

	for (size_t i = 0; i < old->n_vf_groups; i++) {
		const struct api_vf_group *group = &old->vf_groups[i], *own = &entry->vf_groups[0];
		struct api_vf_group *slot;

		if (streq(group->resource_name, own->resource_name) ||
		    overlaps(group->vf_range, own->vf_range))
			continue;
		slot = arena_push(a, &entry->vf_groups, &entry->n_vf_groups, sizeof(*slot));
		*slot = *group;
		kept = true;
	}
	if (!kept && !equal_priority)
		return;
	if (entry->mtu < old->mtu)
		entry->mtu = old->mtu;
	if (entry->num_vfs < old->num_vfs)
		entry->num_vfs = old->num_vfs;
}

static void add_entry(struct arena *a, struct api_nodestate_spec *spec, struct api_interface *entry,
		      bool equal_priority)
{
	struct api_interface *slot;

	for (size_t i = 0; i < spec->n_interfaces; i++) {
		if (!streq(spec->interfaces[i].pci_address, entry->pci_address))
			continue;
		merge_entry(a, entry, &spec->interfaces[i], equal_priority);
		spec->interfaces[i] = *entry;
		return;
	}
	slot = arena_push(a, &spec->interfaces, &spec->n_interfaces, sizeof(*slot));
	*slot = *entry;
}

/* "br-0000_00_03.0": one bridge a port, named after its address. */
static const char *bridge_name(struct arena *a, const char *pci)
{
	char *name = arena_printf(a, "br-%s", pci);

	for (char *c = name; *c; c++)
		if (*c == ':')
			*c = '_';
	return name;
}

static void remove_bridge(struct api_bridges *b, const char *pci)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_ovs; i++) {
		bool hit = false;

		for (size_t k = 0; k < b->ovs[i].n_uplinks; k++)
			hit |= streq(b->ovs[i].uplinks[k].pci_address, pci);
		if (!hit)
			b->ovs[n++] = b->ovs[i];
	}
	b->n_ovs = n;
}

static void set_bridge(struct arena *a, struct api_bridges *b, const struct api_ovs_bridge_state *bridge)
{
	size_t i = 0;

	while (i < b->n_ovs && strcmp(b->ovs[i].name, bridge->name) < 0)
		i++;
	if (i == b->n_ovs || strcmp(b->ovs[i].name, bridge->name)) {
		arena_push(a, &b->ovs, &b->n_ovs, sizeof(*b->ovs));
		memmove(&b->ovs[i + 1], &b->ovs[i], (b->n_ovs - 1 - i) * sizeof(*b->ovs));
	}
	b->ovs[i] = *bridge;
}

static void make_bridge(struct arena *a, const struct api_policy_spec *s,
			const struct api_interface_status *pf, struct api_ovs_bridge_state *ret)
{
	const struct api_ovs *ovs = s->bridge->ovs;
	struct api_ovs_uplink_state *uplink;

	*ret = (struct api_ovs_bridge_state){ .name = bridge_name(a, pf->pci_address) };
	ret->bridge = ovs->bridge ? ovs->bridge : arena_alloc(a, sizeof(*ret->bridge));
	uplink = arena_push(a, &ret->uplinks, &ret->n_uplinks, sizeof(*uplink));
	uplink->pci_address = pf->pci_address;
	uplink->name = pf->name;
	uplink->interface = arena_alloc(a, sizeof(*uplink->interface));
	if (ovs->uplink && ovs->uplink->interface)
		*uplink->interface = *ovs->uplink->interface;
	if (s->mtu > 0)
		uplink->interface->mtu_request = arena_memdup(a, &s->mtu, sizeof(s->mtu));
}

static int check_bridge(const struct api_policy *p, struct err *e)
{
	const struct api_policy_spec *s = p->spec;
	const char *name = p->object.meta->name;

	if (!s->bridge || !s->bridge->ovs)
		return 0;
	if (!streq(s->eswitch_mode, "switchdev"))
		return err_set(e, -EINVAL,
			       "policy %s: eSwitchMode must be switchdev to use software bridge management",
			       name);
	if (s->link_type && *s->link_type && strcasecmp(s->link_type, "eth"))
		return err_set(e, -EINVAL,
			       "policy %s: linkType must be eth or ETH to use software bridge management",
			       name);
	if (s->externally_managed)
		return err_set(e, -EINVAL,
			       "policy %s: software bridge management can't be used when link is externally managed",
			       name);
	return 0;
}

static int apply_policy(struct arena *a, const struct api_policy *p,
			const struct api_nodestate_status *status, bool equal_priority,
			struct api_nodestate_spec *spec, size_t *ports, struct err *e)
{
	int r = check_bridge(p, e);

	for (size_t i = 0; r == 0 && status && i < status->n_interfaces; i++) {
		const struct api_interface_status *pf = &status->interfaces[i];
		struct api_ovs_bridge_state bridge;
		struct api_interface entry;

		if (!merge_selects(a, p->spec->nic_selector, pf, NULL))
			continue;
		++*ports;
		if (p->spec->num_vfs > 0) {
			r = make_entry(a, p, pf, &entry, e);
			if (r < 0)
				return r;
			add_entry(a, spec, &entry, equal_priority);
		}
		if (p->spec->bridge && p->spec->bridge->ovs) {
			make_bridge(a, p->spec, pf, &bridge);
			set_bridge(a, spec->bridges, &bridge);
		} else {
			remove_bridge(spec->bridges, pf->pci_address);
		}
	}
	return r;
}

static bool selects_node(struct arena *a, const struct api_policy *p, const struct pair *labels,
			 size_t n_labels, const char **why)
{
	for (size_t i = 0; i < p->spec->n_node_selector; i++) {
		const struct pair *want = &p->spec->node_selector[i];
		const char *have = pairs_get(labels, n_labels, want->key);

		if (have && !strcmp(have, want->value))
			continue;
		*why = arena_printf(a, "is for other nodes: nodeSelector %s=%s, and this node's label is %s", want->key, want->value,
				    have ? have : "not set");
		return false;
	}
	return true;
}

static size_t groups_of(const struct api_nodestate_spec *spec, const char *policy)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_interfaces; i++)
		for (size_t k = 0; k < spec->interfaces[i].n_vf_groups; k++)
			n += streq(spec->interfaces[i].vf_groups[k].policy_name, policy);
	return n;
}

static const char *outcome(struct arena *a, const struct api_policy *p, size_t ports,
			   const struct api_nodestate_spec *spec,
			   const struct api_nodestate_status *status)
{
	size_t have = groups_of(spec, p->object.meta->name);

	if (ports == 0)
		return select_counts(a, p->spec->nic_selector, status);
	if (p->spec->num_vfs <= 0)
		return arena_printf(a, "selects %zu port%s and asks for no VFs (numVfs %lld)",
				    ports, ports == 1 ? "" : "s", (long long)p->spec->num_vfs);
	if (have == 0)
		return arena_printf(a,
				    "selects %zu port%s, all of which stronger policies take whole",
				    ports, ports == 1 ? "" : "s");
	if (have < ports)
		return arena_printf(a, "selects %zu ports; stronger policies take %zu of them",
				    ports, ports - have);
	return arena_printf(a, "selects %zu port%s", ports, ports == 1 ? "" : "s");
}

static struct merge_note *note_of(struct merge_note *notes, size_t n, const struct api_policy *p)
{
	for (size_t i = 0; i < n; i++)
		if (notes[i].policy == p)
			return &notes[i];
	return NULL;
}

int merge_policies(struct arena *a, const struct api_policy **policies, size_t n_policies,
		   const struct pair *labels, size_t n_labels, bool all_nodes,
		   const struct api_nodestate_status *status, const char *rdma_mode,
		   struct merge_result *ret, struct err *e)
{
	const struct api_policy **order = arena_memdup(a, policies, n_policies * sizeof(*policies));
	struct merge_note *notes = arena_alloc(a, n_policies * sizeof(*notes));
	struct api_nodestate_spec *spec = arena_alloc(a, sizeof(*spec));
	int64_t previous = PRIORITY_WEAKEST + 1;

	/* both are there even when empty, as the operator writes them */
	spec->bridges = arena_alloc(a, sizeof(*spec->bridges));
	spec->system = arena_alloc(a, sizeof(*spec->system));
	spec->system->rdma_mode = rdma_mode;
	for (size_t i = 0; i < n_policies; i++)
		notes[i].policy = policies[i];
	if (n_policies)
		qsort(order, n_policies, sizeof(*order), weakest_first);
	for (size_t i = 0; i < n_policies; i++) {
		struct merge_note *note = note_of(notes, n_policies, order[i]);
		int r;

		if (!strcmp(order[i]->object.meta->name, POLICY_IGNORED)) {
			note->text = "is ignored because of its name, \"default\"";
			continue;
		}
		note->node_selected = all_nodes || selects_node(a, order[i], labels, n_labels, &note->text);
		if (!note->node_selected)
			continue;
		r = apply_policy(a, order[i], status, priority(order[i]) == previous, spec,
				 &note->ports_selected, e);
		if (r < 0)
			return r;
		previous = priority(order[i]);
	}
	for (size_t i = 0; i < n_policies; i++)
		if (!notes[i].text)
			notes[i].text = outcome(a, policies[i], notes[i].ports_selected, spec, status);
	ret->spec = spec;
	ret->notes = notes;
	ret->n_notes = n_policies;
	return 0;
}
