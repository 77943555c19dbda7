/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "controller/admit-private.h"
#include "controller/ca.h"
#include "controller/state.h"
#include "controller/webhook.h"
#include "controller/world.h"
#include "rpc/httpd.h"

#define SECRET "kvrail-webhook"
#define CONNECTIONS_MAX 256
#define NAMES_MAX 8
/* After the bundle was written: API servers learn it by their own watch. */
#define TRUST_S 15
#define KNOWN_S 2 /* of one API server: more replicas of it may take longer */

enum { MUTATING, VALIDATING, CONFIGURATIONS };

static const char *const plurals[CONFIGURATIONS] = { "mutatingwebhookconfigurations", "validatingwebhookconfigurations" };

struct webhook {
	struct kube *kube;
	struct informer *nads, *secret, *configurations[CONFIGURATIONS];
	const struct webhook_options *options;

	pthread_mutex_t lock;	/* for what follows */
	struct httpd *httpd;	/* NULL until there is a certificate */
	uint64_t shown;		/* hash of the certificate that is served */
	char problem[ERR_MSG_MAX];

	_Atomic bool cared;	      /* webhook_care() had nothing more to do once, or could do nothing */
	uint64_t trusted, trusted_ns; /* the leader's: hash of the bundle that the configurations have, and since when */

	_Atomic uint64_t verdicts[ADMIT_VERDICTS], malformed;
	struct metrics_histogram seconds;
};

/* -- the network of a pod -- */

static const char *names_in(struct webhook *w, struct arena *a, const char *ns)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct informer_object *all;
	size_t n = informer_all(w->nads, a, &all), named = 0;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i].namespace, ns))
			continue;
		if (named++ < NAMES_MAX)
			strbuf_addf(&b, "%s%s", named > 1 ? ", " : "", all[i].name);
	}
	if (named > NAMES_MAX)
		strbuf_addf(&b, " and %zu more", named - NAMES_MAX);
	return named ? arena_strdup(a, b.s) : NULL;
}

static void fill(struct admit_nad *ret, yyjson_val *kept)
{
	ret->resource = doc_str(kept, "resource");
	ret->node_selector = doc_str(kept, "nodeSelector");
}

static int find_nad(void *arg, struct arena *a, const char *ns, const char *name, struct admit_nad *ret, const char **names, struct err *e)
{
	struct world_collection nads = world_collection(WORLD_NADS, NULL);
	struct kube_ref ref = nads.ref;
	struct webhook *w = arg;
	struct informer_object o;
	yyjson_val *v;
	const char *text;
	int r;

	if (informer_get(w->nads, a, ns, name, &o) == 0) {
		text = o.json;
	} else {
		/* made a moment ago, with the pod in one file: the watch may not have it yet */
		ref.namespace = ns;
		ref.name = name;
		r = kube_get(w->kube, a, &ref, &v, e);
		if (r < 0) {
			*names = names_in(w, a, ns);
			return r;
		}
		text = nads.keep(NULL, a, v);
	}
	r = doc_parse_json(a, name, text, strlen(text), DOC_SIZE_MAX, &v, e);
	if (r == 0)
		fill(ret, v);
	return r;
}

static int find_cluster(void *arg, struct arena *a, struct admit_cluster *ret, struct err *e)
{
	struct webhook *w = arg;

	return admit_cluster_list(w->kube, w->options->namespace, a, ret, e);
}

/* -- the server -- */

static int path_of(const char *path, enum admit_path *ret)
{
	static const struct {
		const char *path;
		enum admit_path what;
	} paths[] = { { "/mutate", ADMIT_PODS }, { "/mutating-custom-resource", ADMIT_DEFAULTS }, { "/validating-custom-resource", ADMIT_VALIDATE } };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (strcmp(path, paths[i].path))
			continue;
		*ret = paths[i].what;
		return 0;
	}
	return -ENOENT;
}

