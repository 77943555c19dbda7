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

/* A pod has one entry: the last. */
static void put_late(struct cluster *cl, const char *ns, const char *name, const char *uid, const char *status)
{
	struct late *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	*l = (struct late){ .ns = copy_of(ns), .name = copy_of(name), .uid = copy_of(uid), .status = copy_of(status) };
	pthread_mutex_lock(&cl->lock);
	for (struct late **p = &cl->late; *p; p = &(*p)->next) {
		struct late *old = *p;

		if (strcmp(old->ns, ns) || strcmp(old->name, name))
			continue;
		*p = old->next;
		free_late(old);
		break;
	}
	l->next = cl->late;
	cl->late = l;
	pthread_mutex_unlock(&cl->lock);
}

int pod_network_status(void *cluster, const struct attach_pod *pod, const char *status, struct err *e)
{
	struct cluster *cl = cluster;
	int r = -EHOSTUNREACH;

	if (informer_wait(cl->informers[OF_PODS], 0, NULL) && !informer_stale_s(cl->informers[OF_PODS], NULL))
		r = write_status(cl, pod->namespace, pod->name, pod->uid, status, e);
	if (!kube_is_away(r))
		return r;
	log_warn("pod %s/%s: the API server is away, network-status is written when it is back", pod->namespace, pod->name);
	put_late(cl, pod->namespace, pod->name, pod->uid, status);
	return 0;
}

static struct late *take_late(struct cluster *cl)
{
	struct late *l;

	pthread_mutex_lock(&cl->lock);
	l = cl->late;
	cl->late = NULL;
	pthread_mutex_unlock(&cl->lock);
	return l;
}

void pod_write_late(struct cluster *cl)
{
	bool away = false;

	for (struct late *l = take_late(cl), *next; l; l = next) {
		struct err e = { 0 };
		int r = away ? -EHOSTUNREACH : write_status(cl, l->ns, l->name, l->uid, l->status, &e);

		next = l->next;
		away = kube_is_away(r);
		if (away)
			put_late(cl, l->ns, l->name, l->uid, l->status);
		else if (r < 0)
			log_warn("pod %s/%s: network-status: %s", l->ns, l->name, e.msg);
		free_late(l);
	}
}

void pod_forget_late(struct cluster *cl)
{
	for (struct late *l = take_late(cl), *next; l; l = next) {
		next = l->next;
		free_late(l);
	}
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
