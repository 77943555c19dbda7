/* SPDX-License-Identifier: Apache-2.0 */
/* RailPolicies and RailNodes: written when what they say changes. */
#include <string.h>

#include "controller/passes.h"

static yyjson_mut_val *head(yyjson_mut_doc *doc, const struct world *w, const struct api_kind *kind, const char *name)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *meta;

	yyjson_mut_obj_add_str(doc, v, "apiVersion", RAIL_GROUP "/v1alpha1");
	yyjson_mut_obj_add_str(doc, v, "kind", kind->kind);
	meta = yyjson_mut_obj_add_obj(doc, v, "metadata");
	yyjson_mut_obj_add_str(doc, meta, "name", name);
	yyjson_mut_obj_add_str(doc, meta, "namespace", w->namespace);
	return v;
}

/* status.* as text, from a struct: api_encode() knows the table, here only "status" of it is wanted. */
static const char *status_json(struct arena *a, const struct world *w, const struct api_kind *kind, const char *name,
			       struct api_rail_status *status)
{
	struct api_meta meta = { .name = name, .namespace = w->namespace };
	struct api_rail rail = {
		.object = { .api_version = RAIL_GROUP "/v1alpha1", .kind = kind->kind, .meta = &meta }, .status = status,
	};

	return doc_mut_to_json(a, api_encode(kind, doc_new(a), &rail), false);
}

static bool streq(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

void rail_write(struct arena *a, const struct world *w, const struct api_kind *kind, const char *name, const struct api_rail *old,
		const struct verdict *v, int64_t generation, struct api_rail_status *status, const struct write_event *event,
		struct writes *out)
{
	const struct api_rail_status *was = old ? old->status : NULL;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *object, *spec;
	unsigned group;
	struct write *x;

	conditions_make(a, v, generation, was ? was->conditions : NULL, was ? was->n_conditions : 0, pass_time(a, w->now),
			&status->conditions, &status->n_conditions);
	if (was && conditions_same(status->conditions, status->n_conditions, was->conditions, was->n_conditions) &&
	    was->ports == status->ports && was->vfs == status->vfs && streq(was->nodes, status->nodes))
		return;
	group = ++out->groups;
	if (!old) {
		object = head(doc, w, kind, name);
		spec = yyjson_mut_obj_add_obj(doc, object, "spec");
		yyjson_mut_obj_add_str(doc, spec, strcmp(kind->kind, "RailNode") ? "policy" : "node", name);
		x = write_add(out, WRITE_APPLY, kind, w->namespace, name);
		x->json = doc_mut_to_json(a, object, false);
		x->group = group;
		x->why = "new";
	}
	x = write_add(out, WRITE_APPLY, kind, w->namespace, name);
	x->sub = "status";
	x->json = status_json(a, w, kind, name, status);
	x->group = group;
	x->why = v->reason;
	if (!event || !conditions_turned(v, was ? was->conditions : NULL, was ? was->n_conditions : 0))
		return;
	x->event = *event;
	x->event.warning = !v->ready;
	x->event.reason = v->reason;
	x->event.message = v->message;
}
