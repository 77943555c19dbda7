/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes each rail of each pod has moved, read inside the pod's namespace. */
#ifndef KVRAIL_AGENT_COUNTERS_H
#define KVRAIL_AGENT_COUNTERS_H

#include "agent/state.h"

struct rail_count {
	const char *namespace, *pod, *network, *ifname, *rdma; /* rdma NULL: the rail has no RDMA device */
	bool soft;
	bool user_space;  /* a VF on vfio-pci and its like: there is no interface, nothing is counted */
	bool counts_rdma; /* the device tells bytes */
	uint64_t rdma_rx, rdma_tx;
	/*
	 * What went through the kernel's own stack (TCP, but also ARP and the like). Soft RoCE is carried by the netdev: what its device counts
	 * is taken off, its packets' headers are not.
	 */
	uint64_t tcp_rx, tcp_tx;
	const char *problem; /* the namespace or the device cannot be read, and why; then no numbers */
};

/* Every rail of every attachment that is ready. */
void counters_read(struct agent *ag, struct arena *a, struct rail_count **ret, size_t *ret_n);

/* The same as JSON, for `kvrail top`: {"time_ns": ..., "rails": [...]}. */
yyjson_mut_val *counters_json(struct agent *ag, struct arena *a, yyjson_mut_doc *doc);

#endif
