/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a VF can be offered. Facts are read in one place, what they mean is a pure function, and time is a third thing.
 * Private to the room.
 *
 * A VF that waits on the host is down, so that its own carrier and its own RDMA port say nothing; they follow the port
 * of its PF, which is up as long as the policy holds, and that is what is looked at. A VF that is in a pod shows neither its netdev nor
 * (with RDMA namespaces exclusive) its RDMA device here: their absence is no fault then.
 */
#ifndef KVRAIL_DEVICE_HEALTH_H
#define KVRAIL_DEVICE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "linux/sysroot.h"

struct health_facts {
	bool present;	    /* on the PCI bus */
	const char *driver; /* NULL: none bound */
	bool netdev, rdma;  /* seen here */
	const char *pf;	    /* the port's netdev, for words; NULL: it has none here */
	int pf_carrier;	    /* 1, 0; -1: the port is not up, or has no netdev here */
	bool pf_up;
	const char *pf_rdma, *pf_rdma_state; /* the PF's RDMA device and "4: ACTIVE"; NULL: none */
	bool held;	    /* a pod has it: by our attachments, or by the kubelet's word (another CNI plugin may have moved it) */
	const char *stranger; /* "NS/POD" that holds it, and of which the kubelet has no record; else NULL */
};

/*
 * @pf_netdev may be NULL. Strings in @a. .held and .stranger are the caller's and stay. @same_port (may be NULL): facts of another VF of
 * this PF, read a moment ago: the port is not read again.
 */
void health_read(const struct sysroot *r, struct arena *a, const char *pci, const char *pf_pci, const char *pf_netdev,
		 const struct health_facts *same_port, struct health_facts *ret);

/* NULL: healthy. Else what is wrong and what to do, in @a. @want_rdma: hardware RDMA is part of the resource. */
const char *health_problem(struct arena *a, const struct health_facts *f, bool want_rdma);

/* Where a device stands. Zeroed: not judged yet, the first judgement counts at once. */
struct health {
	bool known, healthy;
	uint64_t bad_since; /* ns; 0: the last judgement was good */
};

/*
 * One more judgement at @now_ns. Good counts at once; bad when it has lasted for @hold_ns, or at once with @urgent. Returns true when
 * .healthy changed. *ret_wait is the time until a pending one counts, 0: none is pending.
 */
bool health_step(struct health *h, bool good, bool urgent, uint64_t now_ns, uint64_t hold_ns, uint64_t *ret_wait);

#endif
