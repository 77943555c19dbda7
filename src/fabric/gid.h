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

/* Used entries of the port's table, from class/infiniband/DEV/ports/PORT of the sysroot of the pod's namespace. */
int gid_table(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, struct gid_entry **ret,
	      size_t *ret_n, struct err *e);

/*
 * The RoCE v2 entry of @address (text, v4 or v6, without prefix) on @ndev (NULL: any). -ENOENT: @e lists what the table has and what
 * that means. IPv4 is matched as ::ffff:a.b.c.d exactly, not by a substring.
 */
int gid_find(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, const char *address,
	     const char *ndev, struct gid_entry *ret, struct err *e);

char *gid_format(struct arena *a, const unsigned char gid[16]); /* 0000:0000:...:ffff:0a00:8405 */
const char *gid_type_name(enum gid_type t);			 /* "RoCE v2" */

/* active_mtu, state, link_layer, rate of a port, texts as in sysfs. */
struct gid_port {
	const char *state, *phys_state, *link_layer, *rate;
	unsigned active_mtu; /* bytes, 0 unknown */
};
int gid_port(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, struct gid_port *ret);

#endif
