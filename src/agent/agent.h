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
};

/* Runs until SIGTERM or SIGINT; 0 after an orderly stop. */
int agent_run(const struct agent_options *o, struct err *e);

#endif
