/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device plugin without an agent, for tests: one line of JSON on stdin is one order, one on stdout one thing that happened.
 *	device_driver {"root", "kubeletDir", "podResources", "infoDir", "devDir", "cdiDir", "envDir", "holdMs", "pollMs"}
 *	{"update": [{"prefix", "name", "rdma", "vhostNet", "excludeTopology", "shares", "vfs": [{"pci", "pf", "netdev", "index", "numa"}]}]}
 *	{"holders": [{"pci", "namespace", "name", "requested"}]}   {"poke": true}   {"show": true}
 *	{"pod": "NAME", "namespace"}   what the kubelet gave to it: [["container", "resource", "id"], ...]
 */
#include <pthread.h>
#include <string.h>

#include "base/strbuf.h"
#include "codec/doc.h"
#include "device/device.h"
#include "device/podres.h"

struct driver {
	pthread_mutex_t lock;
	struct arena *arena;
	struct device_holder *holders;
	size_t n;
};

static void print(const char *text)
{
	flockfile(stdout);
	puts(text);
	fflush(stdout);
	funlockfile(stdout);
}

static void holders(void *arg, struct arena *a, struct device_holder **ret, size_t *ret_n)
{
	struct driver *d = arg;

	*ret = NULL;
	*ret_n = 0;
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n; i++)
		*(struct device_holder *)arena_push(a, ret, ret_n, sizeof(**ret)) = (struct device_holder){
			arena_strdup(a, d->holders[i].pci), arena_strdup(a, d->holders[i].namespace), arena_strdup(a, d->holders[i].name),
			d->holders[i].requested };
	pthread_mutex_unlock(&d->lock);
}

static void health(void *arg, const char *resource, const char *pci, bool healthy, const char *reason)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, v, "health", pci);
	yyjson_mut_obj_add_str(doc, v, "resource", resource);
	yyjson_mut_obj_add_bool(doc, v, "healthy", healthy);
	yyjson_mut_obj_add_str(doc, v, "reason", reason);
	print(doc_mut_to_json(a, v, false));
}

static void say(void *arg, bool bad, const char *text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, v, "say", text);
	yyjson_mut_obj_add_bool(doc, v, "bad", bad);
	print(doc_mut_to_json(a, v, false));
}

static void update(struct device_plugin *p, struct arena *a, yyjson_val *list)
{
	struct device_resource *all = NULL;
	yyjson_arr_iter i, j;
	yyjson_val *v, *w;
	struct err e;
	size_t n = 0;

	yyjson_arr_iter_init(list, &i);
	while ((v = yyjson_arr_iter_next(&i))) {
		struct device_vf *vfs = NULL;
		size_t n_vfs = 0;

		yyjson_arr_iter_init(yyjson_obj_get(v, "vfs"), &j);
		while ((w = yyjson_arr_iter_next(&j)))
			*(struct device_vf *)arena_push(a, &vfs, &n_vfs, sizeof(*vfs)) = (struct device_vf){
				.pci = doc_str(w, "pci"), .pf_pci = doc_str(w, "pf"), .pf_netdev = doc_str(w, "netdev"),
				.index = (unsigned)doc_int(w, "index", 0), .numa = (int)doc_int(w, "numa", -1),
				.rdma = doc_bool(v, "rdma", false) };
		*(struct device_resource *)arena_push(a, &all, &n, sizeof(*all)) = (struct device_resource){
			.prefix = doc_str(v, "prefix"), .name = doc_str(v, "name"),
			.vhost_net = doc_bool(v, "vhostNet", false), .exclude_topology = doc_bool(v, "excludeTopology", false),
			.shares = (unsigned)doc_int(v, "shares", 0), .vfs = vfs, .n_vfs = n_vfs };
	}
	if (device_plugin_update(p, all, n, &e) < 0)
		say(NULL, true, e.msg);
}

static void show_pod(const char *socket, struct arena *a, const char *ns, const char *name)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *all = yyjson_mut_arr(doc), *v;
	struct podres_device *given;
	struct err e;
	size_t n;

	if (podres_get(socket, ns, name, 0, a, &given, &n, &e) < 0) {
		say(NULL, true, e.msg);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		v = yyjson_mut_arr_add_arr(doc, all);
		yyjson_mut_arr_add_str(doc, v, given[i].container);
		yyjson_mut_arr_add_str(doc, v, given[i].resource);
		yyjson_mut_arr_add_str(doc, v, given[i].id);
	}
	print(doc_mut_to_json(a, all, false));
}

static void order(struct driver *d, struct device_plugin *p, const char *socket, const char *line)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_arr_iter i;
	yyjson_val *root, *v, *list;
	struct err e;

	if (doc_parse_json(a, "stdin", line, strlen(line), DOC_SIZE_MAX, &root, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	list = yyjson_obj_get(root, "holders");
	if (list) {
		pthread_mutex_lock(&d->lock);
		arena_free(d->arena);
		d->arena = arena_new();
		d->holders = NULL;
		d->n = 0;
		yyjson_arr_iter_init(list, &i);
		while ((v = yyjson_arr_iter_next(&i)))
			*(struct device_holder *)arena_push(d->arena, &d->holders, &d->n, sizeof(*d->holders)) = (struct device_holder){
				arena_strdup(d->arena, doc_str(v, "pci")), arena_strdup(d->arena, doc_str(v, "namespace")),
				arena_strdup(d->arena, doc_str(v, "name")), doc_bool(v, "requested", false) };
		pthread_mutex_unlock(&d->lock);
	}
	if (yyjson_obj_get(root, "update"))
		update(p, a, yyjson_obj_get(root, "update"));
	if (yyjson_obj_get(root, "poke"))
		device_plugin_poke(p);
	if (yyjson_obj_get(root, "pod"))
		show_pod(socket, a, doc_str(root, "namespace"), doc_str(root, "pod"));
	if (yyjson_obj_get(root, "show")) {
		yyjson_mut_doc *doc = doc_new(a);

		print(doc_mut_to_json(a, device_plugin_json(p, doc), false));
	}
}

int main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct driver d = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct device_plugin *p;
	struct sysroot *root;
	yyjson_val *o;
	struct err e = { 0 };
	size_t size = 0;
	char *line = NULL;

	if (argc != 2 || doc_parse_json(a, "options", argv[1], strlen(argv[1]), DOC_SIZE_MAX, &o, &e) < 0 ||
	    sysroot_open(doc_str(o, "root"), &root, &e) < 0) {
		fprintf(stderr, "device_driver: %s\n", e.msg);
		return 2;
	}
	if (device_plugin_start(&(struct device_options){
			.kubelet_dir = doc_str(o, "kubeletDir"), .pod_resources = doc_str(o, "podResources"), .info_dir = doc_str(o, "infoDir"),
			.dev_dir = doc_str(o, "devDir"), .root = root, .cdi_dir = doc_str(o, "cdiDir"), .env_dir = doc_str(o, "envDir"),
			.hold_ms = (unsigned)doc_int(o, "holdMs", 0), .poll_ms = (unsigned)doc_int(o, "pollMs", 0),
			.host = { .arg = &d, .holders = holders, .health = health, .say = say } }, &p, &e) < 0) {
		fprintf(stderr, "device_driver: %s\n", e.msg);
		return 1;
	}
	while (getline(&line, &size, stdin) > 0)
		order(&d, p, doc_str(o, "podResources"), line);
	free(line);
	device_plugin_stop(p);
	arena_free(d.arena);
	sysroot_close(root);
	return 0;
}
