/* SPDX-License-Identifier: Apache-2.0 */
/* The pod annotation k8s.v1.cni.cncf.io/network-status, byte for byte in the form that Multus writes. Pure. */
#ifndef KVRAIL_ATTACH_NETSTATUS_H
#define KVRAIL_ATTACH_NETSTATUS_H

#include "attach/cniresult.h"

struct netstatus {
	const char *name, *interface, *mac; /* "ns/nad", of the default network its configuration's name */
	const char **ips; /* addresses without prefix length */
	size_t n_ips;
	int64_t mtu; /* 0: not told */
	bool is_default;
	yyjson_val *dns; /* object or NULL */
	const char *pci, *rdma, *pf_pci; /* device-info; pci NULL: none */
	const char **gateways;
	size_t n_gateways;
};

/*
 * The interfaces of a result that are in the pod: one entry each, appended to *list. As CreateNetworkStatuses() has it: the sole interface of a result
 * is told wherever it is, with all addresses; each of several has all default routes' gateways; a result that names no interface is not told.
 */
void netstatus_of_result(struct arena *a, const struct cniresult *res, const char *network, bool is_default, struct netstatus **list, size_t *n);

char *netstatus_text(struct arena *a, const struct netstatus *list, size_t n);

/* "10.0.132.1" of "10.0.132.1/24". */
const char *netstatus_ip(struct arena *a, const char *cidr);

#endif
