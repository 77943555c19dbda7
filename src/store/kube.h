/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one Kubernetes API server: own and small, over libcurl. Thread safe: a call takes one of a few
 * connections and blocks until the answer is there.
 *
 * A call that failed for a reason that passes (no connection, 429 with Retry-After, 5xx) is tried again with growing,
 * jittered pauses until its time is up; a change is repeated only when the server cannot have made it, or when it
 * is guarded by a resourceVersion.
 *
 * Failures, besides the words in @e:
 *   -ENOENT        404: the object (or, @e says so, the whole kind: its CRD is missing)
 *   -EEXIST        409 AlreadyExists
 *   -ESTALE        409 Conflict, or a JSON patch whose test did not hold (422): read again and decide anew
 *   -EINVAL        400, 422: refused as it is; @e has the server's message with the field
 *   -EACCES        401: who we are is not known; @e names file and context
 *   -EPERM         403: the role lacks this verb; @e names verb, resource, namespace and user
 *   -ENODATA       410: the resourceVersion or continue token is too old (inside list and watch only)
 *   -EHOSTUNREACH  nobody answers there, or only 429 and 5xx until time was up: the server is away
 */
#ifndef KVRAIL_STORE_KUBE_H
#define KVRAIL_STORE_KUBE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/doc.h"

struct kube;

struct kube_options {
	const char *kubeconfig; /* NULL: $KUBECONFIG, else the service account of this pod, else ~/.kube/config */
	const char *context;	/* NULL: the current one */
	const char *manager;	/* field manager of our writes; NULL: "kvrail" */
	unsigned timeout_ms;	/* for one call, retries included (of a list: for each page); 0: 30000 */
	void (*warning)(const char *text); /* what the server says beside its answer (an unknown field, an old version); may be NULL */
};

/* Reads the configuration; connects with the first call. */
int kube_open(const struct kube_options *o, struct kube **ret, struct err *e);
struct kube *kube_close(struct kube *k); /* NULL is fine; returns NULL */

const char *kube_server(const struct kube *k);	  /* "https://10.96.0.1:443" */
const char *kube_namespace(const struct kube *k); /* of the context, else of the service account, else "default" */
const char *kube_source(const struct kube *k);	  /* the file and context, for messages */

/* Is this failure "the API server is away", so that a snapshot may serve? */
static inline bool kube_is_away(int r)
{
	return r == -EHOSTUNREACH;
}

/* Which object or collection. */
struct kube_ref {
	const char *group, *version, *plural; /* group "": core */
	const char *namespace;		      /* NULL: cluster-scoped, or all namespaces of a collection */
	const char *name;		      /* NULL: the collection */
	const char *sub;		      /* subresource ("status") or NULL */
};

/* What a list or a watch takes: NULL takes all. */
struct kube_select {
	const char *labels, *fields; /* "a=b,c", "spec.nodeName=n1" */
};

/* @ret (may be NULL) lives in @a. No object has the name or namespace "", "." or "..": -ENOENT of kube_get(), -EINVAL of a change. */
int kube_get(struct kube *k, struct arena *a, const struct kube_ref *ref, yyjson_val **ret, struct err *e);
int kube_create(struct kube *k, struct arena *a, const struct kube_ref *ref, const char *json, yyjson_val **ret,
		struct err *e);
int kube_update(struct kube *k, struct arena *a, const struct kube_ref *ref, const char *json, yyjson_val **ret,
		struct err *e);

enum kube_patch {
	KUBE_PATCH_JSON,  /* RFC 6902 */
	KUBE_PATCH_MERGE, /* RFC 7386 */
	KUBE_PATCH_APPLY, /* server-side apply, as this client's manager */
	KUBE_PATCH_APPLY_FORCE, /* the same, taking over fields that another manager owns */
};

int kube_patch(struct kube *k, struct arena *a, const struct kube_ref *ref, enum kube_patch type, const char *json,
	       yyjson_val **ret, struct err *e);

/* @uid, @resource_version: only that very object (-ESTALE when it is another by now); NULL: any. @grace_s below 0: the server's default. */
int kube_delete(struct kube *k, const struct kube_ref *ref, const char *uid, const char *resource_version, int grace_s,
		struct err *e);

/*
 * Every object of a collection, one after the other, as the pages (limit, continue) stream in: never the whole list in
 * memory. @obj dies after the call; a non-zero return of @item ends the list and is returned. *ret_version (in @a, may be
 * NULL) is the resourceVersion to watch from. Items have no apiVersion and kind of their own in a list of a built-in kind.
 */
int kube_list(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select,
	      int (*item)(void *arg, yyjson_val *obj), void *arg, const char **ret_version, struct err *e);

