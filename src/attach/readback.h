/* SPDX-License-Identifier: Apache-2.0 */
/* What was promised, measured: runs in the pod's namespace. */
#ifndef KVRAIL_ATTACH_READBACK_H
#define KVRAIL_ATTACH_READBACK_H

#include "attach/attachment.h"
#include "linux/nl.h"
#include "linux/sysroot.h"

struct readback_want {
	int64_t mtu;
	const char *mac; /* NULL: any */
	bool up;	 /* it must be up; ADD has just set it so */
};

struct readback {
	struct nl *nl, *rdma;	   /* of the pod; rdma may be NULL when the rail has no RDMA device */
	struct nl *host_rdma;	   /* not NULL: the device must not be seen there (exclusive mode) */
	struct sysroot *root;	   /* the pod's /sys, for its GID table */
	struct arena *arena;	   /* of what is written into the rail */
};

/*
 * MTU, MAC and addresses of @rec->ifname; @rec->rdma here and only here; the GID of the first address, waited for. Fills mac, mtu, port, gid
 * and active_mtu of @rec. The first thing that is not as wanted is the error.
 */
int readback_rail(const struct readback *rb, const struct readback_want *want, struct attachment_rail *rec, struct err *e);

#endif
