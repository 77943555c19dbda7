/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to reach an API server and as whom: a kubeconfig (or several, merged: $KUBECONFIG), or the service account that kubelet
 * mounts into a pod. Format: kubernetes.io/docs/reference/config-api/kubeconfig.v1.
 */
#ifndef KVRAIL_STORE_KUBECONFIG_H
#define KVRAIL_STORE_KUBECONFIG_H

#include "codec/table.h"
#include "rpc/http.h"

#define KUBECONFIG_MAX	      (4u << 20)
#define KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* A program that gives credentials: client.authentication.k8s.io. */
struct kubeconfig_exec {
	struct object obj;
	const char *api_version, *command, *install_hint, *interactive_mode;
	const char **args;
	size_t n_args;
	struct kubeconfig_env {
		struct object obj;
		const char *name, *value;
	} *env;
	size_t n_env;
	bool provide_cluster_info;
};

struct kubeconfig {
	const char *source; /* "/root/.kube/config, context kind" */
	const char *server, *namespace, *proxy; /* namespace: "default" when nothing says; proxy may be NULL */
	struct http_tls tls;
	const char *token, *token_file;
	const struct kubeconfig_exec *exec; /* NULL: none */
	const char *cluster_json; /* for a program that asks for it: spec.cluster of ExecCredential */
	const char *as, **as_groups; /* impersonation */
	size_t n_as_groups;
};

/*
 * @path NULL: $KUBECONFIG, else the service account of this pod, else ~/.kube/config. @context NULL: current-context.
 * -ENOENT: the file, or the context (@e says which there are); -EINVAL: what is in it.
 */
int kubeconfig_load(struct arena *a, const char *path, const char *context, struct kubeconfig **ret, struct err *e);

/* The service account in @folder; -ENOENT when this is no pod. */
int kubeconfig_in_cluster(struct arena *a, const char *folder, struct kubeconfig **ret, struct err *e);

struct kubeconfig_text {
	const char *file, *text;
	size_t len;
};

/* Files already read, the first has the say. Files that they name are not opened. */
int kubeconfig_parse(struct arena *a, const struct kubeconfig_text *texts, size_t n, const char *context,
		     struct kubeconfig **ret, struct err *e);

/* When a token that is a JWT expires (Unix seconds); 0: it does not say. */
int64_t kubeconfig_token_expiry(const char *token);

#endif
