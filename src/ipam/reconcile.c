/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipam/reconcile.h"
#include "store/ip.h"

#define GRACE_MS 300000
#define LIVING_GRACE_MS 300000 /* of a pod that lives: kubelet gives an ADD four minutes, and network-status is written at its end */
#define ADD_GRACE_MS 10000 /* a reservation that is missing: an ADD or DEL between its two writes lasts less */

struct run {
	struct arena *a;
	const struct ipam_reconcile_in *in;
	struct ipam_reconcile_out *out;
	const struct ipam_pod **pods;	      /* by podref */
	const struct ipam_suspect **suspects; /* by key */
	bool away;			      /* some node is */
};

/* A name that a reservation may have, and whose it is then. */
struct reserved_name {
	const char *name, *podref;
	const struct ipam_entry *entry;
};

/* One that lives before one of the same name that is gone. */
static int by_podref(const void *x, const void *y)
{
	const struct ipam_pod *a = *(const struct ipam_pod *const *)x, *b = *(const struct ipam_pod *const *)y;
	int r = strcmp(a->podref, b->podref);

	return r ? r : a->gone - b->gone;
}

static int by_key(const void *x, const void *y)
{
	return strcmp((*(const struct ipam_suspect *const *)x)->key, (*(const struct ipam_suspect *const *)y)->key);
}

static int by_name(const void *x, const void *y)
{
	const struct reserved_name *a = x, *b = y;
	int r = strcmp(a->name, b->name);

	return r ? r : strcmp(a->podref, b->podref);
}

static const struct ipam_pod *pod_of(const struct run *run, const char *podref)
{
	size_t lo = 0, hi = run->in->n_pods;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(run->pods[mid]->podref, podref) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < run->in->n_pods && !strcmp(run->pods[lo]->podref, podref) ? run->pods[lo] : NULL;
}

static enum ipam_node_state node_state(const struct run *run, const char *name)
{
	for (size_t i = 0; i < run->in->n_nodes; i++)
		if (!strcmp(run->in->nodes[i].name, name))
			return run->in->nodes[i].state;
	return IPAM_NODE_GONE;
}

static bool lists(const struct ipam_pod *pod, const char *ip)
{
	struct store_ip want, is;

	if (ipam_ip_parse(ip, &want) < 0)
		return false;
	for (size_t i = 0; i < pod->n_ips; i++)
		if (ipam_ip_parse(pod->ips[i], &is) == 0 && store_ip_cmp(&want, &is) == 0)
			return true;
	return false;
}

/* Why nobody seems to need the entry, or NULL; *held: nobody does, but a node that is away may still use it. */
static const char *orphan_reason(const struct run *run, const struct ipam_entry *entry, bool *held)
{
	const struct ipam_pod *pod = pod_of(run, entry->podref);
	bool scheduled = pod && pod->node && *pod->node;
	const char *why;

	*held = false;
	if (!pod)
		why = "is gone";
	else if (pod->gone)
		why = "was deleted";
	else if (pod->ended)
		why = "has ended";
	else if (!scheduled || !pod->has_status || lists(pod, ipam_ip_text(run->a, &entry->ip)))
		return NULL;
	else
		why = "has other addresses";
	*held = scheduled ? node_state(run, pod->node) == IPAM_NODE_AWAY : !pod && run->away;
	return *held ? NULL : arena_printf(run->a, "pod %s %s", entry->podref, why);
}

/* Since when, in ms; the suspicion is kept for the next call. */
static uint64_t suspect(struct run *run, const char *key, uint64_t grace)
{
	const struct ipam_suspect want = { .key = key }, *p = &want;
	const struct ipam_suspect **found = run->in->n_suspects ?
		bsearch(&p, run->suspects, run->in->n_suspects, sizeof(*run->suspects), by_key) : NULL;
	uint64_t since = found && (*found)->since_ms <= run->in->now_ms ? (*found)->since_ms : run->in->now_ms;
	uint64_t age = run->in->now_ms - since;
	struct ipam_suspect *s = arena_push(run->a, &run->out->suspects, &run->out->n_suspects, sizeof(*s));

	*s = (struct ipam_suspect){ key, since };
	if (age < grace && (!run->out->next_ms || grace - age < run->out->next_ms))
		run->out->next_ms = grace - age;
	return age;
}

