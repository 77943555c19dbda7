/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attach engine without an agent, for tests and benchmarks: devices are links of this namespace that the test made.
 *	attach_driver STATE request       environment CNI_*, configuration on stdin, as a plugin
 *	attach_driver STATE recover       what an agent does at its start
 *	attach_driver STATE list          attachments as JSON
 *	attach_driver STATE leases        addresses that are held, one a line
 *	attach_driver STATE steps
 *	attach_driver STATE bench N NETNS  ADD and DEL, N times in this process: microseconds of the pair, median
 *	attach_driver STATE storm N NETNS...  N rounds of ADD and DEL, a thread for each namespace
 * CONF in the environment: the configuration of bench and storm instead of one with a rail.
 * KVRAIL_TEST_DEVICES lists the devices: netdevs ("d0 d1") or PCI addresses of VFs. STATE/nads/NS.NAME.json are the networks'
 * configurations (NS.NAME.resource beside it: its resource, empty for none). KVRAIL_CRASH_AT kills the process at a step; KVRAIL_SOFT_ROCE allows soft RoCE.
 * KVRAIL_TEST_ROOT: a tree to read sysfs from instead of the kernel's.
 * With KVRAIL_TEST_CLUSTER the engine is one in a cluster: STATE/pods/NS.NAME.json is a pod {"uid", "annotations", "containers": [{"name",
 * "env": [NAMES], "gpu", "devices": {RESOURCE: [IDS]}}]}, any.json every other; status/NS.NAME and events are what it wrote; cdi, env, conf and cni are its folders.
 * KVRAIL_TEST_CONTAINED: as in a container, plugins are run for requests only, by the runtime's side; KVRAIL_TEST_LEAVES=N: which is killed after its N-th. KVRAIL_TEST_BIN: where plugins are. KVRAIL_TEST_TIMEOUT: of theirs, in ms. KVRAIL_TEST_NO_CDI: the runtime has none.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "attach/attach.h"
#include "base/clock.h"
#include "base/file.h"
#include "linux/rtnl.h"

#define CONF_MAX (2u << 20)

struct driver {
	struct attach_host host;
	struct attach_cluster cluster;
	struct attach_engine *en;
	struct store *store;
	const char *devices, *crash_at, *state;
	int ran, leaves; /* plugins that the runtime's side ran, and after how many it is killed; 0: never */
};

static bool is_taken(const char *name, const char **taken, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(taken[i], name))
			return true;
	return false;
}

/* As the agent does: everything about a VF is read when it is picked. */
static int look_at_vf(const struct driver *d, struct arena *a, const char *pci, const char *resource, struct attach_vf *ret, struct err *e)
{
	const struct sysroot *root = d->host.root;
	struct attach_vf vf = { .pci = pci, .resource = resource };
	const char **names, *link;
	size_t n;

	if (sysfs_link(root, a, &vf.pf_pci, "bus/pci/devices/%s/physfn", pci) < 0 ||
	    sysfs_link(root, a, &vf.driver, "bus/pci/devices/%s/driver", pci) < 0 ||
	    sysfs_list(root, a, &names, &n, "bus/pci/devices/%s/physfn/net", pci) < 0 || n == 0)
		return err_set(e, -ENODEV, "%s is no VF with a driver", pci);
	vf.pf_netdev = names[0];
	while (sysfs_link(root, a, &link, "bus/pci/devices/%s/virtfn%u", vf.pf_pci, vf.index) == 0 && strcmp(link, pci))
		vf.index++;
	if (sysfs_list(root, a, &names, &n, "bus/pci/devices/%s/net", pci) == 0 && n)
		vf.netdev = names[0];
	*ret = vf;
	return 0;
}

static int pick_vf(void *arg, struct arena *a, const char *resource, const char *pci, const char **taken, size_t n_taken,
		   struct attach_vf *ret, struct err *e)
{
	const struct driver *d = arg;
	char *list = arena_strdup(a, d->devices), *save = NULL;

