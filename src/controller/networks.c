/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks into NADs. A NAD in another namespace than its network has no owner that the API server knows: a finalizer holds the
 * network until that NAD is gone. Whose a NAD is says its annotation owner-ref; NADs of others are left alone.
 */
#include <string.h>

#include "controller/passes.h"

#define GROUP "sriovnetwork.openshift.io"
#define FINALIZER "netattdef.finalizers." GROUP
#define LAST_NAMESPACE "operator." GROUP "/last-network-namespace"

struct work {
	struct arena *a;
	const struct world *w;
	struct memos *m;
	struct writes *out;
};

/* One network in a pass. */
struct target {
	const struct api_kind *kind;
	const struct api_network *network;
	const struct api_meta *meta;
	const char *owner; /* as its NAD says */
	const char *ns;	   /* of its NAD */
	struct verdict verdict; /* .reason NULL: nothing to say yet */
	unsigned group;
};

static bool streq(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

static bool has_finalizer(const struct api_meta *meta)
{
	for (size_t i = 0; i < meta->n_finalizers; i++)
		if (!strcmp(meta->finalizers[i], FINALIZER))
			return true;
	return false;
}

/* The metadata with or without our finalizer, only for this very version of the object. */
static void write_finalizer(struct work *k, const struct target *t, bool want, const char *why)
{
	yyjson_mut_doc *doc = doc_new(k->a);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *meta = yyjson_mut_obj_add_obj(doc, v, "metadata"), *list;
	struct write *x = write_add(k->out, WRITE_MERGE, t->kind, t->meta->namespace, t->meta->name);

	yyjson_mut_obj_add_str(doc, meta, "resourceVersion", t->meta->resource_version);
	list = yyjson_mut_obj_add_arr(doc, meta, "finalizers");
	for (size_t i = 0; i < t->meta->n_finalizers; i++)
		if (strcmp(t->meta->finalizers[i], FINALIZER))
			yyjson_mut_arr_add_str(doc, list, t->meta->finalizers[i]);
	if (want) {
		yyjson_mut_arr_add_str(doc, list, FINALIZER);
		yyjson_mut_obj_add_str(doc, yyjson_mut_obj_add_obj(doc, meta, "annotations"), LAST_NAMESPACE, t->ns);
	}
	x->json = doc_mut_to_json(k->a, v, false);
	x->group = t->group;
	x->why = why;
}

static void delete_nad(struct work *k, const struct world_nad *nad, const char *why)
{
	struct write *x = write_add(k->out, WRITE_DELETE, api_kind_named("NetworkAttachmentDefinition"), nad->ns, nad->name);

	x->uid = nad->uid;
	x->version = nad->version;
	x->why = why;
}

/* Operators up to 1.6 marked no NAD: where theirs is, they noted on the network. */
static bool is_own(const struct world_nad *nad, const struct target *t)
{
	if (nad->owner)
		return !strcmp(nad->owner, t->owner);
	return streq(nad->name, t->meta->name) && streq(nad->ns, pairs_get(t->meta->annotations, t->meta->n_annotations, LAST_NAMESPACE));
}

/* NADs of this network that are not where it wants its NAD (@ns NULL: it wants none). How many are in another namespace than the network. */
static size_t delete_others(struct work *k, const struct target *t, const char *ns)
{
	size_t foreign = 0;

	for (size_t i = 0; i < k->w->n_nads; i++) {
		const struct world_nad *nad = &k->w->nads[i];

		if (!is_own(nad, t))
			continue;
		foreign += !streq(nad->ns, t->meta->namespace);
		if (!ns || !streq(nad->ns, ns) || !streq(nad->name, t->meta->name))
			delete_nad(k, nad, ns ? "its network is in another namespace now" : "its network is deleted");
	}
	return foreign;
}

static const struct world_namespace *namespace_named(const struct world *w, const char *name)
{
	for (size_t i = 0; i < w->n_namespaces; i++)
		if (!strcmp(w->namespaces[i].name, name))
			return &w->namespaces[i];
	return NULL;
}

static bool refers_to(yyjson_val *references, const char *uid)
{
	yyjson_val *ref;
	size_t i, max;

	yyjson_arr_foreach(references, i, max, ref)
		if (streq(doc_str(ref, "uid"), uid))
			return true;
	return false;
}

/* Does the NAD say what its network says? */
static bool current(const struct world_nad *nad, const struct api_nad *want, const struct target *t)
{
	const struct api_meta *meta = want->object.meta;

	return streq(nad->config, want->spec->config) &&
	       streq(nad->resource, pairs_get(meta->annotations, meta->n_annotations, NAD_RESOURCE_NAME)) &&
	       (!meta->owner_references || refers_to(nad->owner_references, t->meta->uid));
}

static bool has_policy(const struct world *w, const char *resource)
{
	for (size_t i = 0; i < w->n_policies; i++)
		if (streq(w->policies[i]->spec->resource_name, resource))
			return true;
	return false;
}

static void say_ready(struct work *k, struct target *t)
{
	const char *resource = t->network->spec->resource_name;

	t->verdict = (struct verdict){ .ready = true, .reason = "NetworkReady" };
	t->verdict.message = arena_printf(k->a, "NetworkAttachmentDefinition %s/%s is there", t->ns, t->meta->name);
	if (!has_policy(k->w, resource))
		t->verdict.message = arena_printf(k->a, "%s; no SriovNetworkNodePolicy in %s makes the resource %s: pods wait for one",
						  t->verdict.message, k->w->namespace, resource);
}

static void write_nad(struct work *k, struct target *t, const struct api_nad *want, const struct world_nad *nad)
{
	const struct api_kind *kind = api_kind_named("NetworkAttachmentDefinition");
	const char *key = arena_printf(k->a, "%s/%s/%s", kind->kind, t->ns, t->meta->name);
	const char *json = doc_mut_to_json(k->a, api_encode(kind, doc_new(k->a), want), false);
	const struct memo *memo = memo_find(k->m, key, false);
	struct write *x;

	if (nad && current(nad, want, t)) {
		memo_settle(k->m, key);
		say_ready(k, t);
		return;
	}
	if (memo && memo->conflict)
		t->verdict = (struct verdict){ .degraded = true, .reason = "OtherWriter",
					       .message = arena_printf(k->a, "another program writes the NetworkAttachmentDefinition %s/%s "
									     "too (%s): stop it", t->ns, t->meta->name, memo->conflict) };
	else if (memo && memo->failure)
		t->verdict = (struct verdict){ .degraded = true, .reason = "SyncFailed", .message = arena_strdup(k->a, memo->failure) };
	x = write_add(k->out, WRITE_APPLY, kind, t->ns, t->meta->name);
	x->json = json;
	x->contested = key;
	x->mine = nad;
	x->group = t->group;
	x->why = nad ? "it is not what its network says" : "a new network";
}

static bool taken(struct work *k, const struct target *all, const struct target *t)
{
	for (const struct target *other = all; other < t; other++)
		if (!other->meta->deletion_timestamp && streq(other->ns, t->ns) && streq(other->meta->name, t->meta->name))
			return true;
	return false;
}

/* Whatever keeps the network from having its NAD. */
static bool refused(struct work *k, struct target *t, const struct target *all, const struct world_nad *nad)
{
	const struct world_namespace *ns = namespace_named(k->w, t->ns);
	struct arena *a = k->a;

	if (!streq(t->ns, t->meta->namespace) && strcmp(t->meta->namespace, k->w->namespace)) {
		t->verdict = (struct verdict){ .reason = "UnsupportedConfiguration" };
		t->verdict.message = arena_printf(a, ".Spec.NetworkNamespace field can't be specified if the resource is not in the %s "
						     "namespace", k->w->namespace);
	} else if (!ns || ns->going) {
		t->verdict = (struct verdict){ .reason = "NamespaceNotFound" };
		t->verdict.message = arena_printf(a, "namespace %s %s: the NetworkAttachmentDefinition comes when the namespace does", t->ns,
						  ns ? "is being deleted" : "does not exist");
	} else if (nad && !is_own(nad, t)) {
		t->verdict = (struct verdict){ .reason = "NetworkAttachmentDefinitionInvalid" };
		t->verdict.message = arena_printf(a, "the NetworkAttachmentDefinition %s/%s is there and belongs to somebody else (%s): delete "
						     "it or rename the network", t->ns, t->meta->name, nad->owner ? nad->owner : "it has no owner-ref");
	} else if (!nad && taken(k, all, t)) { /* who has it keeps it */
		t->verdict = (struct verdict){ .reason = "NetworkAttachmentDefinitionInvalid" };
		t->verdict.message = arena_printf(a, "another network asks for the NetworkAttachmentDefinition %s/%s too: rename one", t->ns,
						  t->meta->name);
	} else {
		return false;
	}
	return true;
}

static void write_status(struct work *k, const struct api_kind *kind, const char *ns, const char *name, const char *uid, int64_t generation,
			 const struct api_network_status *old, const struct verdict *v)
{
	struct api_condition *list = NULL;
	yyjson_mut_doc *doc = doc_new(k->a);
	yyjson_mut_val *object = yyjson_mut_obj(doc), *meta, *status;
	struct write *x;
	size_t n = 0;

	conditions_make(k->a, v, generation, old ? old->conditions : NULL, old ? old->n_conditions : 0, pass_time(k->a, k->w->now),
			&list, &n);
	if (old && conditions_same(list, n, old->conditions, old->n_conditions))
		return;
	yyjson_mut_obj_add_str(doc, object, "apiVersion", GROUP "/v1");
	yyjson_mut_obj_add_str(doc, object, "kind", kind->kind);
	meta = yyjson_mut_obj_add_obj(doc, object, "metadata");
	yyjson_mut_obj_add_str(doc, meta, "name", name);
	yyjson_mut_obj_add_str(doc, meta, "namespace", ns);
	status = yyjson_mut_obj_add_obj(doc, object, "status");
	yyjson_mut_obj_add_val(doc, status, "conditions", conditions_json(doc, list, n));
	x = write_add(k->out, WRITE_APPLY, kind, ns, name);
	x->sub = "status";
	x->json = doc_mut_to_json(k->a, object, false);
	x->why = v->reason;
	if (conditions_turned(v, old ? old->conditions : NULL, old ? old->n_conditions : 0))
		x->event = (struct write_event){ .kind = kind, .ns = ns, .name = name, .uid = uid, .warning = !v->ready,
						 .reason = v->reason, .message = v->message };
}

static void one_network(struct work *k, struct target *t, const struct target *all)
{
	const struct world_nad *nad = world_nad(k->w, t->ns, t->meta->name);
	bool foreign = !streq(t->ns, t->meta->namespace);
	struct api_nad *want;
	struct err e;

	if (t->meta->deletion_timestamp) {
		if (!delete_others(k, t, NULL) && has_finalizer(t->meta))
			write_finalizer(k, t, false, "its NetworkAttachmentDefinition is gone");
		return;
	}
	if (!delete_others(k, t, t->ns) && !foreign && has_finalizer(t->meta))
		write_finalizer(k, t, false, "nothing of it is in another namespace");
	if (!refused(k, t, all, nad)) {
		if (render_nad(k->a, t->kind, t->network, k->w->prefix, &want, &e) < 0) {
			t->verdict = (struct verdict){ .reason = "UnsupportedConfiguration", .message = arena_strdup(k->a, e.msg) };
		} else {
			if (foreign && (!has_finalizer(t->meta) ||
					!streq(pairs_get(t->meta->annotations, t->meta->n_annotations, LAST_NAMESPACE), t->ns)))
				write_finalizer(k, t, true, "its NetworkAttachmentDefinition is in another namespace");
			write_nad(k, t, want, nad);
		}
	}
	if (t->verdict.reason)
		write_status(k, t->kind, t->meta->namespace, t->meta->name, t->meta->uid, t->meta->generation, t->network->status, &t->verdict);
}

static bool is_network_kind(const char *owner)
{
	static const char *const kinds[] = { "SriovNetwork." GROUP "/", "SriovIBNetwork." GROUP "/", "OVSNetwork." GROUP "/" };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(owner, kinds[i], strlen(kinds[i])))
			return true;
	return false;
}

