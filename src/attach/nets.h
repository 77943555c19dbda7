/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The networks of a pod in a cluster, as values: the default network, those that every pod gets, those that its annotation names; each with
 * its configuration, its interface's name, and who makes it. attachment = f(pod, networks, devices, configuration): nothing here changes anything.
 */
#ifndef KVRAIL_ATTACH_NETS_H
#define KVRAIL_ATTACH_NETS_H

#include "attach/meta.h"
#include "attach/rail.h"

#define NETS_MAX 64

struct net {
	const char *network; /* "ns/name" of the NAD, else the configuration's name */
	const char *ifname;
	bool master; /* the default network */
	bool ours;   /* a rail: kvrail makes it itself */
	const struct annotation_item *item; /* what the annotation says of it; NULL: it does not */
	const char *resource;  /* it takes a device of this, NULL: none */
	const char *device_id; /* of the annotation, then the one that was given */
	struct netconf conf;
	const char *conf_name;
	struct rail rail; /* ours */
	const char *rdma, *pf_pci; /* of the device, where another maker's plugin moves it: found before that; NULL: none */
	/* of the others, after nets_finish() */
	const char *text, *runtime, *args;
	/* Its default routes are taken away in favour of another network's. */
	bool filter_v4, filter_v6;
};

/*
 * @pod NULL: the sandbox is of no pod; it gets the default network. -ENOENT: a network is not there (@e says which there are).
 * @ifname: of the default network.
 */
int nets_of_pod(struct arena *a, const struct attach_host *host, const struct meta_conf *mc, const char *ifname,
		const struct attach_pod *pod, struct net **ret, size_t *ret_n, struct err *e);

/* Does the pod say kvrail.io/rdma: required? NULL: no pod. */
bool nets_require_rdma(const struct attach_pod *pod);

/*
 * With a device for each that takes one (ids[i] for net i, NULL: none) the final configuration, capability arguments and CNI_ARGS of
 * each. @args: CNI_ARGS of the request; @runtime: runtimeConfig for the default network.
 */
int nets_finish(struct arena *a, struct net *nets, size_t n, const struct attach_pod *pod, const char *args, yyjson_val *runtime,
		const char *const *ids, struct err *e);

/* The networks that take a device, as asks: of_net[i] is the net of asks[i]. */
size_t nets_asks(struct arena *a, const struct net *nets, size_t n, struct attach_ask **ret, size_t **ret_of_net);

/* CNI_ARGS in Multus' order: what Kubernetes says first, then the rest of @args, then MAC and IP of @item (NULL: none). */
char *nets_args(struct arena *a, const char *args, const struct attach_pod *pod, const struct annotation_item *item);

#endif