	for (char *name = strtok_r(list, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		if (is_taken(name, taken, n_taken) || (pci && strcmp(pci, name)))
			continue;
		if (strchr(name, ':'))
			return look_at_vf(d, a, name, resource, ret, e);
		*ret = (struct attach_vf){ .pci = "", .netdev = name, .resource = resource };
		return 0;
	}
	return err_set(e, -ENOSPC, "no device of %s is free", pci ? pci : resource);
}

static int network(void *arg, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	const struct driver *d = arg;
	struct api_nad *nad = arena_alloc(a, sizeof(*nad));
	_cleanup_free_ char *text = NULL, *resource = NULL;
	char *path = arena_printf(a, "%s/nads/%s.%s.json", d->state, ns, name);
	int r = file_read(AT_FDCWD, path, 1u << 20, &text, NULL);

	if (r < 0)
		return err_set(e, -ENOENT, "there is no network %s/%s", ns, name);
	nad->object.meta = arena_alloc(a, sizeof(*nad->object.meta));
	nad->object.meta->annotations = arena_alloc(a, sizeof(struct pair));
	nad->object.meta->annotations[0] = (struct pair){ NAD_RESOURCE_NAME, "test/soft" };
	nad->object.meta->n_annotations = 1;
	path = arena_printf(a, "%s/nads/%s.%s.resource", d->state, ns, name);
	if (file_read(AT_FDCWD, path, 4096, &resource, NULL) == 0)
		nad->object.meta->annotations[0].value = arena_strndup(a, resource, strcspn(resource, "\n"));
	nad->spec = arena_alloc(a, sizeof(*nad->spec));
	nad->spec->config = arena_strdup(a, text);
	*ret = nad;
	return 0;
}

static yyjson_val *read_pod(const struct driver *d, struct arena *a, const char *ns, const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	yyjson_val *v;
	size_t len;

	if (file_read(AT_FDCWD, arena_printf(a, "%s/pods/%s.%s.json", d->state, ns, name), 1u << 20, &text, &len) < 0 &&
	    file_read(AT_FDCWD, arena_printf(a, "%s/pods/any.json", d->state), 1u << 20, &text, &len) < 0) {
		err_set(e, -ENOENT, "there is no pod %s/%s", ns, name);
		return NULL;
	}
	return doc_parse_json(a, "pod", text, len, 1u << 20, &v, e) < 0 ? NULL : v;
}

static int pod(void *arg, struct arena *a, const char *ns, const char *name, const char *uid, struct attach_pod *ret, struct err *e)
{
	yyjson_val *v = read_pod(arg, a, ns, name, e), *k, *c, *n;
	struct attach_pod p = { .namespace = ns, .name = name, .uid = v ? doc_str(v, "uid") : NULL };
	yyjson_obj_iter members;
	yyjson_arr_iter it, names;

	if (!v)
		return -ENOENT;
	if (uid && p.uid && strcmp(uid, p.uid))
		return err_set(e, -ESTALE, "pod %s/%s is another one by now", ns, name);
	yyjson_obj_iter_init(yyjson_obj_get(v, "annotations"), &members);
	while ((k = yyjson_obj_iter_next(&members)))
		*(struct pair *)arena_push(a, &p.annotations, &p.n_annotations, sizeof(struct pair)) =
			(struct pair){ yyjson_get_str(k), yyjson_get_str(yyjson_obj_iter_get_val(k)) };
	yyjson_arr_iter_init(yyjson_obj_get(v, "containers"), &it);
	while ((c = yyjson_arr_iter_next(&it))) {
		struct attach_container *container = arena_push(a, &p.containers, &p.n_containers, sizeof(*container));

		container->name = doc_str(c, "name");
		container->gpu = doc_bool(c, "gpu", false);
		p.gpu |= container->gpu;
		yyjson_arr_iter_init(yyjson_obj_get(c, "env"), &names);
		while ((n = yyjson_arr_iter_next(&names)))
			*(const char **)arena_push(a, &container->env, &container->n_env, sizeof(char *)) = yyjson_get_str(n);
	}
	*ret = p;
	return 0;
}

/* Each network gets the first device of its resource that is left. */
static int assign(void *arg, struct arena *a, const struct attach_pod *p, const struct attach_ask *asks, size_t n, const char **ids,
		  struct attach_device **ret_all, size_t *ret_n_all, struct err *e)
{
	yyjson_val *v = read_pod(arg, a, p->namespace, p->name, e), *c, *k, *id;
	struct attach_device *all = NULL;
	yyjson_arr_iter it, list;
	yyjson_obj_iter members;
	size_t n_all = 0;

