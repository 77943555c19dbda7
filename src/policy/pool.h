/* SPDX-License-Identifier: Apache-2.0 */
/* SriovNetworkPoolConfig: which pool a node is of. */
#ifndef KVRAIL_POLICY_POOL_H
#define KVRAIL_POLICY_POOL_H

#include "api/meta.h"

/* A LabelSelector (matchLabels and matchExpressions, all of which must hold); NULL or {} matches every node. */
bool pool_selects(yyjson_val *selector, const struct pair *labels, size_t n_labels);

/*
 * The rdmaMode that the node's pool asks for, NULL when it has none. A node is of one pool: of two
 * that select it none counts, and -EEXIST says which they are. @pools are whole objects as JSON.
 */
int pool_rdma_mode(yyjson_val **pools, size_t n, const struct pair *labels, size_t n_labels, const char **ret, struct err *e);

#endif
