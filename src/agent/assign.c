/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the devices that the kubelet gave to a pod serves which of its networks. */
#include <limits.h>
#include <string.h>

#include "agent/cluster.h"
#include "base/log.h"
#include "device/pairing.h"
#include "device/podres.h"

#define PODRES_MS 10000

/* What the kubelet gave; its own file when it does not answer (it is being restarted). */
static int given(struct cluster *cl, struct arena *a, const struct attach_pod *pod, struct podres_device **ret, size_t *ret_n,
		 struct err *e)
{
	const struct agent_options *o = cl->ag->options;
	char path[PATH_MAX];
	struct err why = { 0 };
	int r;

	snprintf(path, sizeof(path), "%s/pod-resources/kubelet.sock", o->kubelet_dir);
	r = podres_get(path, pod->namespace, pod->name, PODRES_MS, a, ret, ret_n, &why);
	if (r == -ENOENT) {
		*ret_n = 0;
		return 0;
	}
	if (r == 0)
		return 0;
	snprintf(path, sizeof(path), "%s/device-plugins/kubelet_internal_checkpoint", o->kubelet_dir);
	log_warn("pod %s/%s: %s; reading %s", pod->namespace, pod->name, why.msg, path);
	if (podres_checkpoint(path, pod->uid, a, ret, ret_n, NULL) == 0)
		return 0;
	return err_set(e, r, "the kubelet does not say which devices it gave to the pod: %s", why.msg);
}

/* The device's place on its port, and whether it comes with RDMA; false: it is none of ours. */
static bool place(struct agent *ag, struct arena *a, const struct podres_device *d, struct pairing_device *ret, bool *ret_rdma)
{
	size_t prefix = strlen(ag->options->prefix);
	bool ours = false;

	*ret = (struct pairing_device){ .container = d->container, .resource = d->resource, .id = d->id };
	*ret_rdma = false;
	if (strncmp(d->resource, ag->options->prefix, prefix) || d->resource[prefix] != '/')
		return false;
	pthread_mutex_lock(&ag->pools_lock);
	for (size_t i = 0; ag->pools && i < ag->pools->n; i++) {
		const struct pool_device *p = &ag->pools->devices[i];

		ours |= !strcmp(p->resource, d->resource + prefix + 1);
		if (!strcmp(pool_device_id(p), d->id)) {
			ret->pf_pci = arena_strdup(a, p->pf_pci);
			ret->index = p->index;
			*ret_rdma |= p->rdma;
		}
	}
	pthread_mutex_unlock(&ag->pools_lock);
	return ours;
}

int assign_devices(void *cluster, struct arena *a, const struct attach_pod *pod, const struct attach_ask *asks, size_t n,
		   const char **ids, struct attach_device **ret_all, size_t *ret_n_all, struct err *e)
{
	struct cluster *cl = cluster;
	struct pairing_network *networks = arena_alloc(a, n * sizeof(*networks));
	struct pairing_device *devices = NULL;
	struct podres_device *all = NULL;
	int *chosen = arena_alloc(a, n * sizeof(*chosen)), r;
	size_t n_all = 0, n_devices = 0;

	*ret_all = NULL;
	*ret_n_all = 0;
	r = given(cl, a, pod, &all, &n_all, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_all; i++) {
		struct pairing_device d;
		bool rdma, ours = place(cl->ag, a, &all[i], &d, &rdma);

		/* a network may take a device of another maker's device plugin, too */
		*(struct pairing_device *)arena_push(a, &devices, &n_devices, sizeof(d)) = d;
		if (!ours)
			continue;
		*(struct attach_device *)arena_push(a, ret_all, ret_n_all, sizeof(struct attach_device)) =
			(struct attach_device){ .container = d.container, .resource = d.resource, .id = d.id, .rdma = rdma };
	}
	for (size_t i = 0; i < n; i++)
		networks[i] = (struct pairing_network){ .name = asks[i].network, .resource = asks[i].resource, .device_id = asks[i].device_id,
							.optional = asks[i].optional };
	r = pairing_make(arena_printf(a, "%s/%s", pod->namespace, pod->name), devices, n_devices, networks, n, chosen, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		ids[i] = chosen[i] < 0 ? NULL : devices[chosen[i]].id;
	return r;
}
