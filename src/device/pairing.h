/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device of a pod serves which of its networks. Pure.
 *
 * The rule. A pod's devices of one resource are put in a row: containers in the pod's order (pod resources list them so),
 * within a container by PF (PCI address, as a number), within a PF by VF index. The networks of that resource, in the annotation's order, take
 * from the row's front. So net1 is on the same rail in every pod of a deployment and on every node of one kind, the first container's
 * devices serve the first networks, and a restart of anything changes nothing. (Multus sorts ids as text over all containers:
 * 0000:d8:00.2 before 0000:d8:01.1 is luck, and 10000:... comes before 2000:...)
 *
 * A network that names a device (deviceID) gets that one, if its pod was given it by the kubelet, under the network's resource; it is set
 * aside before the others take theirs. A network without resource needs no device. A device serves one network.
 */
#ifndef KVRAIL_DEVICE_PAIRING_H
#define KVRAIL_DEVICE_PAIRING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* A device that the kubelet gave to a container of the pod, in the order of pod resources. */
struct pairing_device {
	const char *container, *resource /* "openshift.io/p2rdma" */, *id;
	const char *pf_pci; /* NULL: not known here; such devices come last, by id */
	unsigned index;	    /* VF number on its PF */
};

struct pairing_network {
	const char *name;     /* "llm/roce-p2", for messages */
	const char *resource; /* NULL or "": none needed */
	const char *device_id; /* asked for by name, or NULL */
	bool optional; /* does without when none is left */
};

/*
 * @ret[i] is the index in @devices for network i, or -1 for one that needs none or does without. @pod is "NS/NAME". -ENODEV: a network's resource has
 * no device left; -EINVAL: a device asked for by name is not this pod's. @e says network, resource, what the pod was given, what to do.
 */
int pairing_make(const char *pod, const struct pairing_device *devices, size_t n_devices,
		 const struct pairing_network *networks, size_t n_networks, int *ret, struct err *e);

/* Order of PCI addresses as numbers; texts that are none come last, as text. */
int pairing_by_address(const char *x, const char *y);

#endif
