/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/annotation.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/addresses.h"
#include "controller/state.h"
#include "ipam/reconcile.h"

#define GRACE_MS 50000		/* with the reading of pools: within a minute of the pod's end */
#define GONE_MAX 8192		/* pods that went, remembered with their node */
#define GONE_FOR_MS 3600000
#define SAFETY_S 300
#define AGAIN_S 10
/* After a pod's end an ADD or DEL of it may still be under way, and leave something: kubelet gives each four minutes. */
#define AFTERMATH_MS 300000
#define AFTERMATH_S 50

/* A pod that went. The strings are its own. */
struct gone {
	char *podref, *node;
	uint64_t since_ms;
};

/* The suspects of one namespace, kept from run to run; they and their keys live in the arena. */
struct suspects {
	const char *ns;
	struct ipam_suspect *v;
	size_t n;
};

struct addresses {
	pthread_mutex_t lock; /* for gone */
	struct gone gone[GONE_MAX];
	size_t n_gone, next_gone; /* a ring */
	struct arena *arena; /* of the suspects */
	struct suspects *suspects;
	size_t n_suspects;
	const char **full; /* "NS/NAME" of pools that are, in the arena: told when they become it */
	size_t n_full;
	_Atomic uint64_t dropped, held, last_end_ms;
};

struct addresses *addresses_new(void)
{
	struct addresses *ad = calloc(1, sizeof(*ad));

	if (!ad)
		abort();
	pthread_mutex_init(&ad->lock, NULL);
	return ad;
}

static void forget(struct gone *g)
{
	free(g->podref);
	free(g->node);
	*g = (struct gone){ 0 };
}

struct addresses *addresses_free(struct addresses *ad)
{
	if (!ad)
		return NULL;
	for (size_t i = 0; i < ad->n_gone; i++)
		forget(&ad->gone[i]);
	arena_free(ad->arena);
	pthread_mutex_destroy(&ad->lock);
	free(ad);
	return NULL;
}

void addresses_counts(struct addresses *ad, uint64_t *dropped, uint64_t *held)
{
	*dropped = ad->dropped;
	*held = ad->held;
}

static uint64_t now_ms(void)
{
	return clock_ns() / 1000000;
}

/* -- pods -- */

static void add_ips(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *list, const char *status)
{
	yyjson_val *v, *entry, *ip;
	size_t i, k, max, max_ips;

	if (doc_parse_json(a, "network-status", status, strlen(status), ANNOTATION_SIZE_MAX, &v, NULL) < 0)
		return;
	yyjson_arr_foreach(v, i, max, entry)
		yyjson_arr_foreach(yyjson_obj_get(entry, "ips"), k, max_ips, ip)
			if (yyjson_is_str(ip))
				yyjson_mut_arr_add_strcpy(doc, list, yyjson_get_str(ip));
}

const char *addresses_keep_pod(void *arg, struct arena *a, yyjson_val *obj)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *spec = yyjson_obj_get(obj, "spec");
	const char *phase = doc_str(yyjson_obj_get(obj, "status"), "phase"), *node = doc_str(spec, "nodeName");
	const char *status = doc_str(yyjson_obj_get(meta, "annotations"), ANNOTATION_NETWORK_STATUS);
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	/* every pod is kept: one that is not here counts as gone */
	if (node)
		yyjson_mut_obj_add_str(doc, v, "node", node);
	if (phase && (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed")))
		yyjson_mut_obj_add_true(doc, v, "ended");
	if (status)
		add_ips(a, doc, yyjson_mut_obj_add_arr(doc, v, "ips"), status);
	return doc_mut_to_json(a, v, false);
}

static yyjson_val *parse(struct arena *a, const struct informer_object *o)
{
	yyjson_val *v = NULL;

	return o && doc_parse_json(a, o->name, o->json, strlen(o->json), DOC_SIZE_MAX, &v, NULL) == 0 ? v : NULL;
}

static void remember(struct addresses *ad, const struct informer_object *pod, const char *node)
{
	struct gone *g;

	pthread_mutex_lock(&ad->lock);
	g = &ad->gone[ad->next_gone];
	ad->next_gone = (ad->next_gone + 1) % GONE_MAX;
	if (ad->n_gone < GONE_MAX)
		ad->n_gone++;
	forget(g);
	if (asprintf(&g->podref, "%s/%s", pod->namespace, pod->name) < 0 || !(g->node = strdup(node ? node : "")))
		abort();
	g->since_ms = now_ms();
	pthread_mutex_unlock(&ad->lock);
}

bool addresses_pod_event(struct addresses *ad, const struct informer_object *was, const struct informer_object *is)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *old = parse(a, was), *new = parse(a, is);
	bool replaced = was && is && strcmp(was->uid, is->uid);

	if (was && (!is || replaced))
		remember(ad, was, doc_str(old, "node"));
	else if (!doc_bool(new, "ended", false) || doc_bool(old, "ended", false))
		return false;
	ad->last_end_ms = now_ms();
	return true;
}

