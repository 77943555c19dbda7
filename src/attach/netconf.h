/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network configurations of third parties: a plugin's or a list of plugins, and what is put into them on the way to a plugin's stdin,
 * as libcni and Multus do it. Pure.
 */
#ifndef KVRAIL_ATTACH_NETCONF_H
#define KVRAIL_ATTACH_NETCONF_H

#include "attach/request.h"

#define NETCONF_SIZE_MAX (64u << 10)
#define NETCONF_PLUGINS_MAX 32

struct netconf {
	const char *name; /* NULL: it has none */
	enum cni_version version;
	bool list; /* "plugins" */
	bool disable_check, disable_gc;
	yyjson_val *root;
	yyjson_val *plugins[NETCONF_PLUGINS_MAX]; /* each an object with a type; of a single configuration: itself */
	size_t n_plugins;
};

/* -EINVAL: @e says with @source what is missing or wrong. Values live in @a. */
int netconf_parse(struct arena *a, const char *source, const char *text, size_t len, struct netconf *ret, struct err *e);
int netconf_from_value(const char *source, yyjson_val *root, struct netconf *ret, struct err *e);

const char *netconf_type(const struct netconf *nc, size_t plugin);

/*
 * The configuration as Multus hands it on, as text in @a: with @name where it has none, with @device_id (may be NULL) as deviceID and pciBusID
 * and @cni_args (object or NULL) merged into args.cni, in each plugin of a list.
 */
char *netconf_final(struct arena *a, const struct netconf *nc, const char *name, const char *device_id, yyjson_val *cni_args);

/* @conf, a plugin's or a list, with @cni_args merged in the same way; NULL: @conf itself. */
yyjson_val *netconf_with_args(struct arena *a, yyjson_val *conf, yyjson_val *cni_args);

/*
 * What plugin number @plugin reads from stdin: its own configuration with name, cniVersion, prevResult (NULL: none) and of @runtime (object of
 * capability arguments, NULL: none) what its "capabilities" declare. @extra (object or NULL): further members.
 */
char *netconf_stdin(struct arena *a, const struct netconf *nc, size_t plugin, yyjson_val *prev_result, yyjson_val *runtime,
		    yyjson_mut_val *extra);

/* A name that may be part of a file's: [a-zA-Z0-9][a-zA-Z0-9_.-]* */
bool netconf_is_name(const char *s);

#endif
