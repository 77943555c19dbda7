/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One apply: from changed objects to VFs that are there. Everything that can be refused is refused
 * before anything is stored; what is stored is then provisioned, and provisioned again at the next
 * start if the agent dies on the way.
 */
#include <string.h>

#include "agent/state.h"
#include "base/log.h"
#include "base/strbuf.h"

struct job {
	struct agent *ag;
	struct arena *arena;
	int out;
	struct inventory *inventory;
	struct api_nodestate_status *status;
	struct controller_objects objects;
	struct merge_result merged;
	struct plan *plan;
	struct plan_pod *pods;
	size_t n_pods;
};

static void say(int out, yyjson_mut_doc *doc, yyjson_mut_val *v, struct arena *a)
{
	char *line = doc_mut_to_json(a, v, false);

	if (out >= 0)
		dprintf(out, "%s\n", line); /* a client that went away does not stop the work */
}

static void on_step(void *arg, const char *pci, const char *netdev, const char *text, int result, const char *why)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct job *job = arg;
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
	say(job->out, doc, v, a);
}

/* Measure the node and decide what the objects ask of it. */
static int decide(struct job *job, struct err *e)
{
	struct agent *ag = job->ag;
	int r;

	job->inventory = inventory_free(job->inventory);
	r = inventory_read(ag->root, &job->inventory, e);
	if (r == 0)
		r = inventory_remember(job->inventory, ag->options->state_dir, e);
	if (r < 0)
		return r;
	job->status = inventory_status(job->inventory, job->arena);
	agent_pods(ag, job->arena, &job->pods, &job->n_pods);
	r = merge_policies(job->arena, job->objects.policies, job->objects.n_policies, NULL, 0, true, job->status,
			   job->objects.rdma_mode, &job->merged, e);
	if (r == 0)
		r = plan_make(job->arena, job->inventory, job->merged.spec, job->pods, job->n_pods, &job->plan, e);
	return r;
}

static int check_together(struct job *job, struct err *e)
{
	struct complaints c = { .arena = job->arena };

	validate_together(job->objects.policies, job->objects.n_policies, &c);
	for (size_t i = 0; i < c.n; i++)
		if (!c.v[i].warning)
			return err_set(e, -EINVAL, "%s%s%s", c.v[i].path, *c.v[i].path ? ": " : "", c.v[i].text);
	return 0;
}

/* What cannot be done, or would take a VF from a pod, is refused whole. */
static int check_plan(const struct plan *p, bool force, struct err *e)
{
	for (size_t i = 0; i < p->n_pfs; i++) {
		const struct plan_pf *pf = &p->pfs[i];

		if (pf->error)
			return err_set(e, -EINVAL, "%s (%s): %s", pf->netdev ? pf->netdev : "port", pf->pci, pf->error);
		if (pf->n_pods && pf->drain && !force)
			return err_set(e, -EBUSY, "%s (%s): pod %s/%s%s holds its VF %s, and %s: delete the pod first, or use --force",
				       pf->netdev ? pf->netdev : "port", pf->pci, pf->pods[0]->namespace, pf->pods[0]->name,
				       pf->n_pods > 1 ? " and others" : "", pf->pods[0]->pci,
				       pf->reason ? pf->reason : "the port must be reset");
	}
	return 0;
}

static size_t count_steps(const struct plan *p)
{
	size_t n = p->n_system;

	for (size_t i = 0; i < p->n_pfs; i++)
		n += p->pfs[i].n_steps;
	return n;
}

static int store_nodestate(struct job *job, const char *sync_status, const char *error, struct err *e)
{
	struct store_object state;
	int r;

	job->status->sync_status = sync_status;
	job->status->last_sync_error = error;
	r = controller_nodestate(job->arena, job->ag->options->namespace, job->ag->node, &job->merged, job->status, &state, e);
	return r < 0 ? r : store_apply(job->ag->store, &state, 1, e);
}

static void notes(struct job *job)
{
	for (size_t i = 0; i < job->merged.n_notes; i++)
		if (!job->merged.notes[i].ports_selected)
			on_step(job, NULL, NULL, arena_printf(job->arena, "policy %s: %s",
							      job->merged.notes[i].policy->object.meta->name,
							      job->merged.notes[i].text), 0, NULL);
}

static int provision(struct job *job, bool force, struct err *e)
{
	struct apply_progress progress = { .step = on_step, .arg = job };
	struct err first = { 0 };
	int r;

	r = apply_run(job->ag->root, job->plan, force, &progress, &first);
	/* read back, also after a failure: the node state says what is, not what was wanted */
	if (decide(job, e) < 0)
		return e->code;
	if (r == 0 && !job->plan->nothing_to_do && job->plan->n_pfs && job->plan->pfs[0].n_steps)
		r = err_set(&first, -EIO, "%s (%s) is not as asked after all steps: %s still to do", job->plan->pfs[0].netdev,
			    job->plan->pfs[0].pci, plan_step_text(job->arena, &job->plan->pfs[0].steps[0]));
	pools_build(job->ag, job->merged.spec, job->inventory);
	if (store_nodestate(job, r < 0 ? "Failed" : "Succeeded", r < 0 ? first.msg : NULL, e) < 0)
		return e->code;
	return r < 0 ? err_set(e, r, "%s", first.msg) : 0;
}

static int run(struct job *job, struct store_object *changes, size_t n, bool force, struct err *e)
{
	struct agent *ag = job->ag;
	struct store_object *all = NULL;
	size_t n_all = 0, n_steps;
	int r, n_changed;

	r = controller_load(ag->store, job->arena, changes, n, &job->objects, e);
	if (r == 0)
		r = check_together(job, e);
	if (r == 0)
		r = decide(job, e);
	if (r == 0)
		r = check_plan(job->plan, force, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		*(struct store_object *)arena_push(job->arena, &all, &n_all, sizeof(*all)) = changes[i];
	r = controller_nads(ag->store, job->arena, &job->objects, ag->options->prefix, &all, &n_all, e);
	if (r < 0)
		return r;
	n_changed = n_all ? store_apply(ag->store, all, n_all, e) : 0;
	if (n_changed < 0)
		return n_changed;
	n_steps = count_steps(job->plan);
	notes(job);
	if (n_steps && store_nodestate(job, "InProgress", NULL, e) < 0)
		return e->code;
	r = provision(job, force, e);
	if (r == 0 && job->out >= 0)
		dprintf(job->out, "{\"done\":true,\"steps\":%zu,\"objects\":%d}\n", n_steps, n_changed);
	return r;
}

int agent_apply(struct agent *ag, struct arena *a, struct store_object *changes, size_t n, bool force, int out,
		struct err *e)
{
	struct job job = { .ag = ag, .arena = a, .out = out };
	int r;

	if (pthread_mutex_trylock(&ag->apply_lock))
		return err_set(e, -EBUSY, "another apply is running: wait for it, or look at 'kvrail status'");
	r = run(&job, changes, n, force, e);
	free(ag->problem);
	ag->problem = r < 0 && job.plan ? strdup(e->msg) : NULL;
	inventory_free(job.inventory);
	pthread_mutex_unlock(&ag->apply_lock);
	return r;
}
