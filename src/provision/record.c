/* SPDX-License-Identifier: Apache-2.0 */
/* `kvrail inventory --record`: what inventory_read() reads, as a tree in a tar. */
#include <ctype.h>
#include <string.h>
#include <sys/random.h>

#include "base/strbuf.h"
#include "provision/device.h"
#include "provision/facts.h"
#include "provision/tar.h"

/* A value and the one that stands for it in the whole record. Drawn, not computed: there is no way back. */
struct masked {
	const char *from, *to;
};

struct recorder {
	const struct sysroot *r;
	struct arena *a;
	FILE *f;
	struct strbuf errors;
	bool mask;
	struct masked *masked;
	size_t n_masked;
};

/* ---- masking ---- */

static size_t count_digits(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += isxdigit((unsigned char)*text) != 0;
	return n;
}

/* Random hex digits from the digit after @keep on; what separates them stays, and all zero stays all zero. */
static const char *mask_digits(struct recorder *c, const char *text, size_t keep)
{
	struct masked *m;
	size_t digit = 0;
	char *to;

	if (!c->mask || text[strspn(text, "0:")] == '\0')
		return text;
	for (size_t i = 0; i < c->n_masked; i++)
		if (strcmp(c->masked[i].from, text) == 0)
			return c->masked[i].to;
	to = arena_strdup(c->a, text);
	for (char *s = to; *s; s++) {
		unsigned char byte = 0;

		if (!isxdigit((unsigned char)*s) || digit++ < keep)
			continue;
		if (getrandom(&byte, 1, 0) != 1)
			abort();
		*s = "0123456789abcdef"[byte & 15];
	}
	m = arena_push(c->a, &c->masked, &c->n_masked, sizeof(*m));
	*m = (struct masked){ text, to };
	return to;
}

/* MAC and GUID keep their maker's part; of an IPoIB address the last five bytes are the port's own. */
static const char *mask_address(struct recorder *c, const char *text)
{
	return mask_digits(c, text, count_digits(text) > 16 ? count_digits(text) - 10 : 6);
}

/* Names that hold an address: enx0011.., rocex0011.. (udev's last resort). */
static const char *mask_name(struct recorder *c, const char *name)
{
	const char *x = strrchr(name, 'x');
	size_t n = x ? strlen(x + 1) : 0;

	if (!c->mask || (n != 12 && n != 16) || strspn(x + 1, "0123456789abcdef") != n)
		return name;
	return arena_printf(c->a, "%.*s%s", (int)(x + 1 - name), name, mask_digits(c, x + 1, 6));
}

/* A path with such names in it. */
static const char *mask_path(struct recorder *c, const char *path)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (!c->mask)
		return path;
	while (*path) {
		size_t n = strcspn(path, "/");

		strbuf_addstr(&out, mask_name(c, arena_strndup(c->a, path, n)));
		path += n;
		if (*path == '/')
			strbuf_addch(&out, *path++);
	}
	return arena_strdup(c->a, out.s ? out.s : "");
}

static const char *mask_attr(struct recorder *c, const char *name, const char *text)
{
	if (strcmp(name, "address") == 0 || strcmp(name, "phys_port_id") == 0 || strcmp(name, "node_guid") == 0 ||
	    strcmp(name, "sys_image_guid") == 0)
		return mask_address(c, text);
	return strcmp(name, "phys_switch_id") == 0 ? mask_digits(c, text, 0) : text;
}

/* ---- entries ---- */

/* As an "errors" file names it; what that file has no name for is EIO. */
static const char *error_name(int code)
{
	static const int known[] = { EPERM, ENXIO, EAGAIN, ENOMEM, EACCES, EBUSY, ENODEV,
				     EINVAL, ENOSPC, ERANGE, ENOSYS, ENODATA, EOPNOTSUPP, ETIMEDOUT };

	if (code == 524) /* ENOTSUPP, which drivers let slip out of the kernel */
		return "EOPNOTSUPP";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] == code)
			return strerrorname_np(code);
	return "EIO";
}

