/* SPDX-License-Identifier: Apache-2.0 */
/* The round over all devices: facts are read without the lock, over a copy of the lists; judgements are written back by id. */
#include <string.h>

#include "base/clock.h"
#include "device/allocate.h"
#include "device/early.h"
#include "device/plugin.h"

#define KUBELET_MS 5000
#define EARLY_AGE_S 60

/* One device on the round. */
struct look {
	struct resource *resource;
	struct device_vf vf; /* with strings of its own */
	size_t at;	     /* in the resource's list, when it was copied */
	bool attached, given; /* an attachment of ours holds it; the kubelet gave it to a pod */
	bool served;	      /* see struct device */
	struct health_facts facts;
	const char *problem;
};

/* A judgement that the host is to be told. */
struct news {
	const char *resource, *pci, *reason;
	bool healthy;
};

/* The VFs of all resources, lock held. */
static void copy(struct device_plugin *p, struct arena *a, struct look **ret, size_t *ret_n)
{
	for (struct resource *res = p->resources; res; res = res->next)
		for (size_t i = 0; !res->shares && !res->leaving && i < res->list.n; i++) {
			const struct device *d = &res->list.v[i];

			*(struct look *)arena_push(a, ret, ret_n, sizeof(**ret)) =
				(struct look){ .resource = res, .vf = device_vf_copy(a, &d->vf), .at = i, .served = d->served };
		}
}

static void holders(struct device_plugin *p, struct arena *a, struct device_holder **ret, size_t *ret_n)
{
	*ret = NULL;
	*ret_n = 0;
	if (p->o.host.holders)
		p->o.host.holders(p->o.host.arg, a, ret, ret_n);
}

const char *device_holder_of(struct device_plugin *p, struct arena *a, const char *pci)
{
	struct device_holder *all;
	size_t n;

	holders(p, a, &all, &n);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].pci, pci))
			return arena_printf(a, "%s/%s", all[i].namespace, all[i].name);
	return NULL;
}

static void ask(struct device_plugin *p)
{
	struct arena *a = arena_new();
	struct podres_pod *pods;
	size_t n;

	arena_free(p->given_arena);
	p->given_arena = NULL;
	p->given = NULL;
	p->n_given = 0;
	if (podres_list(p->pod_resources, KUBELET_MS, a, &pods, &n, NULL) < 0) {
		arena_free(a);
		return;
	}
	p->given_arena = a;
	p->given = pods;
	p->n_given = n;
}

/* Whether the kubelet gave the VF to a pod. */
static bool is_given(const struct device_plugin *p, const char *resource, const char *pci)
{
	for (size_t i = 0; i < p->n_given; i++)
		for (size_t j = 0; j < p->given[i].n; j++)
			if (!strcmp(p->given[i].devices[j].id, pci) && !strcmp(p->given[i].devices[j].resource, resource))
				return true;
	return false;
}

/*
 * Who holds what, and which of it is in no sum of the kubelet's. It is asked after the host was, as a pod is given its VF before it
 * holds it, and the host again after that, as a pod may have gone meanwhile.
 */
static void find_held(struct device_plugin *p, struct arena *a, struct look *all, size_t n, bool ask_kubelet)
{
	struct device_holder *held;
	size_t n_held, strangers = 0;

	holders(p, a, &held, &n_held);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n_held && !all[i].attached; j++)
			if (!strcmp(held[j].pci, all[i].vf.pci)) {
				all[i].attached = all[i].facts.held = true;
				strangers += !held[j].requested && (!p->given_arena || !is_given(p, all[i].resource->full, all[i].vf.pci));
			}
	if (strangers || ask_kubelet)
		ask(p);
	if (!strangers || !p->given_arena)
		return;
	holders(p, a, &held, &n_held);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n_held && all[i].attached; j++)
			if (!strcmp(held[j].pci, all[i].vf.pci) && !held[j].requested && !is_given(p, all[i].resource->full, all[i].vf.pci))
				all[i].facts.stranger = arena_printf(a, "%s/%s", held[j].namespace, held[j].name);
}

static void judge(struct device_plugin *p, struct arena *a, struct look *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct health_facts *same = i && !strcmp(all[i].vf.pf_pci, all[i - 1].vf.pf_pci) ? &all[i - 1].facts : NULL;

		health_read(p->o.root, a, all[i].vf.pci, all[i].vf.pf_pci, all[i].vf.pf_netdev, same, &all[i].facts);
		all[i].given = is_given(p, all[i].resource->full, all[i].vf.pci);
		all[i].facts.held |= all[i].given;
		all[i].served = all[i].attached || (all[i].served && all[i].given);
		all[i].problem = health_problem(a, &all[i].facts, all[i].vf.rdma && !p->o.soft_roce);
	}
}

struct round {
	const struct look *all;
	size_t n;
};

/* A specification of our own serves while the VF is given and not attached; of VFs that are none of ours now, too. */
static bool early_wanted(void *arg, const char *pci)
{
	const struct round *r = arg;

	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->all[i].vf.pci, pci))
			return !r->all[i].attached && r->all[i].given;
	return false;
}

/* The environment's file stays with the attachment, too: its DEL takes it away. */
static bool env_wanted(void *arg, const char *pci)
{
	const struct round *r = arg;

	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->all[i].vf.pci, pci))
			return r->all[i].attached || r->all[i].given;
	return true; /* of a VF that is not ours to judge */
}

