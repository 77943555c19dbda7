/* SPDX-License-Identifier: Apache-2.0 */
/* What the attach engine asks about a pod, and what it tells its pod. */
#include <string.h>

#include "agent/cluster.h"
#include "base/log.h"

/* A status that could not be written while the API server was away. */
struct late {
	struct late *next;
	char *ns, *name, *uid, *status;
};

static void decode_container(struct arena *a, yyjson_val *v, struct attach_pod *pod)
{
	struct attach_container *c = arena_push(a, &pod->containers, &pod->n_containers, sizeof(*c));
	yyjson_val *name;
	size_t i, max;

	c->name = doc_str(v, "name");
	c->gpu = doc_bool(v, "gpu", false);
	pod->gpu |= c->gpu;
	yyjson_arr_foreach(yyjson_obj_get(v, "env"), i, max, name)
		if (yyjson_is_str(name))
			*(const char **)arena_push(a, &c->env, &c->n_env, sizeof(char *)) = yyjson_get_str(name);
}

static int decode(struct arena *a, const char *ns, const char *name, const char *json, struct attach_pod *ret, struct err *e)
{
	yyjson_val *v, *key, *value;
	size_t i, max;
	int r = doc_parse_json(a, name, json, strlen(json), DOC_SIZE_MAX, &v, e);

	if (r < 0)
		return r;
	*ret = (struct attach_pod){ .namespace = arena_strdup(a, ns), .name = arena_strdup(a, name), .uid = doc_str(v, "uid"),
				    .host_ip = doc_str(v, "hostIP") };
	yyjson_obj_foreach(yyjson_obj_get(v, "annotations"), i, max, key, value)
		*(struct pair *)arena_push(a, &ret->annotations, &ret->n_annotations, sizeof(struct pair)) =
			(struct pair){ yyjson_get_str(key), yyjson_get_str(value) };
	yyjson_arr_foreach(yyjson_obj_get(v, "containers"), i, max, value)
		if (doc_str(value, "name"))
			decode_container(a, value, ret);
	return 0;
}

/*
 * The kubelet calls a static pod by the hash of its file; the object at the API server (its mirror) has a uid of its own and the hash
 * as annotation (kubelet: pkg/kubelet/types, ConfigHashAnnotationKey).
 */
static bool is_same(const struct attach_pod *pod, const char *uid)
{
	const char *source = pairs_get(pod->annotations, pod->n_annotations, "kubernetes.io/config.source");

	return !uid || !*uid || !pod->uid || !strcmp(pod->uid, uid) || (source && strcmp(source, "api"));
}

static int fetch(struct cluster *cl, struct arena *a, const char *ns, const char *name, struct attach_pod *ret, struct err *e)
{
	const struct kube_ref ref = { .group = "", .version = "v1", .plural = "pods", .namespace = ns, .name = name };
	struct err why = { 0 };
	const char *kept;
	yyjson_val *v;
	int r = kube_get(cl->kube, a, &ref, &v, &why);

	if (r == -ENOENT)
		return err_set(e, r, "pod %s/%s is not there any more", ns, name);
	if (kube_is_away(r))
		return err_set(e, r, "pod %s/%s is not known here, and the API server does not answer: %s", ns, name, why.msg);
	if (r < 0)
		return err_set(e, r, "pod %s/%s: %s", ns, name, why.msg);
	kept = watch_keep_pod(cl, a, v);
	if (!kept)
		return err_set(e, -ENOENT, "pod %s/%s has ended", ns, name);
	return decode(a, ns, name, kept, ret, e);
}

