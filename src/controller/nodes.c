/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and nodes into SriovNetworkNodeStates (their spec: the agents write the status) and RailNodes. */
#include <string.h>

#include "base/strbuf.h"
#include "controller/passes.h"
#include "policy/pool.h"
#include "policy/resources.h"

#define KEEP_UNTIL "sriovnetwork.openshift.io/keep-state-until"
#define NAMES_MAX 5

const char *pass_time(struct arena *a, time_t t)
{
	struct tm tm;
	char *text = arena_alloc(a, 32);

	gmtime_r(&t, &tm);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

/* Nodes that are served: those of the operator's configuration, else all that run Linux. */
static bool ours(const struct world *w, const struct world_node *node)
{
	const char *os = pairs_get(node->labels, node->n_labels, "kubernetes.io/os");

	if (os && strcmp(os, "linux"))
		return false;
	for (size_t i = 0; i < w->n_daemon_selector; i++) {
		const char *value = pairs_get(node->labels, node->n_labels, w->daemon_selector[i].key);

		if (!value || strcmp(value, w->daemon_selector[i].value))
			return false;
	}
	return true;
}

/* The spec, with what the node state's annotation says of @resources (or NULL), as an object that can be applied; without @whole as text to compare. */
static const char *spec_json(struct arena *a, const struct world *w, const char *node, struct api_nodestate_spec *spec,
			     const char *resources, bool whole)
{
	const struct api_kind *kind = api_kind_named("SriovNetworkNodeState");
	struct pair annotation = { RESOURCES_ANNOTATION, resources };
	struct api_meta meta = {
		.name = whole ? node : NULL,
		.namespace = whole ? w->namespace : NULL,
		.annotations = resources ? &annotation : NULL,
		.n_annotations = resources ? 1 : 0,
	};
	struct api_nodestate state = {
		.object = { .api_version = "sriovnetwork.openshift.io/v1", .kind = kind->kind, .meta = &meta },
		.spec = spec,
	};

	return doc_mut_to_json(a, api_encode(kind, doc_new(a), &state), false);
}

static const char *resources_of(const struct api_nodestate *state)
{
	return pairs_get(state->object.meta->annotations, state->object.meta->n_annotations, RESOURCES_ANNOTATION);
}

const char *pass_state_spec(struct arena *a, yyjson_val *obj)
{
	struct complaints c = { .arena = a, .lenient = true };
	struct world w = { 0 };
	const struct api_kind *kind;
	struct api_nodestate *state;

	if (api_decode_value(a, obj, &kind, (void **)&state, &c) < 0 || !state->spec)
		return NULL;
	return spec_json(a, &w, NULL, state->spec, resources_of(state), false);
}

static const struct api_interface_status *port_of(const struct api_nodestate *state, const char *pci)
{
	for (size_t i = 0; state->status && i < state->status->n_interfaces; i++)
		if (!strcmp(state->status->interfaces[i].pci_address, pci))
			return &state->status->interfaces[i];
	return NULL;
}

/* What the ports still lack; NULL: nothing. */
static const char *lacks(struct arena *a, const struct node_outcome *o)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t n = 0;

	for (size_t i = 0; i < o->merged.spec->n_interfaces; i++) {
		const struct api_interface *want = &o->merged.spec->interfaces[i];
		const struct api_interface_status *have = port_of(o->state, want->pci_address);

		if (have && have->num_vfs >= want->num_vfs)
			continue;
		if (n++ < NAMES_MAX)
			strbuf_addf(&b, "%s%s has %lld of %lld VFs", n > 1 ? ", " : "", want->name ? want->name : want->pci_address,
				    have ? (long long)have->num_vfs : 0LL, (long long)want->num_vfs);
	}
	if (n > NAMES_MAX)
		strbuf_addf(&b, " and %zu more", n - NAMES_MAX);
	return n ? arena_strdup(a, b.s) : NULL;
}

static bool is(const char *s, const char *word)
{
	return s && !strcmp(s, word);
}

