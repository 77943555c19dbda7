/* SPDX-License-Identifier: Apache-2.0 */
/* ADD of a meta plugin: what it does before and after its rails. */
#include <string.h>
#include <sys/stat.h>

#include "attach/engine.h"
#include "attach/hwaddr.h"
#include "attach/inject.h"
#include "attach/netstatus.h"
#include "base/clock.h"
#include "base/log.h"
#include "linux/netns.h"
#include "linux/rtnl.h"

#define READY_WAIT_MS 45000 /* Multus' patience with readinessindicatorfile */
#define READY_PAUSE_MS 250

static const struct attach_cluster *cluster_of(const struct add_work *w)
{
	return w->en->host.cluster;
}

void meta_timing(struct add_work *w, const char *stage)
{
	const struct attach_cluster *c = cluster_of(w);
	uint64_t now = clock_ns();

	if (w->meta && c && c->timing)
		c->timing(c->arg, "ADD", stage, (double)(now - w->since) / 1e9);
	w->since = now;
}

static int wait_ready(const char *path, struct cni_failure *f)
{
	struct stat st;

	for (unsigned waited = 0; path && *path && stat(path, &st) < 0; waited += READY_PAUSE_MS) {
		if (waited >= READY_WAIT_MS)
			return cni_fail(f, CNI_TRY_AGAIN, NULL, "readinessindicatorfile %s is not there after %d seconds: the default network is not up",
					path, READY_WAIT_MS / 1000);
		clock_sleep_ms(READY_PAUSE_MS);
	}
	return 0;
}

/* Sandboxes that no pod stands behind (of a tool, not of a kubelet) have no K8S_POD_NAME. */
static int find_pod(struct add_work *w, struct cni_failure *f)
{
	const struct attach_cluster *c = cluster_of(w);
	const struct request *rq = w->rq;
	struct attach_pod *pod;
	int r;

	if (!rq->pod_name || !rq->pod_namespace)
		return 0;
	pod = arena_alloc(w->a, sizeof(*pod));
	r = c->pod(c->arg, w->a, rq->pod_namespace, rq->pod_name, rq->pod_uid, pod, &f->e);
	if (r < 0) {
		f->code = r == -ENOENT || r == -ESTALE || r == -EHOSTUNREACH ? CNI_TRY_AGAIN : CNI_INTERNAL;
		err_wrap(&f->e, r, "pod %s/%s", rq->pod_namespace, rq->pod_name);
		return f->code;
	}
	w->pod = pod;
	return 0;
}

/* NULL: the pod has no such device. */
static const struct attach_device *device_of(const struct add_work *w, const char *id)
{
	for (size_t i = 0; i < w->n_devices; i++)
		if (!strcmp(w->devices[i].id, id))
			return &w->devices[i];
	return NULL;
}

bool meta_gives_rdma(const struct add_work *w, const char *device)
{
	const struct attach_device *d = device_of(w, device);

	return !d || d->rdma; /* what the kubelet did not hand out, no policy withholds */
}

static int assign(struct add_work *w, const char **ids, struct err *e)
{
	const struct attach_cluster *c = cluster_of(w);
	struct attach_ask *asks;
	const char **given;
	size_t *of_net, n = nets_asks(w->a, w->nets, w->n_nets, &asks, &of_net);
	int r;

	if (!w->pod && n)
		return err_set(e, -EINVAL, "network %s takes a device (%s), and the sandbox is of no pod that has one", asks[0].network, asks[0].resource);
	if (!w->pod)
		return 0;
	given = arena_alloc(w->a, (n + 1) * sizeof(*given));
	r = c->assign(c->arg, w->a, w->pod, asks, n, given, &w->devices, &w->n_devices, e);
	if (r < 0 && n == 0) { /* nothing of it is needed for this pod's networks */
		log_warn("%s/%s: its devices are not known: %s", w->pod->namespace, w->pod->name, e->msg);
		w->n_devices = 0;
		return 0;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!given[i] && !asks[i].optional)
			return err_set(e, -ENOSPC, "network %s: no device of %s is given to the pod", asks[i].network, asks[i].resource);
		ids[of_net[i]] = given[i];
	}
	return r;
}

