/* SPDX-License-Identifier: Apache-2.0 */
/* Start, loop and stop of the node role. The loop owns timers, signals and inotify; work runs in threads. */
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

#include "agent/cluster.h"
#include "agent/cniconf.h"
#include "agent/container.h"
#include "agent/farewell.h"
#include "agent/multus.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ipam/pools.h"
#include "linux/rdma.h"

#define REQUEST_MAX (24u << 20)
#define CONNECTIONS_MAX 256
#define SCRAPERS_MAX 16
#define RECOVER_MS 30000
#define CONF_MS 5000	   /* the CNI configuration is looked at so often, beside changes of its folder */
#define CALM_LOOKS 2	   /* so many of them without a request */
#define SAME_REASON 60	   /* bytes: what follows (how many ms it took) changes all the time */
#define CONF_EARLY_MS 300 /* while the agent is not ready */

struct loop {
	struct agent *ag;
	uv_loop_t uv;
	uv_signal_t term, intr;
	uv_timer_t timer;
	uv_fs_event_t spool;
	uv_timer_t conf_timer;
	uv_fs_event_t conf_dir;
	uv_work_t work;
	bool working, again;
	uint64_t requests;  /* CNI requests when it was last looked */
	unsigned calm;	    /* looks since the last one came */
};

static void recover(struct agent *ag)
{
	struct err e = { 0 };

	if (attach_recover(ag->engine, &e) < 0)
		log_warn("recovery: %s; it is tried again in %d s", e.msg, RECOVER_MS / 1000);
}

static void work_run(uv_work_t *w)
{
	struct loop *l = w->data;

	recover(l->ag);
	if (l->ag->cluster)
		cluster_attachments_changed(l->ag->cluster); /* VFs that are back can be given again */
}

static void work_start(struct loop *l);

static void work_done(uv_work_t *w, int status)
{
	struct loop *l = w->data;

	l->working = false;
	if (l->again)
		work_start(l);
}

/* Half-done attachments and spooled DELs, in a worker; one at a time. */
static void work_start(struct loop *l)
{
	l->again = l->working;
	if (l->working)
		return;
	l->working = true;
	l->work.data = l;
	uv_queue_work(&l->uv, &l->work, work_run, work_done);
}

static void on_timer(uv_timer_t *t)
{
	work_start(t->data);
}

static void on_spool(uv_fs_event_t *h, const char *name, int events, int status)
{
	work_start(h->data);
}

bool agent_is_ready(struct agent *ag, struct arena *a, const char **ret_why)
{
	bool ready = ag->ready;

	pthread_mutex_lock(&ag->why_lock);
	*ret_why = ready ? NULL : ag->why_not ? arena_strdup(a, ag->why_not) : "the agent is starting";
	pthread_mutex_unlock(&ag->why_lock);
	return ready;
}

static void set_ready(struct agent *ag, const char *why_not)
{
	bool was;

	pthread_mutex_lock(&ag->why_lock);
	was = ag->ready;
	if (why_not && (was || !ag->why_not || strncmp(ag->why_not, why_not, SAME_REASON)))
		log_warn("not ready: %s", why_not);
	if (!why_not && !was)
		log_info("ready: %s on %s", ag->node, ag->options->socket);
	free(ag->why_not);
	ag->why_not = why_not ? strdup(why_not) : NULL;
	ag->ready = !why_not;
	pthread_mutex_unlock(&ag->why_lock);
}

static struct cniconf_place conf_place(const struct agent_options *o)
{
	return (struct cniconf_place){ .dir = o->cni_conf_dir, .name = o->cni_conf_name };
}

/* A pod is sent here when all that its ADD needs is known; what is in the folder from an agent that was killed stays till then. */
static void conf_round(struct loop *l)
{
	const struct cniconf_place place = conf_place(l->ag->options);
	bool was = l->ag->ready;
	struct err e = { 0 }, gone;
	int r = 0;

	if (!was && !cluster_knows(l->ag->cluster, &e))
		r = err_wrap(&e, -EAGAIN, "waiting for the API server");
	if (r == 0 && !pools_known(l->ag))
		r = err_set(&e, -EAGAIN, "the ports are being provisioned");
	if (r == 0)
		r = cniconf_put(&place, &e);
	if (r < 0 && was && cniconf_remove(&place, &gone) < 0)
		log_warn("%s", gone.msg);
	set_ready(l->ag, r < 0 ? e.msg : NULL);
	uv_timer_set_repeat(&l->conf_timer, r < 0 ? CONF_EARLY_MS : CONF_MS);
}

