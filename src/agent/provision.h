/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One provisioning of this node: measure, decide, execute, read back, report. What is wanted of the ports comes from
 * the role's home: standalone from the stored policies (apply.c), in a cluster from the node's SriovNetworkNodeState (nodestate.c).
 */
#ifndef KVRAIL_AGENT_PROVISION_H
#define KVRAIL_AGENT_PROVISION_H

#include "agent/state.h"

struct provision {
	struct agent *ag;
	struct arena *arena;
	int out; /* lines of progress go here, -1: to the log alone */
	/* Set .spec from .status. */
	int (*want)(struct provision *p, struct err *e);
	/* Write .status, with sync_status and last_sync_error set, where it belongs. */
	int (*report)(struct provision *p, struct err *e);
	/* What provision_plan() finds. The inventory is freed by provision_end(). */
	struct inventory *inventory;
	struct api_nodestate_status *status;
	const struct api_nodestate_spec *spec;
	const char *resources; /* set by .want: policy/resources.h, or NULL */
	struct plan *plan;
	struct plan_pod *pods;
	size_t n_pods;
	struct err unknown; /* .code: pods may hold more VFs than .pods says */
};

/* Measure the node and decide what is to be done. Changes nothing; can be called again. */
int provision_plan(struct provision *p, struct err *e);
/* How many steps the plan has. */
size_t provision_steps(const struct provision *p);
/*
 * Execute the plan, read back, publish the pools, report. A port whose VFs pods hold is left alone without @force, and is a
 * failure. What is reset is out of the pools first, and pods are looked for once more. Returns the first failure, after the report.
 */
int provision_run(struct provision *p, bool force, struct err *e);
/* One line of progress. */
void provision_say(struct provision *p, const char *text);
void provision_end(struct provision *p);

#endif
