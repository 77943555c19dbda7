/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network configuration that makes the container runtime call kvrail for every pod, and the shim that it calls.
 *
 * The runtime takes the first file of its folder by name. Ours (00-kvrail.conf) names the next one, the node's default
 * network, as clusterNetwork. It is there while the agent can attach pods, and is taken away at SIGTERM and when the default network's
 * configuration is gone, so that a node without kvrail works as before. An agent that was killed leaves it: pods then wait for
 * the next agent, rather than start without their networks.
 *
 * A Multus beside it (00-multus.conf) is not disturbed: ours comes first, and its file is never taken for the default network. So a node
 * can be switched over, and back.
 */
#ifndef KVRAIL_AGENT_CNICONF_H
#define KVRAIL_AGENT_CNICONF_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct cniconf_place {
	const char *dir;  /* "/etc/cni/net.d" */
	const char *name; /* "00-kvrail.conf" */
};

/*
 * The default network's configuration: the first .conf or .conflist of the folder that is neither ours nor Multus' (00-multus*), as path.
 * -ENOENT: @e says where it was looked for.
 */
int cniconf_master(const struct cniconf_place *p, struct arena *a, const char **ret, struct err *e);

/*
 * The text of our file for the master at @path, whose content is @master: its cniVersion (at least 0.4.0), and the capabilities of its
 * plugins. Pure. -EINVAL: it is no CNI configuration.
 */
int cniconf_text(struct arena *a, const char *path, const char *master, size_t len, char **ret, struct err *e);

/* Make the file what it should be now; nothing is written when it is. -EEXIST: a file of that name is somebody else's. */
int cniconf_put(const struct cniconf_place *p, struct err *e);
/* Take it away, if it is ours. */
int cniconf_remove(const struct cniconf_place *p, struct err *e);

/* Put the program at @from as @dir/@name, by rename: one that runs is not disturbed. Nothing is written when it is there already. */
int cniconf_install(const char *from, const char *dir, const char *name, struct err *e);

#endif
