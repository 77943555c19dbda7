/* SPDX-License-Identifier: Apache-2.0 */
/* What UCX, NCCL, NVSHMEM and NIXL must be told in one pod, each value with its reason. Pure. */
#ifndef KVRAIL_FABRIC_ENV_H
#define KVRAIL_FABRIC_ENV_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct env_rail {
	const char *ifname, *rdma; /* rdma NULL: no RDMA on this rail */
	unsigned port;
	const char **addresses; /* "10.0.132.5/24" */
	size_t n_addresses;
	int gid_index; /* -1 unknown; of the first address, measured */
	bool soft;     /* soft RoCE: development only */
	const char *driver; /* of the RDMA device: "mlx5_core", ... NULL unknown */
	const char *link_layer; /* "Ethernet", "InfiniBand" */
	unsigned active_mtu;
};

struct env_pod {
	const struct env_rail *rails;
	size_t n_rails;
	const char *pod_ip; /* primary address or NULL (no default network): side channels need one */
	bool gpu;	    /* the pod has GPUs */
};

struct env_var {
	const char *name, *value; /* value NULL: must NOT be set, the reason says why */
	const char *why;
	const char *library; /* "UCX", "NCCL", "NVSHMEM", "NIXL" */
};

/*
 * For a variable that must not be set, the value that means the same to its library, or NULL. KServe's start script fills in an
 * index for UCX, NCCL and NVSHMEM where there is none, and leaves one that is there alone: so an engine which it starts is given
 * these.
 */
const char *env_same_as_unset(const char *name);

int env_make(struct arena *a, const struct env_pod *pod, struct env_var **ret, size_t *ret_n, struct err *e);

#endif