static void fix(struct run *run, enum ipam_fix_kind kind, const char *object, const char *uid, const struct ipam_entry *entry,
		const char *reason)
{
	struct ipam_fix *f = arena_push(run->a, &run->out->fixes, &run->out->n_fixes, sizeof(*f));

	*f = (struct ipam_fix){ kind, object, uid, entry, reason };
}

static bool lives(const struct run *run, const char *podref)
{
	const struct ipam_pod *pod = pod_of(run, podref);

	return pod && !pod->gone && !pod->ended;
}

static void entries(struct run *run, const struct ipam_pool *pool, uint64_t grace)
{
	for (size_t i = 0; i < pool->n; i++) {
		const struct ipam_entry *entry = &pool->entries[i];
		uint64_t age, wait = grace < LIVING_GRACE_MS && lives(run, entry->podref) ? LIVING_GRACE_MS : grace;
		bool held;
		const char *why = orphan_reason(run, entry, &held);

		run->out->n_held += held;
		if (!why)
			continue;
		age = suspect(run, arena_printf(run->a, "%s/%s/%s", pool->name, entry->offset, entry->id), wait);
		if (age >= wait)
			fix(run, IPAM_DROP_ENTRY, pool->name, NULL, entry,
			    arena_printf(run->a, "%s since %llu s", why, (unsigned long long)(age / 1000)));
	}
}

/* The network_name of a pool: what stands before its range, less the node when it is a slice. */
static const char *network_of(const struct run *run, const struct ipam_pool *pool)
{
	size_t len = strlen(pool->domain);

	for (size_t i = 0; i < run->in->n_nodes; i++) {
		const char *node = run->in->nodes[i].name;
		size_t n = strlen(node);

		if (!strcmp(pool->domain, node))
			return "";
		if (len > n + 1 && pool->domain[len - n - 1] == '-' && !strcmp(pool->domain + len - n, node))
			return arena_strndup(run->a, pool->domain, len - n - 1);
	}
	return pool->domain;
}

static struct reserved_name *all_names(const struct run *run, const char *const *networks, size_t *ret_n)
{
	struct reserved_name *names;
	size_t n = 0, k = 0;

	for (size_t i = 0; i < run->in->n_pools; i++)
		n += run->in->pools[i].n * (strcmp(networks[i], run->in->pools[i].domain) ? 2 : 1);
	names = arena_alloc(run->a, n * sizeof(*names));
	for (size_t i = 0; i < run->in->n_pools; i++) {
		const struct ipam_pool *pool = &run->in->pools[i];

		for (size_t j = 0; j < pool->n; j++) {
			const struct ipam_entry *entry = &pool->entries[j];

			names[k++] = (struct reserved_name){ ipam_reservation_name(run->a, networks[i], &entry->ip), entry->podref, entry };
			/* a network_name that ends like a node's name */
			if (strcmp(networks[i], pool->domain))
				names[k++] = (struct reserved_name){ ipam_reservation_name(run->a, pool->domain, &entry->ip),
								     entry->podref, entry };
		}
	}
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret_n = n;
	return names;
}

static void orphaned_reservations(struct run *run, const struct reserved_name *names, size_t n, uint64_t grace)
{
	for (size_t i = 0; i < run->in->n_reservations; i++) {
		const struct ipam_reservation *r = &run->in->reservations[i];
		struct reserved_name key = { r->name, r->podref, NULL };
		uint64_t age;

		if (n && bsearch(&key, names, n, sizeof(*names), by_name))
			continue;
		age = suspect(run, arena_printf(run->a, "reservation/%s", r->uid), grace);
		if (age >= grace)
			fix(run, IPAM_DROP_RESERVATION, r->name, r->uid, NULL,
			    arena_printf(run->a, "no pool has an entry of pod %s for it since %llu s", r->podref,
					 (unsigned long long)(age / 1000)));
	}
}

static bool has_neighbour(const struct run *run, const char *const *networks, size_t i)
{
	for (size_t k = 0; k < run->in->n_pools; k++)
		if (k != i && !strcmp(networks[i], networks[k]) && ipam_nets_overlap(&run->in->pools[i].net, &run->in->pools[k].net))
			return true;
	return false;
}

