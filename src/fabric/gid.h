/* SPDX-License-Identifier: Apache-2.0 */
/* GID tables. The entry is found by (RoCE v2, address, netdev), never by number: indices differ per device and pod. */
#ifndef KVRAIL_FABRIC_GID_H
#define KVRAIL_FABRIC_GID_H

#include "linux/sysroot.h"

enum gid_type { GID_NONE, GID_ROCE_V1, GID_ROCE_V2, GID_IB };

struct gid_entry {
	unsigned index;
	enum gid_type type;
	unsigned char gid[16];
	const char *ndev; /* NULL when not told */
};

/*
 * Used entries of the port's table, by index, from class/infiniband/DEV/ports/PORT of the sysroot of the pod's
 * namespace. -ENODEV: no such device or port here; @e lists the devices that are.
 */
int gid_table(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port,
	      struct gid_entry **ret, size_t *ret_n, struct err *e);

/*
 * The RoCE v2 entry of @address (text, v4 or v6, without prefix) on @ndev (NULL: any). -ENOENT: @e lists what the table has and what
 * that means. IPv4 is matched as ::ffff:a.b.c.d exactly, not by a substring.
 */
int gid_find(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, const char *address,
	     const char *ndev, struct gid_entry *ret, struct err *e);
/* The same for an address that was just given, whose entry the kernel makes in its own time: looks again for @ms milliseconds. */
int gid_wait(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, const char *address,
	     const char *ndev, unsigned ms, struct gid_entry *ret, struct err *e);

/*
 * Is @ndev, of one of the device's GIDs, in the sysroot's network namespace? In shared RDMA mode all GIDs of the node are told with the names
 * that their interfaces have in namespaces of their own (print_ndev(), drivers/infiniband/core/sysfs.c), and each pod has a net1: an interface of
 * that name is another when it is of another PCI function than the device. NULL, not told, is here.
 */
bool gid_ndev_is_here(const struct sysroot *r, struct arena *a, const char *rdma, const char *ndev);

char *gid_format(struct arena *a, const unsigned char gid[16]); /* 0000:0000:...:ffff:0a00:8405 */
const char *gid_type_name(enum gid_type t);			 /* "RoCE v2" */

/* The largest RoCE path MTU (256 to 4096) that a netdev of @netdev_mtu bytes carries, 0 below the smallest. */
unsigned gid_roce_mtu(unsigned netdev_mtu);

/*
 * State of a port, texts as in sysfs ("4: ACTIVE"), NULL when not told. sysfs has no active_mtu: on Ethernet it is what the
 * kernel makes of the MTU of the port's netdev, when that is in this namespace. -ENODEV: no such port.
 */
struct gid_port {
	const char *state, *phys_state, *link_layer, *rate;
	const char *ndev;    /* of the first GID that tells one; NULL: none does */
	unsigned active_mtu; /* bytes, 0 unknown */
};
/* Is the port's link InfiniBand? Its GIDs then come from GUIDs, and none is made of an address. */
bool gid_is_infiniband(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port);
int gid_port(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, struct gid_port *ret);

#endif
