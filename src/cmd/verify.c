/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strbuf.h"
#include "cmd/cmd.h"
#include "cmd/pod.h"

struct options {
	const char *peer;
	uint64_t timeout;
	bool listen;
};

static const struct cmd_option options[] = {
	{ "listen", 'l', CMD_FLAG, offsetof(struct options, listen), NULL, NULL, "wait for the other pod's verify --peer, on port 5701" },
	{ "peer", 'p', CMD_STRING, offsetof(struct options, peer), "ADDRESS", NULL, "the other pod, where verify --listen runs: prove the path to it" },
	{ "timeout", 't', CMD_UINT, offsetof(struct options, timeout), "SECONDS", NULL, "how long to wait for the other side (default 60)" },
};

static void push(struct arena *a, const char ***args, size_t *n, const char *arg)
{
	*(const char **)arena_push(a, args, n, sizeof(char *)) = arg;
}

/* "net1,port=1,rdma=mlx5_2,...": what kvrail-kv check is told of a rail. */
static const char *rail_spec(struct arena *a, const struct pod_rail *r)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_addf(&b, "%s,port=%u", r->ifname, r->port ? r->port : 1);
	if (r->rdma)
		strbuf_addf(&b, ",rdma=%s", r->rdma);
	if (r->n_addresses)
		strbuf_addf(&b, ",address=%s", r->addresses[0]);
	if (r->network)
		strbuf_addf(&b, ",network=%s", r->network);
	if (r->mtu)
		strbuf_addf(&b, ",mtu=%u", r->mtu);
	if (r->gid_index >= 0)
		strbuf_addf(&b, ",gid=%d", r->gid_index);
	return arena_strdup(a, b.s);
}

static int run_verify(struct cmd_run *run, struct err *e)
{
	static const char *const formats[] = { "table", "json", "yaml" };
	const struct options *o = run->options;
	struct arena *a = run->arena;
	const char **args = NULL;
	struct pod pod;
	size_t n = 0;
	int rc;

	if (o->listen && o->peer) {
		err_set(e, -EINVAL, "--listen is for one pod and --peer for the other");
		return CMD_USAGE;
	}
	rc = pod_find(run, run->args[0], &pod, e);
	if (rc < 0)
		return rc;
	if (pod.n_rails == 0)
		return err_set(e, -ENODEV, "%s/%s has no rail", pod.ns, pod.name);
	push(a, &args, &n, "check");
	for (size_t i = 0; i < pod.n_rails; i++) {
		push(a, &args, &n, "--rail");
		push(a, &args, &n, rail_spec(a, &pod.rails[i]));
	}
	push(a, &args, &n, "--output");
	push(a, &args, &n, formats[run->output]);
	if (o->listen)
		push(a, &args, &n, "--listen");
	if (o->peer)
		push(a, &args, &n, arena_printf(a, "--peer=%s", o->peer));
	if (o->timeout)
		push(a, &args, &n, arena_printf(a, "--timeout=%lu", (unsigned long)o->timeout));
	push(a, &args, &n, NULL);
	return pod_exec_kv(a, &pod, args, e);
}

const struct cmd cmd_verify = {
	.name = "verify",
	.summary = "prove from inside a pod that its rails are what they should be",
	.usage = "[NAMESPACE/]POD [--listen | --peer ADDRESS] [--timeout SECONDS] [-o FORMAT]",
	.about = "Alone it looks at interfaces, MTU, RDMA devices, GIDs, device nodes, and at the limits and environment of the pod's\n"
		 "programs. With --listen for one pod and --peer for another it also sends don't-fragment packets of the full MTU both\n"
		 "ways, connects RC queue pairs and moves bytes, rail by rail, and holds the devices' counters to them.\n\n"
		 "Exit code 3: something is bad. Needs root.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.min_args = 1,
	.max_args = 1,
	.output = true,
	.run = run_verify,
};
