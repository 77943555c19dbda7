/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's socket: who asks for what. docs/architecture.md lists the requests. */
#include <fcntl.h>
#include <string.h>

#include "agent/cluster.h"
#include "agent/counters.h"
#include "agent/failures.h"
#include "agent/hostrun.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"

#define CONF_MAX (1u << 20)

static void refuse(struct httpd_request *rq, struct httpd_reply *reply, int status, const char *text)
{
	yyjson_mut_doc *doc = doc_new(rq->arena);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, v, "error", text);
	httpd_say(reply, status, doc_mut_to_json(rq->arena, v, false));
}

static const char *cni_error(struct arena *a, enum cni_code code, const char *text)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, v, "cniVersion", "1.0.0");
	yyjson_mut_obj_add_int(doc, v, "code", code);
	yyjson_mut_obj_add_str(doc, v, "msg", text);
	return doc_mut_to_json(a, v, false);
}

static void after_cni(struct agent *ag, const struct cni_env *env, int code, const char *text)
{
	const char *verb = env->command ? env->command : "-";

	log_info("CNI %s %s %s: %s", verb, env->container_id ? env->container_id : "-", env->ifname ? env->ifname : "-", code ? text : "done");
	agent_metrics_request(&ag->metrics, verb, code == 0);
	if (!ag->cluster || (strcmp(verb, "ADD") && strcmp(verb, "DEL")))
		return;
	if (*verb == 'A')
		failures_note(ag->cluster->failures, env->args, code ? text : NULL);
	cluster_attachments_changed(ag->cluster);
}

/* Multus' shim protocol: {"env": {...}, "config": base64}. The reply's body, and its status. */
static const char *cni(struct agent *ag, struct arena *a, void *caller, yyjson_val *body, int *ret_status)
{
	yyjson_val *vars = yyjson_obj_get(body, "env");
	const char *conf64 = doc_str(body, "config");
	struct cni_env env = {
		.command = doc_str(vars, "CNI_COMMAND"), .container_id = doc_str(vars, "CNI_CONTAINERID"),
		.netns = doc_str(vars, "CNI_NETNS"), .ifname = doc_str(vars, "CNI_IFNAME"),
		.args = doc_str(vars, "CNI_ARGS"), .path = doc_str(vars, "CNI_PATH"), .caller = caller,
		.plugin = doc_str(vars, "CNI_KVRAIL_PLUGIN"), .within = doc_str(vars, "CNI_KVRAIL_WITHIN"),
	};
	char *conf, *reply;
	uint64_t begun;
	size_t len;
	int code;

	*ret_status = 400;
	if (!conf64 || base64_decode(a, conf64, &conf, &len) < 0)
		return cni_error(a, CNI_DECODE, "config: it is not there, or no base64");
	begun = clock_ns();
	code = attach_request(ag->engine, a, &env, conf, len, &reply);
	agent_metrics_timing(&ag->metrics, env.command ? env.command : "-", "total", (double)(clock_ns() - begun) / 1e9);
	if (caller && !env.within)
		attach_recover_by(ag->engine, caller);
	after_cni(ag, &env, code, reply);
	if (code)
		return reply;
	*ret_status = 200;
	return arena_printf(a, "{\"Result\":%s}", *reply ? reply : "null");
}

struct conversation {
	struct agent *ag;
	yyjson_val *body;
};

static void converse(void *arg, struct arena *a, void *caller, int *status, const char **text)
{
	struct conversation *c = arg;

	*text = cni(c->ag, a, caller, c->body, status);
}

static void cni_request(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct conversation c = { .ag = ag };
	struct arena *a = arena_new();
	struct err e = { 0 };
	int status = 400;

	if (doc_parse_json(a, "the shim's request", rq->body, rq->body_len, 2 * CONF_MAX, &c.body, &e) < 0) {
		httpd_say(reply, 400, cni_error(rq->arena, CNI_DECODE, e.msg));
	} else if (ag->cluster && doc_bool(c.body, "exec", false)) {
		hostrun_begin(ag->cluster->hostrun, a, converse, &c, sizeof(c), (long)doc_int(c.body, "alive", 0), rq, reply);
		return; /* the arena is the conversation's */
	} else {
		const char *text = cni(ag, a, NULL, c.body, &status);

		httpd_say(reply, status, arena_strdup(rq->arena, text));
	}
	arena_free(a);
}

