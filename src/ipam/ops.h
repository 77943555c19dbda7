/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind ipam.h: one table of functions for each home of addresses. */
#ifndef KVRAIL_IPAM_OPS_H
#define KVRAIL_IPAM_OPS_H

#include "ipam/ipam.h"

struct ipam_ops {
	int (*allocate)(struct ipam *ip, struct arena *a, const char *container, const char *podref,
			const struct ipam_ask *asks, size_t n, struct ipam_given **ret, struct err *e);
	int (*release)(struct ipam *ip, const char *container, const char *const *ifnames, size_t n, struct err *e);
	void (*close)(struct ipam *ip);
};

/* First member of each kind. */
struct ipam {
	const struct ipam_ops *ops;
};

/* Does one of @asks come out of a range, so that it is held in a pod's name? */
bool ipam_needs_pod(const struct ipam_ask *asks, size_t n);

#endif
