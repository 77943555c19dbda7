/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's files share. */
#ifndef KVRAIL_AGENT_STATE_H
#define KVRAIL_AGENT_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/agent.h"
#include "agent/metrics.h"
#include "attach/attach.h"
#include "controller/controller.h"
#include "provision/plan.h"
#include "rpc/httpd.h"

/* A device that a resource has. */
struct pool_device {
	const char *resource, *pci, *pf_pci, *pf_netdev, *netdev; /* netdev: only of plain netdevs; a VF's is read when it is picked */
	unsigned index;
	int numa;  /* -1: unknown */
	bool rdma; /* isRdma of its policy: given with its RDMA device */
};

/* Immutable once built; replaced as a whole. */
struct pools {
	struct arena *arena;
	struct pool_device *devices;
	size_t n;
};

/* How the kubelet knows it. */
static inline const char *pool_device_id(const struct pool_device *d)
{
	return *d->pci ? d->pci : d->netdev;
}

struct cluster;

struct agent {
	const struct agent_options *options;
	const char *node;
	struct sysroot *root;
	struct store *store;	 /* NULL in a cluster */
	struct cluster *cluster; /* NULL standalone */
	struct ipam *ipam;
	struct attach_engine *engine;
	struct httpd *httpd;
	pthread_mutex_t pools_lock; /* guards .pools */
	struct pools *pools;
	pthread_mutex_t apply_lock; /* held while one apply runs */
	struct agent_metrics metrics;
	struct httpd *metrics_httpd; /* NULL: not served over TCP */
	bool for_good;	/* at the end: kvrail leaves this node */
	atomic_bool ready;
	pthread_mutex_t why_lock; /* guards .why_not */
	char *why_not;	/* ready to attach; NULL: it is, or starts */
	char *problem; /* why provisioning at start failed; NULL: it did not. Set under apply_lock */
};

/* pools.c */
/* @resources: the node state's annotation (policy/resources.h), or NULL. */
void pools_build(struct agent *ag, const struct api_nodestate_spec *spec, const char *resources, const struct inventory *inv);
struct pools *pools_free(struct pools *p);
/* Were the pools built since start? */
bool pools_known(struct agent *ag);
int pools_pick(void *agent, struct arena *a, const char *resource, const char *pci, const char **taken, size_t n_taken,
	       struct attach_vf *ret, struct err *e);
int pools_network(void *agent, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e);
yyjson_mut_val *pools_json(struct agent *ag, yyjson_mut_doc *doc, yyjson_mut_val *attachments);

/* Who holds which VF now, or gets it in an ADD that runs. */
void attached_pods(struct agent *ag, struct arena *a, struct plan_pod **ret, size_t *ret_n);
/* The same, and in a cluster who was given one by the kubelet and has not got it yet. A failure: there may be more. */
int agent_pods(struct agent *ag, struct arena *a, struct plan_pod **ret, size_t *ret_n, struct err *e);

/*
 * apply.c: make the changes (all or none), provision, store node state and NADs. Lines of progress go to @out (-1: to the log).
 * -EBUSY when another one runs.
 */
int agent_apply(struct agent *ag, struct arena *a, struct store_object *changes, size_t n, bool force, int out,
		struct err *e);

/* Can pods be attached? *ret_why (in @a) says why not. */
bool agent_is_ready(struct agent *ag, struct arena *a, const char **ret_why);

/* requests.c: the socket. */
void agent_request(void *agent, struct httpd_request *rq, struct httpd_reply *reply);

/* privileges.c: keep only the capabilities that the node's role uses. */
int agent_drop_privileges(struct err *e);

/* status.c */
yyjson_mut_val *agent_status(struct agent *ag, struct arena *a, yyjson_mut_doc *doc);

#endif
