/* SPDX-License-Identifier: Apache-2.0 */
/* One rail: device, registration, queues, and the steps of its queue pairs from RESET to RTS. */
#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

#include "kv/verbs.h"

#define PSN_MASK 0xffffffu
#define DEPTH_MAX 1024

const char *kv_verbs_rail_text(const struct kv_verbs_rail *v, char *buf, size_t n)
{
	snprintf(buf, n, "rail %s:%u (%s%s)", v->device, v->port, v->address[0] ? "" : "GID ",
		 v->address[0] ? v->address : "chosen by index");
	return buf;
}

static int open_device(struct kv_verbs_rail *v, struct err *e)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	int r = 0;

	for (size_t i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), v->device)) {
			v->context = ibv_open_device(list[i]);
			r = v->context ? 0 : -errno;
			break;
		}
	if (list)
		ibv_free_device_list(list);
	if (r < 0)
		return err_errno(e, r, "cannot open %s (is /dev/infiniband/uverbs* in this container, and readable?)", v->device);
	if (!v->context)
		return err_set(e, -ENODEV, "%s is in sysfs but libibverbs has no driver for it: is its provider (ibverbs-providers) "
			       "installed and /dev/infiniband in this container?", v->device);
	return 0;
}

static int query(struct kv_verbs_rail *v, struct err *e)
{
	int r = ibv_query_device(v->context, &v->limits);

	if (r == 0)
		r = ibv_query_port(v->context, v->port, &v->attr);
	if (r != 0)
		return err_errno(e, -(r < 0 ? errno : r), "cannot query %s:%u", v->device, v->port);
	if (v->attr.state != IBV_PORT_ACTIVE)
		return err_set(e, -ENETDOWN, "%s:%u is %s, not ACTIVE: its link is down", v->device, v->port,
			       ibv_port_state_str(v->attr.state));
	v->mtu = (uint8_t)v->attr.active_mtu;
	return 0;
}

static int make_queue(struct kv_verbs_rail *v, const struct kv_config *c, struct err *e)
{
	unsigned cqe;

	v->n_lanes = c->lanes;
	v->depth = (unsigned)v->limits.max_qp_wr < DEPTH_MAX ? (unsigned)v->limits.max_qp_wr : DEPTH_MAX;
	/* every request may end in the queue when they are flushed */
	if ((unsigned)v->limits.max_cqe / v->n_lanes < v->depth)
		v->depth = (unsigned)v->limits.max_cqe / v->n_lanes;
	if (v->depth == 0)
		return err_set(e, -EINVAL, "%s has too few completion entries (%d) for %u queue pairs", v->device,
			       v->limits.max_cqe, v->n_lanes);
	cqe = v->depth * v->n_lanes;
	v->events = ibv_create_comp_channel(v->context);
	if (!v->events)
		return err_errno(e, -errno, "%s: completion channel", v->device);
	v->cq = ibv_create_cq(v->context, (int)cqe, NULL, v->events, 0);
	if (!v->cq)
		return err_errno(e, -errno, "%s: completion queue of %u", v->device, cqe);
	return 0;
}

