/* SPDX-License-Identifier: Apache-2.0 */
/* kvrail render: what the SR-IOV operator would write for the objects of some files, without a cluster. */
#include <string.h>

#include "cmd/manifests.h"
#include "policy/merge.h"
#include "policy/pool.h"

struct options {
	struct cmd_strings files;
	bool strict;
};

static const struct cmd_option options[] = {
	{ "filename", 'f', CMD_STRINGS, offsetof(struct options, files), "FILE", NULL, "manifest or folder to read, - for standard input; may be repeated" },
	{ "strict", 0, CMD_FLAG, offsetof(struct options, strict), NULL, NULL, "warnings, as of an unknown field or kind, are errors" },
};

struct render {
	struct cmd_run *run;
	const char *namespace; /* the operator's; NULL when unknown */
	const struct manifest *m;
	size_t n;
	size_t errors;
	yyjson_mut_doc *doc;
	yyjson_mut_val *out;
};

static const char *env(const char *name, const char *dflt)
{
	const char *value = getenv(name);

	return value && *value ? value : dflt;
}

static void say(struct render *r, const struct manifest *m, bool warning, const char *text)
{
	const struct api_object *o = m->object;

	fprintf(stderr, "%s:%u: %s%s %s: %s\n", m->source, m->line, warning ? "warning: " : "", m->kind->kind, o->meta->name, text);
	r->errors += !warning;
}

/* The operator's webhook, where there is one, refuses these objects; the operator itself takes them. */
static void say_broken(struct render *r, const struct manifest *m, bool warning)
{
	const struct api_object *o = m->object;

	for (size_t i = 0; i < m->n_broken; i++)
		fprintf(stderr, "%s:%u: %s%s %s: %s%s%s\n", m->source, m->broken[i].line, warning ? "warning: " : "", m->kind->kind,
			o->meta->name, m->broken[i].path, *m->broken[i].path ? ": " : "", m->broken[i].text);
	r->errors += !warning && m->n_broken;
}

static void add(struct render *r, const char *kind, const void *object)
{
	const struct api_kind *k = api_kind_named(kind);

	yyjson_mut_arr_append(r->out, api_encode(k, r->doc, object));
}

/* An object without a namespace goes where the operator runs, else where kubectl would put it. */
static void set_namespace(struct render *r, const struct manifest *m)
{
	struct api_object *o = m->object;

	if (m->kind->namespaced && (!o->meta->namespace || !*o->meta->namespace))
		o->meta->namespace = r->namespace ? r->namespace : "default";
}

static void render_network(struct render *r, const struct manifest *m)
{
	const struct api_network *network = m->object;
	struct api_nad *nad;
	struct err e;

	if (network->spec->network_namespace && *network->spec->network_namespace && !manifest_counts(m, r->namespace)) {
		say(r, m, false, arena_printf(r->run->arena, "spec.networkNamespace: %s: .Spec.NetworkNamespace field can't be specified if the "
					      "resource is not in the %s namespace", network->spec->network_namespace, r->namespace));
		return;
	}
	if (render_nad(r->run->arena, m->kind, network, env("RESOURCE_PREFIX", "openshift.io"), &nad, &e) == 0) {
		say_broken(r, m, true);
		add(r, "NetworkAttachmentDefinition", nad);
	} else if (m->n_broken) {
		say_broken(r, m, false);
	} else {
		fprintf(stderr, "%s:%u: %s\n", m->source, m->line, e.msg); /* names the network */
		r->errors++;
	}
}

/* The policies that count. */
static const struct api_policy **policies_of(struct render *r, size_t *ret_n)
{
	const struct api_policy **list = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < r->n; i++) {
		const struct api_policy *p = r->m[i].object;

		if (strcmp(r->m[i].kind->kind, "SriovNetworkNodePolicy"))
			continue;
		if (!manifest_counts(&r->m[i], r->namespace)) {
			say(r, &r->m[i], true, arena_printf(r->run->arena, "%s is created or updated but not used. Only policy in %s namespace is "
							    "respected.", p->object.meta->name, r->namespace));
			continue;
		}
		*(const struct api_policy **)arena_push(r->run->arena, &list, ret_n, sizeof(*list)) = p;
	}
	return list;
}

