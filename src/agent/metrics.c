/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <limits.h>
#include <string.h>

#include "agent/cluster.h"
#include "agent/counters.h"
#include "agent/metrics.h"
#include "device/device.h"
#include "ipam/pools.h"

static const char *const stages[METRICS_STAGES] = { "pod", "default", "devices", "ipam", "kernel", "status", "total" };
static const char *const verbs[COUNT_VERBS] = { "ADD", "DEL", "other" };

static enum cni_count_verb verb_of(const char *name)
{
	for (size_t i = 0; i < COUNT_OTHER; i++)
		if (name && !strcmp(name, verbs[i]))
			return (enum cni_count_verb)i;
	return COUNT_OTHER;
}

void agent_metrics_timing(struct agent_metrics *m, const char *verb, const char *stage, double seconds)
{
	enum cni_count_verb v = verb_of(verb);

	for (size_t i = 0; v != COUNT_OTHER && i < METRICS_STAGES; i++)
		if (stages[i] && !strcmp(stages[i], stage))
			metrics_observe(&m->stages[v][i], (uint64_t)(seconds * 1e9));
}

void agent_metrics_request(struct agent_metrics *m, const char *verb, bool ok)
{
	m->requests[verb_of(verb)][ok]++;
}

uint64_t agent_metrics_requests(struct agent_metrics *m)
{
	uint64_t n = 0;

	for (size_t v = 0; v < COUNT_VERBS; v++)
		n += m->requests[v][0] + m->requests[v][1];
	return n;
}

static bool is_used(struct metrics_histogram *h)
{
	for (size_t i = 0; i <= METRICS_BUCKETS; i++)
		if (h->bucket[i])
			return true;
	return false;
}

static void add_cni(struct strbuf *b, struct agent_metrics *m)
{
	metrics_family(b, "kvrail_cni_requests_total", METRICS_COUNTER, "CNI requests by verb and outcome.");
	for (size_t v = 0; v < COUNT_VERBS; v++)
		for (size_t ok = 0; ok < 2; ok++)
			metrics_add(b, "kvrail_cni_requests_total", (double)m->requests[v][ok], "verb", verbs[v], "outcome",
				    ok ? "ok" : "failed", NULL);
	metrics_family(b, "kvrail_cni_stage_seconds", METRICS_HISTOGRAM, "How long the stages of ADD and DEL took; total is the whole request.");
	for (size_t v = 0; v < 2; v++)
		for (size_t i = 0; i < METRICS_STAGES; i++)
			if (stages[i] && is_used(&m->stages[v][i]))
				metrics_add_histogram(b, "kvrail_cni_stage_seconds", &m->stages[v][i], "verb", verbs[v], "stage", stages[i], NULL);
}

static void add_bytes(struct strbuf *b, const struct rail_count *c, const char *by, const char *direction, uint64_t value)
{
	metrics_add(b, "kvrail_rail_bytes_total", (double)value, "namespace", c->namespace, "pod", c->pod, "network", c->network, "ifname",
		    c->ifname, "rdma_device", c->rdma, "by", by, "direction", direction, NULL);
}

static void add_rails(struct strbuf *b, struct agent *ag)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct rail_count *counts;
	size_t n;

	counters_read(ag, a, &counts, &n);
	metrics_family(b, "kvrail_rail_bytes_total", METRICS_COUNTER,
		       "Bytes that a rail of a pod moved: by rdma, or by the kernel's stack (tcp).");
	for (size_t i = 0; i < n; i++) {
		const struct rail_count *c = &counts[i];

		if (c->problem)
			continue;
		if (c->counts_rdma) {
			add_bytes(b, c, "rdma", "in", c->rdma_rx);
			add_bytes(b, c, "rdma", "out", c->rdma_tx);
		}
		add_bytes(b, c, "tcp", "in", c->tcp_rx);
		add_bytes(b, c, "tcp", "out", c->tcp_tx);
	}
	metrics_family(b, "kvrail_rail_rdma", METRICS_GAUGE, "1: the rail has an RDMA device, 0: it can do TCP alone.");
	for (size_t i = 0; i < n; i++)
		if (!counts[i].user_space)
			metrics_add(b, "kvrail_rail_rdma", counts[i].rdma ? 1 : 0, "namespace", counts[i].namespace, "pod", counts[i].pod, "network",
				    counts[i].network, "ifname", counts[i].ifname, "soft", counts[i].soft ? "true" : "false", NULL);
}