static int key_of(struct agent *ag, struct arena *a, yyjson_val *v, struct store_object *ret, struct err *e)
{
	yyjson_val *meta = yyjson_obj_get(v, "metadata");
	const struct api_kind *kind = api_kind_find(doc_str(v, "apiVersion"), doc_str(v, "kind"));
	struct complaints c = { .arena = a };
	void *object;

	if (!kind)
		return err_set(e, -EINVAL, "kind %s is none that kvrail knows", doc_str(v, "kind") ? doc_str(v, "kind") : "(missing)");
	if (!doc_str(meta, "name"))
		return err_set(e, -EINVAL, "%s: metadata.name is missing", kind->kind);
	if (api_decode_value(a, v, &kind, &object, &c) < 0)
		for (size_t i = 0; i < c.n; i++)
			if (!c.v[i].warning)
				return err_set(e, -EINVAL, "%s %s: %s: %s", kind->kind, doc_str(meta, "name"), c.v[i].path, c.v[i].text);
	*ret = (struct store_object){
		.kind = kind->kind, .name = doc_str(meta, "name"), .json = doc_to_json(a, v, false),
		.namespace = doc_str(meta, "namespace") ? doc_str(meta, "namespace") : kind->namespaced ? ag->options->namespace : "",
	};
	return 0;
}

/* The body is an array of objects; with @remove they are deleted. */
static int changes_of(struct agent *ag, struct httpd_request *rq, struct arena *a, bool remove, struct store_object **ret, size_t *ret_n,
		      struct err *e)
{
	yyjson_arr_iter it;
	yyjson_val *list, *v;
	int r;

	*ret = NULL;
	*ret_n = 0;
	if (!rq->body_len)
		return 0;
	r = doc_parse_json(a, "the request", rq->body, rq->body_len, DOC_SIZE_MAX, &list, e);
	if (r < 0)
		return r;
	if (!yyjson_is_arr(list))
		return err_set(e, -EINVAL, "the request is no JSON array of objects");
	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		struct store_object o;

		r = key_of(ag, a, v, &o, e);
		if (r < 0)
			return r;
		if (remove)
			o.json = NULL;
		*(struct store_object *)arena_push(a, ret, ret_n, sizeof(o)) = o;
	}
	return 0;
}

struct apply_job {
	struct agent *ag;
	struct arena *arena;
	struct store_object *changes;
	size_t n;
	bool force;
	int out;
};

/* Outlives the request: a client that goes away does not stop an apply half way. */
static void *apply_thread(void *arg)
{
	struct apply_job *job = arg;
	struct err e = { 0 };

	if (agent_apply(job->ag, job->arena, job->changes, job->n, job->force, job->out, &e) < 0) {
		yyjson_mut_doc *doc = doc_new(job->arena);
		yyjson_mut_val *v = yyjson_mut_obj(doc);

		yyjson_mut_obj_add_bool(doc, v, "done", true);
		yyjson_mut_obj_add_str(doc, v, "error", e.msg);
		yyjson_mut_obj_add_bool(doc, v, "busy", e.code == -EBUSY);
		dprintf(job->out, "%s\n", doc_mut_to_json(job->arena, v, false));
		log_warn("apply: %s", e.msg);
	}
	close(job->out);
	arena_free(job->arena);
	return NULL;
}

static void apply(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply, bool remove)
{
	struct arena *a = arena_new();
	struct apply_job *job = arena_alloc(a, sizeof(*job));
	const char *force = httpd_query(rq, "force");
	pthread_attr_t detached;
	struct err e = { 0 };
	pthread_t thread;
	int fds[2];

	*job = (struct apply_job){ .ag = ag, .arena = a, .force = force && !strcmp(force, "1") };
	if (changes_of(ag, rq, a, remove, &job->changes, &job->n, &e) < 0) {
		refuse(rq, reply, 400, e.msg);
		arena_free(a);
		return;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		refuse(rq, reply, 500, "no file descriptor is left");
		arena_free(a);
		return;
	}
	job->out = fds[1];
	reply->fd = fds[0];
	reply->content_type = "application/x-ndjson";
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, apply_thread, job)) {
		close(fds[1]); /* an empty reply: the client says so */
		arena_free(a);
	}
	pthread_attr_destroy(&detached);
}

static void status(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply)
{
	yyjson_mut_doc *doc = doc_new(rq->arena);

	httpd_say(reply, 200, doc_mut_to_json(rq->arena, agent_status(ag, rq->arena, doc), false));
}

