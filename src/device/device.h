/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet's device plugin (v1beta1): one manager serves every resource of the node, each on a socket of its own
 * (KUBELET_DIR/<prefix>_<name>.sock, as the SR-IOV device plugin names it), and registers them with kubelet.sock.
 *
 * What is offered. A device's id is its VF's PCI address. It is Healthy when its driver is bound, its port has carrier and,
 * where the resource is an RDMA one, the port's RDMA device is ACTIVE (health.h). A fact that says "bad" must hold
 * for hold_ms before the device becomes Unhealthy; one that says "good" counts at once. Changes of the list and of health go out on
 * the ListAndWatch streams that are open; nothing is restarted, no allocation is lost. A resource without devices is
 * advertised with none (the node then shows 0 of it, not yesterday's number).
 *
 * A VF is never given twice. The kubelet's own book can be lost (checkpoint deleted, kubelet reinstalled), ours is the
 * journal of attachments, told by host.holders. The rule:
 *   1. Allocate of a VF that a live pod holds waits up to three seconds for it (its DEL may be on the way) and then fails
 *      with the pod's name.
 *   2. GetPreferredAllocation never proposes one.
 *   3. A held VF stays as healthy as its port is while its pod's spec asks for the resource (holder.requested), whether the kubelet
 *      still has a record of the allocation or not: the pod is in the sums of kubelet and scheduler, so that as many VFs as they think free
 *      are free, and by 2 the kubelet takes those. (Were it Unhealthy, the pod would be counted twice and as many free VFs could
 *      not be had: kubelet 1.34 then fails pods with "OutOf<resource>: used 1, capacity 1".)
 *   4. One whose pod does not ask for the resource is in nobody's sums: it is advertised Unhealthy ("held by NS/POD, of which the kubelet
 *      has no record") unless the kubelet's pod resources list it, and comes back at once when the pod is gone.
 *
 * Threads: one moves the bytes of all sockets (epoll), one reads facts, registers and answers Allocate; host callbacks are
 * called from the second. Memory: of a few hundred VFs some tens of KB.
 */
#ifndef KVRAIL_DEVICE_DEVICE_H
#define KVRAIL_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "base/arena.h"
#include "base/err.h"
#include "linux/sysroot.h"

#define DEVICE_KUBELET_DIR "/var/lib/kubelet/device-plugins"
#define DEVICE_POD_RESOURCES "/var/lib/kubelet/pod-resources/kubelet.sock"
#define DEVICE_INFO_DIR "/var/run/k8s.cni.cncf.io/devinfo/dp"

struct device_vf {
	const char *pci;	     /* the id */
	const char *pf_pci, *pf_netdev; /* pf_netdev NULL: the port has no network interface here */
	unsigned index;		     /* VF number on its PF */
	int numa;		     /* -1: unknown */
	bool rdma;		     /* given with its RDMA device's nodes, without which it is unhealthy (isRdma of its policy) */
};

struct device_resource {
	const char *prefix; /* "openshift.io"; "" or NULL is refused: the kubelet takes DOMAIN/NAME only */
	const char *name;   /* "p2rdma" */
	bool vhost_net;	    /* Allocate gives /dev/vhost-net and /dev/net/tun (needVhostNet) */
	bool exclude_topology; /* no NUMA node is advertised */
	const struct device_vf *vfs;
	size_t n_vfs;
	/*
	 * Instead of vfs: a count that many pods share and that gives no device (rdma/roce_gdr): ids "<name>-0" to "<name>-<shares-1>",
	 * always healthy. The VF and its RDMA device come from the attachment.
	 */
	unsigned shares;
};

/* A VF that a pod has or is being given. */
struct device_holder {
	const char *pci, *namespace, *name;
	bool requested; /* the pod's spec asks for the VF's resource: kubelet and scheduler count it */
};

struct device_host {
	void *arg;
	/* All VFs that live attachments and running ADDs hold, strings in @a. */
	void (*holders)(void *arg, struct arena *a, struct device_holder **ret, size_t *ret_n);
	/* @pci of @resource ("prefix/name") became healthy or not, and why (""): log it, tell it as an event. May be NULL. */
	void (*health)(void *arg, const char *resource, const char *pci, bool healthy, const char *reason);
	/* Something else that a person should read: registered, kubelet not there, a refused Allocate. @bad: a warning. May be NULL. */
	void (*say)(void *arg, bool bad, const char *text);
};

struct device_options {
	const char *kubelet_dir;	/* NULL: DEVICE_KUBELET_DIR */
	const char *pod_resources;	/* NULL: DEVICE_POD_RESOURCES */
	const char *info_dir;		/* NULL: DEVICE_INFO_DIR */
	const char *dev_dir;		/* NULL: "/dev"; where those of RDMA are looked for, they are named /dev/... to the kubelet */
	const struct sysroot *root;	/* facts are read here; must outlive the manager */
	/*
	 * Where the runtime looks for CDI specifications: Allocate names kvrail.io/vf=<pci>, and the RDMA nodes come with the specification that
	 * the attachment writes (VFs that are given and never attached get one from here). NULL: no CDI, Allocate gives the nodes.
	 */
	const char *cdi_dir;
	/* Without CDI: the folder of the environment files that attachments write; Allocate mounts DIR/<pci>.env at the same path, read-only. NULL: none. */
	const char *env_dir;
	bool soft_roce;	  /* an attachment makes the RDMA device: without one, a VF is healthy */
	unsigned hold_ms; /* 0: 5000 */
	unsigned poll_ms; /* facts are read again at least so often, beside link events; 0: 5000 */
	struct device_host host;
};

struct device_plugin;

/* Starts the threads; serves nothing before the first update. Device-info files that no held VF needs are removed. */
int device_plugin_start(const struct device_options *o, struct device_plugin **ret, struct err *e);
/* Takes its sockets away and ends the threads. NULL is fine; returns NULL. Device-info files of held VFs stay. */
struct device_plugin *device_plugin_stop(struct device_plugin *p);

/* Remove what a plugin wrote into @cdi_dir (NULL: nothing): kvrail leaves the node. */
void device_plugin_leave(const char *cdi_dir);

/*
 * The resources of the node from now on (all copied). Ones that are new are served and registered, ones that are gone are
 * advertised with no device and no longer served; of the others the list is swapped in place and pushed if it differs.
 * -EINVAL: a name is bad or given twice, @e says which; nothing was changed then. Thread safe, does not wait for the kubelet.
 */
int device_plugin_update(struct device_plugin *p, const struct device_resource *resources, size_t n, struct err *e);

/* Facts are read now: tell it after an attachment came or went, and after a driver was bound. Thread safe, does not wait. */
void device_plugin_poke(struct device_plugin *p);

/*
 * [{"resource": "openshift.io/p2rdma", "registered": true, "problem"?: "...", "total": 8, "healthy": 7, "allocations": 12,
 *   "devices": [{"pci", "healthy", "reason"?}]}], devices only of VF resources. For status and metrics.
 */
yyjson_mut_val *device_plugin_json(struct device_plugin *p, yyjson_mut_doc *doc);

#endif
