/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share behind attach.h. */
#ifndef KVRAIL_ATTACH_ENGINE_H
#define KVRAIL_ATTACH_ENGINE_H

#include <pthread.h>

#include "attach/attach.h"
#include "attach/attachment.h"
#include "attach/delegate.h"
#include "attach/gone.h"
#include "attach/nets.h"
#include "attach/rail.h"
#include "attach/steps.h"
#include "linux/rdma.h"

/* A container that a request works on: requests of one container wait for each other. */
struct busy {
	const char *container;
	struct busy *next;
};

/* VFs that an ADD has picked and not yet journalled, for its pod. */
struct reserved {
	const char *namespace, *name;
	const char **vfs;
	size_t n;
	struct reserved *next;
};

struct attach_engine {
	struct attach_host host;
	int journal_fd;
	char *spool_dir;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	pthread_mutex_t picking; /* held while a VF is chosen; taken before lock */
	/* What the journal says. Never changed in place: replaced and freed by the holder of its container. */
	struct attachment **attachments;
	size_t n, size;
	struct busy *busy;
	struct reserved *reserved;
	struct gone gone; /* what was undone last */
};

/* Call the test's hook before step @s of rail number @rail. */
void engine_step(const struct attach_engine *en, enum attach_step s, size_t rail);
void engine_lock_container(struct attach_engine *en, struct busy *b, const char *container);
/* False: somebody else works at it. */
bool engine_try_container(struct attach_engine *en, struct busy *b, const char *container);
void engine_unlock_container(struct attach_engine *en, struct busy *b);

/* The attachment, or NULL. It stays while its container is locked. */
const struct attachment *engine_find(struct attach_engine *en, const char *container, const char *ifname);

/* Write @at into the journal, then show a copy of it: *ret (may be NULL). The one shown before is freed. */
int engine_commit(struct attach_engine *en, const struct attachment *at, const struct attachment **ret, struct err *e);
/* Remove the journal file, then the attachment, which is freed: all that it was is undone. */
int engine_forget(struct attach_engine *en, const struct attachment *at, struct err *e);
/* engine_forget() was called for it, by this process and not long ago: a DEL that comes again has nothing to do. */
bool engine_is_gone(struct attach_engine *en, const char *container, const char *ifname);

/* Names in @a of all VFs that attachments or running ADDs hold: PCI address, else netdev. Call with picking held. */
const char **engine_taken(struct attach_engine *en, struct arena *a, size_t *ret_n);
void engine_reserve(struct attach_engine *en, struct reserved *r);
void engine_unreserve(struct attach_engine *en, struct reserved *r);

/* add.c: 0 or a CNI code; *reply is the result. */
int add_run(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f);

/* One rail while ADD works on it. */
struct rail_work {
	const struct rail *rail;
	struct attach_vf vf;
	struct attachment_rail *rec; /* in the attachment */
	struct ipam_given given;
	unsigned index; /* of the netdev: on the host, then in the pod */
};

/* The whole ADD. */
struct add_work {
	struct attach_engine *en;
	const struct request *rq;
	struct arena *a;
	struct attachment *at; /* this ADD's own; what is committed is a copy */
	struct rail_work *rails;
	size_t n;
	int netns_fd, host_fd;
	struct nl *host_nl, *host_rdma; /* of the initial namespace; host_rdma NULL: the kernel has no RDMA */
	bool exclusive;
	struct err *e;
	/* in a cluster, of a meta plugin's request */
	bool meta;
	struct meta_conf mc;
	struct attach_pod *pod; /* NULL: the sandbox is of none */
	struct net *nets;
	size_t n_nets;
	struct cniresult *results; /* of each net that is not ours */
	struct arena *beside;	   /* what the default network's plugins told is in it; NULL: none yet */
	struct attach_device *devices; /* all that the pod holds */
	size_t n_devices;
	uint64_t since; /* of the stage that is measured */
};

/* meta-add.c: the parts of a meta plugin's ADD, in their order. */
int meta_prepare(struct add_work *w, struct rail **ret, size_t *ret_n, struct cni_failure *f); /* pod, networks, devices: the rails among them */
void meta_fill(struct add_work *w); /* what the journal must know of the rest */
bool meta_gives_rdma(const struct add_work *w, const char *device); /* does its container get the VF's RDMA device too? */
/* The default network's plugins, beside the work on the rails: they share nothing that changes but the kernel. */
struct default_work {
	struct add_work *w;
	struct arena *arena; /* for the results */
	struct cni_failure failure;
	int result; /* 0 or a CNI code */
};
void meta_run_default(void *arg); /* a struct default_work */
int meta_run_delegates(struct add_work *w, struct cni_failure *f); /* all others, when the default network's are done */
int meta_default_routes(struct add_work *w, struct cni_failure *f);
int meta_inject(struct add_work *w, struct cni_failure *f); /* CDI or environment files */
/* meta-tell.c */
void meta_tell(struct add_work *w); /* network-status and events */
void meta_tell_failure(struct add_work *w, const struct cni_failure *f);
char *meta_result(struct add_work *w);
/* meta-add.c: the stage that ends now took so long. */
void meta_timing(struct add_work *w, const char *stage);

