/* SPDX-License-Identifier: Apache-2.0 */
/* The collections that the agent watches, and what it keeps of each object. */
#include <string.h>

#include "agent/cluster.h"
#include "base/clock.h"
#include "base/log.h"

static void copy_str(yyjson_mut_doc *doc, yyjson_mut_val *to, yyjson_val *from, const char *key)
{
	const char *s = doc_str(from, key);

	if (s)
		yyjson_mut_obj_add_strcpy(doc, to, key, s);
}

static bool kept_annotation(const char *key)
{
	static const char *const exact[] = { "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network",
					     "kubernetes.io/config.source", "kubernetes.io/config.hash" };

	for (size_t i = 0; i < ARRAY_SIZE(exact); i++)
		if (!strcmp(key, exact[i]))
			return true;
	return !strncmp(key, "kvrail.io/", 10);
}

static yyjson_mut_val *annotations(yyjson_mut_doc *doc, yyjson_val *from)
{
	yyjson_mut_val *to = yyjson_mut_obj(doc);
	yyjson_val *key, *value;
	size_t i, max;

	yyjson_obj_foreach(from, i, max, key, value)
		if (yyjson_is_str(value) && kept_annotation(yyjson_get_str(key)))
			yyjson_mut_obj_add(to, yyjson_mut_strcpy(doc, yyjson_get_str(key)), yyjson_mut_strcpy(doc, yyjson_get_str(value)));
	return to;
}

/* "nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", ... */
static bool asks_for_gpu(yyjson_val *container)
{
	yyjson_val *resources = yyjson_obj_get(container, "resources"), *key, *value;
	static const char *const where[] = { "limits", "requests" };
	size_t i, max;

	for (size_t k = 0; k < ARRAY_SIZE(where); k++) {
		yyjson_obj_foreach(yyjson_obj_get(resources, where[k]), i, max, key, value) {
			const char *slash = strchr(yyjson_get_str(key), '/');

			if (slash && (!strncmp(slash + 1, "gpu", 3) || !strncmp(slash + 1, "mig-", 4)))
				return true;
		}
	}
	return false;
}

/* What our environment must not touch: names that the container sets itself. */
static void container(yyjson_mut_doc *doc, yyjson_mut_val *list, yyjson_val *c)
{
	yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list), *env;
	yyjson_val *var;
	size_t i, max;

	copy_str(doc, v, c, "name");
	if (asks_for_gpu(c))
		yyjson_mut_obj_add_bool(doc, v, "gpu", true);
	if (!yyjson_arr_size(yyjson_obj_get(c, "env")))
		return;
	env = yyjson_mut_obj_add_arr(doc, v, "env");
	yyjson_arr_foreach(yyjson_obj_get(c, "env"), i, max, var)
		if (doc_str(var, "name"))
			yyjson_mut_arr_add_strcpy(doc, env, doc_str(var, "name"));
}

/* In the order in which they start: the kubelet's lists have it too. */
static yyjson_mut_val *containers(yyjson_mut_doc *doc, yyjson_val *spec)
{
	static const char *const where[] = { "initContainers", "containers" };
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	yyjson_val *c;
	size_t i, max;

	for (size_t k = 0; k < ARRAY_SIZE(where); k++)
		yyjson_arr_foreach(yyjson_obj_get(spec, where[k]), i, max, c)
			container(doc, list, c);
	return list;
}

/* Does a container ask for a device ("openshift.io/p2rdma"), of whomever? */
static bool has_devices(yyjson_val *spec)
{
	static const char *const where[] = { "initContainers", "containers" };
	yyjson_val *c, *key, *value;
	size_t i, k, max, max_keys;

	for (size_t w = 0; w < ARRAY_SIZE(where); w++)
		yyjson_arr_foreach(yyjson_obj_get(spec, where[w]), i, max, c)
			yyjson_obj_foreach(yyjson_obj_get(yyjson_obj_get(c, "resources"), "limits"), k, max_keys, key, value)
				if (strchr(yyjson_get_str(key), '/'))
					return true;
	return false;
}

/* A pod with neither gets the default network alone, for which nothing of its containers matters. */
static bool needs_containers(yyjson_val *meta, yyjson_val *spec)
{
	yyjson_val *all = yyjson_obj_get(meta, "annotations");
	const char *networks = doc_str(all, "k8s.v1.cni.cncf.io/networks");

	return (networks && *networks) || doc_str(all, "v1.multus-cni.io/default-network") || has_devices(spec);
}

