/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/parse.h"
#include "cmd/manifests.h"
#include "policy/merge.h"

struct options {
	struct cmd_strings files;
	bool strict;
};

static const struct cmd_option options[] = {
	{ "filename", 'f', CMD_STRINGS, offsetof(struct options, files), "FILE", NULL, "manifest or folder to read, - for standard input; may be repeated" },
	{ "strict", 0, CMD_FLAG, offsetof(struct options, strict), NULL, NULL, "warnings, as of an unknown field or kind, are errors" },
};

static const char *operator_namespace(void)
{
	const char *ns = getenv("NAMESPACE");

	return ns && *ns ? ns : NULL;
}

/* The policy that "NAME: spec.mtu" is about; *ret_field is what follows its name. */
static const struct manifest *policy_of(const struct manifest *m, size_t n, const char *path, const char **ret_field)
{
	for (size_t i = 0; i < n; i++) {
		const char *name = ((const struct api_object *)m[i].object)->meta->name;
		size_t len = name ? strlen(name) : 0;

		if (!strcmp(m[i].kind->kind, "SriovNetworkNodePolicy") && manifest_counts(&m[i], operator_namespace()) && len &&
		    !strncmp(path, name, len) && !strncmp(path + len, ": ", 2)) {
			*ret_field = path + len + 2;
			return &m[i];
		}
	}
	return NULL;
}

/* Rules between objects. Returns how many errors there were. */
static size_t check_together(struct cmd_run *run, const struct manifest *m, size_t n, bool strict)
{
	struct complaints c = { .arena = run->arena };
	const char *ns = operator_namespace();
	size_t n_policies, n_nodes, n_states, errors = 0;
	const struct api_policy **policies;
	const struct api_node **nodes = (const struct api_node **)manifests_of(run->arena, m, n, "Node", ns, &n_nodes);
	const struct api_nodestate **states =
		(const struct api_nodestate **)manifests_of(run->arena, m, n, "SriovNetworkNodeState", ns, &n_states);

	policies = (const struct api_policy **)manifests_of(run->arena, m, n, "SriovNetworkNodePolicy", ns, &n_policies);
	if (n_nodes)
		validate_on_nodes(policies, n_policies, nodes, n_nodes, states, n_states, &c);
	else
		validate_together(policies, n_policies, &c);
	for (size_t i = 0; i < c.n; i++) {
		bool warning = c.v[i].warning && !strict;
		const char *field = c.v[i].path;
		const struct manifest *about = policy_of(m, n, c.v[i].path, &field);

		if (about)
			fprintf(stderr, "%s:%u: ", about->source, doc_line(about->doc, field));
		fprintf(stderr, "%s%s%s: %s\n", warning ? "warning: " : "", about ? "SriovNetworkNodePolicy " : "", c.v[i].path, c.v[i].text);
		errors += !warning;
	}
	return errors;
}

static bool is_network(const struct manifest *m)
{
	return !strcmp(m->kind->kind, "SriovNetwork") || !strcmp(m->kind->kind, "SriovIBNetwork") || !strcmp(m->kind->kind, "OVSNetwork");
}

/* What one object may not say because of its namespace, when the operator's is known. Returns whether that is an error. */
static bool check_namespace(struct cmd_run *run, const struct manifest *m, const char *ns, bool strict)
{
	const struct api_object *o = m->object;
	const char *field = "metadata.namespace", *text = NULL;
	bool warning = false;

	if (is_network(m) && is_given(((const struct api_network *)m->object)->spec->network_namespace)) {
		field = "spec.networkNamespace";
		text = arena_printf(run->arena, ".Spec.NetworkNamespace field can't be specified if the resource is not in the %s namespace", ns);
	} else if (!strcmp(m->kind->kind, "SriovOperatorConfig")) {
		text = arena_printf(run->arena, "only default SriovOperatorConfig in %s namespace is used", ns);
	} else if (!strcmp(m->kind->kind, "SriovNetworkNodePolicy")) {
		text = arena_printf(run->arena, "%s is created or updated but not used. Only policy in %s namespace is respected.", o->meta->name, ns);
		warning = !strict;
	}
	if (text)
		fprintf(stderr, "%s:%u: %s%s %s: %s: %s\n", m->source, doc_line(m->doc, field), warning ? "warning: " : "", m->kind->kind,
			o->meta->name, field, text);
	return text && !warning;
}

static size_t check_namespaces(struct cmd_run *run, const struct manifest *m, size_t n, bool strict)
{
	const char *ns = operator_namespace();
	size_t errors = 0;

	for (size_t i = 0; ns && i < n; i++)
		if (!manifest_counts(&m[i], ns))
			errors += check_namespace(run, &m[i], ns, strict);
	return errors;
}

static int run_validate(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct manifest *m;
	size_t n, errors;
	int r;

	if (o->files.n == 0) {
		fputs("kvrail validate: name a manifest: -f FILE\n", stderr);
		return CMD_USAGE;
	}
	r = manifests_load(run, &o->files, o->strict, &m, &n, e);
	if (r < 0)
		return r;
	errors = check_namespaces(run, m, n, o->strict) + check_together(run, m, n, o->strict);
	if (errors)
		return err_set(e, -EINVAL, "%zu error%s between the objects", errors, errors == 1 ? "" : "s");
	printf("%zu object%s valid\n", n, n == 1 ? " is" : "s are");
	return CMD_OK;
}

const struct cmd cmd_validate = {
	.name = "validate",
	.summary = "check manifests: fields, bounds, and the rules between objects",
	.usage = "[--strict] -f FILE...",
	.about = "Every mistake is one line on stderr: FILE:LINE: KIND NAME: FIELD: what is wrong and the way out.\n"
		 "Rules are those of the CRDs and of the SR-IOV operator's admission webhook, in its words, and what the kernel\n"
		 "would refuse later. No agent, no cluster and no root are needed.\n\n"
		 "NAMESPACE is the operator's: only what is in it counts, and only its networks may go to another namespace.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.run = run_validate,
};
