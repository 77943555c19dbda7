/* SPDX-License-Identifier: Apache-2.0 */
/* The steps for single VFs. Each kind of step comes for all VFs before the next kind, so that apply can run one kind in parallel. */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "linux/pci.h"
#include "provision/identity.h"
#include "provision/plan-port.h"

#define MTU_MIN 68 /* ETH_MIN_MTU, include/uapi/linux/if_ether.h */

static bool parse_range(const char *text, uint64_t *from, uint64_t *to)
{
	char first[16];
	const char *dash = strchr(text, '-');
	size_t n = dash ? (size_t)(dash - text) : strlen(text);

	if (n >= sizeof(first))
		return false;
	memcpy(first, text, n);
	first[n] = '\0';
	return parse_u64(first, 10, 0, UINT16_MAX, from) == 0 &&
	       parse_u64(dash ? dash + 1 : first, 10, *from, UINT16_MAX, to) == 0;
}

static bool group_has(const struct api_vf_group *g, unsigned vf)
{
	uint64_t from, to;

	return g->vf_range && parse_range(g->vf_range, &from, &to) && vf >= from && vf <= to;
}

static const struct api_vf_group *group_of(const struct port *p, unsigned vf)
{
	for (size_t i = 0; i < p->want->n_vf_groups; i++)
		if (group_has(&p->want->vf_groups[i], vf))
			return &p->want->vf_groups[i];
	return NULL;
}

static bool wants_vfio(const struct api_vf_group *g)
{
	return g && g->device_type && strcmp(g->device_type, "vfio-pci") == 0;
}

/* All digits zero, whatever separates them: no address was ever set. */
static bool is_zero(const char *address)
{
	return address && *address && address[strspn(address, "0:")] == '\0';
}

/* The VF as it is, or NULL when it will be made by this plan. */
static const struct inventory_vf *vf_now(const struct port *p, unsigned vf)
{
	if (p->recreate)
		return NULL;
	for (size_t i = 0; i < p->pf->n_vfs; i++)
		if (p->pf->vfs[i].index == vf)
			return &p->pf->vfs[i];
	return NULL;
}

/* InfiniBand: an apply that was cut short leaves unbound VFs, and only a bound one tells its GUID. */
static bool needs_guid(const struct port *p, const struct api_vf_group *g, const struct inventory_vf *now)
{
	if (now && p->ib && !now->driver)
		return true;
	return now && (p->ib || (g && g->is_rdma)) && is_zero(now->node_guid);
}

/* On a function of the same card counts: the one device of ports in a RoCE LAG stands under the first of them. */
static bool card_has_rdma(const struct port *p)
{
	const char *dot = strrchr(p->pf->pci, '.');
	size_t n = dot ? (size_t)(dot - p->pf->pci) + 1 : strlen(p->pf->pci);

	for (size_t i = 0; i < p->inventory->n_pfs; i++)
		if (p->inventory->pfs[i].rdma && !strncmp(p->inventory->pfs[i].pci, p->pf->pci, n))
			return true;
	return false;
}

void port_check_groups(struct port *p)
{
	for (size_t i = 0; i < p->want->n_vf_groups; i++) {
		const struct api_vf_group *g = &p->want->vf_groups[i];
		const char *policy = g->policy_name ? g->policy_name : g->resource_name;
		uint64_t from, to;

		if (!g->vf_range || !parse_range(g->vf_range, &from, &to))
			port_fail(p, "policy %s: vfRange \"%s\" is no range: write FIRST-LAST, as in 0-%lld",
				  policy, g->vf_range ? g->vf_range : "",
				  (long long)(p->want->num_vfs > 0 ? p->want->num_vfs - 1 : 0));
		else if ((int64_t)to >= p->want->num_vfs)
			port_fail(p, "policy %s: vfRange %s ends above the last of %lld VFs: raise numVfs to %llu "
				  "or end the range at %lld", policy, g->vf_range,
				  (long long)p->want->num_vfs, (unsigned long long)to + 1,
				  (long long)p->want->num_vfs - 1);
		if (g->vdpa_type && *g->vdpa_type)
			port_fail(p, "policy %s: vdpaType %s: kvrail makes no vdpa devices; take vdpaType out of the policy",
				  policy, g->vdpa_type);
		if (g->mtu && g->mtu < MTU_MIN)
			port_fail(p, "policy %s: mtu %lld is below %d", policy, (long long)g->mtu, MTU_MIN);
		if (wants_vfio(g) && !p->inventory->iommu) {
			port_reboot(p);
			port_fail(p, "policy %s: deviceType vfio-pci needs an IOMMU and there is none: switch it on in the "
				  "BIOS, boot with intel_iommu=on iommu=pt", policy);
		}
		if (g->is_rdma && !wants_vfio(g) && !card_has_rdma(p))
			port_warn(p, "policy %s: isRdma is set and the port has no RDMA device: is the driver's RDMA "
				  "module loaded (mlx5_ib, irdma, bnxt_re)?", policy);
	}
}

