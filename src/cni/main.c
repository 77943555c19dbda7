/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CNI plugin that the container runtime executes. It answers VERSION itself and carries every other
 * verb to the agent. When no agent is there, ADD waits a little, STATUS says so at once, and DEL is kept
 * in the spool: a pod can always die, and the agent catches up at its next start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni/agent.h"
#include "cni/hook.h"
#include "cni/plugin.h"
#include "cni/spool.h"
#include "cni/text.h"

#define CONF_MAX (1u << 20)
#define BODY_MAX (4u << 20) /* base64 of CONF_MAX, and the environment */
#define REPLY_MAX (4u << 20)
#define ANSWER_MAX (2u << 20) /* base64 of what a plugin prints */
#define ADD_WAIT_MS "10000" /* for an agent that restarts; KVRAIL_WAIT_MS sets another */
#define ADD_TIMEOUT_S 230 /* the kubelet gives a sandbox four minutes */
#define DEL_TIMEOUT_S 60

/* Codes of the CNI specification. */
enum { CODE_INVALID_ENV = 4, CODE_IO = 5, CODE_DECODE = 6, CODE_TRY_AGAIN = 11, CODE_UNAVAILABLE = 50, CODE_INTERNAL = 999 };

#define VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

static const char version_reply[] = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[" VERSIONS "]}\n";

static const char about[] =
	"kvrail-cni " KVRAIL_VERSION ": SR-IOV and RoCE rails for pods (CNI versions " VERSIONS ")\n"
	"A container runtime executes this with CNI_COMMAND set; see kvrail-cni(8).\n";

/* Untouched pages of these cost no memory. */
static char conf[CONF_MAX + 1], body[BODY_MAX], reply[REPLY_MAX], answered[ANSWER_MAX], message[8192];

