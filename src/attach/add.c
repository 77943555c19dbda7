/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/beside.h"
#include "attach/engine.h"
#include "attach/result.h"
#include "attach/vf.h"
#include "base/clock.h"
#include "base/log.h"
#include "fabric/gid.h"
#include "linux/netns.h"

/* The namespace must be there and another than the agent's own. */
static int open_netns(struct add_work *w, struct cni_failure *f)
{
	w->netns_fd = netns_open(w->rq->netns, &f->e);
	if (w->netns_fd < 0)
		return f->code = CNI_INVALID_NETNS;
	w->host_fd = netns_open_self(&f->e);
	if (w->host_fd < 0)
		return cni_fail_errno(f, w->host_fd);
	if (netns_same(w->host_fd, w->netns_fd))
		return cni_fail(f, CNI_INVALID_NETNS, NULL, "plugin's netns and netns from CNI_NETNS should not be the same");
	attachment_set_netns(w->at, w->netns_fd);
	return 0;
}

static void fill_identity(struct add_work *w)
{
	const struct request *rq = w->rq;
	struct attachment *at = w->at;
	char now[32];

	clock_rfc3339(now);
	at->pod->namespace = rq->pod_namespace ? rq->pod_namespace : "";
	at->pod->name = rq->pod_name ? rq->pod_name : "";
	at->pod->uid = rq->pod_uid ? rq->pod_uid : "";
	at->container = rq->container;
	at->ifname = rq->ifname;
	at->netns = rq->netns;
	at->conf_name = rq->name;
	at->state = ATTACHMENT_ADDING;
	at->created = arena_strdup(at->arena, now);
}

static int pick_all(struct add_work *w, const struct rail *rails, size_t n, struct reserved *mine, struct err *e)
{
	const struct attach_host *host = &w->en->host;
	const char **taken;
	size_t n_taken;

	taken = engine_taken(w->en, w->a, &n_taken);
	for (size_t i = 0; i < n; i++) {
		struct attach_vf *vf = &w->rails[i].vf;
		const char *name;
		int r = host->pick_vf(host->arg, w->a, rails[i].resource, rails[i].device_id, taken, n_taken, vf, e);

		if (r < 0)
			return err_wrap(e, r, "network %s", rails[i].network);
		name = vf->pci && *vf->pci ? vf->pci : vf->netdev;
		if (!name)
			return err_set(e, -ENODEV, "network %s: the VF has neither PCI address nor network interface", rails[i].network);
		*(const char **)arena_push(w->a, &taken, &n_taken, sizeof(*taken)) = name;
		*(const char **)arena_push(w->a, &mine->vfs, &mine->n, sizeof(*taken)) = name;
	}
	return 0;
}

/* A VF for each rail, all or none. Two ADDs never get the same: one chooses at a time, and what it took stays reserved. */
static int pick_vfs(struct add_work *w, const struct rail *rails, size_t n, struct reserved *mine, struct err *e)
{
	int r;

	w->n = n;
	w->rails = arena_alloc(w->a, n * sizeof(*w->rails));
	pthread_mutex_lock(&w->en->picking);
	r = pick_all(w, rails, n, mine, e);
	if (r < 0)
		mine->n = 0;
	engine_reserve(w->en, mine);
	pthread_mutex_unlock(&w->en->picking);
	return r;
}

static void fill_rails(struct add_work *w, const struct rail *rails)
{
	struct arena *a = w->at->arena;

	w->at->n_rails = w->n;
	w->at->rails = arena_alloc(a, w->n * sizeof(*w->at->rails));
	for (size_t i = 0; i < w->n; i++) {
		const struct attach_vf *vf = &w->rails[i].vf;
		struct attachment_rail *rec = &w->at->rails[i];

		w->rails[i].rail = &rails[i];
		w->rails[i].rec = rec;
		rec->network = rails[i].network;
		rec->ifname = rails[i].ifname;
		rec->resource = vf->resource;
		rec->vf = vf->pci ? vf->pci : "";
		rec->pf = vf->pf_netdev;
		rec->pf_pci = vf->pf_pci;
		rec->vf_index = vf->index;
		rec->driver = vf->driver;
		rec->found = arena_alloc(a, sizeof(*rec->found));
		rec->set = arena_alloc(a, sizeof(*rec->set));
	}
}

