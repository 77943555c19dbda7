/* SPDX-License-Identifier: Apache-2.0 */
/* What a container runtime pipes into the hook: the pid must be the top level's, whole, and that of a process that is not init. */
#include <stdint.h>
#include <stdlib.h>

#include "cni/hook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	long pid = hook_state_pid((const char *)data, size);

	if (pid != -1 && (pid < 2 || pid > INT32_MAX))
		abort();
	return 0;
}