/*
 * After a reboot the kubelet starts pods from its checkpoint, without another Allocate, and the folders are empty. Not for a pod that was
 * attached: it is on its way out, or its next ADD writes what counts.
 */
static void keep_early(struct device_plugin *p, struct arena *a, struct look *all, size_t n)
{
	const char *path;

	for (size_t i = 0; i < n; i++) {
		const char *pci = all[i].vf.pci;
		struct allocate_vf vf;

		if (!early_wanted(&(struct round){ &all[i], 1 }, pci))
			continue;
		if (p->env_dir && !all[i].served)
			early_write_env(p->env_dir, pci, a, &path, NULL);
		if (!p->cdi_dir)
			continue;
		if (early_superseded(p->cdi_dir, pci)) {
			early_remove(p->cdi_dir, pci);
			continue;
		}
		if (all[i].served || early_exists(p->cdi_dir, pci))
			continue;
		if (allocate_read(p->o.root, a, p->dev_dir, &all[i].vf, false, &vf, NULL) < 0)
			continue;
		/* an ADD that has begun meanwhile writes the one that counts, and there would be two */
		if (!device_holder_of(p, a, pci))
			early_write(p->cdi_dir, p->o.root, pci, vf.rdma, true, NULL);
		if (device_holder_of(p, a, pci) || early_superseded(p->cdi_dir, pci))
			early_remove(p->cdi_dir, pci);
	}
	if (p->cdi_dir)
		early_clean(EARLY_CDI, p->cdi_dir, EARLY_AGE_S, early_wanted, &(struct round){ all, n });
	if (p->env_dir)
		early_clean(EARLY_ENV, p->env_dir, EARLY_AGE_S, env_wanted, &(struct round){ all, n });
}

static struct device *device_of(const struct look *l)
{
	struct device_list *list = &l->resource->list;

	if (l->at < list->n && !strcmp(list->v[l->at].vf.pci, l->vf.pci))
		return &list->v[l->at];
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->v[i].vf.pci, l->vf.pci))
			return &list->v[i];
	return NULL;
}

static void set_reason(struct device *d, const char *reason)
{
	free(d->reason);
	d->reason = reason ? strdup(reason) : NULL;
}

/* One judgement into its device, lock held. */
static void apply(struct device_plugin *p, const struct look *l, uint64_t now, uint64_t *wait, struct arena *a, struct news **news,
		  size_t *n_news)
{
	struct device *d = device_of(l);
	bool first, changed;
	uint64_t left;

	if (!d)
		return; /* taken out meanwhile */
	first = !d->health.known;
	/* gone from the bus, or not ours to give: the kubelet must not choose it for another second */
	changed = health_step(&d->health, !l->problem, !l->facts.present || l->facts.stranger, now, (uint64_t)p->o.hold_ms * 1000000u, &left);
	d->held = l->attached;
	d->served = l->served;
	set_reason(d, d->health.healthy ? NULL : l->problem);
	if (left && (!*wait || left < *wait))
		*wait = left;
	if (changed && !(first && d->health.healthy))
		*(struct news *)arena_push(a, news, n_news, sizeof(**news)) =
			(struct news){ l->resource->full, l->vf.pci, l->problem ? l->problem : "", d->health.healthy };
}

void device_look(struct device_plugin *p, bool ask_kubelet, uint64_t *ret_wait_ns)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct look *all = NULL;
	struct news *news = NULL;
	size_t n = 0, n_news = 0;

	pthread_mutex_lock(&p->lock);
	copy(p, a, &all, &n);
	pthread_mutex_unlock(&p->lock);
	find_held(p, a, all, n, ask_kubelet);
	judge(p, a, all, n);
	if (ask_kubelet && (p->cdi_dir || p->env_dir) && p->given_arena)
		keep_early(p, a, all, n);
	*ret_wait_ns = 0;
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < n; i++)
		apply(p, &all[i], clock_ns(), ret_wait_ns, a, &news, &n_news);
	for (struct resource *res = p->resources; res; res = res->next) {
		bool known = true;

		for (size_t i = 0; i < res->list.n; i++)
			known &= res->list.v[i].health.known;
		if (!known)
			continue; /* put in meanwhile: the next round, which comes at once */
		device_push(res);
		res->judged = true;
	}
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; p->o.host.health && i < n_news; i++)
		p->o.host.health(p->o.host.arg, news[i].resource, news[i].pci, news[i].healthy, news[i].reason);
}

void device_clean_info(struct device_plugin *p, const struct resource *res)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct device_holder *held;
	const char **keep = NULL;
	size_t n_held, n = 0;

	holders(p, a, &held, &n_held);
	if (!p->given_arena)
		ask(p);
	for (size_t i = 0; i < n_held; i++)
		*(const char **)arena_push(a, &keep, &n, sizeof(*keep)) = held[i].pci;
	for (size_t i = 0; i < p->n_given; i++)
		for (size_t j = 0; j < p->given[i].n; j++)
			if (!strcmp(p->given[i].devices[j].resource, res->full))
				*(const char **)arena_push(a, &keep, &n, sizeof(*keep)) = p->given[i].devices[j].id;
	allocate_clean_info(p->info_dir, res->prefix, res->name, keep, n);
}