static void serve(void *arg, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct webhook *w = arg;
	struct admit_options o = { .namespace = w->options->namespace, .home = w->options->home, .nad = find_nad, .cluster = find_cluster,
				   .arg = w };
	uint64_t began = clock_ns();
	enum admit_verdict verdict;
	enum admit_path path;
	const char *out;
	struct err e;

	if (path_of(rq->path, &path) < 0) {
		httpd_say(reply, 404, "{\"error\":\"there are /mutate, /mutating-custom-resource and /validating-custom-resource\"}");
		return;
	}
	if (admit_review(rq->arena, &o, path, rq->body, rq->body_len, &out, &verdict, &e) < 0) {
		yyjson_mut_doc *doc = doc_new(rq->arena);
		yyjson_mut_val *v = yyjson_mut_obj(doc);

		yyjson_mut_obj_add_str(doc, v, "error", e.msg);
		w->malformed++;
		httpd_say(reply, 400, doc_mut_to_json(rq->arena, v, false));
		return;
	}
	w->verdicts[verdict]++;
	metrics_observe(&w->seconds, clock_ns() - began);
	httpd_say(reply, 200, out);
}

/* Serve with the Secret's certificate, if it is one. Called from the Secret's informer, one call at a time. */
static void show(struct webhook *w, const struct ca_state *s)
{
	struct err e = { 0 };
	uint64_t hash;
	int r;

	if (!s->server.cert || !s->server.key)
		return;
	hash = write_hash(s->server.cert);
	pthread_mutex_lock(&w->lock);
	r = 0;
	if (!w->httpd)
		r = httpd_start_tcp(w->options->address, &s->server, ADMIT_BODY_MAX, CONNECTIONS_MAX, serve, w, &w->httpd, &e);
	else if (hash != w->shown)
		r = httpd_set_tls(w->httpd, &s->server, &e);
	if (r == 0 && hash != w->shown)
		log_info("admission on port %u with %s certificate", httpd_port(w->httpd), w->shown ? "a new" : "its");
	if (r == 0)
		w->shown = hash;
	else
		log_error("admission: %s", e.msg);
	snprintf(w->problem, sizeof(w->problem), "%s", e.msg);
	pthread_mutex_unlock(&w->lock);
}

static void on_secret(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct webhook *w = arg;
	struct ca_state s;
	yyjson_val *v;

	if (is && doc_parse_json(a, SECRET, is->json, strlen(is->json), DOC_SIZE_MAX, &v, NULL) == 0) {
		ca_read(a, v, &s);
		show(w, &s);
	}
	w->options->wake(w->options->arg);
}

static void on_configuration(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	struct webhook *w = arg;

	w->options->wake(w->options->arg);
}

/* Names and bundles of the webhooks; the rules are the administrator's. */
static const char *keep_configuration(void *arg, struct arena *a, yyjson_val *obj)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	yyjson_val *hook;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(obj, "webhooks"), i, max, hook) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);
		const char *name = doc_str(hook, "name"), *bundle = doc_str(yyjson_obj_get(hook, "clientConfig"), "caBundle");

		yyjson_mut_obj_add_str(doc, v, "name", name ? name : "");
		yyjson_mut_obj_add_str(doc, v, "caBundle", bundle ? bundle : "");
	}
	return doc_mut_to_json(a, list, false);
}