/* The operator looks at the one that is called default. */
static const struct api_operator_config *config_of(struct render *r)
{
	size_t n;
	const void **all = manifests_of(r->run->arena, r->m, r->n, "SriovOperatorConfig", r->namespace, &n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(((const struct api_object *)all[i])->meta->name, "default"))
			return all[i];
	return NULL;
}

/* SriovOperatorConfig default says which nodes the operator has a daemon on; without one, all. */
static bool has_daemon(const struct api_meta *node, const struct api_operator_config *config)
{
	const struct pair *wanted = config ? config->spec->config_daemon_node_selector : NULL;
	size_t n = config ? config->spec->n_config_daemon_node_selector : 0;

	if (config && n == 0) {
		const char *worker = pairs_get(node->labels, node->n_labels, "node-role.kubernetes.io/worker");
		const char *os = pairs_get(node->labels, node->n_labels, "kubernetes.io/os");

		return worker && !*worker && os && !strcmp(os, "linux");
	}
	for (size_t i = 0; i < n; i++) {
		const char *value = pairs_get(node->labels, node->n_labels, wanted[i].key);

		if (!value || strcmp(value, wanted[i].value))
			return false;
	}
	return true;
}

static const struct api_nodestate *state_named(struct render *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct api_nodestate *s = r->m[i].object;

		if (!strcmp(r->m[i].kind->kind, "SriovNetworkNodeState") && !strcmp(s->object.meta->name, name) &&
		    manifest_counts(&r->m[i], r->namespace))
			return s;
	}
	return NULL;
}

/* A state of a node that is back: nobody waits to delete it any more. */
static void drop_keep_until(struct api_meta *meta)
{
	size_t n = 0;

	for (size_t i = 0; i < meta->n_annotations; i++)
		if (strcmp(meta->annotations[i].key, "sriovnetwork.openshift.io/keep-state-until"))
			meta->annotations[n++] = meta->annotations[i];
	meta->n_annotations = n;
}

/* Bridges are written when the feature is on; without a configuration, when a policy asks for them. */
static bool bridges_wanted(const struct api_operator_config *config)
{
	if (!config)
		return true;
	for (size_t i = 0; i < config->spec->n_feature_gates; i++)
		if (!strcmp(config->spec->feature_gates[i].key, "manageSoftwareBridges"))
			return config->spec->feature_gates[i].value;
	return false;
}

/* Without the feature what a policy says of bridges is not read, its mistakes included. */
static const struct api_policy **without_bridges(struct arena *a, const struct api_policy **policies, size_t n)
{
	const struct api_policy **ret = arena_alloc(a, (n + 1) * sizeof(*ret));

	for (size_t i = 0; i < n; i++) {
		struct api_policy *p = arena_memdup(a, policies[i], sizeof(*p));

		p->spec = arena_memdup(a, p->spec, sizeof(*p->spec));
		p->spec->bridge = NULL;
		ret[i] = p;
	}
	return ret;
}