/* Pods come in bursts: after each, and after the start, what it took is given back once. */
static void give_back(struct loop *l)
{
	uint64_t n = agent_metrics_requests(&l->ag->metrics);

	if (n != l->requests)
		l->calm = 0;
	l->requests = n;
	if (l->ag->ready && l->calm++ == CALM_LOOKS)
		log_debug("%zu bytes of mappings given back", memory_give_back());
}

static void on_conf_timer(uv_timer_t *t)
{
	struct loop *l = t->data;

	conf_round(l);
	give_back(l);
}

static void on_conf_dir(uv_fs_event_t *h, const char *name, int events, int status)
{
	conf_round(h->data);
}

static void watch_conf(struct loop *l)
{
	l->conf_timer.data = l->conf_dir.data = l;
	uv_timer_init(&l->uv, &l->conf_timer);
	uv_fs_event_init(&l->uv, &l->conf_dir);
	uv_fs_event_start(&l->conf_dir, on_conf_dir, l->ag->options->cni_conf_dir, 0); /* fails when it is not there yet: the timer sees it */
	uv_timer_start(&l->conf_timer, on_conf_timer, 0, CONF_EARLY_MS);
}

static void leave_conf(struct loop *l)
{
	const struct cniconf_place place = conf_place(l->ag->options);
	struct err e;

	uv_close((uv_handle_t *)&l->conf_timer, NULL);
	uv_close((uv_handle_t *)&l->conf_dir, NULL);
	if (l->ag->options->daemonset)
		l->ag->for_good = farewell_is_for_good(l->ag);
	/* between two agents of a DaemonSet pods wait, rather than start without their networks */
	if ((l->ag->for_good || !(l->ag->options->keep_conf || l->ag->options->daemonset)) && cniconf_remove(&place, &e) < 0)
		log_warn("%s", e.msg);
}

static void on_signal(uv_signal_t *s, int number)
{
	struct loop *l = s->data;

	log_info("signal %d: stopping", number);
	uv_close((uv_handle_t *)&l->term, NULL);
	uv_close((uv_handle_t *)&l->intr, NULL);
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->spool, NULL);
	if (l->ag->cluster)
		leave_conf(l);
}

static int loop_run(struct agent *ag, struct err *e)
{
	struct loop l = { .ag = ag };
	char spool[PATH_MAX];

	snprintf(spool, sizeof(spool), "%s/spool", ag->options->state_dir);
	if (uv_loop_init(&l.uv) < 0)
		return err_set(e, -ENOMEM, "no event loop");
	l.term.data = l.intr.data = l.timer.data = l.spool.data = &l;
	uv_signal_init(&l.uv, &l.term);
	uv_signal_start(&l.term, on_signal, SIGTERM);
	uv_signal_init(&l.uv, &l.intr);
	uv_signal_start(&l.intr, on_signal, SIGINT);
	uv_timer_init(&l.uv, &l.timer);
	uv_timer_start(&l.timer, on_timer, RECOVER_MS, RECOVER_MS);
	uv_fs_event_init(&l.uv, &l.spool);
	uv_fs_event_start(&l.spool, on_spool, spool, 0);
	if (ag->cluster)
		watch_conf(&l);
	else
		set_ready(ag, NULL);
	uv_run(&l.uv, UV_RUN_DEFAULT);
	ag->ready = false;
	uv_loop_close(&l.uv);
	return 0;
}

