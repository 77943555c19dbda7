/* SPDX-License-Identifier: Apache-2.0 */
/* The node's thread and what it knows, between an API server and a kubelet that answer as a test says. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/cluster.h"
#include "base/clock.h"
#include "base/file.h"
#include "rpc/grpc.h"
#include "wall-clock.h"

#define PORT "0000:3b:00.0" /* of the tree x710: two VFs */
#define VF   "0000:3b:02.0"
#define P    "{\"metadata\":{\"namespace\":\"a\",\"name\":\"p\",\"uid\":\"u\"},\"spec\":{}}"
#define SPEC "\"spec\":{\"interfaces\":[{\"pciAddress\":\"" PORT "\",\"name\":\"ens3f0\",\"numVfs\":4,\"vfGroups\":[{\"resourceName\":\"r\","      \
	     "\"vfRange\":\"0-3\"}]}]}"

static char folder[] = "/tmp/kvrail-cluster-XXXXXX";
static struct httpd *httpd;
static struct grpc_server *kubelet;
static struct agent_options options = { .state_dir = folder, .kubelet_dir = folder, .namespace = "ns" };
static struct agent ag;
static struct cluster *cl;
static struct arena *a;
static struct err err;

/* what the API server has: an object, or NULL for an empty list; "": it does not answer */
static const char *pods, *states;
static _Atomic bool away; /* for changes */
static void (*on_patch)(void);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char written[4096]; /* by the last change */
static unsigned changes;
static bool drains; /* one of them asked for it */
/* what the kubelet says of its pods */
static bool not_yet; /* the container has no VF */
static size_t offered[8], n_lists; /* by the pools, each time it is asked */

static void list(struct httpd_request *rq, struct httpd_reply *reply, const char *object)
{
	if (object && !*object) {
		httpd_say(reply, 503, "{}");
	} else if (httpd_query(rq, "watch")) {
		clock_sleep_ms(20);
		httpd_say(reply, 200, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"6\"}}}\n");
	} else {
		httpd_say(reply, 200, arena_printf(rq->arena, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[%s]}",
						   object ? object : ""));
	}
}

static void change(struct httpd_request *rq, struct httpd_reply *reply)
{
	if (on_patch)
		on_patch();
	pthread_mutex_lock(&lock);
	if (!away) {
		changes++;
		drains |= strstr(rq->body, "Drain_Required") != NULL;
		snprintf(written, sizeof(written), "%s", rq->body);
	}
	pthread_mutex_unlock(&lock);
	httpd_say(reply, away ? 503 : 200, "{}");
}

static void serve(void *arg, struct httpd_request *rq, struct httpd_reply *reply)
{
	if (strcmp(rq->method, "GET"))
		change(rq, reply);
	else if (strstr(rq->path, "/pods"))
		list(rq, reply, pods);
	else if (strstr(rq->path, "/sriovnetworknodestates"))
		list(rq, reply, states);
	else
		list(rq, reply, NULL);
}

static const char *path_of(const char *name)
{
	return arena_printf(a, "%s/%s", folder, name);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(AT_FDCWD, path_of(name), text, strlen(text), 0600), 0);
}

static int setup(void **state)
{
	const struct kube_options ko = { .kubeconfig = options.kubeconfig, .timeout_ms = 500 };

	a = arena_new();
	pods = P;
	states = NULL;
	away = false;
	on_patch = NULL;
	changes = 0;
	drains = not_yet = false;
	n_lists = 0;
	*written = '\0';
	ag = (struct agent){ .options = &options, .node = "n", .pools_lock = PTHREAD_MUTEX_INITIALIZER, .apply_lock = PTHREAD_MUTEX_INITIALIZER };
	ag.cluster = cl = calloc(1, sizeof(*cl));
	cl->ag = &ag;
	pthread_mutex_init(&cl->lock, NULL);
	clock_cond_init(&cl->wake);
	return kube_open(&ko, &cl->kube, &err) < 0 || kube_events_start(cl->kube, "test", "n", &cl->events, &err) < 0;
}

static int teardown(void **state)
{
	kubelet = grpc_server_stop(kubelet);
	cluster_close(cl);
	attach_engine_free(ag.engine);
	pools_free(ag.pools);
	free(ag.problem);
	sysroot_close(ag.root);
	a = arena_free(a);
	return 0;
}