/* A name of its own on the whole node: device names are unique across namespaces. */
static const char *rxe_name(struct arena *a, const char *container, const char *ifname)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (const char *s = container; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return arena_printf(a, "rxe_%s_%06x", ifname, h & 0xffffff);
}

/*
 * Hardware: the device moves when the RDMA subsystem is in exclusive mode, and is seen everywhere when it is not.
 * No device and soft RoCE allowed: one is made.
 */
static int plan_rdma(struct add_work *w, struct rail_work *rw, struct err *e)
{
	struct attachment_rail *rec = rw->rec;

	if (!vf_has_netdev(rec))
		return rw->rail->want.rdma ? err_set(e, -ENODEV, "the configuration asks for RDMA (plugin \"rdma\"), VF %s is bound to %s and has no "
						     "RDMA device: set deviceType: netdevice in its policy", rec->vf, rec->driver) : 0;
	if (rw->rail->want.rdma && !w->host_rdma)
		return err_set(e, -EPROTONOSUPPORT, "the configuration asks for RDMA (plugin \"rdma\"), the kernel has none loaded: modprobe ib_core");
	if (rw->rail->want.rdma && !w->exclusive)
		return err_set(e, -EINVAL,
			       "the configuration asks for an RDMA device of the pod alone (plugin \"rdma\"), the RDMA subsystem is in shared mode: "
			       "set rdmaMode: exclusive in a SriovNetworkPoolConfig, or `rdma system set netns exclusive` before pods start");
	if (rw->vf.rdma) {
		rec->rdma = rw->vf.rdma;
		rec->set->rdma = w->exclusive;
	} else if (w->en->host.soft_roce) {
		rec->rdma = rec->set->rxe = rxe_name(w->at->arena, w->rq->container, rec->ifname);
		rec->soft = true;
	} else if (rw->rail->want.rdma) {
		return err_set(e, -ENODEV, "VF %s has no RDMA device: is its RDMA driver loaded, and isRdma set in the policy?", rec->vf);
	}
	if (rec->rdma && w->meta && !meta_gives_rdma(w, attachment_device(rec)))
		attachment_warn(w->at, "%s: containers get no RDMA device with VF %s: the policy of resource %s has no isRdma: true", rec->ifname,
				attachment_device(rec), rec->resource);
	if (rec->rdma && !w->exclusive)
		attachment_warn(w->at, "%s: RDMA is in shared mode: every pod sees %s, and this pod sees every device of the node", rec->ifname,
				rec->rdma);
	return 0;
}

static int open_host(struct add_work *w, struct err *e)
{
	int r = rtnl_open(&w->host_nl, e);

	if (r < 0)
		return r;
	r = rdma_open(&w->host_rdma, e);
	if (r == 0)
		return rdma_get_exclusive(w->host_rdma, &w->exclusive, e);
	w->host_rdma = NULL;
	if (w->en->host.soft_roce)
		return err_wrap(e, r, "soft RoCE");
	return 0;
}

/* What is there and what shall change, into the attachment. Changes nothing. */
static int find_and_plan(struct add_work *w, struct err *e)
{
	struct vf_port *ports = NULL;
	int r = w->n ? open_host(w, e) : 0;

	for (size_t i = 0; r == 0 && i < w->n; i++) {
		struct rail_work *rw = &w->rails[i];

		r = vf_find(w->host_nl, w->at->arena, &ports, &rw->vf, rw->rec, &rw->index, e);
		if (r == 0) {
			vf_plan(&rw->rail->want, w->at, rw->rec);
			r = plan_rdma(w, rw, e);
		}
		if (r < 0)
			return err_wrap(e, r, "%s (network %s)", rw->rec->ifname, rw->rail->network);
	}
	w->e = e;
	return r < 0 || !(w->n + w->at->n_delegates) ? r : netns_call(w->netns_fd, false, pod_names_are_free, w, e);
}

