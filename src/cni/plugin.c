/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cni/plugin.h"

#define OUT_MAX (1u << 20)
#define ERR_MAX (64u << 10)
#define ENV_MAX 128
#define TIMEOUT_MAX_S 240

struct order {
	const char *id; /* with its quotes */
	size_t id_len;
	char *path, *env, *in;
	size_t env_len, in_len;
	unsigned timeout_s;
};

struct run {
	pid_t pid;
	int in, out, err; /* our ends of its pipes; -1: closed */
	size_t out_len, err_len;
	bool timed_out;
};

static char out[OUT_MAX], err[ERR_MAX];

/* Where the string member @key stands, without its quotes. */
static bool find(char *s, size_t len, const char *key, char **ret, size_t *ret_len)
{
	const char *v;
	size_t n;

	if (!text_member(s, len, key, &v, &n) || n < 2 || *v != '"')
		return false;
	*ret = s + (v - s) + 1;
	*ret_len = n - 2;
	return true;
}

/* Decode it where it stands, and end it with a NUL. */
static bool decode(char *s, size_t *len)
{
	if (!text_unbase64(s, *len, len))
		return false;
	s[*len] = '\0';
	return true;
}

static bool parse(char *s, size_t len, struct order *o)
{
	const char *v;
	size_t n, path_len;

	if (!text_member(s, len, "id", &o->id, &o->id_len) || *o->id != '"' || !text_member(s, len, "timeout", &v, &n))
		return false;
	for (o->timeout_s = 0; n && *v >= '0' && *v <= '9' && o->timeout_s <= TIMEOUT_MAX_S; v++, n--)
		o->timeout_s = o->timeout_s * 10 + (unsigned)(*v - '0');
	if (o->timeout_s > TIMEOUT_MAX_S)
		o->timeout_s = TIMEOUT_MAX_S;
	/* all are found before the first is decoded: then it is no JSON any more */
	return find(s, len, "path", &o->path, &path_len) && find(s, len, "env", &o->env, &o->env_len) &&
	       find(s, len, "in", &o->in, &o->in_len) && decode(o->path, &path_len) && decode(o->env, &o->env_len) &&
	       decode(o->in, &o->in_len) && *o->path == '/' && strlen(o->path) == path_len;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* As a runtime calls it: what is in our environment, but every CNI_ variable as the agent says. */
static void make_env(const struct order *o, char *envp[ENV_MAX + 1])
{
	size_t n = 0;

	for (char **e = environ; *e && n < ENV_MAX / 2; e++)
		if (strncmp(*e, "CNI_", 4))
			envp[n++] = *e;
	for (size_t i = 0; i < o->env_len && n < ENV_MAX; i += strlen(o->env + i) + 1)
		envp[n++] = o->env + i;
	envp[n] = NULL;
}

/* In the child: never returns. What stops it goes to @report. */
static void become(const struct order *o, const int fds[3], int report)
{
	char *argv[] = { o->path, NULL }, *envp[ENV_MAX + 1];
	int failed;

	make_env(o, envp);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(126);
	execve(o->path, argv, envp);
	failed = errno;
	_exit(write(report, &failed, sizeof(failed)) == sizeof(failed) ? 127 : 126);
}

/* 0 when the program runs, else a positive errno. */
static int start(const struct order *o, struct run *r)
{
	int to[2] = { -1, -1 }, from[2] = { -1, -1 }, words[2] = { -1, -1 }, report[2] = { -1, -1 }, failed = 0;

	/* 0 to 2 are open here, so that none of these ends is one that the child's dup2 replaces */
	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0 || pipe2(words, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
		failed = errno;
	else if ((r->pid = fork()) == 0)
		become(o, (const int[3]){ to[0], from[1], words[1] }, report[1]);
	else if (r->pid < 0)
		failed = errno;
	r->in = to[1];
	r->out = from[0];
	r->err = words[0];
	close_end(&to[0]);
	close_end(&from[1]);
	close_end(&words[1]);
	close_end(&report[1]);
	if (!failed && read(report[0], &failed, sizeof(failed)) != sizeof(failed))
		failed = 0;
	close_end(&report[0]);
	return failed;
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000;
}

/* Read what is there. Beyond @size: of @out the first, of @err the last bytes are kept. */
static void drain(int *fd, char *buf, size_t size, size_t *len, bool last)
{
	static char spill[4096];
	bool full = *len == size;
	ssize_t n;

	if (full && last) {
		memmove(buf, buf + size / 2, size - size / 2);
		*len = size - size / 2;
		full = false;
	}
	n = full ? read(*fd, spill, sizeof(spill)) : read(*fd, buf + *len, size - *len);
	if (n == 0 || (n < 0 && errno != EINTR))
		close_end(fd);
	else if (n > 0 && !full)
		*len += (size_t)n;
}

static void feed(int *fd, const char **p, size_t *left)
{
	ssize_t n = *left ? write(*fd, *p, *left) : 0;

	if (n > 0) {
		*p += n;
		*left -= (size_t)n;
	}
	if (*left == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		close_end(fd);
}

/* Until it closed its output, or its time is up. */
static void talk(const struct order *o, struct run *r)
{
	long end = now_ms() + o->timeout_s * 1000L;
	const char *p = o->in;
	size_t left = o->in_len;

	fcntl(r->in, F_SETFL, O_NONBLOCK);
	while (r->out >= 0 || r->err >= 0) {
		struct pollfd fds[] = { { r->in, POLLOUT, 0 }, { r->out, POLLIN, 0 }, { r->err, POLLIN, 0 } };
		long wait = end - now_ms();

		if (wait <= 0) {
			r->timed_out = true;
			return;
		}
		if (poll(fds, 3, (int)wait) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			feed(&r->in, &p, &left);
		if (fds[1].revents)
			drain(&r->out, out, sizeof(out), &r->out_len, false);
		if (fds[2].revents)
			drain(&r->err, err, sizeof(err), &r->err_len, true);
	}
}

/* Its status as a shell tells it. What it started and left behind with our pipes open is ended too when it took too long. */
static unsigned finish(struct run *r)
{
	int status = 0;

	close_end(&r->in);
	close_end(&r->out);
	close_end(&r->err);
	if (r->timed_out)
		kill(-r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 128 + (unsigned)WTERMSIG(status) : (unsigned)WEXITSTATUS(status);
}

bool plugin_run(char *s, size_t len, struct text *answer)
{
	struct run r = { .in = -1, .out = -1, .err = -1 };
	unsigned status = 0;
	struct order o;
	int failed;

	if (!parse(s, len, &o))
		return false;
	signal(SIGPIPE, SIG_IGN);
	failed = start(&o, &r);
	if (!failed)
		talk(&o, &r);
	if (r.pid > 0)
		status = finish(&r);
	text_str(answer, "{\"id\":");
	text_add(answer, o.id, o.id_len);
	text_str(answer, failed ? ",\"errno\":" : ",\"status\":");
	text_num(answer, failed ? (unsigned)failed : status);
	text_str(answer, r.timed_out ? ",\"timeout\":true,\"out\":\"" : ",\"out\":\"");
	text_base64(answer, out, r.out_len);
	text_str(answer, "\",\"err\":\"");
	text_base64(answer, err, r.err_len);
	text_str(answer, "\"}");
	return true;
}
