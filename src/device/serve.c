/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of v1beta1.DevicePlugin. All but Allocate are answered in the socket thread. */
#include <string.h>

#include "base/clock.h"
#include "device/allocate.h"
#include "device/early.h"
#include "device/message.h"
#include "device/plugin.h"
#include "device/preferred.h"
#include "deviceplugin.pb-c.h"
#include "fabric/cdi.h"

#define HOLDER_WAIT_MS 3000 /* for the DEL of a pod that is on its way */

static void reply(struct grpc_call *call, struct arena *a, const void *message)
{
	size_t len;
	void *bytes = message_pack(a, message, &len);

	grpc_send(call, bytes, len);
	grpc_finish(call, GRPC_OK, NULL);
}

static void options(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	Dp__Options o = DP__OPTIONS__INIT;
	struct resource *res = arg;

	o.get_preferred_allocation_available = res->shares == 0;
	reply(call, a, &o);
}

static void pre_start(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	Dp__Empty none = DP__EMPTY__INIT;

	reply(call, a, &none);
}

static Dp__Topology *topology(struct arena *a, int numa)
{
	Dp__Topology *t = arena_alloc(a, sizeof(*t));
	Dp__NumaNode *n = arena_alloc(a, sizeof(*n)), **list = arena_memdup(a, &n, sizeof(n));

	dp__topology__init(t);
	dp__numa_node__init(n);
	n->id = numa;
	t->nodes = list;
	t->n_nodes = 1;
	return t;
}

/* The list as bytes; lock held. */
static void *pack_list(const struct resource *res, struct arena *a, size_t *ret_len)
{
	Dp__ListAndWatchResponse all = DP__LIST_AND_WATCH_RESPONSE__INIT;
	Dp__Device *devices = arena_alloc(a, res->list.n * sizeof(*devices));

	all.devices = arena_alloc(a, res->list.n * sizeof(*all.devices));
	for (size_t i = 0; !res->leaving && i < res->list.n; i++) {
		const struct device *d = &res->list.v[i];

		dp__device__init(&devices[i]);
		devices[i].id = (char *)d->vf.pci;
		devices[i].health = (char *)(d->health.healthy ? "Healthy" : "Unhealthy");
		if (!res->exclude_topology && !res->shares && d->vf.numa >= 0)
			devices[i].topology = topology(a, d->vf.numa);
		all.devices[all.n_devices++] = &devices[i];
	}
	return message_pack(a, &all, ret_len);
}

/* FNV-1a; never 0. */
static uint64_t hash(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 14695981039346656037u;

	while (len--)
		h = (h ^ *p++) * 1099511628211u;
	return h ? h : 1;
}

/* Let go of a stream whose kubelet is gone. */
static void drop(struct grpc_call **stream)
{
	grpc_finish(*stream, GRPC_CANCELLED, NULL);
	*stream = NULL;
}

void device_push(struct resource *res)
{
	_cleanup_arena_ struct arena *a = arena_new();
	size_t len;
	void *bytes = pack_list(res, a, &len);
	uint64_t h = hash(bytes, len);

	if (h == res->pushed)
		return;
	res->pushed = h;
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (res->streams[i] && grpc_send(res->streams[i], bytes, len) < 0)
			drop(&res->streams[i]);
}

static void list_and_watch(void *arg, struct grpc_call *call, const void *msg, size_t msg_len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct resource *res = arg;
	struct grpc_call **at = NULL;
	bool kept = false;
	size_t len;
	void *bytes;

	pthread_mutex_lock(&res->plugin->lock);
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (res->streams[i] && !grpc_alive(res->streams[i]))
			drop(&res->streams[i]);
	for (size_t i = 0; i < STREAMS_MAX && !at; i++)
		if (!res->streams[i])
			at = &res->streams[i];
	if (at) {
		device_push(res); /* to the others, should there be news */
		bytes = pack_list(res, a, &len);
		kept = grpc_send(call, bytes, len) == 0;
		if (kept)
			*at = call;
	}
	pthread_mutex_unlock(&res->plugin->lock);
	if (!kept)
		grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, "this resource is watched by too many already");
}

static void allocate(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	struct resource *res = arg;
	struct device_plugin *p = res->plugin;
	struct job *job = calloc(1, sizeof(*job));
	bool stop;

	if (!job || !(job->msg = malloc(len + 1)))
		abort();
	memcpy(job->msg, msg, len);
	job->len = len;
	job->resource = res;
	job->call = call;
	pthread_mutex_lock(&p->lock);
	stop = p->stop || res->leaving;
	if (!stop) {
		*p->last_job = job;
		p->last_job = &job->next;
	}
	pthread_mutex_unlock(&p->lock);
	if (!stop) {
		device_wake(p);
		return;
	}
	free(job->msg);
	free(job);
	grpc_finish(call, GRPC_UNAVAILABLE, "the resource is being taken down");
}

/* The device, lock held. */
static const struct device *find(const struct resource *res, const char *id)
{
	for (size_t i = 0; i < res->list.n; i++)
		if (!strcmp(res->list.v[i].vf.pci, id))
			return &res->list.v[i];
	return NULL;
}

