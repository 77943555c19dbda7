/* SPDX-License-Identifier: Apache-2.0 */
#include "ipam/ops.h"

bool ipam_needs_pod(const struct ipam_ask *asks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (asks[i].conf && asks[i].conf->n_ranges)
			return true;
	return false;
}

int ipam_allocate(struct ipam *ip, struct arena *a, const char *container, const char *podref,
		  const struct ipam_ask *asks, size_t n, struct ipam_given **ret, struct err *e)
{
	if (ipam_needs_pod(asks, n) && (!podref || !*podref || !container || !*container))
		return err_set(e, -EINVAL,
			       "addresses are leased to a pod: its name (K8S_POD_NAMESPACE, K8S_POD_NAME) and container are missing");
	return ip->ops->allocate(ip, a, container, podref, asks, n, ret, e);
}

int ipam_release(struct ipam *ip, const char *container, const char *const *ifnames, size_t n, struct err *e)
{
	return ip->ops->release(ip, container, ifnames, n, e);
}

struct ipam *ipam_close(struct ipam *ip)
{
	if (ip)
		ip->ops->close(ip);
	return NULL;
}
