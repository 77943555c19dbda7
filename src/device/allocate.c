/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "codec/doc.h"
#include "device/allocate.h"
#include "device/pairing.h"
#include "linux/pci.h"

#define INFO_MODE 0444

/* "/dev/DIR/NAME" when there is such a node, of a name that sysfs gave. */
static const char *node(struct arena *a, const char *dev_dir, const char *dir, const char *name)
{
	const char *path;

	if (!name)
		return NULL;
	path = arena_printf(a, "%s%s%s/%s", dev_dir, *dir ? "/" : "", dir, name);
	return access(path, F_OK) == 0 ? arena_printf(a, "/dev%s%s/%s", *dir ? "/" : "", dir, name) : NULL;
}

/* The entry of a folder of the VF that begins with @begin ("uverbs"). */
static const char *entry(const struct sysroot *r, struct arena *a, const char *pci, const char *folder, const char *begin)
{
	const char **names;
	size_t n;

	if (sysfs_list(r, a, &names, &n, "bus/pci/devices/%s/%s", pci, folder) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!strncmp(names[i], begin, strlen(begin)))
			return names[i];
	return NULL;
}

static void read_rdma(const struct sysroot *r, struct arena *a, const char *dev_dir, struct allocate_vf *vf)
{
	vf->rdma = entry(r, a, vf->pci, "infiniband", "");
	vf->uverbs = node(a, dev_dir, "infiniband", entry(r, a, vf->pci, "infiniband_verbs", "uverbs"));
	vf->umad = node(a, dev_dir, "infiniband", entry(r, a, vf->pci, "infiniband_mad", "umad"));
	vf->issm = node(a, dev_dir, "infiniband", entry(r, a, vf->pci, "infiniband_mad", "issm"));
	if (vf->rdma)
		vf->rdma_cm = node(a, dev_dir, "infiniband", "rdma_cm");
}

/*
 * A module that is loaded makes its node on the host, of which a container sees only what is mounted. A node that is there before its module is
 * loaded (modules.devname) shows only in @dev_dir.
 */
static const char *misc_node(const struct sysroot *r, struct arena *a, const char *dev_dir, const char *dir, const char *name)
{
	return sysfs_exists(r, "class/misc/%s", name) ? arena_printf(a, "/dev%s%s/%s", *dir ? "/" : "", dir, name) : node(a, dev_dir, dir, name);
}

/* drivers/vfio/group.c: the group's node is named after the IOMMU group, "noiommu-42" where vfio made one up for want of an IOMMU. */
static void read_vfio(const struct sysroot *r, struct arena *a, struct allocate_vf *vf)
{
	const char *group, *name;

	if (sysfs_link(r, a, &group, "bus/pci/devices/%s/iommu_group", vf->pci) < 0)
		return;
	vf->vfio = "/dev/vfio/vfio";
	vf->vfio_group = vf->vfio_host = arena_printf(a, "/dev/vfio/%s", group);
	if (sysfs_read(r, a, &name, "kernel/iommu_groups/%s/name", group) == 0 && !strcmp(name, "vfio-noiommu"))
		vf->vfio_host = arena_printf(a, "/dev/vfio/noiommu-%s", group);
}

int allocate_read(const struct sysroot *r, struct arena *a, const char *dev_dir, const struct device_vf *of, bool vhost_net,
		  struct allocate_vf *ret, struct err *e)
{
	struct allocate_vf vf = { .pci = of->pci, .pf_pci = of->pf_pci };
	const char *pci = of->pci, *driver = NULL;

	if (!sysfs_exists(r, "bus/pci/devices/%s", pci))
		return err_set(e, -ENODEV, "%s is not on the PCI bus any more: run 'kvrail plan', then 'kvrail apply'", pci);
	pci_driver(r, a, pci, &driver);
	if (of->rdma)
		read_rdma(r, a, dev_dir, &vf);
	if (driver && !strcmp(driver, "vfio-pci"))
		read_vfio(r, a, &vf);
	if (vhost_net) {
		vf.vhost_net = misc_node(r, a, dev_dir, "", "vhost-net");
		vf.tun = misc_node(r, a, dev_dir, "net", "tun");
	}
	*ret = vf;
	return 0;
}

char *allocate_env_name(struct arena *a, const char *prefix, const char *name)
{
	char *s = arena_printf(a, "PCIDEVICE_%s_%s", prefix, name);

	for (char *p = s; *p; p++)
		*p = *p == '.' || *p == '/' ? '_' : (char)toupper((unsigned char)*p);
	return s;
}

