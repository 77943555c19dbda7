/* SPDX-License-Identifier: Apache-2.0 */
/* One port while it is being planned; shared by plan.c and plan-vf.c. */
#ifndef KVRAIL_PROVISION_PLAN_PORT_H
#define KVRAIL_PROVISION_PLAN_PORT_H

#include "provision/plan.h"

struct port {
	struct arena *a;
	const struct inventory *inventory;
	const struct inventory_pf *pf;
	const struct api_interface *want;
	const struct plan_pod *pods;
	size_t n_pods;
	struct plan_pf *out;
	bool recreate;	  /* all VFs go, new ones come */
	bool unbind;	  /* the VFs stay, and lose their drivers for an e-switch change */
	bool ib;
};

/* @why is printf text in the plan's arena, or NULL. */
struct plan_step *port_step(struct port *p, enum plan_op op, const char *why);
/* The first error and the first reason stay. */
void port_fail(struct port *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void port_warn(struct port *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The operator's rule: only a port that has VFs can need a drain. */
void port_drain(struct port *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void port_reboot(struct port *p);
/* Pods that hold the VF @pci, or any VF of the port when it is NULL. */
void port_touch(struct port *p, const char *pci);

/* What must be right about the VF groups before anything is planned. */
void port_check_groups(struct port *p);
void port_vf_identity(struct port *p);
bool port_vf_must_probe(const struct port *p); /* a VF is to be bound to the driver that matches it */
void port_vf_bind(struct port *p);
void port_vf_mtu(struct port *p);

#endif