static void put(int fd, const char *s, size_t n)
{
	while (n) {
		ssize_t k = write(fd, s, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return;
		s += k;
		n -= (size_t)k;
	}
}

static const char *env_or(const char *name, const char *dflt)
{
	const char *v = getenv(name);

	return v && *v ? v : dflt;
}

/* A CNI error on stdout, in the configuration's version where that can be found. */
static int fail(size_t conf_len, unsigned code, const char *msg, const char *details)
{
	struct text t = { message, 0, sizeof(message), false };
	const char *version = "\"1.1.0\"";
	size_t n = strlen(version);

	if (!text_member(conf, conf_len, "cniVersion", &version, &n) || *version != '"' || n > 32) {
		version = "\"1.1.0\"";
		n = strlen(version);
	}
	text_str(&t, "{\"cniVersion\":");
	text_add(&t, version, n);
	text_str(&t, ",\"code\":");
	text_num(&t, code);
	text_str(&t, ",\"msg\":");
	text_json(&t, msg, strlen(msg));
	if (details && *details) {
		text_str(&t, ",\"details\":");
		text_json(&t, details, strnlen(details, 1000));
	}
	text_str(&t, "}\n");
	put(STDOUT_FILENO, t.s, t.len);
	return 1;
}

/* Length of what is on stdin; more than CONF_MAX bytes: CONF_MAX + 1. */
static ssize_t read_conf(void)
{
	size_t len = 0;

	while (len < sizeof(conf)) {
		ssize_t n = read(STDIN_FILENO, conf + len, sizeof(conf) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static const char *socket_path(void)
{
	return env_or("KVRAIL_SOCKET", "/run/kvrail/agent.sock");
}

#define PLUGIN_VAR "CNI_KVRAIL_PLUGIN" /* under which name this was called: that of an IPAM plugin is in no configuration's "type" */

/* {"env": {every CNI_ variable}, "config": base64}: what Multus' shim sends to its daemon; "exec": this one runs plugins for it, while it is "alive". */
static struct text make_body(const char *name, size_t conf_len)
{
	struct text t = { body, 0, sizeof(body), false };

	text_str(&t, "{\"env\":{\"" PLUGIN_VAR "\":");
	text_json(&t, name, strlen(name));
	for (char **e = environ; *e; e++) {
		const char *eq = strchr(*e, '=');

		if (!eq || strncmp(*e, "CNI_", 4) || !strncmp(*e, PLUGIN_VAR "=", sizeof(PLUGIN_VAR)))
			continue;
		text_str(&t, ",");
		text_json(&t, *e, (size_t)(eq - *e));
		text_str(&t, ":");
		text_json(&t, eq + 1, strlen(eq + 1));
	}
	text_str(&t, "},\"exec\":true,\"alive\":");
	text_num(&t, (unsigned long long)agent_mark_alive(socket_path()));
	text_str(&t, ",\"config\":\"");
	text_base64(&t, conf, conf_len);
	text_str(&t, "\"}");
	return t;
}

static int keep_for_later(const struct text *t, size_t conf_len, const char *why)
{
	const char *dir = env_or("KVRAIL_SPOOL", "/var/lib/kvrail/spool");
	int r = spool_write(dir, t->s, t->len);

	if (r == 0)
		return 0;
	put(STDERR_FILENO, dir, strlen(dir));
	put(STDERR_FILENO, ": ", 2);
	put(STDERR_FILENO, strerror(-r), strlen(strerror(-r)));
	put(STDERR_FILENO, "\n", 1);
	return fail(conf_len, CODE_TRY_AGAIN, "the kvrail agent does not answer and the DEL could not be kept for it", why);
}

/* The agent is not there, or left before it answered. */
static int no_agent(const char *command, const struct text *t, size_t conf_len, int why)
{
	const char *text = strerror(-why);

	if (!strcmp(command, "DEL"))
		return keep_for_later(t, conf_len, text);
	if (!strcmp(command, "STATUS"))
		return fail(conf_len, CODE_UNAVAILABLE, "the kvrail agent does not answer: see `systemctl status kvrail-agent`, "
			    "or in a cluster the pod of DaemonSet kvrail-agent on this node", text);
	if (why == -ECONNRESET || why == -EPIPE || why == -ETIMEDOUT)
		return fail(conf_len, CODE_TRY_AGAIN, "the kvrail agent went away before it answered, try again later", text);
	return fail(conf_len, CODE_TRY_AGAIN, "the kvrail agent is not running, try again later", text);
}

static int print_reply(const struct agent_reply *rp, bool add, size_t conf_len)
{
	const char *v;
	size_t n;

	if (rp->status == 200) {
		if (text_member(rp->body, rp->len, "Result", &v, &n) && *v == '{') {
			put(STDOUT_FILENO, v, n);
			put(STDOUT_FILENO, "\n", 1);
			return 0;
		}
		return add ? fail(conf_len, CODE_INTERNAL, "the kvrail agent's answer holds no result", NULL) : 0;
	}
	if (text_member(rp->body, rp->len, "code", &v, &n)) { /* a CNI error: its code reaches the runtime unchanged */
		put(STDOUT_FILENO, rp->body, rp->len);
		put(STDOUT_FILENO, "\n", 1);
		return 1;
	}
	reply[rp->body - reply + (ptrdiff_t)rp->len] = '\0';
	return fail(conf_len, rp->status == 503 ? CODE_TRY_AGAIN : CODE_INTERNAL, "the kvrail agent refused the request",
		    rp->body);
}

/* One request on a connection of its own. */
static int ask(const char *path, unsigned wait_ms, const struct text *t, bool add, struct agent_reply *rp)
{
	int fd = agent_connect(socket_path(), wait_ms), r;

	if (fd < 0)
		return fd;
	r = agent_post(fd, path, t->s, t->len, add ? ADD_TIMEOUT_S : DEL_TIMEOUT_S, reply, sizeof(reply) - 1, rp);
	close(fd);
	return r;
}

static int carry(const char *name, const char *command)
{
	bool add = !strcmp(command, "ADD");
	struct agent_reply rp;
	struct text t, answer;
	ssize_t len = read_conf();
	const char *order;
	size_t n;
	int r;

	if (len < 0)
		return fail(0, CODE_IO, "the configuration on stdin cannot be read", strerror((int)-len));
	if ((size_t)len > CONF_MAX)
		return fail(0, CODE_DECODE, "the configuration on stdin is larger than 1 MiB", NULL);
	t = make_body(name, (size_t)len);
	if (t.full)
		return fail((size_t)len, CODE_INVALID_ENV, "the CNI_* environment is too large", NULL);
	r = ask("/cni", add ? (unsigned)atoi(env_or("KVRAIL_WAIT_MS", ADD_WAIT_MS)) : 0, &t, add, &rp);
	/* the answer is an order to run a plugin, and then what to do next; the agent bounds how long it goes on */
	while (r == 0 && rp.status == 200 && text_member(rp.body, rp.len, "Exec", &order, &n)) {
		answer = (struct text){ answered, 0, sizeof(answered), false };
		if (!plugin_run(reply + (order - reply), n, &answer))
			return fail((size_t)len, CODE_INTERNAL, "the kvrail agent ordered a plugin that cannot be understood", NULL);
		r = ask("/cni/exec", 0, &answer, add, &rp);
	}
	if (r < 0)
		return no_agent(command, &t, (size_t)len, r);
	return print_reply(&rp, add, (size_t)len);
}

int main(int argc, char **argv)
{
	static const char *const verbs[] = { "ADD", "DEL", "CHECK", "GC", "STATUS" };
	const char *command = getenv("CNI_COMMAND"), *name = argc ? argv[0] : "", *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	if (argc == 2 && !strcmp(argv[1], "memlock"))
		return hook_memlock();

	if (!command || !*command) {
		put(STDERR_FILENO, about, sizeof(about) - 1);
		return 0;
	}
	if (!strcmp(command, "VERSION")) {
		put(STDOUT_FILENO, version_reply, sizeof(version_reply) - 1);
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(command, verbs[i]))
			return carry(name, command);
	strncpy(body, command, 100); /* zeroed: always ends */
	return fail(0, CODE_INVALID_ENV, "unknown CNI_COMMAND", body);
}