/* -- the input of a run -- */

static void add_pods(struct addresses *ad, struct arena *a, struct informer *pods, struct ipam_reconcile_in *in)
{
	struct ipam_pod *list = NULL;
	struct informer_object *all;
	size_t n = informer_all(pods, a, &all), count = 0, k, max;
	uint64_t now = now_ms();

	for (size_t i = 0; i < n; i++) {
		struct ipam_pod *p = arena_push(a, &list, &count, sizeof(*p));
		yyjson_val *v = parse(a, &all[i]), *ips = yyjson_obj_get(v, "ips"), *ip;

		p->podref = arena_printf(a, "%s/%s", all[i].namespace, all[i].name);
		p->node = doc_str(v, "node");
		p->ended = doc_bool(v, "ended", false);
		p->has_status = ips;
		yyjson_arr_foreach(ips, k, max, ip)
			*(const char **)arena_push(a, &p->ips, &p->n_ips, sizeof(char *)) = yyjson_get_str(ip);
	}
	pthread_mutex_lock(&ad->lock);
	for (size_t i = 0; i < ad->n_gone; i++) {
		struct gone *g = &ad->gone[i];
		struct ipam_pod *p;

		if (g->podref && now - g->since_ms > GONE_FOR_MS)
			forget(g);
		if (!g->podref)
			continue;
		p = arena_push(a, &list, &count, sizeof(*p));
		p->podref = arena_strdup(a, g->podref);
		p->node = arena_strdup(a, g->node);
		p->gone = true;
	}
	pthread_mutex_unlock(&ad->lock);
	in->pods = list;
	in->n_pods = count;
}

static void add_nodes(struct arena *a, struct informer *nodes, struct ipam_reconcile_in *in)
{
	struct informer_object *all;
	size_t n = informer_all(nodes, a, &all);
	struct ipam_node *list = arena_alloc(a, n * sizeof(*list));

	for (size_t i = 0; i < n; i++)
		list[i] = (struct ipam_node){ all[i].name, doc_bool(parse(a, &all[i]), "ready", false) ? IPAM_NODE_READY : IPAM_NODE_AWAY };
	in->nodes = list;
	in->n_nodes = n;
}

/* Pools and reservations of one namespace. */
struct home {
	const char *ns;
	struct ipam_pool *pools;
	size_t n_pools;
	bool partial; /* one of them cannot be read */
	struct ipam_reservation *reservations;
	size_t n_reservations;
};

struct homes {
	struct arena *a;
	struct home *v;
	size_t n;
};

static struct home *home_of(struct homes *h, yyjson_val *obj)
{
	const char *ns = doc_str(yyjson_obj_get(obj, "metadata"), "namespace");
	struct home *x;

	for (size_t i = 0; i < h->n; i++)
		if (!strcmp(h->v[i].ns, ns ? ns : ""))
			return &h->v[i];
	x = arena_push(h->a, &h->v, &h->n, sizeof(*x));
	x->ns = arena_strdup(h->a, ns ? ns : "");
	return x;
}

/* The listed object dies after the call: what is decoded shares its strings, so a copy is decoded. */
static yyjson_val *keep(struct arena *a, yyjson_val *obj)
{
	const char *text = doc_to_json(a, obj, false);
	yyjson_val *v = NULL;

	doc_parse_json(a, "pool", text, strlen(text), DOC_SIZE_MAX, &v, NULL);
	return v;
}

static int on_pool(void *arg, yyjson_val *obj)
{
	struct homes *h = arg;
	struct home *home = home_of(h, obj);
	struct ipam_pool pool;
	struct err e;

	if (ipam_pool_decode(h->a, keep(h->a, obj), &pool, &e) < 0) {
		log_debug("an IPPool is left alone: %s", e.msg);
		home->partial = true;
		return 0;
	}
	*(struct ipam_pool *)arena_push(h->a, &home->pools, &home->n_pools, sizeof(pool)) = pool;
	return 0;
}

static int on_reservation(void *arg, yyjson_val *obj)
{
	struct homes *h = arg;
	struct home *home = home_of(h, obj);
	struct ipam_reservation r;

	if (ipam_reservation_decode(h->a, keep(h->a, obj), &r, NULL) == 0)
		*(struct ipam_reservation *)arena_push(h->a, &home->reservations, &home->n_reservations, sizeof(r)) = r;
	return 0;
}

