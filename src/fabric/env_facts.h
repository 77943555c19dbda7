/* SPDX-License-Identifier: Apache-2.0 */
/* What the values of all libraries follow from, worked out once. Private to the room. */
#ifndef KVRAIL_FABRIC_ENV_FACTS_H
#define KVRAIL_FABRIC_ENV_FACTS_H

#include <stdbool.h>

#include "fabric/env.h"

struct env_facts {
	struct arena *arena;
	const struct env_pod *pod;
	struct env_var *vars;
	size_t n_vars;

	size_t n_rdma, n_roce, n_ib, n_soft;
	bool all_mlx5;	      /* every RDMA rail is mlx5 hardware */
	bool other_driver;    /* some RDMA rail is soft or known to be no mlx5 */
	const char *devices;  /* "mlx5_2:1,mlx5_3:1" of the RDMA rails */
	const char *ifnames;  /* "net1,net2" of all rails */
	const char *prefix;   /* longest common beginning of the RDMA devices' names */
	const char *measured; /* "mlx5_2 has 3, mlx5_3 has 5": GID indices of the RoCE rails, for reasons */
	int index;	      /* the GID index that all RoCE rails share, -1: none, differing or unknown */
	bool index_differs;
	int family;	      /* of the first address of every RoCE rail; 0: mixed or without address */
	const char *subnets;  /* "10.0.132.0/24,10.0.133.0/24", without repetition */
	size_t n_subnets;
};

/* Append a variable; @value NULL: it must not be set. */
void env_add(struct env_facts *f, const char *library, const char *name, const char *value,
	     const char *why, ...) __attribute__((format(printf, 5, 6)));

void env_ucx(struct env_facts *f);
void env_nccl(struct env_facts *f);
void env_nvshmem(struct env_facts *f);
void env_engine(struct env_facts *f); /* vLLM's NIXL connector, KServe's start script */

#endif
