/* SPDX-License-Identifier: Apache-2.0 */
/* What `kvrail status` shows: the node, what is wrong with it, and the way out. */
#include <string.h>

#include "agent/cluster.h"
#include "agent/failures.h"
#include "device/device.h"

#define STALE_S 5 /* a watch is cut and resumed all the time: that long is trouble */

static void add_problem(yyjson_mut_doc *doc, yyjson_mut_val *list, const char *text)
{
	if (text)
		yyjson_mut_arr_add_strcpy(doc, list, text);
}

static void add_watches(struct cluster *cl, struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *problems)
{
	for (size_t i = 0; i < COLLECTIONS; i++) {
		struct err why = { 0 };
		unsigned s = informer_stale_s(cl->informers[i], &why);

		if (s < STALE_S)
			continue;
		add_problem(doc, problems, arena_printf(a, "no word from the API server for %u s: %s; pods that are known here are attached all the same", s,
							why.msg));
		return; /* one server: one reason */
	}
}

static void add_device(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *problems, const char *resource, yyjson_mut_val *device)
{
	const char *reason = yyjson_mut_get_str(yyjson_mut_obj_get(device, "reason"));

	if (reason && !yyjson_mut_get_bool(yyjson_mut_obj_get(device, "healthy")))
		add_problem(doc, problems, arena_printf(a, "%s of %s is unhealthy: %s", yyjson_mut_get_str(yyjson_mut_obj_get(device, "pci")), resource,
							reason));
}

static void add_resources(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *resources, yyjson_mut_val *problems)
{
	yyjson_mut_arr_iter it, devices;
	yyjson_mut_val *r, *d;

	yyjson_mut_arr_iter_init(resources, &it);
	while ((r = yyjson_mut_arr_iter_next(&it))) {
		const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(r, "resource"));
		const char *problem = yyjson_mut_get_str(yyjson_mut_obj_get(r, "problem"));

		if (problem)
			add_problem(doc, problems, arena_printf(a, "resource %s: %s", name, problem));
		yyjson_mut_arr_iter_init(yyjson_mut_obj_get(r, "devices"), &devices);
		while ((d = yyjson_mut_arr_iter_next(&devices)))
			add_device(a, doc, problems, name, d);
	}
}

static bool pod_is_there(void *arg, const char *ns, const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct informer_object o;

	return watch_get(arg, OF_PODS, a, ns, name, &o, NULL) != -ENOENT;
}

static void add_failures(struct cluster *cl, struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *problems)
{
	yyjson_mut_val *list = failures_json(cl->failures, doc, pod_is_there, cl), *f;
	yyjson_mut_arr_iter it;

	yyjson_mut_arr_iter_init(list, &it);
	while ((f = yyjson_mut_arr_iter_next(&it)))
		add_problem(doc, problems, arena_printf(a, "pod %s: %s (%u times, last %s)", yyjson_mut_get_str(yyjson_mut_obj_get(f, "pod")),
							yyjson_mut_get_str(yyjson_mut_obj_get(f, "error")),
							(unsigned)yyjson_mut_get_uint(yyjson_mut_obj_get(f, "times")),
							yyjson_mut_get_str(yyjson_mut_obj_get(f, "last"))));
}

static void add_cluster(struct agent *ag, struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *v, yyjson_mut_val *problems)
{
	struct cluster *cl = ag->cluster;
	yyjson_mut_val *c = yyjson_mut_obj(doc), *resources = device_plugin_json(cl->plugin, doc);

	yyjson_mut_obj_add_strcpy(doc, c, "server", kube_server(cl->kube));
	yyjson_mut_obj_add_strcpy(doc, c, "namespace", ag->options->namespace);
	yyjson_mut_obj_add_val(doc, c, "resources", resources);
	yyjson_mut_obj_add_val(doc, v, "cluster", c);
	add_watches(cl, a, doc, problems);
	add_resources(a, doc, resources, problems);
	add_failures(cl, a, doc, problems);
}

yyjson_mut_val *agent_status(struct agent *ag, struct arena *a, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *agent = yyjson_mut_obj(doc), *problems = yyjson_mut_arr(doc);
	yyjson_mut_val *attachments = attach_list(ag->engine, doc);
	bool applying = pthread_mutex_trylock(&ag->apply_lock) != 0;
	const char *why_not = NULL;

	yyjson_mut_obj_add_str(doc, v, "node", ag->node);
	yyjson_mut_obj_add_str(doc, agent, "version", KVRAIL_VERSION);
	yyjson_mut_obj_add_int(doc, agent, "pid", getpid());
	yyjson_mut_obj_add_bool(doc, agent, "ready", agent_is_ready(ag, a, &why_not));
	yyjson_mut_obj_add_bool(doc, agent, "softRoce", ag->options->soft_roce);
	yyjson_mut_obj_add_bool(doc, agent, "applying", applying);
	yyjson_mut_obj_add_strcpy(doc, agent, "stateDir", ag->options->state_dir);
	yyjson_mut_obj_add_val(doc, v, "agent", agent);
	if (why_not)
		add_problem(doc, problems, arena_printf(a, "not ready to attach pods: %s", why_not));
	if (!applying) {
		add_problem(doc, problems, ag->problem);
		pthread_mutex_unlock(&ag->apply_lock);
	}
	if (ag->cluster)
		add_cluster(ag, a, doc, v, problems);
	yyjson_mut_obj_add_val(doc, v, "problems", problems);
	yyjson_mut_obj_add_val(doc, v, "pools", pools_json(ag, doc, attachments));
	yyjson_mut_obj_add_val(doc, v, "attachments", attachments);
	return v;
}
