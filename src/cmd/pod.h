/* SPDX-License-Identifier: Apache-2.0 */
/* A pod as the agent's status tells it: what env, verify and kv want to know of its rails. */
#ifndef KVRAIL_CMD_POD_H
#define KVRAIL_CMD_POD_H

#include "cmd/cmd.h"

struct pod_rail {
	const char *network, *ifname, *vf, *rdma /* NULL: none */, *driver, *link_layer;
	const char **addresses; /* "10.0.132.1/24" */
	size_t n_addresses;
	unsigned port, mtu, active_mtu;
	int gid_index; /* -1: none was measured */
	bool soft;
};

struct pod {
	const char *ns, *name, *netns;
	struct pod_rail *rails; /* of all its attachments */
	size_t n_rails;
	const char *ip; /* of its default network, where kvrail had that made; else NULL */
};

/*
 * The pod called @name ("prefill-0") or "NAMESPACE/NAME". -ENOENT: no such pod, @e names the nearest or lists what there is;
 * -ENOTUNIQ: several namespaces have one, @e lists them. A rail whose VF user space drives (vfio-pci) has no interface to look at: it is left out, and
 * standard error says so.
 */
int pod_find(struct cmd_run *run, const char *name, struct pod *ret, struct err *e);
/* The same from an agent's status. */
int pod_from_status(struct arena *a, yyjson_val *status, const char *name, struct pod *ret, struct err *e);

/*
 * Become kvrail-kv inside the pod's network namespace (with its sysfs), or here when @pod is NULL, with these arguments, NULL-terminated, after the program's
 * name. Returns only when that failed.
 */
int pod_exec_kv(struct arena *a, const struct pod *pod, const char **args, struct err *e);

#endif