/* An object, or with @ref->name NULL a collection, as the server prints it: kind Table (meta.k8s.io/v1), with whole objects in its rows. */
int kube_table(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select, yyjson_val **ret,
	       struct err *e);

/* Any other path of the server ("/version", "/apis"); @body NULL: GET. */
int kube_raw(struct kube *k, struct arena *a, const char *method, const char *path, const char *body, yyjson_val **ret,
	     struct err *e);

/* How often the server was asked, by verb and outcome, since start: for the metrics. */
struct kube_count {
	const char *verb; /* "get", "list", "watch", "create", "update", "patch", "delete" */
	uint64_t ok, failed, retried;
};
size_t kube_counts(struct kube *k, const struct kube_count **ret);

/*
 * Informers: a collection that is listed once, watched (bookmarks; resumed after a cut, listed again after 410), and kept as
 * JSON texts of what @keep made of each object. One thread each.
 */
enum informer_event { INFORMER_ADDED, INFORMER_CHANGED, INFORMER_DELETED };

struct informer_object {
	const char *namespace, *name, *uid, *version;
	const char *json; /* what keep made of it */
};

struct informer_spec {
	struct kube_ref ref; /* a collection; copied */
	struct kube_select select;
	/* The text to keep of @obj, in @a, or NULL to ignore the object; NULL as function keeps all but metadata.managedFields. */
	const char *(*keep)(void *arg, struct arena *a, yyjson_val *obj);
	/*
	 * Called in the informer's thread after its snapshot changed, once an object; @was NULL when added, @is NULL when deleted. Not called when
	 * what is kept stayed the same. May be NULL. Must not call informer_stop().
	 */
	void (*event)(void *arg, enum informer_event what, const struct informer_object *was,
		      const struct informer_object *is);
	void (*synced)(void *arg); /* after each list; may be NULL */
	void *arg;
};

struct informer;

int informer_start(struct kube *k, const struct informer_spec *spec, struct informer **ret, struct err *e);
struct informer *informer_stop(struct informer *in); /* NULL is fine; returns NULL */

/* Has the collection been listed? Waits up to @timeout_ms; false: not yet, @e says what stands in the way. */
bool informer_wait(struct informer *in, unsigned timeout_ms, struct err *e);
/* 0 while the watch runs, else since how many seconds it does not (@e, may be NULL, says why). */
unsigned informer_stale_s(struct informer *in, struct err *e);

/* -ENOENT. @ret lives in @a. */
int informer_get(struct informer *in, struct arena *a, const char *ns, const char *name, struct informer_object *ret);
/* All, in order of namespace and name, in @a. */
size_t informer_all(struct informer *in, struct arena *a, struct informer_object **ret);

/*
 * Leader election on a Lease as client-go does it (LeaseLock: holderIdentity, leaseDurationSeconds, acquireTime, renewTime with
 * microseconds, leaseTransitions), so that a Go and a C candidate respect each other. A clock that differs between nodes does no harm: a lease
 * is expired when it was not seen to change for its duration.
 */
struct election_options {
	const char *namespace, *name, *identity;
	unsigned duration_ms, renew_ms, retry_ms; /* 0: 15000, 10000, 2000 as client-go */
	bool release;				  /* give the lease back on stop */
	void (*started)(void *arg);		  /* in the election's thread */
	void (*stopped)(void *arg);		  /* the lease was lost: no write may follow */
	void (*observed)(void *arg, const char *holder); /* another one holds it than before ("" nobody); may be NULL */
	void *arg;
};

struct election;

int election_start(struct kube *k, const struct election_options *o, struct election **ret, struct err *e);
struct election *election_stop(struct election *el);
bool election_is_leader(struct election *el);

/*
 * Take a Lease for one critical section (Whereabouts' lock), waiting up to @timeout_ms; release with election_stop(). -ETIMEDOUT: @e says
 * who holds it.
 */
int election_acquire(struct kube *k, const struct election_options *o, unsigned timeout_ms, struct election **ret, struct err *e);

/*
 * Events (core v1), aggregated: the same (object, reason, message) within ten minutes raises the count of one event. Sent by a
 * thread of its own; dropped, and counted, when the server refuses one or is away for long.
 */
struct kube_event_about {
	const char *api_version, *kind, *namespace, *name, *uid;
};

struct kube_events;

int kube_events_start(struct kube *k, const char *component, const char *node, struct kube_events **ret, struct err *e);
struct kube_events *kube_events_stop(struct kube_events *ev);
uint64_t kube_events_dropped(struct kube_events *ev);
void kube_event(struct kube_events *ev, const struct kube_event_about *about, bool warning, const char *reason,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
