/* SPDX-License-Identifier: Apache-2.0 */
/* One node's network ports and their VFs, read from sysfs, rtnetlink, RDMA netlink and devlink. */
#ifndef KVRAIL_PROVISION_INVENTORY_H
#define KVRAIL_PROVISION_INVENTORY_H

#include "api/nodestate.h"
#include "linux/sysroot.h"

struct inventory_vf {
	unsigned index;
	const char *pci, *vendor, *device, *driver; /* driver NULL: unbound */
	const char *netdev;			    /* NULL: none, or moved to a pod */
	const char *mac;			    /* of the netdev, else the admin MAC, else NULL */
	const char *rdma;			    /* NULL: none, or moved */
	const char *node_guid;
	int64_t mtu;
	int numa;
};

struct inventory_pf {
	const char *pci, *vendor, *device, *driver, *netdev, *mac, *rdma, *fw, *eswitch, *link_layer /* "ether", "infiniband" */,
		*operstate;
	const char *model; /* "ConnectX-7", "82576", ... or NULL */
	const char **alt_names;
	size_t n_alt_names;
	const char *phys_port_name, *phys_switch_id;
	bool admin_up, carrier, default_route;
	int64_t speed; /* Mbit/s, -1 unknown */
	int64_t mtu, max_mtu; /* max_mtu 0: unknown */
	int numa;	/* -1 unknown */
	bool sriov;	/* has the sriov_* files */
	int64_t total_vfs, num_vfs;
	unsigned vf_offset, vf_stride;
	bool autoprobe;
	const char *vf_device;
	const char *problem; /* what is wrong with this port's tree, in words, or NULL */
	struct inventory_vf *vfs;
	size_t n_vfs;
};

struct inventory {
	struct arena *arena; /* owns all of it */
	const char *hostname, *kernel;
	const char *rdma_mode; /* "shared", "exclusive", NULL unknown */
	bool live;
	struct inventory_pf *pfs; /* by PCI address */
	size_t n_pfs;
	const char **warnings;
	size_t n_warnings;
};

/* Read all ports; several threads read in parallel. A port that cannot be read is there with .problem. */
int inventory_read(const struct sysroot *r, struct inventory **ret, struct err *e);
struct inventory *inventory_free(struct inventory *i);
const struct inventory_pf *inventory_pf(const struct inventory *i, const char *pci);

/* As the operator's config daemon reports it: SriovNetworkNodeState.status.interfaces. */
struct api_nodestate_status *inventory_status(const struct inventory *i, struct arena *a);
yyjson_mut_val *inventory_json(const struct inventory *i, yyjson_mut_doc *doc);

/* `kvrail inventory --record`: a tar of what inventory_read() reads, errors included; serials and MACs masked on request. */
int inventory_record(const struct sysroot *r, const char *path, bool mask, struct err *e);

#endif
