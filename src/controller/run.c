/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "controller/serve.h"

#define LEASE "kvrail-controller"
#define METRICS_CONNECTIONS 32
#define STOP_S 5
#define METRICS_BODY 4096

static void set_leading(struct controller *c, bool leading)
{
	pthread_mutex_lock(&c->lock);
	c->leading = leading;
	for (size_t i = 0; i < TASKS; i++)
		c->dirty[i] = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static void on_leading(void *arg)
{
	log_info("this replica leads");
	set_leading(arg, true);
}

static void on_lost(void *arg)
{
	set_leading(arg, false);
}

/* So that a person who looks at this log knows whose to look at. */
static void on_holder(void *arg, const char *holder)
{
	const struct controller *c = arg;

	if (*holder && strcmp(holder, c->options->identity))
		log_info("%s holds the lease: this replica stands by", holder);
}

static void init(struct controller *c, const struct controller_options *o)
{
	const char *crash = secure_getenv("KVRAIL_CRASH_AT");

	*c = (struct controller){ .options = o, .crash_at = crash ? strtoul(crash, NULL, 10) : 0 };
	c->addresses = addresses_new();
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->watching, NULL);
	clock_cond_init(&c->changed);
}

static void wake_webhook(void *arg)
{
	controller_wake(arg, TASK_WEBHOOK);
}

static int start_webhook(struct controller *c, struct err *e)
{
	c->webhook_options = (struct webhook_options){
		.address = c->options->webhook, .names = c->options->webhook_names,
		.namespace = c->options->namespace, .home = c->options->home,
		.configuration = c->options->webhook_configuration, .wake = wake_webhook, .arg = c,
	};
	if (!c->options->webhook || !*c->options->webhook)
		return 0;
	return webhook_start(c->kube, c->informers[WORLD_NADS], &c->webhook_options, &c->webhook, e);
}

/* Everything that needs the API server, in a thread of its own so that a signal always ends the program. */
static void *start(void *arg)
{
	struct controller *c = arg;
	struct election_options lease = { .namespace = c->options->home, .name = LEASE, .identity = c->options->identity,
					  .release = true, .started = on_leading, .stopped = on_lost, .observed = on_holder, .arg = c };
	int r;

	if (controller_preflight(c) < 0)
		return NULL;
	r = controller_watch(c, WORLD_NADS, &c->failure);
	if (r == 0)
		r = start_webhook(c, &c->failure);
	if (r == 0)
		r = kube_events_start(c->kube, "kvrail-controller", NULL, &c->events, &c->failure);
	if (r == 0)
		r = election_start(c->kube, &lease, &c->election, &c->failure);
	if (r < 0) { /* no thread, no memory: nothing that waiting would mend */
		c->failure.code = r;
		kill(getpid(), SIGTERM);
		return NULL;
	}
	c->started = true;
	log_info("watching %s; policies and node states in %s", kube_server(c->kube), c->options->namespace);
	controller_worker(c);
	return NULL;
}

/* A request that hangs is not waited for: whatever it leaves half done, the next start does. */
static void join(pthread_t thread)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_S;
	if (pthread_timedjoin_np(thread, NULL, &until) == 0)
		return;
	log_warn("the API server does not answer: not waiting for it any longer");
	_exit(0);
}

static void wait_for_signal(const sigset_t *set)
{
	int sig;

	while (sigwait(set, &sig) != 0)
		;
	log_info("ending on %s", strsignal(sig));
}

int controller_run(const struct controller_options *o, struct err *e)
{
	struct kube_options ko = { .kubeconfig = o->kubeconfig, .context = o->context, .manager = "kvrail-controller" };
	struct controller *c = calloc(1, sizeof(*c));
	struct httpd *plain = NULL;
	pthread_t thread;
	sigset_t set;
	int r;

	if (!c)
		abort();
	memory_few_heaps();
	init(c, o);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = kube_open(&ko, &c->kube, e);
	if (r == 0 && o->metrics && *o->metrics)
		r = httpd_start_tcp(o->metrics, NULL, METRICS_BODY, METRICS_CONNECTIONS, controller_serve, c, &plain, e);
	if (r == 0) {
		if (plain)
			log_info("metrics and probes on port %u", httpd_port(plain));
		if (pthread_create(&thread, NULL, start, c))
			abort();
		wait_for_signal(&set);
		pthread_mutex_lock(&c->lock);
		c->stop = true;
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
		join(thread);
		c->election = election_stop(c->election);
	}
	httpd_stop(plain);
	if (r == 0 && c->failure.code) {
		*e = c->failure;
		r = e->code;
	}
	kube_events_stop(c->events);
	webhook_stop(c->webhook);
	c->informers[WORLD_NADS] = informer_stop(c->informers[WORLD_NADS]);
	addresses_free(c->addresses);
	kube_close(c->kube);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->watching);
	pthread_cond_destroy(&c->changed);
	free(c);
	return r;
}
