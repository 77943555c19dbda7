/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a resource has, and the choice of a free one. */
#include <string.h>

#include "agent/cluster.h"
#include "agent/plugin.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "linux/pci.h"

static void add_group(struct pools *p, const struct inventory_pf *pf, const struct api_vf_group *g)
{
	const char *dash = g->vf_range ? strchr(g->vf_range, '-') : NULL;
	uint64_t from, to;

	if (!dash || parse_u64(arena_strndup(p->arena, g->vf_range, (size_t)(dash - g->vf_range)), 10, 0, 4095, &from) < 0 ||
	    parse_u64(dash + 1, 10, 0, 4095, &to) < 0)
		return; /* merge_policies() writes "A-B" only */
	for (size_t i = 0; i < pf->n_vfs; i++) {
		const struct inventory_vf *vf = &pf->vfs[i];
		struct pool_device *d;

		if (vf->index < from || vf->index > to)
			continue;
		d = arena_push(p->arena, &p->devices, &p->n, sizeof(*d));
		*d = (struct pool_device){
			.resource = arena_strdup(p->arena, g->resource_name), .pci = arena_strdup(p->arena, vf->pci),
			.pf_pci = arena_strdup(p->arena, pf->pci), .pf_netdev = arena_strdup(p->arena, pf->netdev),
			.index = vf->index, .numa = vf->numa, .rdma = g->is_rdma,
		};
	}
}

static void add_netdevs(struct pools *p, const struct agent_options *o)
{
	for (size_t i = 0; i < o->n_netdevs; i++) {
		struct pool_device *d = arena_push(p->arena, &p->devices, &p->n, sizeof(*d));

		*d = (struct pool_device){ .resource = o->netdevs[i].resource, .netdev = o->netdevs[i].netdev, .pci = "", .numa = -1 };
	}
}

static int by_resource(const void *x, const void *y)
{
	const struct pool_device *a = x, *b = y;
	int r = strcmp(a->resource, b->resource);

	if (r == 0 && a->pf_pci && b->pf_pci)
		r = strcmp(a->pf_pci, b->pf_pci);
	return r ? r : (int)a->index - (int)b->index;
}

void pools_build(struct agent *ag, const struct api_nodestate_spec *spec, const char *resources, const struct inventory *inv)
{
	struct arena *a = arena_new();
	struct pools *p = arena_alloc(a, sizeof(*p)), *old;

	p->arena = a;
	for (size_t i = 0; spec && i < spec->n_interfaces; i++) {
		const struct inventory_pf *pf = inventory_pf(inv, spec->interfaces[i].pci_address);

		for (size_t g = 0; pf && g < spec->interfaces[i].n_vf_groups; g++)
			add_group(p, pf, &spec->interfaces[i].vf_groups[g]);
	}
	add_netdevs(p, ag->options);
	if (p->n)
		qsort(p->devices, p->n, sizeof(*p->devices), by_resource);
	pthread_mutex_lock(&ag->pools_lock);
	old = ag->pools;
	ag->pools = p;
	pthread_mutex_unlock(&ag->pools_lock);
	pools_free(old);
	if (ag->cluster)
		plugin_update(ag, spec, resources, p); /* only this thread, which holds apply_lock, replaces the pools */
}

struct pools *pools_free(struct pools *p)
{
	if (p)
		arena_free(p->arena);
	return NULL;
}

bool pools_known(struct agent *ag)
{
	bool known;

	pthread_mutex_lock(&ag->pools_lock);
	known = ag->pools != NULL;
	pthread_mutex_unlock(&ag->pools_lock);
	return known;
}

static bool taken_already(const struct pool_device *d, const char **taken, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(taken[i], pool_device_id(d)))
			return true;
	return false;
}

/* The device as the kernel has it now; a VF that vanished, or has no netdev here though its driver makes one, is -ENODEV with the reason. */
static int look(struct agent *ag, struct arena *a, const struct pool_device *d, struct attach_vf *ret, struct err *e)
{
	const char **names;
	size_t n;

	*ret = (struct attach_vf){ .resource = arena_strdup(a, d->resource), .pci = arena_strdup(a, d->pci),
				   .pf_pci = arena_strdup(a, d->pf_pci), .pf_netdev = arena_strdup(a, d->pf_netdev),
				   .index = d->index, .netdev = arena_strdup(a, d->netdev) };
	if (!*d->pci)
		return 0;
	if (!sysfs_exists(ag->root, "bus/pci/devices/%s", d->pci))
		return err_set(e, -ENODEV, "%s vanished from the PCI bus: run 'kvrail plan', then 'kvrail apply'", d->pci);
	if (sysfs_link(ag->root, a, &ret->driver, "bus/pci/devices/%s/driver", d->pci) < 0)
		return err_set(e, -ENODEV, "%s has no driver: run 'kvrail plan', then 'kvrail apply'", d->pci);
	if (pci_is_user_space_driver(ret->driver))
		return 0;
	if (sysfs_list(ag->root, a, &names, &n, "bus/pci/devices/%s/net", d->pci) == 0 && n == 1)
		ret->netdev = names[0];
	else
		return err_set(e, -ENODEV, "%s (driver %s) has no network interface in this namespace", d->pci, ret->driver);
	if (sysfs_list(ag->root, a, &names, &n, "bus/pci/devices/%s/infiniband", d->pci) == 0 && n >= 1)
		ret->rdma = names[0];
	return 0;
}

