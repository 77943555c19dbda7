/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server's client by itself, for tests. $KUBECONFIG says which cluster.
 *	kube_driver get REF | list REF [LABELS [FIELDS]] | create REF JSON | update REF JSON | patch TYPE REF JSON
 *	kube_driver delete REF [UID [VERSION]] | raw METHOD PATH [BODY]
 *	kube_driver watch REF[,REF...] [LABELS]  events of the first, one a line; stdin takes "all" (what is kept, then "."), "stale", and its end ends it
 *	kube_driver elect NS/NAME ID [DURATION RENEW RETRY]   "started", "stopped", until stdin ends
 *	kube_driver lock NS/NAME ID MS [DURATION RENEW RETRY] "locked" or the failure; given back when stdin ends
 *	kube_driver events NS/POD UID COUNT MESSAGE...        each message COUNT times
 *	kube_driver fill REF PREFIX N     adds data.PREFIX-1 to -N to a ConfigMap, each by a guarded update that is decided anew when need be
 *	kube_driver storm REF THREADS N   fills from so many threads at once; prints requests per second
 * REF is GROUP/VERSION/PLURAL/NAMESPACE/NAME[/SUB], each of which may be empty. Success prints JSON (list: "NS/NAME" lines, then the
 * version); a failure prints "ENAME: words" and exits with 1. $KVRAIL_TEST_TIMEOUT is a call's time in ms.
 */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "store/kube.h"

static struct arena *arena;
static struct err err;

static struct kube_ref ref_of(const char *text)
{
	char *parts[6] = { 0 }, *copy = arena_strdup(arena, text);

	for (int i = 0; i < 6 && copy; i++) {
		parts[i] = copy;
		copy = strchr(copy, '/');
		if (copy)
			*copy++ = '\0';
	}
	for (int i = 3; i < 6; i++)
		if (parts[i] && !*parts[i])
			parts[i] = NULL;
	return (struct kube_ref){ parts[0], parts[1], parts[2], parts[3], parts[4], parts[5] };
}

static int print(int r, yyjson_val *v)
{
	if (r < 0) {
		printf("%s: %s\n", strerrorname_np(-r), err.msg);
		return 1;
	}
	puts(v ? doc_to_json(arena, v, false) : "{}");
	return 0;
}

static int on_item(void *arg, yyjson_val *obj)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata");

	printf("%s/%s\n", doc_str(meta, "namespace") ? doc_str(meta, "namespace") : "", doc_str(meta, "name"));
	return 0;
}

static int list(struct kube *k, int argc, char **argv)
{
	struct kube_ref ref = ref_of(argv[2]);
	struct kube_select select = { argc > 3 && *argv[3] ? argv[3] : NULL, argc > 4 ? argv[4] : NULL };
	const char *version = NULL;
	int r = kube_list(k, arena, &ref, &select, on_item, NULL, &version, &err);

	if (r < 0)
		return print(r, NULL);
	printf("version %s\n", version);
	return 0;
}

static void on_event(void *arg, enum informer_event what, const struct informer_object *was, const struct informer_object *is)
{
	static const char *const words[] = { "ADDED", "CHANGED", "DELETED" };
	const struct informer_object *o = is ? is : was;

	printf("%s %s/%s %s\n", words[what], o->namespace, o->name, o->json);
}

static void on_synced(void *arg)
{
	puts("SYNCED");
}

/* Its data, or the whole of it. */
static const char *keep_data(void *arg, struct arena *a, yyjson_val *obj)
{
	yyjson_val *data = yyjson_obj_get(obj, "data");

	if (yyjson_obj_get(data, "ignore"))
		return NULL;
	return data ? doc_to_json(a, data, false) : "{}";
}

