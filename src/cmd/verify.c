/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

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

/* What kvrail-kv is called with for @pod; with @listen or @peer for the path to another. */
static const char **arguments(struct cmd_run *run, const struct pod *pod, bool listen, const char *peer)
{
	static const char *const formats[] = { "table", "json", "yaml" };
	const struct options *o = run->options;
	struct arena *a = run->arena;
	const char **args = NULL;
	size_t n = 0;

	push(a, &args, &n, "check");
	for (size_t i = 0; i < pod->n_rails; i++) {
		push(a, &args, &n, "--rail");
		push(a, &args, &n, rail_spec(a, &pod->rails[i]));
	}
	push(a, &args, &n, "--output");
	push(a, &args, &n, formats[run->output]);
	if (listen)
		push(a, &args, &n, "--listen");
	if (peer)
		push(a, &args, &n, arena_printf(a, "--peer=%s", peer));
	if (o->timeout)
		push(a, &args, &n, arena_printf(a, "--timeout=%lu", (unsigned long)o->timeout));
	push(a, &args, &n, NULL);
	return args;
}

static int find(struct cmd_run *run, const char *name, struct pod *ret, struct err *e)
{
	int rc = pod_find(run, name, ret, e);

	if (rc == 0 && ret->n_rails == 0)
		rc = err_set(e, -ENODEV, "%s/%s has no rail with an interface", ret->ns, ret->name);
	return rc;
}

/* The first address without its prefix length, of the rail on @network; else of any. */
static const char *address_of(struct arena *a, const struct pod *pod, const char *network)
{
	const char *any = NULL;

	for (size_t i = 0; i < pod->n_rails; i++) {
		const struct pod_rail *r = &pod->rails[i];
		const char *text = r->n_addresses ? arena_strndup(a, r->addresses[0], strcspn(r->addresses[0], "/")) : NULL;

		if (text && network && r->network && !strcmp(r->network, network))
			return text;
		any = any ? any : text;
	}
	return any;
}

/* The other side on this very node: it listens in a process of its own, whose lines this side prints too. */
static int listen_here(struct cmd_run *run, const struct pod *pod, struct err *e)
{
	const char **args = arguments(run, pod, true, NULL);
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		return err_errno(e, -errno, "fork");
	if (child > 0)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (!freopen("/dev/null", "w", stdout))
		_exit(1);
	pod_exec_kv(run->arena, pod, args, e);
	fprintf(stderr, "kvrail: %s/%s: %s\n", pod->ns, pod->name, e->msg);
	_exit(1);
}

/* The agent of the other node answers there only: a person starts the other side, as this says. */
static void say_what_to_run(const char *full, const char *ip, yyjson_val *peer)
{
	const char *node = doc_str(peer, "node"), *ns = doc_str(peer, "agentNamespace");

	fprintf(stderr, "kvrail: waiting for %s on %s; on node %s run:\n\tkvrail verify %s --listen\n", full, ip, node, full);
	if (ns)
		fprintf(stderr, "or, from anywhere:\n\tkubectl -n %s exec $(kubectl -n %s get pod -o name -l app.kubernetes.io/name=kvrail,"
				"app.kubernetes.io/component=agent --field-selector=spec.nodeName=%s) -- kvrail verify %s --listen\n",
			ns, ns, node, full);
}

/* Where a pod of another node is reached, as the API server knows it. */
static int ask_cluster(struct cmd_run *run, const struct pod *pod, const char *name, const char **ret, struct err *e)
{
	struct arena *a = run->arena;
	const char *slash = strchr(name, '/');
	const char *full = slash ? name : arena_printf(a, "%s/%s", pod->ns, name), *any = NULL;
	yyjson_val *v, *net;
	size_t i, max;
	int rc = cmd_agent(run, "GET", arena_printf(a, "/kvrail/peer/%s", full), NULL, &v, e);

	if (rc < 0)
		return rc;
	yyjson_arr_foreach(yyjson_obj_get(v, "networks"), i, max, net) {
		const char *ip = yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(net, "ips"))), *network = doc_str(net, "name");

		for (size_t k = 0; ip && network && k < pod->n_rails && !*ret; k++)
			if (pod->rails[k].network && !strcmp(pod->rails[k].network, network))
				*ret = ip;
		any = any ? any : ip;
	}
	if (!any)
		return err_set(e, -ENODEV, "%s on node %s has no rail: its network-status names none", full, doc_str(v, "node"));
	if (!*ret)
		return err_set(e, -ENODEV, "%s on node %s has no network in common with %s/%s", full, doc_str(v, "node"), pod->ns, pod->name);
	say_what_to_run(full, *ret, v);
	return 0;
}

/* @name is the other pod: make it listen if it is here, find it if it is not. */
static int reach(struct cmd_run *run, const struct pod *pod, const char *name, const char **ret, struct err *e)
{
	struct pod other;
	struct err here = { 0 };
	int rc = find(run, name, &other, &here);

	*ret = NULL;
	if (rc == -ENOENT) {
		rc = ask_cluster(run, pod, name, ret, e);
		return rc == -ENOENT ? err_set(e, rc, "%s", here.msg) : rc;
	}
	if (rc < 0)
		return err_set(e, rc, "%s", here.msg);
	*ret = address_of(run->arena, &other, pod->rails[0].network);
	if (!*ret)
		return err_set(e, -ENODEV, "%s/%s has no address", other.ns, other.name);
	return listen_here(run, &other, e);
}

static int run_verify(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	const char *peer = o->peer;
	struct pod pod;
	int rc;

	if (o->listen + (o->peer != NULL) + (run->n_args > 1) > 1) {
		err_set(e, -EINVAL, "--listen is for one pod and --peer, or its name, for the other");
		return CMD_USAGE;
	}
	rc = find(run, run->args[0], &pod, e);
	if (rc == 0 && run->n_args > 1)
		rc = reach(run, &pod, run->args[1], &peer, e);
	return rc < 0 ? rc : pod_exec_kv(run->arena, &pod, arguments(run, &pod, o->listen, peer), e);
}

const struct cmd cmd_verify = {
	.name = "verify",
	.summary = "prove from inside a pod that its rails are what they should be",
	.usage = "[NAMESPACE/]POD [[NAMESPACE/]PEER | --listen | --peer ADDRESS] [--timeout SECONDS] [-o FORMAT]",
	.about = "Alone it looks at interfaces, MTU, RDMA devices, GIDs, device nodes, and at the limits and environment of the pod's\n"
		 "programs. With --listen for one pod and --peer for another it also sends don't-fragment packets of the full MTU both\n"
		 "ways, connects RC queue pairs and moves bytes, rail by rail, and holds the devices' counters to them. A PEER of this node\n"
		 "listens by itself; where one of another node is, the API server says.\n\n"
		 "Exit code 3: something is bad. Needs root.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.min_args = 1,
	.max_args = 2,
	.output = true,
	.run = run_verify,
};