static void judge(struct arena *a, const struct world *w, const struct memo *memo, bool written, struct node_outcome *o)
{
	const struct api_nodestate_status *s = o->state ? o->state->status : NULL;
	const char *said = s && s->last_sync_error && *s->last_sync_error ? s->last_sync_error : NULL;
	const char *node = o->node->name, *why;
	struct verdict *v = &o->verdict;

	if (memo && memo->conflict) {
		*v = (struct verdict){ .degraded = true, .reason = "OtherWriter" };
		v->message = arena_printf(a, "another program writes the spec of the SriovNetworkNodeState %s too (%s): stop it, or "
					     "take its rights away; kvrail takes the fields over at most every ten minutes",
					  node, memo->conflict);
	} else if (memo && memo->failure) {
		*v = (struct verdict){ .degraded = true, .reason = "WriteFailed", .message = arena_strdup(a, memo->failure) };
	} else if (!o->reported) {
		*v = (struct verdict){ .reason = "NoAgent" };
		v->message = arena_printf(a, "no agent has reported the ports of this node yet: look for its pod with 'kubectl -n %s get "
					     "pods -o wide --field-selector spec.nodeName=%s'",
					  w->namespace, node);
	} else if (is(s->sync_status, "Failed")) {
		*v = (struct verdict){ .degraded = true, .reason = "SyncFailed" };
		v->message = said ? said : "the agent could not set up the ports and gives no reason: look at its log";
	} else if (written || !is(s->sync_status, "Succeeded")) {
		*v = (struct verdict){ .progressing = true, .reason = "Configuring" };
		v->message = said && !written ? said : "the agent sets up the ports"; /* what it said is of the spec before */
	} else if ((why = lacks(a, o))) {
		*v = (struct verdict){ .progressing = true, .reason = "Configuring", .message = why };
	} else if (!o->merged.spec->n_interfaces) {
		*v = (struct verdict){ .ready = true, .reason = "NothingToDo", .message = "no policy selects a port of this node" };
	} else {
		*v = (struct verdict){ .ready = true, .reason = "Configured" };
		v->message = arena_printf(a, "%lld port%s with %lld VFs", (long long)o->ports, o->ports == 1 ? "" : "s", (long long)o->vfs);
	}
	if (v->ready && !o->node->ready) {
		*v = (struct verdict){ .reason = "NodeNotReady" };
		v->message = arena_printf(a, "its ports are set up, but the node is not Ready: 'kubectl describe node %s' says why", node);
	}
}

/* A spec that is stored stays while the agent has reported no port, as with the operator: a state may come back from a backup, without a status. */
static bool can_tell(const struct api_nodestate *state)
{
	return !state || !state->spec || (state->status && state->status->n_interfaces);
}

static void write_state(struct arena *a, const struct world *w, struct memos *m, struct node_outcome *o, bool *written,
			struct writes *out)
{
	const struct api_kind *kind = api_kind_named("SriovNetworkNodeState");
	const char *resources = resources_text(a, w->policies, w->n_policies, o->merged.spec);
	const char *wanted = spec_json(a, w, o->node->name, o->merged.spec, resources, false), *stored = NULL, *key;
	struct write *x;

	key = arena_printf(a, "%s/%s", kind->kind, o->node->name);
	if (o->state && o->state->spec)
		stored = spec_json(a, w, o->node->name, o->state->spec, resources_of(o->state), false);
	*written = can_tell(o->state) && write_needed(m, key, wanted, stored);
	if (!*written) {
		memo_settle(m, key);
		return;
	}
	x = write_add(out, WRITE_APPLY, kind, w->namespace, o->node->name);
	x->json = spec_json(a, w, o->node->name, o->merged.spec, resources, true);
	x->contested = key;
	x->wanted = wanted;
	x->mine = true; /* nobody else makes node states */
	x->why = o->state ? "the policies ask for something else" : "a new node";
}

/* A node that came back keeps its state. */
static void keep_state(struct arena *a, const struct world *w, const struct node_outcome *o, struct writes *out)
{
	struct write *x;

	if (!o->state || !pairs_get(o->state->object.meta->annotations, o->state->object.meta->n_annotations, KEEP_UNTIL))
		return;
	x = write_add(out, WRITE_MERGE, api_kind_named("SriovNetworkNodeState"), w->namespace, o->node->name);
	x->json = "{\"metadata\":{\"annotations\":{\"" KEEP_UNTIL "\":null}}}";
	x->why = "the node is back";
}

static void measure(struct node_outcome *o)
{
	for (size_t i = 0; o->merged.spec && i < o->merged.spec->n_interfaces; i++) {
		o->ports++;
		o->vfs += o->merged.spec->interfaces[i].num_vfs;
	}
	o->reported = o->state && o->state->status && (o->state->status->sync_status || o->state->status->n_interfaces);
	o->concerned = o->reported;
	for (size_t i = 0; i < o->merged.n_notes; i++)
		o->concerned |= o->merged.notes[i].node_selected;
}