	yyjson_arr_iter_init(yyjson_obj_get(v, "containers"), &it);
	while ((c = yyjson_arr_iter_next(&it))) {
		yyjson_obj_iter_init(yyjson_obj_get(c, "devices"), &members);
		while ((k = yyjson_obj_iter_next(&members))) {
			yyjson_arr_iter_init(yyjson_obj_iter_get_val(k), &list);
			while ((id = yyjson_arr_iter_next(&list)))
				*(struct attach_device *)arena_push(a, &all, &n_all, sizeof(*all)) =
					(struct attach_device){ doc_str(c, "name"), yyjson_get_str(k), yyjson_get_str(id), doc_bool(c, "rdma", true) };
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k2 = 0; k2 < n_all && !ids[i]; k2++) {
			ids[i] = strcmp(all[k2].resource, asks[i].resource) ? NULL : all[k2].id;
			for (size_t j = 0; j < i && ids[i]; j++)
				if (ids[j] && !strcmp(ids[j], ids[i]))
					ids[i] = NULL;
		}
		if (!ids[i] && !asks[i].optional)
			return err_set(e, -ENOSPC, "network %s takes a device of %s, and the pod has none left", asks[i].network, asks[i].resource);
	}
	*ret_all = all;
	*ret_n_all = n_all;
	return 0;
}

static int network_status(void *arg, const struct attach_pod *p, const char *status, struct err *e)
{
	const struct driver *d = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	int r = file_mkdirs(arena_printf(a, "%s/status", d->state), 0755);

	if (getenv("KVRAIL_TEST_AWAY"))
		return 1;
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, arena_printf(a, "%s/status/%s.%s", d->state, p->namespace, p->name), status, strlen(status), 0644);
	return r < 0 ? err_errno(e, r, "status") : 0;
}

static void event(void *arg, const struct attach_pod *p, bool warning, const char *reason, const char *text)
{
	const struct driver *d = arg;
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_fclose_ FILE *f = fopen(arena_printf(a, "%s/events", d->state), "a");

	if (f)
		fprintf(f, "%s/%s %s %s: %s\n", p->namespace, p->name, warning ? "Warning" : "Normal", reason, text);
}

static void timing(void *arg, const char *verb, const char *stage, double seconds)
{
	const struct driver *d = arg;

	if (getenv("KVRAIL_TEST_TIMING"))
		fprintf(stderr, "%s %s %s %.6f\n", d->state, verb, stage, seconds);
}

static int run_plugin(void *caller, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len, unsigned timeout_s,
		      struct attach_ran *ret, struct err *e)
{
	int input = memfd_create("in", 0), output = memfd_create("out", 0), status;
	char *text = arena_alloc(a, CONF_MAX);
	struct driver *d = caller;
	ssize_t n;
	pid_t pid;

