/* SPDX-License-Identifier: Apache-2.0 */
/* What the node offers to the kubelet: the resources of its node state, and the shared one. */
#include <limits.h>
#include <string.h>

#include "agent/cluster.h"
#include "agent/plugin.h"
#include "base/log.h"
#include "device/device.h"
#include "policy/resources.h"

/* An attachment's VF is one that the kubelet gave, and it gives what the pod's spec asks for; a pod that the API server does not know was attached by hand. */
static void holders(void *arg, struct arena *a, struct device_holder **ret, size_t *ret_n)
{
	struct agent *ag = arg;
	struct informer_object pod;
	struct plan_pod *pods;
	size_t n;

	*ret = NULL;
	*ret_n = 0;
	attached_pods(ag, a, &pods, &n);
	for (size_t i = 0; i < n; i++)
		*(struct device_holder *)arena_push(a, ret, ret_n, sizeof(**ret)) = (struct device_holder){
			.pci = pods[i].pci, .namespace = pods[i].namespace, .name = pods[i].name,
			.requested = watch_get(ag->cluster, OF_PODS, a, pods[i].namespace, pods[i].name, &pod, NULL) != -ENOENT };
}

static void node_event(struct agent *ag, bool warning, const char *reason, const char *text)
{
	/* as the kubelet does it: a node's events have its name as uid */
	const struct kube_event_about about = { .api_version = "v1", .kind = "Node", .name = ag->node, .uid = ag->node };

	kube_event(ag->cluster->events, &about, warning, reason, "%s", text);
}

static void health(void *arg, const char *resource, const char *pci, bool healthy, const char *reason)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *text = healthy ? arena_printf(a, "%s of %s is healthy", pci, resource) :
				     arena_printf(a, "%s of %s is unhealthy: %s", pci, resource, reason);

	if (healthy)
		log_info("%s", text);
	else
		log_warn("%s", text);
	node_event(arg, !healthy, healthy ? "DeviceHealthy" : "DeviceUnhealthy", text);
}

static void say(void *arg, bool bad, const char *text)
{
	if (!bad) {
		log_info("device plugin: %s", text);
		return;
	}
	log_warn("device plugin: %s", text);
	node_event(arg, true, "DevicePlugin", text);
}

int plugin_start(struct agent *ag, struct err *e)
{
	const struct agent_options *o = ag->options;
	char dir[PATH_MAX], podres[PATH_MAX];
	struct device_options d = {
		.kubelet_dir = dir, .pod_resources = podres, .info_dir = o->devinfo_dir, .cdi_dir = o->cdi_dir, .env_dir = o->env_dir, .root = ag->root,
		.soft_roce = o->soft_roce,
		.host = { .arg = ag, .holders = holders, .health = health, .say = say },
	};

	snprintf(dir, sizeof(dir), "%s/device-plugins", o->kubelet_dir);
	snprintf(podres, sizeof(podres), "%s/pod-resources/kubelet.sock", o->kubelet_dir);
	return device_plugin_start(&d, &ag->cluster->plugin, e);
}

struct build {
	struct arena *arena;
	struct device_resource *resources;
	size_t n;
	bool rails; /* there is something to be had by the shared resource */
};

static struct device_resource *resource(struct build *b, const char *prefix, const char *name)
{
	struct device_resource *r;

	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->resources[i].name, name))
			return &b->resources[i];
	r = arena_push(b->arena, &b->resources, &b->n, sizeof(*r));
	r->prefix = prefix;
	r->name = name;
	return r;
}

/* A resource is there with its policy, also while it has no VF. */
static void add_spec(struct build *b, const struct agent_options *o, const struct api_nodestate_spec *spec)
{
	for (size_t i = 0; spec && i < spec->n_interfaces; i++) {
		for (size_t k = 0; k < spec->interfaces[i].n_vf_groups; k++) {
			const struct api_vf_group *g = &spec->interfaces[i].vf_groups[k];
			bool rdma = g->is_rdma && !(g->device_type && !strcmp(g->device_type, "vfio-pci"));

			if (!g->resource_name || !*g->resource_name)
				continue;
			resource(b, o->prefix, g->resource_name);
			b->rails |= rdma || o->soft_roce;
		}
	}
}

static void add_devices(struct build *b, const struct pools *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct pool_device *d = &p->devices[i];
		struct device_resource *r;
		struct device_vf *vf;

		if (!*d->pci)
			continue; /* a plain interface: no kubelet knows it */
		r = resource(b, NULL, d->resource);
		vf = arena_push(b->arena, (void *)(uintptr_t)&r->vfs, &r->n_vfs, sizeof(*vf));
		*vf = (struct device_vf){ .pci = d->pci, .pf_pci = d->pf_pci, .pf_netdev = d->pf_netdev, .index = d->index, .numa = d->numa,
					  .rdma = d->rdma };
	}
}

/* Of resources that are there: what the annotation says of others waits for them. */
static void add_settings(struct build *b, const char *text)
{
	struct resource_settings *all;
	size_t n;

	resources_read(b->arena, text, &all, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < b->n; k++)
			if (!strcmp(b->resources[k].name, all[i].name)) {
				b->resources[k].exclude_topology = all[i].exclude_topology;
				b->resources[k].vhost_net = all[i].need_vhost_net;
			}
}

/* "rdma/roce_gdr" */
static void add_shared(struct build *b, const struct agent_options *o)
{
	const char *slash = o->shared_resource ? strchr(o->shared_resource, '/') : NULL;
	struct device_resource *r;

	if (!slash || !b->rails)
		return;
	r = arena_push(b->arena, &b->resources, &b->n, sizeof(*r));
	r->prefix = arena_strndup(b->arena, o->shared_resource, (size_t)(slash - o->shared_resource));
	r->name = slash + 1;
	r->shares = o->shares;
}

void plugin_update(struct agent *ag, const struct api_nodestate_spec *spec, const char *resources, const struct pools *p)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct build b = { .arena = a };
	struct err e = { 0 };

	if (!ag->cluster->plugin)
		return;
	add_spec(&b, ag->options, spec);
	add_devices(&b, p);
	add_settings(&b, resources);
	add_shared(&b, ag->options);
	if (device_plugin_update(ag->cluster->plugin, b.resources, b.n, &e) < 0)
		log_warn("device plugin: %s", e.msg);
}
