/* SPDX-License-Identifier: Apache-2.0 */
/* The agent in a cluster: start, stop, and the one thread that writes to the API server of its own accord. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/cluster.h"
#include "agent/failures.h"
#include "agent/hostrun.h"
#include "agent/plugin.h"
#include "base/clock.h"
#include "base/log.h"
#include "device/device.h"
#include "device/podres.h"

#define KUBE_MS 10000	   /* a pod's ADD waits no longer for one answer */
#define DRIFT_S 30	   /* the ports are looked at again so often, as the operator's daemon does */
#define SETTLE_MS 100	   /* changes that come together are one */
#define SAVE_AFTER_MS 1000 /* the snapshot is written once for all that changes meanwhile */
#define PODRES_MS 2000
#define DELEGATE_MS 120000 /* a plugin of another maker; the kubelet gives the whole sandbox four minutes */
#define STACK (512u << 10)

static void timing(void *cluster, const char *verb, const char *stage, double seconds)
{
	struct cluster *cl = cluster;

	agent_metrics_timing(&cl->ag->metrics, verb, stage, seconds);
}

static void answers(struct cluster *cl)
{
	const struct agent_options *o = cl->ag->options;

	/* the shim that was installed there: the runtime runs it on the host */
	snprintf(cl->hook, sizeof(cl->hook), "%s/kvrail", o->cni_bin_dir);
	cl->attach = (struct attach_cluster){
		.pod = pod_lookup, .assign = assign_devices, .network_status = pod_network_status, .event = pod_event, .timing = timing,
		.run_plugin = hostrun_run,
		.bin_dirs = o->cni_bin_dir, .conf_dir = o->multus_conf_dir, .cni_dir = o->multus_dir,
		.cdi_dir = o->cdi_dir, .env_dir = o->env_dir, .hook = cl->hook, .delegate_timeout_ms = DELEGATE_MS, .arg = cl,
		.contained = getenv("KUBERNETES_SERVICE_HOST"), /* which the kubelet sets in every container */
	};
}

int cluster_open(struct agent *ag, struct err *e)
{
	const struct kube_options ko = { .kubeconfig = ag->options->kubeconfig, .manager = "kvrail-agent", .timeout_ms = KUBE_MS };
	struct cluster *cl = calloc(1, sizeof(*cl));
	int r;

	if (!cl)
		abort();
	cl->ag = ag;
	pthread_mutex_init(&cl->lock, NULL);
	clock_cond_init(&cl->wake);
	cl->hostrun = hostrun_new(ag->options->socket);
	cl->failures = failures_new();
	ag->cluster = cl;
	r = kube_open(&ko, &cl->kube, e);
	if (r == 0)
		r = kube_events_start(cl->kube, "kvrail-agent", ag->node, &cl->events, e);
	if (r < 0)
		return r;
	log_info("API server %s (%s), namespace %s", kube_server(cl->kube), kube_source(cl->kube), ag->options->namespace);
	cl->snapshot = snapshot_load(ag->options->state_dir, ag->node);
	answers(cl);
	return watch_start(cl, e);
}

bool cluster_knows(struct cluster *cl, struct err *e)
{
	for (size_t i = 0; i < COLLECTIONS; i++)
		if (!watch_knows(cl, i, e))
			return false;
	return true;
}

void cluster_poke(struct cluster *cl)
{
	pthread_mutex_lock(&cl->lock);
	cl->dirty = true;
	pthread_cond_signal(&cl->wake);
	pthread_mutex_unlock(&cl->lock);
}

static bool all_listed(struct cluster *cl)
{
	for (size_t i = 0; i < COLLECTIONS; i++)
		if (!informer_wait(cl->informers[i], 0, NULL))
			return false;
	return true;
}

static void save(struct cluster *cl)
{
	struct snapshot *old;
	struct err e = { 0 };
	bool whole = all_listed(cl);

	pthread_mutex_lock(&cl->lock);
	cl->unsaved_ns = 0;
	old = whole ? cl->snapshot : NULL;
	if (whole)
		cl->snapshot = NULL;
	pthread_mutex_unlock(&cl->lock);
	if (!whole)
		return; /* what is on disk is better; the end of each list comes back here */
	snapshot_free(old);
	if (snapshot_save(cl, &e) < 0)
		log_warn("snapshot: %s", e.msg);
}

