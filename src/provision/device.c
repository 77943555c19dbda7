/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <limits.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <string.h>

#include "base/parse.h"
#include "provision/device.h"
#include "provision/models.h"

#define CLASS_ETHERNET 0x0200
#define CLASS_INFINIBAND 0x0207
#define CLASS_OTHER 0x0280 /* a ConnectX-3 InfiniBand port, and every Wi-Fi card */

#define VFS_MAX 65535 /* NumVFs is a u16 in the SR-IOV capability */

struct reader {
	const struct sysroot *r; /* of this function's folder */
	struct arena *a;
	const char *pci;
};

/* What a broken tree says goes to terminals and into JSON: only printable ASCII. */
static const char *printable(struct arena *a, const char *text)
{
	char *clean;

	for (const char *s = text;; s++)
		if (!*s)
			return text;
		else if (!isprint((unsigned char)*s))
			break;
	clean = arena_strdup(a, text);
	for (char *s = clean; *s; s++)
		if (!isprint((unsigned char)*s))
			*s = '?';
	return clean;
}

/* The attribute or NULL; a missing and an unreadable one are alike where the caller can do without. */
static const char *read_attr(const struct reader *d, const char *name)
{
	const char *text;

	if (sysfs_read(d->r, d->a, &text, "%s", name) < 0 || !*text)
		return NULL;
	return printable(d->a, text);
}

static int64_t read_int(const struct reader *d, const char *name, int64_t min, int64_t max, int64_t dflt)
{
	const char *text = read_attr(d, name);
	int64_t v;

	return text && parse_i64(text, 10, min, max, &v) == 0 ? v : dflt;
}

static void list(const struct reader *d, const char *folder, const char ***names, size_t *n)
{
	*names = NULL;
	*n = 0;
	if (sysfs_list(d->r, d->a, names, n, "%s", *folder ? folder : ".") < 0)
		*n = 0;
}

static void problem(struct reader *d, struct inventory_pf *pf, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The first problem stays: the others often follow from it. */
static void problem(struct reader *d, struct inventory_pf *pf, const char *fmt, ...)
{
	va_list ap;

	if (pf->problem)
		return;
	va_start(ap, fmt);
	pf->problem = printable(d->a, arena_vprintf(d->a, fmt, ap));
	va_end(ap);
}

/* A number that must be right when it is there; false when it is not there. */
static bool read_number(struct reader *d, struct inventory_pf *pf, const char *name, int64_t max, int64_t *ret)
{
	const char *text;
	int x = sysfs_read(d->r, d->a, &text, "%s", name);

	if (x == -ENOENT)
		return false;
	if (x < 0)
		problem(d, pf, "%s cannot be read: %s", name, strerror(-x));
	else if (parse_i64(text, 10, 0, max, ret) < 0)
		problem(d, pf, "%s says \"%.40s\", which is no number from 0 to %lld", name, text, (long long)max);
	else
		return true;
	return true;
}

/* ---- what it is ---- */

struct ids {
	const char *vendor, *device, *driver;
	uint64_t class; /* base and sub class */
};

static char *lower(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_strndup(a, s, n);

	for (char *c = copy; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return copy;
}

/* The value of KEY= in a uevent file, up to the end of its line. */
static const char *uevent_value(struct arena *a, const char *uevent, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = uevent; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, key, n) == 0 && line[n] == '=')
			return arena_strndup(a, line + n + 1, strcspn(line + n + 1, "\n"));
	return NULL;
}

/* One file says it all: drivers/pci/pci-driver.c, pci_uevent(). */
static bool ids_from_uevent(const struct reader *d, struct ids *ret)
{
	const char *text, *class, *id, *colon;

	if (sysfs_read(d->r, d->a, &text, "uevent") < 0)
		return false;
	class = uevent_value(d->a, text, "PCI_CLASS");
	id = uevent_value(d->a, text, "PCI_ID");
	colon = id ? strchr(id, ':') : NULL;
	if (!class || !colon || parse_u64(class, 16, 0, 0xffffff, &ret->class) < 0)
		return false;
	ret->class >>= 8;
	ret->vendor = lower(d->a, id, (size_t)(colon - id));
	ret->device = lower(d->a, colon + 1, strlen(colon + 1));
	ret->driver = uevent_value(d->a, text, "DRIVER");
	return true;
}

