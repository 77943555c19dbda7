/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the containers of a pod get besides the network: device nodes of their own VFs' RDMA devices, the environment of the libraries, the limit
 * of locked memory. By a CDI specification; for runtimes without CDI by a file for each device, to be mounted and sourced.
 */
#ifndef KVRAIL_ATTACH_INJECT_H
#define KVRAIL_ATTACH_INJECT_H

#include "attach/attach.h"
#include "attach/attachment.h"
#include "fabric/cdi.h"

#define INJECT_ENV_ANNOTATION "kvrail.io/env" /* "off", or the names of containers, separated by commas, that get no environment */

struct inject {
	const struct attachment *at;
	const struct attach_pod *pod; /* NULL: none is known */
	const struct attach_device *devices;
	size_t n_devices;
	const char *pod_ip; /* of the default network, or NULL */
	const char *hook;
	const struct sysroot *root;
};

/* The CDI specification's text; and the text of the file for device number @device. In @a. */
int inject_cdi_text(struct arena *a, const struct inject *in, char **ret, struct err *e);
int inject_env_text(struct arena *a, const struct inject *in, size_t device, char **ret, struct err *e);

/*
 * Write what the attachment's cdi_file or env_dir say, by rename. Specifications of others of ours (a pod that is gone) which name one
 * of the devices are taken away: a device that two name, a runtime resolves to none.
 */
int inject_write(const struct inject *in, struct err *e);
/* What is not there is success. */
int inject_remove(const struct attachment *at, struct err *e);

#endif
