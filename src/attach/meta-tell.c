/* SPDX-License-Identifier: Apache-2.0 */
/* What a meta plugin's ADD tells of itself: the pod's annotation network-status, its events, the result. */
#include <string.h>

#include "attach/engine.h"
#include "attach/netstatus.h"
#include "attach/result.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "linux/pci.h"

static const struct attach_cluster *cluster_of(const struct add_work *w)
{
	return w->en->host.cluster;
}

static const struct attachment_rail *rail_of(const struct add_work *w, const struct net *net, const struct rail_work **ret_work)
{
	for (size_t i = 0; i < w->n; i++) {
		if (!strcmp(w->rails[i].rec->ifname, net->ifname)) {
			*ret_work = &w->rails[i];
			return w->rails[i].rec;
		}
	}
	return NULL;
}

/* Of a rail: its network's own, unless the annotation gives that family to another network or another gateway. */
static void add_gateways(struct arena *a, const struct net *net, struct netstatus *s)
{
	bool drop[] = { net->filter_v4, net->filter_v6 };

	for (size_t i = 0; net->item && i < net->item->n_default_route; i++) {
		const char *gw = net->item->default_route[i];

		if (!*gw)
			continue;
		drop[strchr(gw, ':') != NULL] = true;
		*(const char **)arena_push(a, &s->gateways, &s->n_gateways, sizeof(*s->gateways)) = gw;
	}
	for (size_t i = 0; i < net->rail.ipam.n_routes; i++) {
		const struct ipam_route *route = &net->rail.ipam.routes[i];

		if (route->gw && ((!strcmp(route->dst, "0.0.0.0/0") && !drop[0]) || (!strcmp(route->dst, "::/0") && !drop[1])))
			*(const char **)arena_push(a, &s->gateways, &s->n_gateways, sizeof(*s->gateways)) = route->gw;
	}
}

static void status_of_rail(struct add_work *w, const struct net *net, struct netstatus **list, size_t *n)
{
	const struct rail_work *work = NULL;
	const struct attachment_rail *rec = rail_of(w, net, &work);
	struct netstatus *s;

	if (!rec)
		return;
	s = arena_push(w->a, list, n, sizeof(*s));
	*s = (struct netstatus){ .name = net->network, .interface = rec->ifname, .mac = rec->mac, .mtu = rec->mtu, .is_default = net->master,
				 .dns = net->rail.ipam.dns, .pci = rec->vf, .rdma = rec->rdma, .pf_pci = rec->pf_pci };
	for (size_t i = 0; i < rec->n_addresses; i++)
		*(const char **)arena_push(w->a, &s->ips, &s->n_ips, sizeof(*s->ips)) = netstatus_ip(w->a, rec->addresses[i]);
	add_gateways(w->a, net, s);
}

static struct netstatus *make_status(struct add_work *w, size_t *ret_n)
{
	struct netstatus *list = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < w->n_nets; i++) {
		const struct net *net = &w->nets[i];
		struct pci_addr addr;
		bool is_pci = net->device_id && pci_parse(net->device_id, &addr) == 0;
		size_t before = *ret_n;

		if (net->ours) {
			status_of_rail(w, net, &list, ret_n);
			continue;
		}
		netstatus_of_result(w->a, &w->results[i], net->network, net->master, &list, ret_n);
		for (; is_pci && before < *ret_n; before++) {
			list[before].pci = list[before].pci ? list[before].pci : net->device_id;
			list[before].rdma = net->rdma;
			list[before].pf_pci = net->pf_pci;
		}
	}
	return list;
}

