/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node's SriovNetworkNodeState: what its spec asks is provisioned, what is there becomes its status. In steady state
 * nothing is written: the status is compared with the one that the API server has. The agent does not make it: a node that the controller
 * does not serve has none, and keeps what it has.
 */
#include <string.h>

#include "agent/cluster.h"
#include "agent/provision.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "policy/resources.h"

#define DESIRED_STATE "sriovnetwork.openshift.io/desired-state"

struct round {
	struct provision provision; /* first: its callbacks get this */
	struct cluster *cl;
	struct api_nodestate *state;
	const char *waiting; /* why ports are left as they are, or NULL */
	bool drain;	     /* they are until pods go */
};

static const struct api_kind *kind(void)
{
	return api_kind_named("SriovNetworkNodeState");
}

static struct kube_ref ref_of(struct cluster *cl, const char *sub)
{
	return (struct kube_ref){ .group = "sriovnetwork.openshift.io", .version = "v1", .plural = "sriovnetworknodestates",
				  .namespace = cl->ag->options->namespace, .name = cl->ag->node, .sub = sub };
}

static uint32_t hash_of_spec(const struct round *rd)
{
	struct api_meta meta = { .name = "-" };
	struct api_nodestate state = { .object = { .meta = &meta }, .spec = rd->state->spec };
	uint32_t h = 2166136261u; /* FNV-1a */

	for (const char *s = doc_mut_to_json(rd->provision.arena, api_encode(kind(), doc_new(rd->provision.arena), &state), false); *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h ? h : 1;
}

/* As one text: equal texts need no write. */
static const char *encode(struct arena *a, const struct api_nodestate_status *status, yyjson_mut_doc *doc, yyjson_mut_val **ret)
{
	struct api_meta meta = { .name = "-" };
	struct api_nodestate state = { .object = { .meta = &meta }, .status = (struct api_nodestate_status *)(uintptr_t)status };

	*ret = yyjson_mut_obj_get(api_encode(kind(), doc, &state), "status");
	return *ret ? doc_mut_to_json(a, *ret, false) : "";
}

/* A merge patch keeps what it does not name: what we have not is null. */
static int write_status(struct round *rd, struct err *e)
{
	static const char *const keys[] = { "interfaces", "bridges", "system", "syncStatus", "lastSyncError" };
	struct cluster *cl = rd->cl;
	struct arena *a = rd->provision.arena;
	const struct kube_ref ref = ref_of(cl, "status");
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v, *old, *patch = yyjson_mut_obj(doc);
	const char *text = encode(a, rd->provision.status, doc, &v);

	if (rd->state->status && !strcmp(text, encode(a, rd->state->status, doc, &old)))
		return 0;
	if (!v)
		v = yyjson_mut_obj(doc);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!yyjson_mut_obj_get(v, keys[i]))
			yyjson_mut_obj_add_null(doc, v, keys[i]);
	yyjson_mut_obj_add_val(doc, patch, "status", v);
	return kube_patch(cl->kube, a, &ref, KUBE_PATCH_MERGE, doc_mut_to_json(a, patch, false), NULL, e);
}

/* The annotation by which the operator's drain controller learns what a node waits for. */
static int write_desired(struct round *rd, struct err *e)
{
	const struct plan *plan = rd->provision.plan;
	const char *want = plan->reboot ? "Reboot_Required" : rd->drain ? "Drain_Required" : "Idle";
	const struct api_meta *meta = rd->state->object.meta;
	const char *is = pairs_get(meta->annotations, meta->n_annotations, DESIRED_STATE);
	const struct kube_ref ref = ref_of(rd->cl, NULL);

	if (is && !strcmp(is, want))
		return 0;
	return kube_patch(rd->cl->kube, rd->provision.arena, &ref, KUBE_PATCH_MERGE,
			  arena_printf(rd->provision.arena, "{\"metadata\":{\"annotations\":{\"" DESIRED_STATE "\":\"%s\"}}}", want), NULL, e);
}

/* Ports that must change and may not: pods use their VFs. NULL: none. */
static const char *waiting(struct arena *a, const struct plan *plan)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < plan->n_pfs; i++) {
		const struct plan_pf *pf = &plan->pfs[i];

		if (!pf->n_pods || !pf->n_steps)
			continue;
		strbuf_addf(&b, "%s%s (%s) must change (%s) and waits for its pods: ", b.len ? "; " : "", pf->netdev ? pf->netdev : "port", pf->pci,
			    pf->reason ? pf->reason : plan_step_text(a, &pf->steps[0]));
		for (size_t k = 0; k < pf->n_pods; k++)
			strbuf_addf(&b, "%s%s/%s", k ? ", " : "", pf->pods[k]->namespace, pf->pods[k]->name);
	}
	return b.len ? arena_printf(a, "%s: drain the node or delete them; they are not disturbed", b.s) : NULL;
}

static void see_what_waits(struct round *rd)
{
	struct provision *p = &rd->provision;

	if (p->plan->drain && p->unknown.code)
		rd->waiting = arena_printf(p->arena, "ports must change, and wait until it is known whether pods have their VFs: %s", p->unknown.msg);
	else
		rd->waiting = waiting(p->arena, p->plan);
	rd->drain = rd->waiting && !p->unknown.code;
}

/* Was this very spec tried, and did it fail? */
static bool failed_before(const struct round *rd)
{
	return rd->cl->failed_spec && rd->cl->failed_spec == hash_of_spec(rd);
}