	if (d->leaves && d->ran == d->leaves)
		return -ENOTCONN;
	if (access(path, X_OK) < 0)
		return err_errno(e, -errno, "%s", path);
	if (write(input, in, in_len) != (ssize_t)in_len || lseek(input, 0, SEEK_SET) || (pid = fork()) < 0)
		abort();
	if (!pid) {
		dup2(input, 0);
		dup2(output, 1);
		for (; *env; env++)
			putenv((char *)*env);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	n = pread(output, text, CONF_MAX - 1, 0);
	*ret = (struct attach_ran){ .status = WEXITSTATUS(status), .out = text, .out_len = (size_t)n, .err = "" };
	close(input);
	close(output);
	if (++d->ran == d->leaves)
		return err_set(e, -ETIMEDOUT, "%s: the runtime gave up on it", path);
	return 0;
}

static void in_cluster(struct driver *d, struct arena *a)
{
	const char *timeout = getenv("KVRAIL_TEST_TIMEOUT"), *bin = getenv("KVRAIL_TEST_BIN");

	d->cluster = (struct attach_cluster){
		.pod = pod, .assign = assign, .network_status = network_status, .event = event, .timing = timing,
		.cdi_dir = getenv("KVRAIL_TEST_NO_CDI") ? NULL : arena_printf(a, "%s/cdi", d->state), .env_dir = arena_printf(a, "%s/env", d->state),
		.hook = "/opt/cni/bin/kvrail-hook", .bin_dirs = bin ? bin : "/usr/lib/cni", .conf_dir = arena_printf(a, "%s/conf", d->state),
		.cni_dir = arena_printf(a, "%s/cni", d->state), .delegate_timeout_ms = timeout ? (unsigned)atoi(timeout) : 0, .arg = d,
	};
	if (getenv("KVRAIL_TEST_CONTAINED"))
		d->cluster.run_plugin = run_plugin, d->cluster.contained = true;
	if (getenv("KVRAIL_TEST_LEAVES"))
		d->leaves = atoi(getenv("KVRAIL_TEST_LEAVES"));
	d->host.cluster = &d->cluster;
}

static void step(void *arg, const char *name)
{
	const struct driver *d = arg;

	if (!strcmp(name, d->crash_at))
		raise(SIGKILL);
}

static int request(struct driver *d, struct arena *a)
{
	const struct cni_env env = { getenv("CNI_COMMAND"), getenv("CNI_CONTAINERID"), getenv("CNI_NETNS"), getenv("CNI_IFNAME"),
				     getenv("CNI_ARGS"), getenv("CNI_PATH"), d->cluster.run_plugin ? d : NULL, getenv("CNI_KVRAIL_PLUGIN"), getenv("CNI_KVRAIL_WITHIN") };
	_cleanup_free_ char *conf = NULL;
	char *reply;
	size_t len;
	int r = file_read(AT_FDCWD, "/proc/self/fd/0", CONF_MAX, &conf, &len);

	if (r < 0)
		return 2;
	r = attach_request(d->en, a, &env, conf, len, &reply);
	if (*reply)
		puts(reply);
	if (env.caller)
		attach_recover_by(d->en, env.caller);
	return r ? 1 : 0;
}

static const char conf[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"bench\",\"type\":\"kvrail\",\"resourceName\":\"test/soft\","
			   "\"ipam\":{\"type\":\"whereabouts\",\"range\":\"10.200.0.0/16\"}}";

static int add_del(struct driver *d, const char *container, const char *netns, const char *text)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cni_env env = { "ADD", container, netns, "net1", arena_printf(a, "K8S_POD_NAMESPACE=t;K8S_POD_NAME=%s", container), "/opt/cni/bin" };
	char *reply;

	if (attach_request(d->en, a, &env, text, strlen(text), &reply)) {
		fprintf(stderr, "ADD %s: %s\n", container, reply);
		return 1;
	}
	env.command = "DEL";
	if (attach_request(d->en, a, &env, text, strlen(text), &reply)) {
		fprintf(stderr, "DEL %s: %s\n", container, reply);
		return 1;
	}
	return 0;
}

static int compare(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return (a > b) - (a < b);
}

static int bench(struct driver *d, struct arena *a, size_t n, const char *netns)
{
	uint64_t *took = arena_alloc(a, n * sizeof(*took));
	const char *text = getenv("CONF") ? getenv("CONF") : conf;

	for (size_t i = 0; i < n; i++) {
		uint64_t start = clock_ns();

		if (add_del(d, "bench", netns, text))
			return 1;
		took[i] = clock_ns() - start;
	}
	qsort(took, n, sizeof(*took), compare);
	printf("%.1f\n", (double)took[n / 2] / 1000);
	return 0;
}

struct storm {
	struct driver *d;
	const char *netns;
	unsigned number, rounds;
	int failed;
	pthread_t thread;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	char container[32];

