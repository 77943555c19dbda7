/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container Device Interface: the specification that tells a runtime what a container gets with a device. Pure. The runtime reads it when it
 * creates the container, after the sandbox's ADD: it can hold what exists only then.
 * An edit of the environment replaces a variable that the container sets itself (the CDI library's Apply), so such are left out by
 * whoever fills this in.
 */
#ifndef KVRAIL_FABRIC_CDI_H
#define KVRAIL_FABRIC_CDI_H

#include "fabric/chardev.h"

#define CDI_KIND "kvrail.io/vf" /* a device is named kvrail.io/vf=<PCI address> */

struct cdi_device {
	const char *name; /* PCI address */
	const struct chardev *nodes;
	size_t n_nodes;
	const char **env; /* "NAME=value" */
	size_t n_env;
};

struct cdi_spec {
	const struct cdi_device *devices;
	size_t n_devices;
	const char *hook; /* program of a createRuntime hook for every container that gets one of the devices; NULL: none */
	const char *const *hook_args; /* behind its name, NULL-terminated */
};

/*
 * JSON text in @a. A device without nodes and environment gets the variable KVRAIL_DEVICE with its name: the CDI library refuses
 * a device that changes nothing.
 */
char *cdi_render(struct arena *a, const struct cdi_spec *spec);

/* Does the specification @text name one of @devices? For finding those that were left behind. */
bool cdi_names(const char *text, size_t len, const char *const *devices, size_t n);

#endif
