/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each policy, over all nodes. */
#include <string.h>

#include "base/strbuf.h"
#include "controller/passes.h"

#define NAMES_MAX 5
#define REASONS_MAX 16

/* How often each reason was met: "pfNames p9" excluded so many ports on so many nodes. */
struct tally {
	const char *what[REASONS_MAX];
	size_t ports[REASONS_MAX], nodes[REASONS_MAX];
	const char *last_node[REASONS_MAX];
	size_t n;
};

static void count(struct tally *t, const char *what, const char *node)
{
	size_t i = 0;

	while (i < t->n && strcmp(t->what[i], what))
		i++;
	if (i == REASONS_MAX)
		return;
	if (i == t->n)
		t->what[t->n++] = what;
	t->ports[i]++;
	if (t->last_node[i] != node)
		t->nodes[i]++;
	t->last_node[i] = node;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* "nodeSelector a=b": the first label of the policy that the node has not; NULL: it has all. */
static const char *excluded_by(struct arena *a, const struct api_policy *p, const struct world_node *node)
{
	for (size_t i = 0; i < p->spec->n_node_selector; i++) {
		const struct pair *want = &p->spec->node_selector[i];
		const char *have = pairs_get(node->labels, node->n_labels, want->key);

		if (!have || strcmp(have, want->value))
			return arena_printf(a, "%s=%s", want->key, want->value);
	}
	return NULL;
}

static const char *no_node(struct arena *a, const struct api_policy *p, const struct node_outcome *nodes, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct tally t = { 0 };

	if (n == 0)
		return "the cluster has no node on which an agent may run";
	for (size_t i = 0; i < n; i++) {
		const char *why = excluded_by(a, p, nodes[i].node);

		if (why)
			count(&t, why, nodes[i].node->name);
	}
	strbuf_addf(&b, "selects none of %zu node%s: nodeSelector", n, plural(n));
	for (size_t i = 0; i < t.n; i++)
		strbuf_addf(&b, "%s %s excludes %zu node%s", i ? "," : "", t.what[i], t.nodes[i], plural(t.nodes[i]));
	strbuf_addstr(&b, ": label the nodes, or change the selector");
	return arena_strdup(a, b.s);
}

/* "pfNames is x, not y": the part of the selector that excludes, and what it asks for. */
static const char *part(struct arena *a, const char *why)
{
	const char *value = strstr(why, ", not ");
	size_t n = strcspn(why, " ");

	return value ? arena_printf(a, "%.*s %s", (int)n, why, value + 6) : why;
}

static const char *no_port(struct arena *a, const struct api_policy *p, const struct node_outcome *nodes, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT, there = STRBUF_INIT;
	size_t selected = 0, silent = 0, ports = 0, named = 0;
	struct tally t = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct api_nodestate_status *s = nodes[i].state ? nodes[i].state->status : NULL;

		if (excluded_by(a, p, nodes[i].node))
			continue;
		selected++;
		silent += !nodes[i].reported;
		for (size_t k = 0; s && k < s->n_interfaces; k++) {
			const struct api_interface_status *pf = &s->interfaces[k];
			const char *why = NULL, *name = pf->name && *pf->name ? pf->name : pf->pci_address;

			ports++;
			merge_selects(a, p->spec->nic_selector, pf, &why);
			count(&t, why ? part(a, why) : "something", nodes[i].node->name);
			if (named < NAMES_MAX && !(there.s && strstr(there.s, name)))
				strbuf_addf(&there, "%s%s", named++ ? ", " : "", name);
		}
	}
	strbuf_addf(&b, "selects no port of %zu node%s", selected, plural(selected));
	if (silent)
		strbuf_addf(&b, ", %zu of which %s not reported yet", silent, silent == 1 ? "has" : "have");
	if (!ports)
		strbuf_addstr(&b, silent < selected ? ": there are no SR-IOV ports" : "");
	for (size_t i = 0; i < t.n; i++)
		strbuf_addf(&b, "%s nicSelector.%s excludes %zu port%s on %zu node%s", i ? "," : ":", t.what[i], t.ports[i],
			    plural(t.ports[i]), t.nodes[i], plural(t.nodes[i]));
	if (there.s)
		strbuf_addf(&b, "; there are %s", there.s);
	return arena_strdup(a, b.s);
}