/* The pod's RDMA device is its own only in exclusive mode, which the kernel grants before other namespaces exist. */
static void set_rdma_mode(const char *want)
{
	_cleanup_nl_ struct nl *nl = NULL;
	bool exclusive, on = !strcmp(want, "exclusive");
	struct err e = { 0 };

	if (!strcmp(want, "keep"))
		return;
	if (rdma_open(&nl, &e) < 0 || rdma_get_exclusive(nl, &exclusive, &e) < 0) {
		log_warn("RDMA: %s", e.msg);
		return;
	}
	if (exclusive == on)
		return;
	if (rdma_set_exclusive(nl, on, &e) < 0)
		log_warn("RDMA stays in %s mode: %s. Set it before the first pod starts, at boot: options ib_core netns_mode=%d",
			 exclusive ? "exclusive" : "shared", e.msg, !on);
	else
		log_info("RDMA is in %s mode", want);
}

static int lock_state(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/agent.lock", dir);
	fd = file_lock(path);
	if (fd == -EWOULDBLOCK)
		return err_set(e, fd, "another agent works on %s: stop it, or name another --state", dir);
	return fd < 0 ? err_errno(e, fd, "locking %s", path) : fd;
}

static int make_dirs(const char *dir, struct err *e)
{
	static const char *const names[] = { "attach", "spool" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r;

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		r = file_mkdirs(path, 0700);
		if (r < 0)
			return err_errno(e, r, "making %s", path);
	}
	return 0;
}

/* For tests: die at a named step of an attachment, as if killed there. */
static void crash_at(void *arg, const char *step)
{
	const char *at = secure_getenv("KVRAIL_CRASH_AT");

	log_debug("step %s", step);
	if (at && !strcmp(at, step))
		kill(getpid(), SIGKILL);
}

/* A program in the folder of this one (a build folder, an image), or NULL. */
static const char *beside_us(struct arena *a, const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path;

	if (n <= 0)
		return NULL;
	self[n] = '\0';
	path = arena_printf(a, "%.*s/%s", (int)(strrchr(self, '/') - self), self, name);
	return access(path, R_OK) == 0 ? path : NULL;
}

static int engine(struct agent *ag, struct err *e)
{
	const struct agent_options *o = ag->options;
	struct attach_host host = {
		.ipam = ag->ipam, .root = ag->root, .state_dir = o->state_dir, .soft_roce = o->soft_roce,
		.share_part = o->share_part, .share_of = o->share_of, .arg = ag,
		.pick_vf = pools_pick, .network = ag->cluster ? nad_lookup : pools_network, .step = crash_at,
		.cluster = ag->cluster ? &ag->cluster->attach : NULL,
	};

	return attach_engine_new(&host, &ag->engine, e);
}

/* A store that is made anew would give addresses again that pods have. */
static int check_lost(const struct agent *ag, const char *path, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *pods = NULL;
	int r = access(path, F_OK) == 0 ? 0 : attach_addressed_dir(ag->options->state_dir, a, &pods, e);

	if (r < 0 || !pods)
		return r;
	return err_set(e, -ENODATA, "%s is lost, and pods run that have addresses by it, which another pod would get too: delete %s, "
		       "then start again", path, pods);
}

static int start_standalone(struct agent *ag, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char path[PATH_MAX];
	struct err why = { 0 };
	int r;

	snprintf(path, sizeof(path), "%s/store.db", ag->options->state_dir);
	r = check_lost(ag, path, e);
	if (r == 0)
		r = store_open_local(path, &ag->store, e);
	if (r < 0)
		return r;
	ag->ipam = ipam_local(ag->store);
	r = engine(ag, e);
	if (r < 0)
		return r;
	recover(ag);
	/* what an apply that died had begun; a node that cannot be provisioned still serves DELs and says why */
	if (agent_apply(ag, a, NULL, 0, false, -1, &why) < 0)
		log_warn("provisioning: %s", why.msg);
	return 0;
}

/* The program that the runtime calls; without one to install, one that is there serves. */
static int install_shim(const struct agent_options *o, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *from = o->shim ? o->shim : beside_us(a, "kvrail-cni"), *to = arena_printf(a, "%s/kvrail", o->cni_bin_dir);
	int r = from ? cniconf_install(from, o->cni_bin_dir, "kvrail", e) : -ENOENT;

	if (r == 0 || (access(to, X_OK) == 0 && !o->shim))
		return 0;
	return from ? r : err_set(e, r, "no kvrail-cni beside this program, and no %s: name one with --shim", to);
}

