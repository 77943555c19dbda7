/* SPDX-License-Identifier: Apache-2.0 */
/* The client: opening it, and the calls that are one request each. */
#include <string.h>

#include "store/kube-private.h"

#define TIMEOUT_MS 30000

static const char *const verbs[KUBE_VERBS] = { "get", "list", "watch", "create", "update", "patch", "delete" };

int kube_open(const struct kube_options *o, struct kube **ret, struct err *e)
{
	struct arena *a = arena_new();
	struct kube *k = arena_alloc(a, sizeof(*k));
	struct http_options http = { 0 };
	int r;

	k->arena = a;
	k->manager = arena_strdup(a, o->manager ? o->manager : "kvrail");
	k->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	k->warning = o->warning;
	for (size_t i = 0; i < KUBE_VERBS; i++)
		k->counts[i].verb = verbs[i];
	r = kubeconfig_load(a, o->kubeconfig, o->context, &k->config, e);
	if (r == 0) {
		http.url = k->config->server;
		http.proxy = k->config->proxy;
		http.tls = k->config->tls;
		r = http_open(&http, &k->http, e);
		if (r < 0)
			err_wrap(e, r, "%s", k->config->source);
	}
	if (r < 0) {
		arena_free(a);
		return r;
	}
	k->server = k->config->server;
	pthread_mutex_init(&k->cred.lock, NULL);
	*ret = k;
	return 0;
}

struct kube *kube_close(struct kube *k)
{
	if (!k)
		return NULL;
	http_close(k->http);
	kube_cred_free(&k->cred);
	arena_free(k->arena);
	return NULL;
}

const char *kube_server(const struct kube *k)
{
	return k->server;
}

const char *kube_namespace(const struct kube *k)
{
	return k->config->namespace;
}

const char *kube_source(const struct kube *k)
{
	return k->config->source;
}

void kube_count(struct kube *k, enum kube_verb verb, bool ok, unsigned retried)
{
	struct kube_count *c = &k->counts[verb];

	__atomic_fetch_add(ok ? &c->ok : &c->failed, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->retried, retried, __ATOMIC_RELAXED);
}

size_t kube_counts(struct kube *k, const struct kube_count **ret)
{
	*ret = k->counts;
	return KUBE_VERBS;
}

int kube_thread(pthread_t *ret, void *(*run)(void *), void *arg, struct err *e)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, KUBE_THREAD_STACK);
	r = pthread_create(ret, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return r ? err_errno(e, -r, "starting a thread") : 0;
}

static void add_part(struct strbuf *b, const char *part)
{
	_cleanup_free_ char *s = http_escape(part);

	strbuf_addch(b, '/');
	strbuf_addstr(b, s);
}

char *kube_target(struct arena *a, const struct kube_ref *ref, const char *query)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_addstr(&b, *ref->group ? "/apis" : "/api");
	if (*ref->group)
		add_part(&b, ref->group);
	add_part(&b, ref->version);
	if (ref->namespace && *ref->namespace) {
		strbuf_addstr(&b, "/namespaces");
		add_part(&b, ref->namespace);
	}
	add_part(&b, ref->plural);
	if (ref->name)
		add_part(&b, ref->name);
	if (ref->sub)
		add_part(&b, ref->sub);
	if (query && *query)
		strbuf_addf(&b, "?%s", query);
	return arena_strdup(a, b.s);
}

char *kube_selectors(struct arena *a, const struct kube_select *s)
{
	_cleanup_free_ char *labels = s && s->labels ? http_escape(s->labels) : NULL, *fields = s && s->fields ? http_escape(s->fields) : NULL;

	return arena_printf(a, "%s%s%s%s", labels ? "&labelSelector=" : "", labels ? labels : "", fields ? "&fieldSelector=" : "",
			    fields ? fields : "");
}

/* Dot segments lead elsewhere in a URL, an empty one to the collection: nothing is called so. */
static bool is_no_name(const char *s)
{
	return !*s || !strcmp(s, ".") || !strcmp(s, "..");
}

static int check_names(const struct kube_ask *q, struct err *e)
{
	const struct kube_ref *ref = q->ref;
	const char *ns = ref && ref->namespace ? ref->namespace : "";
	const char *name = ref && ref->name && q->verb != KUBE_CREATE ? ref->name : NULL; /* of a new object it is in the body alone */

	if ((*ns && is_no_name(ns)) || (name && is_no_name(name)))
		return err_set(e, q->verb == KUBE_GET ? -ENOENT : -EINVAL, "%s: there is no \"%s%s%s\"", ref->plural, ns, *ns ? "/" : "",
			       name ? name : "");
	return 0;
}

/* Ask and parse the object that comes back. */
static int ask(struct kube *k, struct arena *a, const struct kube_ask *q, yyjson_val **ret, struct err *e)
{
	_cleanup_reply_ struct http_reply reply = { 0 };
	int r = check_names(q, e);

	if (r == 0)
		r = kube_ask(k, q, &reply, e);
	if (r < 0 || !ret)
		return r;
	return doc_parse_json(a, "the API server's reply", reply.body, reply.len, KUBE_OBJECT_MAX, ret, e);
}

int kube_get(struct kube *k, struct arena *a, const struct kube_ref *ref, yyjson_val **ret, struct err *e)
{
	_cleanup_arena_ struct arena *own = arena_new();

	return ask(k, a,
		   &(struct kube_ask){ .verb = KUBE_GET, .method = "GET", .target = kube_target(own, ref, NULL), .ref = ref, .repeatable = true },
		   ret, e);
}

