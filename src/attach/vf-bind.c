/* SPDX-License-Identifier: Apache-2.0 */
/* A GUID takes effect in the VF when its driver probes it: the driver asks for it then, and makes netdev and RDMA device of it. */
#include <string.h>

#include "attach/vf.h"
#include "base/clock.h"
#include "linux/pci.h"
#include "linux/rdma.h"

#define BIND_WAIT_MS 10000
#define BIND_PAUSE_MS 20
#define DEV "bus/pci/devices/%s"

/* One of each, or they are not there yet. */
static bool devices_are_there(const struct sysroot *r, struct arena *a, const struct attachment_rail *rec, const char **ret_rdma,
			      unsigned *ret_index)
{
	const char **net, **rdma;
	size_t n_net, n_rdma;
	uint64_t index;

	if (rec->found->rdma && (sysfs_list(r, a, &rdma, &n_rdma, DEV "/infiniband", rec->vf) < 0 || n_rdma != 1))
		return false;
	if (sysfs_list(r, a, &net, &n_net, DEV "/net", rec->vf) < 0 || n_net != 1 ||
	    sysfs_read_u64(r, 10, &index, DEV "/net/%s/ifindex", rec->vf, net[0]) < 0)
		return false;
	*ret_rdma = rec->found->rdma ? rdma[0] : NULL;
	*ret_index = (unsigned)index;
	return true;
}

int vf_rebind(const struct sysroot *r, struct nl *rdma, const struct attachment_rail *rec, unsigned *ret_index, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *name = NULL;
	struct rdma_dev dev;
	unsigned index;
	int x = pci_unbind(r, rec->vf, e);

	if (x == 0)
		x = pci_bind(r, rec->vf, NULL, e);
	if (x < 0)
		return err_wrap(e, x, "for its GUID VF %s is bound again", rec->vf);
	for (unsigned waited = 0; !devices_are_there(r, a, rec, &name, &index); waited += BIND_PAUSE_MS) {
		if (waited >= BIND_WAIT_MS)
			return err_set(e, -ETIMEDOUT, "VF %s was bound again for its GUID, and has no network interface%s %d s later: see dmesg",
				       rec->vf, rec->found->rdma ? " or RDMA device" : "", BIND_WAIT_MS / 1000);
		clock_sleep_ms(BIND_PAUSE_MS);
	}
	if (name && rdma && strcmp(name, rec->found->rdma)) {
		x = rdma_dev(rdma, name, &dev, e);
		if (x == 0)
			x = rdma_rename(rdma, dev.index, rec->found->rdma, e);
		if (x < 0)
			return x;
	}
	*ret_index = index;
	return 0;
}
