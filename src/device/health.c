/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "device/health.h"
#include "linux/pci.h"

static bool has_entries(const struct sysroot *r, struct arena *a, const char *pci, const char *folder)
{
	const char **names;
	size_t n;

	return sysfs_list(r, a, &names, &n, "bus/pci/devices/%s/%s", pci, folder) == 0 && n > 0;
}

static void read_port(const struct sysroot *r, struct arena *a, const char *pf_pci, struct health_facts *f)
{
	const char **names;
	uint64_t flags, carrier;
	size_t n;

	/* by the PCI function: a netdev may have been renamed since */
	if (sysfs_list(r, a, &names, &n, "bus/pci/devices/%s/net", pf_pci) == 0 && n > 0) {
		bool still = false;

		for (size_t i = 0; i < n && f->pf; i++)
			still |= !strcmp(names[i], f->pf);
		if (!still)
			f->pf = names[0];
	}
	if (f->pf && sysfs_read_u64(r, 16, &flags, "class/net/%s/flags", f->pf) == 0)
		f->pf_up = flags & 1; /* IFF_UP */
	if (f->pf && f->pf_up && sysfs_read_u64(r, 10, &carrier, "class/net/%s/carrier", f->pf) == 0)
		f->pf_carrier = carrier != 0;
	if (sysfs_list(r, a, &names, &n, "bus/pci/devices/%s/infiniband", pf_pci) == 0 && n > 0) {
		f->pf_rdma = names[0];
		sysfs_read(r, a, &f->pf_rdma_state, "class/infiniband/%s/ports/1/state", names[0]);
	}
}

void health_read(const struct sysroot *r, struct arena *a, const char *pci, const char *pf_pci, const char *pf_netdev,
		 const struct health_facts *same_port, struct health_facts *ret)
{
	const bool held = ret->held;
	const char *stranger = ret->stranger;

	*ret = (struct health_facts){ .pf = pf_netdev, .pf_carrier = -1 };
	if (same_port)
		*ret = *same_port;
	else
		read_port(r, a, pf_pci, ret);
	ret->held = held;
	ret->stranger = stranger;
	ret->driver = NULL;
	ret->netdev = ret->rdma = false;
	ret->present = sysfs_exists(r, "bus/pci/devices/%s", pci);
	if (!ret->present)
		return;
	if (pci_driver(r, a, pci, &ret->driver) < 0)
		ret->driver = NULL;
	ret->netdev = has_entries(r, a, pci, "net");
	ret->rdma = has_entries(r, a, pci, "infiniband");
}

const char *health_problem(struct arena *a, const struct health_facts *f, bool want_rdma)
{
	if (!f->present)
		return "the VF is not on the PCI bus any more: run 'kvrail plan', then 'kvrail apply'";
	if (f->stranger)
		return arena_printf(a, "held by pod %s, of which the kubelet has no record: it is offered again when that pod is gone", f->stranger);
	if (!f->driver)
		return "no driver is bound to the VF: run 'kvrail plan', then 'kvrail apply'";
	if (!f->held && !f->netdev && !pci_is_user_space_driver(f->driver))
		return arena_printf(a, "driver %s gave the VF no network interface here: look for its messages in the kernel's log", f->driver);
	if (f->pf && !f->pf_up)
		return arena_printf(a, "port %s is down: run 'ip link set %s up'", f->pf, f->pf);
	if (f->pf && f->pf_carrier == 0)
		return arena_printf(a, "port %s has no carrier: look at cable, transceiver and switch port", f->pf);
	if (!want_rdma || pci_is_user_space_driver(f->driver))
		return NULL;
	if (!f->held && !f->rdma)
		return arena_printf(a, "the VF has no RDMA device: load the RDMA module of driver %s", f->driver);
	if (f->pf_rdma && f->pf_rdma_state && strncmp(f->pf_rdma_state, "4:", 2))
		return arena_printf(a, "RDMA port %s/1 is %s, not ACTIVE: look at the port's link and, on InfiniBand, at the subnet manager",
				    f->pf_rdma, f->pf_rdma_state);
	return NULL;
}

bool health_step(struct health *h, bool good, bool urgent, uint64_t now_ns, uint64_t hold_ns, uint64_t *ret_wait)
{
	bool before = h->healthy, healthy = good;

	*ret_wait = 0;
	if (good) {
		h->bad_since = 0;
	} else if (h->known && h->healthy && !urgent) {
		if (!h->bad_since)
			h->bad_since = now_ns ? now_ns : 1;
		if (now_ns - h->bad_since < hold_ns) {
			*ret_wait = hold_ns - (now_ns - h->bad_since);
			healthy = true;
		}
	}
	h->healthy = healthy;
	if (h->known)
		return before != healthy;
	h->known = true;
	return true;
}