static const char *read_hex_id(const struct reader *d, const char *name)
{
	const char *text = read_attr(d, name);

	return text ? lower(d->a, strncmp(text, "0x", 2) == 0 ? text + 2 : text, strlen(text)) : NULL;
}

static void ids_from_files(const struct reader *d, struct ids *ret)
{
	const char *class = read_attr(d, "class");

	if (!class || parse_u64(class, 16, 0, 0xffffff, &ret->class) < 0)
		ret->class = 0;
	ret->class >>= 8;
	ret->vendor = read_hex_id(d, "vendor");
	ret->device = read_hex_id(d, "device");
	if (sysfs_link(d->r, d->a, &ret->driver, "driver") < 0)
		ret->driver = NULL;
}

static bool is_network_port(const struct reader *d, const struct ids *ids)
{
	if (ids->class == CLASS_OTHER)
		return !sysfs_exists(d->r, "ieee80211");
	return ids->class == CLASS_ETHERNET || ids->class == CLASS_INFINIBAND;
}

/* ---- a VF ---- */

/*
 * Its network device and RDMA device, if they are in this namespace. Numbers that make no sense are left out: a VF has no
 * problem of its own that would keep its port from being used.
 */
static void read_vf(const struct reader *d, const struct ids *ids, struct inventory_vf *vf)
{
	const char **names;
	size_t n;

	vf->pci = d->pci;
	vf->vendor = ids->vendor;
	vf->device = ids->device;
	vf->driver = ids->driver;
	if (!vf->driver)
		return;
	list(d, "net", &names, &n);
	if (n) {
		vf->netdev = printable(d->a, names[0]);
		vf->mac = read_attr(d, arena_printf(d->a, "net/%s/address", names[0]));
		vf->mtu = read_int(d, arena_printf(d->a, "net/%s/mtu", names[0]), 0, INT_MAX, 0);
	}
	list(d, "infiniband", &names, &n);
	if (n) {
		vf->rdma = printable(d->a, names[0]);
		vf->node_guid = read_attr(d, arena_printf(d->a, "infiniband/%s/node_guid", names[0]));
	}
}

/* ---- a PF ---- */

bool device_is_representor(const char *name, int *ret_vf)
{
	int end = 0;
	unsigned vf;

	*ret_vf = -1;
	if (name[0] == 'c' && isdigit((unsigned char)name[1])) /* the controller, on a DPU */
		name += 1 + strspn(name + 1, "0123456789");
	if (strncmp(name, "pf", 2) != 0 || !isdigit((unsigned char)name[2]))
		return false;
	name += 2 + strspn(name + 2, "0123456789");
	if (sscanf(name, "vf%5u%n", &vf, &end) == 1 && name[end] == '\0')
		*ret_vf = (int)vf;
	return true;
}

/*
 * The PF's own network device among those under it: in switchdev mode the representors of its VFs stand beside it, and a
 * function with two ports has two. Never the first entry: the one with the lowest dev_port that represents nobody.
 */
