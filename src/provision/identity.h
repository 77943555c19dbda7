/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of VFs that have none: a function of the machine, the port and the VF's number, so that a VF keeps its
 * address over reboots and over VFs being taken away and made again.
 */
#ifndef KVRAIL_PROVISION_IDENTITY_H
#define KVRAIL_PROVISION_IDENTITY_H

#include "base/arena.h"

/* "02:..": locally administered, unicast. */
char *identity_mac(struct arena *a, const char *identity, const char *pci, unsigned vf);
/* Node and port GUID of an InfiniBand VF, as sysfs writes it ("0212:3456:789a:bcde"). */
char *identity_guid(struct arena *a, const char *identity, const char *pci, unsigned vf);

#endif