static int make_lane(struct kv_verbs_rail *v, struct kv_verbs_lane *lane, const struct kv_config *c, struct err *e)
{
	struct ibv_qp_init_attr init = {
		.send_cq = v->cq,
		.recv_cq = v->cq,
		.cap = { .max_send_wr = v->depth, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = v->port,
		.qp_access_flags = c->passive ? (c->op == KV_READ ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE) : 0,
	};
	int r;

	lane->qp = ibv_create_qp(v->pd, &init);
	if (!lane->qp)
		return err_errno(e, -errno, "%s: RC queue pair of %u requests", v->device, v->depth);
	if (getrandom(&lane->psn, sizeof(lane->psn), 0) < 0)
		return err_errno(e, -errno, "getrandom");
	lane->psn &= PSN_MASK;
	r = ibv_modify_qp(lane->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	return r ? err_errno(e, -r, "%s: queue pair to INIT", v->device) : 0;
}

int kv_verbs_rail_open(struct kv_verbs_rail *v, const struct kv_config *c, struct err *e)
{
	int access = IBV_ACCESS_LOCAL_WRITE, r;

	if (c->passive)
		access |= c->op == KV_READ ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
	r = open_device(v, e);
	if (r == 0)
		r = query(v, e);
	if (r < 0)
		return r;
	v->pd = ibv_alloc_pd(v->context);
	if (!v->pd)
		return err_errno(e, -errno, "%s: protection domain", v->device);
	v->mr = ibv_reg_mr(v->pd, c->mem->base, c->mem->size, access);
	if (!v->mr)
		return err_wrap(e, kv_mem_register_failed(-errno, c->mem->size, e), "%s", v->device);
	r = make_queue(v, c, e);
	for (unsigned i = 0; r == 0 && i < v->n_lanes; i++)
		r = make_lane(v, &v->lanes[i], c, e);
	return r;
}

void kv_verbs_rail_describe(const struct kv_verbs_rail *v, struct kv_verbs_there *ret)
{
	*ret = (struct kv_verbs_there){
		.lid = htole16(v->attr.lid),
		.mtu = v->mtu,
		.reads = (uint8_t)(v->limits.max_qp_rd_atom < 255 ? v->limits.max_qp_rd_atom : 255),
		.key = htole32(v->mr->rkey),
	};
	memcpy(&ret->gid, v->gid.gid, sizeof(ret->gid));
	for (unsigned i = 0; i < v->n_lanes; i++) {
		ret->qpn[i] = htole32(v->lanes[i].qp->qp_num);
		ret->psn[i] = htole32(v->lanes[i].psn);
	}
}

static int to_rtr(struct kv_verbs_rail *v, unsigned lane, const struct kv_verbs_there *t, struct err *e)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = v->mtu,
		.dest_qp_num = le32toh(t->qpn[lane]) & PSN_MASK,
		.rq_psn = le32toh(t->psn[lane]) & PSN_MASK,
		.max_dest_rd_atomic = (uint8_t)(v->limits.max_qp_rd_atom < 255 ? v->limits.max_qp_rd_atom : 255),
		.min_rnr_timer = 12, /* 0.64 ms */
		.ah_attr = {
			.is_global = 1,
			.dlid = le16toh(t->lid),
			.port_num = v->port,
			.grh = { .dgid = t->gid, .sgid_index = (uint8_t)v->gid.index, .hop_limit = 64 },
		},
	};
	int r = ibv_modify_qp(v->lanes[lane].qp, &attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);

	if (r == ETIMEDOUT || r == EHOSTUNREACH || r == ENETUNREACH) {
		_cleanup_arena_ struct arena *a = arena_new();

		return err_set(e, -r, "no answer from GID %s while connecting (%s): the rails of both sides must reach each other; "
			       "name them in the same order with --rails", gid_format(a, t->gid.raw), strerror(r));
	}
	return r ? err_errno(e, -r, "queue pair to RTR (GID index %u)", v->gid.index) : 0;
}

static int to_rts(struct kv_verbs_rail *v, unsigned lane, const struct kv_verbs_there *t, struct err *e)
{
	unsigned reads = (unsigned)v->limits.max_qp_init_rd_atom;
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = KV_VERBS_TIMEOUT,
		.retry_cnt = KV_VERBS_RETRY,
		.rnr_retry = 7, /* without end: nothing here waits for receives */
		.sq_psn = v->lanes[lane].psn,
		.max_rd_atomic = (uint8_t)(reads < t->reads ? reads : t->reads),
	};
	int r = ibv_modify_qp(v->lanes[lane].qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
			      IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);

	return r ? err_errno(e, -r, "queue pair to RTS") : 0;
}

int kv_verbs_rail_connect(struct kv_verbs_rail *v, const struct kv_config *c, const struct kv_verbs_there *there, struct err *e)
{
	char text[160];
	int r = 0;

	if (there->mtu < IBV_MTU_256 || there->mtu > IBV_MTU_4096)
		return err_set(e, -EBADMSG, "the peer told an MTU of code %u", there->mtu);
	if (there->mtu < v->mtu)
		v->mtu = there->mtu;
	v->peer_gid = there->gid;
	v->peer_key = le32toh(there->key);
	for (unsigned i = 0; r == 0 && i < v->n_lanes; i++) {
		r = to_rtr(v, i, there, e);
		if (r == 0)
			r = to_rts(v, i, there, e);
	}
	return r < 0 ? err_wrap(e, r, "%s", kv_verbs_rail_text(v, text, sizeof(text))) : 0;
}

void kv_verbs_rail_close(struct kv_verbs_rail *v)
{
	for (unsigned i = 0; i < v->n_lanes; i++)
		if (v->lanes[i].qp)
			ibv_destroy_qp(v->lanes[i].qp);
	if (v->cq)
		ibv_destroy_cq(v->cq);
	if (v->events)
		ibv_destroy_comp_channel(v->events);
	if (v->mr)
		ibv_dereg_mr(v->mr);
	if (v->pd)
		ibv_dealloc_pd(v->pd);
	if (v->context)
		ibv_close_device(v->context);
}