/* The node's address: pods learn theirs late (status.hostIP), all pods of a node have the same. */
static const char *host_ip(struct cluster *cl, struct arena *a)
{
	struct informer_object *all;
	struct attach_pod pod;
	size_t n;

	if (cl->ag->options->node_ip)
		return cl->ag->options->node_ip;
	if (watch_all(cl, OF_PODS, a, &all, &n, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (decode(a, all[i].namespace, all[i].name, all[i].json, &pod, NULL) == 0 && pod.host_ip)
			return pod.host_ip;
	return NULL;
}

int pod_lookup(void *cluster, struct arena *a, const char *ns, const char *name, const char *uid, struct attach_pod *ret,
	       struct err *e)
{
	struct cluster *cl = cluster;
	struct informer_object o;
	int r = watch_get(cl, OF_PODS, a, ns, name, &o, e);

	if (r == 0)
		r = decode(a, ns, name, o.json, ret, e);
	if (r < 0 || !is_same(ret, uid)) /* younger than the last event */
		r = fetch(cl, a, ns, name, ret, e);
	if (r < 0)
		return r;
	if (!is_same(ret, uid))
		return err_set(e, -ESTALE, "pod %s/%s is another one by now (uid %s, the runtime asks for %s): this one was deleted", ns, name,
			       ret->uid, uid);
	if (!ret->host_ip)
		ret->host_ip = host_ip(cl, a);
	return 0;
}

/* With the uid in it a merge patch changes this very pod, or nothing (409). */
static int write_status(struct cluster *cl, const char *ns, const char *name, const char *uid, const char *status, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct kube_ref ref = { .group = "", .version = "v1", .plural = "pods", .namespace = ns, .name = name, .sub = "status" };
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *meta = yyjson_mut_obj_add_obj(doc, v, "metadata");
	int r;

	if (uid && *uid)
		yyjson_mut_obj_add_str(doc, meta, "uid", uid);
	yyjson_mut_obj_add_str(doc, yyjson_mut_obj_add_obj(doc, meta, "annotations"), "k8s.v1.cni.cncf.io/network-status", status);
	r = kube_patch(cl->kube, a, &ref, KUBE_PATCH_MERGE, doc_mut_to_json(a, v, false), NULL, e);
	return r == -ENOENT || r == -ESTALE ? 0 : r;
}

static void free_late(struct late *l)
{
	free(l->ns);
	free(l->name);
	free(l->uid);
	free(l->status);
	free(l);
}

static char *copy_of(const char *s)
{
	char *copy = strdup(s ? s : "");

	if (!copy)
		abort();
	return copy;
}

static bool is_of(const struct late *l, const char *ns, const char *name)
{
	return !strcmp(l->ns, ns) && !strcmp(l->name, name);
}

/* The place of the pod's entry, or of the next one. Lock held. */
static struct late **find_late(struct cluster *cl, const char *ns, const char *name)
{
	struct late **p = &cl->late;

	while (*p && !is_of(*p, ns, name))
		p = &(*p)->next;
	return p;
}

static void put_late(struct cluster *cl, const struct attach_pod *pod, const char *status)
{
	struct late *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	*l = (struct late){ .ns = copy_of(pod->namespace), .name = copy_of(pod->name), .uid = copy_of(pod->uid), .status = copy_of(status) };
	pthread_mutex_lock(&cl->lock);
	l->next = cl->late;
	cl->late = l;
	pthread_mutex_unlock(&cl->lock);
}

/* A newer one comes: what waits for the pod is not written any more. true: it is being written right now. */
static bool drop_late(struct cluster *cl, const struct attach_pod *pod)
{
	struct late **p, *old;
	bool now;

	pthread_mutex_lock(&cl->lock);
	p = find_late(cl, pod->namespace, pod->name);
	old = *p;
	if (old)
		*p = old->next;
	now = cl->late_now && is_of(cl->late_now, pod->namespace, pod->name);
	pthread_mutex_unlock(&cl->lock);
	if (old)
		free_late(old);
	return now;
}

int pod_network_status(void *cluster, const struct attach_pod *pod, const char *status, struct err *e)
{
	struct cluster *cl = cluster;
	bool there = informer_wait(cl->informers[OF_PODS], 0, NULL) && !informer_stale_s(cl->informers[OF_PODS], NULL);
	bool behind = drop_late(cl, pod);
	int r = -EHOSTUNREACH;

	if (there && !behind)
		r = write_status(cl, pod->namespace, pod->name, pod->uid, status, e);
	if (!kube_is_away(r))
		return r;
	put_late(cl, pod, status);
	if (there && behind)
		cluster_poke(cl);
	else
		log_warn("pod %s/%s: network-status is written when the API server answers", pod->namespace, pod->name);
	return 1;
}

static struct late *take_late(struct cluster *cl)
{
	struct late *l;

	pthread_mutex_lock(&cl->lock);
	l = cl->late_now = cl->late;
	if (l)
		cl->late = l->next;
	pthread_mutex_unlock(&cl->lock);
	return l;
}

/* With @keep it waits again, unless a newer one does. */
static void end_late(struct cluster *cl, struct late *l, bool keep)
{
	pthread_mutex_lock(&cl->lock);
	cl->late_now = NULL;
	keep &= !*find_late(cl, l->ns, l->name);
	if (keep) {
		l->next = cl->late;
		cl->late = l;
	}
	pthread_mutex_unlock(&cl->lock);
	if (!keep)
		free_late(l);
}

void pod_write_late(struct cluster *cl)
{
	bool away = false;
	struct late *l;

	while (!away && (l = take_late(cl))) {
		struct err e = { 0 };
		int r = write_status(cl, l->ns, l->name, l->uid, l->status, &e);

		away = kube_is_away(r);
		if (r < 0 && !away)
			log_warn("pod %s/%s: network-status: %s", l->ns, l->name, e.msg);
		end_late(cl, l, away);
	}
}

void pod_forget_late(struct cluster *cl)
{
	struct late *l;

	while ((l = take_late(cl)))
		end_late(cl, l, false);
}

void pod_event(void *cluster, const struct attach_pod *pod, bool warning, const char *reason, const char *text)
{
	struct cluster *cl = cluster;
	const struct kube_event_about about = { .api_version = "v1", .kind = "Pod", .namespace = pod->namespace, .name = pod->name,
						.uid = pod->uid };

	kube_event(cl->events, &about, warning, reason, "%s", text);
}

/* Of the annotation network-status: what is no default network, with its addresses. */
static void add_networks(yyjson_mut_doc *doc, yyjson_mut_val *to, struct arena *a, const char *status)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "networks");
	yyjson_val *v, *net;
	size_t i, max;

	if (!status || doc_parse_json(a, "network-status", status, strlen(status), DOC_SIZE_MAX, &v, NULL) < 0)
		return;
	yyjson_arr_foreach(v, i, max, net)
		if (!doc_bool(net, "default", false))
			yyjson_mut_arr_append(list, yyjson_val_mut_copy(doc, net));
}

int pod_peer(struct cluster *cl, struct arena *a, const char *ns, const char *name, yyjson_mut_doc *doc, yyjson_mut_val **ret,
	     struct err *e)
{
	const struct kube_ref ref = { .group = "", .version = "v1", .plural = "pods", .namespace = ns, .name = name };
	const char *node;
	yyjson_val *v;
	int r = kube_get(cl->kube, a, &ref, &v, e);

	if (r < 0)
		return r;
	node = doc_str(yyjson_obj_get(v, "spec"), "nodeName");
	*ret = yyjson_mut_obj(doc);
	yyjson_mut_obj_add_strcpy(doc, *ret, "node", node ? node : "");
	if (cl->ag->options->daemonset) /* that node's agent is one of its pods */
		yyjson_mut_obj_add_strcpy(doc, *ret, "agentNamespace", cl->ag->options->namespace);
	add_networks(doc, *ret, a, doc_str(yyjson_obj_get(yyjson_obj_get(v, "metadata"), "annotations"), "k8s.v1.cni.cncf.io/network-status"));
	return 0;
}
