/* SPDX-License-Identifier: Apache-2.0 */
/* perftest's ib_read_bw, run beside a transfer on the same rails: what the bare path gives. */
#ifndef KVRAIL_KV_PERFTEST_H
#define KVRAIL_KV_PERFTEST_H

#include "kv/transport.h"

struct kv_perftest {
	struct { int pid, out; } v[KV_RAILS_MAX]; /* one for each rail, all at once */
	size_t n;
};

bool kv_perftest_installed(void);
/* Ports for @n servers, the first of a row that is free now. */
int kv_perftest_ports(size_t n, uint16_t *ret, struct err *e);
/* @host NULL: the servers. Rail i uses @port + i. */
int kv_perftest_start(const struct kv_path *path, const char *host, uint16_t port, uint64_t size, uint64_t count,
		      struct kv_perftest *ret, struct err *e);
/* The sum of the clients' averages, bytes per second. */
int kv_perftest_result(struct kv_perftest *t, unsigned timeout_ms, double *ret, struct err *e);
/* Ends what still runs. */
void kv_perftest_stop(struct kv_perftest *t);

#endif
