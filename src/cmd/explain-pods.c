/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, and what makes pods, as far as their networks need them. Read by hand: of dozens of fields four matter here. */
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "cmd/explain.h"

#define GPU_END "/gpu" /* nvidia.com/gpu, amd.com/gpu */

struct source {
	struct arena *a;
	const char *kind, *namespace, *name;
	struct explain_pod **list;
	size_t *n;
};

static void add_annotations(struct arena *a, struct attach_pod *pod, yyjson_val *annotations)
{
	yyjson_obj_iter it;
	yyjson_val *k;

	yyjson_obj_iter_init(annotations, &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		const char *value = yyjson_get_str(yyjson_obj_iter_get_val(k));

		if (value)
			*(struct pair *)arena_push(a, &pod->annotations, &pod->n_annotations, sizeof(struct pair)) =
				(struct pair){ yyjson_get_str(k), value };
	}
}

/* Extended resources: a name with a "/", which requests and limits give alike. */
static void add_requests(struct arena *a, struct explain_pod *p, struct attach_container *c, yyjson_val *resources)
{
	yyjson_val *list = yyjson_obj_get(resources, "limits"), *k;
	yyjson_obj_iter it;

	yyjson_obj_iter_init(list ? list : yyjson_obj_get(resources, "requests"), &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		yyjson_val *v = yyjson_obj_iter_get_val(k);
		const char *name = yyjson_get_str(k), *text = yyjson_get_str(v);
		uint64_t count = yyjson_get_uint(v);
		size_t len = strlen(name);

		if (!strchr(name, '/') || (text && parse_u64(text, 10, 0, UINT32_MAX, &count) < 0))
			continue;
		if (len > strlen(GPU_END) && !strcmp(name + len - strlen(GPU_END), GPU_END))
			c->gpu = p->pod.gpu = true;
		*(struct explain_request *)arena_push(a, &p->requests, &p->n_requests, sizeof(*p->requests)) =
			(struct explain_request){ c->name, name, count };
	}
}

static void add_containers(struct arena *a, struct explain_pod *p, yyjson_val *list)
{
	yyjson_arr_iter it, vars;
	yyjson_val *v, *var;

	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		struct attach_container *c = arena_push(a, &p->pod.containers, &p->pod.n_containers, sizeof(*c));

		c->name = doc_str(v, "name") ? doc_str(v, "name") : "";
		yyjson_arr_iter_init(yyjson_obj_get(v, "env"), &vars);
		while ((var = yyjson_arr_iter_next(&vars)))
			if (doc_str(var, "name"))
				*(const char **)arena_push(a, &c->env, &c->n_env, sizeof(*c->env)) = doc_str(var, "name");
		add_requests(a, p, c, yyjson_obj_get(v, "resources"));
	}
}

/* @spec: of a pod. What is returned moves when the next one is added. */
static struct explain_pod *add_pod(struct source *s, const char *part, yyjson_val *meta, yyjson_val *spec)
{
	struct explain_pod *p = arena_push(s->a, s->list, s->n, sizeof(*p));

	p->what = arena_printf(s->a, "%s %s/%s%s%s%s", s->kind, s->namespace, s->name, part ? " (" : "", part ? part : "", part ? ")" : "");
	p->pod.namespace = s->namespace;
	p->pod.name = s->name;
	add_annotations(s->a, &p->pod, yyjson_obj_get(meta, "annotations"));
	add_containers(s->a, p, yyjson_obj_get(spec, "containers"));
	add_containers(s->a, p, yyjson_obj_get(spec, "initContainers"));
	return p;
}

