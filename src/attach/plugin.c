/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "attach/plugin.h"
#include "base/clock.h"
#include "base/strbuf.h"

#define BUSY_TRIES 50 /* "text file busy": libcni tries five times, a second apart */
#define BUSY_PAUSE_MS 100
#define LAST_WORDS_MS 200 /* after its end, for a pipe that a child of its keeps open */
#define QUOTE_MAX 400

int plugin_find(struct arena *a, const char *dirs, const char *type, char **ret, struct err *e)
{
	if (!*type || strchr(type, '/') || !strcmp(type, ".") || !strcmp(type, ".."))
		return err_set(e, -EINVAL, "type: \"%s\" is no plugin's name", type);
	for (const char *s = dirs; *s; s += *s == ':') {
		size_t n = strcspn(s, ":");
		char *path = arena_printf(a, "%.*s/%s", (int)n, s, type);
		struct stat st;

		if (n && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			*ret = path;
			return 0;
		}
		s += n;
	}
	return err_set(e, -ENOENT, "plugin \"%s\" is not found in %s: install it there (Debian: containernetworking-plugins has the common ones)",
		       type, *dirs ? dirs : "(no folder is known: CNI_PATH is empty)");
}

/* The plugin while it runs. */
struct child {
	pid_t pid;
	int pidfd, out, errors;
	struct strbuf out_text, errors_text;
	bool too_much;
};

static char *variable(struct arena *a, const char *name, const char *value)
{
	return arena_printf(a, "%s=%s", name, value ? value : "");
}

/* The call's; of a plugin that runs here after our own without what is CNI's. */
static char **environment(struct arena *a, const struct plugin_call *call, bool here)
{
	char **env = NULL;
	size_t n = 0;

	for (char **v = environ; here && *v; v++)
		if (strncmp(*v, "CNI_", 4))
			*(char **)arena_push(a, &env, &n, sizeof(*env)) = *v;
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_COMMAND", call->command);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_CONTAINERID", call->container);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_NETNS", call->netns);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_IFNAME", call->ifname);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_ARGS", call->args);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_PATH", call->dirs);
	/* for our own plugins: what they ask of the agent must not wait for the request that they are part of */
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = variable(a, "CNI_KVRAIL_WITHIN", call->container);
	*(char **)arena_push(a, &env, &n, sizeof(*env)) = NULL;
	return env;
}

/* The whole of stdin at once, whenever the plugin reads it. */
static int stdin_of(const char *conf, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("cni-conf", MFD_CLOEXEC);
	size_t len = strlen(conf);

	for (size_t at = 0; fd >= 0 && at < len;) {
		ssize_t n = write(fd, conf + at, len - at);

		if (n < 0)
			return err_errno(e, -errno, "the configuration for the plugin");
		at += (size_t)n;
	}
	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "memfd_create");
	return TAKE_FD(fd);
}

