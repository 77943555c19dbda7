/* SPDX-License-Identifier: Apache-2.0 */
/* clock_gettime() of a test: the wall clock is an hour ahead of what the kernel's waits go by, as after a step back of it. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, id, t);

	if (id == CLOCK_REALTIME)
		t->tv_sec += 3600;
	return r;
}
