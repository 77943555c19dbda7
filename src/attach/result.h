/* SPDX-License-Identifier: Apache-2.0 */
/* What ADD prints: the CNI result in the form of the configuration's version. Pure. */
#ifndef KVRAIL_ATTACH_RESULT_H
#define KVRAIL_ATTACH_RESULT_H

#include "attach/request.h"

struct result_rail {
	const char *name, *mac, *sandbox, *pci_id; /* pci_id "" or NULL: none */
	int64_t mtu;
	const struct ipam_conf *ipam; /* routes and dns */
	const struct ipam_ip *ips;
	size_t n_ips;
};

/* JSON text in @a. Interfaces and addresses of @prev (NULL: none) come first, ours after them. */
char *result_make(struct arena *a, enum cni_version version, yyjson_val *prev, const struct result_rail *rails, size_t n);

/* A CNI error object. */
char *result_error(struct arena *a, enum cni_version version, const struct cni_failure *f);

#endif
