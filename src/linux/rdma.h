/* SPDX-License-Identifier: Apache-2.0 */
/* RDMA netlink (NETLINK_RDMA, RDMA_NL_NLDEV). Kernel: drivers/infiniband/core/nldev.c. */
#ifndef KVRAIL_LINUX_RDMA_H
#define KVRAIL_LINUX_RDMA_H

#include "base/arena.h"
#include "linux/nl.h"

#define RDMA_NAME_MAX 64

struct rdma_dev {
	uint32_t index;
	char name[RDMA_NAME_MAX];
	unsigned n_ports;
	char fw[64], protocol[16]; /* "roce", "ib", "iw", ...; "" when not told */
	uint64_t node_guid, sys_image_guid;
};

struct rdma_port {
	unsigned port;
	uint8_t state, phys_state; /* IB_PORT_ACTIVE is 4, LinkUp is 5 */
	unsigned ndev_index;	   /* 0 when the netdev is in another namespace */
	char ndev_name[16];
};

int rdma_open(struct nl **ret, struct err *e); /* -EPROTONOSUPPORT without ib_core: @e says which module */
/* Devices that this namespace sees. */
int rdma_devs(struct nl *nl, struct arena *a, struct rdma_dev **ret, size_t *ret_n, struct err *e);
int rdma_dev(struct nl *nl, const char *name, struct rdma_dev *ret, struct err *e); /* -ENODEV */
int rdma_port(struct nl *nl, uint32_t dev_index, unsigned port, struct rdma_port *ret, struct err *e);
int rdma_move(struct nl *nl, uint32_t dev_index, int netns_fd, struct err *e);
int rdma_rename(struct nl *nl, uint32_t dev_index, const char *name, struct err *e);
int rdma_get_exclusive(struct nl *nl, bool *ret, struct err *e);
int rdma_set_exclusive(struct nl *nl, bool on, struct err *e); /* -EBUSY once other namespaces exist */
/* Soft RoCE on a netdev of this namespace (RDMA_NLDEV_CMD_NEWLINK type rxe); and its removal. */
int rdma_add_rxe(struct nl *nl, const char *name, const char *netdev, struct err *e);
int rdma_del_link(struct nl *nl, uint32_t dev_index, struct err *e);

#endif
