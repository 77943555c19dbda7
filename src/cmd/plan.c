/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "api/operator.h"
#include "api/policy.h"
#include "attach/attach.h"
#include "cmd/manifests.h"
#include "policy/merge.h"
#include "policy/pool.h"
#include "provision/plan.h"

#define STATE_DIR "/var/lib/kvrail"

struct options {
	struct cmd_strings files, labels;
	const char *root, *state;
	bool strict;
};

static const struct cmd_option options[] = {
	{ "filename", 'f', CMD_STRINGS, offsetof(struct options, files), "FILE", NULL,
	  "manifest to plan for, - for standard input; may be repeated; without it what the agent has stored" },
	{ "root", 0, CMD_STRING, offsetof(struct options, root), "TREE", NULL,
	  "plan for this recorded tree instead of the running machine" },
	{ "node-labels", 0, CMD_STRINGS, offsetof(struct options, labels), "KEY=VALUE", NULL,
	  "a label of the node, for nodeSelector; may be repeated; else those of the Node in the input; without labels every policy is taken" },
	{ "state", 0, CMD_STRING, offsetof(struct options, state), "DIR", NULL,
	  "the agent's state folder, where configured ports are remembered" },
	{ "strict", 0, CMD_FLAG, offsetof(struct options, strict), NULL, NULL, "an unknown field is an error" },
};

static const char *state_dir(void)
{
	const char *s = secure_getenv("KVRAIL_STATE");

	return s && *s ? s : STATE_DIR;
}

/* What the plan is made from. */
struct wanted {
	const struct api_policy **policies;
	size_t n_policies;
	const struct api_pool_config **pools;
	size_t n_pools;
	const struct api_node **nodes;
	size_t n_nodes;
	const struct pair *labels;
	size_t n_labels;
};

static void add_object(struct cmd_run *run, struct wanted *w, const struct api_kind *kind, const void *object)
{
	struct arena *a = run->arena;

	if (strcmp(kind->kind, "SriovNetworkNodePolicy") == 0)
		*(const void **)arena_push(a, &w->policies, &w->n_policies, sizeof(void *)) = object;
	else if (strcmp(kind->kind, "SriovNetworkPoolConfig") == 0)
		*(const void **)arena_push(a, &w->pools, &w->n_pools, sizeof(void *)) = object;
	else if (strcmp(kind->kind, "Node") == 0)
		*(const void **)arena_push(a, &w->nodes, &w->n_nodes, sizeof(void *)) = object;
}

static int from_files(struct cmd_run *run, struct wanted *w, struct err *e)
{
	const struct options *o = run->options;
	struct manifest *m;
	size_t n;
	int x = manifests_load(run, &o->files, o->strict, &m, &n, e);

	for (size_t i = 0; x == 0 && i < n; i++)
		add_object(run, w, m[i].kind, m[i].object);
	return x;
}

/* The objects of one kind that the agent has stored. */
static int stored(struct cmd_run *run, struct wanted *w, const char *kind_name, struct err *e)
{
	struct complaints c = { .arena = run->arena };
	yyjson_val *list, *v;
	size_t i, max;
	int x = cmd_agent(run, "GET", arena_printf(run->arena, "/kvrail/objects/%s", kind_name), NULL, &list, e);

	if (x < 0)
		return err_wrap(e, x, "no -f FILE is given and the agent was asked for its policies");
	yyjson_arr_foreach(list, i, max, v) {
		const struct api_kind *kind;
		void *object;

		if (api_decode_value(run->arena, v, &kind, &object, &c) < 0)
			return err_set(e, -EINVAL, "a stored %s is not valid: %s: %s", kind_name, c.n ? c.v[0].path : "?",
				       c.n ? c.v[0].text : "?");
		add_object(run, w, kind, object);
	}
	return 0;
}

static int from_agent(struct cmd_run *run, struct wanted *w, struct err *e)
{
	int x = stored(run, w, "SriovNetworkNodePolicy", e);

	return x < 0 ? x : stored(run, w, "SriovNetworkPoolConfig", e);
}

