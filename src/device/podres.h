/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kubelet gave to which container: its PodResources v1 service (Get, else List), and, when that does not answer, its checkpoint
 * file kubelet_internal_checkpoint. Only devices of device plugins are kept; CPUs, memory and claims are skipped.
 */
#ifndef KVRAIL_DEVICE_PODRES_H
#define KVRAIL_DEVICE_PODRES_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

struct podres_device {
	const char *container, *resource, *id;
};

struct podres_pod {
	const char *namespace, *name;
	struct podres_device *devices; /* containers in the pod's order; ids of one resource as the kubelet lists them */
	size_t n;
};

/*
 * Devices of one pod. A pod without any has *ret_n 0. Asks with Get; when the kubelet does not do that (before 1.34 it must be
 * switched on), with List. -ENOENT: the kubelet knows no such pod. -ENOTCONN: nobody answers at @socket. Waits at most
 * @timeout_ms (0: 10 s, as Multus).
 */
int podres_get(const char *socket, const char *ns, const char *name, unsigned timeout_ms, struct arena *a,
	       struct podres_device **ret, size_t *ret_n, struct err *e);

/* All pods that have devices. A reply above 16 MiB is refused, as the kubelet's own clients do. */
int podres_list(const char *socket, unsigned timeout_ms, struct arena *a, struct podres_pod **ret, size_t *ret_n, struct err *e);

/*
 * The checkpoint: devices of the pod with @uid (the file knows no names), containers in alphabetical order, as it keeps none.
 * -ENOENT: no such file. A pod that is not in it has none.
 */
int podres_checkpoint(const char *path, const char *uid, struct arena *a, struct podres_device **ret, size_t *ret_n,
		      struct err *e);
/* The same of its text. */
int podres_checkpoint_text(const char *path, const char *text, size_t len, const char *uid, struct arena *a, struct podres_device **ret,
			   size_t *ret_n, struct err *e);

#endif
