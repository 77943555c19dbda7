/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel answers about links, VFs, addresses and routes; corpus: recordings of Linux 7.3 with igb's VFs. */
#include <linux/if_link.h>
#include <sys/types.h>

#include "../unit/linux/replay.h"
#include "linux/rtnl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char mac[6] = { 2 };
	const struct rtnl_addr addr = { .family = AF_INET, .addr = { 10, 0, 132, 1 }, .prefix_len = 24 };

	for (unsigned what = 0; what < 7; what++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct rtnl_link *links, link;
		struct rtnl_addr *addrs;
		const struct rtnl_vf *vf;
		struct rtnl_vf *vfs;
		struct replay r;
		_cleanup_nl_ struct nl *nl = replay_open(&r, data, size);
		unsigned index;
		struct err e;
		size_t n;

		switch (what) {
		case 0:
			if (rtnl_links(nl, a, &links, &n, &e) == 0)
				for (size_t i = 0; i < n; i++)
					if (strlen(links[i].name) >= IFNAMSIZ || links[i].mac_len > sizeof(links[i].mac))
						abort();
			break;
		case 1:
			(void)rtnl_link(nl, a, "p0", &link, &e);
			break;
		case 2:
			if (rtnl_vfs(nl, a, 2, &vfs, &n, &e) == 0 && (vf = rtnl_vf_of(vfs, n, 3)) && vf->id != 3)
				abort();
			break;
		case 3:
			if (rtnl_addrs(nl, a, 0, &addrs, &n, &e) == 0)
				for (size_t i = 0; i < n; i++)
					if (addrs[i].family != AF_INET && addrs[i].family != AF_INET6)
						abort();
			break;
		case 4:
			(void)rtnl_default_route(nl, &index, &e);
			break;
		case 5:
			(void)rtnl_vf_set_mac(nl, 2, 0, mac, &e);
			break;
		case 6:
			(void)rtnl_add_addr(nl, 2, &addr, &e);
			break;
		}
	}
	return 0;
}