static int parse_labels(struct cmd_run *run, struct wanted *w, struct err *e)
{
	const struct options *o = run->options;
	struct pair *labels = NULL;

	for (size_t i = 0; i < o->labels.n; i++) {
		const char *text = o->labels.v[i], *equals = strchr(text, '=');
		struct pair *label;

		if (!equals || equals == text)
			return err_set(e, -EINVAL, "--node-labels %s: a label is KEY=VALUE", text);
		label = arena_push(run->arena, &labels, &w->n_labels, sizeof(*label));
		label->key = arena_strndup(run->arena, text, (size_t)(equals - text));
		label->value = equals + 1;
	}
	w->labels = labels;
	return 0;
}

/* Without --node-labels those of the input's Node, of several the one that is this node. */
static int find_labels(struct wanted *w, const struct inventory *inv, struct err *e)
{
	if (w->n_labels)
		return 0;
	for (size_t i = 0; i < w->n_nodes; i++) {
		const struct api_meta *meta = w->nodes[i]->object.meta;

		if (w->n_nodes > 1 && (!inv->hostname || strcasecmp(meta->name, inv->hostname) != 0))
			continue;
		w->labels = meta->labels;
		w->n_labels = meta->n_labels;
		return 0;
	}
	return w->n_nodes ? err_set(e, -ENOENT, "none of the input's %zu Nodes is called %s, as this node is: give --node-labels, or one Node",
				    w->n_nodes, inv->hostname ? inv->hostname : "?") : 0;
}

/* A cluster's node is of the pool that selects it; a host without a cluster has no labels, and the last pool with a mode counts. */
static const char *rdma_mode(const struct wanted *w)
{
	const char *mode = NULL;
	struct err e;

	if (w->n_labels && pool_rdma_mode(w->pools, w->n_pools, w->labels, w->n_labels, &mode, &e) < 0)
		fprintf(stderr, "warning: %s\n", e.msg);
	for (size_t i = 0; !w->n_labels && i < w->n_pools; i++)
		if (w->pools[i]->spec->rdma_mode)
			mode = w->pools[i]->spec->rdma_mode;
	return mode;
}

/* Rules that several policies break together: an error ends the plan, a warning is said. */
static int check_together(struct cmd_run *run, const struct wanted *w, struct err *e)
{
	struct complaints c = { .arena = run->arena };

	validate_together(w->policies, w->n_policies, &c);
	for (size_t i = 0; i < c.n; i++) {
		const char *text = arena_printf(run->arena, "SriovNetworkNodePolicy %s%s%s", c.v[i].path, *c.v[i].path ? ": " : "", c.v[i].text);

		if (!c.v[i].warning)
			return err_set(e, -EINVAL, "%s", text);
		fprintf(stderr, "warning: %s\n", text);
	}
	return 0;
}

/* Who holds which VF, from the agent's status or, when no agent answers, from its journals. */
static void find_pods(struct cmd_run *run, const char *state_dir, struct plan_pod **pods, size_t *n_pods)
{
	yyjson_val *status, *list, *at, *rail;
	size_t i, j, max, max_j;

	if (cmd_agent(run, "GET", "/kvrail/status", NULL, &status, NULL) == 0) {
		list = yyjson_obj_get(status, "attachments");
	} else {
		yyjson_mut_doc *doc = doc_new(run->arena);
		struct err why = { 0 };
		yyjson_mut_val *journals = attach_list_dir(state_dir, doc, &why);
		yyjson_alc alc = doc_alc(run->arena);

		if (!journals) {
			fprintf(stderr, "warning: %s: which pods hold VFs, and which ports kvrail set up before, is not in this plan%s\n", why.msg,
				why.code == -EACCES ? "; run it as root" : "");
			return;
		}
		list = yyjson_doc_get_root(yyjson_mut_val_imut_copy(journals, &alc));
	}
	yyjson_arr_foreach(list, i, max, at) {
		yyjson_val *pod = yyjson_obj_get(at, "pod");

		yyjson_arr_foreach(yyjson_obj_get(at, "rails"), j, max_j, rail) {
			struct plan_pod *p;
			const char *vf = doc_str(rail, "vf"), *namespace = doc_str(pod, "namespace"), *name = doc_str(pod, "name");

			if (!vf)
				continue;
			p = arena_push(run->arena, pods, n_pods, sizeof(*p));
			*p = (struct plan_pod){ namespace ? namespace : "?", name ? name : "?", vf };
		}
	}
}

