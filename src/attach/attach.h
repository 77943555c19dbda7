/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CNI verbs. An attachment is what one ADD made: one sandbox (container id) and CNI_IFNAME, one or
 * several rails. Its journal is one file, STATE/attach/<container>-<ifname>.json, written by rename and
 * fsync before each change of the kernel; DEL, a failed ADD, a restart of the agent and garbage
 * collection run the same attachment_undo() over it.
 */
#ifndef KVRAIL_ATTACH_ATTACH_H
#define KVRAIL_ATTACH_ATTACH_H

#include "api/network.h"
#include "ipam/ipam.h"
#include "linux/sysroot.h"

/* A VF that an attachment may take. */
struct attach_vf {
	const char *pci, *pf_pci, *pf_netdev;
	unsigned index;	      /* VF number on its PF */
	const char *netdev;   /* its name on the host; NULL: its driver is one of user space */
	const char *rdma;     /* NULL: no RDMA device */
	const char *driver;
	const char *resource; /* "p2rdma": without prefix */
};

/* A container of a pod, init containers too. */
struct attach_container {
	const char *name;
	const char **env; /* names of the variables that its spec sets (env): they win over ours */
	size_t n_env;
	bool gpu; /* it asks for GPUs */
};

/* A pod as the API server has it, as far as its rails need it. */
struct attach_pod {
	const char *namespace, *name, *uid;
	struct pair *annotations;
	size_t n_annotations;
	bool gpu;	  /* one of its containers asks for GPUs */
	const char *host_ip; /* of the node, or NULL */
	struct attach_container *containers;
	size_t n_containers;
};

/* A device that kubelet gave to a container of the pod. */
struct attach_device {
	const char *container, *resource, *id; /* resource with its prefix; id: PCI address */
	bool rdma; /* its container gets the RDMA device too (isRdma of the VF's policy) */
};

/* A network that takes a device. */
struct attach_ask {
	const char *network, *ifname, *resource; /* resource with its prefix, as the NAD says */
	const char *device_id;			 /* asked for by the annotation, or NULL */
	bool optional;	/* its plugin may do without one */
};

/* How a plugin of another maker ended. */
struct attach_ran {
	int status;	    /* exit status, or 128 + signal */
	bool timed_out;	    /* it was killed for it */
	const char *out;    /* NUL-terminated; at most 1 MiB */
	size_t out_len;
	const char *err;    /* the end of it */
};

/*
 * In a cluster: what the engine asks beyond struct attach_host; NULL standalone. Called from any worker thread. Failures
 * are negative errno with the words for the pod's event in @e.
 */
struct attach_cluster {
	/* -ENOENT: no such pod; -ESTALE: it is another one by now (uid). From a snapshot when the API server is away; -EHOSTUNREACH: not in it. */
	int (*pod)(void *arg, struct arena *a, const char *ns, const char *name, const char *uid, struct attach_pod *ret,
		   struct err *e);
	/*
	 * The devices of @pod for its networks: ids[i] for asks[i]; -ENOSPC: a network has none left, @e says what was asked for. *ret_all: all that the
	 * pod holds of kvrail's resources, those that no network takes too (for the CDI spec).
	 */
	int (*assign)(void *arg, struct arena *a, const struct attach_pod *pod, const struct attach_ask *asks, size_t n,
		      const char **ids, struct attach_device **ret_all, size_t *ret_n_all, struct err *e);
	/*
	 * Write the annotation k8s.v1.cni.cncf.io/network-status; a pod that is gone is success. 1: the API server is away, it is written when
	 * that is back; the journal keeps it for attach_tell_late().
	 */
	int (*network_status)(void *arg, const struct attach_pod *pod, const char *status, struct err *e);
	/* An event of the pod; never fails, never blocks for long. */
	void (*event)(void *arg, const struct attach_pod *pod, bool warning, const char *reason, const char *text);
	/* After an ADD or DEL: how long each stage took, for the metrics; may be NULL. @stage "pod", "default", "devices", "ipam", "kernel", "status", "total". */
	void (*timing)(void *arg, const char *verb, const char *stage, double seconds);
	/*
	 * Run the plugin at @path where the runtime runs such, with the host's programs and files around it (the agent's container has
	 * neither iptables nor another plugin's socket): the shim does it. @caller is that of the request's cni_env; @env are
	 * its CNI_ variables ("NAME=VALUE", NULL-terminated). -ENOTCONN: no shim is there that can (none asked, or it has left): run it here, unless .contained.
	 * -ENOENT, -EACCES, ...: it could not be executed. NULL: always here.
	 */
	int (*run_plugin)(void *caller, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len,
			  unsigned timeout_s, struct attach_ran *ret, struct err *e);
	const char *cdi_dir;   /* "/var/run/cdi"; NULL: the runtime has no CDI, an environment file is written instead */
	const char *env_dir;   /* where environment files go: "/run/kvrail/env" */
	const char *hook;      /* the createRuntime hook's program on the host: "/opt/cni/bin/kvrail-hook"; NULL: none */
	const char *bin_dirs;  /* where plugins of other makers are, beside CNI_PATH: "/opt/cni/bin" */
	const char *conf_dir;  /* configurations named by clusterNetwork and empty NADs: "/etc/cni/multus/net.d" */
	const char *cni_dir;   /* Multus' scratch and libcni's results: "/var/lib/cni/multus" */
	unsigned delegate_timeout_ms;
	bool contained; /* the agent is in a container: plugins that no shim is there for (attach_recover()) wait for one */
	void *arg;
};

