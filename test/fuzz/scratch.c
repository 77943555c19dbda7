/* SPDX-License-Identifier: Apache-2.0 */
/* What Multus and libcni left on the disk, perhaps cut short by a crash. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attach/cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct scratch_delegate *list;
	struct netconf nc;
	struct err e;
	size_t n;

	cache_parse(a, (const char *)data, size);
	if (scratch_parse(a, (const char *)data, size, &list, &n, &e) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!list[i].conf || (list[i].ifname && strlen(list[i].ifname) > 15))
			abort();
		netconf_parse(a, "notes", list[i].conf, list[i].conf_len, &nc, &e);
	}
	return 0;
}
