/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "attach/attach.h"
#include "base/log.h"
#include "base/parse.h"
#include "cmd/cmd.h"

struct options {
	bool standalone, soft_roce, list_steps;
	const char *socket, *state, *node, *rdma_netns, *log_level, *share;
	struct cmd_strings netdevs;
};

static const char *const modes[] = { "exclusive", "shared", "keep", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static const struct cmd_option options[] = {
	{ "standalone", 0, CMD_FLAG, offsetof(struct options, standalone), NULL, NULL,
	  "one host, no Kubernetes: objects and addresses in a local store" },
	{ "state", 0, CMD_STRING, offsetof(struct options, state), "DIR", NULL,
	  "journal, store and spool (default $KVRAIL_STATE, else /var/lib/kvrail)" },
	{ "socket", 0, CMD_STRING, offsetof(struct options, socket), "PATH", NULL,
	  "where to listen (default $KVRAIL_SOCKET, else /run/kvrail/agent.sock)" },
	{ "node-name", 0, CMD_STRING, offsetof(struct options, node), "NAME", NULL, "name of this node (default: the host's)" },
	{ "rdma-netns", 0, CMD_STRING, offsetof(struct options, rdma_netns), "MODE", modes,
	  "RDMA namespace mode to set at start: exclusive (default), shared or keep" },
	{ "share", 0, CMD_STRING, offsetof(struct options, share), "I/N", NULL,
	  "take the I-th of N equal parts of every address range: hosts without a cluster share ranges so" },
	{ "soft-roce", 0, CMD_FLAG, offsetof(struct options, soft_roce), NULL, NULL,
	  "development: give ports without RDMA a soft RoCE device (rxe), shown as such" },
	{ "netdev", 0, CMD_STRINGS, offsetof(struct options, netdevs), "RESOURCE=IFNAME", NULL,
	  "development: offer a plain network interface as a device of RESOURCE; may be repeated" },
	{ "list-steps", 0, CMD_FLAG, offsetof(struct options, list_steps), NULL, NULL,
	  "development: print the steps of ADD and DEL that KVRAIL_CRASH_AT can name, and do nothing else" },
	{ "log-level", 0, CMD_STRING, offsetof(struct options, log_level), "LEVEL", levels, "error, warn, info (default), debug" },
};

static const char *env_or(const char *name, const char *dflt)
{
	const char *v = secure_getenv(name);

	return v && *v ? v : dflt;
}

static int netdevs(struct cmd_run *run, const struct cmd_strings *in, struct agent_netdev **ret, struct err *e)
{
	size_t n = 0;

	*ret = NULL;
	for (size_t i = 0; i < in->n; i++) {
		const char *eq = strchr(in->v[i], '=');
		struct agent_netdev *d;

		if (!eq || eq == in->v[i] || !parse_is_ifname(eq + 1))
			return err_set(e, -EINVAL, "--netdev: '%s' is not RESOURCE=IFNAME", in->v[i]);
		d = arena_push(run->arena, ret, &n, sizeof(*d));
		d->resource = arena_strndup(run->arena, in->v[i], (size_t)(eq - in->v[i]));
		d->netdev = eq + 1;
	}
	return 0;
}

/* "2/4" */
static int share(struct cmd_run *run, const char *text, struct agent_options *ret, struct err *e)
{
	const char *slash = strchr(text, '/');
	uint64_t part, of;

	if (!slash || parse_u64(slash + 1, 10, 1, 4096, &of) < 0 ||
	    parse_u64(arena_strndup(run->arena, text, (size_t)(slash - text)), 10, 1, of, &part) < 0)
		return err_set(e, -EINVAL, "--share: '%s' is not I/N with 1 <= I <= N, e.g. 1/2", text);
	ret->share_part = (unsigned)part;
	ret->share_of = (unsigned)of;
	return 0;
}

static int run_agent(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct agent_options ao = {
		.socket = o->socket ? o->socket : cmd_socket(),
		.state_dir = o->state ? o->state : env_or("KVRAIL_STATE", "/var/lib/kvrail"),
		.node_name = o->node ? o->node : env_or("NODE_NAME", NULL),
		.prefix = env_or("RESOURCE_PREFIX", "openshift.io"),
		.namespace = env_or("NAMESPACE", "default"),
		.rdma_netns = o->rdma_netns ? o->rdma_netns : "exclusive",
		.soft_roce = o->soft_roce,
		.n_netdevs = o->netdevs.n,
	};
	struct agent_netdev *nd;
	enum log_level level;
	int r;

	if (o->list_steps) {
		for (const char *const *step = attach_steps(); *step; step++)
			puts(*step);
		return CMD_OK;
	}
	if (!o->standalone) {
		err_set(e, -EINVAL, "say --standalone: this version keeps its state on the host itself");
		return CMD_USAGE;
	}
	if (o->log_level && log_level_parse(o->log_level, &level) == 0)
		log_set_level(level);
	r = netdevs(run, &o->netdevs, &nd, e);
	if (r == 0 && o->share)
		r = share(run, o->share, &ao, e);
	if (r < 0)
		return CMD_USAGE;
	ao.netdevs = nd;
	return agent_run(&ao, e);
}

const struct cmd cmd_agent_role = {
	.name = "agent",
	.summary = "the node's long-running role: CNI requests, provisioning, state",
	.usage = "--standalone [--state DIR] [--socket PATH] [--soft-roce]",
	.about = "Serves the CNI plugin and this command line on a unix socket, provisions the ports as the stored policies ask,\n"
		 "and puts back whatever an attachment that was cut short has changed. SIGTERM stops it; it may be killed at any\n"
		 "moment and goes on where it stopped. Environment: KVRAIL_SOCKET, KVRAIL_STATE, NODE_NAME, RESOURCE_PREFIX, NAMESPACE.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.run = run_agent,
};
