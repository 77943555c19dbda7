/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_BASE_CLOCK_H
#define KVRAIL_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_ns(void);
void clock_sleep_ms(unsigned ms);
/* A condition whose timed waits go by CLOCK_MONOTONIC, and the deadline of such a wait, @ms from now. */
void clock_cond_init(pthread_cond_t *c);
struct timespec clock_deadline(unsigned ms);
/* Now, as RFC 3339 UTC with seconds ("2026-01-31T09:00:00Z"), into @buf of at least 21 bytes. */
void clock_rfc3339(char *buf);

#endif
