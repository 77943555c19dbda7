/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <string.h>

#include "cmd/pod.h"
#include "linux/netns.h"

/* kvrail-kv beside this program (a build folder, PREFIX/bin), else in PATH. */
static const char *kv_program(struct arena *a)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *beside;

	if (n > 0) {
		self[n] = '\0';
		beside = arena_printf(a, "%.*s/kvrail-kv", (int)(strrchr(self, '/') - self), self);
		if (access(beside, X_OK) == 0)
			return beside;
	}
	return "kvrail-kv";
}

static int enter(const struct pod *pod, struct err *e)
{
	_cleanup_close_ int netns = -1;
	int rc;

	if (!pod->netns)
		return err_set(e, -EINVAL, "%s/%s: the agent tells no network namespace", pod->ns, pod->name);
	netns = netns_open(pod->netns, e);
	rc = netns < 0 ? netns : netns_enter(netns, true, e);
	return rc < 0 ? err_wrap(e, rc, "%s/%s", pod->ns, pod->name) : 0;
}

int pod_exec_kv(struct arena *a, const struct pod *pod, const char **args, struct err *e)
{
	const char *program = kv_program(a), **argv = NULL;
	size_t n = 0;
	int rc = pod ? enter(pod, e) : 0;

	if (rc < 0)
		return rc;
	*(const char **)arena_push(a, &argv, &n, sizeof(char *)) = "kvrail-kv";
	for (; *args; args++)
		*(const char **)arena_push(a, &argv, &n, sizeof(char *)) = *args;
	*(const char **)arena_push(a, &argv, &n, sizeof(char *)) = NULL;
	fflush(stdout);
	execvp(program, (char **)argv);
	return err_errno(e, -errno, "cannot run %s: it belongs beside kvrail or into PATH", program);
}
