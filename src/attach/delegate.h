/* SPDX-License-Identifier: Apache-2.0 */
/* An interface that plugins of other makers make: the verbs over a configuration or a list of plugins, as libcni runs them. */
#ifndef KVRAIL_ATTACH_DELEGATE_H
#define KVRAIL_ATTACH_DELEGATE_H

#include "attach/cniresult.h"
#include "attach/netconf.h"
#include "attach/plugin.h"

struct delegate {
	struct netconf conf; /* has a name */
	const char *text;    /* of it */
	yyjson_val *runtime; /* capability arguments, object or NULL */
	struct plugin_call call; /* .command is set by the verbs */
	const char *cni_dir; /* libcni's results are in CNIDIR/results */
};

/* From the text of a final configuration and of its capability arguments (NULL: none). */
int delegate_parse(struct arena *a, const char *source, const char *text, const char *runtime, struct delegate *ret, struct err *e);

/* Each plugin in order, the result of the one before as prevResult; the last result is cached. 0 or a CNI code. */
int delegate_add(struct arena *a, struct delegate *d, struct cniresult *ret, struct cni_failure *f);
/* Cache another result than the plugins gave. */
int delegate_cache(struct arena *a, const struct delegate *d, const struct cniresult *res, struct err *e);
/*
 * In reverse, with the cached result where there is one; all are tried and the first failure is told, that a plugin is not there (-ENOENT) only
 * when nothing else failed. The cached result goes when all succeeded.
 */
int delegate_del(struct arena *a, struct delegate *d, struct cni_failure *f);
/* With the cached result. Configurations before 0.4.0 have no CHECK and pass, as do those that disable it. */
int delegate_check(struct arena *a, struct delegate *d, struct cni_failure *f);
/* From 1.1.0 on. */
int delegate_status(struct arena *a, struct delegate *d, struct cni_failure *f);
/* From 1.1.0 on, where not disabled; @valid: what lives of this network. */
int delegate_gc(struct arena *a, struct delegate *d, const struct request_id *valid, size_t n, struct cni_failure *f);

#endif