static void add_pools(struct strbuf *b, struct agent *ag, yyjson_mut_doc *doc, yyjson_mut_val *attachments)
{
	static const char *const names[2] = { "kvrail_resource_devices", "kvrail_resource_devices_free" };
	static const char *const keys[2] = { "total", "free" };
	static const char *const help[2] = { "Devices (VFs) of a resource on this node.", "Devices of a resource that no pod holds." };
	yyjson_mut_val *pools = pools_json(ag, doc, attachments), *p;
	yyjson_mut_arr_iter it;

	for (size_t i = 0; i < 2; i++) {
		metrics_family(b, names[i], METRICS_GAUGE, help[i]);
		yyjson_mut_arr_iter_init(pools, &it);
		while ((p = yyjson_mut_arr_iter_next(&it)))
			metrics_add(b, names[i], (double)yyjson_mut_get_uint(yyjson_mut_obj_get(p, keys[i])), "resource",
				    yyjson_mut_get_str(yyjson_mut_obj_get(p, "resource")), NULL);
	}
}

static void add_health(struct strbuf *b, struct agent *ag, yyjson_mut_doc *doc)
{
	yyjson_mut_val *list = device_plugin_json(ag->cluster->plugin, doc), *r;
	yyjson_mut_arr_iter it;

	metrics_family(b, "kvrail_resource_devices_healthy", METRICS_GAUGE, "Devices of a resource that the kubelet is told to be healthy.");
	yyjson_mut_arr_iter_init(list, &it);
	while ((r = yyjson_mut_arr_iter_next(&it)))
		metrics_add(b, "kvrail_resource_devices_healthy", (double)yyjson_mut_get_uint(yyjson_mut_obj_get(r, "healthy")), "resource",
			    yyjson_mut_get_str(yyjson_mut_obj_get(r, "resource")), NULL);
	metrics_family(b, "kvrail_resource_registered", METRICS_GAUGE, "1: the kubelet has taken the resource.");
	yyjson_mut_arr_iter_init(list, &it);
	while ((r = yyjson_mut_arr_iter_next(&it)))
		metrics_add(b, "kvrail_resource_registered", yyjson_mut_get_bool(yyjson_mut_obj_get(r, "registered")), "resource",
			    yyjson_mut_get_str(yyjson_mut_obj_get(r, "resource")), NULL);
}

