/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses out of a cluster's IP pools without an agent, for tests and benchmarks: one process stands for one node.
 *	ipam_driver NODE NAMESPACE [always] [lease]      the API server is $KUBECONFIG's
 * It says "ready", then takes lines, each served by a thread of its own, and answers each with a line that begins with the same word:
 *	ID add CONTAINER PODREF IFNAME,IFNAME... IPAM     -> ID ok ADDRESS,... MICROSECONDS
 *	ID del CONTAINER IFNAME,IFNAME...|-               -> ID ok - MICROSECONDS
 *	ID reconcile PODREF,PODREF...|-                   -> ID ok FIXES MICROSECONDS   (what a controller does, with these pods alive, no grace)
 *	ID stats                                          -> ID ok patches=.. conflicts=.. jobs=.. batches=.. reservations=.. reads=..
 * or "ID error ERRNO WORDS". IPAM is the "ipam" object of a network, or a list of them, one an interface; "name" in it is the
 * configuration's. At the end of its input it waits for all threads.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "ipam/pools.h"
#include "ipam/reconcile.h"

#define IFNAMES_MAX 64

static struct ipam *ip;
static struct kube *kube;
static const char *namespace, *node;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned running;

static void answer(const char *id, int r, const char *text, const struct err *e)
{
	pthread_mutex_lock(&lock);
	if (r < 0)
		printf("%s error %d %s\n", id, -r, e->msg);
	else
		printf("%s ok %s\n", id, text);
	fflush(stdout);
	pthread_mutex_unlock(&lock);
}

static size_t split(char *list, const char **ret)
{
	size_t n = 0;
	char *save = NULL;

	for (char *s = strtok_r(list, ",", &save); s && n < IFNAMES_MAX; s = strtok_r(NULL, ",", &save))
		ret[n++] = s;
	return n;
}

