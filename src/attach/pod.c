/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's side of ADD: runs in a thread inside its network namespace. */
#include <string.h>

#include "attach/address.h"
#include "attach/engine.h"
#include "attach/hwaddr.h"
#include "attach/readback.h"
#include "attach/sysctl.h"
#include "attach/vf.h"
#include "base/clock.h"
#include "linux/netns.h"
#include "linux/pci.h"
#include "linux/rtnl.h"

#define MAC_TRIES 20 /* sriov-cni's: a VF may answer EBUSY while its driver probes */
#define MAC_PAUSE_MS 100
#define CARRIER_WAIT_MS 200 /* for all rails together: their drivers look at the same time */
#define LOWER_UP (1u << 16) /* IFF_LOWER_UP of linux/if.h: carrier now, where IFF_RUNNING waits for a work queue */

struct pod {
	struct add_work *w;
	struct nl *nl, *rdma; /* rdma NULL: no RDMA here */
	struct sysroot *root; /* the pod's /sys; NULL when no rail needs it */
	unsigned waited_ms;   /* for carrier, all rails together */
};

struct rxe_move {
	struct add_work *w;
	const char *name;
	size_t rail;
};

/*
 * In the initial namespace: the kernel moves an RDMA device only for a caller whose own namespace it is in, whatever
 * namespace the socket is of (drivers/infiniband/core/device.c, rdma_dev_change_netns(): ENODEV).
 */
static int move_rxe(void *arg)
{
	struct rxe_move *m = arg;
	struct add_work *w = m->w;
	struct rdma_dev dev;
	int r = rdma_dev(w->host_rdma, m->name, &dev, w->e);

	if (r < 0)
		return r;
	engine_step(w->en, STEP_RXE_MOVE, m->rail);
	return rdma_move(w->host_rdma, dev.index, w->netns_fd, w->e);
}

/*
 * A soft RoCE link on the rail's netdev. It may be born in the initial namespace (seen on 7.3 in exclusive mode):
 * then it is moved here.
 */
static int add_rxe(struct pod *p, size_t i)
{
	struct add_work *w = p->w;
	struct attachment_rail *rec = w->rails[i].rec;
	const char *name = rec->set->rxe;
	struct rxe_move move = { w, name, i };
	struct rdma_dev dev;
	int r;

	if (!name)
		return 0;
	engine_step(w->en, STEP_RXE_ADD, i);
	r = rdma_add_rxe(p->rdma, name, rec->ifname, w->e);
	if (r < 0)
		return err_wrap(w->e, r, "soft RoCE on %s", rec->ifname);
	if (rdma_dev(p->rdma, name, &dev, NULL) == 0)
		return 0;
	r = netns_call(w->host_fd, false, move_rxe, &move, w->e);
	if (r < 0)
		return err_wrap(w->e, r, "soft RoCE device %s into the pod's namespace", name);
	return 0;
}

static int set_mac(struct pod *p, struct rail_work *rw, const struct rtnl_link *link, struct err *e)
{
	const struct rail_want *want = &rw->rail->want;
	int r = 0;

	if (!want->has_mac || (link->mac_len == 6 && !memcmp(link->mac, want->mac, 6)))
		return 0;
	for (unsigned i = 0; i < MAC_TRIES; i++) {
		r = rtnl_set_mac(p->nl, rw->index, want->mac, e);
		if (r != -EBUSY && r != -EAGAIN)
			break;
		clock_sleep_ms(MAC_PAUSE_MS);
	}
	return r;
}

static int set_sysctls(struct add_work *w, const struct rail_work *rw)
{
	int r = sysctl_apply(w->a, rw->rail->sysctls, rw->rail->n_sysctls, rw->rec->ifname, w->e);

	return r < 0 ? err_wrap(w->e, r, "tuning") : 0;
}

/* What is asked for, else what it had: a netdev that was made anew on the way has its driver's. */
static int64_t mtu_of(const struct rail_work *rw)
{
	return rw->rail->want.mtu ? rw->rail->want.mtu : rw->rec->found->mtu;
}