static void record_text(struct recorder *c, const char *path, const char *text)
{
	const char *line = arena_printf(c->a, "%s\n", text);

	tar_file(c->f, mask_path(c, path), line, strlen(line));
}

static void record_attr(struct recorder *c, const char *folder, const char *name)
{
	const char *path = arena_printf(c->a, "sys/%s/%s", folder, name), *text, *base = strrchr(path, '/') + 1;
	int x = sysfs_read(c->r, c->a, &text, "%s/%s", folder, name);

	if (x == -ENOENT || x == -ENOTDIR)
		return;
	if (x < 0) {
		tar_file(c->f, mask_path(c, path), "", 0);
		strbuf_addf(&c->errors, "%s %s\n", mask_path(c, path), error_name(-x));
		return;
	}
	record_text(c, path, mask_attr(c, base, text));
}

static void record_attrs(struct recorder *c, const char *folder, const char *const *names)
{
	for (; *names; names++)
		record_attr(c, folder, *names);
}

/* "sys/bus/pci/devices/X" to "sys/devices/..": as many ".." as the link has folders above it, below sys/. */
static void record_link(struct recorder *c, const char *from, const char *to)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT;

	for (const char *s = from; (s = strchr(s, '/')); s++)
		strbuf_addstr(&target, "../");
	strbuf_addstr(&target, to);
	tar_link(c->f, mask_path(c, arena_printf(c->a, "sys/%s", from)), mask_path(c, target.s));
}

/* The link @name of a device, when there is one; also one that leads nowhere, by its last component. */
static bool record_link_of(struct recorder *c, const char *folder, const char *name)
{
	const char *to, *from = arena_printf(c->a, "%s/%s", folder, name);

	if (sysfs_link(c->r, c->a, &to, "%s", from) < 0)
		return false;
	if (strncmp(name, "virtfn", 6) == 0 || strcmp(name, "physfn") == 0)
		to = arena_printf(c->a, DEVICES "/%s", to);
	else
		to = arena_printf(c->a, "bus/pci/drivers/%s", to);
	record_link(c, from, to);
	return true;
}

/* ---- devices ---- */

static const char *const device_attrs[] = {
	"uevent", "class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "numa_node",
	"local_cpulist", "current_link_speed", "current_link_width", "max_link_speed", "max_link_width", "reset_method",
	"sriov_totalvfs", "sriov_numvfs", "sriov_offset", "sriov_stride", "sriov_vf_device", "sriov_drivers_autoprobe",
	"sriov_vf_total_msix", NULL,
};

static const char *const netdev_attrs[] = {
	"address", "mtu", "type", "flags", "operstate", "carrier", "speed", "duplex", "dev_port", "dev_id", "ifindex",
	"phys_port_name", "phys_port_id", "phys_switch_id", NULL,
};

static const char *const rdma_attrs[] = {
	"node_guid", "sys_image_guid", "node_type", "fw_ver", "hca_type", "board_id", "ports/1/state", "ports/1/phys_state",
	"ports/1/rate", "ports/1/link_layer", NULL,
};

/* The folder @sub of a device ("net", "infiniband"), empty or not, and the links to its entries in class/. */
static void record_children(struct recorder *c, const char *device, const char *sub, const char *class,
			    const char *const *attrs)
{
	const char *folder = arena_printf(c->a, "%s/%s", device, sub), **names;
	size_t n;

	if (sysfs_list(c->r, c->a, &names, &n, "%s", folder) < 0)
		return;
	tar_folder(c->f, mask_path(c, arena_printf(c->a, "sys/%s/", folder)));
	for (size_t i = 0; i < n; i++) {
		const char *child = arena_printf(c->a, "%s/%s", folder, names[i]);

		record_attrs(c, child, attrs);
		record_link(c, arena_printf(c->a, "class/%s/%s", class, names[i]), child);
	}
}

