/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in Prometheus' text format, version 0.0.4. Counters are plain atomic numbers of whoever counts; a histogram has a
 * type here. What is scraped is written in one go by whoever knows the numbers:
 *
 *	metrics_family(&b, "kvrail_adds_total", METRICS_COUNTER, "ADDs by outcome.");
 *	metrics_add(&b, "kvrail_adds_total", (double)n, "outcome", "ok", NULL);
 */
#ifndef KVRAIL_BASE_METRICS_H
#define KVRAIL_BASE_METRICS_H

#include <stdint.h>

#include "base/strbuf.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* The lines # HELP and # TYPE, before the family's first sample. */
void metrics_family(struct strbuf *b, const char *name, enum metrics_type type, const char *help);

/* One sample. Labels are pairs of strings ended by NULL; a label whose value is NULL is left out. Values may hold anything. */
void metrics_add(struct strbuf *b, const char *name, double value, ... /* label, value, ..., NULL */) __attribute__((sentinel));

/* Durations, from 1 ms to two minutes in steps of about two. Zeroed memory is an empty one; any thread may observe. */
#define METRICS_BUCKETS 17

struct metrics_histogram {
	_Atomic uint64_t bucket[METRICS_BUCKETS + 1]; /* not cumulative; the last: longer than all bounds */
	_Atomic uint64_t sum_us;
};

void metrics_observe(struct metrics_histogram *h, uint64_t ns);

/* Its samples, NAME_bucket, NAME_sum and NAME_count, in seconds. */
void metrics_add_histogram(struct strbuf *b, const char *name, struct metrics_histogram *h, ... /* label, value, ..., NULL */)
	__attribute__((sentinel));

/* Resident memory, CPU seconds, open files and start time of this process, under the names that Prometheus' clients use. */
void metrics_add_process(struct strbuf *b);

#endif