static void render_state(struct render *r, const struct manifest *m, const struct api_policy **policies, size_t n)
{
	struct arena *a = r->run->arena;
	const struct api_meta *node = ((const struct api_object *)m->object)->meta;
	const struct api_nodestate *found = state_named(r, node->name);
	struct api_nodestate *state = arena_alloc(a, sizeof(*state));
	struct merge_result merged;
	const char *mode = NULL;
	size_t n_pools;
	const struct api_pool_config **pools =
		(const struct api_pool_config **)manifests_of(a, r->m, r->n, "SriovNetworkPoolConfig", r->namespace, &n_pools);
	struct err e;

	if (pool_rdma_mode(pools, n_pools, node->labels, node->n_labels, &mode, &e) < 0)
		say(r, m, true, e.msg);
	if (merge_policies(a, policies, n, node->labels, node->n_labels, false, found ? found->status : NULL, mode, &merged, &e) < 0) {
		say(r, m, false, e.msg);
		return;
	}
	state->object.api_version = "sriovnetwork.openshift.io/v1";
	state->object.kind = "SriovNetworkNodeState";
	state->object.meta = arena_alloc(a, sizeof(*state->object.meta));
	if (found)
		*state->object.meta = *found->object.meta;
	drop_keep_until(state->object.meta);
	state->object.meta->name = node->name;
	if (!state->object.meta->namespace)
		state->object.meta->namespace = r->namespace ? r->namespace : "default";
	/* a daemon that has reported no port yet: what it was told before stays */
	state->spec = found && found->spec && (!found->status || !found->status->n_interfaces) ? found->spec : merged.spec;
	add(r, "SriovNetworkNodeState", state);
	for (size_t i = 0; i < merged.n_notes; i++)
		if (merged.notes[i].node_selected && !merged.notes[i].ports_selected)
			say(r, m, true, arena_printf(a, "policy %s %s", merged.notes[i].policy->object.meta->name, merged.notes[i].text));
}

static void render_states(struct render *r)
{
	size_t n, nodes = 0;
	const struct api_policy **policies = policies_of(r, &n);
	const struct api_operator_config *config = config_of(r);

	if (!bridges_wanted(config))
		policies = without_bridges(r->run->arena, policies, n);
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->m[i].kind->kind, "Node"))
			continue;
		nodes++;
		if (has_daemon(((const struct api_object *)r->m[i].object)->meta, config))
			render_state(r, &r->m[i], policies, n);
		else
			say(r, &r->m[i], true, "SriovOperatorConfig's configDaemonNodeSelector leaves this node out");
	}
	if (n && nodes == 0)
		fprintf(stderr, "warning: %zu polic%s and no Node in the input: a node state needs a Node and its SriovNetworkNodeState\n", n,
			n == 1 ? "y" : "ies");
}

static void print(struct render *r)
{
	yyjson_mut_val *v;
	size_t i, max;

	if (r->run->output == OUT_JSON) {
		out_value(r->run, r->out);
		return;
	}
	yyjson_mut_arr_foreach(r->out, i, max, v) {
		const char *text = doc_mut_to_yaml(r->run->arena, v);

		printf("%s%s%s", i ? "---\n" : "", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
	}
}

static int run_render(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct render r = { .run = run, .namespace = env("NAMESPACE", NULL) };
	struct manifest *m;
	int result;

	if (o->files.n == 0) {
		fputs("kvrail render: name a manifest: -f FILE\n", stderr);
		return CMD_USAGE;
	}
	result = o->strict ? manifests_load(run, &o->files, true, &m, &r.n, e) : manifests_load_lenient(run, &o->files, &m, &r.n, e);
	if (result < 0)
		return result;
	r.m = m;
	r.doc = doc_new(run->arena);
	r.out = yyjson_mut_arr(r.doc);
	for (size_t i = 0; i < r.n; i++)
		set_namespace(&r, &m[i]);
	for (size_t i = 0; i < r.n; i++) {
		const char *kind = m[i].kind->kind;

		if (!strcmp(kind, "SriovNetwork") || !strcmp(kind, "SriovIBNetwork") || !strcmp(kind, "OVSNetwork"))
			render_network(&r, &m[i]);
		else
			say_broken(&r, &m[i], true);
	}
	render_states(&r);
	if (r.errors)
		return err_set(e, -EINVAL, "%zu object%s cannot be rendered", r.errors, r.errors == 1 ? "" : "s");
	print(&r);
	return CMD_OK;
}

const struct cmd cmd_render = {
	.name = "render",
	.summary = "NADs and node states that the SR-IOV operator would write",
	.usage = "-f FILE... [--output yaml|json]",
	.about = "Networks become NetworkAttachmentDefinitions. Policies, a Node and its SriovNetworkNodeState (for status.interfaces) become "
		 "the node state with its spec. JSON output is one array of objects.\n\n"
		 "RESOURCE_PREFIX (default openshift.io) goes before resource names; NAMESPACE is the operator's: only what is in it counts.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.output = true,
	.run = run_render,
};