static int compare_strings(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void missing_reservations(struct run *run, const char *const *networks, uint64_t grace)
{
	const char **there = arena_alloc(run->a, run->in->n_reservations * sizeof(*there));

	for (size_t i = 0; i < run->in->n_reservations; i++)
		there[i] = run->in->reservations[i].name;
	if (run->in->n_reservations)
		qsort(there, run->in->n_reservations, sizeof(*there), compare_strings);
	for (size_t i = 0; i < run->in->n_pools; i++) {
		const struct ipam_pool *pool = &run->in->pools[i];

		if (!run->in->reserve_all && !pool->marked && !has_neighbour(run, networks, i))
			continue;
		for (size_t j = 0; j < pool->n; j++) {
			const struct ipam_entry *entry = &pool->entries[j];
			const char *name = ipam_reservation_name(run->a, networks[i], &entry->ip);
			bool held;

			if ((run->in->n_reservations &&
			     bsearch(&name, there, run->in->n_reservations, sizeof(*there), compare_strings)) ||
			    orphan_reason(run, entry, &held))
				continue;
			if (suspect(run, arena_printf(run->a, "missing/%s/%s", name, entry->id), grace) >= grace)
				fix(run, IPAM_ADD_RESERVATION, name, NULL, entry,
				    arena_printf(run->a, "pool %s gives %s to pod %s, other pools must know", pool->name,
						 ipam_ip_text(run->a, &entry->ip), entry->podref));
		}
	}
}

void ipam_reconcile(struct arena *a, const struct ipam_reconcile_in *in, struct ipam_reconcile_out *ret)
{
	struct run run = { .a = a, .in = in, .out = ret };
	uint64_t grace = in->grace_ms ? in->grace_ms : GRACE_MS;
	const char **networks = arena_alloc(a, in->n_pools * sizeof(*networks));
	struct reserved_name *names;
	size_t n;

	*ret = (struct ipam_reconcile_out){ 0 };
	run.pods = arena_alloc(a, in->n_pods * sizeof(*run.pods));
	for (size_t i = 0; i < in->n_pods; i++)
		run.pods[i] = &in->pods[i];
	if (in->n_pods)
		qsort(run.pods, in->n_pods, sizeof(*run.pods), by_podref);
	run.suspects = arena_alloc(a, in->n_suspects * sizeof(*run.suspects));
	for (size_t i = 0; i < in->n_suspects; i++)
		run.suspects[i] = &in->suspects[i];
	if (in->n_suspects)
		qsort(run.suspects, in->n_suspects, sizeof(*run.suspects), by_key);
	for (size_t i = 0; i < in->n_nodes; i++)
		run.away |= in->nodes[i].state == IPAM_NODE_AWAY;
	for (size_t i = 0; i < in->n_pools; i++) {
		networks[i] = network_of(&run, &in->pools[i]);
		entries(&run, &in->pools[i], grace);
	}
	names = all_names(&run, networks, &n);
	if (!in->partial)
		orphaned_reservations(&run, names, n, grace);
	missing_reservations(&run, networks, grace < ADD_GRACE_MS ? grace : ADD_GRACE_MS);
}

const char *ipam_drop_patch(struct arena *a, const struct ipam_entry *const *entries_, size_t n)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *ops = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *op = yyjson_mut_arr_add_obj(doc, ops);

		yyjson_mut_obj_add_str(doc, op, "op", "test");
		yyjson_mut_obj_add_strcpy(doc, op, "path", arena_printf(a, "/spec/allocations/%s/id", entries_[i]->offset));
		yyjson_mut_obj_add_strcpy(doc, op, "value", entries_[i]->id);
		op = yyjson_mut_arr_add_obj(doc, ops);
		yyjson_mut_obj_add_str(doc, op, "op", "remove");
		yyjson_mut_obj_add_strcpy(doc, op, "path", arena_printf(a, "/spec/allocations/%s", entries_[i]->offset));
	}
	return doc_mut_to_json(a, ops, false);
}

const char *ipam_reservation_json(struct arena *a, const char *name, const char *podref, const char *ifname)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *v;

	yyjson_mut_obj_add_str(doc, o, "apiVersion", IPAM_GROUP "/" IPAM_VERSION);
	yyjson_mut_obj_add_str(doc, o, "kind", "OverlappingRangeIPReservation");
	v = yyjson_mut_obj_add_obj(doc, o, "metadata");
	yyjson_mut_obj_add_strcpy(doc, v, "name", name);
	v = yyjson_mut_obj_add_obj(doc, o, "spec");
	yyjson_mut_obj_add_strcpy(doc, v, "podref", podref);
	if (ifname && *ifname)
		yyjson_mut_obj_add_strcpy(doc, v, "ifname", ifname);
	return doc_mut_to_json(a, o, false);
}
