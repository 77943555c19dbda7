/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/pod.h"
#include "fabric/env.h"

struct options {
	const char *format, *pod_ip;
	bool gpu;
};

static const char *const formats[] = { "sh", "docker", NULL };

static const struct cmd_option options[] = {
	{ "format", 'f', CMD_STRING, offsetof(struct options, format), "FORMAT", formats,
	  "sh: to be sourced by a shell; docker: a file for --env-file" },
	{ "gpu", 'g', CMD_FLAG, offsetof(struct options, gpu), NULL, NULL, "the pod has GPUs: CUDA transports too" },
	{ "pod-ip", 0, CMD_STRING, offsetof(struct options, pod_ip), "ADDRESS", NULL,
	  "the pod's address on the default network, where there is one" },
};

static int make(struct cmd_run *run, const struct pod *pod, struct env_var **ret, size_t *ret_n, struct err *e)
{
	const struct options *o = run->options;
	struct env_rail *rails = arena_alloc(run->arena, pod->n_rails * sizeof(*rails));
	struct env_pod env = { .rails = rails, .n_rails = pod->n_rails, .pod_ip = o->pod_ip ? o->pod_ip : pod->ip, .gpu = o->gpu };

	for (size_t i = 0; i < pod->n_rails; i++) {
		const struct pod_rail *r = &pod->rails[i];

		rails[i] = (struct env_rail){
			.ifname = r->ifname, .rdma = r->rdma, .port = r->port, .addresses = r->addresses,
			.n_addresses = r->n_addresses, .gid_index = r->gid_index, .soft = r->soft, .driver = r->driver,
			.link_layer = r->link_layer, .active_mtu = r->active_mtu,
		};
	}
	*ret = NULL;
	*ret_n = 0;
	return env.n_rails ? env_make(run->arena, &env, ret, ret_n, e) : 0;
}

/* One line of POSIX shell: the value in single quotes. */
static void print_sh(const struct env_var *v)
{
	printf("# %s: %s\n", v->library, v->why);
	if (!v->value) {
		printf("unset %s\n", v->name);
		return;
	}
	printf("export %s='", v->name);
	for (const char *s = v->value; *s; s++)
		fputs(*s == '\'' ? "'\\''" : (char[]){ *s, '\0' }, stdout);
	puts("'");
}

/* docker --env-file knows no quotes and no unset. */
static void print_docker(const struct env_var *v)
{
	printf("# %s: %s\n", v->library, v->why);
	if (v->value)
		printf("%s=%s\n", v->name, v->value);
	else
		printf("# not set: %s\n", v->name);
}

static void print_table(struct cmd_run *run, const struct env_var *v, size_t n)
{
	static const char *const heads[] = { "LIBRARY", "NAME", "VALUE", "WHY", NULL };
	struct out_table *t = out_table_new(run->arena, heads);

	for (size_t i = 0; i < n; i++)
		out_row(t, (const char *[]){ v[i].library, v[i].name, v[i].value ? v[i].value : "(do not set)", v[i].why }, 4);
	out_table_print(t);
}

static void print_value(struct cmd_run *run, const struct pod *pod, const struct env_var *v, size_t n)
{
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_arr(doc);

	yyjson_mut_obj_add_strcpy(doc, root, "pod", arena_printf(run->arena, "%s/%s", pod->ns, pod->name));
	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *var = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, var, "name", v[i].name);
		if (v[i].value)
			yyjson_mut_obj_add_str(doc, var, "value", v[i].value);
		else
			yyjson_mut_obj_add_null(doc, var, "value");
		yyjson_mut_obj_add_str(doc, var, "library", v[i].library);
		yyjson_mut_obj_add_str(doc, var, "why", v[i].why);
	}
	yyjson_mut_obj_add_val(doc, root, "environment", list);
	out_value(run, root);
}

static int run_env(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct env_var *vars;
	struct pod pod;
	size_t n;
	int rc = pod_find(run, run->args[0], &pod, e);

	if (rc < 0)
		return rc;
	rc = make(run, &pod, &vars, &n, e);
	if (rc < 0)
		return err_wrap(e, rc, "%s/%s", pod.ns, pod.name);
	if (run->output != OUT_TABLE) {
		print_value(run, &pod, vars, n);
	} else if (o->format) {
		for (size_t i = 0; i < n; i++)
			!strcmp(o->format, "sh") ? print_sh(&vars[i]) : print_docker(&vars[i]);
	} else {
		print_table(run, vars, n);
	}
	return CMD_OK;
}

const struct cmd cmd_env = {
	.name = "env",
	.summary = "what UCX, NCCL, NVSHMEM and NIXL must be told in a pod, and why",
	.usage = "[NAMESPACE/]POD [--format sh|docker] [--gpu] [--pod-ip ADDRESS] [-o FORMAT]",
	.about = "The values follow from what was measured when the pod was attached: its RDMA devices, the GID index of its addresses,\n"
		 "the driver. Variables that must not be set are listed too.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.min_args = 1,
	.max_args = 1,
	.output = true,
	.run = run_env,
};