/* Pools before reservations: a reservation's entry is written first, so none without its entry is seen that has one. */
static int read_homes(struct kube *k, struct homes *h, struct err *e)
{
	struct kube_ref ref = { .group = IPAM_GROUP, .version = IPAM_VERSION, .plural = IPAM_RESERVATIONS };
	int r = kube_list(k, h->a, &ref, NULL, on_reservation, h, NULL, e);

	if (r < 0)
		return r;
	ref.plural = IPAM_POOLS;
	return kube_list(k, h->a, &ref, NULL, on_pool, h, NULL, e);
}

/* Whereabouts' own lease tells that Go writers are, or were, about. */
static bool has_go_writers(struct kube *k, struct arena *a, const char *ns)
{
	struct kube_ref lease = { .group = "coordination.k8s.io", .version = "v1", .plural = "leases", .namespace = ns, .name = "whereabouts" };

	return kube_get(k, a, &lease, NULL, NULL) == 0;
}

/* -- the fixes -- */

static void note(struct addresses *ad, int r, const char *what, const char *ns, const char *name, const char *why, const struct err *e)
{
	if (r < 0 && r != -ESTALE && r != -ENOENT) {
		log_warn("%s %s/%s: %s", what, ns, name, e->msg);
		return;
	}
	if (r == 0)
		log_info("%s %s/%s: %s", what, ns, name, why);
}

/* All entries of one pool in one patch: it holds only while each entry still has its container. */
static int drop_entries(struct addresses *ad, struct controller *c, struct arena *a, const char *ns, const struct ipam_fix *fixes, size_t n,
			size_t first)
{
	struct kube_ref ref = { .group = IPAM_GROUP, .version = IPAM_VERSION, .plural = IPAM_POOLS, .namespace = ns, .name = fixes[first].object };
	const struct ipam_entry **list = NULL;
	struct err e = { 0 };
	size_t count = 0;
	int r;

	for (size_t i = first; i < n; i++)
		if (fixes[i].kind == IPAM_DROP_ENTRY && !strcmp(fixes[i].object, ref.name))
			*(const struct ipam_entry **)arena_push(a, &list, &count, sizeof(*list)) = fixes[i].entry;
	controller_before_write(c);
	r = kube_patch(c->kube, a, &ref, KUBE_PATCH_JSON, ipam_drop_patch(a, list, count), NULL, &e);
	if (r == 0)
		ad->dropped += count;
	note(ad, r, "address given back to", ns, ref.name, count == 1 ? fixes[first].reason :
	     arena_printf(a, "%s, and %zu more", fixes[first].reason, count - 1), &e);
	return r;
}

static bool first_of_its_pool(const struct ipam_fix *fixes, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (fixes[k].kind == IPAM_DROP_ENTRY && !strcmp(fixes[k].object, fixes[i].object))
			return false;
	return true;
}

static int one_fix(struct addresses *ad, struct controller *c, struct arena *a, const char *ns, const struct ipam_fix *fixes, size_t n, size_t i)
{
	const struct ipam_fix *f = &fixes[i];
	struct kube_ref ref = { .group = IPAM_GROUP, .version = IPAM_VERSION, .plural = IPAM_RESERVATIONS, .namespace = ns, .name = f->object };
	struct err e = { 0 };
	int r;

	if (f->kind == IPAM_DROP_ENTRY)
		return first_of_its_pool(fixes, i) ? drop_entries(ad, c, a, ns, fixes, n, i) : 0;
	controller_before_write(c);
	if (f->kind == IPAM_DROP_RESERVATION) {
		r = kube_delete(c->kube, &ref, f->uid, NULL, -1, &e);
		ad->dropped += r == 0;
		note(ad, r, "reservation dropped:", ns, f->object, f->reason, &e);
		return r;
	}
	ref.name = NULL;
	r = kube_create(c->kube, a, &ref, ipam_reservation_json(a, f->object, f->entry->podref, f->entry->ifname), NULL, &e);
	r = r == -EEXIST ? 0 : r;
	note(ad, r, "reservation made:", ns, f->object, f->reason, &e);
	return r;
}

/* -- runs -- */

static struct suspects *suspects_of(struct addresses *ad, const char *ns)
{
	for (size_t i = 0; i < ad->n_suspects; i++)
		if (!strcmp(ad->suspects[i].ns, ns))
			return &ad->suspects[i];
	return NULL;
}