/* Nothing here waits for the API server: DELs, and ADDs of pods that are known, are served without it. */
static int start_in_cluster(struct agent *ag, struct err *e)
{
	const struct ipam_pools_options io = {
		.node = ag->node,
		.namespace = ag->options->ipam_namespace,
		.reserve = ag->options->ipam_reserve ? IPAM_RESERVE_ALWAYS : IPAM_RESERVE_NEEDED,
		.lease = ag->options->ipam_lease,
	};
	int r = cluster_open(ag, e);

	if (r < 0 && !ag->options->kubeconfig)
		return err_append(e, r, " (for one host without Kubernetes: --standalone)");
	if (r == 0)
		r = install_shim(ag->options, e);
	if (r == 0)
		r = ipam_pools_start(ag->cluster->kube, &io, &ag->ipam, e);
	if (r == 0)
		r = engine(ag, e);
	if (r < 0)
		return r;
	recover(ag);
	attach_tell_late(ag->engine);
	return cluster_start(ag->cluster, e);
}

static int start(struct agent *ag, struct err *e)
{
	const struct agent_options *o = ag->options;
	int r = sysroot_open(NULL, &ag->root, e);

	if (r < 0)
		return r;
	set_rdma_mode(o->rdma_netns);
	r = o->standalone ? start_standalone(ag, e) : start_in_cluster(ag, e);
	if (r == 0)
		r = httpd_start(o->socket, REQUEST_MAX, CONNECTIONS_MAX, agent_request, ag, &ag->httpd, e);
	if (r == 0 && o->multus_socket)
		r = multus_link(o->multus_socket, o->socket, e);
	if (r < 0 || !o->metrics)
		return r;
	r = httpd_start_tcp(o->metrics, NULL, 0, SCRAPERS_MAX, agent_metrics_serve, ag, &ag->metrics_httpd, e);
	if (r == 0)
		log_info("metrics on port %u", httpd_port(ag->metrics_httpd));
	return r;
}

static void goodbye(const struct agent_options *o)
{
	_cleanup_arena_ struct arena *a = arena_new();

	farewell_clean(o, o->shim ? o->shim : beside_us(a, "kvrail-cni"));
}

int agent_run(const struct agent_options *o, struct err *e)
{
	struct agent ag = { .options = o, .pools_lock = PTHREAD_MUTEX_INITIALIZER, .apply_lock = PTHREAD_MUTEX_INITIALIZER,
			    .why_lock = PTHREAD_MUTEX_INITIALIZER };
	_cleanup_close_ int lock = -1;
	char host[HOST_NAME_MAX + 1] = "localhost";
	int r;

	memory_few_heaps();
	mallopt(M_TRIM_THRESHOLD, 65536);
	signal(SIGPIPE, SIG_IGN);
	gethostname(host, sizeof(host) - 1);
	ag.node = o->node_name ? o->node_name : host;
	if (container_open_sysctls(e) < 0)
		log_warn("%s", e->msg);
	r = agent_drop_privileges(e);
	if (r == 0)
		r = make_dirs(o->state_dir, e);
	if (r == 0)
		r = lock = lock_state(o->state_dir, e);
	if (r >= 0)
		r = start(&ag, e);
	if (r >= 0)
		r = loop_run(&ag, e);
	httpd_stop(ag.metrics_httpd);
	if (ag.httpd && o->multus_socket)
		multus_unlink(o->multus_socket, o->socket);
	httpd_stop(ag.httpd);
	pthread_mutex_lock(&ag.apply_lock); /* an apply that runs is finished first */
	pthread_mutex_unlock(&ag.apply_lock);
	cluster_stop(ag.cluster);
	attach_engine_free(ag.engine);
	pools_free(ag.pools);
	ipam_close(ag.ipam);
	cluster_close(ag.cluster);
	store_close(ag.store);
	sysroot_close(ag.root);
	free(ag.problem);
	free(ag.why_not);
	if (ag.for_good)
		goodbye(o);
	return r;
}
