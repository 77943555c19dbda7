/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies say of a resource and a node state has no field for: the SR-IOV operator writes it into its device plugin's ConfigMap. Here
 * it is an annotation of the node state, {"p2rdma":{"excludeTopology":true,"needVhostNet":true}}, that is there only while a policy asks for it.
 */
#ifndef KVRAIL_POLICY_RESOURCES_H
#define KVRAIL_POLICY_RESOURCES_H

#include "api/nodestate.h"
#include "api/policy.h"

#define RESOURCES_ANNOTATION "kvrail.io/resources"

struct resource_settings {
	const char *name;	/* of the resource, without its prefix */
	bool exclude_topology;	/* the device plugin tells no NUMA node */
	bool need_vhost_net;	/* containers get /dev/vhost-net and /dev/net/tun */
};

/* The annotation for a node whose merged state is @spec, in @a; NULL: none. By the policies that have VFs there, in order of names. */
const char *resources_text(struct arena *a, const struct api_policy **policies, size_t n, const struct api_nodestate_spec *spec);

/* An annotation's text (NULL: none). What cannot be read is left out: it says only what is given beside the VFs. */
void resources_read(struct arena *a, const char *text, struct resource_settings **ret, size_t *ret_n);

#endif
