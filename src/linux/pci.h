/* SPDX-License-Identifier: Apache-2.0 */
/* PCI addresses and the driver core: bind and unbind. */
#ifndef KVRAIL_LINUX_PCI_H
#define KVRAIL_LINUX_PCI_H

#include "linux/sysroot.h"

struct pci_addr {
	uint32_t domain;
	uint8_t bus, device, function;
};

/* "dddd:bb:dd.f" (domain 4 to 8 hex digits). -EINVAL for any other text. */
int pci_parse(const char *text, struct pci_addr *ret);

/* Driver name or NULL when unbound. */
int pci_driver(const struct sysroot *r, struct arena *a, const char *addr, const char **ret);
/* Does this driver give a function to user space as it is, without netdev and RDMA device? sriov-cni's list. NULL: no. */
bool pci_is_user_space_driver(const char *driver);
/* Bind to the driver that matches (@driver NULL: driver_override cleared, drivers_probe) or to @driver by
 * driver_override and bind. Already there is success. Unbinding an unbound device is success. */
int pci_bind(const struct sysroot *r, const char *addr, const char *driver, struct err *e);
int pci_unbind(const struct sysroot *r, const char *addr, struct err *e);

#endif