/* In the child, between fork and exec: nothing that takes a lock. Does not return. */
static void become(const char *path, char **env, const int fds[3], int report, pid_t parent)
{
	char *const argv[] = { (char *)path, NULL };
	sigset_t none;
	int why;

	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	/* an agent that dies leaves none behind that would go on with an ADD while the next agent undoes it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && setpgid(0, 0) == 0 && dup2(fds[0], STDIN_FILENO) >= 0 &&
	    dup2(fds[1], STDOUT_FILENO) >= 0 && dup2(fds[2], STDERR_FILENO) >= 0 && chdir("/") == 0 &&
	    sigprocmask(SIG_SETMASK, &none, NULL) == 0)
		execve(path, argv, env);
	why = errno;
	if (write(report, &why, sizeof(why)) < 0)
		_exit(126);
	_exit(127);
}

/* 0, or the negative errno of what failed in the child. */
static int fork_exec(const char *path, char **env, const int fds[3], pid_t *ret)
{
	const pid_t parent = getpid();
	int report[2], why = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become(path, env, fds, report[1], parent);
	close(report[1]);
	if (pid < 0) {
		why = errno;
	} else {
		do
			n = read(report[0], &why, sizeof(why));
		while (n < 0 && errno == EINTR);
		if (n == (ssize_t)sizeof(why))
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		else
			why = 0; /* closed by the exec */
	}
	close(report[0]);
	*ret = pid;
	return -why;
}

static int spawn(const char *path, char **env, const int fds[3], pid_t *ret)
{
	int r = fork_exec(path, env, fds, ret);

	for (unsigned i = 0; r == -ETXTBSY && i < BUSY_TRIES; i++) {
		clock_sleep_ms(BUSY_PAUSE_MS);
		r = fork_exec(path, env, fds, ret);
	}
	return r;
}

static int start(struct child *c, const char *path, char **env, const char *conf, struct err *e)
{
	_cleanup_close_ int in = stdin_of(conf, e), out_end = -1, errors_end = -1;
	int pipes[2], r;

	if (in < 0)
		return in;
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	c->out = pipes[0];
	out_end = pipes[1];
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	c->errors = pipes[0];
	errors_end = pipes[1];
	fcntl(c->out, F_SETFL, O_NONBLOCK);
	fcntl(c->errors, F_SETFL, O_NONBLOCK);
	r = spawn(path, env, (const int[]){ in, out_end, errors_end }, &c->pid);
	if (r < 0)
		return err_errno(e, r, "%s cannot be executed", path);
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return 0;
}

/* What is there to read now. *fd is closed and -1 at its end. */
static void drain(int *fd, struct strbuf *b, size_t max, bool *too_much)
{
	char chunk[4096];
	ssize_t n;

	while (*fd >= 0) {
		n = read(*fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close(*fd);
			*fd = -1;
			return;
		}
		if (b->len + (size_t)n <= max)
			strbuf_add(b, chunk, (size_t)n);
		else if (too_much)
			*too_much = true;
	}
}

/* Until it has ended, or @timeout_ms are over: false. */
static bool wait_for(struct child *c, unsigned timeout_ms, int *ret_status)
{
	const uint64_t end = clock_ns() + timeout_ms * 1000000ull;
	uint64_t last = end;
	bool ended = false;

	while (!ended || c->out >= 0 || c->errors >= 0) {
		struct pollfd fds[] = { { c->out, POLLIN, 0 }, { c->errors, POLLIN, 0 }, { ended ? -1 : c->pidfd, POLLIN, 0 } };
		uint64_t now = clock_ns();

		if (now >= last || c->too_much)
			break;
		/* without a pidfd the end is looked for now and then */
		poll(fds, ARRAY_SIZE(fds), c->pidfd < 0 && !ended ? 5 : (int)((last - now) / 1000000 + 1));
		drain(&c->out, &c->out_text, PLUGIN_STDOUT_MAX, &c->too_much);
		drain(&c->errors, &c->errors_text, PLUGIN_STDERR_MAX, NULL);
		if (!ended && waitpid(c->pid, ret_status, WNOHANG) == c->pid) {
			ended = true;
			if (clock_ns() + LAST_WORDS_MS * 1000000ull < end)
				last = clock_ns() + LAST_WORDS_MS * 1000000ull;
		}
	}
	return ended;
}

/* Part of a text for a message: one line, no control characters, bounded. */
static char *quoted(struct arena *a, const char *s)
{
	size_t n = strlen(s);
	char *text;

	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	text = n > QUOTE_MAX ? arena_printf(a, "%.*s...", QUOTE_MAX, s) : arena_strndup(a, s, n);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return text;
}

/* An error object: {code, msg, details}. */
static bool is_error(struct arena *a, const char *type, const char *out, const char *errors, struct cni_failure *f)
{
	yyjson_val *v;
	const char *msg, *details;
	int64_t code;

	if (doc_parse_json(a, type, out, strlen(out), PLUGIN_STDOUT_MAX, &v, NULL) < 0)
		return false;
	msg = doc_str(v, "msg");
	details = doc_str(v, "details");
	code = doc_int(v, "code", -1);
	if (code < 0 || !msg)
		return false;
	cni_fail(f, code > 0 && code < INT32_MAX ? (int)code : CNI_INTERNAL, *errors ? arena_printf(a, "stderr: %s", quoted(a, errors)) : NULL,
		 "plugin \"%s\": %s%s%s", type, quoted(a, *msg ? msg : "(no words)"), details && *details ? "; " : "",
		 details ? quoted(a, details) : "");
	return true;
}

int plugin_judge(struct arena *a, const char *type, const struct plugin_call *call, const struct attach_ran *ran, struct cni_failure *f)
{
	unsigned timeout_ms = call->timeout_ms ? call->timeout_ms : PLUGIN_TIMEOUT_MS;
	const char *out = ran->out, *errors = ran->err ? ran->err : "", *how;
	const char *details = *errors ? arena_printf(a, "stderr: %s", quoted(a, errors)) : NULL;

	if (ran->timed_out)
		return cni_fail(f, CNI_TRY_AGAIN, details, "plugin \"%s\" has not answered %s within %u seconds and was killed", type, call->command,
				(timeout_ms + 999) / 1000);
	if (strlen(out) != ran->out_len)
		return cni_fail(f, CNI_INTERNAL, details, "plugin \"%s\" printed a NUL byte: no result has one", type);
	if (ran->status == 0)
		return 0;
	if (ran->status <= 128 && is_error(a, type, out, errors, f))
		return f->code;
	how = ran->status > 128 ? arena_printf(a, "was killed by signal %d", ran->status - 128) :
				  arena_printf(a, "ended with status %d", ran->status);
	if (*out)
		return cni_fail(f, CNI_INTERNAL, details, "plugin \"%s\" %s and printed no CNI error: \"%s\"", type, how, quoted(a, out));
	if (*errors)
		return cni_fail(f, CNI_INTERNAL, NULL, "plugin \"%s\" %s: %s", type, how, quoted(a, errors));
	return cni_fail(f, CNI_INTERNAL, NULL, "plugin \"%s\" %s and said nothing", type, how);
}

/* With what it started. */
static void end(struct child *c)
{
	int status;

	kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
}

static void child_free(struct child *c)
{
	if (c->out >= 0)
		close(c->out);
	if (c->errors >= 0)
		close(c->errors);
	if (c->pidfd >= 0)
		close(c->pidfd);
	strbuf_free(&c->out_text);
	strbuf_free(&c->errors_text);
}

static int run_here(struct arena *a, const char *path, char **env, const char *conf, unsigned timeout_ms, struct attach_ran *ret,
		    struct err *e)
{
	struct child c = { .pidfd = -1, .out = -1, .errors = -1, .out_text = STRBUF_INIT, .errors_text = STRBUF_INIT };
	int status = 0, r = start(&c, path, env, conf, e);

	if (r == 0) {
		ret->timed_out = !wait_for(&c, timeout_ms, &status) && !c.too_much;
		if (ret->timed_out || c.too_much)
			end(&c);
		if (c.too_much)
			r = err_set(e, -EMSGSIZE, "it printed more than %u bytes: no result is that long", PLUGIN_STDOUT_MAX);
		ret->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		ret->out = arena_strndup(a, c.out_text.s ? c.out_text.s : "", c.out_text.len);
		ret->out_len = c.out_text.len;
		ret->err = arena_strndup(a, c.errors_text.s ? c.errors_text.s : "", c.errors_text.len);
	}
	child_free(&c);
	return r;
}

/* By the shim that the runtime runs; where our own view of the folders lacks the plugin, theirs may have it. */
static int run_there(struct arena *a, const char *type, const struct plugin_call *call, const char *conf, unsigned timeout_ms,
		     struct attach_ran *ret, struct err *e)
{
	const char *const *env = (const char *const *)environment(a, call, false);
	char *path;
	int r = plugin_find(a, call->dirs, type, &path, NULL);

	if (r == 0 || r == -EINVAL)
		return r < 0 ? r : call->cluster->run_plugin(call->caller, a, path, env, conf, strlen(conf), (timeout_ms + 999) / 1000, ret, e);
	for (const char *s = call->dirs; *s; s += *s == ':') {
		size_t n = strcspn(s, ":");

		path = arena_printf(a, "%.*s/%s", (int)n, s, type);
		r = n ? call->cluster->run_plugin(call->caller, a, path, env, conf, strlen(conf), (timeout_ms + 999) / 1000, ret, e) : -ENOENT;
		if (r != -ENOENT)
			return r;
		s += n;
	}
	return -ENOENT;
}

static int run(struct arena *a, const char *type, const struct plugin_call *call, const char *conf, struct attach_ran *ret, struct err *e)
{
	unsigned timeout_ms = call->timeout_ms ? call->timeout_ms : PLUGIN_TIMEOUT_MS;
	bool there = call->cluster && call->cluster->run_plugin && call->caller;
	bool only_there = there && call->cluster->contained; /* here are not the files that it works on */
	int r = there ? run_there(a, type, call, conf, timeout_ms, ret, e) : -ENOTCONN;
	char *path;

	if (r == -ENOTCONN && only_there) {
		r = err_set(e, -EAGAIN, "%s waits for the runtime's next request: the kvrail-cni that would run it has left", call->command);
	} else if (r == -ENOTCONN || r == -ENOENT || r == -EINVAL) {
		int found = plugin_find(a, call->dirs, type, &path, e);

		if (found < 0)
			return found;
		if (!only_there)
			r = run_here(a, path, environment(a, call, true), conf, timeout_ms, ret, e);
	}
	return r < 0 ? err_wrap(e, r, "plugin \"%s\"", type) : 0;
}

int plugin_run(struct arena *a, const char *type, const struct plugin_call *call, const char *conf, char **ret_out,
	       struct cni_failure *f)
{
	struct attach_ran ran = { .out = "" };
	int r = run(a, type, call, conf, &ran, &f->e);

	if (r < 0) {
		f->details = NULL;
		return f->code = r == -ENOENT || r == -EINVAL ? CNI_INVALID_CONFIG : r == -ETIMEDOUT || r == -EAGAIN ? CNI_TRY_AGAIN : CNI_INTERNAL;
	}
	r = plugin_judge(a, type, call, &ran, f);
	if (r == 0)
		*ret_out = arena_strdup(a, ran.out);
	return r;
}
