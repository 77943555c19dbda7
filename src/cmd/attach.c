/* SPDX-License-Identifier: Apache-2.0 */
/* attach and detach: what a container runtime does with the CNI plugin, by hand. */
#include <string.h>

#include "cmd/cmd.h"

struct options {
	const char *netns, *container, *uid;
};

static const struct cmd_option attach_options[] = {
	{ "netns", 0, CMD_STRING, offsetof(struct options, netns), "PATH", NULL, "the pod's network namespace, e.g. /run/netns/NAME" },
	{ "container", 0, CMD_STRING, offsetof(struct options, container), "ID", NULL, "sandbox id (default: made of the pod's name)" },
	{ "uid", 0, CMD_STRING, offsetof(struct options, uid), "UID", NULL, "the pod's UID" },
};

/* "ns/name" or "name" in namespace default. */
static void split_pod(struct arena *a, const char *pod, const char **ns, const char **name)
{
	const char *slash = strchr(pod, '/');

	*ns = slash ? arena_strndup(a, pod, (size_t)(slash - pod)) : "default";
	*name = slash ? slash + 1 : pod;
}

static char *base64(struct arena *a, const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(text), o = 0;
	char *out = arena_alloc(a, (n + 2) / 3 * 4 + 1);

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)(unsigned char)text[i] << 16;

		v |= i + 1 < n ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
		v |= i + 2 < n ? (unsigned char)text[i + 2] : 0;
		out[o++] = digits[v >> 18];
		out[o++] = digits[v >> 12 & 63];
		out[o++] = i + 1 < n ? digits[v >> 6 & 63] : '=';
		out[o++] = i + 2 < n ? digits[v & 63] : '=';
	}
	return out;
}

/* One CNI request through the agent's socket, as the plugin makes it. */
static int cni(struct cmd_run *run, const char *command, const char *container, const char *netns, const char *args,
	       const char *networks, yyjson_val **ret, struct err *e)
{
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *rq = yyjson_mut_obj(doc), *env = yyjson_mut_obj(doc), *conf = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, conf, "cniVersion", "1.1.0");
	yyjson_mut_obj_add_str(doc, conf, "name", "kvrail");
	yyjson_mut_obj_add_str(doc, conf, "type", "kvrail");
	yyjson_mut_obj_add_str(doc, conf, "networks", networks);
	yyjson_mut_obj_add_str(doc, env, "CNI_COMMAND", command);
	yyjson_mut_obj_add_str(doc, env, "CNI_CONTAINERID", container);
	yyjson_mut_obj_add_str(doc, env, "CNI_NETNS", netns);
	yyjson_mut_obj_add_str(doc, env, "CNI_IFNAME", "eth0");
	yyjson_mut_obj_add_str(doc, env, "CNI_ARGS", args);
	yyjson_mut_obj_add_str(doc, env, "CNI_PATH", "/opt/cni/bin");
	yyjson_mut_obj_add_val(doc, rq, "env", env);
	yyjson_mut_obj_add_str(doc, rq, "config", base64(run->arena, doc_mut_to_json(run->arena, conf, false)));
	return cmd_agent(run, "POST", "/cni", doc_mut_to_json(run->arena, rq, false), ret, e);
}

static const char *default_container(struct arena *a, const char *ns, const char *name)
{
	return arena_printf(a, "kvrail-%s-%s", ns, name);
}

static void print_result(struct cmd_run *run, yyjson_val *result)
{
	static const char *const heads[] = { "INTERFACE", "MAC", "DEVICE", "ADDRESSES", NULL };
	yyjson_val *interfaces = yyjson_obj_get(result, "interfaces"), *ips = yyjson_obj_get(result, "ips"), *v, *ip;
	struct out_table *t = out_table_new(run->arena, heads);
	size_t i, j, max, jmax;

	yyjson_arr_foreach(interfaces, i, max, v) {
		const char *addresses = NULL;

		yyjson_arr_foreach(ips, j, jmax, ip)
			if (doc_int(ip, "interface", -1) == (int64_t)i)
				addresses = arena_printf(run->arena, "%s%s%s", addresses ? addresses : "", addresses ? " " : "",
							 doc_str(ip, "address"));
		const char *cells[] = { doc_str(v, "name"), doc_str(v, "mac"), doc_str(v, "pciID"), addresses };

		out_row(t, cells, ARRAY_SIZE(cells));
	}
	out_table_print(t);
}

static int run_attach(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct arena *a = run->arena;
	const char *ns, *name, *networks = run->args[1];
	yyjson_val *v;
	int r;

	split_pod(a, run->args[0], &ns, &name);
	if (!o->netns) {
		err_set(e, -EINVAL, "--netns is missing: the pod's network namespace, e.g. --netns /run/netns/%s", name);
		return CMD_USAGE;
	}
	for (size_t i = 2; i < run->n_args; i++)
		networks = arena_printf(a, "%s,%s", networks, run->args[i]);
	r = cni(run, "ADD", o->container ? o->container : default_container(a, ns, name), o->netns,
		arena_printf(a, "IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s", ns, name, o->uid ? o->uid : ""),
		networks, &v, e);
	if (r < 0)
		return r;
	v = yyjson_obj_get(v, "Result");
	if (run->output == OUT_TABLE)
		print_result(run, v);
	else
		out_value(run, yyjson_val_mut_copy(doc_new(a), v));
	return CMD_OK;
}

static int run_detach(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	const char *ns, *name;
	yyjson_val *status, *at, *v;
	size_t i, max, n = 0;
	int r;

	split_pod(run->arena, run->args[0], &ns, &name);
	r = cmd_agent(run, "GET", "/kvrail/status", NULL, &status, e);
	if (r < 0)
		return r;
	yyjson_arr_foreach(yyjson_obj_get(status, "attachments"), i, max, at) {
		yyjson_val *pod = yyjson_obj_get(at, "pod");
		const char *container = doc_str(at, "container");

		if (strcmp(doc_str(pod, "namespace"), ns) || strcmp(doc_str(pod, "name"), name) ||
		    (o->container && strcmp(container, o->container)))
			continue;
		n++;
		r = cni(run, "DEL", container, doc_str(at, "netns"), "", "", &v, e);
		if (r < 0)
			return r;
	}
	if (!n)
		return err_set(e, -ENOENT, "pod %s/%s has no rails here; 'kvrail status' lists those that have", ns, name);
	return CMD_OK;
}

const struct cmd cmd_attach = {
	.name = "attach", .summary = "give a pod its rails, as a container runtime would",
	.usage = "[NAMESPACE/]POD [NS/]NETWORK[@IFNAME]... --netns PATH [-o FORMAT]",
	.about = "Networks are named as in the annotation k8s.v1.cni.cncf.io/networks; all of them succeed or none.",
	.options = attach_options, .n_options = ARRAY_SIZE(attach_options), .options_size = sizeof(struct options),
	.min_args = 2, .max_args = 64, .output = true, .run = run_attach,
};

const struct cmd cmd_detach = {
	.name = "detach", .summary = "take a pod's rails back",
	.usage = "[NAMESPACE/]POD",
	.options = attach_options + 1, .n_options = 1, .options_size = sizeof(struct options),
	.min_args = 1, .max_args = 1, .run = run_detach,
};
