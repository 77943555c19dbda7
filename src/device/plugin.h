/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the device plugin share behind device.h. */
#ifndef KVRAIL_DEVICE_PLUGIN_H
#define KVRAIL_DEVICE_PLUGIN_H

#include <pthread.h>

#include "device/device.h"
#include "device/health.h"
#include "device/podres.h"
#include "rpc/grpc.h"

#define STREAMS_MAX 4 /* ListAndWatch of one resource: the kubelet's, and old ones of kubelets that are gone */

/* A VF, or a share. Strings in the list's arena. */
struct device {
	struct device_vf vf;
	const char *upstream; /* preferred_upstream() of its PF */
	struct health health;
	char *reason;	      /* malloc; NULL: healthy */
	bool held;	      /* by a pod, when it was last looked */
	bool served;	      /* an attachment had it since the kubelet gave it: that one's specification counts */
};

/* The devices of a resource: replaced as a whole. */
struct device_list {
	struct arena *arena;
	struct device *v;
	size_t n;
};

struct resource {
	struct resource *next;
	struct device_plugin *plugin;
	char *prefix, *name, *full, *socket; /* of its own */
	bool vhost_net, exclude_topology;
	unsigned shares;
	struct device_list list;
	struct grpc_call *streams[STREAMS_MAX];
	uint64_t pushed;    /* hash of what the streams have; 0: nothing */
	bool leaving;	    /* no longer wanted: the worker takes it down */
	bool judged;	    /* its devices were looked at: it may be registered */
	bool cleaned;	    /* device-info files of an earlier life are gone */
	bool registered;
	char *problem;	    /* why it is not, or NULL */
	uint64_t retry_at;  /* when to register again, ns */
	unsigned failures;  /* registrations that failed in a row */
	uint64_t watched_at; /* when a stream was last seen, or it was registered, ns */
	unsigned unwatched; /* registrations in a row that no stream followed */
	uint64_t allocations;
};

/* An Allocate that waits for the worker. */
struct job {
	struct job *next;
	struct resource *resource;
	struct grpc_call *call;
	void *msg;
	size_t len;
};

struct device_plugin {
	struct device_options o;
	char *kubelet_dir, *pod_resources, *info_dir, *dev_dir, *cdi_dir /* NULL: no CDI */, *env_dir /* with CDI: NULL */;
	struct grpc_server *server;
	pthread_t worker;
	pthread_mutex_t lock; /* of all below; held briefly, never across a call to kubelet, kernel or host */
	struct resource *resources; /* only the worker takes one out */
	struct job *jobs, **last_job;
	bool stop, look; /* facts are to be read */
	int wake;	 /* eventfd */
	/* the worker's own */
	int inotify, watch, links;
	struct arena *given_arena; /* what the kubelet gave to pods, when it was last asked; NULL: not known */
	const struct podres_pod *given;
	size_t n_given;
	struct device_socket {
		ino_t ino; /* 0: there is none */
		struct timespec since;
	} kubelet; /* its socket, when it was last looked */
};

/* serve.c: what the kubelet asks. */
extern const struct grpc_method device_methods[];
/* Send the list on all streams if it differs from what they have; lock held. */
void device_push(struct resource *res);
/* Answer an Allocate, in the worker, without the lock. */
void device_allocate(struct device_plugin *p, const struct job *job);

/* worker.c */
void *device_work(void *plugin);
void device_wake(struct device_plugin *p);
void device_say(struct device_plugin *p, bool bad, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * look.c: read facts of all resources, judge, tell, push. @ask_kubelet: also what it gave to whom, else that is as it was before.
 * *ret_wait_ns: until a change that is held back counts, 0: none.
 */
void device_look(struct device_plugin *p, bool ask_kubelet, uint64_t *ret_wait_ns);
/* Remove device-info files of VFs that no pod holds and that the kubelet did not give. */
void device_clean_info(struct device_plugin *p, const struct resource *res);

/*
 * register.c: sockets are there and registered, leaving resources are taken down. *ret_at: when to come again (ns), 0: when something
 * happens. Returns whether one was registered now.
 */
bool device_register(struct device_plugin *p, uint64_t *ret_at);
/* Watch the kubelet's folder; take what inotify has of it. */
void device_folder_open(struct device_plugin *p);
void device_folder_read(struct device_plugin *p);

/* plugin.c */
void device_list_free(struct device_list *l);
/* One that outlives its list: with strings in @a. */
struct device_vf device_vf_copy(struct arena *a, const struct device_vf *vf);
struct resource *device_resource_free(struct resource *res); /* returns NULL */
/* NULL, or who holds @pci, in @a: asks the host. */
const char *device_holder_of(struct device_plugin *p, struct arena *a, const char *pci);

#endif
