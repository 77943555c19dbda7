/* SPDX-License-Identifier: Apache-2.0 */
/* What every Kubernetes object has, and the register of the kinds that kvrail knows. */
#ifndef KVRAIL_API_META_H
#define KVRAIL_API_META_H

#include "codec/table.h"

struct api_meta {
	struct object obj;
	const char *name, *generate_name, *namespace, *uid, *resource_version, *creation_timestamp,
		*deletion_timestamp;
	int64_t generation;
	struct pair *labels;
	size_t n_labels;
	struct pair *annotations;
	size_t n_annotations;
	const char **finalizers;
	size_t n_finalizers;
	yyjson_val *owner_references; /* array, as it came */
	yyjson_val *managed_fields, *deletion_grace, *self_link; /* kept, not read */
};

/* An entry of status.conditions. */
struct api_condition {
	struct object obj;
	const char *type, *status /* True, False, Unknown */, *reason, *message, *last_transition_time;
	int64_t observed_generation;
};

/* First member of every top-level object. */
struct api_object {
	struct object obj;
	const char *api_version, *kind;
	struct api_meta *meta; /* never NULL after api_decode() */
};

struct api_kind {
	const char *kind, *plural, *singular, *list_kind;
	const char *group, *version; /* group "" is core */
	bool namespaced;
	const char *doc; /* one line: what it is for */
	const char *const *short_names; /* NULL-terminated or NULL */
	const struct table *table;
	/* What the operator's mutating webhook changes before an object is stored; may be NULL. */
	void (*admit)(struct arena *a, void *object);
	/* Rules beyond the table, with the words of the operator's admission webhook where it has them; may be NULL. */
	void (*validate)(const void *object, struct complaints *c);
	bool crd;		 /* kvrail ships a CRD of it */
	const char *status_path; /* "status" when the CRD has the subresource, else NULL */
	yyjson_mut_val *(*columns)(yyjson_mut_doc *doc); /* additionalPrinterColumns, or NULL */
};

/* All kinds, ended by one with .kind NULL. */
extern const struct api_kind api_kinds[];

/* By kind and group, or by any name that kubectl takes (plural, singular, short, kind; case ignored). NULL when unknown. */
const struct api_kind *api_kind_find(const char *api_version, const char *kind);
const struct api_kind *api_kind_named(const char *name);

/*
 * @docs with every List ("kind: List", "SriovNetworkList", ...: any kind ending in List that has items)
 * replaced by its items, in place and order. Items of a list of one kind that have no kind or apiVersion get the list's.
 */
void api_unfold(struct arena *a, const struct doc *docs, size_t n, struct doc **ret, size_t *ret_n);

/*
 * One document into an object as an API server would store it: apiVersion and kind choose the table;
 * table_decode(), table_defaults(), kind->admit(), then kind->validate(). *ret is a struct of that kind
 * (begins with struct api_object).
 * With @c->lenient an error of kind->validate() is in @c like any other, and the object is made.
 * Returns -EINVAL after errors, which are in @c with their lines; -ENOTSUP for a kind that kvrail does not
 * know (no complaint is made: the caller decides).
 */
int api_decode(struct arena *a, const struct doc *d, const struct api_kind **ret_kind, void **ret,
	       struct complaints *c);

/* As above for a value that comes from no file. */
int api_decode_value(struct arena *a, yyjson_val *v, const struct api_kind **ret_kind, void **ret,
		     struct complaints *c);

yyjson_mut_val *api_encode(const struct api_kind *k, yyjson_mut_doc *doc, const void *object);

/* The CustomResourceDefinition of a kind. */
yyjson_mut_val *api_crd(const struct api_kind *k, yyjson_mut_doc *doc);

/* A string map's value or NULL. */
const char *pairs_get(const struct pair *pairs, size_t n, const char *key);

#endif
