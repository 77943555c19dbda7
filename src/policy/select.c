/* SPDX-License-Identifier: Apache-2.0 */
#include <regex.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "policy/select.h"

static bool in_list(const char *s, const char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s && !strcmp(list[i], s))
			return true;
	return false;
}

bool select_alt_name(const struct api_interface_status *pf, const char *name)
{
	return in_list(name, pf->alt_names, pf->n_alt_names);
}

/* "type/key:value" as type/key and value, with white space around the last colon. */
static bool split_filter(const char *text, regmatch_t m[3])
{
	regex_t re;
	bool found;

	if (regcomp(&re, "^[[:space:]]*([^[:space:]]+)[[:space:]]*:[[:space:]]*([^[:space:]]+)",
		    REG_EXTENDED | REG_NEWLINE))
		return false;
	found = regexec(&re, text, 3, m, 0) == 0;
	regfree(&re);
	return found;
}

static bool same_part(const char *a, const regmatch_t *ma, const char *b, const regmatch_t *mb)
{
	regoff_t n = ma->rm_eo - ma->rm_so;

	return n == mb->rm_eo - mb->rm_so && !memcmp(a + ma->rm_so, b + mb->rm_so, (size_t)n);
}

static bool net_filter_matches(const char *filter, const char *value)
{
	regmatch_t f[3], v[3];

	if (!value || !split_filter(filter, f) || !split_filter(value, v))
		return false;
	return same_part(filter, &f[1], value, &v[1]) && same_part(filter, &f[2], value, &v[2]);
}

/* The name before '#', compared with the port's name and its alternative names. */
static bool pf_names_match(const struct api_nic_selector *s, const struct api_interface_status *pf)
{
	for (size_t i = 0; i < s->n_pf_names; i++) {
		size_t n = strcspn(s->pf_names[i], "#");

		if (pf->name && strlen(pf->name) == n && !memcmp(pf->name, s->pf_names[i], n))
			return true;
		for (size_t k = 0; k < pf->n_alt_names; k++)
			if (strlen(pf->alt_names[k]) == n && !memcmp(pf->alt_names[k], s->pf_names[i], n))
				return true;
	}
	return false;
}

/* The parts of a selector, all of which must match. */
enum part { VENDOR, DEVICE, ROOT_DEVICES, PF_NAMES, NET_FILTER, PARTS };

static const char *const part_names[PARTS] = { "vendor", "deviceID", "rootDevices", "pfNames", "netFilter" };

static bool part_given(const struct api_nic_selector *s, enum part part)
{
	switch (part) {
	case VENDOR:
		return is_given(s->vendor);
	case DEVICE:
		return is_given(s->device_id);
	case ROOT_DEVICES:
		return s->n_root_devices > 0;
	case PF_NAMES:
		return s->n_pf_names > 0;
	default:
		return is_given(s->net_filter);
	}
}

static bool part_matches(const struct api_nic_selector *s, enum part part,
			 const struct api_interface_status *pf)
{
	switch (part) {
	case VENDOR:
		return pf->vendor && !strcmp(s->vendor, pf->vendor);
	case DEVICE:
		return pf->device_id && !strcmp(s->device_id, pf->device_id);
	case ROOT_DEVICES:
		return in_list(pf->pci_address, s->root_devices, s->n_root_devices);
	case PF_NAMES:
		return pf_names_match(s, pf);
	default:
		return net_filter_matches(s->net_filter, pf->net_filter);
	}
}

static const char *joined(struct arena *a, const char **list, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", list[i]);
	return arena_strdup(a, b.s ? b.s : "");
}

static const char *part_value(struct arena *a, const struct api_nic_selector *s, enum part part)
{
	switch (part) {
	case VENDOR:
		return s->vendor;
	case DEVICE:
		return s->device_id;
	case ROOT_DEVICES:
		return joined(a, s->root_devices, s->n_root_devices);
	case PF_NAMES:
		return joined(a, s->pf_names, s->n_pf_names);
	default:
		return s->net_filter;
	}
}

static const char *port_value(struct arena *a, const struct api_interface_status *pf, enum part part)
{
	const char *value[PARTS] = { pf->vendor, pf->device_id, pf->pci_address, pf->name, pf->net_filter };

	if (part == PF_NAMES && pf->n_alt_names)
		return arena_printf(a, "%s (%s)", pf->name, joined(a, pf->alt_names, pf->n_alt_names));
	return is_given(value[part]) ? value[part] : "unknown";
}

bool merge_selects(struct arena *a, const struct api_nic_selector *s, const struct api_interface_status *pf,
		   const char **why)
{
	bool any = false;

	for (enum part part = 0; s && part < PARTS; part++) {
		if (!part_given(s, part))
			continue;
		any = true;
		if (part_matches(s, part, pf))
			continue;
		if (why)
			*why = arena_printf(a, "%s is %s, not %s", part_names[part], port_value(a, pf, part), part_value(a, s, part));
		return false;
	}
	if (!any && why)
		*why = "nicSelector is empty, which selects nothing";
	return any;
}

#define NAMED_MAX 8

static const char *names_of_ports(struct arena *a, const struct api_nodestate_status *status)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < status->n_interfaces && i < NAMED_MAX; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", port_value(a, &status->interfaces[i], PF_NAMES));
	return arena_printf(a, "%s%s", b.s, status->n_interfaces > NAMED_MAX ? ", ..." : "");
}

const char *select_counts(struct arena *a, const struct api_nic_selector *s,
			  const struct api_nodestate_status *status)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t ports = status ? status->n_interfaces : 0;

	if (ports == 0)
		return "selects no port here: the node has no SR-IOV port";
	for (enum part part = 0; s && part < PARTS; part++) {
		size_t n = 0;

		if (!part_given(s, part))
			continue;
		for (size_t i = 0; i < ports; i++)
			n += part_matches(s, part, &status->interfaces[i]);
		strbuf_addf(&b, "%s %s %s matches %zu", b.len ? "," : "", part_names[part],
			    part_value(a, s, part), n);
	}
	if (b.len == 0)
		return "selects no port: its nicSelector is empty";
	return arena_printf(a, "selects no port here: of %zu port%s (%s),%s", ports, ports == 1 ? "" : "s", names_of_ports(a, status), b.s);
}
