/* SPDX-License-Identifier: Apache-2.0 */
/* What is different when the agent runs in a container. */
#ifndef KVRAIL_AGENT_CONTAINER_H
#define KVRAIL_AGENT_CONTAINER_H

#include "base/err.h"

/*
 * Container runtimes mount /proc/sys read-only over itself. The agent sets arp_ignore, arp_announce, rp_filter of rails there, in the pods'
 * network namespaces: make it writable again, in this mount namespace only. 0 when it was, or is now.
 */
int container_open_sysctls(struct err *e);

#endif