static int report(struct provision *p, struct err *e)
{
	struct round *rd = (struct round *)p;
	int r;

	if (!rd->waiting) /* a pod may have come meanwhile */
		see_what_waits(rd);
	if (rd->waiting) {
		p->status->sync_status = "InProgress";
		p->status->last_sync_error = rd->waiting;
	} else if (!p->status->last_sync_error && !strcmp(p->status->sync_status, "InProgress") && failed_before(rd)) {
		return 0; /* a failure that is tried again stays one until it is none */
	}
	r = write_desired(rd, e);
	if (r == 0)
		r = write_status(rd, e);
	if (!kube_is_away(r) && r != -ENOENT)
		return r < 0 ? err_wrap(e, r, "writing the status of SriovNetworkNodeState %s/%s", p->ag->options->namespace, p->ag->node) : 0;
	log_debug("node state: %s", e->msg); /* the next round compares again */
	return 0;
}

static int want(struct provision *p, struct err *e)
{
	static const struct api_nodestate_spec nothing;
	struct round *rd = (struct round *)p;

	p->spec = rd->state->spec ? rd->state->spec : &nothing;
	p->resources = pairs_get(rd->state->object.meta->annotations, rd->state->object.meta->n_annotations, RESOURCES_ANNOTATION);
	return 0;
}

/* The node state as last seen; -EAGAIN when it or the node's pods are not known yet, -ENOENT when there is none. */
static int load(struct cluster *cl, struct arena *a, struct api_nodestate **ret, struct err *e)
{
	struct complaints c = { .arena = a };
	const struct api_kind *k;
	struct informer_object o;
	yyjson_val *v;
	void *object;
	int r = watch_get(cl, OF_STATE, a, cl->ag->options->namespace, cl->ag->node, &o, e);

	if (r == -EHOSTUNREACH || !watch_knows(cl, OF_PODS, NULL))
		return -EAGAIN;
	if (r == -ENOENT)
		return err_set(e, r, "there is no SriovNetworkNodeState %s/%s: the controller makes it, for the nodes that configDaemonNodeSelector of "
				     "SriovOperatorConfig default selects; till then ports stay as they are, and no VF is offered",
			       cl->ag->options->namespace, cl->ag->node);
	if (r == 0)
		r = doc_parse_json(a, "node state", o.json, strlen(o.json), DOC_SIZE_MAX, &v, e);
	if (r < 0)
		return r;
	if (api_decode_value(a, v, &k, &object, &c) < 0) {
		for (size_t i = 0; i < c.n; i++)
			if (!c.v[i].warning)
				return err_set(e, -EINVAL, "SriovNetworkNodeState %s: %s: %s", cl->ag->node, c.v[i].path, c.v[i].text);
		return err_set(e, -EINVAL, "SriovNetworkNodeState %s cannot be read", cl->ag->node);
	}
	*ret = object;
	return 0;
}

static void tell(struct cluster *cl, const struct api_nodestate *state, const char *problem)
{
	const struct kube_event_about about = { .api_version = "sriovnetwork.openshift.io/v1", .kind = kind()->kind,
						.namespace = cl->ag->options->namespace, .name = cl->ag->node,
						.uid = state ? state->object.meta->uid : NULL };

	if (problem && cl->told && !strcmp(cl->told, problem))
		return;
	free(cl->told);
	cl->told = problem ? strdup(problem) : NULL;
	if (!problem)
		return;
	log_warn("provisioning: %s", problem);
	if (state)
		kube_event(cl->events, &about, true, "ProvisioningFailed", "%s", problem);
}

/* Steps of ports that no pod uses. */
static size_t can_be_done(const struct plan *plan)
{
	size_t n = plan->n_system;

	for (size_t i = 0; i < plan->n_pfs; i++)
		n += plan->pfs[i].n_pods ? 0 : plan->pfs[i].n_steps;
	return n;
}

static int provision(struct round *rd, struct err *e)
{
	struct provision *p = &rd->provision;
	int r = provision_plan(p, e);

	if (r < 0)
		return r;
	see_what_waits(rd);
	if (!rd->waiting || (rd->drain && can_be_done(p->plan))) {
		r = provision_run(p, false, e);
	} else {
		pools_build(p->ag, p->spec, p->resources, p->inventory);
		r = report(p, e);
	}
	return r == 0 || rd->waiting ? (rd->waiting ? err_set(e, -EBUSY, "%s", rd->waiting) : 0) : r;
}

void nodestate_reconcile(struct cluster *cl)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct round rd = { .provision = { .ag = cl->ag, .arena = a, .out = -1, .want = want, .report = report }, .cl = cl };
	struct err e = { 0 };
	int r;

	pthread_mutex_lock(&cl->ag->apply_lock);
	r = load(cl, a, &rd.state, &e);
	if (r == 0)
		r = provision(&rd, &e);
	pthread_mutex_lock(&cl->lock);
	cl->waiting = rd.waiting;
	pthread_mutex_unlock(&cl->lock);
	if (rd.state)
		cl->failed_spec = r < 0 ? hash_of_spec(&rd) : 0;
	if (r < 0 && r != -EAGAIN && (!pools_known(cl->ag) || (r == -ENOENT && !rd.state)))
		pools_build(cl->ag, NULL, NULL, rd.provision.inventory); /* pods without rails start all the same */
	if (r != -EAGAIN) {
		tell(cl, rd.state, r < 0 ? e.msg : NULL);
		free(cl->ag->problem);
		cl->ag->problem = r < 0 ? strdup(e.msg) : NULL;
	}
	provision_end(&rd.provision);
	pthread_mutex_unlock(&cl->ag->apply_lock);
}
