/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The createRuntime hook of containers with RDMA devices: registering memory pins it, the runtime's limit of locked memory is 64 KiB or 8 MiB,
 * and a container without CAP_IPC_LOCK cannot raise it. The runtime (OCI runtime specification, section Hooks) runs this on the host with
 * the container's state on stdin, after the container's process is made and before its program starts.
 */
#ifndef KVRAIL_CNI_HOOK_H
#define KVRAIL_CNI_HOOK_H

#include <stddef.h>

/* The "pid" of an OCI state; -1 when it is none, or has no process. */
long hook_state_pid(const char *state, size_t n);

/* Lift RLIMIT_MEMLOCK of that process, and of no other. Words on stderr and 1 when it cannot: the container is not created then. */
int hook_memlock(void);

#endif