static bool is_in(const char *id, char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], id))
			return true;
	return false;
}

static Dp__ContainerPreferredResponse *prefer(const struct resource *res, struct arena *a, const Dp__ContainerPreferredRequest *rq)
{
	Dp__ContainerPreferredResponse *out = arena_alloc(a, sizeof(*out));
	struct preferred_device *d = NULL;
	size_t n = 0;
	bool *chosen;

	dp__container_preferred_response__init(out);
	for (size_t i = 0; i < res->list.n; i++) {
		const struct device *x = &res->list.v[i];
		bool must = is_in(x->vf.pci, rq->must_include, rq->n_must_include);

		if (!must && !is_in(x->vf.pci, rq->available, rq->n_available))
			continue;
		*(struct preferred_device *)arena_push(a, &d, &n, sizeof(*d)) = (struct preferred_device){
			.id = x->vf.pci, .pf_pci = x->vf.pf_pci, .index = x->vf.index, .numa = x->vf.numa, .upstream = x->upstream, .must = must,
			.avoid = x->held,
		};
	}
	chosen = arena_alloc(a, n * sizeof(*chosen));
	preferred_choose(d, n, rq->size > 0 ? (size_t)rq->size : 0, chosen);
	out->ids = arena_alloc(a, n * sizeof(*out->ids));
	for (size_t i = 0; i < n; i++)
		if (chosen[i])
			out->ids[out->n_ids++] = arena_strdup(a, d[i].id);
	return out;
}

static void preferred(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	Dp__PreferredResponse all = DP__PREFERRED_RESPONSE__INIT;
	Dp__PreferredRequest *rq = message_unpack(a, &dp__preferred_request__descriptor, msg, len);
	struct resource *res = arg;

	if (!rq) {
		grpc_finish(call, GRPC_INVALID_ARGUMENT, "the request cannot be read");
		return;
	}
	all.containers = arena_alloc(a, rq->n_containers * sizeof(*all.containers));
	pthread_mutex_lock(&res->plugin->lock);
	for (size_t i = 0; i < rq->n_containers; i++)
		all.containers[all.n_containers++] = prefer(res, a, rq->containers[i]);
	pthread_mutex_unlock(&res->plugin->lock);
	reply(call, a, &all);
}

const struct grpc_method device_methods[] = {
	{ "/v1beta1.DevicePlugin/GetDevicePluginOptions", options },
	{ "/v1beta1.DevicePlugin/ListAndWatch", list_and_watch },
	{ "/v1beta1.DevicePlugin/GetPreferredAllocation", preferred },
	{ "/v1beta1.DevicePlugin/Allocate", allocate },
	{ "/v1beta1.DevicePlugin/PreStartContainer", pre_start },
	{ NULL, NULL },
};

/* A VF that a live pod holds may be about to be given back. */
static int wait_for_holder(struct device_plugin *p, struct arena *a, const char *pci, struct err *e)
{
	const char *who = NULL;

	for (unsigned ms = 0; ms <= HOLDER_WAIT_MS; ms += 100) {
		who = device_holder_of(p, a, pci);
		if (!who)
			return 0;
		clock_sleep_ms(100);
	}
	return err_set(e, -EBUSY, "%s is held by pod %s, of which the kubelet has no record (its checkpoint was lost, or the pod was attached without it): "
		       "delete that pod, or create this one again and another VF is taken", pci, who);
}

static void add_env(struct arena *a, Dp__ContainerAllocateResponse *out, const char *key, const char *value)
{
	Dp__Entry *env = arena_alloc(a, sizeof(*env));

	dp__entry__init(env);
	env->key = (char *)key;
	env->value = (char *)value;
	*(Dp__Entry **)arena_push(a, &out->envs, &out->n_envs, sizeof(env)) = env;
}

static void add_node_as(struct arena *a, Dp__ContainerAllocateResponse *out, const char *path, const char *host_path)
{
	Dp__DeviceNode *n;

	for (size_t i = 0; path && i < out->n_devices; i++)
		if (!strcmp(out->devices[i]->container_path, path))
			return; /* rdma_cm of the VF before */
	if (!path)
		return;
	n = arena_alloc(a, sizeof(*n));
	dp__device_node__init(n);
	n->container_path = (char *)path;
	n->host_path = (char *)host_path;
	n->permissions = (char *)"rw";
	*(Dp__DeviceNode **)arena_push(a, &out->devices, &out->n_devices, sizeof(n)) = n;
}

static void add_node(struct arena *a, Dp__ContainerAllocateResponse *out, const char *path)
{
	add_node_as(a, out, path, path);
}

static void add_cdi(struct arena *a, Dp__ContainerAllocateResponse *out, const char *pci)
{
	Dp__CdiDevice *d = arena_alloc(a, sizeof(*d));

	dp__cdi_device__init(d);
	d->name = arena_printf(a, CDI_KIND "=%s", pci);
	*(Dp__CdiDevice **)arena_push(a, &out->cdi_devices, &out->n_cdi_devices, sizeof(d)) = d;
}