/* What the engine asks of the role that runs it. Called from any worker thread. */
struct attach_host {
	struct ipam *ipam; /* addresses: of the node's store, or of the cluster's pools */
	const struct sysroot *root;
	const char *state_dir; /* "/var/lib/kvrail" */
	bool soft_roce;
	unsigned share_part, share_of; /* ipam_share() of every range; 0: whole ranges */
	void *arg;
	/* A free VF of @resource ("prefix/name" or "name") that is in none of @taken (PCI addresses, netdev names of devices without); or exactly @pci when that is given. -ENOSPC: none; @e says who holds them. */
	int (*pick_vf)(void *arg, struct arena *a, const char *resource, const char *pci, const char **taken, size_t n_taken,
		       struct attach_vf *ret, struct err *e);
	/* The NAD; -ENOENT: @e says which there are in that namespace. */
	int (*network)(void *arg, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e);
	const struct attach_cluster *cluster; /* NULL: standalone */
	/* For tests: called before each journalled step with its name; a test kills the process in it. May be NULL. */
	void (*step)(void *arg, const char *name);
};

/* CNI error codes, SPEC 1.1 and the reference skeleton. */
enum cni_code {
	CNI_OK = 0, CNI_INCOMPATIBLE_VERSION = 1, CNI_UNSUPPORTED_FIELD = 2, CNI_UNKNOWN_CONTAINER = 3,
	CNI_INVALID_ENV = 4, CNI_IO = 5, CNI_DECODE = 6, CNI_INVALID_CONFIG = 7, CNI_INVALID_NETNS = 8,
	CNI_TRY_AGAIN = 11, CNI_UNAVAILABLE = 50, CNI_UNAVAILABLE_LIMITED = 51, CNI_INTERNAL = 999,
};

/* The plugin's environment, as the runtime set it. Any may be NULL. */
struct cni_env {
	const char *command, *container_id, *netns, *ifname, *args, *path;
	void *caller; /* for attach_cluster.run_plugin; NULL: none */
	const char *plugin; /* CNI_KVRAIL_PLUGIN: the name that the plugin was called by: "whereabouts" as IPAM of another maker's plugin */
	const char *within; /* CNI_KVRAIL_WITHIN: the container of the request that this one is part of: it holds that container's lock */
};

struct attach_engine;

int attach_engine_new(const struct attach_host *host, struct attach_engine **ret, struct err *e);
struct attach_engine *attach_engine_free(struct attach_engine *en);

/*
 * Run one CNI request. @conf is the network configuration text (stdin). Thread safe; requests of one container wait for each
 * other. On success *reply is the result's JSON text ("" for DEL, GC, STATUS, CHECK) in the conf's cniVersion; on failure a CNI error object
 * {cniVersion, code, msg, details} and the return value is its code (> 0).
 */
int attach_request(struct attach_engine *en, struct arena *a, const struct cni_env *env, const char *conf, size_t len,
		   char **reply);

/* Undo what journals say is half done, apply spooled DELs, drop attachments whose namespace is gone. At start, and when asked. */
int attach_recover(struct attach_engine *en, struct err *e);
/*
 * By the shim of a request that is done: finish the deletions of which only other makers' plugins are left. attach_recover() cannot from
 * within a container: what those plugins need (iptables, their own files) is where the runtime is. Not to be called
 * for a plugin that runs within another request. After a few seconds it leaves what remains to the next request.
 */
void attach_recover_by(struct attach_engine *en, void *caller);

/* At start: host.cluster->network_status() for what an ADD could not write. The journal does not tell whether it was written since. */
void attach_tell_late(struct attach_engine *en);

/*
 * Names of the steps that host.step() is called with, in order, NULL-terminated ("add-journal", ..., "del-forget"). A step of
 * the second rail and on has its number behind it ("add-move#1"): each one can be stopped at.
 */
const char *const *attach_steps(void);

struct attach_holder {
	const char *namespace, *name, *vf;
};

/* In @a: who has which VF (its PCI address, or the netdev of a plain interface that an ADD has picked), ADDs that run included. */
void attach_holders(struct attach_engine *en, struct arena *a, struct attach_holder **ret, size_t *ret_n);

/* All attachments, from the journals: for status, plan (pods touched) and device pools. JSON array; its form is in docs/architecture.md. */
yyjson_mut_val *attach_list(struct attach_engine *en, yyjson_mut_doc *doc);
/* The same from a state folder when no agent runs. */
yyjson_mut_val *attach_list_dir(const char *state_dir, yyjson_mut_doc *doc, struct err *e);
/* The pods (in @a, "ns/name, ns/name") that live and have addresses, by the journals of a state folder; NULL: none. */
int attach_addressed_dir(const char *state_dir, struct arena *a, const char **ret, struct err *e);

#endif
