/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetworkPoolConfig: which pool a node is of. */
#ifndef KVRAIL_POLICY_POOL_H
#define KVRAIL_POLICY_POOL_H

#include "api/operator.h"

/* All labels and all expressions must hold; NULL or one that asks for nothing matches every node. */
bool pool_selects(const struct api_label_selector *selector, const struct pair *labels, size_t n_labels);

/*
 * The rdmaMode that the node's pool asks for, NULL when it has none. A node is of one pool: of two
 * that select it none counts, and -EEXIST says which they are.
 */
int pool_rdma_mode(const struct api_pool_config **pools, size_t n, const struct pair *labels,
		   size_t n_labels, const char **ret, struct err *e);

#endif
