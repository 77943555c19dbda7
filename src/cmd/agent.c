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
	const char *socket, *state, *node, *rdma_netns, *log_level, *share, *metrics;
	/* in a cluster */
	const char *kubeconfig, *kubelet_dir, *devinfo_dir, *cdi_dir, *shared;
	const char *cni_conf_dir, *cni_conf_name, *cni_bin_dir, *shim;
	const char *multus_conf_dir, *multus_dir, *multus_socket;
	const char *reservations;
	bool keep_conf, whereabouts_lease;
	struct cmd_strings netdevs;
};

static const char *const modes[] = { "exclusive", "shared", "keep", NULL };
static const char *const reservations[] = { "needed", "always", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static const struct cmd_option options[] = {
	{ "standalone", 0, CMD_FLAG, offsetof(struct options, standalone), NULL, NULL,
	  "one host, no Kubernetes: objects and addresses in a local store" },
	{ "kubeconfig", 0, CMD_STRING, offsetof(struct options, kubeconfig), "FILE", NULL,
	  "how to reach the API server (default $KUBECONFIG, else the pod's service account)" },
	{ "kubelet-dir", 0, CMD_STRING, offsetof(struct options, kubelet_dir), "DIR", NULL,
	  "the kubelet's folder, with its device plugin and pod resources sockets (default /var/lib/kubelet)" },
	{ "devinfo-dir", 0, CMD_STRING, offsetof(struct options, devinfo_dir), "DIR", NULL,
	  "where the device plugin leaves its device-info files (default /var/run/k8s.cni.cncf.io/devinfo/dp)" },
	{ "cdi-dir", 0, CMD_STRING, offsetof(struct options, cdi_dir), "DIR", NULL,
	  "where the container runtime looks for CDI specifications, or none: devices and environment come without (default /var/run/cdi)" },
	{ "shared-resource", 0, CMD_STRING, offsetof(struct options, shared), "DOMAIN/NAME[=COUNT]", NULL,
	  "a resource that pods with rails may ask for and that gives no device, or none (default rdma/roce_gdr=128)" },
	{ "cni-conf-dir", 0, CMD_STRING, offsetof(struct options, cni_conf_dir), "DIR", NULL,
	  "where the container runtime looks for network configurations (default /etc/cni/net.d)" },
	{ "cni-conf-name", 0, CMD_STRING, offsetof(struct options, cni_conf_name), "NAME", NULL,
	  "kvrail's file in it; the first by name is the runtime's (default 00-kvrail.conf)" },
	{ "cni-bin-dir", 0, CMD_STRING, offsetof(struct options, cni_bin_dir), "DIR", NULL,
	  "where kvrail-cni is installed as kvrail, and plugins of other makers are (default /opt/cni/bin)" },
	{ "reservations", 0, CMD_STRING, offsetof(struct options, reservations), "WHICH", reservations,
	  "addresses that get Whereabouts' cluster-wide reservation: where it is needed (default), or always, for Go nodes that come later" },
	{ "whereabouts-lease", 0, CMD_FLAG, offsetof(struct options, whereabouts_lease), NULL, NULL,
	  "hold Whereabouts' Lease while addresses are written: never needed, and slow" },
	{ "multus-conf-dir", 0, CMD_STRING, offsetof(struct options, multus_conf_dir), "DIR", NULL,
	  "configurations that networks name instead of having one (default /etc/cni/multus/net.d)" },
	{ "multus-dir", 0, CMD_STRING, offsetof(struct options, multus_dir), "DIR", NULL,
	  "where results of other makers' plugins are kept, as Multus keeps them (default /var/lib/cni/multus)" },
	{ "multus-socket", 0, CMD_STRING, offsetof(struct options, multus_socket), "PATH", NULL,
	  "make PATH (Multus has /run/multus/multus.sock) lead to the agent: for a Go multus-shim whose daemon is gone" },
	{ "shim", 0, CMD_STRING, offsetof(struct options, shim), "FILE", NULL, "the kvrail-cni to install (default: the one beside this program)" },
	{ "keep-cni-conf", 0, CMD_FLAG, offsetof(struct options, keep_conf), NULL, NULL,
	  "leave kvrail's configuration at SIGTERM: pods wait for the next agent instead of starting without their networks" },
	{ "state", 0, CMD_STRING, offsetof(struct options, state), "DIR", NULL,
	  "journal, store and spool (default $KVRAIL_STATE, else /var/lib/kvrail)" },
	{ "socket", 0, CMD_STRING, offsetof(struct options, socket), "PATH", NULL,
	  "where to listen (default $KVRAIL_SOCKET, else /run/kvrail/agent.sock)" },
	{ "node-name", 0, CMD_STRING, offsetof(struct options, node), "NAME", NULL, "name of this node (default: the host's)" },
	{ "rdma-netns", 0, CMD_STRING, offsetof(struct options, rdma_netns), "MODE", modes,
	  "RDMA namespace mode to set at start: exclusive (default), shared or keep" },
	{ "share", 0, CMD_STRING, offsetof(struct options, share), "I/N", NULL,
	  "take the I-th of N equal parts of every address range: hosts without a cluster share ranges so" },
	{ "metrics", 0, CMD_STRING, offsetof(struct options, metrics), "[HOST]:PORT", NULL,
	  "serve /metrics, /healthz and /readyz there, to anybody who can connect (default: on the socket only)" },
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

/* "rdma/roce_gdr=128" */
static int shared(struct cmd_run *run, const char *text, struct agent_options *ret, struct err *e)
{
	const char *slash = strchr(text, '/'), *eq = strchr(text, '=');
	uint64_t n = 128;

	if (!strcmp(text, "none"))
		return 0;
	if (!slash || slash == text || !slash[1] || slash[1] == '=' || (eq && parse_u64(eq + 1, 10, 1, 10000, &n) < 0))
		return err_set(e, -EINVAL, "--shared-resource: '%s' is neither DOMAIN/NAME, DOMAIN/NAME=COUNT with at most 10000, nor none", text);
	ret->shared_resource = eq ? arena_strndup(run->arena, text, (size_t)(eq - text)) : text;
	ret->shares = (unsigned)n;
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
		.standalone = o->standalone,
		.kubeconfig = o->kubeconfig,
		.ipam_namespace = env_or("WHEREABOUTS_NAMESPACE", env_or("NAMESPACE", "default")),
		.ipam_reserve = o->reservations && !strcmp(o->reservations, "always"),
		.ipam_lease = o->whereabouts_lease,
		.node_ip = env_or("NODE_IP", NULL),
		.kubelet_dir = o->kubelet_dir ? o->kubelet_dir : "/var/lib/kubelet",
		.cni_conf_dir = o->cni_conf_dir ? o->cni_conf_dir : "/etc/cni/net.d",
		.cni_conf_name = o->cni_conf_name ? o->cni_conf_name : "00-kvrail.conf",
		.cni_bin_dir = o->cni_bin_dir ? o->cni_bin_dir : "/opt/cni/bin",
		.metrics = o->metrics,
		.multus_socket = o->multus_socket,
		.multus_conf_dir = o->multus_conf_dir ? o->multus_conf_dir : "/etc/cni/multus/net.d",
		.multus_dir = o->multus_dir ? o->multus_dir : "/var/lib/cni/multus",
		.cdi_dir = !o->cdi_dir ? "/var/run/cdi" : strcmp(o->cdi_dir, "none") ? o->cdi_dir : NULL,
		.env_dir = "/run/kvrail/env",
		.devinfo_dir = o->devinfo_dir,
		.shim = o->shim,
		.keep_conf = o->keep_conf,
		.daemonset = env_or("DAEMONSET", NULL),
	};
	struct agent_netdev *nd;
	enum log_level level;
	int r;

	if (o->list_steps) {
		for (const char *const *step = attach_steps(); *step; step++)
			puts(*step);
		return CMD_OK;
	}
	if (o->standalone && (o->kubeconfig || o->kubelet_dir || o->reservations || o->whereabouts_lease)) {
		err_set(e, -EINVAL, "%s is for a cluster: leave out --standalone, or it",
			o->kubeconfig	 ? "--kubeconfig"
			: o->kubelet_dir ? "--kubelet-dir"
			: o->reservations ? "--reservations"
					  : "--whereabouts-lease");
		return CMD_USAGE;
	}
	if (strchr(ao.cni_conf_name, '/')) {
		err_set(e, -EINVAL, "--cni-conf-name: '%s' is a path: the folder is --cni-conf-dir", ao.cni_conf_name);
		return CMD_USAGE;
	}
	if (o->log_level && log_level_parse(o->log_level, &level) == 0)
		log_set_level(level);
	r = netdevs(run, &o->netdevs, &nd, e);
	if (r == 0 && o->share)
		r = share(run, o->share, &ao, e);
	if (r == 0)
		r = shared(run, o->shared ? o->shared : "rdma/roce_gdr", &ao, e);
	if (r < 0)
		return CMD_USAGE;
	ao.netdevs = nd;
	return agent_run(&ao, e);
}

const struct cmd cmd_agent_role = {
	.name = "agent",
	.summary = "the node's long-running role: CNI requests, provisioning, state",
	.usage = "[--standalone | --kubeconfig FILE] [--state DIR] [--socket PATH] [--soft-roce]",
	.about = "Serves the CNI plugin and this command line on a unix socket, provisions the ports as the stored policies ask,\n"
		 "and puts back whatever an attachment that was cut short has changed. SIGTERM stops it; it may be killed at any\n"
		 "moment and goes on where it stopped. Environment: KVRAIL_SOCKET, KVRAIL_STATE, NODE_NAME, NODE_IP, RESOURCE_PREFIX,\n"
		 "NAMESPACE, WHEREABOUTS_NAMESPACE, DAEMONSET.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.run = run_agent,
};
