/* SPDX-License-Identifier: Apache-2.0 */
/* OverlappingRangeIPReservations: what the informer knows of them, and making and taking away those of our entries. */
#include <string.h>

#include "ipam/reconcile.h"
#include "ipam/writer.h"

struct kube_ref ipam_reservation_ref(const struct pools *ps, const char *name)
{
	return (struct kube_ref){ IPAM_GROUP, IPAM_VERSION, IPAM_RESERVATIONS, ps->namespace, name, NULL };
}

const char *ipam_reservation_keep(void *arg, struct arena *a, yyjson_val *obj)
{
	struct ipam_reservation r;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	if (ipam_reservation_decode(a, obj, &r, NULL) < 0)
		return NULL;
	yyjson_mut_obj_add_str(doc, o, "podref", r.podref);
	yyjson_mut_obj_add_str(doc, o, "ifname", r.ifname);
	return doc_mut_to_json(a, o, false);
}

/* As the informer has it. */
static bool find_reservation(struct pools *ps, struct arena *a, const char *name, struct ipam_reservation *ret)
{
	struct informer_object is;
	yyjson_val *v;

	if (informer_get(ps->reservations, a, ps->namespace, name, &is) < 0 ||
	    doc_parse_json(a, "reservation", is.json, strlen(is.json), DOC_SIZE_MAX, &v, NULL) < 0)
		return false;
	*ret = (struct ipam_reservation){ name, is.uid, doc_str(v, "podref"), doc_str(v, "ifname") };
	return ret->podref && ret->ifname;
}

bool ipam_reservation_is_foreign(void *arg, const char *network_name, const struct store_ip *ip, const char *podref, const char *ifname)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ipam_reservation r;

	return find_reservation(((struct pool *)arg)->pools, a, ipam_reservation_name(a, network_name, ip), &r) &&
	       !ipam_reservation_is_of(&r, podref, ifname);
}

/* Ask the server for it; -ENOENT. */
static int get_reservation(struct pools *ps, struct arena *a, const char *name, struct ipam_reservation *ret, struct err *e)
{
	struct kube_ref ref = ipam_reservation_ref(ps, name);
	yyjson_val *obj;
	int r = kube_get(ps->k, a, &ref, &obj, e);

	return r < 0 ? r : ipam_reservation_decode(a, obj, ret, e);
}

int ipam_reservation_make(struct pools *ps, const char *podref, const struct ipam_want *w, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *name = ipam_reservation_name(a, w->conf->network_name, &w->ip);
	struct kube_ref ref = ipam_reservation_ref(ps, NULL);
	struct ipam_reservation is;
	int r = 0;

	if (find_reservation(ps, a, name, &is))
		return ipam_reservation_is_of(&is, podref, w->ifname) ? 0 : -EBUSY;
	for (int i = 0; i < 3; i++) {
		r = kube_create(ps->k, a, &ref, ipam_reservation_json(a, name, podref, w->ifname), NULL, e);
		if (r == 0) {
			pthread_mutex_lock(&ps->lock);
			ps->stats.reservations++;
			pthread_mutex_unlock(&ps->lock);
		}
		if (r != -EEXIST)
			break;
		r = get_reservation(ps, a, name, &is, e);
		if (r == 0)
			return ipam_reservation_is_of(&is, podref, w->ifname) ? 0 : -EBUSY;
		if (r != -ENOENT)
			break;
	}
	return r < 0 ? err_wrap(e, r, "reserving %s for pod %s", name, podref) : 0;
}

/* Under which network_names an address of the pool may be reserved: a node's slice has the node's name behind the network's. */
static size_t networks_of(const struct pool *p, struct arena *a, const char *ret[2])
{
	const char *node = p->pools->node;
	size_t len = strlen(p->domain), tail = strlen(node);

	ret[0] = p->domain;
	if (!strcmp(p->domain, node))
		ret[1] = "";
	else if (len > tail + 1 && p->domain[len - tail - 1] == '-' && !strcmp(p->domain + len - tail, node))
		ret[1] = arena_strndup(a, p->domain, len - tail - 1);
	else
		return 1;
	return 2;
}

static bool made_reservations(struct pool *p)
{
	bool made;

	pthread_mutex_lock(&p->pools->lock);
	made = p->reserves;
	pthread_mutex_unlock(&p->pools->lock);
	return made;
}

bool ipam_reservation_may_be(void *arg, const struct ipam_entry *entry)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pool *p = arg;
	struct ipam_reservation is;
	const char *networks[2];
	size_t n = networks_of(p, a, networks);

	if (made_reservations(p))
		return true;
	for (size_t i = 0; i < n; i++)
		if (find_reservation(p->pools, a, ipam_reservation_name(a, networks[i], &entry->ip), &is))
			return true;
	return false;
}

int ipam_reservation_take(struct pool *p, const struct ipam_entry *entry, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pools *ps = p->pools;
	bool ask = made_reservations(p);
	const char *networks[2];
	size_t n = networks_of(p, a, networks);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		const char *name = ipam_reservation_name(a, networks[i], &entry->ip);
		struct kube_ref ref = ipam_reservation_ref(ps, name);
		struct ipam_reservation is;

		if (!find_reservation(ps, a, name, &is))
			r = ask ? get_reservation(ps, a, name, &is, e) : -ENOENT;
		if (r == 0 && ipam_reservation_is_of(&is, entry->podref, entry->ifname))
			r = kube_delete(ps->k, &ref, is.uid, NULL, -1, e);
		if (r == -ENOENT || r == -ESTALE) /* gone, or another one by now */
			r = 0;
	}
	return r;
}