/* meta-del.c: undo's part of it. @netns NULL: gone. @what collects failures. */
struct strbuf;
void meta_undo_delegate(struct attach_engine *en, const struct attachment *at, size_t i, const char *netns, void *caller, struct strbuf *failures);
void meta_undo_files(const struct attachment *at, struct strbuf *failures);
/* A DEL of a container that the journal does not know: what Multus noted of it, else its default network. */
int meta_del_unknown(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f);
/* Did Multus start it? */
bool meta_has_notes(struct attach_engine *en, struct arena *a, const struct request *rq);
int meta_check(struct attach_engine *en, struct arena *a, const struct request *rq, const struct attachment *at, struct cni_failure *f);
int meta_status(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f);
int meta_gc(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f);
/* A delegate as the journal has it, ready to be called. */
int meta_delegate(struct attach_engine *en, struct arena *a, const struct attachment *at, const struct attachment_delegate *rec, const char *netns,
		  void *caller, struct delegate *ret, struct err *e);

/* pod.c: run in the pod's namespace by netns_call(), @arg is a struct add_work. */
int pod_names_are_free(void *arg); /* -EEXIST: an interface of a rail's name is there */
int pod_configure(void *arg);
/*
 * The same reads as at the end of ADD, of an attachment that is ready; of a VF without netdev its driver, in @root. Negative errno: something is
 * not as promised.
 */
int pod_check(const struct sysroot *root, const struct attachment *at, struct err *e);

/* The caller of what no request stands behind: other makers' plugins that run where the runtime is have to wait for one. */
extern char engine_recovery;
#define CALLER_RECOVERY ((void *)&engine_recovery)

/*
 * undo.c: take back all that the journal names, in reverse; what is not there any more is success. Goes on after failures
 * and collects them in @e. 0: all done, the journal file is gone and @at freed. -EAGAIN: only a VF or its RDMA device that
 * is not back yet is missing, or addresses that the API server must take back. -ENOTCONN, of a recovery only: nothing is left but plugins
 * that wait for a request (undo_waits()). Call with the container locked.
 */
int attachment_undo(struct attach_engine *en, const struct attachment *at, void *caller, struct err *e);
bool undo_waits(const struct attachment *at);

/*
 * del.c: mark as deleting what is ready, then undo. Nothing there: releases addresses and succeeds. Takes the container's lock. @caller: of
 * the request, or CALLER_RECOVERY.
 */
int del_run(struct attach_engine *en, const char *container, const char *ifname, void *caller, struct err *e);
/*
 * Undo what an earlier sandbox of this very pod (same UID, interface) still holds: a pod has one sandbox at a time, and a runtime that was killed
 * while it made one may never send its DEL. Takes the other containers' locks: call it with none held. What cannot be undone is logged.
 */
void del_superseded(struct attach_engine *en, struct arena *a, const struct request *rq);
/* For the recovery: undo what the journal holds of @container, @ifname if it is not ready, or its namespace is gone. */
int del_if_dead(struct attach_engine *en, const char *container, const char *ifname, struct err *e);
/* All attachments of configuration @rq->name that are not in @rq->valid. */
int gc_run(struct attach_engine *en, const struct request *rq, struct err *e);
/* Container and interface of every attachment, in @a. */
struct request_id *engine_ids(struct attach_engine *en, struct arena *a, const char *conf_name, size_t *ret_n);

/* ipam-verb.c: a request to us as IPAM plugin of another maker's. It takes no lock: the request that it may be part of holds it. */
int ipam_verb(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f);

/* spool.c: apply the DELs that the shim left, in order. Those of pods that Multus started keep their file until spool_finish(). */
int spool_apply(struct attach_engine *en, struct err *e);
/* Their plugins, by @caller's shim (NULL: here), until clock_ns() says @until_ns. What fails is logged and stays for the next call. */
void spool_finish(struct attach_engine *en, void *caller, uint64_t until_ns);

#endif
