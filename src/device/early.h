/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is promised with its VF and finds when it is created, also when the VF was not attached meanwhile.
 *
 * CDI specifications. Allocate names kvrail.io/vf=<pci>, and a runtime does not create a container
 * whose device no specification names. A pod's ADD writes one and takes ours away; a pod on the host's network, or one without any
 * of our networks, has no such ADD: what is written here at Allocate serves it, DIR/kvrail-allocated-<pci>.json with the VF's
 * RDMA nodes.
 *
 * Without CDI: DIR/<pci>.env, which Allocate mounts. The ADD writes it; until then it says that there is nothing, for of a path that is
 * missing containerd makes a folder.
 *
 * Private to the room.
 */
#ifndef KVRAIL_DEVICE_EARLY_H
#define KVRAIL_DEVICE_EARLY_H

#include <stdbool.h>

#include "base/err.h"
#include "linux/sysroot.h"

/* By rename; @rdma NULL: the VF has no RDMA device. @told: the kubelet tells that it is given, so early_clean() is to take it as old. */
int early_write(const char *dir, const struct sysroot *root, const char *pci, const char *rdma, bool told, struct err *e);
bool early_exists(const char *dir, const char *pci);
/* Does an attachment's specification name it? A device that two name, a runtime resolves to none. */
bool early_superseded(const char *dir, const char *pci);
void early_remove(const char *dir, const char *pci);
/* The environment's file, unless it is there; *ret is its path, in @a. */
int early_write_env(const char *dir, const char *pci, struct arena *a, const char **ret, struct err *e);

enum early_kind { EARLY_CDI, EARLY_ENV };

/* Remove those of @dir which @wanted refuses and that are older than @min_age_s: the kubelet tells of an allocation a moment after it was made. */
void early_clean(enum early_kind kind, const char *dir, unsigned min_age_s, bool (*wanted)(void *arg, const char *pci), void *arg);

#endif
