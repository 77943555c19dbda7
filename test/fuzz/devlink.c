/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel answers about devlink devices. */
#include "../unit/linux/replay.h"
#include "linux/devlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned what = 0; what < 3; what++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct devlink_info info;
		struct devlink *d;
		const char *mode;
		struct replay r;
		struct err e;

		if (devlink_on(replay_open(&r, data, size), &d, &e) < 0)
			continue;
		switch (what) {
		case 0:
			if (devlink_info(d, a, "0000:18:00.0", &info, &e) == 0 && info.driver && strlen(info.driver) > size)
				abort();
			break;
		case 1:
			(void)devlink_eswitch_get(d, a, "0000:18:00.0", &mode, &e);
			break;
		case 2:
			(void)devlink_eswitch_set(d, "0000:18:00.0", "switchdev", &e);
			break;
		}
		devlink_close(d);
	}
	return 0;
}