	for (unsigned i = 0; i < s->rounds; i++) {
		snprintf(container, sizeof(container), "c%u-%u", s->number, i);
		s->failed += add_del(s->d, container, s->netns, getenv("CONF") ? getenv("CONF") : conf);
	}
	return NULL;
}

static int storm(struct driver *d, struct arena *a, unsigned rounds, char **netns, unsigned n)
{
	struct storm *s = arena_alloc(a, n * sizeof(*s));
	int failed = 0;

	for (unsigned i = 0; i < n; i++) {
		s[i] = (struct storm){ .d = d, .netns = netns[i], .number = i, .rounds = rounds };
		if (pthread_create(&s[i].thread, NULL, storm_thread, &s[i]))
			return 2;
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(s[i].thread, NULL);
		failed += s[i].failed;
	}
	return failed ? 1 : 0;
}

static int list(struct driver *d, struct arena *a)
{
	puts(doc_mut_to_json(a, attach_list(d->en, doc_new(a)), true));
	return 0;
}

static int leases(struct driver *d, struct arena *a, struct err *e)
{
	struct store_lease *l;
	size_t n;

	if (store_leases(d->store, a, NULL, &l, &n, e) < 0)
		return 2;
	for (size_t i = 0; i < n; i++)
		printf("%s %s %s %s\n", l[i].pool, l[i].podref, l[i].container, l[i].ifname);
	return 0;
}

static int run(struct driver *d, struct arena *a, int argc, char **argv, struct err *e)
{
	const char *verb = argv[2];

	if (!strcmp(verb, "request"))
		return request(d, a);
	if (!strcmp(verb, "recover")) {
		if (d->host.cluster)
			attach_tell_late(d->en);
		return attach_recover(d->en, e) < 0 ? 2 : 0;
	}
	if (!strcmp(verb, "list"))
		return list(d, a);
	if (!strcmp(verb, "leases"))
		return leases(d, a, e);
	if (!strcmp(verb, "bench") && argc == 5)
		return bench(d, a, (size_t)atol(argv[3]), argv[4]);
	if (!strcmp(verb, "storm") && argc > 4)
		return storm(d, a, (unsigned)atoi(argv[3]), argv + 4, (unsigned)argc - 4);
	err_set(e, -EINVAL, "%s?", verb);
	return 2;
}

int main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct driver d = { .crash_at = getenv("KVRAIL_CRASH_AT"), .devices = getenv("KVRAIL_TEST_DEVICES"), .state = argv[1] };
	struct ipam *ipam = NULL;
	struct sysroot *root = NULL;
	struct err e = { 0 };
	int r = 2;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[2], "steps")) {
		for (const char *const *s = attach_steps(); *s; s++)
			puts(*s);
		return 0;
	}
	d.devices = d.devices ? d.devices : "";
	if (store_open_local(arena_printf(a, "%s/store.db", argv[1]), &d.store, &e) < 0 || sysroot_open(getenv("KVRAIL_TEST_ROOT"), &root, &e) < 0)
		goto out;
	ipam = ipam_local(d.store);
	d.host = (struct attach_host){ .ipam = ipam, .root = root, .state_dir = argv[1], .arg = &d, .pick_vf = pick_vf, .network = network,
				       .soft_roce = getenv("KVRAIL_SOFT_ROCE"), .step = d.crash_at ? step : NULL };
	if (getenv("KVRAIL_TEST_CLUSTER"))
		in_cluster(&d, a);
	if (attach_engine_new(&d.host, &d.en, &e) == 0)
		r = run(&d, a, argc, argv, &e);
out:
	if (r == 2)
		fprintf(stderr, "%s\n", e.msg);
	attach_engine_free(d.en);
	ipam_close(ipam);
	store_close(d.store);
	sysroot_close(root);
	return r;
}
