/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent counts and measures, as Prometheus scrapes it: docs/metrics.md names each family. */
#ifndef KVRAIL_AGENT_METRICS_H
#define KVRAIL_AGENT_METRICS_H

#include <stdbool.h>

#include "base/metrics.h"
#include "rpc/httpd.h"

struct agent;

enum cni_count_verb { COUNT_ADD, COUNT_DEL, COUNT_OTHER, COUNT_VERBS };

/* Stages of struct attach_cluster's timing(). */
#define METRICS_STAGES 8

struct agent_metrics {
	struct metrics_histogram stages[2][METRICS_STAGES]; /* ADD, DEL */
	_Atomic uint64_t requests[COUNT_VERBS][2];	    /* failed, done */
};

/* As struct attach_cluster's timing. */
void agent_metrics_timing(struct agent_metrics *m, const char *verb, const char *stage, double seconds);
void agent_metrics_request(struct agent_metrics *m, const char *verb, bool ok);
/* How many there were since start. */
uint64_t agent_metrics_requests(struct agent_metrics *m);

/* All of it, in @a. */
const char *agent_metrics_text(struct agent *ag, struct arena *a);

/* GET /metrics, /healthz and /readyz, for a TCP port: nothing else is told there. */
void agent_metrics_serve(void *agent, struct httpd_request *rq, struct httpd_reply *reply);

#endif