/* The address to set through the PF, or NULL when the VF has one. */
static const char *wanted_identity(const struct port *p, const struct api_vf_group *g,
				   const struct inventory_vf *now, unsigned vf, const char **why)
{
	const char *identity = p->inventory->identity;

	if (p->ib) {
		*why = now && !now->driver ? "it has no driver, which would tell its GUID" : "it has no GUID";
		return !now || needs_guid(p, g, now) ? identity_guid(p->a, identity, p->pf->pci, vf) : NULL;
	}
	*why = "it has no address of its own";
	if (!now)
		return identity_mac(p->a, identity, p->pf->pci, vf);
	if (needs_guid(p, g, now) && now->mac && !is_zero(now->mac)) {
		/* mlx5: setting the MAC through the PF sets the node GUID too (mlx5/core/esw/legacy.c) */
		*why = "its RDMA node GUID is zero";
		return now->mac;
	}
	if (!is_zero(now->admin_mac))
		return NULL;
	if (now->mac && !is_zero(now->mac)) {
		*why = "to keep the one it has";
		return now->mac;
	}
	return identity_mac(p->a, identity, p->pf->pci, vf);
}

void port_vf_identity(struct port *p)
{
	for (unsigned vf = 0; vf < (unsigned)p->want->num_vfs; vf++) {
		const char *why, *text;

		text = wanted_identity(p, group_of(p, vf), vf_now(p, vf), vf, &why);
		if (text) {
			struct plan_step *s = port_step(p, PLAN_VF_IDENTITY, why);

			s->vf = vf;
			s->text = text;
		}
	}
}

/* Why the VF must be bound (again), or NULL. */
static const char *why_bind(const struct port *p, const struct api_vf_group *g, const struct inventory_vf *now,
			    bool *first_unbind)
{
	*first_unbind = false;
	if (!now || p->unbind)
		return "";
	if (!now->driver)
		return "no driver now";
	*first_unbind = true;
	if (g && wants_vfio(g) != pci_is_user_space_driver(now->driver))
		return arena_printf(p->a, "%s now", now->driver);
	if (needs_guid(p, g, now) && !wants_vfio(g))
		return "its RDMA node GUID is zero";
	return NULL;
}

bool port_vf_must_probe(const struct port *p)
{
	bool first_unbind;

	for (unsigned vf = 0; vf < (unsigned)p->want->num_vfs; vf++)
		if (!wants_vfio(group_of(p, vf)) && why_bind(p, group_of(p, vf), vf_now(p, vf), &first_unbind))
			return true;
	return false;
}

void port_vf_bind(struct port *p)
{
	for (unsigned vf = 0; vf < (unsigned)p->want->num_vfs; vf++) {
		const struct api_vf_group *g = group_of(p, vf);
		const struct inventory_vf *now = vf_now(p, vf);
		bool first_unbind;
		const char *why = why_bind(p, g, now, &first_unbind);
		struct plan_step *s;

		if (!why)
			continue;
		s = port_step(p, PLAN_BIND_VF, *why ? why : NULL);
		s->vf = vf;
		s->text = wants_vfio(g) ? "vfio-pci" : NULL;
		s->number = first_unbind;
		if (!now)
			continue;
		port_drain(p, "VF %u: %s", vf, *why ? why : "unbound for the e-switch change");
		port_touch(p, now->pci);
	}
}

void port_vf_mtu(struct port *p)
{
	for (unsigned vf = 0; vf < (unsigned)p->want->num_vfs; vf++) {
		const struct api_vf_group *g = group_of(p, vf);
		const struct inventory_vf *now = vf_now(p, vf);
		bool first_unbind, bound_anew = why_bind(p, g, now, &first_unbind) != NULL;
		struct plan_step *s;

		if (!g || !g->mtu || wants_vfio(g))
			continue;
		if (!bound_anew && (!now->netdev || now->mtu == g->mtu))
			continue; /* right, or in a pod: attach sets and checks it there */
		s = port_step(p, PLAN_MTU_VF,
			      bound_anew ? NULL : arena_printf(p->a, "%lld now", (long long)now->mtu));
		s->vf = vf;
		s->number = g->mtu;
		if (bound_anew)
			continue;
		port_drain(p, "VF %u has MTU %lld, %lld is wanted", vf, (long long)now->mtu, (long long)g->mtu);
		port_touch(p, now->pci);
	}
}