static const char *owner_text(struct arena *a, const char *kind, const char *ns, const char *name)
{
	return arena_printf(a, "%s." GROUP "/%s/%s", kind, ns, name);
}

/* NADs whose network is no more: it went while no controller ran, or without a finalizer. */
static void delete_orphans(struct work *k, const struct target *targets)
{
	for (size_t i = 0; i < k->w->n_nads; i++) {
		const struct world_nad *nad = &k->w->nads[i];
		bool owned = !nad->owner || !is_network_kind(nad->owner);

		for (size_t n = 0; n < k->w->n_networks && !owned; n++)
			owned = streq(targets[n].owner, nad->owner);
		for (size_t n = 0; n < k->w->n_bad && !owned; n++)
			owned = streq(owner_text(k->a, k->w->bad[n].kind->kind, k->w->bad[n].ns, k->w->bad[n].name), nad->owner);
		if (!owned)
			delete_nad(k, nad, "its network is gone");
	}
}

void pass_networks(struct arena *a, const struct world *w, struct memos *m, struct writes *out)
{
	struct target *targets = arena_alloc(a, w->n_networks * sizeof(*targets));
	struct work k = { a, w, m, out };

	for (size_t i = 0; i < w->n_networks; i++) {
		struct target *t = &targets[i];
		const char *asked = w->networks[i]->spec->network_namespace;

		t->kind = w->network_kinds[i];
		t->network = w->networks[i];
		t->meta = t->network->object.meta;
		t->ns = asked && *asked ? asked : t->meta->namespace;
		t->owner = owner_text(a, t->kind->kind, t->meta->namespace, t->meta->name);
		t->group = ++out->groups;
	}
	for (size_t i = 0; i < w->n_networks; i++)
		one_network(&k, &targets[i], targets);
	for (size_t i = 0; i < w->n_bad; i++) {
		const struct world_bad *bad = &w->bad[i];
		struct verdict v = { .degraded = true, .reason = "UnsupportedConfiguration", .message = bad->why };

		if (is_network_kind(owner_text(a, bad->kind->kind, bad->ns, bad->name)))
			write_status(&k, bad->kind, bad->ns, bad->name, bad->uid, bad->generation, &bad->status, &v);
	}
	delete_orphans(&k, targets);
}
