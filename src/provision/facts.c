/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "linux/devlink.h"
#include "linux/rdma.h"
#include "linux/rtnl.h"
#include "provision/facts.h"

#define FACTS_MAX (4u << 20)

static struct inventory_pf *pf_by_netdev(struct inventory *inv, const char *netdev)
{
	for (size_t i = 0; i < inv->n_pfs; i++)
		if (inv->pfs[i].netdev && strcmp(inv->pfs[i].netdev, netdev) == 0)
			return &inv->pfs[i];
	return NULL;
}

static const char *mac_text(struct arena *a, const unsigned char m[6])
{
	return arena_printf(a, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void set_admin_mac(struct inventory_vf *vf, const char *mac)
{
	vf->admin_mac = mac;
	if (!vf->mac && mac[strspn(mac, "0:")] != '\0')
		vf->mac = mac;
}

/* ---- the kernel ---- */

static void read_vf_settings(struct inventory *inv, struct nl *nl, struct inventory_pf *pf, unsigned index)
{
	struct rtnl_vf *vfs;
	size_t n;

	if (pf->n_vfs == 0 || rtnl_vfs(nl, inv->arena, index, &vfs, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < pf->n_vfs; i++) {
		const struct rtnl_vf *vf = rtnl_vf_of(vfs, n, pf->vfs[i].index);

		if (vf)
			set_admin_mac(&pf->vfs[i], mac_text(inv->arena, vf->mac));
	}
}

/* Any port below the device that carries the default route carries it: bond, bridge, VLAN. */
static void mark_default_route(const struct sysroot *r, struct inventory *inv, const char *netdev, int depth)
{
	struct inventory_pf *pf = pf_by_netdev(inv, netdev);
	const char **names;
	size_t n;

	if (pf)
		pf->default_route = true;
	if (depth == 0 || sysfs_list(r, inv->arena, &names, &n, "class/net/%s", netdev) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (strncmp(names[i], "lower_", 6) == 0)
			mark_default_route(r, inv, names[i] + 6, depth - 1);
}

static const char *perm_mac(struct arena *a, const struct rtnl_link *link)
{
	static const unsigned char none[sizeof(link->perm_mac)];

	return memcmp(link->perm_mac, none, sizeof(none)) ? mac_text(a, link->perm_mac) : NULL;
}

static void ask_rtnl(const struct sysroot *r, struct inventory *inv)
{
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link *links;
	unsigned default_route = 0;
	struct err e;
	size_t n;

	if (rtnl_open(&nl, &e) < 0 || rtnl_links(nl, inv->arena, &links, &n, &e) < 0) {
		inventory_warn(inv, e.msg);
		return;
	}
	if (rtnl_default_route(nl, &default_route, &e) < 0)
		inventory_warn(inv, e.msg);
	for (size_t i = 0; i < n; i++) {
		struct inventory_pf *pf = pf_by_netdev(inv, links[i].name);

		if (default_route && links[i].index == default_route)
			mark_default_route(r, inv, links[i].name, 4);
		if (!pf)
			continue;
		pf->alt_names = links[i].alt_names;
		pf->n_alt_names = links[i].n_alt_names;
		pf->max_mtu = links[i].max_mtu;
		pf->perm_mac = perm_mac(inv->arena, &links[i]);
		read_vf_settings(inv, nl, pf, links[i].index);
	}
}

static void ask_devlink(struct inventory *inv)
{
	struct devlink *d = NULL;
	bool refused = false;
	struct err e;
	int x = devlink_open(&d, &e);

	if (x < 0) {
		if (x != -ENOENT) /* a kernel without devlink has nothing to tell */
			inventory_warn(inv, e.msg);
		return;
	}
	for (size_t i = 0; i < inv->n_pfs; i++) {
		struct inventory_pf *pf = &inv->pfs[i];
		struct devlink_info info = { 0 };

		if (devlink_info(d, inv->arena, pf->pci, &info, NULL) == 0 && info.fw_version)
			pf->fw = info.fw_version;
		x = devlink_eswitch_get(d, inv->arena, pf->pci, &pf->eswitch, NULL);
		if (x < 0)
			pf->eswitch = NULL;
		refused |= x == -EPERM || x == -EACCES;
	}
	devlink_close(d);
	if (refused)
		inventory_warn(inv, "the e-switch mode of ports is shown to root only");
}

static void ask_rdma(struct inventory *inv)
{
	_cleanup_nl_ struct nl *nl = NULL;
	bool exclusive;

	/* no ib_core: there is no mode */
	if (rdma_open(&nl, NULL) == 0 && rdma_get_exclusive(nl, &exclusive, NULL) == 0)
		inv->rdma_mode = exclusive ? "exclusive" : "shared";
}

/* ---- the file of a tree ---- */

static void load_link(struct inventory *inv, struct inventory_pf *pf, yyjson_val *link)
{
	yyjson_val *names = yyjson_obj_get(link, "altNames"), *vfs = yyjson_obj_get(link, "vfs"), *v;
	int64_t max_mtu = doc_int(link, "maxMtu", 0);
	size_t i, max;

	if (max_mtu > 0 && max_mtu <= INT_MAX)
		pf->max_mtu = max_mtu;
	pf->default_route = doc_bool(link, "defaultRoute", false);
	yyjson_arr_foreach(names, i, max, v)
		if (yyjson_is_str(v))
			*(const char **)arena_push(inv->arena, &pf->alt_names, &pf->n_alt_names,
						   sizeof(*pf->alt_names)) = yyjson_get_str(v);
	yyjson_arr_foreach(vfs, i, max, v) {
		int64_t index = doc_int(v, "vf", -1);
		const char *mac = doc_str(v, "mac");

		if (index >= 0 && (size_t)index < pf->n_vfs && mac)
			set_admin_mac(&pf->vfs[index], mac);
	}
}

static void load_file(const struct sysroot *r, struct inventory *inv)
{
	_cleanup_free_ char *text = NULL;
	yyjson_val *root, *rdma;
	struct err e;
	size_t len;
	int x = file_read(sysroot_fd(r), "../" FACTS_FILE, FACTS_MAX, &text, &len);

	if (x == -ENOENT) {
		inventory_warn(inv, "the tree has no " FACTS_FILE ": firmware, e-switch mode, other names and largest MTU of "
				    "ports are not known");
		return;
	}
	if (x < 0)
		err_errno(&e, x, "%s", FACTS_FILE);
	else
		x = doc_parse_json(inv->arena, FACTS_FILE, text, len, FACTS_MAX, &root, &e);
	if (x < 0) {
		inventory_warn(inv, e.msg);
		return;
	}
	rdma = yyjson_obj_get(root, "rdma");
	inv->rdma_mode = doc_str(rdma, "netns");
	for (size_t i = 0; i < inv->n_pfs; i++) {
		struct inventory_pf *pf = &inv->pfs[i];
		yyjson_val *dev = yyjson_obj_get(yyjson_obj_get(root, "devlink"), pf->pci);
		const char *fw = doc_str(dev, "fw");

		pf->fw = fw ? fw : pf->fw;
		pf->eswitch = doc_str(dev, "eSwitchMode");
		if (pf->netdev)
			load_link(inv, pf, yyjson_obj_get(yyjson_obj_get(root, "links"), pf->netdev));
	}
}

void facts_add(const struct sysroot *r, struct inventory *inv)
{
	if (!sysroot_is_live(r)) {
		load_file(r, inv);
		return;
	}
	ask_rtnl(r, inv);
	ask_devlink(inv);
	ask_rdma(inv);
}

/* ---- and back ---- */

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_strcpy(doc, obj, key, value);
}

static yyjson_mut_val *link_json(const struct inventory_pf *pf, yyjson_mut_doc *doc)
{
	yyjson_mut_val *link = yyjson_mut_obj(doc), *list;

	list = yyjson_mut_obj_add_arr(doc, link, "altNames");
	for (size_t i = 0; i < pf->n_alt_names; i++)
		yyjson_mut_arr_add_strcpy(doc, list, pf->alt_names[i]);
	if (pf->max_mtu)
		yyjson_mut_obj_add_sint(doc, link, "maxMtu", pf->max_mtu);
	if (pf->default_route)
		yyjson_mut_obj_add_bool(doc, link, "defaultRoute", true);
	list = yyjson_mut_obj_add_arr(doc, link, "vfs");
	for (size_t i = 0; i < pf->n_vfs; i++) {
		yyjson_mut_val *vf;

		if (!pf->vfs[i].admin_mac)
			continue;
		vf = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_uint(doc, vf, "vf", pf->vfs[i].index);
		add_str(doc, vf, "mac", pf->vfs[i].admin_mac);
	}
	return link;
}

yyjson_mut_val *facts_json(const struct inventory *inv, yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc), *links, *devices;

	if (inv->rdma_mode)
		add_str(doc, yyjson_mut_obj_add_obj(doc, root, "rdma"), "netns", inv->rdma_mode);
	links = yyjson_mut_obj_add_obj(doc, root, "links");
	devices = yyjson_mut_obj_add_obj(doc, root, "devlink");
	for (size_t i = 0; i < inv->n_pfs; i++) {
		const struct inventory_pf *pf = &inv->pfs[i];
		yyjson_mut_val *dev;

		if (pf->netdev)
			yyjson_mut_obj_add(links, yyjson_mut_strcpy(doc, pf->netdev), link_json(pf, doc));
		if (!pf->fw && !pf->eswitch)
			continue;
		dev = yyjson_mut_obj(doc);
		add_str(doc, dev, "fw", pf->fw);
		add_str(doc, dev, "eSwitchMode", pf->eswitch);
		yyjson_mut_obj_add(devices, yyjson_mut_strcpy(doc, pf->pci), dev);
	}
	return root;
}
