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
	const char *representor;		    /* its netdev on the PF in switchdev mode, or NULL */
	const char *mac;			    /* of the netdev, else the admin MAC, else NULL */
	const char *admin_mac; /* set through the PF: all zero: not set, NULL: the driver (or a tree) does not tell */
	const char *rdma;			    /* NULL: none, or moved */
	const char *node_guid;
	int64_t mtu; /* 0: no netdev here */
	int numa;
};

/* A port as kvrail found it before it first changed it: what a port that no policy wants any more goes back to. */
struct inventory_before {
	int64_t num_vfs, mtu;
	const char *eswitch; /* or NULL */
	bool autoprobe;
};

struct inventory_pf {
	const char *pci, *vendor, *device, *driver, *netdev, *mac, *rdma, *fw, *eswitch, *link_layer /* "ether", "infiniband" */,
		*operstate;
	const char *perm_mac; /* the hardware's own, or NULL */
	const char *model; /* "ConnectX-7", "82576", ... or NULL */
	const char **alt_names;
	size_t n_alt_names;
	const char *phys_port_name, *phys_switch_id;
	bool admin_up, carrier, default_route;
	bool is_vf;    /* by its id a VF that a hypervisor passed to this machine: it has no physfn here */
	int64_t speed; /* Mbit/s, -1 unknown */
	int64_t mtu, max_mtu; /* max_mtu 0: unknown */
	int numa;	      /* -1 unknown */
	bool sriov;	/* has the sriov_* files */
	int64_t total_vfs, num_vfs;
	unsigned vf_offset, vf_stride;
	bool has_autoprobe, autoprobe; /* sriov_drivers_autoprobe is there (Linux 4.12) and 1 */
	const char *vf_device;
	const struct inventory_before *before; /* NULL: kvrail did not configure it (inventory_remember()) */
	const char *problem; /* what is wrong with this port's tree, in words, or NULL */
	struct inventory_vf *vfs;
	size_t n_vfs;
};

struct inventory {
	struct arena *arena; /* owns all of it */
	const char *hostname, *kernel;
	const char *identity;  /* of the machine: machine-id and host name, for addresses that are stable */
	const char *rdma_mode; /* "shared", "exclusive", NULL unknown */
	bool live, iommu;      /* of the running machine; devices are behind an IOMMU */
	const char *state_dir; /* where ports are remembered (inventory_remember()), NULL: nowhere */
	struct inventory_pf *pfs; /* by PCI address */
	size_t n_pfs;
	const char **warnings;
	size_t n_warnings;
};

/* Read all ports; several threads read in parallel. A port that cannot be read is there with .problem. */
int inventory_read(const struct sysroot *r, struct inventory **ret, struct err *e);
struct inventory *inventory_free(struct inventory *i);
const struct inventory_pf *inventory_pf(const struct inventory *i, const char *pci);

/*
 * Load what kvrail remembers of the ports that it configured: STATE_DIR/ports/PCI.json, written by apply_run() before
 * the first change to a port and removed when the port went back to what it was or somebody else makes its VFs. Without this call nothing is remembered,
 * and ports that no policy wants any more are left alone. A record that cannot be read, or is of another card, is a warning.
 */
int inventory_remember(struct inventory *i, const char *state_dir, struct err *e);

/* As the operator's config daemon reports it: SriovNetworkNodeState.status; @i must stay as long as the result. */
struct api_nodestate_status *inventory_status(const struct inventory *i, struct arena *a);
/* Says in @s which ports are set up as @spec asks with VFs that somebody else makes. */
void inventory_status_external(struct api_nodestate_status *s, const struct api_nodestate_spec *spec);
yyjson_mut_val *inventory_json(const struct inventory *i, yyjson_mut_doc *doc);

/* `kvrail inventory --record`: a tar of what inventory_read() reads, errors included; serials and MACs masked on request. */
int inventory_record(const struct sysroot *r, const char *path, bool mask, struct err *e);

#endif
