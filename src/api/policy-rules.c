/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for one policy, in the words of the SR-IOV operator's admission webhook where it has them. */
#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "api/policy.h"
#include "base/parse.h"

#define RESOURCE_NAME_MAX 63
#define ETH_MIN_MTU 68	/* linux/if_ether.h */
#define IP_MAX_MTU 65535

/* strconv.Atoi: an optional sign and digits. */
static bool atoi_go(const char *s, size_t len, int64_t *ret)
{
	char number[24];

	if (len == 0 || len >= sizeof(number))
		return false;
	memcpy(number, s, len);
	number[len] = '\0';
	return parse_i64(number + (*number == '+'), 10, INT_MIN, INT_MAX, ret) == 0 &&
	       isdigit((unsigned char)number[len - 1]);
}

int api_pf_name(struct arena *a, const char *text, const char **name, int64_t *from, int64_t *to,
		struct err *e)
{
	const char *hash = strchr(text, '#'), *range, *dash;
	int64_t first, last;

	if (!hash) {
		*name = arena_strdup(a, text);
		*from = *to = -1;
		return 0;
	}
	range = hash + 1;
	if (strchr(range, '#'))
		return err_set(e, -EINVAL,
			       "failed to parse %s PF name in nicSelector, probably incorrect separator character usage",
			       text);
	dash = strchr(range, '-');
	if (!dash || strchr(dash + 1, '-'))
		return err_set(e, -EINVAL,
			       "failed to parse %s PF name nicSelector, probably incorrect range character usage",
			       text);
	if (!atoi_go(range, (size_t)(dash - range), &first))
		return err_set(e, -EINVAL,
			       "failed to parse %s PF name nicSelector, start range is incorrect",
			       text);
	if (!atoi_go(dash + 1, strlen(dash + 1), &last))
		return err_set(e, -EINVAL,
			       "failed to parse %s PF name nicSelector, end range is incorrect",
			       text);
	if (last < first)
		return err_set(e, -EINVAL,
			       "failed to parse %s PF name nicSelector, end range shall not be smaller than start range",
			       text);
	*name = arena_strndup(a, text, (size_t)(hash - text));
	*from = first;
	*to = last;
	return 0;
}

/*
 * What the operator's mutating webhook does: priority 99 where there is none; VFs of InfiniBand
 * ports are RDMA, unless they go to a virtual machine.
 */
void api_policy_admit(struct arena *a, void *object)
{
	struct api_policy_spec *s = ((struct api_policy *)object)->spec;

	if (!s->priority)
		s->priority = arena_memdup(a, &(int64_t){ 99 }, sizeof(int64_t));
	if (s->link_type && !strcasecmp(s->link_type, "ib") && strcmp(s->device_type, "vfio-pci"))
		s->is_rdma = true;
}

static void check_resource_name(const char *name, struct complaints *c)
{
	const char *path = "spec.resourceName";
	size_t n = name ? strlen(name) : 0;

	if (n == 0) {
		complain(c, false, path, "resource name must not be empty");
		return;
	}
	if (n > RESOURCE_NAME_MAX) {
		complain(c, false, path, "resource name \"%.80s\" must be no more than %d characters",
			 name, RESOURCE_NAME_MAX);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) &&
		    ((name[i] != '-' && name[i] != '_') || i == 0 || i == n - 1)) {
			complain(c, false, path,
				 "resource name \"%s\" is invalid: must consist of alphanumeric characters or hyphens (or underscores), and must start and end with an alphanumeric character",
				 name);
			return;
		}
}

/* False: it is told already that this selects nothing. */
static bool check_hex(const char *path, const char *s, struct complaints *c)
{
	if (!is_given(s))
		return true;
	if (strlen(s) != 4 || strspn(s, "0123456789abcdefABCDEF") != 4)
		complain(c, true, path,
			 "\"%.40s\" selects nothing: PCI ids are four hex digits, such as \"15b3\"",
			 s);
	else if (strspn(s, "0123456789abcdef") != 4)
		complain(c, true, path, "\"%s\" selects nothing: PCI ids are compared in lower case", s);
	else
		return true;
	return false;
}

static void check_pf_names(const struct api_policy_spec *s, struct complaints *c)
{
	const struct api_nic_selector *nic = s->nic_selector;
	const char *name;
	int64_t from, to;
	struct err e;

	for (size_t i = 0; i < nic->n_pf_names; i++) {
		const char *path = arena_printf(c->arena, "spec.nicSelector.pfNames[%zu]", i),
			   *pf = nic->pf_names[i];

		if (api_pf_name(c->arena, pf, &name, &from, &to, &e) < 0)
			complain(c, false, path, "%s", e.msg);
		else if (to >= 0 && to >= s->num_vfs)
			complain(c, false, path,
				 "failed to parse %s PF name nicSelector, end range exceeds the maximum VF index ",
				 pf);
		else if (from < 0 && to >= 0)
			complain(c, false, path,
				 "failed to parse %s PF name nicSelector, start range is incorrect",
				 pf);
	}
}

static void check_selector(const struct api_policy *p, struct complaints *c)
{
	const struct api_nic_selector *nic = p->spec->nic_selector;

	if (!nic)
		return; /* said by the table */
	if (!is_given(nic->vendor) && !is_given(nic->device_id) && !nic->n_pf_names &&
	    !nic->n_root_devices && !is_given(nic->net_filter))
		complain(c, false, "spec.nicSelector",
			 "at least one of these parameters (vendor, deviceID, pfNames, rootDevices or netFilter) has to be defined in nicSelector in CR %s",
			 p->object.meta->name ? p->object.meta->name : "");
	if (check_hex("spec.nicSelector.vendor", nic->vendor, c) & check_hex("spec.nicSelector.deviceID", nic->device_id, c))
		api_nic_check(nic->vendor, nic->device_id, c);
	for (size_t i = 0; i < nic->n_root_devices; i++)
		if (strchr(nic->root_devices[i], '#'))
			complain(c, false,
				 arena_printf(c->arena, "spec.nicSelector.rootDevices[%zu]", i),
				 "\"%.60s\": a VF range goes with a name in pfNames, not with a PCI address",
				 nic->root_devices[i]);
	check_pf_names(p->spec, c);
}

