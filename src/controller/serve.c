/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics, /healthz and /readyz. */
#include <string.h>

#include "controller/serve.h"

static const char *const kind_names[WORLD_KINDS] = {
	[WORLD_NADS] = "networkattachmentdefinitions", [WORLD_POLICIES] = "sriovnetworknodepolicies",
	[WORLD_POOLS] = "sriovnetworkpoolconfigs", [WORLD_CONFIGS] = "sriovoperatorconfigs", [WORLD_STATES] = "sriovnetworknodestates",
	[WORLD_NODES] = "nodes", [WORLD_SRIOV_NETWORKS] = "sriovnetworks", [WORLD_IB_NETWORKS] = "sriovibnetworks",
	[WORLD_OVS_NETWORKS] = "ovsnetworks", [WORLD_NAMESPACES] = "namespaces", [WORLD_RAIL_POLICIES] = "railpolicies",
	[WORLD_RAIL_NODES] = "railnodes", [WORLD_PODS] = "pods",
};

static void counter(struct strbuf *b, const char *name, const char *help, uint64_t value)
{
	metrics_family(b, name, METRICS_COUNTER, help);
	metrics_add(b, name, (double)value, NULL);
}

static void add_requests(struct controller *c, struct strbuf *b)
{
	static const char *const outcomes[] = { "ok", "failed", "retried" };
	const struct kube_count *counts;
	size_t n = kube_counts(c->kube, &counts);

	metrics_family(b, "kvrail_api_requests_total", METRICS_COUNTER, "Requests to the API server by verb and outcome.");
	for (size_t i = 0; i < n; i++) {
		const uint64_t *const numbers[] = { &counts[i].ok, &counts[i].failed, &counts[i].retried };

		for (size_t k = 0; k < ARRAY_SIZE(numbers); k++) /* other threads count meanwhile */
			metrics_add(b, "kvrail_api_requests_total", (double)__atomic_load_n(numbers[k], __ATOMIC_RELAXED), "verb",
				    counts[i].verb, "outcome", outcomes[k], NULL);
	}
}

static void add_watches(struct controller *c, struct strbuf *b)
{
	metrics_family(b, "kvrail_watch_stale_seconds", METRICS_GAUGE, "For how long a kind's watch has been broken; 0: it runs.");
	pthread_mutex_lock(&c->watching);
	for (size_t i = 0; i < WORLD_KINDS; i++)
		if (c->informers[i])
			metrics_add(b, "kvrail_watch_stale_seconds", informer_stale_s(c->informers[i], NULL), "kind", kind_names[i], NULL);
	pthread_mutex_unlock(&c->watching);
}

static void add_passes(struct controller *c, struct strbuf *b)
{
	static const char *const verbs[COUNT_VERBS] = { "apply", "patch", "merge", "delete" };

	metrics_family(b, "kvrail_controller_leader", METRICS_GAUGE, "1: this replica leads.");
	metrics_add(b, "kvrail_controller_leader", controller_leads(c), NULL);
	counter(b, "kvrail_controller_passes_total", "Passes over all objects.", c->passes);
	metrics_family(b, "kvrail_controller_pass_seconds", METRICS_HISTOGRAM, "Time of a pass, its writes included.");
	metrics_add_histogram(b, "kvrail_controller_pass_seconds", &c->pass_seconds, NULL);
	metrics_family(b, "kvrail_controller_writes_total", METRICS_COUNTER, "Writes that passes asked for.");
	for (size_t i = 0; i < COUNT_VERBS; i++)
		metrics_add(b, "kvrail_controller_writes_total", (double)c->written[i], "verb", verbs[i], NULL);
	counter(b, "kvrail_controller_write_failures_total", "Writes that failed and are tried again.", c->write_failures);
	counter(b, "kvrail_controller_conflicts_total", "Applies to which another program's field manager objected.", c->conflicts);
}

static void add_tasks(struct controller *c, struct strbuf *b)
{
	static const char *const names[TASKS] = { "objects", "addresses", "certificates" };
	uint64_t dropped, held;

	metrics_family(b, "kvrail_controller_stuck", METRICS_GAUGE, "1: something stands in the way of a task; the log says what.");
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < TASKS; i++)
		metrics_add(b, "kvrail_controller_stuck", c->problem[i][0] != 0, "task", names[i], NULL);
	pthread_mutex_unlock(&c->lock);
	addresses_counts(c->addresses, &dropped, &held);
	counter(b, "kvrail_addresses_reclaimed_total", "Orphaned addresses and reservations that were given back.", dropped);
	metrics_family(b, "kvrail_addresses_held", METRICS_GAUGE, "Addresses without a pod that stay because their node is away.");
	metrics_add(b, "kvrail_addresses_held", (double)held, NULL);
}

static void metrics(struct controller *c, struct httpd_request *rq, struct httpd_reply *reply)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	add_passes(c, &b);
	add_tasks(c, &b);
	add_watches(c, &b);
	add_requests(c, &b);
	counter(&b, "kvrail_events_dropped_total", "Events that the API server refused or was too long away for.",
		c->started ? kube_events_dropped(c->events) : 0);
	if (c->webhook)
		webhook_metrics(c->webhook, &b);
	metrics_add_process(&b);
	reply->content_type = METRICS_CONTENT_TYPE;
	httpd_say(reply, 200, arena_strdup(rq->arena, b.s));
}

/* Ready to answer admissions: who leads does not matter to that. */
static void ready(struct controller *c, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct err why = { 0 };
	bool yes = c->started;

	if (!yes) {
		pthread_mutex_lock(&c->lock);
		err_set(&why, -EAGAIN, "%s", c->problem[TASK_PASS][0] ? c->problem[TASK_PASS] : "starting");
		pthread_mutex_unlock(&c->lock);
	} else if (c->webhook) {
		yes = informer_wait(c->informers[WORLD_NADS], 0, &why) && webhook_ready(c->webhook, controller_leads(c), &why);
	}
	httpd_say(reply, yes ? 200 : 503, yes ? "ok\n" : arena_printf(rq->arena, "%s\n", why.msg));
}

void controller_serve(void *arg, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct controller *c = arg;

	reply->content_type = "text/plain; charset=utf-8";
	if (!strcmp(rq->path, "/metrics"))
		metrics(c, rq, reply);
	else if (!strcmp(rq->path, "/readyz"))
		ready(c, rq, reply);
	else if (!strcmp(rq->path, "/healthz"))
		httpd_say(reply, 200, "ok\n");
	else
		httpd_say(reply, 404, "there are /metrics, /healthz and /readyz\n");
}
