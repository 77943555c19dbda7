/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way back for DEL, a failed ADD, a restart and garbage collection. It looks at what is there rather than at how far ADD came:
 * each piece is taken back if it is found, so it can be run again until all is done.
 */
#include <string.h>

#include "attach/address.h"
#include "attach/beside.h"
#include "attach/engine.h"
#include "attach/hwaddr.h"
#include "attach/vf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "linux/netns.h"
#include "linux/pci.h"

/* The kernel tears namespaces down from a work queue; what was in them comes back only then. */
#define RETURN_WAIT_MS 5000
#define RETURN_PAUSE_MS 20

struct undo {
	struct attach_engine *en;
	void *caller;
	const struct attachment *at;
	struct arena *a;
	int netns_fd; /* -1: the namespace is gone */
	int host_fd;
	struct nl *host_nl, *host_rdma; /* host_rdma NULL: no RDMA here */
	struct strbuf failures;
	bool only_late; /* of the failures, all are VFs not returned yet */
	struct err e;	/* of the last call */
};

static void failed(struct undo *u, const struct attachment_rail *rec, const char *what)
{
	strbuf_addf(&u->failures, "%s%s: %s: %s", u->failures.len ? "; " : "", rec->ifname, what, u->e.msg);
	u->only_late = false;
}

/* Nothing can be done now; the journal keeps it, and it is tried again. */
static void late(struct undo *u, const struct attachment_rail *rec, const char *what, const char *why)
{
	strbuf_addf(&u->failures, "%s%s: %s %s yet: %s", u->failures.len ? "; " : "", rec->ifname, what, rec->vf, why);
}

/* Back to the initial namespace under its own name; when that is taken there, under one that is free. */
static void move_back(struct undo *u, struct nl *nl, size_t i)
{
	const struct attachment_rail *rec = &u->at->rails[i];
	struct rtnl_link link;
	int r;

	engine_step(u->en, STEP_UNDO_MOVE, i);
	r = vf_link(nl, u->a, rec, &link, &u->e);
	if (r == -ENODEV)
		return;
	if (r == 0) {
		address_forget(nl, link.index, rec->addresses, rec->n_addresses);
		r = rtnl_set_up(nl, link.index, false, &u->e);
	}
	if (r == 0)
		r = rtnl_move(nl, link.index, u->host_fd, rec->found->netdev, &u->e);
	if (r == -EEXIST)
		r = rtnl_move_numbered(nl, link.index, u->host_fd, "kvrail", &u->e);
	if (r < 0 && r != -ENODEV)
		failed(u, rec, "move back to the host");
}

static void rxe_back(struct undo *u, struct nl *rdma, size_t i)
{
	const struct attachment_rail *rec = &u->at->rails[i];
	struct rdma_dev dev;
	int r;

	if (!rec->set->rxe)
		return;
	engine_step(u->en, STEP_UNDO_RXE, i);
	r = rdma_dev(rdma, rec->set->rxe, &dev, &u->e);
	if (r == 0)
		r = rdma_del_link(rdma, dev.index, &u->e);
	if (r < 0 && r != -ENODEV)
		failed(u, rec, "soft RoCE device");
}

/* By PCI address, as a pod may rename it: the device's name in the namespace that @root is of, NULL when it is not there. */
static const char *rdma_name(struct undo *u, const struct sysroot *root, const struct attachment_rail *rec)
{
	const char **names;
	size_t n;

	return sysfs_list(root, u->a, &names, &n, "bus/pci/devices/%s/infiniband", rec->vf) == 0 && n ? names[0] : NULL;
}

static void rdma_back(struct undo *u, struct nl *rdma, const struct sysroot *root, size_t i)
{
	const struct attachment_rail *rec = &u->at->rails[i];
	struct rdma_dev dev;
	const char *name;
	int r;

	if (!rec->set->rdma)
		return;
	engine_step(u->en, STEP_UNDO_RDMA, i);
	name = rdma_name(u, root, rec);
	if (!name)
		return; /* restore_rdma() looks for it on the host */
	r = rdma_dev(rdma, name, &dev, &u->e);
	if (r == 0)
		r = rdma_move(rdma, dev.index, u->host_fd, &u->e);
	if (r < 0 && r != -ENODEV)
		failed(u, rec, "RDMA device");
}

/* In the pod's namespace. */
static int undo_pod(void *arg)
{
	struct undo *u = arg;
	_cleanup_nl_ struct nl *nl = NULL, *rdma = NULL;
	struct sysroot *root = NULL;
	int r = rtnl_open(&nl, &u->e);

	if (r == 0 && u->host_rdma)
		r = rdma_open(&rdma, &u->e);
	if (r == 0 && u->host_rdma)
		r = sysroot_open_here(&root, &u->e);
	for (size_t i = u->at->n_rails; r == 0 && i-- > 0;) {
		if (u->host_rdma) {
			rxe_back(u, rdma, i);
			rdma_back(u, rdma, root, i);
		}
		move_back(u, nl, i);
	}
	sysroot_close(root);
	return r;
}