/* Rules of virtual platforms, whose one port cannot be set up otherwise. */
static void check_net_filter(const struct api_policy_spec *s, struct complaints *c)
{
	const struct api_nic_selector *nic = s->nic_selector;
	const char *path = "spec.nicSelector.netFilter";

	if (!nic || !is_given(nic->net_filter))
		return;
	if (is_given(nic->vendor) || is_given(nic->device_id) || nic->n_pf_names || nic->n_root_devices)
		complain(c, false, path,
			 "vendor, deviceID, pfNames and rootDevices cannot be given when netFilter is specified");
	if (is_given(s->eswitch_mode))
		complain(c, false, "spec.eSwitchMode",
			 "\"%s\" cannot be given when netFilter is specified", s->eswitch_mode);
	if (s->bridge && s->bridge->ovs)
		complain(c, false, "spec.bridge", "a bridge cannot be given when netFilter is specified");
	if (is_given(s->link_type) && strcasecmp(s->link_type, "eth"))
		complain(c, false, "spec.linkType",
			 "\"%s\" must be eth when netFilter is specified", s->link_type);
	if (strncmp(nic->net_filter, "openstack/NetworkID:", 20) &&
	    strncmp(nic->net_filter, "aws/NetworkID:", 14))
		complain(c, true, path,
			 "\"%.80s\" is neither openstack/NetworkID:UUID nor aws/NetworkID:ID: is that what the ports report?",
			 nic->net_filter);
}

static void check_combination(const struct api_policy_spec *s, struct complaints *c)
{
	bool switchdev = s->eswitch_mode && !strcmp(s->eswitch_mode, "switchdev");

	if (!strcmp(s->device_type, "vfio-pci") && s->is_rdma)
		complain(c, false, "spec.isRdma",
			 "'deviceType: vfio-pci' conflicts with 'isRdma: true'; Set 'deviceType' to (string)'netdevice' Or Set 'isRdma' to (bool)'false'");
	if (is_given(s->link_type) && strcasecmp(s->link_type, "eth") && switchdev)
		complain(c, false, "spec.eSwitchMode",
			 "'eSwitchMode: switchdev' can be used only with ethernet links");
	if (s->vdpa_type && strcmp(s->device_type, "netdevice"))
		complain(c, false, "spec.vdpaType",
			 "'deviceType: %s' conflicts with '%s'; Set 'deviceType' to (string)'netdevice' Or Remove 'vdpaType'",
			 s->device_type, s->vdpa_type);
	if (s->vdpa_type && !switchdev)
		complain(c, false, "spec.vdpaType",
			 "vdpa requires the device to be configured in switchdev mode");
	if (s->bridge && s->bridge->ovs && !switchdev)
		complain(c, false, "spec.bridge",
			 "software bridge management requires the device to be configured in switchdev mode");
	if (s->bridge && s->bridge->ovs && s->externally_managed)
		complain(c, false, "spec.bridge",
			 "software bridge management can't be used when the device externally managed");
}

/* What the operator does and kvrail does not. */
static void check_unsupported(const struct api_policy_spec *s, struct complaints *c)
{
	bool switchdev = s->eswitch_mode && !strcmp(s->eswitch_mode, "switchdev");

	if (is_given(s->vdpa_type))
		complain(c, true, "spec.vdpaType", "kvrail makes no vDPA devices: it will set up no port of this policy");
	else if (switchdev && !s->externally_managed)
		complain(c, true, "spec.eSwitchMode", "kvrail sets the mode and no more: tc offload (ethtool -K PF hw-tc-offload on), flow steering and the names "
			 "of port and representors are the node's to set up");
	if (s->bridge && s->bridge->ovs)
		complain(c, true, "spec.bridge", "kvrail manages no software bridges: it leaves them alone");
}

void api_policy_validate(const void *object, struct complaints *c)
{
	const struct api_policy *p = object;
	const struct api_policy_spec *s = p->spec;

	/* an old operator made this one; it is ignored everywhere */
	if (p->object.meta->name && !strcmp(p->object.meta->name, "default"))
		return;
	check_resource_name(s->resource_name, c);
	check_selector(p, c);
	check_net_filter(s, c);
	check_combination(s, c);
	if (!complaints_errors(c))
		check_unsupported(s, c);
	if (s->mtu && s->mtu < ETH_MIN_MTU)
		complain(c, false, "spec.mtu", "%lld is below %d", (long long)s->mtu, ETH_MIN_MTU);
	if (s->mtu > IP_MAX_MTU)
		complain(c, false, "spec.mtu", "%lld is above %d", (long long)s->mtu, IP_MAX_MTU);
	if (s->num_vfs == 0 && s->nic_selector)
		complain(c, false, "spec.numVfs", "numVfs(%lld) in CR %s is not allowed",
			 (long long)s->num_vfs, p->object.meta->name ? p->object.meta->name : "");
	else if (s->num_vfs > UINT16_MAX)
		complain(c, false, "spec.numVfs",
			 "%lld is above %d, the most a PCI function can have",
			 (long long)s->num_vfs, UINT16_MAX);
}
