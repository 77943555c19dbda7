/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "kv/perftest.h"

#define TOOL "ib_read_bw"

extern char **environ;

bool kv_perftest_installed(void)
{
	const char *path = getenv("PATH");
	char file[512];

	for (size_t n; path && *path; path += n + (path[n] == ':')) {
		n = strcspn(path, ":");
		snprintf(file, sizeof(file), "%.*s/" TOOL, (int)n, path);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static bool is_free(uint16_t port)
{
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	return fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

int kv_perftest_ports(size_t n, uint16_t *ret, struct err *e)
{
	for (unsigned port = 18515; port < 18515 + 1000; port += KV_RAILS_MAX) {
		size_t i = 0;

		while (i < n && is_free((uint16_t)(port + i)))
			i++;
		if (i == n) {
			*ret = (uint16_t)port;
			return 0;
		}
	}
	return err_set(e, -EADDRINUSE, "no free port for " TOOL);
}

/* Waits until the child is gone: never a zombie, never a child left over. */
static void end(int pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void kv_perftest_stop(struct kv_perftest *t)
{
	for (size_t i = 0; i < t->n; i++) {
		end(t->v[i].pid);
		close(t->v[i].out);
	}
	t->n = 0;
}

static int start_one(const struct kv_rail *rail, const char *host, unsigned port, uint64_t size, uint64_t count,
		     struct kv_perftest *t, struct err *e)
{
	char ib_port[8], gid[8], bytes[24], times[24], tcp[8];
	char *argv[] = { (char *)TOOL, (char *)"-F", (char *)"--report_gbits", (char *)"-d", (char *)rail->device,
			 (char *)"-i", ib_port, (char *)"-x", gid, (char *)"-s", bytes, (char *)"-n", times,
			 (char *)"-p", tcp, (char *)host, NULL };
	posix_spawn_file_actions_t files;
	int out[2], pid, r;

	snprintf(ib_port, sizeof(ib_port), "%u", rail->port);
	snprintf(gid, sizeof(gid), "%d", rail->gid_index);
	snprintf(bytes, sizeof(bytes), "%ju", (uintmax_t)size);
	snprintf(times, sizeof(times), "%ju", (uintmax_t)count);
	snprintf(tcp, sizeof(tcp), "%u", port);
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out[1], STDERR_FILENO);
	r = posix_spawnp(&pid, TOOL, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	close(out[1]);
	if (r) {
		close(out[0]);
		return err_errno(e, -r, TOOL);
	}
	t->v[t->n].pid = pid;
	t->v[t->n++].out = out[0];
	return 0;
}

int kv_perftest_start(const struct kv_path *path, const char *host, uint16_t port, uint64_t size, uint64_t count,
		      struct kv_perftest *ret, struct err *e)
{
	struct kv_perftest t = { .n = 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < path->n_rails; i++)
		r = start_one(&path->rails[i], host, port + (unsigned)i, size, count, &t, e);
	if (r < 0) {
		kv_perftest_stop(&t);
		return r;
	}
	*ret = t;
	return 0;
}

/* "65536  1000  12.00  11.86  0.022": the line of figures; the fourth is the average in Gb/s. */
static int average(const char *text, double *ret)
{
	double size, count, peak, mean;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, " %lf %lf %lf %lf", &size, &count, &peak, &mean) == 4) {
			*ret = mean * 1e9 / 8;
			return 0;
		}
	}
	return -ENODATA;
}

/* All that the child prints until it ends or the time is up. */
static size_t read_all(int fd, uint64_t until, char *buf, size_t size)
{
	size_t n = 0;

	for (;;) {
		uint64_t now = clock_ns();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		if (n + 1 == size || now >= until || poll(&p, 1, (int)((until - now) / 1000000) + 1) <= 0)
			break;
		got = read(fd, buf + n, size - n - 1);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	buf[n] = '\0';
	return n;
}

int kv_perftest_result(struct kv_perftest *t, unsigned timeout_ms, double *ret, struct err *e)
{
	uint64_t until = clock_ns() + (uint64_t)timeout_ms * 1000000;
	double sum = 0, one;
	char text[8192];

	for (size_t i = 0; i < t->n; i++) {
		char *last;

		read_all(t->v[i].out, until, text, sizeof(text));
		if (average(text, &one) == 0) {
			sum += one;
			continue;
		}
		while ((last = strrchr(text, '\n')) && !last[1])
			*last = '\0';
		last = strrchr(text, '\n');
		return err_set(e, -EIO, TOOL " gave no figure: %s", last ? last + 1 : text);
	}
	*ret = sum;
	return 0;
}