/* ---- printing ---- */

/* Steps from @s on that differ in the VF's number only (and its address). */
static size_t alike(const struct plan_step *s, size_t n)
{
	size_t k = 1;

	if (!plan_is_vf_step(s->op))
		return 1;
	while (k < n && s[k].op == s->op && s[k].number == s->number && s[k].vf == s->vf + k &&
	       (s->op == PLAN_VF_IDENTITY || !s->text == !s[k].text) && !s->why == !s[k].why &&
	       (!s->why || strcmp(s->why, s[k].why) == 0))
		k++;
	return k;
}

static const char *step_line(struct arena *a, const struct plan_step *s, size_t n)
{
	const char *text = plan_step_text(a, s), *colon = strchr(text, ':');

	if (n == 1 || !colon)
		return text;
	if (s->op == PLAN_VF_IDENTITY)
		return arena_printf(a, "VF %u-%zu: set addresses %s to %s through the PF%s%s%s", s->vf, s->vf + n - 1, s->text,
				    s[n - 1].text, s->why ? " (" : "", s->why ? s->why : "", s->why ? ")" : "");
	return arena_printf(a, "VF %u-%zu%s", s->vf, s->vf + n - 1, colon);
}

static void print_warnings(const char **warnings, size_t n, const char *indent)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%swarning: %s%s\n", indent, out_color(OUT_WARN), warnings[i], out_color(OUT_PLAIN));
}

static void print_pods(const struct plan_pf *pf)
{
	for (size_t i = 0; i < pf->n_pods; i++)
		printf("  %spod %s/%s holds VF %s%s\n", out_color(OUT_WARN), pf->pods[i]->namespace, pf->pods[i]->name,
		       pf->pods[i]->pci, out_color(OUT_PLAIN));
}

static void print_port(struct cmd_run *run, const struct plan_pf *pf)
{
	printf("%s (%s)\n", pf->netdev ? pf->netdev : "port", pf->pci);
	if (pf->error)
		printf("  %scannot be done: %s%s\n", out_color(OUT_BAD), pf->error, out_color(OUT_PLAIN));
	for (size_t i = 0, n; i < pf->n_steps; i += n) {
		n = alike(&pf->steps[i], pf->n_steps - i);
		printf("  %s\n", step_line(run->arena, &pf->steps[i], n));
	}
	print_warnings(pf->warnings, pf->n_warnings, "  ");
	print_pods(pf);
	if (pf->n_steps || pf->error)
		printf("  %s%.1f s expected; drain %s, reboot %s%s%s%s%s\n", out_color(OUT_DIM), pf->seconds,
		       pf->drain ? "needed" : "not needed", pf->reboot ? "needed" : "not needed", pf->reason ? " (" : "",
		       pf->reason ? pf->reason : "", pf->reason ? ")" : "", out_color(OUT_PLAIN));
}

static void print_notes(const struct merge_result *merged)
{
	for (size_t i = 0; i < merged->n_notes; i++) {
		const struct merge_note *n = &merged->notes[i];

		printf("%spolicy %s: %s%s\n", n->ports_selected ? "" : out_color(OUT_WARN), n->policy->object.meta->name,
		       n->text ? n->text : "", n->ports_selected ? "" : out_color(OUT_PLAIN));
	}
}

/* Is there a policy for this node that names ports, none of which is there? */
static bool names_absent_port(const struct merge_result *merged)
{
	for (size_t i = 0; i < merged->n_notes; i++) {
		const struct merge_note *n = &merged->notes[i];
		const struct api_nic_selector *s = n->policy->spec->nic_selector;

		if (n->node_selected && !n->ports_selected && (s->n_pf_names || s->n_root_devices))
			return true;
	}
	return false;
}