/* Once its plugin has moved it, a device is not seen here. */
static void look_at_devices(struct add_work *w)
{
	const struct sysroot *root = w->en->host.root;

	for (size_t i = 0; i < w->n_nets; i++) {
		struct net *net = &w->nets[i];
		const char **names;
		size_t n;

		if (net->ours || !net->device_id || strchr(net->device_id, '/'))
			continue;
		if (sysfs_list(root, w->a, &names, &n, "bus/pci/devices/%s/infiniband", net->device_id) == 0 && n)
			net->rdma = names[0];
		if (sysfs_link(root, w->a, &net->pf_pci, "bus/pci/devices/%s/physfn", net->device_id) < 0)
			net->pf_pci = NULL;
	}
}

static void list_rails(struct add_work *w, struct rail **ret, size_t *ret_n)
{
	*ret = NULL;
	*ret_n = 0;
	for (size_t i = 0; i < w->n_nets; i++)
		if (w->nets[i].ours)
			*(struct rail *)arena_push(w->a, ret, ret_n, sizeof(**ret)) = w->nets[i].rail;
}

int meta_prepare(struct add_work *w, struct rail **ret, size_t *ret_n, struct cni_failure *f)
{
	const struct attach_cluster *c = cluster_of(w);
	const char **ids;
	int r;

	w->meta = true;
	w->since = clock_ns();
	if (!c)
		return cni_fail(f, CNI_INVALID_CONFIG, NULL,
				"type \"%s\" is for an agent in a cluster, which knows the pods; this one runs standalone: use type kvrail with \"networks\"",
				w->rq->type);
	r = meta_parse(w->a, w->rq->conf, c, &w->mc, f);
	if (r == 0)
		r = wait_ready(w->mc.readiness_file, f);
	if (r == 0)
		r = find_pod(w, f);
	if (r)
		return r;
	meta_timing(w, "pod");
	r = nets_of_pod(w->a, &w->en->host, &w->mc, w->rq->ifname, w->pod, &w->nets, &w->n_nets, &f->e);
	if (r < 0) {
		cni_fail_errno(f, r);
		if (r == -ENOENT)
			f->code = CNI_INVALID_CONFIG;
		return f->code;
	}
	ids = arena_alloc(w->a, w->n_nets * sizeof(*ids));
	r = assign(w, ids, &f->e);
	if (r == 0)
		r = nets_finish(w->a, w->nets, w->n_nets, w->pod, w->rq->args, w->mc.runtime, ids, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	look_at_devices(w);
	meta_timing(w, "devices");
	w->results = arena_alloc(w->a, w->n_nets * sizeof(*w->results));
	list_rails(w, ret, ret_n);
	return 0;
}

/* An init container's device is handed on to another: a specification that names it twice is none. */
static void drop_repeated(struct add_work *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_devices; i++) {
		size_t k = 0;

		while (k < n && strcmp(w->devices[k].id, w->devices[i].id))
			k++;
		if (k == n)
			w->devices[n++] = w->devices[i];
	}
	w->n_devices = n;
}

/* Devices of rails that kubelet did not hand out: named by an annotation, or by the configuration. */
static void add_rail_devices(struct add_work *w)
{
	for (size_t i = 0; i < w->at->n_rails; i++) {
		const char *vf = attachment_device(&w->at->rails[i]);

		if (*vf && !device_of(w, vf))
			*(struct attach_device *)arena_push(w->a, &w->devices, &w->n_devices, sizeof(*w->devices)) =
				(struct attach_device){ .container = "", .resource = w->at->rails[i].resource, .id = vf, .rdma = true };
	}
}