/* The netdev's name on the host, NULL when it is not there (yet). */
static const char *name_on_host(struct undo *u, const struct attachment_rail *rec)
{
	const char **names;
	struct rtnl_link link;
	size_t n;

	if (!*rec->vf)
		return rec->found->netdev && rtnl_link(u->host_nl, u->a, rec->found->netdev, &link, &u->e) == 0 ? rec->found->netdev : NULL;
	if (sysfs_list(u->en->host.root, u->a, &names, &n, "bus/pci/devices/%s/net", rec->vf) < 0 || n == 0)
		return NULL;
	return names[0];
}

/* A function that is gone, or has no driver or one of user space, gives no netdev however long one waits. */
static bool can_return(struct undo *u, const struct attachment_rail *rec)
{
	const char *driver = NULL;

	return *rec->vf && vf_has_netdev(rec) && sysfs_exists(u->en->host.root, "bus/pci/devices/%s", rec->vf) &&
	       pci_driver(u->en->host.root, u->a, rec->vf, &driver) == 0 && driver && rec->driver && !strcmp(driver, rec->driver);
}

static const char *wait_for_name(struct undo *u, const struct attachment_rail *rec)
{
	const char *name = name_on_host(u, rec);

	for (unsigned waited = 0; !name && waited < RETURN_WAIT_MS && can_return(u, rec); waited += RETURN_PAUSE_MS) {
		clock_sleep_ms(RETURN_PAUSE_MS);
		name = name_on_host(u, rec);
	}
	return name;
}

/* VFs that were made anew meanwhile (a port reset by force, a reboot) have other names: one that is taken cannot be had back. */
static int restore_name(struct undo *u, const struct attachment_rail *rec, const struct rtnl_link *link)
{
	int r;

	if (!rec->found->netdev || !strcmp(link->name, rec->found->netdev))
		return 0;
	r = rtnl_set_up(u->host_nl, link->index, false, &u->e);
	if (r == 0)
		r = rtnl_set_name(u->host_nl, link->index, rec->found->netdev, &u->e);
	if (r != -EEXIST)
		return r;
	log_warn("VF %s keeps the name %s: another device is %s now", rec->vf, link->name, rec->found->netdev);
	return 0;
}

static int restore_link(struct undo *u, const struct attachment_rail *rec, const struct rtnl_link *link)
{
	const struct attachment_found *found = rec->found;
	unsigned char mac[6];
	int r = 0;

	if (found->mtu && found->mtu != link->mtu)
		r = rtnl_set_mtu(u->host_nl, link->index, (unsigned)found->mtu, &u->e);
	if (r == 0 && found->mac && link->mac_len == 6 && hwaddr_parse(found->mac, mac, 6) == 0 && memcmp(mac, link->mac, 6))
		r = rtnl_set_mac(u->host_nl, link->index, mac, &u->e);
	return r;
}

/* Its name is the pod's choice, or after its namespace died the kernel's; one that is taken on the host by now cannot be had back. */
static int restore_rdma_name(struct undo *u, const struct attachment_rail *rec, const char *name)
{
	struct rdma_dev dev;
	int r;

	if (!rec->found->rdma || !strcmp(name, rec->found->rdma))
		return 0;
	r = rdma_dev(u->host_rdma, name, &dev, &u->e);
	if (r == 0)
		r = rdma_rename(u->host_rdma, dev.index, rec->found->rdma, &u->e);
	if (r != -EEXIST)
		return r;
	log_warn("RDMA device of VF %s keeps the name %s: another device is %s now", rec->vf, name, rec->found->rdma);
	return 0;
}

/* A VF is not given again before its RDMA device is back: a pod can hide that in a namespace of its own making, which dies with the pod. */
static void restore_rdma(struct undo *u, const struct attachment_rail *rec)
{
	const char *name;

	if (!rec->set->rdma || !u->host_rdma)
		return;
	name = rdma_name(u, u->en->host.root, rec);
	for (unsigned waited = 0; !name && u->netns_fd < 0 && waited < RETURN_WAIT_MS && can_return(u, rec);
	     waited += RETURN_PAUSE_MS) {
		clock_sleep_ms(RETURN_PAUSE_MS);
		name = rdma_name(u, u->en->host.root, rec);
	}
	if (name && restore_rdma_name(u, rec, name) < 0)
		failed(u, rec, "RDMA device's name");
	if (!name && u->netns_fd >= 0 && can_return(u, rec))
		late(u, rec, "the host has not got back the RDMA device of VF", "the pod may have moved it to another network namespace");
}

