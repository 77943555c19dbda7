/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that speak to an API server: which one, and what its kinds are called. */
#ifndef KVRAIL_CMD_CLUSTER_H
#define KVRAIL_CMD_CLUSTER_H

#include "api/meta.h"
#include "cmd/cmd.h"
#include "store/kube.h"

/* First member of such a command's options. */
struct cluster_options {
	const char *kubeconfig, *context;
};

/* Their rows, for a table of options whose struct begins with the above. */
#define CLUSTER_OPTIONS                                                                                                             \
	{ "kubeconfig", 0, CMD_STRING, offsetof(struct cluster_options, kubeconfig), "FILE", NULL, "the cluster of this file" },      \
	{ "context", 0, CMD_STRING, offsetof(struct cluster_options, context), "NAME", NULL, "the cluster of this context of the kubeconfig" }

/*
 * A cluster, or this host's agent? --kubeconfig or --context: a cluster. Else where an agent's socket is: the agent. Else a
 * cluster when there is one: $KUBECONFIG, the service account of a pod, ~/.kube/config.
 */
bool cmd_cluster_is_meant(const struct cluster_options *o);

/* @manager: of what is written; may be NULL. */
int cmd_cluster_open(const struct cluster_options *o, const char *manager, struct kube **ret, struct err *e);

static inline void kube_closep(struct kube **k)
{
	kube_close(*k);
}
#define _cleanup_kube_ _cleanup_(kube_closep)

struct cluster_kind {
	const char *kind, *plural, *group, *version; /* group "": core */
	bool namespaced;
};

/* By any name that kubectl takes: "pods", "po", "Pod", "ippools.whereabouts.cni.cncf.io". Kinds that kvrail does not know are asked for. */
int cmd_cluster_kind(struct cmd_run *run, struct kube *k, const char *name, struct cluster_kind *ret, struct err *e);
int cmd_cluster_kind_of(struct cmd_run *run, struct kube *k, const char *api_version, const char *kind, struct cluster_kind *ret,
		    struct err *e);
const char *cmd_cluster_api_version(struct arena *a, const struct cluster_kind *kind);

/* "sriovnetwork.sriovnetwork.openshift.io/rail": an object in messages. */
const char *cmd_cluster_object_name(struct arena *a, const struct cluster_kind *kind, const char *name);

/* "5s", "3m", "2h", "4d": how long ago a timestamp of Kubernetes is; "<unknown>". */
const char *cmd_cluster_age(struct arena *a, const char *timestamp);

/* Arguments "KIND NAME...", "KIND/NAME..." or "KIND" with @min_names 0. */
struct cluster_args {
	struct cluster_kind kind;
	const char **names;
	size_t n_names;
};

int cmd_cluster_args(struct cmd_run *run, struct kube *k, size_t min_names, struct cluster_args *ret, struct err *e);

/* The entry of status.conditions of that type, case ignored; NULL when there is none. */
yyjson_val *cmd_cluster_condition(yyjson_val *object, const char *type);

/* The cluster's side of commands that have two homes. */
struct get_options {
	struct cluster_options cluster;
	const char *namespace, *selector;
	bool all;
};

int get_from_cluster(struct cmd_run *run, const struct get_options *o, struct err *e);

struct apply_options {
	struct cluster_options cluster;
	struct cmd_strings files;
	const char *namespace;
	bool force, strict;
};

int apply_to_cluster(struct cmd_run *run, const struct apply_options *o, struct err *e);
int delete_from_cluster(struct cmd_run *run, const struct apply_options *o, struct err *e);

#endif
