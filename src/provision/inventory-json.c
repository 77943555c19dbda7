/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory as kvrail prints it, and as the operator's config daemon would report it. */
#include <string.h>
#include <strings.h>

#include "codec/doc.h"
#include "provision/inventory.h"

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_strcpy(doc, obj, key, value);
}

/* 0: not known, left out. */
static void add_positive(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, int64_t v)
{
	if (v > 0)
		yyjson_mut_obj_add_sint(doc, obj, key, v);
}

static yyjson_mut_val *vf_json(const struct inventory_vf *vf, yyjson_mut_doc *doc)
{
	yyjson_mut_val *obj = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_uint(doc, obj, "vf", vf->index);
	add_str(doc, obj, "pciAddress", vf->pci);
	add_str(doc, obj, "vendor", vf->vendor);
	add_str(doc, obj, "device", vf->device);
	add_str(doc, obj, "driver", vf->driver);
	add_str(doc, obj, "netdev", vf->netdev);
	add_str(doc, obj, "representor", vf->representor);
	add_str(doc, obj, "mac", vf->mac);
	add_str(doc, obj, "adminMac", vf->admin_mac);
	add_positive(doc, obj, "mtu", vf->mtu);
	add_str(doc, obj, "rdma", vf->rdma);
	add_str(doc, obj, "nodeGuid", vf->node_guid);
	yyjson_mut_obj_add_int(doc, obj, "numa", vf->numa);
	return obj;
}

static void add_sriov(const struct inventory_pf *pf, yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	yyjson_mut_val *vfs;

	yyjson_mut_obj_add_bool(doc, obj, "sriov", pf->sriov);
	yyjson_mut_obj_add_sint(doc, obj, "totalVfs", pf->total_vfs);
	yyjson_mut_obj_add_sint(doc, obj, "numVfs", pf->num_vfs);
	if (pf->sriov) {
		yyjson_mut_obj_add_uint(doc, obj, "vfOffset", pf->vf_offset);
		yyjson_mut_obj_add_uint(doc, obj, "vfStride", pf->vf_stride);
		add_str(doc, obj, "vfDevice", pf->vf_device);
	}
	if (pf->has_autoprobe)
		yyjson_mut_obj_add_bool(doc, obj, "autoprobe", pf->autoprobe);
	add_str(doc, obj, "eSwitchMode", pf->eswitch);
	vfs = yyjson_mut_obj_add_arr(doc, obj, "vfs");
	for (size_t i = 0; i < pf->n_vfs; i++)
		yyjson_mut_arr_append(vfs, vf_json(&pf->vfs[i], doc));
}

static yyjson_mut_val *pf_json(const struct inventory_pf *pf, yyjson_mut_doc *doc)
{
	yyjson_mut_val *obj = yyjson_mut_obj(doc), *names;

	add_str(doc, obj, "pciAddress", pf->pci);
	add_str(doc, obj, "vendor", pf->vendor);
	add_str(doc, obj, "device", pf->device);
	add_str(doc, obj, "model", pf->model);
	add_str(doc, obj, "driver", pf->driver);
	add_str(doc, obj, "netdev", pf->netdev);
	names = yyjson_mut_obj_add_arr(doc, obj, "altNames");
	for (size_t i = 0; i < pf->n_alt_names; i++)
		yyjson_mut_arr_add_strcpy(doc, names, pf->alt_names[i]);
	add_str(doc, obj, "mac", pf->mac);
	add_str(doc, obj, "linkLayer", pf->link_layer);
	yyjson_mut_obj_add_bool(doc, obj, "adminUp", pf->admin_up);
	yyjson_mut_obj_add_bool(doc, obj, "carrier", pf->carrier);
	add_str(doc, obj, "operstate", pf->operstate);
	add_positive(doc, obj, "speed", pf->speed);
	add_positive(doc, obj, "mtu", pf->mtu);
	add_positive(doc, obj, "maxMtu", pf->max_mtu);
	yyjson_mut_obj_add_bool(doc, obj, "defaultRoute", pf->default_route);
	add_str(doc, obj, "physPortName", pf->phys_port_name);
	add_str(doc, obj, "physSwitchId", pf->phys_switch_id);
	yyjson_mut_obj_add_int(doc, obj, "numa", pf->numa);
	add_str(doc, obj, "rdma", pf->rdma);
	add_str(doc, obj, "firmware", pf->fw);
	yyjson_mut_obj_add_bool(doc, obj, "configuredByKvrail", pf->before != NULL);
	add_str(doc, obj, "problem", pf->problem);
	add_sriov(pf, doc, obj);
	return obj;
}

