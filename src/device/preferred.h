/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which free VFs the kubelet should take. Pure. Private to the room.
 *
 * VFs of one PF share its wire, so that of all PFs with a free VF each gives one before any gives a second: a pod with four
 * rails of a resource gets four ports. Among PFs that have given equally many, the next is the nearest to what is chosen: behind the same
 * PCIe switch, then on the same NUMA node, then the one with most free VFs (pods spread over the ports), then by PCI address. Every PF
 * is tried as the first one; the set with least distance wins, so that two rails come from one dual-port card or one switch
 * rather than from two ends of the machine.
 */
#ifndef KVRAIL_DEVICE_PREFERRED_H
#define KVRAIL_DEVICE_PREFERRED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "linux/sysroot.h"

struct preferred_device {
	const char *id, *pf_pci;
	unsigned index; /* VF number on its PF */
	int numa;	/* -1: unknown */
	const char *upstream; /* preferred_upstream() of the PF, NULL unknown */
	bool must;  /* the kubelet will take it in any case */
	bool avoid; /* not to be proposed: a pod holds it, whatever the kubelet thinks */
};

/*
 * The bridges above a function, as a path below sys/ ("devices/pci0000:15/0000:15:01.0/0000:16:00.0"): up to the
 * upstream port of the switch that it hangs on, up to its root complex when there is no switch.
 */
const char *preferred_upstream(const struct sysroot *r, struct arena *a, const char *pci);

/*
 * Mark @size of the @n devices in @chosen, those with .must first. Fewer when there are not so many: the kubelet fills up by itself.
 */
void preferred_choose(const struct preferred_device *d, size_t n, size_t size, bool *chosen);

#endif
