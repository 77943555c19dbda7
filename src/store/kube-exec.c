/* SPDX-License-Identifier: Apache-2.0 */
/* A program that gives credentials: kubernetes.io/docs/reference/access-authn-authz/authentication, "client-go credential plugins". */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "store/kube-private.h"

#define ANSWER_MAX (1u << 20)
#define STDERR_MAX 1024
#define LIMIT_MS   60000

extern char **environ;

static const char *info_json(struct arena *a, const struct kubeconfig *c, bool interactive)
{
	return arena_printf(a, "{\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\",\"spec\":{\"interactive\":%s%s%s}}", c->exec->api_version,
			    interactive ? "true" : "false", c->exec->provide_cluster_info ? ",\"cluster\":" : "",
			    c->exec->provide_cluster_info ? c->cluster_json : "");
}

static bool is_set(const struct kubeconfig_exec *x, const char *variable)
{
	size_t n = strcspn(variable, "=");

	if (n == strlen("KUBERNETES_EXEC_INFO") && !strncmp(variable, "KUBERNETES_EXEC_INFO", n))
		return true;
	for (size_t i = 0; i < x->n_env; i++)
		if (strlen(x->env[i].name) == n && !strncmp(x->env[i].name, variable, n))
			return true;
	return false;
}

static char **environment(struct arena *a, const struct kubeconfig *c, bool interactive)
{
	const struct kubeconfig_exec *x = c->exec;
	char **env = NULL;
	size_t n = 0;

	for (char **v = environ; *v; v++)
		if (!is_set(x, *v))
			*(char **)arena_push(a, &env, &n, sizeof(*env)) = *v;
	for (size_t i = 0; i < x->n_env; i++)
		*(char **)arena_push(a, &env, &n, sizeof(*env)) =
			arena_printf(a, "%s=%s", x->env[i].name, x->env[i].value ? x->env[i].value : "");
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = arena_printf(a, "KUBERNETES_EXEC_INFO=%s", info_json(a, c, interactive));
	arena_push(a, &env, &n, sizeof(*env));
	return env;
}

static char **arguments(struct arena *a, const struct kubeconfig_exec *x)
{
	char **argv = NULL;
	size_t n = 0;

	*(char **)arena_push(a, &argv, &n, sizeof(*argv)) = arena_strdup(a, x->command);
	for (size_t i = 0; i < x->n_args; i++)
		*(char **)arena_push(a, &argv, &n, sizeof(*argv)) = arena_strdup(a, x->args[i]);
	arena_push(a, &argv, &n, sizeof(*argv));
	return argv;
}

/* The child's output until both pipes end; -ETIMEDOUT, -EFBIG. */
static int collect(int out_fd, int err_fd, struct strbuf *out, struct strbuf *err)
{
	struct pollfd fds[] = { { out_fd, POLLIN, 0 }, { err_fd, POLLIN, 0 } };
	uint64_t end = clock_ns() + LIMIT_MS * 1000000ull, now;
	char buf[4096];
	ssize_t n;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		now = clock_ns();
		if (now >= end)
			return -ETIMEDOUT;
		poll(fds, 2, (int)((end - now) / 1000000) + 1);
		for (int i = 0; i < 2; i++) {
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			n = read(fds[i].fd, buf, sizeof(buf));
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				fds[i].fd = -1;
			else if (i == 0 && out->len + (size_t)n > ANSWER_MAX)
				return -EFBIG;
			else if (i == 0 || err->len < STDERR_MAX)
				strbuf_add(i == 0 ? out : err, buf, (size_t)n);
		}
	}
	return 0;
}

static int spawn(struct arena *a, const struct kubeconfig *c, int out_fd, int err_fd, pid_t *ret)
{
	const char *mode = c->exec->interactive_mode;
	bool interactive = isatty(STDIN_FILENO) && !(mode && !strcmp(mode, "Never"));
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
	if (!interactive)
		posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawnp(ret, c->exec->command, &actions, &attr, arguments(a, c->exec), environment(a, c, interactive));
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int run(struct arena *a, const struct kubeconfig *c, struct strbuf *out, struct err *e)
{
	const struct kubeconfig_exec *x = c->exec;
	_cleanup_strbuf_ struct strbuf said = STRBUF_INIT;
	_cleanup_close_ int out_r = -1, out_w = -1, err_r = -1, err_w = -1;
	int fds[2], r, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	out_r = fds[0];
	out_w = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	err_r = fds[0];
	err_w = fds[1];
	r = spawn(a, c, out_w, err_w, &pid);
	if (r < 0)
		return err_set(e, -EACCES, "%s: its credential program %s cannot be started: %s%s%s", c->source, x->command, strerror(-r),
			       x->install_hint ? "; " : "", x->install_hint ? x->install_hint : "");
	close(take_fd(&out_w));
	close(take_fd(&err_w));
	r = collect(out_r, err_r, out, &said);
	if (r < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < said.len; i++)
		if ((unsigned char)said.s[i] < ' ')
			said.s[i] = ' ';
	if (r == -ETIMEDOUT)
		return err_set(e, -EACCES, "%s: its credential program %s took longer than %d s", c->source, x->command, LIMIT_MS / 1000);
	if (r < 0)
		return err_set(e, -EACCES, "%s: its credential program %s printed more than %u bytes", c->source, x->command, ANSWER_MAX);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, -EACCES, "%s: its credential program %s failed with %s %d: %.500s", c->source, x->command,
			       WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			       said.len ? said.s : "it said nothing");
	return 0;
}

/* RFC 3339 with or without fractions and offset; 0 when it is none. */
static int64_t unix_time(const char *s)
{
	struct tm tm = { 0 };
	const char *rest = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int hours, minutes;
	int64_t t;

	if (!rest)
		return 0;
	t = timegm(&tm);
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if ((*rest == '+' || *rest == '-') && sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2)
		t -= (*rest == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return t;
}

int kube_exec(struct arena *a, const struct kubeconfig *c, struct kube_exec_answer *ret, struct err *e)
{
	const char *source = arena_printf(a, "%s: the answer of its credential program %s", c->source, c->exec->command);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	yyjson_val *v, *status;
	int r;

	r = run(a, c, &out, e);
	if (r < 0)
		return r;
	if (doc_parse_json(a, source, out.s ? out.s : "", out.len, ANSWER_MAX, &v, e) < 0)
		return -EACCES;
	status = yyjson_obj_get(v, "status");
	*ret = (struct kube_exec_answer){
		.token = doc_str(status, "token"),
		.cert_pem = doc_str(status, "clientCertificateData"),
		.key_pem = doc_str(status, "clientKeyData"),
		.expires_s = unix_time(doc_str(status, "expirationTimestamp")),
	};
	if (!ret->token && !(ret->cert_pem && ret->key_pem))
		return err_set(e, -EACCES, "%s has neither status.token nor clientCertificateData with clientKeyData", source);
	return 0;
}
