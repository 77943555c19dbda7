/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "cmd/cmd.h"
#include "controller/role.h"

#define STALE_MINUTES "30" /* the SR-IOV operator's */

struct options {
	const char *kubeconfig, *context, *namespace, *home, *metrics, *webhook, *service, *configuration, *log_level;
	struct cmd_strings hosts;
};

static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static const struct cmd_option options[] = {
	{ "kubeconfig", 0, CMD_STRING, offsetof(struct options, kubeconfig), "FILE", NULL,
	  "how to reach the API server (default $KUBECONFIG, else the pod's service account, else ~/.kube/config)" },
	{ "context", 0, CMD_STRING, offsetof(struct options, context), "NAME", NULL, "context of the kubeconfig (default: its current one)" },
	{ "namespace", 0, CMD_STRING, offsetof(struct options, namespace), "NAME", NULL,
	  "where policies and node states count (default $NAMESPACE, else openshift-sriov-network-operator)" },
	{ "home", 0, CMD_STRING, offsetof(struct options, home), "NAME", NULL,
	  "where the Lease, the Secret and kvrail's own pods are (default $POD_NAMESPACE, else as --namespace)" },
	{ "metrics-address", 0, CMD_STRING, offsetof(struct options, metrics), "HOST:PORT", NULL,
	  "/metrics, /healthz and /readyz (default :8080; \"\" for none)" },
	{ "webhook-address", 0, CMD_STRING, offsetof(struct options, webhook), "HOST:PORT", NULL,
	  "admission over HTTPS (default :8443; \"\" for none)" },
	{ "webhook-service", 0, CMD_STRING, offsetof(struct options, service), "NAME", NULL,
	  "Service through which the API server reaches it (default kvrail-controller)" },
	{ "webhook-host", 0, CMD_STRINGS, offsetof(struct options, hosts), "NAME", NULL,
	  "another name or address of it, for its certificate; may be repeated" },
	{ "webhook-configuration", 0, CMD_STRING, offsetof(struct options, configuration), "NAME", NULL,
	  "webhook configurations whose CA bundle is kept right (default kvrail)" },
	{ "log-level", 0, CMD_STRING, offsetof(struct options, log_level), "LEVEL", levels, "error, warn, info (default), debug" },
};

static const char *env_or(const char *name, const char *dflt)
{
	const char *v = secure_getenv(name);

	return v && *v ? v : dflt;
}

/* Who holds the lease: as client-go's users do, the host (in a pod its name) and something unique. */
static const char *identity(struct arena *a)
{
	unsigned char salt[8];
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	if (getentropy(salt, sizeof(salt)) < 0)
		abort();
	return arena_printf(a, "%s_%02x%02x%02x%02x%02x%02x%02x%02x", env_or("POD_NAME", host), salt[0], salt[1], salt[2], salt[3], salt[4],
			    salt[5], salt[6], salt[7]);
}

static const char *const *names(struct cmd_run *run, const struct options *o, const char *home)
{
	const char *service = o->service ? o->service : "kvrail-controller", **list = NULL;
	size_t n = 0;

	*(const char **)arena_push(run->arena, &list, &n, sizeof(*list)) = arena_printf(run->arena, "%s.%s.svc", service, home);
	for (size_t i = 0; i < o->hosts.n; i++)
		*(const char **)arena_push(run->arena, &list, &n, sizeof(*list)) = o->hosts.v[i];
	*(const char **)arena_push(run->arena, &list, &n, sizeof(*list)) = NULL;
	return list;
}

static int run_controller(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	const char *stale = env_or("STALE_NODE_STATE_CLEANUP_DELAY_MINUTES", STALE_MINUTES);
	struct controller_options co = {
		.kubeconfig = o->kubeconfig, .context = o->context,
		.namespace = o->namespace ? o->namespace : env_or("NAMESPACE", "openshift-sriov-network-operator"),
		.prefix = env_or("RESOURCE_PREFIX", "openshift.io"),
		.identity = identity(run->arena),
		.metrics = o->metrics ? o->metrics : ":8080",
		.webhook = o->webhook ? o->webhook : ":8443",
		.webhook_configuration = o->configuration ? o->configuration : "kvrail",
	};
	enum log_level level;
	uint64_t minutes;

	if (parse_u64(stale, 10, 0, 1000000, &minutes) < 0) {
		err_set(e, -EINVAL, "STALE_NODE_STATE_CLEANUP_DELAY_MINUTES: '%s' is no number of minutes from 0 to 1000000", stale);
		return CMD_USAGE;
	}
	if (o->log_level && log_level_parse(o->log_level, &level) == 0)
		log_set_level(level);
	co.stale_minutes = (unsigned)minutes;
	co.home = o->home ? o->home : env_or("POD_NAMESPACE", co.namespace);
	co.webhook_names = names(run, o, co.home);
	return controller_run(&co, e);
}

const struct cmd cmd_controller_role = {
	.name = "controller",
	.summary = "the cluster's long-running role: policies to node states, networks to NADs, admission",
	.usage = "[--kubeconfig FILE] [--namespace NAME]",
	.about = "Writes node states from policies, NetworkAttachmentDefinitions from networks, conditions on all of them; gives back the addresses\n"
		 "of pods that are gone; adds the devices that a pod's networks take to its requests. Several replicas may run: one leads, all\n"
		 "serve admission. SIGTERM stops it; it may be killed at any moment.\n"
		 "Environment: NAMESPACE, POD_NAMESPACE, POD_NAME, RESOURCE_PREFIX, STALE_NODE_STATE_CLEANUP_DELAY_MINUTES, KUBECONFIG.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.run = run_controller,
};
