/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of a rail: what its VF was, what of that must change, and back. */
#ifndef KVRAIL_ATTACH_VF_H
#define KVRAIL_ATTACH_VF_H

#include "attach/attachment.h"
#include "attach/rail.h"
#include "linux/rtnl.h"
#include "linux/sysroot.h"

/* What PFs told of their VFs: each is asked once for all rails of a pod. Begins as NULL, in an arena. */
struct vf_port;

/*
 * Read the VF's netdev, if it has one, and the PF's settings of it into @rec->found; *ret_index is the netdev's. -ENODEV: there is no such netdev here,
 * or a VF (@rec->vf) has a PF without one.
 */
int vf_find(struct nl *nl, struct arena *a, struct vf_port **ports, const struct attach_vf *vf, struct attachment_rail *rec,
	    unsigned *ret_index, struct err *e);

/*
 * What of @want differs from @rec->found, into @rec->set. Pure. A device that is no VF takes no settings: a warning in @at. Of a VF without
 * netdev nothing can be measured later: @rec->mac and mtu are told now.
 */
void vf_plan(const struct rail_want *want, struct attachment *at, struct attachment_rail *rec);

/* Through the PF, as @rec->set says. A link state that the driver has not is a warning, unless it is "disable". */
int vf_apply(struct nl *nl, const struct rail_want *want, struct attachment *at, struct attachment_rail *rec, struct err *e);

/* All of @rec->set back to @rec->found; goes on after a failure, the first one is returned. */
int vf_restore(struct nl *nl, const struct attachment_rail *rec, struct err *e);

/*
 * Unbind the VF from its driver and bind it again, for a GUID that was set to take effect; waits for its netdev, whose new index is *ret_index, and for
 * its RDMA device, which gets the name that was found (@rdma NULL: it keeps the new one). An unbound VF is bound. -ETIMEDOUT: they did not come.
 */
int vf_rebind(const struct sysroot *r, struct nl *rdma, const struct attachment_rail *rec, unsigned *ret_index, struct err *e);

/*
 * The rail's netdev in the namespace of @nl, by its PCI function first: one that was moved half-way, or made anew, has another name. -ENODEV: it is not here.
 */
int vf_link(struct nl *nl, struct arena *a, const struct attachment_rail *rec, struct rtnl_link *ret, struct err *e);

/* Does a PF set this rail's device up? */
bool vf_has_pf(const struct attachment_rail *rec);

/* False: its driver gives it to user space as it is. Only its PF's settings and its addresses are kvrail's; nothing of it is in the pod's namespace. */
bool vf_has_netdev(const struct attachment_rail *rec);

#endif