bool cluster_wait(struct cluster *cl, bool *ret_save, bool *ret_work)
{
	bool stop;

	pthread_mutex_lock(&cl->lock);
	for (;;) {
		uint64_t now = clock_ns(), until = cl->drift_ns;
		struct timespec ts;

		*ret_save = cl->unsaved_ns && now >= cl->unsaved_ns + SAVE_AFTER_MS * UINT64_C(1000000);
		*ret_work = cl->dirty || now >= cl->drift_ns;
		if (cl->stop || *ret_save || *ret_work)
			break;
		if (cl->unsaved_ns && cl->unsaved_ns + SAVE_AFTER_MS * UINT64_C(1000000) < until)
			until = cl->unsaved_ns + SAVE_AFTER_MS * UINT64_C(1000000);
		ts = (struct timespec){ .tv_sec = (time_t)(until / UINT64_C(1000000000)), .tv_nsec = (long)(until % UINT64_C(1000000000)) };
		pthread_cond_timedwait(&cl->wake, &cl->lock, &ts);
	}
	cl->dirty = false;
	stop = cl->stop;
	pthread_mutex_unlock(&cl->lock);
	return !stop;
}

static void *work(void *arg)
{
	struct cluster *cl = arg;
	bool must_save, must_work;

	while (cluster_wait(cl, &must_save, &must_work)) {
		if (must_save)
			save(cl);
		if (!must_work)
			continue;
		clock_sleep_ms(SETTLE_MS);
		nodestate_reconcile(cl);
		pod_write_late(cl);
		cl->drift_ns = clock_ns() + DRIFT_S * UINT64_C(1000000000);
	}
	pthread_mutex_lock(&cl->lock);
	must_save = cl->unsaved_ns;
	pthread_mutex_unlock(&cl->lock);
	if (must_save)
		save(cl);
	return NULL;
}

int cluster_start(struct cluster *cl, struct err *e)
{
	pthread_attr_t attr;
	int r = plugin_start(cl->ag, e);

	if (r < 0)
		return r;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	r = pthread_create(&cl->thread, &attr, work, cl);
	pthread_attr_destroy(&attr);
	if (r)
		return err_errno(e, -r, "starting a thread");
	cl->running = true;
	return 0;
}

void cluster_attachments_changed(struct cluster *cl)
{
	pthread_mutex_lock(&cl->lock);
	cl->dirty |= cl->waiting; /* a port may wait for a pod to go */
	pthread_cond_signal(&cl->wake);
	pthread_mutex_unlock(&cl->lock);
	device_plugin_poke(cl->plugin);
}

void cluster_stop(struct cluster *cl)
{
	if (!cl)
		return;
	cl->hostrun = hostrun_free(cl->hostrun);
	pthread_mutex_lock(&cl->lock);
	cl->stop = true;
	pthread_cond_signal(&cl->wake);
	pthread_mutex_unlock(&cl->lock);
	if (cl->running)
		pthread_join(cl->thread, NULL);
	cl->running = false;
	cl->plugin = device_plugin_stop(cl->plugin);
}

struct cluster *cluster_close(struct cluster *cl)
{
	if (!cl)
		return NULL;
	watch_stop(cl);
	kube_events_stop(cl->events);
	kube_close(cl->kube);
	pod_forget_late(cl);
	snapshot_free(cl->snapshot);
	failures_free(cl->failures);
	free(cl->told);
	pthread_cond_destroy(&cl->wake);
	pthread_mutex_destroy(&cl->lock);
	free(cl);
	return NULL;
}

static bool listed(const struct plan_pod *pods, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(pods[i].pci, id))
			return true;
	return false;
}

/* A container that was given a VF and is not attached yet, or never will be (hostNetwork): its VF is in use all the same. */
int cluster_allocated(struct cluster *cl, struct arena *a, struct plan_pod **ret, size_t *ret_n, struct err *e)
{
	char path[PATH_MAX];
	struct podres_pod *pods;
	size_t n;
	int r;

	snprintf(path, sizeof(path), "%s/pod-resources/kubelet.sock", cl->ag->options->kubelet_dir);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0; /* no kubelet has run here */
	r = podres_list(path, PODRES_MS, a, &pods, &n, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct informer_object o;

		r = watch_get(cl, OF_PODS, a, pods[i].namespace, pods[i].name, &o, e);
		if (r == -ENOENT && informer_wait(cl->informers[OF_PODS], 0, NULL))
			continue; /* it has ended: the kubelet keeps it in its list for a while */
		if (r < 0) /* a snapshot does not know whom others have started since */
			return err_wrap(e, -EAGAIN, "pod %s/%s", pods[i].namespace, pods[i].name);
		for (size_t k = 0; k < pods[i].n; k++)
			if (!listed(*ret, *ret_n, pods[i].devices[k].id))
				*(struct plan_pod *)arena_push(a, ret, ret_n, sizeof(**ret)) =
					(struct plan_pod){ pods[i].namespace, pods[i].name, pods[i].devices[k].id };
	}
	return 0;
}