/* "ns/pod, ns/pod" of those that hold devices of @resource. */
static const char *holders(struct agent *ag, struct arena *a, const char *resource)
{
	yyjson_mut_val *all = attach_list_dir(ag->options->state_dir, doc_new(a), NULL), *at, *rail;
	yyjson_mut_arr_iter i, j;
	char *text = NULL;

	yyjson_mut_arr_iter_init(all, &i);
	while ((at = yyjson_mut_arr_iter_next(&i))) {
		yyjson_mut_val *pod = yyjson_mut_obj_get(at, "pod");

		yyjson_mut_arr_iter_init(yyjson_mut_obj_get(at, "rails"), &j);
		while ((rail = yyjson_mut_arr_iter_next(&j))) {
			const char *of = yyjson_mut_get_str(yyjson_mut_obj_get(rail, "resource"));

			if (!of || strcmp(of, resource))
				continue;
			text = arena_printf(a, "%s%s%s/%s", text ? text : "", text ? ", " : "",
					    yyjson_mut_get_str(yyjson_mut_obj_get(pod, "namespace")),
					    yyjson_mut_get_str(yyjson_mut_obj_get(pod, "name")));
		}
	}
	return text ? text : "nobody";
}

static const char *bare(const char *resource)
{
	const char *slash = strrchr(resource, '/');

	return slash ? slash + 1 : resource;
}

static int none_left(struct agent *ag, struct arena *a, const char *resource, size_t total, const struct err *last,
		     struct err *e)
{
	struct strbuf known = STRBUF_INIT;
	int r;

	if (total && last->msg[0])
		return err_set(e, -ENOSPC, "no VF of %s can be used: %s", resource, last->msg);
	if (total)
		return err_set(e, -ENOSPC, "all %zu VFs of %s are taken, by %s: delete a pod, or raise numVfs in its policy",
			       total, resource, holders(ag, a, bare(resource)));
	pthread_mutex_lock(&ag->pools_lock);
	for (size_t i = 0; ag->pools && i < ag->pools->n; i++)
		if (i == 0 || strcmp(ag->pools->devices[i].resource, ag->pools->devices[i - 1].resource))
			strbuf_addf(&known, "%s%s", known.len ? ", " : "", ag->pools->devices[i].resource);
	pthread_mutex_unlock(&ag->pools_lock);
	r = err_set(e, -ENOSPC, "this node has no resource %s (it has %s): a SriovNetworkNodePolicy with resourceName %s makes it",
		    resource, known.len ? known.s : "none", bare(resource));
	strbuf_free(&known);
	return r;
}

int pools_pick(void *agent, struct arena *a, const char *resource, const char *pci, const char **taken, size_t n_taken,
	       struct attach_vf *ret, struct err *e)
{
	struct agent *ag = agent;
	struct err last = { 0 };
	size_t total = 0;
	int r = -ENOSPC;

	pthread_mutex_lock(&ag->pools_lock);
	for (size_t i = 0; r < 0 && ag->pools && i < ag->pools->n; i++) {
		const struct pool_device *d = &ag->pools->devices[i];

		if ((resource && strcmp(d->resource, bare(resource))) || (pci && strcmp(pool_device_id(d), pci)))
			continue;
		total++;
		if (!taken_already(d, taken, n_taken))
			r = look(ag, a, d, ret, &last);
	}
	pthread_mutex_unlock(&ag->pools_lock);
	if (r == 0)
		return 0;
	if (pci && !total)
		return err_set(e, -ENODEV, "%s is in no resource of this node", pci);
	return none_left(ag, a, resource ? resource : pci, total, &last, e);
}

