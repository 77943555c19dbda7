/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/parse.h"
#include "cmd/cmd.h"
#include "cmd/pod.h"

struct options {
	const char *pod;
};

static const struct cmd_option options[] = {
	{ "pod", 0, CMD_STRING, offsetof(struct options, pod), "[NAMESPACE/]POD", NULL, "run inside this pod, over its rails (default: here)" },
};

static const char *const verbs[] = { "serve", "pull", "bench", NULL };

static int check_verb(const char *verb, struct err *e)
{
	const char *near;

	for (const char *const *v = verbs; *v; v++)
		if (!strcmp(*v, verb))
			return CMD_OK;
	near = parse_nearest(verb, verbs);
	err_set(e, -EINVAL, "'%s' is not serve, pull or bench%s%s%s", verb, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return CMD_USAGE;
}

/* The user's own choice of rails wins. */
static bool names_rails(const struct cmd_run *run)
{
	for (size_t i = 0; i < run->n_args; i++)
		if (!strncmp(run->args[i], "--rail", 6))
			return true;
	return false;
}

/* "--rails=mlx5_2:1@10.0.132.1"; without RDMA the address alone. */
static const char *rail_option(struct arena *a, const struct pod_rail *r)
{
	const char *address = arena_strndup(a, r->addresses[0], strcspn(r->addresses[0], "/"));

	return r->rdma ? arena_printf(a, "--rails=%s:%u@%s", r->rdma, r->port ? r->port : 1, address) : arena_printf(a, "--rails=%s", address);
}

static int run_kv(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct arena *a = run->arena;
	const char **args = NULL;
	struct pod pod = { NULL };
	size_t n = 0;
	int rc = check_verb(run->args[0], e);

	if (rc != CMD_OK)
		return rc;
	for (size_t i = 0; i < run->n_args; i++)
		*(const char **)arena_push(a, &args, &n, sizeof(char *)) = run->args[i];
	if (o->pod) {
		rc = pod_find(run, o->pod, &pod, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < pod.n_rails && !names_rails(run); i++)
			if (pod.rails[i].n_addresses)
				*(const char **)arena_push(a, &args, &n, sizeof(char *)) = rail_option(a, &pod.rails[i]);
	}
	*(const char **)arena_push(a, &args, &n, sizeof(char *)) = NULL;
	return pod_exec_kv(a, o->pod ? &pod : NULL, args, e);
}

const struct cmd cmd_kv = {
	.name = "kv",
	.summary = "hand a KV cache from one pod to another, and measure it",
	.usage = "serve|pull|bench [--pod [NAMESPACE/]POD] [OPTION...]",
	.about = "Runs kvrail-kv in the pod's network namespace and fills in --rails from what the pod was attached to. All other options are\n"
		 "kvrail-kv's own: see kvrail-kv(1), or kvrail-kv serve --help.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.min_args = 1,
	.max_args = 256,
	.passes_on = true,
	.run = run_kv,
};
