/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: CNI SPEC 0.2.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0, section "Result types". */
#include <string.h>

#include "attach/result.h"

static yyjson_mut_val *routes_json(yyjson_mut_doc *doc, const struct ipam_route *routes, size_t n, enum cni_version version)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++) {
		const struct ipam_route *r = &routes[i];
		const struct {
			const char *key;
			int64_t value;
		} more[] = { { "mtu", r->mtu }, { "advmss", r->advmss }, { "priority", r->priority }, { "table", r->table },
			     { "scope", r->scope } };
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, v, "dst", r->dst);
		if (r->gw)
			yyjson_mut_obj_add_str(doc, v, "gw", r->gw);
		for (size_t k = 0; version >= CNI_1_1_0 && k < ARRAY_SIZE(more); k++)
			if (more[k].value >= 0)
				yyjson_mut_obj_add_int(doc, v, more[k].key, more[k].value);
	}
	return list;
}

static bool route_is_v4(const struct ipam_route *r)
{
	return !strchr(r->dst, ':');
}

/* ip4 and ip6 of the oldest form hold one address each, and the routes of its family. */
static void add_family(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct result_rail *rail, bool v4)
{
	yyjson_mut_val *v, *list;
	const struct ipam_ip *ip = NULL;

	for (size_t i = 0; !ip && i < rail->n_ips; i++)
		if (rail->ips[i].v4 == v4)
			ip = &rail->ips[i];
	if (!ip)
		return;
	v = yyjson_mut_obj_add_obj(doc, root, v4 ? "ip4" : "ip6");
	yyjson_mut_obj_add_str(doc, v, "ip", ip->address);
	if (ip->gateway)
		yyjson_mut_obj_add_str(doc, v, "gateway", ip->gateway);
	list = yyjson_mut_arr(doc);
	for (size_t i = 0; i < rail->ipam->n_routes; i++)
		if (route_is_v4(&rail->ipam->routes[i]) == v4)
			yyjson_mut_arr_append(list, yyjson_mut_arr_get_first(routes_json(doc, &rail->ipam->routes[i], 1, CNI_0_2_0)));
	if (yyjson_mut_arr_size(list))
		yyjson_mut_obj_add_val(doc, v, "routes", list);
}

static void add_interfaces(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct result_rail *rails, size_t n,
			   enum cni_version version)
{
	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, v, "name", rails[i].name);
		if (rails[i].mac)
			yyjson_mut_obj_add_str(doc, v, "mac", rails[i].mac);
		if (version >= CNI_1_1_0 && rails[i].mtu)
			yyjson_mut_obj_add_int(doc, v, "mtu", rails[i].mtu);
		if (rails[i].sandbox)
			yyjson_mut_obj_add_str(doc, v, "sandbox", rails[i].sandbox);
		if (version >= CNI_1_1_0 && rails[i].pci_id && *rails[i].pci_id)
			yyjson_mut_obj_add_str(doc, v, "pciID", rails[i].pci_id);
	}
}

static void add_ips(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct result_rail *rail, size_t interface,
		    enum cni_version version)
{
	for (size_t i = 0; i < rail->n_ips; i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		if (version < CNI_1_0_0)
			yyjson_mut_obj_add_str(doc, v, "version", rail->ips[i].v4 ? "4" : "6");
		yyjson_mut_obj_add_uint(doc, v, "interface", interface);
		yyjson_mut_obj_add_str(doc, v, "address", rail->ips[i].address);
		if (rail->ips[i].gateway)
			yyjson_mut_obj_add_str(doc, v, "gateway", rail->ips[i].gateway);
	}
}

/* A copy of @prev's list, or an empty one. */
static yyjson_mut_val *list_of(yyjson_mut_doc *doc, yyjson_val *prev, const char *key)
{
	yyjson_val *list = yyjson_obj_get(prev, key);

	return yyjson_is_arr(list) ? yyjson_val_mut_copy(doc, list) : yyjson_mut_arr(doc);
}

static void append_all(yyjson_mut_val *list, yyjson_mut_val *more)
{
	yyjson_mut_val *v;

	while ((v = yyjson_mut_arr_remove_first(more)))
		yyjson_mut_arr_append(list, v);
}

static yyjson_mut_val *dns_json(yyjson_mut_doc *doc, yyjson_val *prev, const struct result_rail *rails, size_t n)
{
	yyjson_val *dns = yyjson_obj_get(prev, "dns");

	for (size_t i = 0; i < n && yyjson_obj_size(dns) == 0; i++)
		dns = rails[i].ipam->dns;
	return yyjson_is_obj(dns) ? yyjson_val_mut_copy(doc, dns) : yyjson_mut_obj(doc);
}

char *result_make(struct arena *a, enum cni_version version, yyjson_val *prev, const struct result_rail *rails, size_t n)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *interfaces, *ips, *routes;
	size_t before;

	yyjson_mut_obj_add_str(doc, root, "cniVersion", cni_version_text(version));
	if (version < CNI_0_3_0) { /* knows one interface */
		add_family(doc, root, &rails[0], true);
		add_family(doc, root, &rails[0], false);
	} else {
		interfaces = list_of(doc, prev, "interfaces");
		ips = list_of(doc, prev, "ips");
		routes = list_of(doc, prev, "routes");
		before = yyjson_mut_arr_size(interfaces);
		add_interfaces(doc, interfaces, rails, n, version);
		for (size_t i = 0; i < n; i++) {
			add_ips(doc, ips, &rails[i], before + i, version);
			append_all(routes, routes_json(doc, rails[i].ipam->routes, rails[i].ipam->n_routes, version));
		}
		yyjson_mut_obj_add_val(doc, root, "interfaces", interfaces);
		if (yyjson_mut_arr_size(ips))
			yyjson_mut_obj_add_val(doc, root, "ips", ips);
		if (yyjson_mut_arr_size(routes))
			yyjson_mut_obj_add_val(doc, root, "routes", routes);
	}
	yyjson_mut_obj_add_val(doc, root, "dns", dns_json(doc, prev, rails, n));
	return doc_mut_to_json(a, root, false);
}

char *result_error(struct arena *a, enum cni_version version, const struct cni_failure *f)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, root, "cniVersion", cni_version_text(version));
	yyjson_mut_obj_add_int(doc, root, "code", f->code);
	yyjson_mut_obj_add_str(doc, root, "msg", f->e.msg);
	if (f->details)
		yyjson_mut_obj_add_str(doc, root, "details", f->details);
	return doc_mut_to_json(a, root, false);
}
