/* SPDX-License-Identifier: Apache-2.0 */
/* The node role: one process per node (or per state folder, in tests). */
#ifndef KVRAIL_AGENT_AGENT_H
#define KVRAIL_AGENT_AGENT_H

#include <stdbool.h>

#include "base/err.h"

/* A plain netdev offered as a device of a resource: development and benchmarks, no VF needed. */
struct agent_netdev {
	const char *resource, *netdev;
};

struct agent_options {
	const char *socket;	/* unix socket to listen on */
	const char *state_dir;	/* journal, store, spool */
	const char *node_name;	/* NULL: the host's name */
	const char *prefix;	/* RESOURCE_PREFIX */
	const char *namespace;	/* of SriovNetworkNodeState and networks without one */
	const char *rdma_netns; /* "exclusive", "shared", "keep" */
	bool soft_roce;
	unsigned share_part, share_of; /* this host's part of every address range; 0: all of it */
	const struct agent_netdev *netdevs;
	size_t n_netdevs;

	const char *multus_socket; /* "/run/multus/multus.sock", to be another name of the socket; NULL: it is not */
	const char *metrics;	/* "[HOST]:PORT" to serve metrics on; NULL: on the socket only */
	bool standalone;	/* else in a cluster, for which is what follows */
	const char *kubeconfig; /* NULL: as kube_open() finds one */
	const char *ipam_namespace; /* of IP pools */
	bool ipam_reserve, ipam_lease; /* a reservation for each address; Whereabouts' Lease around each write (ipam/pools.h) */
	const char *node_ip;	/* NULL: as the pods' status says */
	const char *kubelet_dir; /* "/var/lib/kubelet" */
	const char *cni_conf_dir, *cni_conf_name, *cni_bin_dir; /* "/etc/cni/net.d", "00-kvrail.conf", "/opt/cni/bin" */
	const char *multus_conf_dir, *multus_dir; /* "/etc/cni/multus/net.d", "/var/lib/cni/multus": where Multus has them */
	const char *cdi_dir; /* "/var/run/cdi"; NULL: the runtime has no CDI */
	const char *env_dir; /* "/run/kvrail/env": what containers get then, as files */
	const char *devinfo_dir; /* NULL: DEVICE_INFO_DIR */
	const char *shared_resource; /* "rdma/roce_gdr"; NULL: none */
	unsigned shares;
	const char *shim;	 /* the program to install as cni_bin_dir/kvrail; NULL: the one beside this program, if any */
	const char *daemonset; /* that runs this agent, in .namespace; NULL: none does */
	bool keep_conf;		 /* leave the CNI configuration at SIGTERM: pods wait for the next agent (updates) */
};

/* Runs until SIGTERM or SIGINT; 0 after an orderly stop. */
int agent_run(const struct agent_options *o, struct err *e);

#endif
