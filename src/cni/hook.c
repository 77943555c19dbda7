/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cni/hook.h"
#include "cni/text.h"

#define STATE_MAX (1u << 20)
#define PID_DIGITS 10

static char state[STATE_MAX];

long hook_state_pid(const char *s, size_t n)
{
	const char *v;
	size_t len;
	long pid = 0;

	if (!text_member(s, n, "pid", &v, &len))
		return -1;
	while (len && (v[len - 1] == ' ' || v[len - 1] == '\t' || v[len - 1] == '\n' || v[len - 1] == '\r'))
		len--;
	if (len == 0 || len > PID_DIGITS)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return -1;
		pid = pid * 10 + (v[i] - '0');
	}
	return pid > 1 && pid <= 0x7fffffff ? pid : -1;
}

static int say(const char *what, const char *why)
{
	static char line[512];
	struct text t = { line, 0, sizeof(line), false };

	text_str(&t, "kvrail-hook: ");
	text_str(&t, what);
	if (why) {
		text_str(&t, ": ");
		text_str(&t, why);
	}
	text_str(&t, "\n");
	if (write(STDERR_FILENO, t.s, t.len) < 0)
		return 2; /* nobody hears it */
	return 1;
}

int hook_memlock(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	size_t len = 0;
	long pid;

	while (len < sizeof(state)) {
		ssize_t n = read(STDIN_FILENO, state + len, sizeof(state) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return say("the container's state on stdin cannot be read", strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len == sizeof(state))
		return say("the container's state on stdin is larger than 1 MiB", NULL);
	pid = hook_state_pid(state, len);
	if (pid < 0)
		return say("stdin is no state of a container with a process (OCI runtime specification: \"pid\")", NULL);
	if (prlimit((pid_t)pid, RLIMIT_MEMLOCK, &all, NULL) < 0)
		return say("the container's limit of locked memory (RLIMIT_MEMLOCK) cannot be raised", strerror(errno));
	return 0;
}
