/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own <linux/devlink.h>, which this room's header of that name hides. */
#ifndef KVRAIL_LINUX_DEVLINK_UAPI_H
#define KVRAIL_LINUX_DEVLINK_UAPI_H

#include_next <linux/devlink.h>

#endif