/* "Add eth0 [10.244.0.5/24] from cbr0; net1 [10.0.132.1/24] from llm/roce-p2" */
static void tell_added(struct add_work *w)
{
	const struct attach_cluster *c = cluster_of(w);
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < w->n_nets; i++) {
		const struct net *net = &w->nets[i];
		const struct rail_work *work = NULL;
		const struct attachment_rail *rec = net->ours ? rail_of(w, net, &work) : NULL;
		size_t n = rec ? rec->n_addresses : w->results[i].n_ips;

		strbuf_addf(&b, "%s%s [", i ? "; " : "Add ", net->ifname);
		for (size_t k = 0; k < n; k++)
			strbuf_addf(&b, "%s%s", k ? " " : "", rec ? rec->addresses[k] : w->results[i].ips[k].address);
		strbuf_addf(&b, "] from %s", net->network);
		if (rec && rec->rdma)
			strbuf_addf(&b, " (%s%s)", rec->soft ? "soft RoCE " : "RDMA ", rec->rdma);
	}
	c->event(c->arg, w->pod, false, "AddedInterface", b.s);
}

void meta_tell(struct add_work *w)
{
	const struct attach_cluster *c = cluster_of(w);
	struct netstatus *list;
	const char *text;
	struct err e;
	int r = 0;
	size_t n;

	if (!w->pod)
		return;
	list = make_status(w, &n);
	text = netstatus_text(w->a, list, n);
	engine_step(w->en, STEP_STATUS, 0);
	if (c->network_status)
		r = c->network_status(c->arg, w->pod, text, &e);
	/* the pod's network is there whether or not the API server hears of it now */
	if (r < 0)
		attachment_warn(w->at, "network-status is not written: %s", e.msg);
	else if (r > 0)
		w->at->late_status = arena_strdup(w->at->arena, text);
	meta_timing(w, "status");
	if (!c->event)
		return;
	tell_added(w);
	for (size_t i = 0; i < w->at->n_warnings; i++)
		c->event(c->arg, w->pod, true, "RailWarning", w->at->warnings[i]);
}

void attach_tell_late(struct attach_engine *en)
{
	const struct attach_cluster *c = en->host.cluster;
	_cleanup_arena_ struct arena *a = arena_new();
	size_t n;
	struct request_id *ids = engine_ids(en, a, NULL, &n);

	for (size_t i = 0; i < n; i++) {
		const struct attachment *at;
		struct busy busy;
		struct err e;

		engine_lock_container(en, &busy, ids[i].container);
		at = engine_find(en, ids[i].container, ids[i].ifname);
		if (at && at->late_status && !strcmp(at->state, ATTACHMENT_READY)) {
			const struct attach_pod pod = { .namespace = at->pod->namespace, .name = at->pod->name, .uid = at->pod->uid };

			if (c->network_status(c->arg, &pod, at->late_status, &e) < 0)
				log_warn("pod %s/%s: network-status: %s", pod.namespace, pod.name, e.msg);
		}
		engine_unlock_container(en, &busy);
	}
}

void meta_tell_failure(struct add_work *w, const struct cni_failure *f)
{
	const struct attach_cluster *c = cluster_of(w);

	if (w->meta && w->pod && c && c->event)
		c->event(c->arg, w->pod, true, f->e.code == -ENOENT && !w->nets ? "NoNetworkFound" : "AttachFailed", f->e.msg);
}

char *meta_result(struct add_work *w)
{
	for (size_t i = 0; i < w->n_nets; i++) {
		const struct net *net = &w->nets[i];
		const struct rail_work *work = NULL;
		const struct attachment_rail *rec = net->ours ? rail_of(w, net, &work) : NULL;

		if (!net->master)
			continue;
		if (!rec)
			return doc_mut_to_json(w->a, cniresult_json(doc_new(w->a), &w->results[i], w->rq->version), false);
		return result_make(w->a, w->rq->version, NULL,
				   &(struct result_rail){ .name = rec->ifname, .mac = rec->mac, .sandbox = w->rq->netns, .pci_id = rec->vf, .mtu = rec->mtu,
							  .ipam = &work->rail->ipam, .ips = work->given.ips, .n_ips = work->given.n_ips }, 1);
	}
	return arena_strdup(w->a, "");
}