static void save(struct arena *a, struct suspects **list, size_t *n, const char *ns, const struct ipam_reconcile_out *out)
{
	struct suspects *s = arena_push(a, list, n, sizeof(*s));

	s->ns = arena_strdup(a, ns);
	s->n = out->n_suspects;
	s->v = arena_memdup(a, out->suspects, out->n_suspects * sizeof(*s->v));
	for (size_t i = 0; i < s->n; i++)
		s->v[i].key = arena_strdup(a, s->v[i].key);
}

static void look_whether_full(struct addresses *ad, struct controller *c, const char *ns, const struct ipam_pool *p, struct arena *kept,
			      const char ***full, size_t *n_full)
{
	const struct kube_event_about about = { .api_version = IPAM_GROUP "/" IPAM_VERSION, .kind = "IPPool", .namespace = ns, .name = p->name,
						.uid = p->uid };
	const char *key;

	if (!ipam_pool_is_full(p))
		return;
	key = arena_printf(kept, "%s/%s", ns, p->name);
	*(const char **)arena_push(kept, full, n_full, sizeof(*full)) = key;
	for (size_t i = 0; i < ad->n_full; i++)
		if (!strcmp(ad->full[i], key))
			return;
	log_warn("IPPool %s: all %zu addresses of %s are taken", key, p->n, p->range);
	kube_event(c->events, &about, true, "PoolExhausted", "all %zu addresses of %s are taken: the next pod of it waits until one ends, or until its "
							      "network has a larger range", p->n, p->range);
}

static unsigned sooner(unsigned next, uint64_t ms)
{
	unsigned s = (unsigned)((ms + 999) / 1000);

	return !next || s < next ? s : next;
}

static uint64_t grace_ms(void)
{
	const char *text = secure_getenv("KVRAIL_ADDRESS_GRACE_MS"); /* tests have no minute */
	unsigned long long ms = text ? strtoull(text, NULL, 10) : 0;

	return ms ? ms : GRACE_MS;
}

unsigned addresses_run(struct addresses *ad, struct controller *c)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct arena *kept = arena_new();
	struct ipam_reconcile_in in = { .now_ms = now_ms(), .grace_ms = grace_ms() };
	struct homes homes = { .a = a };
	struct suspects *suspects = NULL, *old;
	const char **full = NULL;
	size_t n_suspects = 0, n_full = 0;
	uint64_t held = 0;
	unsigned next = ad->last_end_ms && now_ms() - ad->last_end_ms < AFTERMATH_MS ? AFTERMATH_S : SAFETY_S;
	struct err e = { 0 };
	int r;

	if (read_homes(c->kube, &homes, &e) < 0) {
		log_warn("reading the IP pools: %s", e.msg);
		arena_free(kept);
		return AGAIN_S;
	}
	/* after the pools: a pod that they name was created before it was given an address. On an old view nothing is decided. */
	if (informer_stale_s(c->informers[WORLD_PODS], NULL) || informer_stale_s(c->informers[WORLD_NODES], NULL)) {
		arena_free(kept);
		return AGAIN_S;
	}
	add_pods(ad, a, c->informers[WORLD_PODS], &in);
	add_nodes(a, c->informers[WORLD_NODES], &in);
	for (size_t i = 0; i < homes.n; i++) {
		const struct home *home = &homes.v[i];
		struct ipam_reconcile_out out;

		in.pools = home->pools;
		in.n_pools = home->n_pools;
		in.partial = home->partial;
		in.reservations = home->reservations;
		in.n_reservations = home->n_reservations;
		old = suspects_of(ad, home->ns);
		in.suspects = old ? old->v : NULL;
		in.n_suspects = old ? old->n : 0;
		in.reserve_all = home->n_pools && has_go_writers(c->kube, a, home->ns);
		ipam_reconcile(a, &in, &out);
		held += out.n_held;
		save(kept, &suspects, &n_suspects, home->ns, &out);
		if (out.next_ms)
			next = sooner(next, out.next_ms + 100);
		for (size_t k = 0; k < home->n_pools; k++)
			look_whether_full(ad, c, home->ns, &home->pools[k], kept, &full, &n_full);
		for (size_t k = 0; k < out.n_fixes && controller_may_write(c); k++) {
			/* what follows from it (a reservation whose entry went) is seen by another run */
			r = one_fix(ad, c, a, home->ns, out.fixes, out.n_fixes, k);
			next = sooner(next, r < 0 ? AGAIN_S * 1000 : 1000);
		}
	}
	arena_free(ad->arena);
	ad->arena = kept;
	ad->suspects = suspects;
	ad->n_suspects = n_suspects;
	ad->full = full;
	ad->n_full = n_full;
	ad->held = held;
	return next;
}