static const struct merge_note *note_of(const struct node_outcome *o, const struct api_policy *p)
{
	for (size_t i = 0; i < o->merged.n_notes; i++)
		if (o->merged.notes[i].policy == p)
			return &o->merged.notes[i];
	return NULL;
}

/* A policy's share of all nodes. */
struct sums {
	size_t selected, matching, with_ports, ready, failed; /* nodes */
	int64_t ports, vfs;
	const char *waiting, *problem, *note;
};

/* What the node gives this policy; returns in how many ports. */
static size_t add_groups(struct sums *s, const struct node_outcome *o, const struct api_policy *p)
{
	size_t ports = 0;

	for (size_t i = 0; o->merged.spec && i < o->merged.spec->n_interfaces; i++) {
		const struct api_interface *port = &o->merged.spec->interfaces[i];
		bool own = false;

		for (size_t k = 0; k < port->n_vf_groups; k++) {
			long long from, to;

			if (strcmp(port->vf_groups[k].policy_name, p->object.meta->name))
				continue;
			own = true;
			if (sscanf(port->vf_groups[k].vf_range, "%lld-%lld", &from, &to) == 2)
				s->vfs += to - from + 1;
		}
		ports += own;
	}
	s->ports += (int64_t)ports;
	return ports;
}

static void add_node(struct arena *a, struct sums *s, const struct node_outcome *o, const struct api_policy *p)
{
	const struct merge_note *note = note_of(o, p);

	if (!note) { /* the node's policies cannot be merged: is this one of them? */
		if (excluded_by(a, p, o->node))
			return;
		s->selected++;
		s->failed++;
		s->problem = arena_printf(a, "node %s: %s", o->node->name, o->verdict.message);
		return;
	}
	s->selected += note->node_selected;
	if (!note->node_selected || !note->ports_selected)
		return;
	s->matching++;
	s->note = note->text;
	if (!add_groups(s, o, p))
		return;
	s->with_ports++;
	s->ready += o->verdict.ready;
	if (o->verdict.degraded) {
		s->failed++;
		s->problem = arena_printf(a, "node %s: %s", o->node->name, o->verdict.message);
	} else if (!o->verdict.ready && s->with_ports - s->ready - s->failed <= NAMES_MAX) {
		s->waiting = arena_printf(a, "%s%snode %s: %s", s->waiting ? s->waiting : "", s->waiting ? "; " : "", o->node->name,
					  o->verdict.message);
	}
}

static struct verdict judge(struct arena *a, const struct world *w, const struct api_policy *p, const char *warning,
			    const struct sums *s, const struct node_outcome *nodes, size_t n)
{
	const char *resource = p->spec->resource_name;
	struct verdict v = { 0 };

	if (!strcmp(p->object.meta->name, "default"))
		return (struct verdict){ .reason = "Ignored",
					 .message = "a policy named default is ignored, as the SR-IOV operator does: rename it" };
	if (s->failed) {
		v = (struct verdict){ .degraded = true, .reason = "NodesFailed", .message = s->problem };
		if (s->failed > 1)
			v.message = arena_printf(a, "%s; and %zu more node%s", s->problem, s->failed - 1, plural(s->failed - 1));
	} else if (!s->selected) {
		v = (struct verdict){ .reason = "NoNodeSelected", .message = no_node(a, p, nodes, n) };
	} else if (!s->matching) {
		v = (struct verdict){ .reason = "NoPortSelected", .message = no_port(a, p, nodes, n) };
	} else if (!s->with_ports) {
		v = (struct verdict){ .reason = p->spec->num_vfs > 0 ? "Overridden" : "NoVFs", .message = s->note };
	} else if (s->ready < s->with_ports) {
		v = (struct verdict){ .progressing = true, .reason = "NodesPending", .message = s->waiting };
	} else {
		v = (struct verdict){ .ready = true, .reason = "Applied" };
		v.message = arena_printf(a, "%lld VFs on %lld port%s of %zu node%s, as %s/%s", (long long)s->vfs, (long long)s->ports,
					 plural((size_t)s->ports), s->with_ports, plural(s->with_ports), w->prefix,
					 resource ? resource : "");
	}
	if (warning && !v.ready)
		v.message = arena_printf(a, "%s; %s", v.message, warning);
	return v;
}