static int start(void **state)
{
	char text[400], *at = mkdtemp(folder);

	if (httpd_start_tcp("127.0.0.1:0", NULL, 65536, 64, serve, NULL, &httpd, &err) < 0)
		return -1;
	a = arena_new();
	options.kubeconfig = strdup(path_of("kubeconfig"));
	snprintf(text, sizeof(text), "{\"current-context\":\"t\",\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"http://127.0.0.1:%u\"}}],"
		 "\"users\":[{\"name\":\"u\",\"user\":{}}],\"contexts\":[{\"name\":\"t\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}]}",
		 httpd_port(httpd));
	put("kubeconfig", text);
	file_mkdirs(path_of("pod-resources"), 0700);
	a = arena_free(a);
	return at ? 0 : -1;
}

static int stop(void **state)
{
	char command[100];

	httpd_stop(httpd);
	free((char *)options.kubeconfig);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

/* As far as it goes: the pods may not be listed. */
static void watch(void)
{
	assert_int_equal(watch_start(cl, &err), 0);
	assert_true(informer_wait(cl->informers[OF_STATE], 10000, &err));
	assert_int_equal(informer_wait(cl->informers[OF_PODS], pods && !*pods ? 0 : 10000, &err), !pods || *pods);
}

/* One pod, a/p, whose container has the VF. */
static void on_list(void *arg, struct grpc_call *call, const void *msg, size_t len)
{
	static const char reply[] = "\x0a\x1e\x0a\x01p\x12\x01" "a\x1a\x16\x0a\x01" "c\x12\x11\x0a\x01r\x12\x0c" VF;

	if (n_lists < ARRAY_SIZE(offered))
		offered[n_lists++] = ag.pools ? ag.pools->n : 99;
	grpc_send(call, reply, not_yet ? 0 : sizeof(reply) - 1);
	grpc_finish(call, GRPC_OK, NULL);
}

static void kubelet_answers(void)
{
	static const struct grpc_method methods[] = { { "/v1.PodResourcesLister/List", on_list }, { NULL, NULL } };

	assert_int_equal(grpc_server_start(&kubelet, &err), 0);
	assert_int_equal(grpc_server_listen(kubelet, path_of("pod-resources/kubelet.sock"), methods, NULL, &err), 0);
}

/* What is left of a kubelet that was killed. */
static void kubelet_is_down(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path_of("pod-resources/kubelet.sock"));
	unlink(sa.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
}

static int allocated(size_t *n)
{
	struct plan_pod *all = NULL;

	*n = 0;
	return cluster_allocated(cl, a, &all, n, &err);
}

static void a_node_without_a_kubelet_has_no_pods(void **state)
{
	size_t n;

	unlink(path_of("pod-resources/kubelet.sock"));
	watch();
	assert_int_equal(allocated(&n), 0);
	assert_int_equal(n, 0);
}

static void a_kubelet_that_does_not_answer_is_no_kubelet_without_pods(void **state)
{
	size_t n;

	watch();
	kubelet_is_down();
	assert_int_equal(allocated(&n), -ENOTCONN);
	kubelet_answers();
	assert_int_equal(allocated(&n), 0);
	assert_int_equal(n, 1);
}

static void a_pod_has_ended_when_the_api_server_says_so(void **state)
{
	size_t n;

	pods = NULL;
	watch();
	kubelet_answers();
	assert_int_equal(allocated(&n), 0);
	assert_int_equal(n, 0);
}

static void pods_that_were_never_listed_are_not_known(void **state)
{
	size_t n;

	pods = "";
	watch();
	kubelet_answers();
	assert_int_equal(allocated(&n), -EAGAIN);
	assert_non_null(strstr(err.msg, "pod a/p"));
	put("snapshot.json", "{\"version\":1,\"node\":\"n\",\"pods\":[]}");
	cl->snapshot = snapshot_load(folder, "n");
	assert_int_equal(allocated(&n), -EAGAIN); /* it may be younger */
	snapshot_free(cl->snapshot);
	put("snapshot.json", "{\"version\":1,\"node\":\"n\",\"pods\":[{\"namespace\":\"a\",\"name\":\"p\",\"uid\":\"u\",\"version\":\"1\",\"json\":{}}]}");
	cl->snapshot = snapshot_load(folder, "n");
	assert_int_equal(allocated(&n), 0);
	assert_int_equal(n, 1);
}

/* A port with two VFs, of which the node state wants four. */
static void node_state(void)
{
	const struct attach_host host = { .state_dir = folder };

	assert_int_equal(system(arena_printf(a, "/usr/bin/python3 %s/test/trees/generate.py %s x710", getenv("KVRAIL_SOURCE"), folder)), 0);
	assert_int_equal(sysroot_open(path_of("x710"), &ag.root, &err), 0);
	assert_int_equal(attach_engine_new(&host, &ag.engine, &err), 0);
	states = "{\"apiVersion\":\"sriovnetwork.openshift.io/v1\",\"kind\":\"SriovNetworkNodeState\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"n\"}," SPEC "}";
}

static void ports_wait_until_it_is_known_who_has_their_vfs(void **state)
{
	node_state();
	pods = NULL;
	watch();
	kubelet_is_down();
	nodestate_reconcile(cl);
	assert_non_null(strstr(written, "InProgress"));
	assert_non_null(strstr(written, "whether pods have their VFs"));
	assert_false(drains);
	assert_true(pools_known(&ag));
	kubelet_answers(); /* and the pod has ended */
	nodestate_reconcile(cl);
	assert_non_null(strstr(written, "a recorded tree can be planned for, not changed")); /* which was tried */
}

static void is_given(void)
{
	not_yet = false;
}

static void a_pod_that_comes_while_the_node_state_is_written_keeps_its_vf(void **state)
{
	node_state();
	watch();
	kubelet_answers();
	not_yet = true;
	on_patch = is_given;
	nodestate_reconcile(cl);
	assert_non_null(strstr(written, "waits for its pods: a/p"));
	assert_true(drains);
	assert_int_equal(n_lists, 3);
	assert_int_equal(offered[1], 0); /* before the ports are reset, nobody can come any more */
	assert_int_equal(ag.pools->n, 2);
}

static void a_round_comes_in_time_however_often_the_snapshot_is_saved(void **state)
{
	uint64_t begun = clock_ns();
	bool must_save, must_work;
	unsigned saves = 0;

	cl->drift_ns = begun + 300000000;
	do {
		assert_true(clock_ns() - begun < UINT64_C(10000000000));
		cl->unsaved_ns = clock_ns() - 990000000; /* due in 10 ms */
		assert_true(cluster_wait(cl, &must_save, &must_work));
		saves += must_save;
	} while (!must_work);
	assert_true(saves > 1 && clock_ns() >= cl->drift_ns);
}

static const struct attach_pod pod = { .namespace = "a", .name = "p", .uid = "u" };

static void say_newer(void)
{
	on_patch = NULL;
	assert_int_equal(pod_network_status(cl, &pod, "[newer]", &err), 1);
}

static void a_status_that_is_written_drops_the_older_one_that_waits(void **state)
{
	watch();
	away = true;
	assert_int_equal(pod_network_status(cl, &pod, "[older]", &err), 1);
	assert_int_equal(changes, 0);
	away = false;
	assert_int_equal(pod_network_status(cl, &pod, "[newer]", &err), 0);
	pod_write_late(cl);
	assert_non_null(strstr(written, "[newer]"));
	assert_int_equal(changes, 1);
}

static void a_status_comes_after_the_older_one_that_is_being_written(void **state)
{
	watch();
	away = true;
	assert_int_equal(pod_network_status(cl, &pod, "[older]", &err), 1);
	away = false;
	on_patch = say_newer;
	pod_write_late(cl);
	assert_non_null(strstr(written, "[newer]"));
	assert_int_equal(changes, 2);
}

static void a_status_that_fails_again_replaces_no_newer_one(void **state)
{
	watch();
	away = true;
	assert_int_equal(pod_network_status(cl, &pod, "[older]", &err), 1);
	on_patch = say_newer;
	pod_write_late(cl);
	assert_null(on_patch);
	away = false;
	pod_write_late(cl);
	assert_non_null(strstr(written, "[newer]"));
	assert_int_equal(changes, 1);
	pod_write_late(cl);
	assert_int_equal(changes, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_node_without_a_kubelet_has_no_pods, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kubelet_that_does_not_answer_is_no_kubelet_without_pods, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_has_ended_when_the_api_server_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(pods_that_were_never_listed_are_not_known, setup, teardown),
		cmocka_unit_test_setup_teardown(ports_wait_until_it_is_known_who_has_their_vfs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_that_comes_while_the_node_state_is_written_keeps_its_vf, setup, teardown),
		cmocka_unit_test_setup_teardown(a_round_comes_in_time_however_often_the_snapshot_is_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(a_status_that_is_written_drops_the_older_one_that_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_status_comes_after_the_older_one_that_is_being_written, setup, teardown),
		cmocka_unit_test_setup_teardown(a_status_that_fails_again_replaces_no_newer_one, setup, teardown),
	};

	return cmocka_run_group_tests_name("cluster_test", tests, start, stop);
}
