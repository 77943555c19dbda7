/* SPDX-License-Identifier: Apache-2.0 */
/* The character devices of one RDMA device: what a container needs to open it. */
#ifndef KVRAIL_FABRIC_CHARDEV_H
#define KVRAIL_FABRIC_CHARDEV_H

#include "linux/sysroot.h"

struct chardev {
	const char *path; /* "/dev/infiniband/uverbs0" */
	uint64_t major, minor;
};

/*
 * uverbsN, umadN and issmN of @rdma, whatever bus it is on (soft RoCE too), and the node of the connection manager. They are found by the name
 * of the RDMA device, which is one of the whole machine: their sysfs folders belong to no network namespace. None there: *ret_n is 0.
 */
void chardev_list(const struct sysroot *root, struct arena *a, const char *rdma, struct chardev **ret, size_t *ret_n);

#endif