/* What the admission webhook would have said of this policy beside the others; appended to @message. */
static const char *together(struct arena *a, const struct complaints *c, const char *name, const char *message)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < c->n; i++)
		if (!c->v[i].warning && !strncmp(c->v[i].path, name, n) && !strncmp(c->v[i].path + n, ": ", 2))
			message = arena_printf(a, "%s; %s: %s", message, c->v[i].path + n + 2, c->v[i].text);
	return message;
}

static const struct api_rail *rail_named(const struct world *w, const char *name)
{
	for (size_t i = 0; i < w->n_rail_policies; i++)
		if (!strcmp(w->rail_policies[i]->object.meta->name, name))
			return w->rail_policies[i];
	return NULL;
}

static bool policy_exists(const struct world *w, const char *name)
{
	for (size_t i = 0; i < w->n_policies; i++)
		if (!strcmp(w->policies[i]->object.meta->name, name))
			return true;
	for (size_t i = 0; i < w->n_bad; i++)
		if (!strcmp(w->bad[i].kind->kind, "SriovNetworkNodePolicy") && !strcmp(w->bad[i].name, name))
			return true;
	return false;
}

void pass_policies(struct arena *a, const struct world *w, const struct node_outcome *nodes, size_t n_nodes, struct writes *out)
{
	const struct api_kind *kind = api_kind_named("RailPolicy"), *about = api_kind_named("SriovNetworkNodePolicy");
	struct complaints c = { .arena = a };

	validate_together(w->policies, w->n_policies, &c);
	for (size_t i = 0; i < w->n_policies; i++) {
		const struct api_policy *p = w->policies[i];
		struct api_rail_status status = { 0 };
		const struct api_meta *meta = p->object.meta;
		const struct write_event event = { .kind = about, .ns = w->namespace, .name = meta->name, .uid = meta->uid };
		struct sums s = { 0 };
		struct verdict v;

		for (size_t k = 0; k < n_nodes; k++)
			add_node(a, &s, &nodes[k], p);
		v = judge(a, w, p, w->warnings[i], &s, nodes, n_nodes);
		if (!v.ready)
			v.message = together(a, &c, p->object.meta->name, v.message);
		status.nodes = arena_printf(a, "%zu/%zu", s.ready, s.with_ports);
		status.ports = s.ports;
		status.vfs = s.vfs;
		rail_write(a, w, kind, meta->name, rail_named(w, meta->name), &v, meta->generation, &status, &event, out);
	}
	for (size_t i = 0; i < w->n_bad; i++) {
		const struct world_bad *bad = &w->bad[i];
		struct api_rail_status status = { .nodes = "0/0" };
		struct verdict v = { .degraded = true, .reason = "Invalid", .message = bad->why };
		const struct write_event event = { .kind = about, .ns = w->namespace, .name = bad->name, .uid = bad->uid };

		if (!strcmp(bad->kind->kind, "SriovNetworkNodePolicy"))
			rail_write(a, w, kind, bad->name, rail_named(w, bad->name), &v, bad->generation, &status, &event, out);
	}
	for (size_t i = 0; i < w->n_rail_policies; i++) {
		const struct api_meta *meta = w->rail_policies[i]->object.meta;
		struct write *x;

		if (policy_exists(w, meta->name))
			continue;
		x = write_add(out, WRITE_DELETE, kind, w->namespace, meta->name);
		x->uid = meta->uid;
		x->why = "its policy is gone";
	}
}