static int add_env_file(struct device_plugin *p, struct arena *a, Dp__ContainerAllocateResponse *out, const char *pci, struct err *e)
{
	Dp__Mount *m = arena_alloc(a, sizeof(*m));
	const char *path;
	int r = early_write_env(p->env_dir, pci, a, &path, e);

	if (r < 0)
		return r;
	dp__mount__init(m);
	m->container_path = m->host_path = (char *)path;
	m->read_only = true;
	*(Dp__Mount **)arena_push(a, &out->mounts, &out->n_mounts, sizeof(m)) = m;
	return 0;
}

/* One VF: looked for, waited for, its nodes read. */
static int give(struct device_plugin *p, struct resource *res, struct arena *a, const char *id, struct allocate_vf *ret, struct err *e)
{
	const struct device *d;
	struct device_vf vf = { 0 };
	int r;

	pthread_mutex_lock(&p->lock);
	d = find(res, id);
	if (d)
		vf = device_vf_copy(a, &d->vf);
	pthread_mutex_unlock(&p->lock);
	if (!d)
		return err_set(e, -ENOENT, "%s has no device %s", res->full, id);
	r = wait_for_holder(p, a, id, e);
	if (r == 0)
		r = allocate_read(p->o.root, a, p->dev_dir, &vf, res->vhost_net, ret, e);
	if (r == 0 && res->vhost_net && !(ret->vhost_net && ret->tun))
		device_say(p, true, "%s: needVhostNet, and there is no %s on this node: modprobe -a vhost_net tun", res->full,
			   ret->vhost_net ? "/dev/net/tun" : "/dev/vhost-net");
	if (r == 0 && p->cdi_dir)
		r = early_write(p->cdi_dir, p->o.root, id, ret->rdma, false, e);
	if (r == 0)
		r = allocate_write_info(p->info_dir, res->prefix, res->name, ret, e);
	return r;
}

static int container(struct device_plugin *p, struct resource *res, struct arena *a, const Dp__ContainerAllocateRequest *rq,
		     Dp__ContainerAllocateResponse *out, struct err *e)
{
	struct allocate_vf *vfs = arena_alloc(a, rq->n_ids * sizeof(*vfs));
	const char *name = allocate_env_name(a, res->prefix, res->name);
	int r;

	for (size_t i = 0; i < rq->n_ids; i++) {
		r = give(p, res, a, rq->ids[i], &vfs[i], e);
		if (r < 0)
			return r;
	}
	add_env(a, out, name, allocate_env_ids(a, vfs, rq->n_ids));
	add_env(a, out, arena_printf(a, "%s_INFO", name), allocate_env_info(a, vfs, rq->n_ids));
	for (size_t i = 0; i < rq->n_ids; i++) {
		if (p->cdi_dir) {
			add_cdi(a, out, vfs[i].pci);
		} else {
			add_node(a, out, vfs[i].uverbs);
			add_node(a, out, vfs[i].umad);
			add_node(a, out, vfs[i].issm);
			add_node(a, out, vfs[i].rdma_cm);
		}
		if (p->env_dir && (r = add_env_file(p, a, out, vfs[i].pci, e)) < 0)
			return r;
		add_node_as(a, out, vfs[i].vfio_group, vfs[i].vfio_host);
		add_node(a, out, vfs[i].vfio);
		add_node(a, out, vfs[i].vhost_net);
		add_node(a, out, vfs[i].tun);
	}
	return 0;
}

void device_allocate(struct device_plugin *p, const struct job *job)
{
	_cleanup_arena_ struct arena *a = arena_new();
	Dp__AllocateResponse all = DP__ALLOCATE_RESPONSE__INIT;
	Dp__AllocateRequest *rq = message_unpack(a, &dp__allocate_request__descriptor, job->msg, job->len);
	struct resource *res = job->resource;
	Dp__ContainerAllocateResponse *out;
	struct err e = { 0 };
	int r = 0;

	if (!rq) {
		grpc_finish(job->call, GRPC_INVALID_ARGUMENT, "the request cannot be read");
		return;
	}
	all.containers = arena_alloc(a, rq->n_containers * sizeof(*all.containers));
	for (size_t i = 0; r == 0 && i < rq->n_containers; i++) {
		out = arena_alloc(a, sizeof(*out));
		dp__container_allocate_response__init(out);
		all.containers[all.n_containers++] = out;
		if (!res->shares) /* of a share nothing is given: the VF's attachment does that */
			r = container(p, res, a, rq->containers[i], out, &e);
	}
	if (r < 0) {
		device_say(p, true, "%s: allocation refused: %s", res->full, e.msg);
		grpc_finish(job->call, r == -ENOENT ? GRPC_NOT_FOUND : r == -EBUSY ? GRPC_FAILED_PRECONDITION : GRPC_INTERNAL, e.msg);
		return;
	}
	pthread_mutex_lock(&p->lock);
	res->allocations++;
	pthread_mutex_unlock(&p->lock);
	reply(job->call, a, &all);
}
