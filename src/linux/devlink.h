/* SPDX-License-Identifier: Apache-2.0 */
/* devlink (generic netlink). Kernel: net/devlink. */
#ifndef KVRAIL_LINUX_DEVLINK_H
#define KVRAIL_LINUX_DEVLINK_H

#include "base/arena.h"
#include "linux/nl.h"

struct devlink; /* a generic netlink socket and the family's id */

int devlink_open(struct devlink **ret, struct err *e); /* -ENOENT: the kernel has no devlink */
/* The same over a generic netlink conversation that is open; @nl is taken over, also when it fails. */
int devlink_on(struct nl *nl, struct devlink **ret, struct err *e);
struct devlink *devlink_close(struct devlink *d);

struct devlink_info {
	const char *driver, *serial, *fw_version /* running fw.version or fw */, *fw_stored, *psid;
};

/* NULL fields are what the driver does not tell; -ENODEV, -EOPNOTSUPP for devices without. */
int devlink_info(struct devlink *d, struct arena *a, const char *pci, struct devlink_info *ret, struct err *e);
/* "legacy", "switchdev", "switchdev_inactive". */
int devlink_eswitch_get(struct devlink *d, struct arena *a, const char *pci, const char **ret, struct err *e);
int devlink_eswitch_set(struct devlink *d, const char *pci, const char *mode, struct err *e);

#endif
