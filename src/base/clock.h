/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_BASE_CLOCK_H
#define KVRAIL_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_ns(void);
void clock_sleep_ms(unsigned ms);
/* Now, as RFC 3339 UTC with seconds ("2026-01-31T09:00:00Z"), into @buf of at least 21 bytes. */
void clock_rfc3339(char *buf);

#endif