/* Addresses of all rails in one transaction. */
static int allocate(struct add_work *w, struct err *e)
{
	struct ipam_conf *confs = arena_alloc(w->a, w->n * sizeof(*confs));
	struct ipam_ask *asks = arena_alloc(w->a, w->n * sizeof(*asks));
	size_t *rail_of = arena_alloc(w->a, w->n * sizeof(*rail_of)), n = 0;
	struct ipam_given *given;
	int r;

	for (size_t i = 0; i < w->n; i++) {
		if (!w->rails[i].rail->ipam.type)
			continue;
		r = ipam_share(w->a, &w->rails[i].rail->ipam, w->en->host.share_part, w->en->host.share_of, &confs[n], e);
		if (r < 0)
			return err_wrap(e, r, "network %s", w->rails[i].rail->network);
		asks[n] = (struct ipam_ask){ .conf = &confs[n], .ifname = w->rails[i].rec->ifname,
					     .requested = w->rails[i].rail->ip };
		rail_of[n++] = i;
	}
	if (n == 0)
		return 0;
	if (!w->rq->pod_name)
		return err_set(e, -EINVAL, "CNI_ARGS: K8S_POD_NAME is missing: addresses belong to a pod");
	engine_step(w->en, STEP_ALLOCATE, 0);
	r = ipam_allocate(w->en->host.ipam, w->a, w->rq->container,
			  arena_printf(w->a, "%s/%s", w->rq->pod_namespace ? w->rq->pod_namespace : "", w->rq->pod_name), asks, n, &given, e);
	for (size_t k = 0; r == 0 && k < n; k++) {
		struct attachment_rail *rec = w->rails[rail_of[k]].rec;

		w->rails[rail_of[k]].given = given[k];
		for (size_t j = 0; j < given[k].n_ips; j++)
			*(const char **)arena_push(w->at->arena, &rec->addresses, &rec->n_addresses, sizeof(char *)) = given[k].ips[j].address;
	}
	return r;
}

static int move_rdma(struct add_work *w, size_t i, struct err *e)
{
	struct attachment_rail *rec = w->rails[i].rec;
	struct rdma_dev dev;
	int r;

	if (!rec->set->rdma)
		return 0;
	engine_step(w->en, STEP_RDMA_MOVE, i);
	r = rdma_dev(w->host_rdma, rec->rdma, &dev, e);
	return r < 0 ? r : rdma_move(w->host_rdma, dev.index, w->netns_fd, e);
}

struct naming {
	struct add_work *w;
	struct rail_work *rw;
	struct err *e;
};

static int name_in_pod(void *arg)
{
	_cleanup_nl_ struct nl *nl = NULL;
	struct naming *n = arg;
	struct rtnl_link link;
	int r = rtnl_open(&nl, n->e);

	if (r == 0)
		r = vf_link(nl, n->w->a, n->rw->rec, &link, n->e);
	return r < 0 ? r : rtnl_set_name(nl, link.index, n->rw->rec->ifname, n->e);
}

/* IPoIB's netdev was made anew, in the RDMA device's namespace or, by older kernels, in the initial one (ipoib_add_port()). */
static int move_ipoib(struct add_work *w, struct rail_work *rw, struct err *e)
{
	struct naming naming = { w, rw, e };
	struct rtnl_link link;
	int r = netns_call(w->netns_fd, false, name_in_pod, &naming, e);

	if (r != -ENODEV)
		return r;
	r = vf_link(w->host_nl, w->a, rw->rec, &link, e);
	return r < 0 ? r : rtnl_move(w->host_nl, link.index, w->netns_fd, rw->rec->ifname, e);
}

/*
 * The netdev, then the RDMA device. Over InfiniBand the other way round: moving the device takes its clients off and puts them on again
 * (drivers/infiniband/core/device.c, rdma_dev_change_netns()), IPoIB and its netdev with them.
 */
static int move_rail(struct add_work *w, size_t i, struct err *e)
{
	struct rail_work *rw = &w->rails[i];
	bool ipoib = rw->rec->set->rdma && gid_is_infiniband(w->en->host.root, w->a, rw->rec->rdma, 1);
	int r = ipoib ? move_rdma(w, i, e) : 0;

	if (r == 0 && vf_has_netdev(rw->rec)) {
		engine_step(w->en, STEP_MOVE, i);
		r = ipoib ? move_ipoib(w, rw, e) : rtnl_move(w->host_nl, rw->index, w->netns_fd, rw->rec->ifname, e);
	}
	return r == 0 && !ipoib ? move_rdma(w, i, e) : r;
}

