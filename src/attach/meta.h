/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meta plugin's own configuration (types multus, multus-shim, and kvrail with the same keys): where the default network is, what every pod
 * gets, and who may name networks of whom. Keys and defaults are Multus' (its pkg/types).
 */
#ifndef KVRAIL_ATTACH_META_H
#define KVRAIL_ATTACH_META_H

#include "attach/netconf.h"

struct meta_conf {
	struct object obj;
	const char *cluster_network; /* name or path; or: */
	yyjson_val *delegates;	     /* list of configurations, the first one is the default network */
	const char **default_networks;
	size_t n_default_networks;
	const char *conf_dir, *cni_dir, *bin_dir;
	const char *multus_namespace;
	bool namespace_isolation;
	const char *global_namespaces; /* separated by commas */
	const char **system_namespaces;
	size_t n_system_namespaces;
	const char *readiness_file;
	yyjson_val *runtime; /* runtimeConfig: of the default network */
};

bool meta_is(const struct request *rq);

/* @cluster gives the folders that the configuration does not. 0 or a CNI code. */
int meta_parse(struct arena *a, yyjson_val *conf, const struct attach_cluster *cluster, struct meta_conf *ret, struct cni_failure *f);

bool meta_is_system(const struct meta_conf *mc, const char *namespace);
/* May a pod of @pod_namespace name a network of @namespace? */
bool meta_allows(const struct meta_conf *mc, const char *pod_namespace, const char *namespace);

/*
 * A configuration file as text: @name with a "/" is a file, or a folder of which the first .conf or .conflist counts; else the file of @conf_dir whose
 * configuration has this name. A list takes the files NAME/FILE.conf beside it too unless it says loadOnlyInlinedPlugins. -ENOENT: @e says where it was looked for.
 */
int meta_load(struct arena *a, const char *conf_dir, const char *name, struct netconf *ret, struct err *e);

#endif