static void add_template(struct source *s, const char *part, yyjson_val *template)
{
	if (yyjson_is_obj(template))
		add_pod(s, part, yyjson_obj_get(template, "metadata"), yyjson_obj_get(template, "spec"));
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/*
 * Of the annotations of a service's metadata KServe copies to every pod those that begin so (its propagateDeploymentMetadata()), below those of
 * @field. What kvrail would read and does not get is a warning.
 */
static void add_service_annotations(struct arena *a, struct explain_pod *p, yyjson_val *annotations, const char *field)
{
	_cleanup_strbuf_ struct strbuf lost = STRBUF_INIT;
	yyjson_obj_iter it;
	yyjson_val *k;

	yyjson_obj_iter_init(annotations, &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		const char *key = yyjson_get_str(k), *value = yyjson_get_str(yyjson_obj_iter_get_val(k));

		if (!value || pairs_get(p->pod.annotations, p->pod.n_annotations, key))
			continue;
		if (starts(key, "k8s.v1.cni.cncf.io"))
			*(struct pair *)arena_push(a, &p->pod.annotations, &p->pod.n_annotations, sizeof(struct pair)) = (struct pair){ key, value };
		else if (starts(key, "kvrail.io/") || !strcmp(key, ANNOTATION_DEFAULT_NETWORK))
			strbuf_addf(&lost, "%s%s", lost.len ? ", " : "", key);
	}
	if (lost.len)
		p->warning = arena_printf(a, "KServe does not copy %s from the service's metadata to its pods: put it under %s", lost.s, field);
}

/* A template is a pod's spec. */
static void add_service(struct source *s, yyjson_val *object)
{
	yyjson_val *meta = yyjson_obj_get(object, "metadata"), *spec = yyjson_obj_get(object, "spec"), *prefill = yyjson_obj_get(spec, "prefill");
	const struct {
		const char *part;
		yyjson_val *spec, *owner;
		const char *annotations;
	} pods[] = { { prefill ? "decode" : NULL, yyjson_obj_get(spec, "template"), spec, "spec.annotations" },
		     { "worker", yyjson_obj_get(spec, "worker"), spec, "spec.annotations" },
		     { "prefill", yyjson_obj_get(prefill, "template"), prefill, "spec.prefill.annotations" },
		     { "prefill worker", yyjson_obj_get(prefill, "worker"), prefill, "spec.prefill.annotations" } };

	for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
		if (yyjson_is_obj(pods[i].spec))
			add_service_annotations(s->a, add_pod(s, pods[i].part, pods[i].owner, pods[i].spec), yyjson_obj_get(meta, "annotations"),
						pods[i].annotations);
}

bool explain_pods_of(struct arena *a, yyjson_val *object, const char *default_namespace, struct explain_pod **list, size_t *n)
{
	yyjson_val *meta = yyjson_obj_get(object, "metadata"), *spec = yyjson_obj_get(object, "spec"), *lws;
	struct source s = { .a = a, .kind = doc_str(object, "kind"), .namespace = doc_str(meta, "namespace"), .name = doc_str(meta, "name"),
			    .list = list, .n = n };

	if (!s.kind)
		return false;
	s.namespace = s.namespace && *s.namespace ? s.namespace : default_namespace;
	s.name = s.name ? s.name : "(no name)";
	lws = yyjson_obj_get(spec, "leaderWorkerTemplate");
	if (!strcmp(s.kind, "Pod")) {
		add_pod(&s, NULL, meta, spec);
	} else if (!strcmp(s.kind, "LLMInferenceService")) {
		add_service(&s, object);
	} else if (lws) {
		add_template(&s, "leader", yyjson_obj_get(lws, "leaderTemplate"));
		add_template(&s, "worker", yyjson_obj_get(lws, "workerTemplate"));
	} else if (yyjson_is_arr(yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(spec, "template"), "spec"), "containers"))) {
		add_template(&s, NULL, yyjson_obj_get(spec, "template"));
	} else {
		return false;
	}
	return true;
}

bool explain_pods_of_document(struct arena *a, const struct doc *d, const char *default_namespace, struct explain_pod **list, size_t *n)
{
	yyjson_arr_iter it;
	yyjson_val *v;

	if (!yyjson_is_arr(d->root))
		return explain_pods_of(a, d->root, default_namespace, list, n);
	yyjson_arr_iter_init(d->root, &it);
	while ((v = yyjson_arr_iter_next(&it)))
		if (!explain_pods_of(a, v, default_namespace, list, n))
			return false;
	return yyjson_arr_size(d->root) > 0;
}