static const char *choose_netdev(const struct reader *d, struct device *dev)
{
	const char **names, *chosen = NULL;
	int64_t port, lowest = 0;
	size_t n;

	list(d, "net", &names, &n);
	for (size_t i = 0; i < n; i++) {
		const char *name = n == 1 ? NULL : read_attr(d, arena_printf(d->a, "net/%s/phys_port_name", names[i]));
		int vf;

		if (name && device_is_representor(name, &vf)) {
			while (vf >= 0 && vf < VFS_MAX && dev->n_representors <= (size_t)vf)
				arena_push(d->a, &dev->representors, &dev->n_representors, sizeof(char *));
			if (vf >= 0 && vf < VFS_MAX)
				dev->representors[vf] = printable(d->a, names[i]);
			continue;
		}
		port = n == 1 ? 0 : read_int(d, arena_printf(d->a, "net/%s/dev_port", names[i]), 0, INT_MAX, 0);
		if (!chosen || port < lowest) {
			chosen = names[i];
			lowest = port;
		}
	}
	return chosen;
}

/* A virtio function's network device hangs under its virtio device. */
static const char *virtio_netdev(const struct reader *d, const char **folder)
{
	const char **children, **names;
	size_t n, n_names;

	list(d, "", &children, &n);
	for (size_t i = 0; i < n; i++) {
		if (strncmp(children[i], "virtio", 6) != 0)
			continue;
		*folder = arena_printf(d->a, "%s/net", children[i]);
		list(d, *folder, &names, &n_names);
		return n_names ? names[0] : NULL;
	}
	return NULL;
}

static void read_netdev(struct reader *d, struct inventory_pf *pf, const char *folder, const char *netdev)
{
	const char *at = arena_printf(d->a, "%s/%s", folder, netdev);
	const char *flags = read_attr(d, arena_printf(d->a, "%s/flags", at));
	uint64_t bits;

	pf->netdev = printable(d->a, netdev);
	pf->mac = read_attr(d, arena_printf(d->a, "%s/address", at));
	pf->operstate = read_attr(d, arena_printf(d->a, "%s/operstate", at));
	pf->phys_port_name = read_attr(d, arena_printf(d->a, "%s/phys_port_name", at));
	pf->phys_switch_id = read_attr(d, arena_printf(d->a, "%s/phys_switch_id", at));
	pf->admin_up = flags && parse_u64(flags, 16, 0, UINT32_MAX, &bits) == 0 && (bits & IFF_UP);
	/* both fail with EINVAL while the port is down, and old kernels say 4294967295 for no speed */
	pf->carrier = read_int(d, arena_printf(d->a, "%s/carrier", at), 0, 1, 0);
	pf->speed = read_int(d, arena_printf(d->a, "%s/speed", at), -1, INT_MAX, -1);
	pf->link_layer = read_int(d, arena_printf(d->a, "%s/type", at), 0, UINT16_MAX, ARPHRD_ETHER) ==
			 ARPHRD_INFINIBAND ? "infiniband" : "ether";
	if (!read_number(d, pf, arena_printf(d->a, "%s/mtu", at), INT_MAX, &pf->mtu))
		problem(d, pf, "%s/mtu is missing", at);
}

static void read_rdma(const struct reader *d, struct inventory_pf *pf, uint64_t class)
{
	const char **names, *layer;
	size_t n;

	list(d, "infiniband", &names, &n);
	if (n) {
		/* the first: mlx5_0 stands before mlx5_0_dma and smi1, which are not for traffic */
		pf->rdma = printable(d->a, names[0]);
		pf->fw = read_attr(d, arena_printf(d->a, "infiniband/%s/fw_ver", names[0]));
	}
	if (pf->link_layer)
		return;
	layer = n ? read_attr(d, arena_printf(d->a, "infiniband/%s/ports/1/link_layer", names[0])) : NULL;
	pf->link_layer = layer ? (strcmp(layer, "InfiniBand") == 0 ? "infiniband" : "ether")
			       : (class == CLASS_INFINIBAND ? "infiniband" : "ether");
}