void meta_fill(struct add_work *w)
{
	const struct attach_cluster *c = cluster_of(w);
	struct attachment *at = w->at;

	at->cni_dir = w->mc.cni_dir;
	at->plugin_dirs = *w->rq->path ? arena_printf(w->a, "%s:%s", w->mc.bin_dir, w->rq->path) : w->mc.bin_dir;
	for (size_t i = 0; i < w->n_nets; i++) {
		const struct net *net = &w->nets[i];

		if (!net->ours)
			*(struct attachment_delegate *)arena_push(at->arena, &at->delegates, &at->n_delegates, sizeof(*at->delegates)) =
				(struct attachment_delegate){ .network = net->network, .ifname = net->ifname, .conf = net->text,
							      .runtime = net->runtime, .args = net->args, .master = net->master };
	}
	drop_repeated(w);
	add_rail_devices(w);
	for (size_t i = 0; i < w->n_devices; i++)
		*(const char **)arena_push(at->arena, &at->devices, &at->n_devices, sizeof(*at->devices)) = w->devices[i].id;
	if (at->n_devices && c->cdi_dir)
		at->cdi_file = arena_printf(at->arena, "%s/kvrail-%s.json", c->cdi_dir, at->container);
	else if (at->n_devices && c->env_dir)
		at->env_dir = c->env_dir;
}

/* The delegate's record of net @i. */
static struct attachment_delegate *record_of(const struct add_work *w, size_t i)
{
	struct attachment_delegate *rec = w->at->delegates;

	for (size_t k = 0; k < i; k++)
		rec += !w->nets[k].ours;
	return rec;
}

