/* SPDX-License-Identifier: Apache-2.0 */
/* One PCI function as sysfs shows it; inventory.c reads many at once. */
#ifndef KVRAIL_PROVISION_DEVICE_H
#define KVRAIL_PROVISION_DEVICE_H

#include "provision/inventory.h"

#define DEVICES "bus/pci/devices"

enum device_kind { DEVICE_OTHER, DEVICE_PF, DEVICE_VF };

struct device {
	enum device_kind kind;
	struct inventory_pf pf;
	struct inventory_vf vf;
	const char **vf_addresses; /* of a PF: where virtfn0.. lead to */
	const char **representors; /* of a PF in switchdev mode: by VF number, NULL where there is none */
	size_t n_vf_addresses, n_representors;
};

/* Read function @pci. All that is found goes to @a. Never fails: what cannot be read is in pf.problem. */
void device_read(const struct sysroot *r, struct arena *a, const char *pci, struct device *ret);

/* "pf0vf3", "c1pf0vf3": the representor of a VF; *ret_vf may be -1 for one of something else ("pf0sf1", "pf0hpf"). */
bool device_is_representor(const char *phys_port_name, int *ret_vf);

#endif