static int set_link(struct pod *p, size_t i)
{
	struct add_work *w = p->w;
	struct rail_work *rw = &w->rails[i];
	struct rtnl_link link;
	int64_t mtu;
	int r;

	if (!vf_has_netdev(rw->rec))
		return set_sysctls(w, rw);
	r = rtnl_link(p->nl, w->a, rw->rec->ifname, &link, w->e);
	if (r < 0)
		return r;
	rw->index = link.index;
	r = add_rxe(p, i);
	if (r < 0)
		return r;
	engine_step(w->en, STEP_LINK, i);
	mtu = mtu_of(rw);
	if (mtu && mtu != link.mtu)
		r = rtnl_set_mtu(p->nl, rw->index, (unsigned)mtu, w->e);
	if (r < 0)
		return err_wrap(w->e, r, "MTU %lld (it takes %u to %u)", (long long)mtu, link.min_mtu, link.max_mtu);
	r = set_mac(p, rw, &link, w->e);
	if (r < 0)
		return err_wrap(w->e, r, "MAC address");
	address_sysctls(rw->rec->ifname);
	r = set_sysctls(w, rw);
	return r < 0 ? r : rtnl_set_up(p->nl, rw->index, true, w->e);
}

static int set_addresses(struct pod *p, size_t i)
{
	struct add_work *w = p->w;
	struct rail_work *rw = &w->rails[i];

	engine_step(w->en, STEP_ADDRESSES, i);
	return address_add(p->nl, rw->index, rw->rec->ifname, &rw->given, &rw->rail->ipam, w->e);
}

static int read_back(struct pod *p, size_t i)
{
	struct add_work *w = p->w;
	struct rail_work *rw = &w->rails[i];
	struct readback_want want = { .mtu = mtu_of(rw) };
	struct readback rb = { .nl = p->nl, .rdma = p->rdma, .host_rdma = w->exclusive ? w->host_rdma : NULL, .root = p->root,
			       .arena = w->at->arena };
	char mac[MAC_TEXT];

	engine_step(w->en, STEP_READ_BACK, i);
	if (rw->rail->want.has_mac) {
		hwaddr_format_mac(rw->rail->want.mac, mac);
		want.mac = mac;
	}
	return readback_rail(&rb, &want, rw->rec, w->e);
}

/* A failed announcement is no failed attachment: neighbours learn by themselves, later. */
static void tell_neighbours(struct pod *p, int fd, size_t i)
{
	struct add_work *w = p->w;
	struct rail_work *rw = &w->rails[i];
	unsigned char mac[6];
	struct rtnl_link link;
	struct err e;

	engine_step(w->en, STEP_ANNOUNCE, i);
	if (!rw->given.n_ips || !rw->rec->mac || hwaddr_parse(rw->rec->mac, mac, 6) < 0)
		return;
	for (;; p->waited_ms++) {
		if (rtnl_link_by_index(p->nl, w->a, rw->index, &link, &e) < 0)
			return;
		if (link.flags & LOWER_UP)
			break;
		if (p->waited_ms >= CARRIER_WAIT_MS) {
			attachment_warn(w->at, "%s: no carrier", rw->rec->ifname);
			return;
		}
		clock_sleep_ms(1);
	}
	for (size_t k = 0; k < rw->given.n_ips; k++)
		if (announce(fd, rw->index, mac, rw->given.ips[k].address, &e) < 0)
			attachment_warn(w->at, "%s: %s: %s", rw->rec->ifname, rw->given.ips[k].address, e.msg);
}

static int configure_rails(struct pod *p)
{
	static int (*const stages[])(struct pod *, size_t) = { set_link, set_addresses, read_back };
	struct add_work *w = p->w;
	int fd;

	/* stage by stage: while the GID of one rail is on its way, the others' are too. One without netdev has sysctls at most, the first stage's. */
	for (size_t s = 0; s < ARRAY_SIZE(stages); s++) {
		for (size_t i = 0; i < w->n; i++) {
			int r = s && !vf_has_netdev(w->rails[i].rec) ? 0 : stages[s](p, i);

			if (r < 0)
				return err_wrap(w->e, r, "%s (network %s)", w->rails[i].rec->ifname, w->rails[i].rail->network);
		}
	}
	fd = announce_open();
	for (size_t i = 0; i < w->n; i++)
		if (vf_has_netdev(w->rails[i].rec))
			tell_neighbours(p, fd, i);
	announce_close(fd);
	return 0;
}