/* Unbound: ADD was killed while it bound the VF again. Another driver: that one's VF is not ours to take. */
static bool must_rebind(struct undo *u, const struct attachment_rail *rec)
{
	const char *driver = NULL;

	return rec->set->guid && vf_has_netdev(rec) && sysfs_exists(u->en->host.root, "bus/pci/devices/%s", rec->vf) &&
	       pci_driver(u->en->host.root, u->a, rec->vf, &driver) == 0 && (!driver || (rec->driver && !strcmp(driver, rec->driver)));
}

static void undo_host(struct undo *u, size_t i)
{
	const struct attachment_rail *rec = &u->at->rails[i];
	struct rtnl_link link;
	unsigned index;
	const char *name;

	if (u->host_rdma) /* born here, and not moved before the end came */
		rxe_back(u, u->host_rdma, i);
	name = wait_for_name(u, rec);
	engine_step(u->en, STEP_UNDO_SETTINGS, i);
	/* a VF that is gone (sriov_numvfs was written) took its settings along */
	if (vf_has_pf(rec) && sysfs_exists(u->en->host.root, "bus/pci/devices/%s", rec->vf) && vf_restore(u->host_nl, rec, &u->e) < 0)
		failed(u, rec, "the PF's settings");
	if (must_rebind(u, rec)) {
		if (vf_rebind(u->en->host.root, u->host_rdma, rec, &index, &u->e) < 0)
			failed(u, rec, "the GUID");
		name = name_on_host(u, rec);
	}
	engine_step(u->en, STEP_UNDO_LINK, i);
	if (!name) {
		if (can_return(u, rec))
			late(u, rec, "the kernel has not returned VF", "a process may still hold the pod's network namespace");
		return;
	}
	if (rtnl_link(u->host_nl, u->a, name, &link, &u->e) < 0 || restore_name(u, rec, &link) < 0 || restore_link(u, rec, &link) < 0)
		failed(u, rec, name);
	restore_rdma(u, rec);
}

static int open_all(struct undo *u)
{
	bool rdma = false;
	int r = rtnl_open(&u->host_nl, &u->e);

	for (size_t i = 0; i < u->at->n_rails; i++)
		rdma |= u->at->rails[i].set->rdma || u->at->rails[i].set->rxe || u->at->rails[i].set->guid;
	if (r == 0 && rdma && rdma_open(&u->host_rdma, &u->e) < 0)
		u->host_rdma = NULL; /* without ib_core there is no device to take back */
	u->host_fd = netns_open_self(&u->e);
	if (r == 0 && u->host_fd < 0)
		r = u->host_fd;
	u->netns_fd = u->at->netns ? netns_open(u->at->netns, &u->e) : -1;
	if (u->netns_fd >= 0 && (!attachment_is_netns(u->at, u->netns_fd) || netns_same(u->netns_fd, u->host_fd))) {
		close(u->netns_fd); /* the path names another namespace by now */
		u->netns_fd = -1;
	}
	return r;
}

static void close_all(struct undo *u)
{
	nl_close(u->host_nl);
	nl_close(u->host_rdma);
	if (u->host_fd >= 0)
		close(u->host_fd);
	if (u->netns_fd >= 0)
		close(u->netns_fd);
	strbuf_free(&u->failures);
	arena_free(u->a);
}

/* How long a stage took, where somebody counts. */
static void timing(const struct undo *u, const char *stage, uint64_t since)
{
	const struct attach_cluster *c = u->en->host.cluster;

	if (c && c->timing)
		c->timing(c->arg, "DEL", stage, (double)(clock_ns() - since) / 1e9);
}

char engine_recovery;

/* In a container of its own the agent has not what plugins find where the runtime runs them. */
static bool must_wait(const struct undo *u)
{
	const struct attach_cluster *c = u->en->host.cluster;

	return u->caller == CALLER_RECOVERY && c && c->contained;
}

/* The delegates of the default network, or the others, in reverse. */
static void undo_delegates(const struct undo *u, bool master, struct strbuf *failures)
{
	const struct attachment *at = u->at;

	if (must_wait(u))
		return;
	for (size_t i = at->n_delegates; i-- > 0;) {
		if (at->delegates[i].master != master)
			continue;
		engine_step(u->en, STEP_UNDO_DELEGATE, i);
		meta_undo_delegate(u->en, at, i, u->netns_fd >= 0 ? at->netns : NULL, u->caller == CALLER_RECOVERY ? NULL : u->caller,
				   failures);
	}
}