/* GET /kvrail/objects/KIND[/NAMESPACE/NAME] */
static void objects(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply, const char *rest)
{
	char *kind_name = arena_strdup(rq->arena, rest), *ns = strchr(kind_name, '/'), *name = NULL;
	const struct api_kind *kind;
	struct store_object *all = NULL;
	struct err e = { 0 };
	char *text = NULL;
	size_t n = 0;
	int r;

	if (ns) {
		*ns++ = '\0';
		name = strchr(ns, '/');
		if (name)
			*name++ = '\0';
	}
	kind = api_kind_named(kind_name);
	if (!kind) {
		refuse(rq, reply, 404, arena_printf(rq->arena, "there is no kind '%s'", kind_name));
		return;
	}
	r = store_list(ag->store, rq->arena, kind->kind, ns && *ns ? ns : NULL, &all, &n, &e);
	if (r < 0) {
		refuse(rq, reply, 500, e.msg);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (!name || !strcmp(all[i].name, name))
			text = arena_printf(rq->arena, "%s%s%s", text ? text : "[", text ? "," : "", all[i].json);
	httpd_say(reply, 200, text ? arena_printf(rq->arena, "%s]", text) : "[]");
}

/* GET /kvrail/peer/NAMESPACE/NAME */
static void peer(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply, const char *rest)
{
	const char *slash = strchr(rest, '/');
	yyjson_mut_val *v;
	struct err e = { 0 };
	int r;

	if (!ag->cluster || !slash || slash == rest || !slash[1]) {
		refuse(rq, reply, 404, "no such pod");
		return;
	}
	r = pod_peer(ag->cluster, rq->arena, arena_strndup(rq->arena, rest, (size_t)(slash - rest)), slash + 1, doc_new(rq->arena), &v, &e);
	if (r < 0)
		refuse(rq, reply, r == -ENOENT ? 404 : 502, e.msg);
	else
		httpd_say(reply, 200, doc_mut_to_json(rq->arena, v, false));
}

static const char *counters(struct agent *ag, struct arena *a)
{
	return doc_mut_to_json(a, counters_json(ag, a, doc_new(a)), false);
}

static void readyz(struct agent *ag, struct httpd_request *rq, struct httpd_reply *reply)
{
	const char *why;

	if (agent_is_ready(ag, rq->arena, &why))
		httpd_say(reply, 200, "{}");
	else
		refuse(rq, reply, 500, why);
}

static bool is_about_objects(const char *path)
{
	return !strcmp(path, "/kvrail/apply") || !strcmp(path, "/kvrail/delete") || !strncmp(path, "/kvrail/objects/", 16);
}

void agent_request(void *agent, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct agent *ag = agent;
	bool get = !strcmp(rq->method, "GET"), post = !strcmp(rq->method, "POST");

	if (rq->uid != 0 && rq->uid != getuid())
		refuse(rq, reply, 403, "the agent answers root only");
	else if (!strcmp(rq->path, "/healthz"))
		httpd_say(reply, 200, "{}");
	else if (!strcmp(rq->path, "/readyz"))
		readyz(ag, rq, reply);
	else if (post && !strcmp(rq->path, "/cni"))
		cni_request(ag, rq, reply);
	else if (post && ag->cluster && !strcmp(rq->path, "/cni/exec"))
		hostrun_go_on(ag->cluster->hostrun, rq, reply);
	else if (ag->cluster && is_about_objects(rq->path))
		refuse(rq, reply, 409, "this node's objects are at the API server: kubectl, or kvrail with --kubeconfig");
	else if (post && !strcmp(rq->path, "/kvrail/apply"))
		apply(ag, rq, reply, false);
	else if (post && !strcmp(rq->path, "/kvrail/delete"))
		apply(ag, rq, reply, true);
	else if (get && !strcmp(rq->path, "/metrics"))
		agent_metrics_serve(ag, rq, reply);
	else if (get && !strcmp(rq->path, "/kvrail/counters"))
		httpd_say(reply, 200, counters(ag, rq->arena));
	else if (get && !strcmp(rq->path, "/kvrail/status"))
		status(ag, rq, reply);
	else if (get && !strncmp(rq->path, "/kvrail/peer/", 13))
		peer(ag, rq, reply, rq->path + 13);
	else if (get && !strncmp(rq->path, "/kvrail/objects/", 16))
		objects(ag, rq, reply, rq->path + 16);
	else
		refuse(rq, reply, 404, arena_printf(rq->arena, "there is nothing at %s %s", rq->method, rq->path));
}