static void one_node(struct arena *a, const struct world *w, struct memos *m, struct node_outcome *o, struct writes *out)
{
	const char *mode = NULL;
	bool written = false;
	struct err e;
	int r;

	o->state = world_state(w, o->node->name);
	r = pool_rdma_mode(w->pools, w->n_pools, o->node->labels, o->node->n_labels, &mode, &e);
	if (r == 0)
		r = merge_policies(a, w->policies, w->n_policies, o->node->labels, o->node->n_labels, false,
				   o->state ? o->state->status : NULL, mode, &o->merged, &e);
	if (r < 0) { /* what is there stays: a mistake in one object is no reason to take VFs away */
		o->merged = (struct merge_result){ 0 };
		o->reported = o->concerned = true;
		o->verdict = (struct verdict){ .degraded = true, .reason = r == -EEXIST ? "TwoPools" : "InvalidPolicy",
					       .message = arena_strdup(a, e.msg) };
		return;
	}
	measure(o);
	write_state(a, w, m, o, &written, out);
	keep_state(a, w, o, out);
	judge(a, w, memo_find(m, arena_printf(a, "SriovNetworkNodeState/%s", o->node->name), false), written, o);
}

static bool is_node_of_ours(const struct world *w, const char *name)
{
	for (size_t i = 0; i < w->n_nodes; i++)
		if (!strcmp(w->nodes[i].name, name))
			return ours(w, &w->nodes[i]);
	return false;
}

static void sooner(unsigned *next, time_t seconds)
{
	unsigned s = seconds < 1 ? 1 : (unsigned)seconds;

	if (!*next || s < *next)
		*next = s;
}

/* The state of a node that is gone, or selected no more, stays for a while: a node that is installed anew finds it. */
static void one_stale(struct arena *a, const struct world *w, const struct api_nodestate *state, struct writes *out, unsigned *next)
{
	const struct api_meta *meta = state->object.meta;
	const char *until = pairs_get(meta->annotations, meta->n_annotations, KEEP_UNTIL);
	struct tm tm = { 0 };
	struct write *x;

	if (meta->deletion_timestamp)
		return;
	if (!until && w->stale_minutes) {
		x = write_add(out, WRITE_MERGE, api_kind_named("SriovNetworkNodeState"), w->namespace, meta->name);
		x->json = arena_printf(a, "{\"metadata\":{\"annotations\":{\"" KEEP_UNTIL "\":\"%s\"}}}",
				       pass_time(a, w->now + 60 * (time_t)w->stale_minutes));
		x->why = "its node is gone or not selected";
		sooner(next, 60 * (time_t)w->stale_minutes);
		return;
	}
	if (until && strptime(until, "%Y-%m-%dT%H:%M:%S", &tm) && timegm(&tm) > w->now) {
		sooner(next, timegm(&tm) - w->now);
		return;
	}
	x = write_add(out, WRITE_DELETE, api_kind_named("SriovNetworkNodeState"), w->namespace, meta->name);
	x->uid = meta->uid;
	x->version = meta->resource_version;
	x->why = "its node is gone or not selected for long";
}

static const struct api_rail *rail_named(const struct api_rail **list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->object.meta->name, name))
			return list[i];
	return NULL;
}

static void delete_rail_nodes(const struct world *w, struct writes *out)
{
	for (size_t i = 0; i < w->n_rail_nodes; i++) {
		const struct api_meta *meta = w->rail_nodes[i]->object.meta;
		struct write *x;

		if (is_node_of_ours(w, meta->name))
			continue;
		x = write_add(out, WRITE_DELETE, api_kind_named("RailNode"), w->namespace, meta->name);
		x->uid = meta->uid;
		x->why = "its node is gone or not selected";
	}
}

void pass_nodes(struct arena *a, const struct world *w, struct memos *m, struct writes *out, struct node_outcome **ret, size_t *ret_n,
		unsigned *next)
{
	for (size_t i = 0; i < w->n_nodes; i++) {
		struct api_rail_status status = { 0 };
		struct node_outcome *o;

		if (!ours(w, &w->nodes[i]))
			continue;
		o = arena_push(a, ret, ret_n, sizeof(*o));
		o->node = &w->nodes[i];
		one_node(a, w, m, o, out);
		if (!o->concerned)
			continue;
		status.ports = o->ports;
		status.vfs = o->vfs;
		rail_write(a, w, api_kind_named("RailNode"), o->node->name, rail_named(w->rail_nodes, w->n_rail_nodes, o->node->name),
			   &o->verdict, o->state ? o->state->object.meta->generation : 0, &status, NULL, out); /* the agent tells */
	}
	for (size_t i = 0; i < w->n_states; i++)
		if (!is_node_of_ours(w, w->states[i]->object.meta->name))
			one_stale(a, w, w->states[i], out, next);
	delete_rail_nodes(w, out);
}
