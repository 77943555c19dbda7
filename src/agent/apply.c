/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One apply of the standalone agent: from changed objects to VFs that are there. Everything that can be refused is refused
 * before anything is stored; what is stored is then provisioned, and provisioned again at the next
 * start if the agent dies on the way: there each port for itself.
 */
#include <string.h>

#include "agent/provision.h"

struct job {
	struct provision provision; /* first: its callbacks get this */
	struct controller_objects objects;
	struct merge_result merged;
};

static int want(struct provision *p, struct err *e)
{
	struct job *job = (struct job *)p;
	int r = merge_policies(p->arena, job->objects.policies, job->objects.n_policies, NULL, 0, true, p->status,
			       job->objects.rdma_mode, &job->merged, e);

	p->spec = job->merged.spec;
	return r;
}

static int store_nodestate(struct provision *p, struct err *e)
{
	struct job *job = (struct job *)p;
	struct store_object state;
	int r = controller_nodestate(p->arena, p->ag->options->namespace, p->ag->node, &job->merged, p->status, &state, e);

	return r < 0 ? r : store_apply(p->ag->store, &state, 1, e);
}

static int check_together(struct job *job, struct err *e)
{
	struct complaints c = { .arena = job->provision.arena };

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

static void notes(struct job *job)
{
	for (size_t i = 0; i < job->merged.n_notes; i++)
		if (!job->merged.notes[i].ports_selected)
			provision_say(&job->provision, arena_printf(job->provision.arena, "policy %s: %s",
								    job->merged.notes[i].policy->object.meta->name,
								    job->merged.notes[i].text));
}

static int run(struct job *job, struct store_object *changes, size_t n, bool force, struct err *e)
{
	struct provision *p = &job->provision;
	struct agent *ag = p->ag;
	struct store_object *all = NULL;
	size_t n_all = 0, n_steps;
	int r, n_changed;

	r = controller_load(ag->store, p->arena, changes, n, &job->objects, e);
	if (r == 0)
		r = check_together(job, e);
	if (r == 0)
		r = provision_plan(p, e);
	if (r == 0 && n) /* at start one port that cannot be had holds up no other */
		r = check_plan(p->plan, force, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		*(struct store_object *)arena_push(p->arena, &all, &n_all, sizeof(*all)) = changes[i];
	r = controller_nads(ag->store, p->arena, &job->objects, ag->options->prefix, &all, &n_all, e);
	if (r < 0)
		return r;
	n_changed = n_all ? store_apply(ag->store, all, n_all, e) : 0;
	if (n_changed < 0)
		return n_changed;
	n_steps = provision_steps(p);
	notes(job);
	r = provision_run(p, force, e);
	if (r == 0 && p->out >= 0)
		dprintf(p->out, "{\"done\":true,\"steps\":%zu,\"objects\":%d}\n", n_steps, n_changed);
	return r;
}

int agent_apply(struct agent *ag, struct arena *a, struct store_object *changes, size_t n, bool force, int out,
		struct err *e)
{
	struct job job = { .provision = { .ag = ag, .arena = a, .out = out, .want = want, .report = store_nodestate } };
	int r;

	if (pthread_mutex_trylock(&ag->apply_lock))
		return err_set(e, -EBUSY, "another apply is running: wait for it, or look at 'kvrail status'");
	r = run(&job, changes, n, force, e);
	free(ag->problem);
	ag->problem = r < 0 && job.provision.plan ? strdup(e->msg) : NULL;
	provision_end(&job.provision);
	pthread_mutex_unlock(&ag->apply_lock);
	return r;
}
