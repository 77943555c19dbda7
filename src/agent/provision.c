/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/provision.h"
#include "base/log.h"

static void say(int out, yyjson_mut_val *v, struct arena *a)
{
	char *line = doc_mut_to_json(a, v, false);

	if (out >= 0)
		dprintf(out, "%s\n", line); /* a client that went away does not stop the work */
}

static void on_step(void *arg, const char *pci, const char *netdev, const char *text, int result, const char *why)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct provision *p = arg;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	if (result < 0)
		log_warn("%s (%s): %s: %s", netdev ? netdev : "-", pci ? pci : "-", text, why ? why : strerror(-result));
	else
		log_info("%s (%s): %s", netdev ? netdev : "-", pci ? pci : "-", text);
	if (pci)
		yyjson_mut_obj_add_str(doc, v, "pci", pci);
	if (netdev)
		yyjson_mut_obj_add_str(doc, v, "netdev", netdev);
	yyjson_mut_obj_add_str(doc, v, "step", text);
	yyjson_mut_obj_add_bool(doc, v, "ok", result >= 0);
	if (why)
		yyjson_mut_obj_add_str(doc, v, "why", why);
	say(p->out, v, a);
}

void provision_say(struct provision *p, const char *text)
{
	on_step(p, NULL, NULL, text, 0, NULL);
}

int provision_plan(struct provision *p, struct err *e)
{
	struct agent *ag = p->ag;
	int r;

	p->inventory = inventory_free(p->inventory);
	r = inventory_read(ag->root, &p->inventory, e);
	if (r == 0)
		r = inventory_remember(p->inventory, ag->options->state_dir, e);
	if (r < 0)
		return r;
	p->status = inventory_status(p->inventory, p->arena);
	p->unknown = (struct err){ 0 };
	p->unknown.code = agent_pods(ag, p->arena, &p->pods, &p->n_pods, &p->unknown);
	r = p->want(p, e);
	if (r < 0)
		return r;
	inventory_status_external(p->status, p->spec);
	return plan_make(p->arena, p->inventory, p->spec, p->pods, p->n_pods, &p->plan, e);
}

size_t provision_steps(const struct provision *p)
{
	size_t n = p->plan->n_system;

	for (size_t i = 0; i < p->plan->n_pfs; i++)
		n += p->plan->pfs[i].n_steps;
	return n;
}

static int report(struct provision *p, const char *sync_status, const char *error, struct err *e)
{
	p->status->sync_status = sync_status;
	p->status->last_sync_error = error;
	return p->report(p, e);
}

static bool is_reset(const struct plan_pf *pf, bool force)
{
	return pf->drain && pf->n_steps && (force || !pf->n_pods);
}

/* The pools as if the ports that are about to be reset had no VFs: no pod gets one any more. false: there is no such port. */
static bool withdraw(struct provision *p, bool force)
{
	struct inventory rest = *p->inventory;
	bool any = false;

	rest.pfs = arena_alloc(p->arena, rest.n_pfs * sizeof(*rest.pfs));
	for (size_t i = 0; i < rest.n_pfs; i++) {
		rest.pfs[i] = p->inventory->pfs[i];
		for (size_t k = 0; k < p->plan->n_pfs; k++)
			if (is_reset(&p->plan->pfs[k], force) && !strcmp(p->plan->pfs[k].pci, rest.pfs[i].pci)) {
				rest.pfs[i].n_vfs = 0;
				any = true;
			}
	}
	if (any)
		pools_build(p->ag, p->spec, p->resources, &rest);
	return any;
}

/* A pod that got a VF since the ports were planned for is seen now; none can come after it. */
static int execute(struct provision *p, bool force, struct err *e)
{
	struct apply_progress progress = { .step = on_step, .arg = p };
	int r = withdraw(p, force) ? provision_plan(p, e) : 0;

	if (r == 0 && p->plan->drain && p->unknown.code && !force)
		r = err_set(e, -EAGAIN, "it is not known whether pods have VFs of ports that must change: %s", p->unknown.msg);
	return r < 0 ? r : apply_run(p->ag->root, p->plan, force, &progress, e);
}

int provision_run(struct provision *p, bool force, struct err *e)
{
	const struct plan_pf *undone;
	struct err first = { 0 };
	int r;

	if (provision_steps(p) && report(p, "InProgress", NULL, e) < 0)
		return e->code;
	r = execute(p, force, &first);
	/* read back, also after a failure: the node state says what is, not what was wanted */
	if (provision_plan(p, e) < 0)
		return e->code;
	undone = plan_undone(p->plan);
	if (r == 0 && undone)
		r = err_set(&first, -EIO, "%s (%s) is not as asked after all steps: %s", undone->netdev ? undone->netdev : "port", undone->pci,
			    undone->error ? undone->error :
					    arena_printf(p->arena, "%s still to do", plan_step_text(p->arena, &undone->steps[0])));
	pools_build(p->ag, p->spec, p->resources, p->inventory);
	if (report(p, r < 0 ? "Failed" : "Succeeded", r < 0 ? first.msg : NULL, e) < 0)
		return e->code;
	return r < 0 ? err_set(e, r, "%s", first.msg) : 0;
}

void provision_end(struct provision *p)
{
	p->inventory = inventory_free(p->inventory);
}