static int host_step(struct add_work *w, struct err *e)
{
	for (size_t i = 0; i < w->n; i++) {
		struct rail_work *rw = &w->rails[i];
		int r;

		engine_step(w->en, STEP_VF_SETTINGS, i);
		r = vf_apply(w->host_nl, &rw->rail->want, w->at, rw->rec, e);
		if (r == 0 && rw->rec->set->guid && vf_has_netdev(rw->rec))
			r = vf_rebind(w->en->host.root, w->host_rdma, rw->rec, &rw->index, e);
		if (r == 0)
			r = move_rail(w, i, e);
		if (r < 0)
			return err_wrap(e, r, "%s (network %s)", rw->rec->ifname, rw->rail->network);
	}
	return 0;
}

static bool with_rdma(const struct attachment *at)
{
	for (size_t i = 0; i < at->n_rails; i++)
		if (at->rails[i].rdma)
			return true;
	return false;
}

/* What is done before the pod's side: addresses, the PF's settings, moves. */
static int bring_rails(struct add_work *w, struct err *e)
{
	int r;

	if (!w->n)
		return 0;
	r = allocate(w, e);
	meta_timing(w, "ipam");
	return r < 0 ? r : host_step(w, e);
}

/* A pod that would rather not start than use TCP. Soft RoCE counts where the agent was told to make it. */
static int check_required(struct add_work *w, bool configured, struct err *e)
{
	if (!nets_require_rdma(w->pod))
		return 0;
	for (size_t i = 0; i < w->n; i++) {
		const struct attachment_rail *rec = w->rails[i].rec;

		if (!vf_has_netdev(rec))
			return err_set(e, -ENODEV, "%s (network %s): annotation kvrail.io/rdma: required, and VF %s is bound to %s: it has neither "
				       "interface nor RDMA device; the policy of resource %s needs deviceType: netdevice", rec->ifname, rec->network,
				       rec->vf, rec->driver, rec->resource);
		if (w->meta && !meta_gives_rdma(w, attachment_device(rec)))
			return err_set(e, -ENODEV, "%s (network %s): annotation kvrail.io/rdma: required, and VF %s is given without its RDMA device: "
				       "the policy of resource %s has no isRdma: true", rec->ifname, rec->network, attachment_device(rec), rec->resource);
		if (!rec->rdma)
			return err_set(e, -ENODEV, "%s (network %s): annotation kvrail.io/rdma: required, and VF %s has no RDMA device: is its RDMA driver "
				       "loaded, and isRdma set in the policy?", rec->ifname, rec->network, *rec->vf ? rec->vf : rec->found->netdev);
		if (configured && !rec->gid && !(rec->link_layer && !strcmp(rec->link_layer, "InfiniBand")))
			return err_set(e, -ENODEV, "%s (network %s): annotation kvrail.io/rdma: required, and %s has no RoCE v2 GID: the network gives no "
				       "address (ipam)", rec->ifname, rec->network, rec->rdma);
		if (configured && rec->soft)
			attachment_warn(w->at, "%s: kvrail.io/rdma: required is met by soft RoCE (%s), which the agent's --soft-roce allows: no hardware RDMA",
					rec->ifname, rec->rdma);
	}
	return 0;
}

/*
 * The default network is first in the pod: its plugins are done before a rail gets its addresses and routes. Until then both
 * go on side by side; the journal names all of it already.
 */
static int make_networks(struct add_work *w, struct cni_failure *f)
{
	struct default_work first = { .w = w };
	struct beside beside = { 0 };
	uint64_t waits;
	int r;

	w->since = clock_ns();
	first.arena = w->beside = arena_new();
	if (w->meta && w->n)
		beside_start(&beside, meta_run_default, &first);
	else if (w->meta)
		meta_run_default(&first);
	r = bring_rails(w, &f->e);
	waits = clock_ns();
	beside_join(&beside);
	w->since += clock_ns() - waits; /* not the kernel's time */
	if (first.result) {
		*f = first.failure;
		f->details = arena_strdup(w->a, f->details); /* its own arena goes first */
		return first.result;
	}
	if (r == 0 && w->n)
		r = netns_call(w->netns_fd, with_rdma(w->at), pod_configure, w, &f->e);
	if (r == 0)
		r = check_required(w, true, &f->e);
	meta_timing(w, "kernel");
	return r < 0 ? cni_fail_errno(f, r) : 0;
}

