/* SPDX-License-Identifier: Apache-2.0 */
/* plan = f(inventory, desired, pods): a list of steps for each PF. Pure. */
#ifndef KVRAIL_PROVISION_PLAN_H
#define KVRAIL_PROVISION_PLAN_H

#include "provision/inventory.h"

enum plan_op {
	PLAN_RDMA_MODE,	    /* system wide: netns mode .text by netlink, or reboot */
	PLAN_REMEMBER,	    /* write .text, the port as it is now, to its record in the state folder */
	PLAN_UNBIND_VFS,
	PLAN_ESWITCH,	    /* .text: legacy, switchdev */
	PLAN_AUTOPROBE_OFF,
	PLAN_SET_NUMVFS,    /* .number */
	PLAN_MTU_PF,	    /* .number */
	PLAN_VF_IDENTITY,   /* .vf: MAC or GUID through the PF (.text) */
	PLAN_BIND_VF,	    /* .vf, .text driver or NULL for the default; .number 1: unbind first */
	PLAN_MTU_VF,	    /* .vf, .number */
	PLAN_LINK_UP,
	PLAN_AUTOPROBE_ON,
	PLAN_FORGET, /* remove the port's record: it is as it was, or its VFs are somebody else's */
};

struct plan_step {
	enum plan_op op;
	unsigned vf;
	int64_t number;
	const char *text;
	const char *why; /* "8 VFs wanted, 0 there" */
};

struct plan_pod {
	const char *namespace, *name, *pci; /* who holds which VF */
};

struct plan_pf {
	const char *pci, *netdev;
	struct plan_step *steps;
	size_t n_steps;
	double seconds;	    /* expected; where the figure comes from is in plan.c */
	bool drain, reboot; /* needed, and .reason says why */
	const char *reason;
	const struct plan_pod **pods; /* pods that the steps would touch */
	size_t n_pods;
	const char *error; /* cannot be done, in words with the way out; then no steps */
	const char **warnings;
	size_t n_warnings;
};

struct plan {
	struct plan_pf *pfs; /* only ports with steps, an error or a warning */
	size_t n_pfs;
	struct plan_step *system;
	size_t n_system;
	double seconds; /* all PFs in parallel */
	bool drain, reboot, nothing_to_do;
	const char **warnings; /* about the node, not about one port */
	size_t n_warnings;
	const char *state_dir; /* of the inventory */
};

int plan_make(struct arena *a, const struct inventory *i, const struct api_nodestate_spec *desired,
	      const struct plan_pod *pods, size_t n_pods, struct plan **ret, struct err *e);
bool plan_has_errors(const struct plan *p);
/* The first port that is not as asked: one with steps or an error; NULL when all are. */
const struct plan_pf *plan_undone(const struct plan *p);
yyjson_mut_val *plan_json(const struct plan *p, yyjson_mut_doc *doc);
/* Done to one VF, .vf. */
bool plan_is_vf_step(enum plan_op op);
/* One line for a step, e.g. "set sriov_numvfs to 8 (0 now)". */
char *plan_step_text(struct arena *a, const struct plan_step *s);

/* Progress of an apply: called from several threads, one line at a time. */
struct apply_progress {
	void (*step)(void *arg, const char *pci, const char *netdev, const char *text, int result, const char *why);
	void *arg;
};

/*
 * Execute: all PFs in parallel, each PF's steps in order, VFs of one step in parallel. Can be killed at any step: planning
 * again from the inventory goes on where it stopped. Refuses a PF whose VFs pods hold (.pods) unless @force. Errors of
 * the PFs are collected into @e, one PF's failure stops only that PF. Read back: plan_make() on a fresh inventory.
 */
int apply_run(const struct sysroot *r, const struct plan *p, bool force, const struct apply_progress *progress,
	      struct err *e);

#endif