static int watch(struct kube *k, int argc, char **argv)
{
	struct informer_spec spec = {
		.ref = ref_of(arena_strndup(arena, argv[2], strcspn(argv[2], ","))), .select.labels = argc > 3 ? argv[3] : NULL, .keep = keep_data, .event = on_event, .synced = on_synced,
	};
	struct informer *in, *more[8] = { 0 };
	char line[64], *next;
	size_t n_more = 0;

	for (char *ref = strtok_r(argv[2], ",", &next); (ref = strtok_r(NULL, ",", &next)) && n_more < ARRAY_SIZE(more); n_more++) {
		struct informer_spec other = { .ref = ref_of(ref) };

		if (informer_start(k, &other, &more[n_more], &err) < 0)
			return print(err.code, NULL);
	}
	if (informer_start(k, &spec, &in, &err) < 0)
		return print(err.code, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct informer_object *all;
		struct err why = { 0 };
		size_t n;

		if (!strcmp(line, "stale\n")) {
			unsigned s = informer_stale_s(in, &why);

			printf("stale %u %s\n", s, why.msg);
		} else if (!strcmp(line, "wait\n")) {
			bool synced = informer_wait(in, 1000, &why);

			printf("wait %d %s\n", synced, why.msg);
		} else {
			n = informer_all(in, a, &all);
			for (size_t i = 0; i < n; i++)
				printf("%s/%s %s %s\n", all[i].namespace, all[i].name, all[i].version, all[i].json);
			puts(".");
		}
	}
	informer_stop(in);
	while (n_more--)
		informer_stop(more[n_more]);
	return 0;
}

static void on_started(void *arg)
{
	puts("started");
}

static void on_stopped(void *arg)
{
	puts("stopped");
}

static unsigned number(int argc, char **argv, int i)
{
	return i < argc ? (unsigned)atoi(argv[i]) : 0;
}

static int elect(struct kube *k, int argc, char **argv)
{
	bool lock = !strcmp(argv[1], "lock");
	int at = lock ? 5 : 4;
	char *slash = strchr(argv[2], '/'), c;
	struct election_options o = {
		.namespace = arena_strndup(arena, argv[2], (size_t)(slash - argv[2])), .name = slash + 1, .identity = argv[3],
		.duration_ms = number(argc, argv, at), .renew_ms = number(argc, argv, at + 1), .retry_ms = number(argc, argv, at + 2),
		.release = true, .started = on_started, .stopped = on_stopped,
	};
	struct election *el;
	int r = lock ? election_acquire(k, &o, number(argc, argv, 4), &el, &err) : election_start(k, &o, &el, &err);

	if (r < 0)
		return print(r, NULL);
	if (lock)
		puts("locked");
	while (read(STDIN_FILENO, &c, 1) > 0)
		printf("leader %d\n", election_is_leader(el));
	election_stop(el);
	return 0;
}

static int events(struct kube *k, int argc, char **argv)
{
	char *slash = strchr(argv[2], '/');
	struct kube_event_about about = { "v1", "Pod", arena_strndup(arena, argv[2], (size_t)(slash - argv[2])), slash + 1, argv[3] };
	struct kube_events *ev;
	char c;

	if (kube_events_start(k, "kvrail-test", "node1", &ev, &err) < 0)
		return print(err.code, NULL);
	for (int i = 5; i < argc; i++)
		for (unsigned n = number(argc, argv, 4); n; n--)
			kube_event(ev, &about, i % 2, "Tested", "%s", argv[i]);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	printf("dropped %llu\n", (unsigned long long)kube_events_dropped(ev));
	kube_events_stop(ev);
	return 0;
}

/* One member more; what happened to a change that got no answer is seen by reading again. */
static int add_member(struct kube *k, const struct kube_ref *ref, const char *key, struct err *e)
{
	for (int tries = 0; tries < 200; tries++) {
		_cleanup_arena_ struct arena *a = arena_new();
		yyjson_mut_doc *doc = doc_new(a);
		yyjson_mut_val *obj, *data;
		yyjson_val *v;
		int r = kube_get(k, a, ref, &v, e);

		if (r == 0 && yyjson_obj_get(yyjson_obj_get(v, "data"), key))
			return 0;
		if (r == 0) {
			obj = yyjson_val_mut_copy(doc, v);
			data = yyjson_mut_obj_get(obj, "data");
			if (!data)
				data = yyjson_mut_obj_add_obj(doc, obj, "data");
			yyjson_mut_obj_add_str(doc, data, key, "1");
			r = kube_update(k, a, ref, doc_mut_to_json(a, obj, false), NULL, e);
		}
		if (r == 0)
			return 0;
		if (r != -ESTALE && !kube_is_away(r))
			return r;
	}
	return err_set(e, -ELOOP, "no end");
}

struct filler {
	struct kube *k;
	struct kube_ref ref;
	unsigned number, n;
	pthread_t thread;
	struct err e;
	int r;
};