int pools_network(void *agent, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	struct agent *ag = agent;
	struct complaints c = { .arena = a };
	const struct api_kind *kind;
	struct store_object o, *all;
	yyjson_val *v;
	void *nad;
	size_t n;
	int r;

	r = store_get(ag->store, a, "NetworkAttachmentDefinition", ns, name, &o, e);
	if (r == -ENOENT) {
		const char *there = NULL;

		if (store_list(ag->store, a, "NetworkAttachmentDefinition", ns, &all, &n, e) == 0)
			for (size_t i = 0; i < n; i++)
				there = arena_printf(a, "%s%s%s", there ? there : "", there ? ", " : "", all[i].name);
		return err_set(e, r, "there is no network %s/%s; namespace %s has %s", ns, name, ns, there ? there : "none");
	}
	if (r == 0)
		r = doc_parse_json(a, name, o.json, strlen(o.json), DOC_SIZE_MAX, &v, e);
	if (r == 0 && api_decode_value(a, v, &kind, &nad, &c) < 0)
		r = err_set(e, -EINVAL, "network %s/%s: %s: %s", ns, name, c.v[0].path, c.v[0].text);
	if (r == 0)
		*ret = nad;
	return r;
}

void attached_pods(struct agent *ag, struct arena *a, struct plan_pod **ret, size_t *ret_n)
{
	struct attach_holder *all;
	size_t n;

	*ret = NULL;
	*ret_n = 0;
	attach_holders(ag->engine, a, &all, &n);
	for (size_t i = 0; i < n; i++)
		*(struct plan_pod *)arena_push(a, ret, ret_n, sizeof(**ret)) = (struct plan_pod){ all[i].namespace, all[i].name, all[i].vf };
}

int agent_pods(struct agent *ag, struct arena *a, struct plan_pod **ret, size_t *ret_n, struct err *e)
{
	attached_pods(ag, a, ret, ret_n);
	return ag->cluster ? cluster_allocated(ag->cluster, a, ret, ret_n, e) : 0;
}

/* The holder of a device in the list of attachments, or NULL. */
static const char *holder(struct arena *a, yyjson_mut_val *attachments, const struct pool_device *d)
{
	yyjson_mut_arr_iter i, j;
	yyjson_mut_val *at, *rail;

	yyjson_mut_arr_iter_init(attachments, &i);
	while ((at = yyjson_mut_arr_iter_next(&i))) {
		yyjson_mut_val *pod = yyjson_mut_obj_get(at, "pod");

		yyjson_mut_arr_iter_init(yyjson_mut_obj_get(at, "rails"), &j);
		while ((rail = yyjson_mut_arr_iter_next(&j))) {
			const char *vf = yyjson_mut_get_str(yyjson_mut_obj_get(rail, *d->pci ? "vf" : "hostIfname"));

			if (vf && !strcmp(vf, *d->pci ? d->pci : d->netdev))
				return arena_printf(a, "%s/%s", yyjson_mut_get_str(yyjson_mut_obj_get(pod, "namespace")),
						    yyjson_mut_get_str(yyjson_mut_obj_get(pod, "name")));
		}
	}
	return NULL;
}

yyjson_mut_val *pools_json(struct agent *ag, yyjson_mut_doc *doc, yyjson_mut_val *attachments)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_val *list = yyjson_mut_arr(doc), *pool = NULL, *devices = NULL;
	size_t total = 0, free_ones = 0;

	pthread_mutex_lock(&ag->pools_lock);
	for (size_t i = 0; ag->pools && i < ag->pools->n; i++) {
		const struct pool_device *d = &ag->pools->devices[i];
		yyjson_mut_val *v = yyjson_mut_obj(doc);
		const char *who = holder(a, attachments, d);

		if (i == 0 || strcmp(d->resource, ag->pools->devices[i - 1].resource)) {
			pool = yyjson_mut_arr_add_obj(doc, list);
			yyjson_mut_obj_add_val(doc, pool, "resource",
					       yyjson_mut_strcpy(doc, arena_printf(a, "%s/%s", ag->options->prefix, d->resource)));
			devices = yyjson_mut_arr(doc);
			total = free_ones = 0;
		}
		total++;
		free_ones += !who;
		yyjson_mut_obj_add_strcpy(doc, v, "device", *d->pci ? d->pci : d->netdev);
		if (d->pf_netdev)
			yyjson_mut_obj_add_strcpy(doc, v, "pf", d->pf_netdev);
		if (who)
			yyjson_mut_obj_add_strcpy(doc, v, "pod", who);
		yyjson_mut_arr_append(devices, v);
		if (i + 1 == ag->pools->n || strcmp(d->resource, ag->pools->devices[i + 1].resource)) {
			yyjson_mut_obj_add_uint(doc, pool, "total", total);
			yyjson_mut_obj_add_uint(doc, pool, "free", free_ones);
			yyjson_mut_obj_add_val(doc, pool, "devices", devices);
		}
	}
	pthread_mutex_unlock(&ag->pools_lock);
	return list;
}
