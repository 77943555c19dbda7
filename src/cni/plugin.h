/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin of another maker, run for the agent. The agent lives in a container with little of the host in it; the runtime
 * executes this program, and so what this executes, where such plugins expect to be: with the host's files, tools and sockets.
 */
#ifndef KVRAIL_CNI_PLUGIN_H
#define KVRAIL_CNI_PLUGIN_H

#include "cni/text.h"

/*
 * Do what @order asks, the object {"id": "...", "path": P, "env": E, "in": I, "timeout": seconds}: P, E (NAME=VALUE, each ended by a
 * NUL) and I (for standard input) in base64. @order is overwritten. Then put into @answer {"id": "...", "status": exit status or 128 +
 * signal, "out": base64, "err": base64}; with "errno": N in place of a status when it could not be run, and "timeout": true when it
 * took too long and was killed with its children. What it prints beyond 1 MiB (err: the last 64 KiB count) is not kept. False: no such order.
 */
bool plugin_run(char *order, size_t len, struct text *answer);

#endif
