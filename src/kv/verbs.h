/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of transport verbs: one rail is a port of an RDMA device with one GID, its queue pairs and their queue. */
#ifndef KVRAIL_KV_VERBS_H
#define KVRAIL_KV_VERBS_H

#include <infiniband/verbs.h>

#include "fabric/gid.h"
#include "kv/transport.h"

/*
 * Ends that lost the path wait 4.096 us * 2^KV_VERBS_TIMEOUT for an answer, KV_VERBS_RETRY times more: about 4 s. A device
 * may take up to four times that (InfiniBand specification 1.4, 9.7.6.1.3). Not 7: rxe takes 7 retries for no end of them
 * (kernel drivers/infiniband/sw/rxe/rxe_comp.c), as is right for RNR only.
 */
#define KV_VERBS_TIMEOUT 17
#define KV_VERBS_RETRY 6

struct kv_verbs_lane {
	struct ibv_qp *qp;
	uint32_t psn;
	uint64_t posted, completed; /* work requests */
};

struct kv_verbs_rail {
	char device[64], address[KV_ADDR_MAX]; /* address "": not what the GID was found by */
	uint8_t port;
	struct gid_entry gid;
	struct ibv_port_attr attr;
	struct ibv_device_attr limits;
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_mr *mr;
	struct ibv_comp_channel *events;
	struct ibv_cq *cq;
	struct kv_verbs_lane lanes[KV_LANES_MAX];
	unsigned n_lanes, depth; /* work requests that a lane may have under way */
	uint8_t mtu;		 /* enum ibv_mtu, the smaller of both ends once connected */
	union ibv_gid peer_gid;
	uint32_t peer_key;
	uint64_t bytes;
};

/* What one end tells the other about a rail. */
struct kv_verbs_there {
	union ibv_gid gid;
	uint16_t lid;
	uint8_t mtu, reads; /* reads: that the device takes at once from one queue pair */
	uint32_t key;
	uint32_t qpn[KV_LANES_MAX], psn[KV_LANES_MAX];
};

/*
 * Which device, port and GID a rail's text means ("" : any), into device, port, address, gid of *ret. On InfiniBand a
 * device's address does not choose the GID: it is of IPoIB, and for TCP.
 */
int kv_verbs_rail_find(const struct sysroot *r, struct arena *a, const char *text, int gid_index, struct kv_verbs_rail *ret,
		    struct err *e);
/* All active ports that have a RoCE v2 GID of an address configured in this network namespace, or InfiniBand; -ENODEV says why there is none. */
int kv_verbs_rails_find(const struct sysroot *r, struct arena *a, struct kv_verbs_rail *ret, size_t max, size_t *ret_n,
		     struct err *e);
/* Open the device, register @mem, create the queue and its @lanes queue pairs. */
int kv_verbs_rail_open(struct kv_verbs_rail *v, const struct kv_config *c, struct err *e);
void kv_verbs_rail_describe(const struct kv_verbs_rail *v, struct kv_verbs_there *ret);
int kv_verbs_rail_connect(struct kv_verbs_rail *v, const struct kv_config *c, const struct kv_verbs_there *there, struct err *e);
void kv_verbs_rail_close(struct kv_verbs_rail *v);
/* "rail mlx5_0:1 (10.0.132.5)" */
const char *kv_verbs_rail_text(const struct kv_verbs_rail *v, char *buf, size_t n);

#endif