/* Other threads count on while it is read. */
static double number(const uint64_t *counter)
{
	return (double)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add_api(struct strbuf *b, struct cluster *cl)
{
	const struct kube_count *counts;
	size_t n = kube_counts(cl->kube, &counts);
	static const char *const names[COLLECTIONS] = { "nodestate", "pods", "networks" };

	metrics_family(b, "kvrail_api_requests_total", METRICS_COUNTER, "Requests to the API server by verb and outcome.");
	for (size_t i = 0; i < n; i++) {
		metrics_add(b, "kvrail_api_requests_total", number(&counts[i].ok), "verb", counts[i].verb, "outcome", "ok", NULL);
		metrics_add(b, "kvrail_api_requests_total", number(&counts[i].failed), "verb", counts[i].verb, "outcome", "failed", NULL);
		metrics_add(b, "kvrail_api_requests_total", number(&counts[i].retried), "verb", counts[i].verb, "outcome", "retried", NULL);
	}
	metrics_family(b, "kvrail_events_dropped_total", METRICS_COUNTER, "Events that the API server refused or was too long away for.");
	metrics_add(b, "kvrail_events_dropped_total", (double)kube_events_dropped(cl->events), NULL);
	metrics_family(b, "kvrail_watch_stale_seconds", METRICS_GAUGE, "Since when a watch is cut; 0: it runs.");
	for (size_t i = 0; i < COLLECTIONS; i++)
		metrics_add(b, "kvrail_watch_stale_seconds", informer_stale_s(cl->informers[i], NULL), "of", names[i], NULL);
}

static void add_ipam(struct strbuf *b, struct agent *ag)
{
	struct ipam_pools_stats s = ipam_pools_stats(ag->ipam);

	metrics_family(b, "kvrail_ipam_writes_total", METRICS_COUNTER,
		       "IP pools: patches made, refused as outdated, ADDs and DELs, batches of them, reservations.");
	metrics_add(b, "kvrail_ipam_writes_total", (double)s.patches, "what", "patch", NULL);
	metrics_add(b, "kvrail_ipam_writes_total", (double)s.jobs, "what", "job", NULL);
	metrics_add(b, "kvrail_ipam_writes_total", (double)s.conflicts, "what", "conflict", NULL);
	metrics_add(b, "kvrail_ipam_writes_total", (double)s.batches, "what", "batch", NULL);
	metrics_add(b, "kvrail_ipam_writes_total", (double)s.reservations, "what", "reservation", NULL);
}

static size_t spool_length(struct agent *ag)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/spool", ag->options->state_dir);
	d = opendir(path);
	while (d && (entry = readdir(d)))
		n += *entry->d_name != '.';
	if (d)
		closedir(d);
	return n;
}

const char *agent_metrics_text(struct agent *ag, struct arena *a)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	yyjson_mut_doc *doc = doc_new(scratch);
	yyjson_mut_val *attachments = attach_list(ag->engine, doc);

	metrics_family(&b, "kvrail_agent_info", METRICS_GAUGE, "Version of the agent.");
	metrics_add(&b, "kvrail_agent_info", 1, "version", KVRAIL_VERSION, "node", ag->node, NULL);
	metrics_family(&b, "kvrail_agent_ready", METRICS_GAUGE, "1: pods can be attached.");
	metrics_add(&b, "kvrail_agent_ready", ag->ready, NULL);
	metrics_family(&b, "kvrail_attachments", METRICS_GAUGE, "Attachments in the journal.");
	metrics_add(&b, "kvrail_attachments", (double)yyjson_mut_arr_size(attachments), NULL);
	metrics_family(&b, "kvrail_spool_length", METRICS_GAUGE, "DELs that the shim left and that are not applied yet.");
	metrics_add(&b, "kvrail_spool_length", (double)spool_length(ag), NULL);
	add_cni(&b, &ag->metrics);
	add_rails(&b, ag);
	add_pools(&b, ag, doc, attachments);
	if (ag->cluster) {
		add_health(&b, ag, doc);
		add_api(&b, ag->cluster);
		add_ipam(&b, ag);
	}
	metrics_add_process(&b);
	return arena_strdup(a, b.s);
}

void agent_metrics_serve(void *agent, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct agent *ag = agent;
	const char *why;

	reply->content_type = "text/plain; charset=utf-8";
	if (strcmp(rq->method, "GET")) {
		httpd_say(reply, 405, "GET only\n");
	} else if (!strcmp(rq->path, "/metrics")) {
		reply->content_type = METRICS_CONTENT_TYPE;
		httpd_say(reply, 200, agent_metrics_text(ag, rq->arena));
	} else if (!strcmp(rq->path, "/healthz")) {
		httpd_say(reply, 200, "ok\n");
	} else if (!strcmp(rq->path, "/readyz")) {
		bool ready = agent_is_ready(ag, rq->arena, &why);

		httpd_say(reply, ready ? 200 : 503, ready ? "ok\n" : arena_printf(rq->arena, "%s\n", why));
	} else {
		httpd_say(reply, 404, "there are /metrics, /healthz and /readyz\n");
	}
}
