/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on the 16 bytes of an address. */
#ifndef KVRAIL_STORE_IP_H
#define KVRAIL_STORE_IP_H

#include <string.h>

#include "store/store.h"

static inline int store_ip_cmp(const struct store_ip *a, const struct store_ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

/* The next address; false, and @ip as it was, when @ip is the last there is. */
static inline bool store_ip_next(struct store_ip *ip)
{
	struct store_ip next = *ip;

	for (int i = 15; i >= 0; i--) {
		if (++next.b[i] != 0) {
			*ip = next;
			return true;
		}
	}
	return false;
}

/* The address before; false, and @ip as it was, when @ip is the first there is. */
static inline bool store_ip_prev(struct store_ip *ip)
{
	struct store_ip prev = *ip;

	for (int i = 15; i >= 0; i--) {
		if (prev.b[i]-- != 0) {
			*ip = prev;
			return true;
		}
	}
	return false;
}

#endif
