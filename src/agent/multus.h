/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multus' own socket as another name of the agent's. A Go multus-shim that is on the node still, for pods that were attached
 * through it, then reaches the agent instead of nobody: without a daemon it reports every DEL as done, and what the pod had
 * stays taken.
 */
#ifndef KVRAIL_AGENT_MULTUS_H
#define KVRAIL_AGENT_MULTUS_H

#include "base/err.h"

/* @path ("/run/multus/multus.sock") leads to @socket from now on. -EADDRINUSE: Multus' daemon answers there; what is dead is replaced. */
int multus_link(const char *path, const char *socket, struct err *e);
/* No longer, if it does. */
void multus_unlink(const char *path, const char *socket);

#endif
