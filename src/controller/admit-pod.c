/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "attach/annotation.h"
#include "base/parse.h"
#include "controller/admit-private.h"

#define RESOURCES_MAX (2 * ANNOTATION_ITEMS_MAX) /* of two annotations */
#define COUNT_MAX 1000000
#define MULTUS_NAMESPACE "kube-system" /* Multus' default of multusNamespace */

/* A resource and how many of its devices the pod's networks take. */
struct need {
	const char *resource;
	uint64_t count;
};

struct needs {
	struct need v[RESOURCES_MAX];
	size_t n;
};

static bool is(const char *s, const char *word)
{
	return s && !strcmp(s, word);
}

static void need(struct needs *n, const char *resource)
{
	size_t i = 0;

	while (i < n->n && strcmp(n->v[i].resource, resource))
		i++;
	if (i == RESOURCES_MAX)
		return; /* cannot be: no more resources than networks */
	if (i == n->n)
		n->v[n->n++].resource = resource;
	n->v[i].count++;
}

/* How many of @resource a container asks for. A quantity that is no plain number is taken to be enough. */
static uint64_t asks(yyjson_val *container, const char *resource)
{
	static const char *const lists[] = { "requests", "limits" };
	yyjson_val *resources = yyjson_obj_get(container, "resources");
	uint64_t most = 0, n;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		yyjson_val *v = yyjson_obj_get(yyjson_obj_get(resources, lists[i]), resource);

		if (!v)
			continue;
		n = COUNT_MAX;
		if (yyjson_is_uint(v) && yyjson_get_uint(v) < COUNT_MAX)
			n = yyjson_get_uint(v);
		else if (yyjson_is_str(v))
			parse_u64(yyjson_get_str(v), 10, 0, COUNT_MAX, &n);
		most = n > most ? n : most;
	}
	return most;
}

/* Whole GPUs and parts of them: nvidia.com/gpu, amd.com/gpu, nvidia.com/mig-1g.10gb, gpu.intel.com/xe, habana.ai/gaudi. */
static bool is_gpu(const char *resource)
{
	const char *slash = strchr(resource, '/');

	return slash && (!strcmp(slash, "/gpu") || !strncmp(slash, "/gpu.", 5) || !strncmp(slash, "/mig-", 5) ||
			 !strncmp(resource, "gpu.intel.com/", 14) || !strcmp(resource, "habana.ai/gaudi"));
}

static bool is_rdma(const char *resource)
{
	return !strncmp(resource, "rdma/", 5);
}

static bool asks_for_any(yyjson_val *container, bool (*match)(const char *))
{
	yyjson_val *key, *value;
	size_t i, max;

	yyjson_obj_foreach(yyjson_obj_get(yyjson_obj_get(container, "resources"), "limits"), i, max, key, value)
		if (match(yyjson_get_str(key)) && asks(container, yyjson_get_str(key)))
			return true;
	return false;
}

/* What runs beside the containers for the pod's whole life: init containers that are restarted. Others lend their devices to it. */
static uint64_t sidecars_ask(yyjson_val *spec, const char *resource)
{
	yyjson_val *c;
	uint64_t sum = 0;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(spec, "initContainers"), i, max, c)
		if (is(doc_str(c, "restartPolicy"), "Always"))
			sum += asks(c, resource);
	return sum;
}

static size_t choose(yyjson_val *containers, const char *resource)
{
	yyjson_val *c;
	size_t i, max;

	yyjson_arr_foreach(containers, i, max, c)
		if (asks(c, resource))
			return i;
	yyjson_arr_foreach(containers, i, max, c)
		if (asks_for_any(c, is_gpu))
			return i;
	yyjson_arr_foreach(containers, i, max, c)
		if (asks_for_any(c, is_rdma))
			return i;
	return 0;
}

/* Additions to each container: all resources of one in one operation. */
struct addition {
	size_t container;
	const char *resource;
	uint64_t count; /* in all, with what it asked for already */
};