static void record_device(struct recorder *c, const char *pci)
{
	struct device dev = { 0 };
	const char *path, **names;
	size_t n;

	device_read(c->r, c->a, pci, &dev);
	if (dev.kind == DEVICE_OTHER || sysfs_realpath(c->r, c->a, &path, DEVICES "/%s", pci) < 0)
		return;
	record_link(c, arena_printf(c->a, DEVICES "/%s", pci), path);
	record_attrs(c, path, device_attrs);
	record_link_of(c, path, "driver");
	record_link_of(c, path, "physfn");
	for (unsigned i = 0; record_link_of(c, path, arena_printf(c->a, "virtfn%u", i)); i++)
		;
	record_children(c, path, "net", "net", netdev_attrs);
	record_children(c, path, "infiniband", "infiniband", rdma_attrs);
	if (sysfs_list(c->r, c->a, &names, &n, "%s", path) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (strncmp(names[i], "virtio", 6) == 0)
			record_children(c, path, arena_printf(c->a, "%s/net", names[i]), "net", netdev_attrs);
}

static void record_machine(struct recorder *c, const struct inventory *inv)
{
	if (inv->hostname)
		record_text(c, "proc/sys/kernel/hostname", c->mask ? "masked" : inv->hostname);
	if (inv->kernel)
		record_text(c, "proc/sys/kernel/osrelease", inv->kernel);
	tar_folder(c->f, "sys/" DEVICES "/");
	if (inv->iommu)
		tar_folder(c->f, "sys/kernel/iommu_groups/0/");
}

/* What netlink tells is in the inventory; here its names and addresses are masked in place. */
static void record_facts(struct recorder *c, struct inventory *inv)
{
	const char *text;

	for (size_t i = 0; i < inv->n_pfs; i++) {
		struct inventory_pf *pf = &inv->pfs[i];

		if (pf->netdev)
			pf->netdev = mask_name(c, pf->netdev);
		for (size_t k = 0; k < pf->n_alt_names; k++)
			pf->alt_names[k] = mask_name(c, pf->alt_names[k]);
		for (size_t k = 0; k < pf->n_vfs; k++)
			if (pf->vfs[k].admin_mac)
				pf->vfs[k].admin_mac = mask_address(c, pf->vfs[k].admin_mac);
	}
	text = doc_mut_to_json(c->a, facts_json(inv, doc_new(c->a)), true);
	tar_file(c->f, FACTS_FILE, text, strlen(text));
}

static int record(struct recorder *c, struct inventory *inv, struct err *e)
{
	const char **names;
	size_t n;
	int x = sysfs_list(c->r, c->a, &names, &n, DEVICES);

	if (x < 0 && x != -ENOENT)
		return err_errno(e, x, "cannot list the PCI devices (sys/" DEVICES ")");
	record_machine(c, inv);
	for (size_t i = 0; x == 0 && i < n; i++)
		record_device(c, names[i]);
	record_facts(c, inv);
	tar_file(c->f, "errors", c->errors.s ? c->errors.s : "", c->errors.len);
	tar_end(c->f);
	return 0;
}

int inventory_record(const struct sysroot *r, const char *path, bool mask, struct err *e)
{
	struct recorder c = { .r = r, .errors = STRBUF_INIT, .mask = mask };
	struct inventory *inv;
	int x = inventory_read(r, &inv, e);
	bool bad;

	if (x < 0)
		return x;
	c.f = fopen(path, "we");
	if (!c.f) {
		x = err_errno(e, -errno, "%s", path);
		inventory_free(inv);
		return x;
	}
	c.a = arena_new();
	x = record(&c, inv, e);
	bad = ferror(c.f);
	if ((fclose(c.f) != 0 || bad) && x == 0)
		x = err_errno(e, errno ? -errno : -EIO, "%s", path);
	if (x < 0)
		unlink(path);
	strbuf_free(&c.errors);
	arena_free(c.a);
	inventory_free(inv);
	return x;
}
