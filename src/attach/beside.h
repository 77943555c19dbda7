/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work in a thread of its own while the caller goes on: the default network's plugin, which mostly starts programs, beside the
 * rails, which mostly wait (for the kernel's moves, the VFs' resets, the API server). The thread receives no signals.
 */
#ifndef KVRAIL_ATTACH_BESIDE_H
#define KVRAIL_ATTACH_BESIDE_H

#include <pthread.h>
#include <stdbool.h>

struct beside {
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
	bool running;
};

/* Without a thread to be had, @fn runs here and now. */
void beside_start(struct beside *b, void (*fn)(void *arg), void *arg);
/* Waits for its end; at once when it was never started. */
void beside_join(struct beside *b);

#endif
