/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent in a cluster: what it watches at the API server, what it answers the attach engine from that, and the thread that
 * brings the node to what its SriovNetworkNodeState asks. All of it goes on when the API server is away: collections are kept
 * in memory, and in STATE/snapshot.json for an agent that is started meanwhile.
 */
#ifndef KVRAIL_AGENT_CLUSTER_H
#define KVRAIL_AGENT_CLUSTER_H

#include <limits.h>

#include "agent/state.h"
#include "store/kube.h"

/* What is watched. Each is one informer and one list of the snapshot. */
enum collection {
	OF_STATE, /* this node's SriovNetworkNodeState: one object */
	OF_PODS,  /* pods of this node */
	OF_NADS,  /* NetworkAttachmentDefinitions of all namespaces */
	COLLECTIONS,
};

struct snapshot;
struct late;

struct cluster {
	struct agent *ag;
	struct kube *kube;
	struct kube_events *events;
	struct informer *informers[COLLECTIONS];
	struct device_plugin *plugin;
	struct hostrun *hostrun;
	struct failures *failures;
	struct attach_cluster attach;
	char hook[PATH_MAX]; /* lifts a container's limit of locked memory */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	bool stop, dirty;
	bool waiting;		   /* a port waits for pods to go */
	uint64_t unsaved_ns;	   /* since when the snapshot on disk is older than what is known; 0: it is not */
	struct snapshot *snapshot; /* of the disk, for collections that were not listed yet; NULL: not needed any more, or none */
	struct late *late;	   /* network statuses that could not be written yet, one a pod */
	struct late *late_now;	   /* the one that is being written; not among them */
	/* of the node's thread alone */
	uint64_t drift_ns;	   /* when the ports are looked at again, and late statuses written, whatever changes before; at start: now */
	char *told;		   /* the last failure that became an event */
	uint32_t failed_spec;	   /* of the node state: hash of the one that was tried last and failed, or 0 */
};

/* Open the API client, read the snapshot, start to watch. Waits for nothing. */
int cluster_open(struct agent *ag, struct err *e);
/* Start the node's thread: the engine must be there. */
int cluster_start(struct cluster *cl, struct err *e);
/* Of that thread: wait until the snapshot is to be saved, or a round is due; false: stop. */
bool cluster_wait(struct cluster *cl, bool *ret_save, bool *ret_work);
/* End the thread and the requests that run. Before what they work on goes. */
void cluster_stop(struct cluster *cl);
struct cluster *cluster_close(struct cluster *cl); /* NULL is fine; returns NULL */
/*
 * Devices that the kubelet gave to pods of this node, appended to what attachments hold. A failure: it is not known, whatever *ret has. Where
 * the kubelet has no socket at all no pod has any.
 */
int cluster_allocated(struct cluster *cl, struct arena *a, struct plan_pod **ret, size_t *ret_n, struct err *e);
/* Something that provisioning depends on has changed. Thread safe, does not wait. */
void cluster_poke(struct cluster *cl);
/* A pod got devices or gave them back. Thread safe, does not wait. */
void cluster_attachments_changed(struct cluster *cl);
/* Has every collection been listed, now or, as the snapshot says, before? false: @e says what is missing. */
bool cluster_knows(struct cluster *cl, struct err *e);

/* watch.c */
int watch_start(struct cluster *cl, struct err *e);
void watch_stop(struct cluster *cl);
bool watch_knows(struct cluster *cl, enum collection of, struct err *e);
/* One object, or all, as last seen. -ENOENT; -EHOSTUNREACH: the collection was never listed. */
int watch_get(struct cluster *cl, enum collection of, struct arena *a, const char *ns, const char *name,
	      struct informer_object *ret, struct err *e);
int watch_all(struct cluster *cl, enum collection of, struct arena *a, struct informer_object **ret, size_t *ret_n,
	      struct err *e);
/* What is kept of a pod (NULL: nothing, it has ended) and of a NAD. */
const char *watch_keep_pod(void *cluster, struct arena *a, yyjson_val *pod);
const char *watch_keep_nad(void *cluster, struct arena *a, yyjson_val *nad);

/* snapshot.c */
struct snapshot *snapshot_load(const char *state_dir, const char *node);
struct snapshot *snapshot_free(struct snapshot *s);
bool snapshot_has(const struct snapshot *s, enum collection of);
/* -EHOSTUNREACH: it has no such collection; -ENOENT. */
int snapshot_get(const struct snapshot *s, enum collection of, struct arena *a, const char *ns, const char *name,
		 struct informer_object *ret);
int snapshot_all(const struct snapshot *s, enum collection of, struct arena *a, struct informer_object **ret, size_t *ret_n);
int snapshot_save(struct cluster *cl, struct err *e);

/* pod.c: callbacks of struct attach_cluster */
int pod_lookup(void *cluster, struct arena *a, const char *ns, const char *name, const char *uid, struct attach_pod *ret,
	       struct err *e);
int pod_network_status(void *cluster, const struct attach_pod *pod, const char *status, struct err *e);
/* Write the statuses that could not be written before, until the API server is away again. By the node's thread alone. */
void pod_write_late(struct cluster *cl);
void pod_forget_late(struct cluster *cl);
void pod_event(void *cluster, const struct attach_pod *pod, bool warning, const char *reason, const char *text);

/* Any pod of the cluster: {"node": "...", "networks": [as in its network-status]}. -ENOENT. */
int pod_peer(struct cluster *cl, struct arena *a, const char *ns, const char *name, yyjson_mut_doc *doc, yyjson_mut_val **ret,
	     struct err *e);

/* nads.c: as pools_network(). */
int nad_lookup(void *agent, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e);

/* assign.c: which of the pod's devices serves which network. */
int assign_devices(void *cluster, struct arena *a, const struct attach_pod *pod, const struct attach_ask *asks, size_t n,
		   const char **ids, struct attach_device **ret_all, size_t *ret_n_all, struct err *e);

/* nodestate.c: one round: provision what the node state asks, write its status if it changed. */
void nodestate_reconcile(struct cluster *cl);

#endif