yyjson_mut_val *inventory_json(const struct inventory *i, yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc), *ports, *warnings;

	add_str(doc, root, "hostname", i->hostname);
	add_str(doc, root, "kernel", i->kernel);
	add_str(doc, root, "rdmaMode", i->rdma_mode);
	yyjson_mut_obj_add_bool(doc, root, "iommu", i->iommu);
	ports = yyjson_mut_obj_add_arr(doc, root, "ports");
	for (size_t k = 0; k < i->n_pfs; k++)
		yyjson_mut_arr_append(ports, pf_json(&i->pfs[k], doc));
	warnings = yyjson_mut_obj_add_arr(doc, root, "warnings");
	for (size_t k = 0; k < i->n_warnings; k++)
		yyjson_mut_arr_add_strcpy(doc, warnings, i->warnings[k]);
	return root;
}

/* ---- SriovNetworkNodeState.status ---- */

static void report_vf(const struct inventory_vf *vf, struct api_vf_status *s)
{
	s->name = vf->netdev;
	s->mac = vf->mac;
	s->driver = vf->driver;
	s->pci_address = vf->pci;
	s->vendor = vf->vendor;
	s->device_id = vf->device;
	s->representor_name = vf->representor;
	s->guid = vf->node_guid;
	s->mtu = vf->mtu;
	s->vf_id = vf->index;
}

static void report_pf(struct arena *a, const struct inventory_pf *pf, struct api_interface_status *s)
{
	s->name = pf->netdev;
	s->mac = pf->mac;
	s->driver = pf->driver;
	s->pci_address = pf->pci;
	s->vendor = pf->vendor;
	s->device_id = pf->device;
	/* what the attribute says: -1 without a link, and it cannot be read while the port is down */
	if (pf->admin_up)
		s->link_speed = arena_printf(a, "%lld Mb/s", (long long)pf->speed);
	s->link_type = strcmp(pf->link_layer, "infiniband") == 0 ? "IB" : "ETH";
	s->link_admin_state = pf->admin_up ? "up" : "down";
	s->eswitch_mode = pf->eswitch || !pf->sriov ? pf->eswitch : "legacy"; /* as the operator says where devlink tells no mode */
	s->mtu = pf->mtu;
	s->num_vfs = pf->num_vfs;
	s->total_vfs = pf->total_vfs;
	s->alt_names = pf->alt_names;
	s->n_alt_names = pf->n_alt_names;
	s->vfs = arena_alloc(a, pf->n_vfs * sizeof(*s->vfs));
	s->n_vfs = pf->n_vfs;
	for (size_t i = 0; i < pf->n_vfs; i++)
		report_vf(&pf->vfs[i], &s->vfs[i]);
}

/*
 * The ports that policies may select. As the operator does, those without a driver or a network device, and those with the
 * default route, are left out; where the operator has a list of cards, here it is every port that offers SR-IOV or is of a
 * known make (whose firmware may have it switched off), VFs of a guest excepted.
 */
static bool is_selectable(const struct inventory_pf *pf)
{
	return pf->driver && pf->netdev && !pf->default_route && (pf->sriov || (pf->model && !pf->is_vf));
}

struct api_nodestate_status *inventory_status(const struct inventory *i, struct arena *a)
{
	struct api_nodestate_status *s = arena_alloc(a, sizeof(*s));

	s->interfaces = arena_alloc(a, i->n_pfs * sizeof(*s->interfaces));
	for (size_t k = 0; k < i->n_pfs; k++)
		if (is_selectable(&i->pfs[k]))
			report_pf(a, &i->pfs[k], &s->interfaces[s->n_interfaces++]);
	if (i->rdma_mode) {
		s->system = arena_alloc(a, sizeof(*s->system));
		s->system->rdma_mode = i->rdma_mode;
	}
	return s;
}

void inventory_status_external(struct api_nodestate_status *s, const struct api_nodestate_spec *spec)
{
	for (size_t i = 0; i < s->n_interfaces; i++)
		for (size_t k = 0; k < spec->n_interfaces; k++)
			if (spec->interfaces[k].pci_address && strcasecmp(spec->interfaces[k].pci_address, s->interfaces[i].pci_address) == 0)
				s->interfaces[i].externally_managed = spec->interfaces[k].externally_managed;
}
