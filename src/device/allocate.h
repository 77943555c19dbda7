/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container gets with its VFs, as the SR-IOV device plugin gives it (v3.x, resources/pool_stub.go and infoprovider): environment
 * PCIDEVICE_<PREFIX>_<NAME> and ..._INFO, device nodes, and the NPWG device-info files (spec 1.1.0) that Multus and its like
 * read. Private to the room.
 */
#ifndef KVRAIL_DEVICE_ALLOCATE_H
#define KVRAIL_DEVICE_ALLOCATE_H

#include <stdbool.h>
#include <yyjson.h>

#include "base/arena.h"
#include "base/err.h"
#include "device/device.h"
#include "linux/sysroot.h"

/* Device nodes of one VF, paths as in a container ("/dev/infiniband/uverbs0"); NULL: none. */
struct allocate_vf {
	const char *pci, *pf_pci;
	const char *rdma, *uverbs, *umad, *issm, *rdma_cm;
	const char *vfio, *vfio_group;
	const char *vfio_host; /* .vfio_group as the host has it */
	const char *vhost_net, *tun;
};

/*
 * Read them. Those of RDMA count when they are in @dev_dir ("/dev"), and are left out unless @vf's policy has isRdma; those of VFIO, tun and vhost-net
 * when sysfs has them, as an agent in a container does not see them. -ENODEV: the VF is not on the PCI bus. Strings of @vf stay in use.
 */
int allocate_read(const struct sysroot *r, struct arena *a, const char *dev_dir, const struct device_vf *vf, bool vhost_net,
		  struct allocate_vf *ret, struct err *e);

/* "PCIDEVICE_OPENSHIFT_IO_P2RDMA": upper case, "." and "/" to "_", dashes kept as the Go plugin keeps them. */
char *allocate_env_name(struct arena *a, const char *prefix, const char *name);
/* "0000:01:10.0,0000:01:10.2" and the JSON of _INFO: keys in alphabetical order, as Go writes maps. */
char *allocate_env_ids(struct arena *a, const struct allocate_vf *vfs, size_t n);
char *allocate_env_info(struct arena *a, const struct allocate_vf *vfs, size_t n);

/* DIR/<prefix>-<name>-<pci>-device.json, 0444, by rename; the folder is made if need be. */
int allocate_write_info(const char *dir, const char *prefix, const char *name, const struct allocate_vf *vf, struct err *e);
/* Remove those of the resource whose VF is not among @keep. */
void allocate_clean_info(const char *dir, const char *prefix, const char *name, const char *const *keep, size_t n_keep);

#endif
