/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: an AdmissionReview (admission.k8s.io/v1) in, one out. Pure, but for the question which networks there are.
 *
 * Pods: each network that a pod names takes a device of the network's resource; nothing schedules a pod by its annotation, so the resource is
 * added to a container's requests and limits. To which: one that asks for that resource already, else the one that asks for GPUs, else one
 * that asks for an RDMA resource, else the first. What the containers (and the init containers that go on running) ask for already counts.
 * A pod that names a network which is not there is refused: it would wait in ContainerCreating for ever. So is one whose networks, or whose
 * own nodeSelector, ask for different nodes. Differences from network-resources-injector: docs/differences.md.
 *
 * Policies and networks: the defaults and the refusals of the SR-IOV operator's webhook, with its words; a policy also against the nodes and
 * policies that there are.
 */
#ifndef KVRAIL_CONTROLLER_ADMIT_H
#define KVRAIL_CONTROLLER_ADMIT_H

#include "api/network.h"
#include "api/nodestate.h"
#include "api/policy.h"

#define ADMIT_BODY_MAX (4u << 20) /* an object of etcd's limit, old and new, and the envelope */

enum admit_path { ADMIT_PODS, ADMIT_DEFAULTS, ADMIT_VALIDATE };

struct admit_nad {
	const char *resource;	   /* NULL: none, nothing to add */
	const char *node_selector; /* annotation k8s.v1.cni.cncf.io/nodeSelector, "key=value", or NULL */
};

/* What a policy is held to. */
struct admit_cluster {
	const struct api_policy **policies; /* of the namespace where they count */
	const struct api_node **nodes;
	const struct api_nodestate **states;
	size_t n_policies, n_nodes, n_states;
};

struct admit_options {
	const char *namespace; /* where policies count */
	const char *home;      /* our own: its pods are let through untouched, as those of kube-system */
	/* -ENOENT: there is none, *names may be what there is in that namespace; other errors: it could not be found out. */
	int (*nad)(void *arg, struct arena *a, const char *ns, const char *name, struct admit_nad *ret, const char **names, struct err *e);
	/* The cluster as it is now; NULL: policies are looked at one by one. */
	int (*cluster)(void *arg, struct arena *a, struct admit_cluster *ret, struct err *e);
	void *arg;
};

enum admit_verdict {
	ADMIT_UNCHANGED, /* let through as it is */
	ADMIT_CHANGED,	 /* let through with a patch */
	ADMIT_DENIED,	 /* refused: the object is wrong */
	ADMIT_FAILED,	 /* refused: it could not be found out whether the object is right; try again */
	ADMIT_VERDICTS,
};

/*
 * The answer to @body, in @a. -EINVAL when @body is no AdmissionReview of a version that we know: there is no uid to
 * answer to, so the caller answers with HTTP 400.
 */
int admit_review(struct arena *a, const struct admit_options *o, enum admit_path path, const char *body, size_t len, const char **ret,
		 enum admit_verdict *verdict, struct err *e);

#endif