static void read_virtfns(struct reader *d, struct device *dev)
{
	struct inventory_pf *pf = &dev->pf;

	for (unsigned n = 0; n < VFS_MAX; n++) {
		const char *pci;
		int x = sysfs_link(d->r, d->a, &pci, "virtfn%u", n);

		if (x == -ENOENT)
			break;
		if (x < 0) {
			problem(d, pf, "virtfn%u cannot be read: %s", n, strerror(-x));
			break;
		}
		*(const char **)arena_push(d->a, &dev->vf_addresses, &dev->n_vf_addresses, sizeof(pci)) = pci;
	}
	/* while VFs are being made there are links and no number yet: num_VFs is set last (drivers/pci/iov.c) */
	if ((int64_t)dev->n_vf_addresses < pf->num_vfs)
		problem(d, pf, "sriov_numvfs says %lld, and there are %zu VFs (virtfn links)", (long long)pf->num_vfs,
			dev->n_vf_addresses);
}

static void read_sriov(struct reader *d, struct device *dev)
{
	struct inventory_pf *pf = &dev->pf;
	int64_t v;

	pf->sriov = read_number(d, pf, "sriov_totalvfs", VFS_MAX, &pf->total_vfs);
	if (!pf->sriov)
		return;
	if (!read_number(d, pf, "sriov_numvfs", VFS_MAX, &pf->num_vfs))
		problem(d, pf, "sriov_numvfs is missing");
	if (pf->num_vfs > pf->total_vfs)
		problem(d, pf, "sriov_numvfs says %lld, above sriov_totalvfs %lld", (long long)pf->num_vfs,
			(long long)pf->total_vfs);
	pf->vf_offset = (unsigned)read_int(d, "sriov_offset", 0, VFS_MAX, 0);
	pf->vf_stride = (unsigned)read_int(d, "sriov_stride", 0, VFS_MAX, 0);
	pf->vf_device = read_attr(d, "sriov_vf_device");
	v = read_int(d, "sriov_drivers_autoprobe", 0, 1, -1);
	pf->has_autoprobe = v >= 0;
	pf->autoprobe = v == 1;
	read_virtfns(d, dev);
}

static void read_pf(struct reader *d, const struct ids *ids, struct device *dev)
{
	struct inventory_pf *pf = &dev->pf;
	const struct model *model;
	const char *folder = "net", *netdev;

	pf->pci = d->pci;
	pf->vendor = ids->vendor ? ids->vendor : "";
	pf->device = ids->device ? ids->device : "";
	pf->driver = ids->driver;
	pf->speed = -1;
	pf->numa = (int)read_int(d, "numa_node", -1, INT_MAX, -1);
	if (!ids->vendor || !ids->device)
		problem(d, pf, "%s cannot be read", ids->vendor ? "device" : "vendor");
	model = model_find(pf->vendor, pf->device);
	pf->model = model ? model->name : NULL;
	pf->is_vf = model && model->vf;
	read_sriov(d, dev);
	netdev = choose_netdev(d, dev);
	if (!netdev && pf->driver && strcmp(pf->driver, "virtio-pci") == 0)
		netdev = virtio_netdev(d, &folder);
	if (netdev)
		read_netdev(d, pf, folder, netdev);
	read_rdma(d, pf, ids->class);
}

static void read_function(struct reader *d, struct device *ret)
{
	struct ids ids = { 0 };
	const char *physfn;

	if (!ids_from_uevent(d, &ids))
		ids_from_files(d, &ids);
	if (!is_network_port(d, &ids))
		return;
	if (sysfs_link(d->r, d->a, &physfn, "physfn") == 0) {
		ret->kind = DEVICE_VF;
		read_vf(d, &ids, &ret->vf);
	} else {
		ret->kind = DEVICE_PF;
		read_pf(d, &ids, ret);
	}
}

void device_read(const struct sysroot *r, struct arena *a, const char *pci, struct device *ret)
{
	struct sysroot *folder;
	struct reader d = { .a = a, .pci = pci };

	if (sysroot_open_folder(r, a, &folder, DEVICES "/%s", pci) < 0)
		return; /* gone meanwhile */
	d.r = folder;
	read_function(&d, ret);
	sysroot_close(folder);
}
