/* SPDX-License-Identifier: Apache-2.0 */
/* The store's objects in an API server. */
#include <string.h>

#include "base/parse.h"
#include "codec/doc.h"
#include "store/db.h"
#include "store/kube.h"

static int ref_of(struct store *s, const char *kind, const char *ns, const char *name, struct store_kind *k, struct kube_ref *ret,
		  struct err *e)
{
	if (!s->kind(kind, k))
		return err_set(e, -EINVAL, "kind %s is none that kvrail knows", kind);
	*ret = (struct kube_ref){ k->group, k->version, k->plural, k->namespaced && ns && *ns ? ns : NULL, name, NULL };
	if (name && k->namespaced && !ret->namespace)
		return err_set(e, -EINVAL, "%s %s: a namespace is wanted", kind, name);
	return 0;
}

static const char *api_version(struct arena *a, const struct store_kind *k)
{
	return *k->group ? arena_printf(a, "%s/%s", k->group, k->version) : k->version;
}

static uint64_t version_of(yyjson_val *obj)
{
	const char *text = doc_str(yyjson_obj_get(obj, "metadata"), "resourceVersion");
	uint64_t n = 0;

	return text && parse_u64(text, 10, 0, UINT64_MAX, &n) == 0 ? n : 0;
}

/* In a list of a built-in kind the items have no apiVersion and kind. */
static const char *whole_text(struct arena *a, const struct store_kind *k, const char *kind, yyjson_val *obj)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *whole;
	yyjson_val *key, *val;
	size_t i, max;

	if (doc_str(obj, "kind"))
		return doc_to_json(a, obj, false);
	whole = yyjson_mut_obj(doc);
	yyjson_mut_obj_add_strcpy(doc, whole, "apiVersion", api_version(a, k));
	yyjson_mut_obj_add_strcpy(doc, whole, "kind", kind);
	yyjson_obj_foreach(obj, i, max, key, val)
		yyjson_mut_obj_add(whole, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, val));
	return doc_mut_to_json(a, whole, false);
}

static void fill(struct arena *a, const struct store_kind *k, const char *kind, yyjson_val *obj, struct store_object *ret)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata");
	const char *ns = doc_str(meta, "namespace");

	ret->kind = arena_strdup(a, kind);
	ret->namespace = arena_strdup(a, ns ? ns : "");
	ret->name = arena_strdup(a, doc_str(meta, "name") ? doc_str(meta, "name") : "");
	ret->json = whole_text(a, k, kind, obj);
	ret->version = version_of(obj);
}

static int kube_store_get(struct store *s, struct arena *a, const char *kind, const char *ns, const char *name,
			  struct store_object *ret, struct err *e)
{
	struct store_kind k;
	struct kube_ref ref;
	yyjson_val *v;
	int r = ref_of(s, kind, ns, name, &k, &ref, e);

	if (r == 0)
		r = kube_get(s->kube, a, &ref, &v, e);
	if (r == 0)
		fill(a, &k, kind, v, ret);
	return r;
}

struct listing {
	struct arena *arena;
	const struct store_kind *k;
	const char *kind;
	struct store_object *v;
	size_t n;
};

static int on_item(void *arg, yyjson_val *obj)
{
	struct listing *l = arg;

	fill(l->arena, l->k, l->kind, obj, arena_push(l->arena, &l->v, &l->n, sizeof(*l->v)));
	return 0;
}

static int kube_store_list(struct store *s, struct arena *a, const char *kind, const char *ns, struct store_object **ret, size_t *ret_n,
			   struct err *e)
{
	struct store_kind k;
	struct kube_ref ref;
	struct listing l = { .arena = a, .k = &k, .kind = kind };
	int r = ref_of(s, kind, ns, NULL, &k, &ref, e);

	if (r == 0)
		r = kube_list(s->kube, a, &ref, NULL, on_item, &l, NULL, e);
	if (r < 0)
		return r;
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

/* @json without what the server sets and what belongs to the status subresource. */
static char *applied_text(struct arena *a, const char *json, struct err *e)
{
	static const char *const set_there[] = { "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink" };
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v, *meta;
	yyjson_val *obj;

	if (doc_parse_json(a, "the object", json, strlen(json), DOC_SIZE_MAX, &obj, e) < 0)
		return NULL;
	v = yyjson_val_mut_copy(doc, obj);
	meta = yyjson_mut_obj_get(v, "metadata");
	yyjson_mut_obj_remove_key(v, "status");
	for (size_t i = 0; i < ARRAY_SIZE(set_there); i++)
		yyjson_mut_obj_remove_key(meta, set_there[i]);
	return doc_mut_to_json(a, v, false);
}

/* 1 when it changed something. */
static int put(struct store *s, struct arena *a, const struct kube_ref *ref, const char *json, struct err *e)
{
	char *text = applied_text(a, json, e);
	yyjson_val *before = NULL, *after;
	int r;

	if (!text)
		return -EINVAL;
	r = kube_get(s->kube, a, ref, &before, NULL);
	if (r < 0 && r != -ENOENT)
		before = NULL;
	r = kube_patch(s->kube, a, ref, KUBE_PATCH_APPLY_FORCE, text, &after, e);
	if (r < 0)
		return r;
	return !before || version_of(before) != version_of(after);
}

static int kube_store_apply(struct store *s, const struct store_object *changes, size_t n, struct err *e)
{
	int changed = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		const struct store_object *o = &changes[i];
		struct store_kind k;
		struct kube_ref ref;
		int r = ref_of(s, o->kind, o->namespace, o->name, &k, &ref, e);

		if (r == 0 && o->json)
			r = put(s, a, &ref, o->json, e);
		else if (r == 0) {
			r = kube_delete(s->kube, &ref, NULL, NULL, -1, e);
			r = r == 0 ? 1 : r == -ENOENT ? 0 : r;
		}
		if (r < 0)
			return r;
		changed += r;
	}
	return changed;
}

static const struct store_ops kube_ops = { .apply = kube_store_apply, .get = kube_store_get, .list = kube_store_list };

void store_open_kube(struct kube *k, bool (*kind)(const char *kind, struct store_kind *ret), struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->ops = &kube_ops;
	s->kube = k;
	s->kind = kind;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
}

struct kube *store_kube(struct store *s)
{
	return s->kube;
}
