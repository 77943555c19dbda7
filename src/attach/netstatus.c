/* SPDX-License-Identifier: Apache-2.0 */
/* network-attachment-definition-client pkg/utils (SetNetworkStatus, CreateNetworkStatuses) and its types' JSON keys. */
#include <string.h>

#include "attach/netstatus.h"
#include "base/strbuf.h"

const char *netstatus_ip(struct arena *a, const char *cidr)
{
	return arena_strndup(a, cidr, strcspn(cidr, "/"));
}

static bool is_default_route(const struct cniresult_route *r)
{
	return !strcmp(r->dst, "0.0.0.0/0") || !strcmp(r->dst, "::/0");
}

/* A route without a gateway goes by that of the address of its family. */
static const char *own_gateway(const struct cniresult *res, bool v6)
{
	for (size_t i = 0; i < res->n_ips; i++)
		if (res->ips[i].gateway && !strchr(res->ips[i].address, ':') == !v6)
			return res->ips[i].gateway;
	return NULL;
}

static void add_gateways(struct arena *a, const struct cniresult *res, struct netstatus *s)
{
	for (size_t i = 0; i < res->n_routes; i++) {
		const char *gw = res->routes[i].gw ? res->routes[i].gw : own_gateway(res, strchr(res->routes[i].dst, ':'));

		if (is_default_route(&res->routes[i]) && gw)
			*(const char **)arena_push(a, &s->gateways, &s->n_gateways, sizeof(*s->gateways)) = gw;
	}
}

static bool is_in_pod(const struct cniresult_interface *in)
{
	return in->sandbox && *in->sandbox;
}

/* Which of several is the pod's default: that of the first gateway, wherever it is, else the first in the pod. */
static size_t default_interface(const struct cniresult *res)
{
	size_t i = 0;

	for (size_t k = 0; k < res->n_ips; k++)
		if (res->ips[k].gateway && res->ips[k].interface >= 0)
			return (size_t)res->ips[k].interface;
	while (i < res->n_interfaces && !is_in_pod(&res->interfaces[i]))
		i++;
	return i;
}

/* Of several the last one gets the addresses that name none. */
static size_t last_interface(const struct cniresult *res)
{
	size_t last = 0;

	for (size_t i = 0; i < res->n_interfaces; i++)
		if (is_in_pod(&res->interfaces[i]))
			last = i;
	return last;
}

void netstatus_of_result(struct arena *a, const struct cniresult *res, const char *network, bool is_default, struct netstatus **list, size_t *n)
{
	size_t dflt = default_interface(res), last = last_interface(res);
	bool only = res->n_interfaces == 1;

	for (size_t i = 0; i < res->n_interfaces; i++) {
		const struct cniresult_interface *in = &res->interfaces[i];
		struct netstatus *s;

		if (!only && !is_in_pod(in))
			continue;
		s = arena_push(a, list, n, sizeof(*s));
		*s = (struct netstatus){ .name = network, .is_default = is_default && (only || i == dflt), .dns = res->dns };
		if (is_in_pod(in)) {
			s->interface = in->name;
			s->mac = in->mac;
			s->mtu = in->mtu;
			s->pci = in->pci_id;
		}
		for (size_t k = 0; k < res->n_ips; k++)
			if (only || res->ips[k].interface == (int64_t)i || (res->ips[k].interface < 0 && i == last))
				*(const char **)arena_push(a, &s->ips, &s->n_ips, sizeof(*s->ips)) = netstatus_ip(a, res->ips[k].address);
		add_gateways(a, res, s);
	}
}

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *v, const char *key, const char *value)
{
	if (value && *value)
		yyjson_mut_obj_add_str(doc, v, key, value);
}

static void add_strs(yyjson_mut_doc *doc, yyjson_mut_val *v, const char *key, const char **values, size_t n)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_add_str(doc, list, values[i]);
	if (n)
		yyjson_mut_obj_add_val(doc, v, key, list);
}

static yyjson_mut_val *dns_json(yyjson_mut_doc *doc, yyjson_val *dns)
{
	static const char *const keys[] = { "nameservers", "domain", "search", "options" };
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		yyjson_val *part = yyjson_obj_get(dns, keys[i]);

		if (yyjson_get_len(part) && !yyjson_is_null(part))
			yyjson_mut_obj_add_val(doc, v, keys[i], yyjson_val_mut_copy(doc, part));
	}
	return v;
}

static void add_device(yyjson_mut_doc *doc, yyjson_mut_val *v, const struct netstatus *s)
{
	yyjson_mut_val *info, *pci;

	if (!s->pci || !*s->pci)
		return;
	info = yyjson_mut_obj_add_obj(doc, v, "device-info");
	yyjson_mut_obj_add_str(doc, info, "type", "pci");
	yyjson_mut_obj_add_str(doc, info, "version", "1.1.0");
	pci = yyjson_mut_obj_add_obj(doc, info, "pci");
	yyjson_mut_obj_add_str(doc, pci, "pci-address", s->pci);
	add_str(doc, pci, "rdma-device", s->rdma);
	add_str(doc, pci, "pf-pci-address", s->pf_pci);
}

char *netstatus_text(struct arena *a, const struct netstatus *list, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	yyjson_alc alc = doc_alc(a);

	strbuf_addch(&b, '[');
	for (size_t i = 0; i < n; i++) {
		const struct netstatus *s = &list[i];
		yyjson_mut_doc *doc = doc_new(a);
		yyjson_mut_val *v = yyjson_mut_obj(doc);

		yyjson_mut_obj_add_str(doc, v, "name", s->name);
		add_str(doc, v, "interface", s->interface);
		add_strs(doc, v, "ips", s->ips, s->n_ips);
		add_str(doc, v, "mac", s->mac);
		if (s->mtu)
			yyjson_mut_obj_add_int(doc, v, "mtu", s->mtu);
		if (s->is_default)
			yyjson_mut_obj_add_bool(doc, v, "default", true);
		yyjson_mut_obj_add_val(doc, v, "dns", dns_json(doc, s->dns));
		add_device(doc, v, s);
		add_strs(doc, v, "gateway", s->gateways, s->n_gateways);
		/* four spaces, as Go's MarshalIndent was told */
		strbuf_addf(&b, "%s%s", i ? "," : "", yyjson_mut_val_write_opts(v, YYJSON_WRITE_PRETTY, &alc, NULL, NULL));
	}
	strbuf_addch(&b, ']');
	return arena_strdup(a, b.s);
}