/* All that it makes is in @a: it may run beside the rails. */
static int run_delegate(struct add_work *w, struct arena *a, size_t i, struct cni_failure *f)
{
	struct attachment_delegate *rec = record_of(w, i);
	struct cniresult *res = &w->results[i];
	struct delegate d;
	int r;

	engine_step(w->en, STEP_DELEGATE, (size_t)(rec - w->at->delegates));
	r = meta_delegate(w->en, a, w->at, rec, w->rq->netns, w->rq->caller, &d, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	r = delegate_add(a, &d, res, f);
	if (r)
		err_wrap(&f->e, f->e.code, "%s (network %s)", rec->ifname, rec->network);
	return r;
}

/* For the journal. */
static void note_addresses(struct add_work *w, size_t i)
{
	struct attachment_delegate *rec = record_of(w, i);
	const struct cniresult *res = &w->results[i];

	for (size_t k = 0; k < res->n_ips; k++)
		*(const char **)arena_push(w->at->arena, &rec->addresses, &rec->n_addresses, sizeof(char *)) =
			arena_strdup(w->at->arena, res->ips[k].address);
}

int meta_run_delegates(struct add_work *w, struct cni_failure *f)
{
	for (size_t i = 0; i < w->n_nets; i++) {
		int r = !w->nets[i].ours && !w->nets[i].master ? run_delegate(w, w->a, i, f) : 0;

		if (r)
			return r;
		if (!w->nets[i].ours)
			note_addresses(w, i);
	}
	return 0;
}

void meta_run_default(void *arg)
{
	struct default_work *d = arg;
	struct add_work *w = d->w;
	const struct attach_cluster *c = cluster_of(w);
	uint64_t since = clock_ns();

	for (size_t i = 0; d->result == 0 && i < w->n_nets; i++)
		if (!w->nets[i].ours && w->nets[i].master)
			d->result = run_delegate(w, d->arena, i, &d->failure);
	if (c->timing)
		c->timing(c->arg, "ADD", "default", (double)(clock_ns() - since) / 1e9);
}

/* In the pod's namespace: the routes of one network. */
static int set_default_routes(struct add_work *w, struct nl *nl, const struct net *net)
{
	struct rtnl_link link;
	int r = rtnl_link(nl, w->a, net->ifname, &link, w->e);

	/* a plugin that makes no interface of this name has no routes by it; of a rail without one, none can be asked for */
	if (r == -ENODEV && !(net->ours && net->item && net->item->n_default_route))
		return 0;
	if (r == 0 && net->filter_v4)
		r = rtnl_del_default_routes(nl, link.index, AF_INET, NULL, w->e);
	if (r == 0 && net->filter_v6)
		r = rtnl_del_default_routes(nl, link.index, AF_INET6, NULL, w->e);
	for (size_t i = 0; r == 0 && net->item && i < net->item->n_default_route; i++) {
		struct rtnl_route route = { .has_gateway = true, .scope = -1 };
		unsigned prefix_len;

		if (hwaddr_parse_ip(net->item->default_route[i], &route.family, route.gateway, &prefix_len) < 0)
			continue; /* an empty one */
		r = rtnl_del_default_routes(nl, link.index, route.family, NULL, w->e);
		if (r == 0)
			r = rtnl_add_route(nl, link.index, &route, w->e);
	}
	return r;
}

static int default_routes(void *arg)
{
	struct add_work *w = arg;
	_cleanup_nl_ struct nl *nl = NULL;
	int r = rtnl_open(&nl, w->e);

	/* all are taken away before one is set: the kernel takes no second one of the same metric */
	for (int set = 0; set < 2; set++) {
		for (size_t i = 0; r == 0 && i < w->n_nets; i++) {
			const struct net *net = &w->nets[i];
			bool sets = net->item && net->item->n_default_route;

			if (set != sets)
				continue;
			r = set_default_routes(w, nl, net);
			if (r < 0)
				return err_wrap(w->e, r, "default-route: %s (network %s)", net->ifname, net->network);
		}
	}
	return r;
}

/* A result's default routes as they are now: without those that were taken away, with those that were asked for. */
static void edit_result(struct arena *a, struct cniresult *res, const struct net *net)
{
	static const char *const dst[] = { "0.0.0.0/0", "::/0" };
	size_t n = 0, n_asked = net->item && (res->n_interfaces || res->n_ips) ? net->item->n_default_route : 0;
	bool drop[] = { net->filter_v4, net->filter_v6 };

	for (size_t i = 0; i < n_asked; i++)
		if (*net->item->default_route[i])
			drop[strchr(net->item->default_route[i], ':') != NULL] = true;
	for (size_t i = 0; i < res->n_routes; i++)
		if (!(drop[0] && !strcmp(res->routes[i].dst, dst[0])) && !(drop[1] && !strcmp(res->routes[i].dst, dst[1])))
			res->routes[n++] = res->routes[i];
	res->n_routes = n;
	for (size_t i = 0; i < n_asked; i++) {
		const char *gw = net->item->default_route[i];

		if (*gw)
			*(struct cniresult_route *)arena_push(a, &res->routes, &res->n_routes, sizeof(*res->routes)) =
				(struct cniresult_route){ .dst = dst[strchr(gw, ':') != NULL], .gw = gw };
	}
}

int meta_default_routes(struct add_work *w, struct cni_failure *f)
{
	bool any = false;
	int r;

	for (size_t i = 0; i < w->n_nets; i++)
		any |= w->nets[i].filter_v4 || w->nets[i].filter_v6;
	if (!any)
		return 0;
	engine_step(w->en, STEP_DEFAULT_ROUTE, 0);
	w->e = &f->e;
	r = netns_call(w->netns_fd, false, default_routes, w, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	for (size_t i = 0; i < w->n_nets; i++) {
		struct delegate d;

		if (w->nets[i].ours)
			continue;
		edit_result(w->a, &w->results[i], &w->nets[i]);
		/* what CHECK will compare with */
		r = meta_delegate(w->en, w->a, w->at, record_of(w, i), w->rq->netns, NULL, &d, &f->e);
		if (r == 0)
			r = delegate_cache(w->a, &d, &w->results[i], &f->e);
		if (r < 0)
			return cni_fail_errno(f, r);
	}
	return 0;
}

static const char *pod_ip(const struct add_work *w)
{
	for (size_t i = 0; i < w->n_nets; i++)
		if (w->nets[i].master && !w->nets[i].ours && w->results[i].n_ips)
			return netstatus_ip(w->a, w->results[i].ips[0].address);
	return NULL;
}

int meta_inject(struct add_work *w, struct cni_failure *f)
{
	const struct attach_cluster *c = cluster_of(w);
	const struct inject in = { .at = w->at, .pod = w->pod, .devices = w->devices, .n_devices = w->n_devices, .pod_ip = pod_ip(w),
				   .hook = c->hook, .root = w->en->host.root };
	int r;

	if (!w->at->cdi_file && !w->at->env_dir)
		return 0;
	engine_step(w->en, STEP_CDI, 0);
	r = inject_write(&in, &f->e);
	return r < 0 ? cni_fail_errno(f, r) : 0;
}