/* Everything that the journal already names. */
static int change_kernel(struct add_work *w, struct cni_failure *f)
{
	int r = make_networks(w, f);

	if (r)
		return r;
	if (w->meta) {
		r = meta_run_delegates(w, f);
		if (r == 0)
			r = meta_default_routes(w, f);
		if (r == 0)
			r = meta_inject(w, f);
		if (r)
			return r;
		meta_tell(w);
	}
	engine_step(w->en, STEP_READY, 0);
	w->at->state = ATTACHMENT_READY;
	r = engine_commit(w->en, w->at, NULL, &f->e);
	return r < 0 ? cni_fail_errno(f, r) : 0;
}

static char *make_result(struct add_work *w)
{
	struct result_rail *out = arena_alloc(w->a, w->n * sizeof(*out));

	if (w->meta)
		return meta_result(w);
	for (size_t i = 0; i < w->n; i++) {
		const struct rail_work *rw = &w->rails[i];

		out[i] = (struct result_rail){ .name = rw->rec->ifname, .mac = rw->rec->mac, .sandbox = w->rq->netns, .pci_id = rw->rec->vf,
					       .mtu = rw->rec->mtu, .ipam = &rw->rail->ipam, .ips = rw->given.ips, .n_ips = rw->given.n_ips };
	}
	return result_make(w->a, w->rq->version, w->rq->prev_result, out, w->n);
}

/* From the journal's first entry on, a failure is undone. */
static int journalled(struct add_work *w, struct cni_failure *f)
{
	const struct attachment *committed;
	struct err why;
	int r;

	engine_step(w->en, STEP_JOURNAL, 0);
	r = engine_commit(w->en, w->at, &committed, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	r = change_kernel(w, f);
	if (r == 0)
		return 0;
	committed = engine_find(w->en, w->rq->container, w->rq->ifname);
	if (attachment_undo(w->en, committed, w->rq->caller, &why) < 0) {
		log_error("ADD %s %s: %s", w->rq->container, w->rq->ifname, why.msg);
		f->details = arena_printf(w->a, "%s%snot all could be undone, it is tried again: %s", f->details ? f->details : "",
					  f->details ? "; " : "", why.msg);
	}
	return f->code;
}

static int add_locked(struct add_work *w, struct cni_failure *f)
{
	struct reserved mine = { .namespace = w->at->pod->namespace, .name = w->at->pod->name };
	struct rail *rails;
	size_t n;
	int r;

	if (engine_find(w->en, w->rq->container, w->rq->ifname))
		return cni_fail(f, CNI_INTERNAL, NULL, "container %s has interface %s already: DEL comes before another ADD", w->rq->container,
				w->rq->ifname);
	r = open_netns(w, f);
	if (r == 0)
		r = meta_is(w->rq) ? meta_prepare(w, &rails, &n, f) : rails_of_request(w->a, &w->en->host, w->rq, &rails, &n, f);
	if (r)
		return r;
	r = pick_vfs(w, rails, n, &mine, &f->e);
	if (r == 0) {
		fill_rails(w, rails);
		if (w->meta)
			meta_fill(w);
		r = find_and_plan(w, &f->e);
	}
	if (r == 0)
		r = check_required(w, false, &f->e);
	r = r < 0 ? cni_fail_errno(f, r) : journalled(w, f);
	engine_unreserve(w->en, &mine);
	return r;
}

int add_run(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f)
{
	struct add_work w = { .en = en, .rq = rq, .a = a, .at = attachment_new(), .netns_fd = -1, .host_fd = -1 };
	struct busy busy;
	int r;

	fill_identity(&w);
	del_superseded(en, a, rq);
	engine_lock_container(en, &busy, rq->container);
	r = add_locked(&w, f);
	engine_unlock_container(en, &busy);
	if (r == 0)
		*reply = make_result(&w);
	else
		meta_tell_failure(&w, f);
	arena_free(w.beside);
	nl_close(w.host_nl);
	nl_close(w.host_rdma);
	if (w.netns_fd >= 0)
		close(w.netns_fd);
	if (w.host_fd >= 0)
		close(w.host_fd);
	attachment_free(w.at);
	return r;
}