static void print_plan(struct cmd_run *run, const struct plan *plan, const struct merge_result *merged)
{
	print_notes(merged);
	for (size_t i = 0; i < plan->n_system; i++)
		printf("node\n  %s\n", plan_step_text(run->arena, &plan->system[i]));
	print_warnings(plan->warnings, plan->n_warnings, "");
	for (size_t i = 0; i < plan->n_pfs; i++)
		print_port(run, &plan->pfs[i]);
	if (plan->nothing_to_do)
		puts(names_absent_port(merged) ? "nothing to do here" : "nothing to do: the node is as the policies ask");
	else if (!plan_has_errors(plan))
		printf("in all %.1f s, ports side by side; drain %s, reboot %s\n", plan->seconds,
		       plan->drain ? "needed" : "not needed", plan->reboot ? "needed" : "not needed");
}

static yyjson_mut_val *whole_json(const struct inventory *inv, const struct plan *plan, const struct merge_result *merged,
				  yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = plan_json(plan, doc), *notes = yyjson_mut_obj_add_arr(doc, root, "policies");

	if (inv->hostname)
		yyjson_mut_obj_add_str(doc, root, "node", inv->hostname);
	for (size_t i = 0; i < merged->n_notes; i++) {
		const struct merge_note *n = &merged->notes[i];
		yyjson_mut_val *note = yyjson_mut_arr_add_obj(doc, notes);

		yyjson_mut_obj_add_str(doc, note, "name", n->policy->object.meta->name);
		yyjson_mut_obj_add_bool(doc, note, "nodeSelected", n->node_selected);
		yyjson_mut_obj_add_uint(doc, note, "portsSelected", n->ports_selected);
		if (n->text)
			yyjson_mut_obj_add_str(doc, note, "text", n->text);
	}
	return root;
}

/* ---- from the inventory to the plan ---- */

static int plan_node(struct cmd_run *run, struct wanted *w, struct inventory *inv, struct err *e)
{
	const struct options *o = run->options;
	struct merge_result merged = { 0 };
	struct plan_pod *pods = NULL;
	struct plan *plan;
	size_t n_pods = 0;
	const char *state = o->state ? o->state : state_dir();
	int x = find_labels(w, inv, e);

	if (x < 0)
		return x;
	if (!o->root)
		find_pods(run, state, &pods, &n_pods);
	/* a machine where no agent ever ran remembers nothing, and planning must not begin to */
	if (o->state || (!o->root && access(arena_printf(run->arena, "%s/ports", state), R_OK) == 0)) {
		x = inventory_remember(inv, state, e);
		if (x < 0)
			return x;
	}
	x = merge_policies(run->arena, w->policies, w->n_policies, w->labels, w->n_labels, w->n_labels == 0,
			   inventory_status(inv, run->arena), rdma_mode(w), &merged, e);
	if (x == 0)
		x = plan_make(run->arena, inv, merged.spec, pods, n_pods, &plan, e);
	if (x < 0)
		return x;
	for (size_t i = 0; i < inv->n_warnings; i++)
		fprintf(stderr, "warning: %s\n", inv->warnings[i]);
	if (run->output == OUT_TABLE)
		print_plan(run, plan, &merged);
	else
		out_value(run, whole_json(inv, plan, &merged, doc_new(run->arena)));
	return plan_has_errors(plan) || names_absent_port(&merged) ? CMD_FOUND : CMD_OK;
}

static int run_plan(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct wanted w = { 0 };
	struct inventory *inv = NULL;
	struct sysroot *root = NULL;
	int x = parse_labels(run, &w, e);

	if (x < 0)
		return x;
	x = o->files.n ? from_files(run, &w, e) : from_agent(run, &w, e);
	if (x == 0)
		x = check_together(run, &w, e);
	if (x == 0)
		x = sysroot_open(o->root, &root, e);
	if (x == 0)
		x = inventory_read(root, &inv, e);
	if (x == 0)
		x = plan_node(run, &w, inv, e);
	inventory_free(inv);
	sysroot_close(root);
	return x;
}

const struct cmd cmd_plan = {
	.name = "plan",
	.summary = "what an apply of these policies would do to the node's ports",
	.usage = "[-f FILE...] [--root TREE] [--node-labels KEY=VALUE...] [-o FORMAT]",
	.about = "Prints for each port the steps in their order, how long they take, whether a drain or a reboot is needed and which\n"
		 "pods would be touched; and for each policy what it selects here. Changes nothing. Exit code 3: something cannot be done,\n"
		 "or a policy for this node names ports that are not there.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.output = true,
	.run = run_plan,
};