int kube_table(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select, yyjson_val **ret,
	       struct err *e)
{
	_cleanup_arena_ struct arena *own = arena_new();

	return ask(k, a,
		   &(struct kube_ask){ .verb = ref->name ? KUBE_GET : KUBE_LIST, .method = "GET", .ref = ref, .repeatable = true,
				       .target = kube_target(own, ref, arena_printf(own, "includeObject=Object%s", kube_selectors(own, select))),
				       .accept = "application/json;as=Table;v=v1;g=meta.k8s.io" },
		   ret, e);
}

static const char *as_manager(struct kube *k, struct arena *a, bool force)
{
	_cleanup_free_ char *s = http_escape(k->manager);

	return arena_printf(a, "fieldManager=%s%s", s, force ? "&force=true" : "");
}

int kube_create(struct kube *k, struct arena *a, const struct kube_ref *ref, const char *json, yyjson_val **ret, struct err *e)
{
	_cleanup_arena_ struct arena *own = arena_new();
	struct kube_ref collection = *ref;

	if (!ref->sub) /* a name is in the body */
		collection.name = NULL;
	return ask(k, a,
		   &(struct kube_ask){ .verb = KUBE_CREATE, .method = "POST", .target = kube_target(own, &collection, as_manager(k, own, false)),
				       .ref = ref, .type = "application/json", .body = json },
		   ret, e);
}

static bool has_version(yyjson_val *obj)
{
	const char *version = doc_str(yyjson_obj_get(obj, "metadata"), "resourceVersion");

	return version && *version;
}

/* Does a JSON patch begin only when the object is at one resourceVersion? */
static bool tests_version(yyjson_val *patch)
{
	yyjson_val *step;
	size_t i, max;

	yyjson_arr_foreach(patch, i, max, step) {
		const char *op = doc_str(step, "op"), *path = doc_str(step, "path");

		if (op && path && !strcmp(op, "test") && !strcmp(path, "/metadata/resourceVersion"))
			return true;
	}
	return false;
}

static yyjson_val *parsed(struct arena *a, const char *json)
{
	yyjson_val *v = NULL;

	doc_parse_json(a, "the body", json, strlen(json), KUBE_OBJECT_MAX, &v, NULL);
	return v;
}

int kube_update(struct kube *k, struct arena *a, const struct kube_ref *ref, const char *json, yyjson_val **ret, struct err *e)
{
	_cleanup_arena_ struct arena *own = arena_new();

	return ask(k, a,
		   &(struct kube_ask){ .verb = KUBE_UPDATE, .method = "PUT", .target = kube_target(own, ref, as_manager(k, own, false)),
				       .ref = ref, .type = "application/json", .body = json, .repeatable = has_version(parsed(own, json)) },
		   ret, e);
}

int kube_patch(struct kube *k, struct arena *a, const struct kube_ref *ref, enum kube_patch type, const char *json, yyjson_val **ret,
	       struct err *e)
{
	static const char *const types[] = {
		[KUBE_PATCH_JSON] = "application/json-patch+json",
		[KUBE_PATCH_MERGE] = "application/merge-patch+json",
		[KUBE_PATCH_APPLY] = "application/apply-patch+yaml",
		[KUBE_PATCH_APPLY_FORCE] = "application/apply-patch+yaml",
	};
	_cleanup_arena_ struct arena *own = arena_new();
	bool apply = type == KUBE_PATCH_APPLY || type == KUBE_PATCH_APPLY_FORCE;

	return ask(k, a,
		   &(struct kube_ask){ .verb = KUBE_PATCH, .method = "PATCH",
				       .target = kube_target(own, ref, as_manager(k, own, type == KUBE_PATCH_APPLY_FORCE)), .ref = ref,
				       .type = types[type], .body = json,
				       .repeatable = apply || (type == KUBE_PATCH_JSON ? tests_version(parsed(own, json)) :
											 has_version(parsed(own, json))) },
		   ret, e);
}

int kube_delete(struct kube *k, const struct kube_ref *ref, const char *uid, const char *resource_version, int grace_s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *body = yyjson_mut_obj(doc), *only;

	yyjson_mut_obj_add_str(doc, body, "apiVersion", "v1");
	yyjson_mut_obj_add_str(doc, body, "kind", "DeleteOptions");
	yyjson_mut_obj_add_str(doc, body, "propagationPolicy", "Background");
	if (grace_s >= 0)
		yyjson_mut_obj_add_int(doc, body, "gracePeriodSeconds", grace_s);
	if (uid || resource_version) {
		only = yyjson_mut_obj_add_obj(doc, body, "preconditions");
		if (uid)
			yyjson_mut_obj_add_str(doc, only, "uid", uid);
		if (resource_version)
			yyjson_mut_obj_add_str(doc, only, "resourceVersion", resource_version);
	}
	return ask(k, a,
		   &(struct kube_ask){ .verb = KUBE_DELETE, .method = "DELETE", .target = kube_target(a, ref, NULL), .ref = ref,
				       .type = "application/json", .body = doc_mut_to_json(a, body, false),
				       .repeatable = uid || resource_version },
		   NULL, e);
}

int kube_raw(struct kube *k, struct arena *a, const char *method, const char *path, const char *body, yyjson_val **ret, struct err *e)
{
	bool get = !strcmp(method, "GET");

	return ask(k, a,
		   &(struct kube_ask){ .verb = get ? KUBE_GET : !strcmp(method, "POST") ? KUBE_CREATE : KUBE_UPDATE, .method = method,
				       .target = path, .type = "application/json", .body = body, .repeatable = get },
		   ret, e);
}