static void *fill_one(void *arg)
{
	struct filler *f = arg;
	char key[32];

	for (unsigned i = 1; i <= f->n && f->r == 0; i++) {
		snprintf(key, sizeof(key), "t%u-%u", f->number, i);
		f->r = add_member(f->k, &f->ref, key, &f->e);
	}
	return NULL;
}

static int storm(struct kube *k, const struct kube_ref *ref, unsigned threads, unsigned n)
{
	struct filler *v = arena_alloc(arena, threads * sizeof(*v));
	const struct kube_count *c;
	uint64_t start = clock_ns(), total = 0;
	int r = 0;

	for (unsigned i = 0; i < threads; i++) {
		v[i] = (struct filler){ .k = k, .ref = *ref, .number = i, .n = n };
		pthread_create(&v[i].thread, NULL, fill_one, &v[i]);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(v[i].thread, NULL);
		if (v[i].r < 0) {
			r = v[i].r;
			err = v[i].e;
		}
	}
	for (size_t i = kube_counts(k, &c); i--;)
		total += c[i].ok + c[i].failed;
	fprintf(stderr, "%.0f requests/s\n", (double)total * 1e9 / (double)(clock_ns() - start));
	return print(r, NULL);
}

static int fill(struct kube *k, const struct kube_ref *ref, const char *prefix, int n)
{
	int r = 0;

	for (int i = 1; i <= n && r == 0; i++)
		r = add_member(k, ref, arena_printf(arena, "%s-%d", prefix, i), &err);
	return print(r, NULL);
}

static enum kube_patch patch_type(const char *word)
{
	return !strcmp(word, "json") ? KUBE_PATCH_JSON : !strcmp(word, "merge") ? KUBE_PATCH_MERGE :
	       !strcmp(word, "force") ? KUBE_PATCH_APPLY_FORCE : KUBE_PATCH_APPLY;
}

static int counts(struct kube *k)
{
	const struct kube_count *c;
	size_t n = kube_counts(k, &c);

	for (size_t i = 0; i < n; i++)
		if (c[i].ok || c[i].failed)
			fprintf(stderr, "%s ok=%llu failed=%llu retried=%llu\n", c[i].verb, (unsigned long long)c[i].ok,
				(unsigned long long)c[i].failed, (unsigned long long)c[i].retried);
	return 0;
}

static int run(struct kube *k, int argc, char **argv)
{
	const char *what = argv[1];
	struct kube_ref ref = ref_of(argv[!strcmp(what, "patch") ? 3 : 2]);
	yyjson_val *v = NULL;
	int r = -EINVAL;

	if (!strcmp(what, "elect") || !strcmp(what, "lock"))
		return elect(k, argc, argv);
	if (!strcmp(what, "events"))
		return events(k, argc, argv);
	if (!strcmp(what, "list"))
		return list(k, argc, argv);
	if (!strcmp(what, "fill"))
		return fill(k, &ref, argv[3], atoi(argv[4]));
	if (!strcmp(what, "storm"))
		return storm(k, &ref, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
	if (!strcmp(what, "watch"))
		return watch(k, argc, argv);
	if (!strcmp(what, "get"))
		r = kube_get(k, arena, &ref, &v, &err);
	if (!strcmp(what, "create"))
		r = kube_create(k, arena, &ref, argv[3], &v, &err);
	if (!strcmp(what, "update"))
		r = kube_update(k, arena, &ref, argv[3], &v, &err);
	if (!strcmp(what, "patch"))
		r = kube_patch(k, arena, &ref, patch_type(argv[2]), argv[4], &v, &err);
	if (!strcmp(what, "delete"))
		r = kube_delete(k, &ref, argc > 3 && *argv[3] ? argv[3] : NULL, argc > 4 ? argv[4] : NULL, -1, &err);
	if (!strcmp(what, "raw"))
		r = kube_raw(k, arena, argv[2], argv[3], argc > 4 ? argv[4] : NULL, &v, &err);
	return print(r, v);
}

int main(int argc, char **argv)
{
	struct kube_options o = { .timeout_ms = getenv("KVRAIL_TEST_TIMEOUT") ? (unsigned)atoi(getenv("KVRAIL_TEST_TIMEOUT")) : 0 };
	struct kube *k;
	int r;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	arena = arena_new();
	r = kube_open(&o, &k, &err);
	if (r < 0)
		return print(r, NULL);
	r = run(k, argc, argv);
	counts(k);
	kube_close(k);
	arena_free(arena);
	return r;
}
