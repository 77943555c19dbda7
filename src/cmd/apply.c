/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cmd/cluster.h"
#include "cmd/manifests.h"
#include "cmd/progress.h"
#include "rpc/httpd.h"

static const struct cmd_option options[] = {
	CLUSTER_OPTIONS,
	{ "filename", 'f', CMD_STRINGS, offsetof(struct apply_options, files), "FILE", NULL, "manifest or folder to read, - for standard input; may be repeated" },
	{ "namespace", 'n', CMD_STRING, offsetof(struct apply_options, namespace), "NS", NULL, "of objects that name none (a cluster's)" },
	{ "force", 0, CMD_FLAG, offsetof(struct apply_options, force), NULL, NULL, "apply to a cluster: take fields over from another manager; on a host: reset ports even if pods hold their VFs" },
	{ "strict", 0, CMD_FLAG, offsetof(struct apply_options, strict), NULL, NULL, "an unknown field is an error" },
};

#define LINE_MAX_BYTES (1u << 20)

struct reply {
	struct cmd_run *run;
	yyjson_mut_doc *doc;
	yyjson_mut_val *steps;
	struct progress *progress;
	bool done, busy, failed;
	char *error;
	uint64_t n_steps, n_objects;
};

static int on_line(void *arg, const char *line, size_t len)
{
	struct reply *p = arg;
	yyjson_val *v;

	if (doc_parse_json(p->run->arena, "the agent's progress", line, len, LINE_MAX_BYTES, &v, NULL) < 0)
		return -EPROTO;
	if (doc_bool(v, "done", false)) {
		p->done = true;
		p->busy = doc_bool(v, "busy", false);
		p->error = arena_strdup(p->run->arena, doc_str(v, "error"));
		p->n_steps = (uint64_t)doc_int(v, "steps", 0);
		p->n_objects = (uint64_t)doc_int(v, "objects", 0);
	} else if (p->run->output == OUT_TABLE) {
		progress_step(p->progress, v);
	} else {
		yyjson_mut_arr_append(p->steps, yyjson_val_mut_copy(p->doc, v));
	}
	return 0;
}

static void print_end(struct reply *p)
{
	yyjson_mut_val *v;

	progress_end(p->progress);
	if (p->run->output != OUT_TABLE) {
		v = yyjson_mut_obj(p->doc);
		yyjson_mut_obj_add_val(p->doc, v, "steps", p->steps);
		yyjson_mut_obj_add_uint(p->doc, v, "objectsChanged", p->n_objects);
		if (p->error)
			yyjson_mut_obj_add_str(p->doc, v, "error", p->error);
		out_value(p->run, v);
	} else if (!p->error && !p->n_steps && !p->n_objects) {
		puts("nothing to do: the node is as the manifests ask");
	} else if (!p->error) {
		printf("%sdone%s: %llu step%s, %llu object%s changed, %.1f s\n", out_color(OUT_GOOD), out_color(OUT_PLAIN),
		       (unsigned long long)p->n_steps, p->n_steps == 1 ? "" : "s", (unsigned long long)p->n_objects,
		       p->n_objects == 1 ? "" : "s", progress_seconds(p->progress));
	}
}

/* apply and delete differ in the request only. */
static int send_objects(struct cmd_run *run, const char *target, struct err *e)
{
	const struct apply_options *o = run->options;
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	struct reply p = { .run = run, .doc = doc, .steps = yyjson_mut_arr(doc), .progress = progress_new(run->arena) };
	struct manifest *m;
	char *body, *reply;
	int r, status;
	size_t n;

	r = manifests_load(run, &o->files, o->strict, &m, &n, e);
	if (r < 0)
		return err_append(e, r, "; nothing was changed");
	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(list, yyjson_val_mut_copy(doc, m[i].value));
	body = doc_mut_to_json(run->arena, list, false);
	r = http_unix(cmd_socket(), "POST", target, body, strlen(body), LINE_MAX_BYTES, on_line, &p, run->arena, &status, &reply, e);
	if (r < 0)
		return e->code ? r : err_set(e, r, "the agent's progress could not be read");
	if (status / 100 != 2) {
		yyjson_val *v = NULL;

		doc_parse_json(run->arena, "the agent's reply", reply, strlen(reply), LINE_MAX_BYTES, &v, NULL);
		return err_set(e, -EREMOTEIO, "%s", doc_str(v, "error") ? doc_str(v, "error") : "the agent refused the request");
	}
	if (!p.done)
		return err_set(e, -ECONNRESET, "the agent went away before it was done; it goes on when it starts again, see 'kvrail status'");
	print_end(&p);
	return p.error ? err_set(e, -EREMOTEIO, "%s", p.error) : CMD_OK;
}

static int need_files(struct cmd_run *run)
{
	const struct apply_options *o = run->options;

	if (o->files.n)
		return 0;
	fputs(run->n_args ? "kvrail: KIND NAME is for a cluster (--kubeconfig FILE); on a host name a manifest: -f FILE\n" :
			    "kvrail: name a manifest: -f FILE\n",
	      stderr);
	return CMD_USAGE;
}

static int run_apply(struct cmd_run *run, struct err *e)
{
	const struct apply_options *o = run->options;
	int r = need_files(run);

	if (r)
		return r;
	if (cmd_cluster_is_meant(&o->cluster))
		return apply_to_cluster(run, o, e);
	if (o->namespace)
		return err_set(e, -EINVAL, "--namespace is for a cluster: give --kubeconfig FILE");
	return send_objects(run, o->force ? "/kvrail/apply?force=1" : "/kvrail/apply", e);
}

static int run_delete(struct cmd_run *run, struct err *e)
{
	const struct apply_options *o = run->options;
	bool cluster = cmd_cluster_is_meant(&o->cluster);
	int r = cluster && run->n_args ? 0 : need_files(run);

	if (r)
		return r;
	if (run->n_args && o->files.n) {
		fputs("kvrail: either -f FILE or KIND NAME, not both\n", stderr);
		return CMD_USAGE;
	}
	if (cluster && o->force)
		return err_set(e, -EINVAL, "--force resets ports of a host; a cluster's objects are deleted without it");
	if (cluster)
		return delete_from_cluster(run, o, e);
	if (o->namespace)
		return err_set(e, -EINVAL, "--namespace is for a cluster: give --kubeconfig FILE");
	return send_objects(run, o->force ? "/kvrail/delete?force=1" : "/kvrail/delete", e);
}

const struct cmd cmd_apply = {
	.name = "apply", .summary = "make a cluster or this host as the manifests ask, with progress",
	.usage = "-f FILE... [-n NS] [--force] [--strict] [--kubeconfig FILE] [--context NAME] [-o FORMAT]",
	.about = "To a cluster with --kubeconfig or --context; else to this host's agent where its socket is; else to the cluster\n"
		 "of $KUBECONFIG, of the pod's service account or of ~/.kube/config.\n"
		 "Validates everything first: after an error nothing was changed. A port whose VFs pods hold is not reset\n"
		 "unless --force is given. A second apply of the same files finds nothing to do.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct apply_options),
	.output = true, .run = run_apply,
};

const struct cmd cmd_delete = {
	.name = "delete", .summary = "take objects away; a host's ports go back to no VFs",
	.usage = "-f FILE... | KIND NAME... [-n NS] [--force] [--kubeconfig FILE] [--context NAME] [-o FORMAT]",
	.about = "KIND NAME is for a cluster; a host's objects are named by their manifests. Which of the two is meant, 'kvrail apply --help' says.",
	.max_args = SIZE_MAX,
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct apply_options),
	.output = true, .run = run_delete,
};