static void add_counts(struct admission *ad, yyjson_mut_val *resources, const char *list, const struct addition *adds, size_t n,
		       size_t container)
{
	yyjson_mut_val *counts = yyjson_mut_obj_get(resources, list);

	if (!counts || !yyjson_mut_is_obj(counts)) {
		yyjson_mut_obj_remove_key(resources, list);
		counts = yyjson_mut_obj_add_obj(ad->doc, resources, list);
	}
	for (size_t i = 0; i < n; i++) {
		if (adds[i].container != container)
			continue;
		yyjson_mut_obj_remove_key(counts, adds[i].resource);
		yyjson_mut_obj_add_str(ad->doc, counts, adds[i].resource, arena_printf(ad->a, "%llu", (unsigned long long)adds[i].count));
	}
}

static void patch_container(struct admission *ad, yyjson_val *containers, const struct addition *adds, size_t n, size_t container)
{
	yyjson_val *old = yyjson_obj_get(yyjson_arr_get(containers, container), "resources");
	yyjson_mut_val *resources = yyjson_is_obj(old) ? yyjson_val_mut_copy(ad->doc, old) : yyjson_mut_obj(ad->doc);

	add_counts(ad, resources, "requests", adds, n, container);
	add_counts(ad, resources, "limits", adds, n, container);
	admit_add(ad, arena_printf(ad->a, "/spec/containers/%zu/resources", container), resources);
}

static void patch(struct admission *ad, yyjson_val *spec, const struct needs *needs)
{
	yyjson_val *containers = yyjson_obj_get(spec, "containers"), *c;
	struct addition *adds = arena_alloc(ad->a, (needs->n + 1) * sizeof(*adds));
	size_t n = 0, i, max;

	for (size_t k = 0; k < needs->n; k++) {
		const struct need *want = &needs->v[k];
		uint64_t have = sidecars_ask(spec, want->resource);
		size_t at;

		yyjson_arr_foreach(containers, i, max, c)
			have += asks(c, want->resource);
		if (have >= want->count)
			continue;
		at = choose(containers, want->resource);
		adds[n++] = (struct addition){ at, want->resource, asks(yyjson_arr_get(containers, at), want->resource) + want->count - have };
	}
	for (size_t at = 0; at < yyjson_arr_size(containers); at++)
		for (size_t k = 0; k < n; k++)
			if (adds[k].container == at) {
				patch_container(ad, containers, adds, n, at);
				break;
			}
}

static const char *trimmed(struct arena *a, const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return arena_strndup(a, s, n);
}

/* A network may be for some nodes only: "key=value", or "key" of a label without a value. What the pod says itself is not overwritten. */
static int select_node(struct admission *ad, yyjson_val *spec, yyjson_mut_val *selector, const char *text, const char *network, struct err *e)
{
	size_t n = strcspn(text, "=");
	const char *key = trimmed(ad->a, text, n), *want = "", *have;
	yyjson_mut_val *old;

	if (text[n])
		want = trimmed(ad->a, text + n + 1, strlen(text + n + 1));
	if (!*key || strchr(want, '='))
		return err_set(e, -EINVAL, "network %s: its annotation k8s.v1.cni.cncf.io/nodeSelector '%s' is not one label, key=value", network,
			       text);
	old = yyjson_mut_obj_get(selector, key);
	have = old ? yyjson_mut_get_str(old) : NULL;
	if (old && !is(have, want))
		return err_set(e, -EINVAL, "network %s is for nodes with %s=%s, and the pod's nodeSelector wants %s=%s", network, key, want, key,
			       have ? have : "");
	if (!old)
		yyjson_mut_obj_add_str(ad->doc, selector, key, want);
	return 0;
}

static int one_network(struct admission *ad, yyjson_val *spec, yyjson_mut_val *selector, const char *ns, const char *name, bool must,
		       struct needs *needs, struct err *e)
{
	const char *names = NULL, *full = arena_printf(ad->a, "%s/%s", ns, name);
	struct admit_nad nad = { 0 };
	struct err why = { 0 };
	int r = ad->o->nad(ad->o->arg, ad->a, ns, name, &nad, &names, &why);

