/* SPDX-License-Identifier: Apache-2.0 */
/* Executing a CNI plugin of another maker, once: where it is, what it reads, how long it may take, what it may print. */
#ifndef KVRAIL_ATTACH_PLUGIN_H
#define KVRAIL_ATTACH_PLUGIN_H

#include "attach/request.h"

#define PLUGIN_STDOUT_MAX (1u << 20)
#define PLUGIN_STDERR_MAX (16u << 10)
#define PLUGIN_TIMEOUT_MS 30000 /* when nothing else is said */

struct plugin_call {
	const char *command; /* "ADD", ... */
	const char *container, *netns, *ifname, *args; /* NULL: empty */
	const char *dirs; /* folders to look in, separated by ":"; what CNI_PATH says */
	unsigned timeout_ms; /* 0: PLUGIN_TIMEOUT_MS */
	const struct attach_cluster *cluster; /* whose run_plugin may run it where the runtime is; NULL: here */
	void *caller;			      /* of the request */
};

/* The program of @type in @dirs, as path in @a; -ENOENT with the folders, -EINVAL when the type is no plain name. */
int plugin_find(struct arena *a, const char *dirs, const char *type, char **ret, struct err *e);

/*
 * Run the plugin of @type with @conf on its stdin. *ret_out is what it printed (may be ""), in @a. On failure a CNI code with the
 * plugin's name and words in @f: the plugin's own code where it printed an error object; what it wrote to stderr is quoted.
 * A "text file busy" (a copy in progress) is tried again for five seconds; at the time limit its whole process group is killed.
 */
int plugin_run(struct arena *a, const char *type, const struct plugin_call *call, const char *conf, char **ret_out,
	       struct cni_failure *f);

/* What became of a plugin, judged: 0 when it succeeded, else a CNI code. For tests and fuzzing; plugin_run() does it. */
int plugin_judge(struct arena *a, const char *type, const struct plugin_call *call, const struct attach_ran *ran, struct cni_failure *f);

#endif
