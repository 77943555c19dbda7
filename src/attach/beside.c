/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "attach/beside.h"

static void *work(void *arg)
{
	struct beside *b = arg;

	b->fn(b->arg);
	return NULL;
}

void beside_start(struct beside *b, void (*fn)(void *arg), void *arg)
{
	sigset_t all, old;

	b->fn = fn;
	b->arg = arg;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	b->running = pthread_create(&b->thread, NULL, work, b) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!b->running)
		fn(arg);
}

void beside_join(struct beside *b)
{
	if (b->running)
		pthread_join(b->thread, NULL);
	b->running = false;
}