static int add(struct arena *a, char *save, struct strbuf *text, struct err *e)
{
	const char *container = strtok_r(NULL, " ", &save), *podref = strtok_r(NULL, " ", &save), *ifnames[IFNAMES_MAX];
	char *list = strtok_r(NULL, " ", &save), *json = strtok_r(NULL, "", &save);
	struct ipam_ask asks[IFNAMES_MAX];
	struct ipam_conf confs[IFNAMES_MAX];
	struct ipam_given *given;
	yyjson_val *v;
	size_t n;
	int r;

	if (!json)
		return err_set(e, -EINVAL, "add CONTAINER PODREF IFNAMES IPAM");
	n = split(list, ifnames);
	r = doc_parse_json(a, "ipam", json, strlen(json), DOC_SIZE_MAX, &v, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		yyjson_val *conf = yyjson_is_arr(v) ? yyjson_arr_get(v, i) : v;

		r = ipam_conf_parse(a, conf, &confs[i], e);
		confs[i].name = doc_str(conf, "name");
		asks[i] = (struct ipam_ask){ &confs[i], ifnames[i], NULL };
	}
	if (r == 0)
		r = ipam_allocate(ip, a, container, podref, asks, n, &given, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		for (size_t k = 0; k < given[i].n_ips; k++)
			strbuf_addf(text, "%s%s", text->len ? "," : "", given[i].ips[k].address);
	return r;
}

static int del(char *save, struct strbuf *text, struct err *e)
{
	const char *container = strtok_r(NULL, " ", &save), *ifnames[IFNAMES_MAX];
	char *list = strtok_r(NULL, " ", &save);

	if (!list)
		return err_set(e, -EINVAL, "del CONTAINER IFNAMES");
	strbuf_addstr(text, "-");
	return ipam_release(ip, container, ifnames, strcmp(list, "-") ? split(list, ifnames) : 0, e);
}

static int stats(struct strbuf *text)
{
	struct ipam_pools_stats s = ipam_pools_stats(ip);

	strbuf_addf(text, "patches=%llu conflicts=%llu jobs=%llu batches=%llu reservations=%llu reads=%llu", (unsigned long long)s.patches,
		    (unsigned long long)s.conflicts, (unsigned long long)s.jobs, (unsigned long long)s.batches,
		    (unsigned long long)s.reservations, (unsigned long long)s.reads);
	return 0;
}

/* Everything of the namespace, by lists. */
struct all {
	struct arena *a;
	struct ipam_pool *pools;
	size_t n_pools;
	struct ipam_reservation *reservations;
	size_t n_reservations;
};

static int on_pool(void *arg, yyjson_val *obj)
{
	struct all *all = arg;
	struct err e;

	return ipam_pool_decode(all->a, obj, arena_push(all->a, &all->pools, &all->n_pools, sizeof(struct ipam_pool)), &e);
}

static int on_reservation(void *arg, yyjson_val *obj)
{
	struct all *all = arg;
	struct err e;

	return ipam_reservation_decode(all->a, obj,
				       arena_push(all->a, &all->reservations, &all->n_reservations, sizeof(struct ipam_reservation)), &e);
}

static int apply(struct arena *a, const struct ipam_fix *f, struct err *e)
{
	struct kube_ref ref = { IPAM_GROUP, IPAM_VERSION, f->kind == IPAM_DROP_ENTRY ? IPAM_POOLS : IPAM_RESERVATIONS, namespace, f->object, NULL };
	int r;

	if (f->kind == IPAM_DROP_ENTRY) {
		r = kube_patch(kube, a, &ref, KUBE_PATCH_JSON, ipam_drop_patch(a, &f->entry, 1), NULL, e);
	} else if (f->kind == IPAM_DROP_RESERVATION) {
		r = kube_delete(kube, &ref, f->uid, NULL, -1, e);
	} else {
		ref.name = NULL;
		r = kube_create(kube, a, &ref, ipam_reservation_json(a, f->object, f->entry->podref, f->entry->ifname), NULL, e);
	}
	return r == -ESTALE || r == -ENOENT || r == -EEXIST ? 0 : r;
}

static int reconcile(struct arena *a, char *save, struct strbuf *text, struct err *e)
{
	struct kube_ref pools = { IPAM_GROUP, IPAM_VERSION, IPAM_POOLS, namespace, NULL, NULL };
	struct kube_ref reservations = { IPAM_GROUP, IPAM_VERSION, IPAM_RESERVATIONS, namespace, NULL, NULL };
	struct ipam_node self = { node, IPAM_NODE_READY };
	struct ipam_reconcile_in in = { .grace_ms = 1, .nodes = &self, .n_nodes = 1 };
	struct ipam_reconcile_out out = { 0 };
	char *list = strtok_r(NULL, " ", &save), *next = NULL;
	struct ipam_pod *pods = NULL;
	struct all all = { .a = a };
	int r;

	for (char *s = list && strcmp(list, "-") ? strtok_r(list, ",", &next) : NULL; s; s = strtok_r(NULL, ",", &next))
		((struct ipam_pod *)arena_push(a, &pods, &in.n_pods, sizeof(*pods)))->podref = s;
	in.pods = pods;
	/* reservations before pools: one is made after its entry */
	r = kube_list(kube, a, &reservations, NULL, on_reservation, &all, NULL, e);
	if (r == 0)
		r = kube_list(kube, a, &pools, NULL, on_pool, &all, NULL, e);
	if (r < 0)
		return r;
	in.pools = all.pools;
	in.n_pools = all.n_pools;
	in.reservations = all.reservations;
	in.n_reservations = all.n_reservations;
	for (in.now_ms = 1; in.now_ms <= 2; in.now_ms++) {
		in.suspects = out.suspects;
		in.n_suspects = out.n_suspects;
		ipam_reconcile(a, &in, &out);
	}
	for (size_t i = 0; i < out.n_fixes && r == 0; i++)
		r = apply(a, &out.fixes[i], e);
	strbuf_addf(text, "%zu", out.n_fixes);
	return r;
}

static void *serve(void *arg)
{
	_cleanup_free_ char *line = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char *save = NULL;
	const char *id = strtok_r(line, " ", &save), *verb = strtok_r(NULL, " ", &save);
	uint64_t begin = clock_ns();
	struct err e = { 0 };
	int r = -EINVAL;

	if (verb && !strcmp(verb, "add"))
		r = add(a, save, &text, &e);
	else if (verb && !strcmp(verb, "del"))
		r = del(save, &text, &e);
	else if (verb && !strcmp(verb, "reconcile"))
		r = reconcile(a, save, &text, &e);
	else if (verb && !strcmp(verb, "stats"))
		r = stats(&text);
	strbuf_addf(&text, " %llu", (unsigned long long)((clock_ns() - begin) / 1000));
	answer(id ? id : "-", r, text.s, &e);
	pthread_mutex_lock(&lock);
	running--;
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void serve_all(void)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		pthread_t thread;

		line[strcspn(line, "\n")] = '\0';
		pthread_mutex_lock(&lock);
		running++;
		pthread_mutex_unlock(&lock);
		if (pthread_create(&thread, NULL, serve, strdup(line)))
			abort();
		pthread_detach(thread);
	}
	pthread_mutex_lock(&lock);
	while (running)
		pthread_cond_wait(&ended, &lock);
	pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
	struct kube_options options = { .timeout_ms = 15000 };
	struct ipam_pools_options o = { .node = argv[1], .namespace = argc > 2 ? argv[2] : NULL };
	struct err e = { 0 };
	int r;

	if (argc < 3)
		return 2;
	node = argv[1];
	namespace = argv[2];
	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "always"))
			o.reserve = IPAM_RESERVE_ALWAYS;
		if (!strcmp(argv[i], "lease"))
			o.lease = true;
	}
	r = kube_open(&options, &kube, &e);
	if (r == 0)
		r = ipam_pools_start(kube, &o, &ip, &e);
	if (r == 0 && !ipam_pools_ready(ip, 20000, &e))
		r = -EHOSTUNREACH;
	if (r == 0) {
		puts("ready");
		fflush(stdout);
		serve_all();
	} else {
		fprintf(stderr, "%s\n", e.msg);
	}
	ipam_close(ip);
	kube_close(kube);
	return r < 0;
}