int webhook_start(struct kube *k, struct informer *nads, const struct webhook_options *o, struct webhook **ret, struct err *e)
{
	struct webhook *w = calloc(1, sizeof(*w));
	struct informer_spec secret = {
		.ref = { .group = "", .version = "v1", .plural = "secrets", .namespace = o->home },
		.select = { .fields = "metadata.name=" SECRET }, .event = on_secret, .arg = w,
	};
	int r;

	if (!w)
		abort();
	w->kube = k;
	w->nads = nads;
	w->options = o;
	pthread_mutex_init(&w->lock, NULL);
	strcpy(w->problem, "no certificate yet: the leader makes one");
	r = informer_start(k, &secret, &w->secret, e);
	if (r < 0) {
		webhook_stop(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct webhook *webhook_stop(struct webhook *w)
{
	if (!w)
		return NULL;
	w->secret = informer_stop(w->secret);
	for (size_t i = 0; i < CONFIGURATIONS; i++)
		informer_stop(w->configurations[i]);
	httpd_stop(w->httpd);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

bool webhook_ready(struct webhook *w, bool leader, struct err *why)
{
	bool ready;

	pthread_mutex_lock(&w->lock);
	ready = w->httpd && !w->problem[0];
	if (!ready)
		err_set(why, -EAGAIN, "admission: %s", w->problem[0] ? w->problem : "not started");
	pthread_mutex_unlock(&w->lock);
	if (ready && leader && !w->cared)
		ready = err_set(why, -EAGAIN, "admission: the webhook configurations do not trust the certificate yet") == 0;
	return ready;
}

void webhook_metrics(struct webhook *w, struct strbuf *b)
{
	static const char *const names[ADMIT_VERDICTS] = { "unchanged", "changed", "denied", "failed" };

	metrics_family(b, "kvrail_admission_reviews_total", METRICS_COUNTER, "Admission reviews by verdict.");
	for (size_t i = 0; i < ADMIT_VERDICTS; i++)
		metrics_add(b, "kvrail_admission_reviews_total", (double)w->verdicts[i], "verdict", names[i], NULL);
	metrics_add(b, "kvrail_admission_reviews_total", (double)w->malformed, "verdict", "malformed", NULL);
	metrics_family(b, "kvrail_admission_seconds", METRICS_HISTOGRAM, "Time of an admission review.");
	metrics_add_histogram(b, "kvrail_admission_seconds", &w->seconds, NULL);
}

/* -- the leader's care -- */

static int write_secret(struct webhook *w, struct controller *c, struct arena *a, const struct informer_object *old, const struct ca_state *s,
			struct err *e)
{
	struct kube_ref ref = { .group = "", .version = "v1", .plural = "secrets", .namespace = w->options->home };
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *meta;

	yyjson_mut_obj_add_str(doc, v, "apiVersion", "v1");
	yyjson_mut_obj_add_str(doc, v, "kind", "Secret");
	meta = yyjson_mut_obj_add_obj(doc, v, "metadata");
	yyjson_mut_obj_add_str(doc, meta, "name", SECRET);
	yyjson_mut_obj_add_str(doc, meta, "namespace", w->options->home);
	if (old) /* two leaders cannot be; if they are, the later one reads again */
		yyjson_mut_obj_add_str(doc, meta, "resourceVersion", old->version);
	yyjson_mut_obj_add_val(doc, v, "data", ca_data(a, doc, s));
	controller_before_write(c);
	if (!old)
		return kube_create(w->kube, a, &ref, doc_mut_to_json(a, v, false), NULL, e);
	ref.name = SECRET;
	return kube_patch(w->kube, a, &ref, KUBE_PATCH_MERGE, doc_mut_to_json(a, v, false), NULL, e);
}

/* Put @bundle (base64) into the webhooks that have another. Returns how many had. */
static int write_bundle(struct webhook *w, struct controller *c, struct arena *a, size_t which, const char *bundle, struct err *e)
{
	struct kube_ref ref = { .group = "admissionregistration.k8s.io", .version = "v1", .plural = plurals[which], .name = w->options->configuration };
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *ops = yyjson_mut_arr(doc), *op;
	struct informer_object o;
	yyjson_val *hooks, *hook;
	size_t i, max;
	int r;

	if (informer_get(w->configurations[which], a, "", ref.name, &o) < 0)
		return which == MUTATING ? err_set(e, -ENOENT, "the MutatingWebhookConfiguration %s is missing, so that pods get no devices for their "
							      "networks: run 'kubectl apply -k deploy/'", ref.name) : 0;
	r = doc_parse_json(a, ref.name, o.json, strlen(o.json), DOC_SIZE_MAX, &hooks, e);
	if (r < 0)
		return r;
	yyjson_arr_foreach(hooks, i, max, hook) {
		if (!strcmp(doc_str(hook, "caBundle"), bundle))
			continue;
		op = yyjson_mut_arr_add_obj(doc, ops);
		yyjson_mut_obj_add_str(doc, op, "op", "test");
		yyjson_mut_obj_add_strcpy(doc, op, "path", arena_printf(a, "/webhooks/%zu/name", i));
		yyjson_mut_obj_add_str(doc, op, "value", doc_str(hook, "name"));
		op = yyjson_mut_arr_add_obj(doc, ops);
		yyjson_mut_obj_add_str(doc, op, "op", "add");
		yyjson_mut_obj_add_strcpy(doc, op, "path", arena_printf(a, "/webhooks/%zu/clientConfig/caBundle", i));
		yyjson_mut_obj_add_str(doc, op, "value", bundle);
	}
	if (!yyjson_mut_arr_size(ops))
		return 0;
	controller_before_write(c);
	r = kube_patch(w->kube, a, &ref, KUBE_PATCH_JSON, doc_mut_to_json(a, ops, false), NULL, e);
	if (r < 0)
		return r == -ENOENT || r == -ESTALE ? 1 : r;
	log_info("%s %s trusts the webhooks' CA", which == MUTATING ? "MutatingWebhookConfiguration" : "ValidatingWebhookConfiguration", ref.name);
	return 1;
}

static int watch_configurations(struct webhook *w, struct err *e)
{
	for (size_t i = 0; i < CONFIGURATIONS; i++) {
		struct informer_spec spec = {
			.ref = { .group = "admissionregistration.k8s.io", .version = "v1", .plural = plurals[i] },
			.keep = keep_configuration, .event = on_configuration, .arg = w,
		};
		_cleanup_arena_ struct arena *a = arena_new();
		int r;

		spec.select.fields = arena_printf(a, "metadata.name=%s", w->options->configuration);
		r = w->configurations[i] ? 0 : informer_start(w->kube, &spec, &w->configurations[i], e);
		if (r < 0)
			return r;
		if (!informer_wait(w->configurations[i], 2000, e))
			return -EAGAIN;
	}
	return informer_wait(w->secret, 2000, e) ? 0 : -EAGAIN;
}

/* One that is missing is none that could be called; one that is forbidden is not mended by waiting. */
static bool settled(int r)
{
	return r == 0 || r == -ENOENT || r == -EPERM;
}

int webhook_care(struct webhook *w, struct controller *c, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct informer_object o;
	struct ca_state is, wanted;
	bool have, changed, trusted;
	const char *bundle;
	yyjson_val *v = NULL;
	int r, other = 0;
	unsigned next;

	r = watch_configurations(w, e);
	if (r < 0)
		return r;
	if (!controller_may_write(c))
		return 1;
	have = informer_get(w->secret, a, w->options->home, SECRET, &o) == 0;
	if (have)
		r = doc_parse_json(a, SECRET, o.json, strlen(o.json), DOC_SIZE_MAX, &v, e);
	if (r < 0)
		return r;
	ca_read(a, v, &is);
	trusted = is.bundle && w->trusted == write_hash(is.bundle) && clock_ns() - w->trusted_ns > TRUST_S * 1000000000ull;
	r = ca_next(a, &is, w->options->names, time(NULL), trusted, &wanted, &changed, &next, e);
	if (r < 0)
		return err_wrap(e, r, "the webhooks' certificates");
	if (changed) {
		r = write_secret(w, c, a, have ? &o : NULL, &wanted, e);
		return r == -EEXIST || r == -ESTALE || r == 0 ? 1 : err_wrap(e, r, "the Secret %s/" SECRET, w->options->home);
	}
	bundle = base64_encode(a, is.bundle, strlen(is.bundle));
	other = write_bundle(w, c, a, VALIDATING, bundle, e);
	r = write_bundle(w, c, a, MUTATING, bundle, other < 0 ? NULL : e);
	if (r < 0 || other < 0) {
		w->cared |= settled(r) && settled(other);
		return other < 0 ? other : r;
	}
	if (r + other)
		return 1;
	if (w->trusted != write_hash(is.bundle)) {
		w->trusted = write_hash(is.bundle);
		w->trusted_ns = clock_ns();
	}
	if (clock_ns() - w->trusted_ns < KNOWN_S * 1000000000ull)
		return KNOWN_S + 1;
	w->cared = true;
	/* whoever comes before that time must come again */
	return !trusted ? TRUST_S + 1 : next ? (int)next : 3600;
}
