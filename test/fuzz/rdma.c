/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel answers about RDMA devices; corpus: recordings of Linux 7.3 with soft RoCE. */
#include "../unit/linux/replay.h"
#include "linux/rdma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned what = 0; what < 5; what++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct rdma_dev *devs, dev;
		struct rdma_port port;
		struct replay r;
		_cleanup_nl_ struct nl *nl = replay_open(&r, data, size);
		struct err e;
		bool on;
		size_t n;

		switch (what) {
		case 0:
			if (rdma_devs(nl, a, &devs, &n, &e) == 0)
				for (size_t i = 0; i < n; i++)
					if (strlen(devs[i].name) >= RDMA_NAME_MAX)
						abort();
			break;
		case 1:
			if (rdma_dev(nl, "rxe_p0", &dev, &e) == 0 && strcmp(dev.name, "rxe_p0") != 0)
				abort();
			break;
		case 2:
			(void)rdma_port(nl, 0, 1, &port, &e);
			break;
		case 3:
			(void)rdma_get_exclusive(nl, &on, &e);
			break;
		case 4:
			(void)rdma_move(nl, 0, 0, &e);
			break;
		}
	}
	return 0;
}