char *allocate_env_ids(struct arena *a, const struct allocate_vf *vfs, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", vfs[i].pci);
	return arena_strdup(a, b.len ? b.s : "");
}

static int by_pci(const void *x, const void *y)
{
	const struct allocate_vf *const *a = x, *const *b = y;

	return strcmp((*a)->pci, (*b)->pci);
}

static void add(yyjson_mut_doc *d, yyjson_mut_val *v, const char *key, const char *text)
{
	if (text)
		yyjson_mut_obj_add_strcpy(d, v, key, text);
}

static void info(yyjson_mut_doc *d, yyjson_mut_val *all, const struct allocate_vf *vf)
{
	yyjson_mut_val *v = yyjson_mut_obj(d), *s;

	yyjson_mut_obj_add(all, yyjson_mut_strcpy(d, vf->pci), v);
	add(d, yyjson_mut_obj_add_obj(d, v, "generic"), "deviceID", vf->pci);
	if (vf->rdma) {
		s = yyjson_mut_obj_add_obj(d, v, "rdma");
		add(d, s, "issm", vf->issm);
		add(d, s, "rdma_cm", vf->rdma_cm);
		add(d, s, "rdma_dev", vf->rdma);
		add(d, s, "umad", vf->umad);
		add(d, s, "uverbs", vf->uverbs);
	}
	if (vf->vfio_group) {
		s = yyjson_mut_obj_add_obj(d, v, "vfio");
		add(d, s, "dev-mount", vf->vfio_group);
		add(d, s, "mount", vf->vfio);
	}
	if (vf->vhost_net || vf->tun) {
		s = yyjson_mut_obj_add_obj(d, v, "vhost");
		add(d, s, "net-mount", vf->vhost_net);
		add(d, s, "tun-mount", vf->tun);
	}
}

char *allocate_env_info(struct arena *a, const struct allocate_vf *vfs, size_t n)
{
	const struct allocate_vf **sorted = arena_alloc(a, n * sizeof(*sorted));
	yyjson_mut_doc *d = doc_new(a);
	yyjson_mut_val *all = yyjson_mut_obj(d);

	for (size_t i = 0; i < n; i++)
		sorted[i] = &vfs[i];
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_pci);
	for (size_t i = 0; i < n; i++)
		info(d, all, sorted[i]);
	return doc_mut_to_json(a, all, false);
}

static char *info_begin(struct arena *a, const char *prefix, const char *name)
{
	char *s = arena_printf(a, "%s/%s-", prefix, name);

	for (char *p = s; *p; p++)
		*p = *p == '/' ? '-' : *p;
	return s;
}

int allocate_write_info(const char *dir, const char *prefix, const char *name, const struct allocate_vf *vf, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *path = arena_printf(a, "%s/%s%s-device.json", dir, info_begin(a, prefix, name), vf->pci);
	yyjson_mut_doc *d = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(d), *pci;
	char *text;
	int r;

	yyjson_mut_obj_add_str(d, v, "type", "pci");
	yyjson_mut_obj_add_str(d, v, "version", "1.1.0");
	pci = yyjson_mut_obj_add_obj(d, v, "pci");
	add(d, pci, "pci-address", vf->pci);
	add(d, pci, "rdma-device", vf->rdma);
	add(d, pci, "pf-pci-address", vf->pf_pci);
	text = doc_mut_to_json(a, v, false);
	r = file_mkdirs_open(dir, 0755);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), INFO_MODE);
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

void allocate_clean_info(const char *dir, const char *prefix, const char *name, const char *const *keep, size_t n_keep)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_closedir_ DIR *d = opendir(dir);
	const char *begin = info_begin(a, prefix, name), *end = "-device.json";
	struct dirent *de;

	while (d && (de = readdir(d))) {
		size_t len = strlen(de->d_name), b = strlen(begin), t = strlen(end);
		struct pci_addr addr;
		const char *pci;
		bool kept = false;

		if (len <= b + t || strncmp(de->d_name, begin, b) || strcmp(de->d_name + len - t, end))
			continue;
		pci = arena_strndup(a, de->d_name + b, len - b - t);
		if (pci_parse(pci, &addr) < 0) /* another resource, whose name goes on */
			continue;
		for (size_t i = 0; i < n_keep; i++)
			kept |= !strcmp(keep[i], pci);
		if (!kept)
			unlinkat(dirfd(d), de->d_name, 0);
	}
}
