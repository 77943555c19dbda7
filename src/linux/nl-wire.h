/* SPDX-License-Identifier: Apache-2.0 */
/* What carries a netlink conversation: the kernel's socket, or the bytes of a test. */
#ifndef KVRAIL_LINUX_NL_WIRE_H
#define KVRAIL_LINUX_NL_WIRE_H

#include <sys/types.h>

#include "linux/nl.h"

struct nl_wire {
	int (*send)(void *arg, const void *msg, size_t len);
	/* One datagram into *buf of *size bytes, which is grown by realloc(): its length, or a negative errno. */
	ssize_t (*recv)(void *arg, char **buf, size_t *size);
	void (*close)(void *arg);
};

/* @port is what the kernel puts into answers to this conversation. */
struct nl *nl_new(const struct nl_wire *wire, void *arg, uint32_t port);

#endif