	if (r == -ENOENT && !must) {
		admit_warn(ad, "there is no NetworkAttachmentDefinition %s for the pod's default network", full);
		return 0;
	}
	if (r == -ENOENT)
		return err_set(e, -EINVAL, "network %s: there is no NetworkAttachmentDefinition %s in namespace %s%s%s", full, name, ns,
			       names ? "; there are " : " and no other", names ? names : "");
	if (r < 0)
		return err_set(e, -EAGAIN, "network %s: looking for its NetworkAttachmentDefinition failed: %s", full, why.msg);
	if (nad.resource)
		need(needs, nad.resource);
	return nad.node_selector ? select_node(ad, spec, selector, nad.node_selector, full, e) : 0;
}

/* @dflt: the namespace of a network that is given without one. */
static int annotation(struct admission *ad, yyjson_val *spec, yyjson_val *annotations, const char *key, const char *dflt,
		      yyjson_mut_val *selector, struct needs *needs, struct err *e)
{
	bool must = !strcmp(key, ANNOTATION_NETWORKS); /* where the others are looked for depends on the node's configuration */
	const char *text = doc_str(annotations, key);
	struct annotation_item *items;
	size_t n;
	int r;

	if (!text || !*text)
		return 0;
	if (strlen(text) > ANNOTATION_SIZE_MAX)
		return err_set(e, -EINVAL, "annotation %s: longer than %u bytes", key, ANNOTATION_SIZE_MAX);
	r = annotation_parse(ad->a, text, strlen(text), dflt, &items, &n, e);
	if (r < 0)
		return err_wrap(e, -EINVAL, "annotation %s", key);
	for (size_t i = 0; i < n; i++) {
		const char *ns = items[i].namespace && *items[i].namespace ? items[i].namespace : dflt;

		r = one_network(ad, spec, selector, ns, items[i].name ? items[i].name : "", must, needs, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int admit_pod(struct admission *ad, struct err *e)
{
	yyjson_val *meta = yyjson_obj_get(ad->object, "metadata"), *annotations = yyjson_obj_get(meta, "annotations");
	yyjson_val *spec = yyjson_obj_get(ad->object, "spec"), *containers = yyjson_obj_get(spec, "containers");
	yyjson_val *old_selector = yyjson_obj_get(spec, "nodeSelector");
	struct needs needs = { 0 };
	yyjson_mut_val *selector;
	size_t before;
	int r;

	if (!is(ad->operation, "CREATE") || !is(doc_str(ad->object, "kind"), "Pod") || is(ad->ns, "kube-system") || is(ad->ns, ad->o->home))
		return 0;
	if (doc_str(annotations, "kubernetes.io/config.mirror"))
		return 0; /* the image of a pod of a file on the node: nothing said here reaches it */
	if (!doc_str(annotations, ANNOTATION_NETWORKS) && !doc_str(annotations, ANNOTATION_DEFAULT_NETWORK))
		return 0;
	if (!yyjson_arr_size(containers))
		return 0; /* the API server has its own words for that */
	if (doc_bool(spec, "hostNetwork", false)) {
		admit_warn(ad, "a pod with hostNetwork is attached to no network: %s is ignored", ANNOTATION_NETWORKS);
		return 0;
	}
	selector = yyjson_is_obj(old_selector) ? yyjson_val_mut_copy(ad->doc, old_selector) : yyjson_mut_obj(ad->doc);
	before = yyjson_mut_obj_size(selector);
	r = annotation(ad, spec, annotations, ANNOTATION_NETWORKS, ad->ns, selector, &needs, e);
	if (r == 0)
		r = annotation(ad, spec, annotations, ANNOTATION_DEFAULT_NETWORK, MULTUS_NAMESPACE, selector, &needs, e);
	if (r < 0)
		return r;
	patch(ad, spec, &needs);
	if (yyjson_mut_obj_size(selector) > before)
		admit_add(ad, "/spec/nodeSelector", selector);
	return 0;
}