const char *watch_keep_pod(void *cluster, struct arena *a, yyjson_val *pod)
{
	yyjson_val *meta = yyjson_obj_get(pod, "metadata"), *status = yyjson_obj_get(pod, "status");
	const char *phase = doc_str(status, "phase");
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	if (phase && (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed")))
		return NULL;
	copy_str(doc, v, meta, "uid");
	yyjson_mut_obj_add_val(doc, v, "annotations", annotations(doc, yyjson_obj_get(meta, "annotations")));
	if (needs_containers(meta, yyjson_obj_get(pod, "spec")))
		yyjson_mut_obj_add_val(doc, v, "containers", containers(doc, yyjson_obj_get(pod, "spec")));
	copy_str(doc, v, status, "hostIP");
	return doc_mut_to_json(a, v, false);
}

const char *watch_keep_nad(void *cluster, struct arena *a, yyjson_val *nad)
{
	yyjson_val *meta = yyjson_obj_get(nad, "metadata");
	const char *config = doc_str(yyjson_obj_get(nad, "spec"), "config");
	const char *resource = doc_str(yyjson_obj_get(meta, "annotations"), NAD_RESOURCE_NAME);
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	if (config)
		yyjson_mut_obj_add_strcpy(doc, v, "config", config);
	if (resource)
		yyjson_mut_obj_add_strcpy(doc, v, "resource", resource);
	return doc_mut_to_json(a, v, false);
}

/* Whole, for it is decoded by its table, but for what the server keeps for itself. */
static const char *keep_state(void *cluster, struct arena *a, yyjson_val *state)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_val_mut_copy(doc, state), *meta = yyjson_mut_obj_get(v, "metadata");

	yyjson_mut_obj_remove_key(meta, "managedFields");
	yyjson_mut_obj_remove_key(meta, "resourceVersion");
	yyjson_mut_obj_remove_key(meta, "generation");
	return doc_mut_to_json(a, v, false);
}

static void on_event(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct cluster *cl = arg;

	pthread_mutex_lock(&cl->lock);
	if (!cl->unsaved_ns) {
		cl->unsaved_ns = clock_ns();
		pthread_cond_signal(&cl->wake);
	}
	pthread_mutex_unlock(&cl->lock);
}

static void on_state(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	on_event(arg, what, was, is);
	cluster_poke(arg);
}

/* The kubelet's list has a pod until it is gone: a port may wait for that. */
static void on_pod(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct cluster *cl = arg;
	bool waiting;

	on_event(arg, what, was, is);
	pthread_mutex_lock(&cl->lock);
	waiting = cl->waiting;
	pthread_mutex_unlock(&cl->lock);
	if (waiting && what == INFORMER_DELETED)
		cluster_poke(cl);
}

static void on_synced(void *arg)
{
	on_event(arg, INFORMER_CHANGED, NULL, NULL);
	cluster_poke(arg);
}

int watch_start(struct cluster *cl, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *node = cl->ag->node;
	struct informer_spec specs[COLLECTIONS] = {
		[OF_STATE] = {
			.ref = { .group = "sriovnetwork.openshift.io", .version = "v1", .plural = "sriovnetworknodestates",
				 .namespace = cl->ag->options->namespace },
			.select.fields = arena_printf(a, "metadata.name=%s", node), .keep = keep_state, .event = on_state,
		},
		[OF_PODS] = {
			.ref = { .group = "", .version = "v1", .plural = "pods" },
			.select.fields = arena_printf(a, "spec.nodeName=%s", node), .keep = watch_keep_pod, .event = on_pod,
		},
		[OF_NADS] = {
			.ref = { .group = "k8s.cni.cncf.io", .version = "v1", .plural = "network-attachment-definitions" },
			.keep = watch_keep_nad, .event = on_event,
		},
	};

	for (size_t i = 0; i < COLLECTIONS; i++) {
		int r;

		specs[i].synced = on_synced;
		specs[i].arg = cl;
		r = informer_start(cl->kube, &specs[i], &cl->informers[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

void watch_stop(struct cluster *cl)
{
	for (size_t i = 0; i < COLLECTIONS; i++)
		cl->informers[i] = informer_stop(cl->informers[i]);
}

bool watch_knows(struct cluster *cl, enum collection of, struct err *e)
{
	bool has;

	if (informer_wait(cl->informers[of], 0, e))
		return true;
	pthread_mutex_lock(&cl->lock);
	has = snapshot_has(cl->snapshot, of);
	pthread_mutex_unlock(&cl->lock);
	return has;
}

int watch_get(struct cluster *cl, enum collection of, struct arena *a, const char *ns, const char *name,
	      struct informer_object *ret, struct err *e)
{
	int r;

	if (informer_wait(cl->informers[of], 0, e))
		return informer_get(cl->informers[of], a, ns, name, ret);
	pthread_mutex_lock(&cl->lock);
	r = snapshot_get(cl->snapshot, of, a, ns, name, ret);
	pthread_mutex_unlock(&cl->lock);
	return r;
}

int watch_all(struct cluster *cl, enum collection of, struct arena *a, struct informer_object **ret, size_t *ret_n,
	      struct err *e)
{
	int r;

	if (informer_wait(cl->informers[of], 0, e)) {
		*ret_n = informer_all(cl->informers[of], a, ret);
		return 0;
	}
	pthread_mutex_lock(&cl->lock);
	r = snapshot_all(cl->snapshot, of, a, ret, ret_n);
	pthread_mutex_unlock(&cl->lock);
	return r;
}