static bool needs_rdma(const struct attachment *at)
{
	for (size_t i = 0; i < at->n_rails; i++)
		if (at->rails[i].rdma)
			return true;
	return false;
}

static int open_pod(struct nl **nl, struct nl **rdma, struct sysroot **root, bool with_rdma, struct err *e)
{
	int r = rtnl_open(nl, e);

	if (r == 0 && with_rdma)
		r = rdma_open(rdma, e);
	if (r == 0 && with_rdma)
		r = sysroot_open_here(root, e);
	return r;
}

int pod_names_are_free(void *arg)
{
	struct add_work *w = arg;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link link;
	int r = rtnl_open(&nl, w->e);

	for (size_t i = 0; r == 0 && i < w->n + w->at->n_delegates; i++) {
		const struct attachment_delegate *delegate = i < w->n ? NULL : &w->at->delegates[i - w->n];
		const char *ifname = delegate ? delegate->ifname : w->rails[i].rec->ifname;

		r = rtnl_link(nl, w->a, ifname, &link, w->e);
		if (r == 0)
			return err_set(w->e, -EEXIST, "the pod has an interface %s already: ask for another name (network %s)", ifname,
				       delegate ? delegate->network : w->rails[i].rail->network);
		r = r == -ENODEV ? 0 : r;
	}
	return r;
}

int pod_configure(void *arg)
{
	struct add_work *w = arg;
	struct pod p = { .w = w };
	int r = open_pod(&p.nl, &p.rdma, &p.root, needs_rdma(w->at), w->e);

	if (r == 0)
		r = configure_rails(&p);
	nl_close(p.nl);
	nl_close(p.rdma);
	sysroot_close(p.root);
	return r;
}

struct check_work {
	const struct sysroot *root;
	const struct attachment *at;
	struct arena *a;
	struct nl *host_rdma;
	struct err *e;
};

/* All that can be seen of a VF that user space drives: it is still where it was. */
static int check_driver(const struct check_work *w, const struct attachment_rail *rec)
{
	const char *driver = NULL;

	if (pci_driver(w->root, w->a, rec->vf, &driver) == 0 && driver && !strcmp(driver, rec->driver))
		return 0;
	return err_set(w->e, -EIO, "VF %s has driver %s, it had %s", rec->vf, driver ? driver : "none", rec->driver);
}

static int check_rails(void *arg)
{
	struct check_work *w = arg;
	struct readback rb = { .host_rdma = w->host_rdma, .arena = w->a };
	int r = open_pod(&rb.nl, &rb.rdma, &rb.root, needs_rdma(w->at), w->e);

	for (size_t i = 0; r == 0 && i < w->at->n_rails; i++) {
		struct attachment_rail copy = w->at->rails[i];
		const struct readback_want want = { .mtu = copy.mtu, .mac = copy.mac, .up = true };

		r = vf_has_netdev(&copy) ? readback_rail(&rb, &want, &copy, w->e) : check_driver(w, &copy);
		if (r < 0)
			r = err_wrap(w->e, r, "%s", copy.ifname);
	}
	nl_close(rb.nl);
	nl_close(rb.rdma);
	sysroot_close(rb.root);
	return r;
}

int pod_check(const struct sysroot *root, const struct attachment *at, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *host_rdma = NULL;
	_cleanup_close_ int fd = netns_open(at->netns, e);
	struct check_work w = { .root = root, .at = at, .a = a, .e = e };
	bool exclusive = false;

	if (fd < 0)
		return fd;
	if (needs_rdma(at) && rdma_open(&host_rdma, e) == 0 && rdma_get_exclusive(host_rdma, &exclusive, e) == 0 && exclusive)
		w.host_rdma = host_rdma;
	return netns_call(fd, needs_rdma(at), check_rails, &w, e);
}
