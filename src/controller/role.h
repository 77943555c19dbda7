/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster's role: `kvrail controller`, one to a few replicas of which one leads. */
#ifndef KVRAIL_CONTROLLER_ROLE_H
#define KVRAIL_CONTROLLER_ROLE_H

#include "base/err.h"

struct controller_options {
	const char *kubeconfig, *context; /* NULL: as kube_options */
	const char *namespace;	/* where policies and node states count: the SR-IOV operator's */
	const char *home;	/* where the Lease, the Secret and our own pods are */
	const char *prefix;	/* RESOURCE_PREFIX */
	const char *identity;	/* of this replica, unique */
	const char *metrics;	/* where /metrics, /healthz and /readyz are: "HOST:PORT"; "": nowhere */
	const char *webhook;	/* where admission is served: "HOST:PORT"; "": nowhere */
	const char *const *webhook_names; /* that the API server may know it by, NULL-terminated */
	const char *webhook_configuration; /* of the cluster, whose CA bundle the leader keeps right */
	unsigned stale_minutes; /* how long the state of a node that is gone is kept */
};

/* Runs until SIGTERM or SIGINT. */
int controller_run(const struct controller_options *o, struct err *e);

#endif