/* The default network's, beside the rails: of @u it only reads what stays as it is. */
struct undo_default {
	const struct undo *u;
	struct strbuf failures;
};

static void undo_default(void *arg)
{
	struct undo_default *d = arg;
	uint64_t since = clock_ns();

	undo_delegates(d->u, true, &d->failures);
	timing(d->u, "default", since);
}

static void add_failures(struct undo *u, const struct strbuf *more)
{
	if (!more->len)
		return;
	strbuf_addf(&u->failures, "%s%s", u->failures.len ? "; " : "", more->s);
	u->only_late = false;
}

static void undo_files(struct undo *u)
{
	size_t before = u->failures.len;

	if (!u->at->cdi_file && !u->at->env_dir)
		return;
	engine_step(u->en, STEP_UNDO_CDI, 0);
	meta_undo_files(u->at, &u->failures);
	if (u->failures.len != before)
		u->only_late = false;
}

/* With the API server away they are given back later, and nothing else need wait for it. */
static void release(struct undo *u)
{
	const struct attachment *at = u->at;
	const char **ifnames = arena_alloc(u->a, at->n_rails * sizeof(*ifnames));
	int r;

	engine_step(u->en, STEP_RELEASE, 0);
	for (size_t i = 0; i < at->n_rails; i++)
		ifnames[i] = at->rails[i].ifname;
	r = at->n_rails ? ipam_release(u->en->host.ipam, at->container, ifnames, at->n_rails, &u->e) : 0;
	if (r == -EHOSTUNREACH)
		strbuf_addf(&u->failures, "%s%s: addresses: %s", u->failures.len ? "; " : "", ifnames[0], u->e.msg);
	else if (r < 0)
		failed(u, &at->rails[0], "addresses");
}

static void undo_rails(struct undo *u)
{
	const struct attachment *at = u->at;
	uint64_t since = clock_ns();

	if (at->n_rails && u->netns_fd >= 0 && netns_call(u->netns_fd, false, undo_pod, u, &u->e) < 0) {
		strbuf_addf(&u->failures, "the pod's namespace %s: %s", at->netns, u->e.msg);
		u->only_late = false;
	}
	for (size_t i = at->n_rails; i-- > 0;)
		undo_host(u, i);
	timing(u, "kernel", since);
	since = clock_ns();
	release(u);
	timing(u, "ipam", since);
}

static void undo_all(struct undo *u)
{
	struct undo_default last = { .u = u, .failures = STRBUF_INIT };
	struct strbuf others = STRBUF_INIT;
	struct beside beside = { 0 };

	undo_files(u);
	undo_delegates(u, false, &others);
	add_failures(u, &others);
	if (u->at->n_rails)
		beside_start(&beside, undo_default, &last);
	else
		undo_default(&last);
	undo_rails(u);
	beside_join(&beside);
	add_failures(u, &last.failures);
	strbuf_free(&last.failures);
	strbuf_free(&others);
}

bool undo_waits(const struct attachment *at)
{
	return strcmp(at->state, ATTACHMENT_READY) && at->n_delegates && !at->n_rails && !at->cdi_file && !at->env_dir;
}

/* What is back can be given again while the rest waits; a device that another maker's plugin moved is not back. */
static int keep_delegates(struct undo *u, struct err *e)
{
	struct attachment rest = *u->at;
	bool others = false;
	int r = 0;

	for (size_t i = 0; i < rest.n_delegates; i++)
		others |= !rest.delegates[i].master;
	if (!others)
		rest.n_devices = 0;
	rest.n_rails = 0;
	rest.cdi_file = rest.env_dir = NULL;
	if (!undo_waits(u->at))
		r = engine_commit(u->en, &rest, NULL, e);
	return r < 0 ? r : err_set(e, -ENOTCONN, "its other networks are undone with the runtime's next request on this node");
}

int attachment_undo(struct attach_engine *en, const struct attachment *at, void *caller, struct err *e)
{
	struct undo u = { .en = en, .caller = caller, .at = at, .a = arena_new(), .netns_fd = -1, .host_fd = -1, .failures = STRBUF_INIT, .only_late = true };
	int r = open_all(&u);

	if (r < 0) {
		*e = u.e;
	} else {
		undo_all(&u);
		if (u.failures.len) {
			r = err_set(e, u.only_late ? -EAGAIN : -EIO, "%s", u.failures.s);
		} else if (must_wait(&u) && at->n_delegates) {
			r = keep_delegates(&u, e);
		} else {
			engine_step(en, STEP_FORGET, 0);
			r = engine_forget(en, at, e);
		}
	}
	close_all(&u);
	return r;
}
