/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: CNI SPEC 0.2.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0, section "Result types". */
#include <string.h>

#include "attach/cniresult.h"
#include "attach/hwaddr.h"

int cni_version_parse(const char *text, enum cni_version *ret)
{
	for (int v = 0; v < CNI_VERSIONS; v++) {
		if (!strcmp(text, cni_version_text((enum cni_version)v))) {
			*ret = (enum cni_version)v;
			return 0;
		}
	}
	return -EINVAL;
}

struct parse {
	struct arena *a;
	struct cniresult *res;
	struct err *e;
};

static int get_list(struct parse *p, yyjson_val *obj, const char *key, yyjson_val **ret)
{
	yyjson_val *v = yyjson_obj_get(obj, key);

	if (!v || yyjson_is_null(v)) {
		*ret = NULL;
		return 0;
	}
	if (!yyjson_is_arr(v))
		return err_set(p->e, -EBADMSG, "%s is no list", key);
	if (yyjson_arr_size(v) > CNIRESULT_ITEMS_MAX)
		return err_set(p->e, -EBADMSG, "%s: %zu items, more than %d", key, yyjson_arr_size(v), CNIRESULT_ITEMS_MAX);
	*ret = v;
	return 0;
}

static int parse_interfaces(struct parse *p, yyjson_val *root)
{
	yyjson_val *list = NULL, *v;
	yyjson_arr_iter it;
	int r = get_list(p, root, "interfaces", &list);

	yyjson_arr_iter_init(list, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		struct cniresult_interface *i = arena_push(p->a, &p->res->interfaces, &p->res->n_interfaces, sizeof(*i));

		*i = (struct cniresult_interface){ .name = doc_str(v, "name"), .mac = doc_str(v, "mac"), .sandbox = doc_str(v, "sandbox"),
						   .socket_path = doc_str(v, "socketPath"), .pci_id = doc_str(v, "pciID"),
						   .mtu = doc_int(v, "mtu", 0) };
		if (!i->name)
			return err_set(p->e, -EBADMSG, "interfaces[%zu].name is missing", p->res->n_interfaces - 1);
	}
	return r;
}

static int add_ip(struct parse *p, const char *where, yyjson_val *v, const char *key, int64_t interface)
{
	struct cniresult_ip ip = { .address = doc_str(v, key), .gateway = doc_str(v, "gateway"), .interface = interface };

	if (!ip.address || !hwaddr_is_ip(ip.address))
		return err_set(p->e, -EBADMSG, "%s.%s: \"%s\" is no address", where, key, ip.address ? ip.address : "");
	if (ip.gateway && (!*ip.gateway || !hwaddr_is_ip(ip.gateway)))
		ip.gateway = NULL;
	*(struct cniresult_ip *)arena_push(p->a, &p->res->ips, &p->res->n_ips, sizeof(ip)) = ip;
	return 0;
}

static int parse_ips(struct parse *p, yyjson_val *root)
{
	yyjson_val *list = NULL, *v;
	yyjson_arr_iter it;
	int r = get_list(p, root, "ips", &list);

	yyjson_arr_iter_init(list, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		int64_t index = doc_int(v, "interface", -1);
		char where[32];

		snprintf(where, sizeof(where), "ips[%zu]", p->res->n_ips);
		if (index < -1 || index >= (int64_t)p->res->n_interfaces)
			return err_set(p->e, -EBADMSG, "%s.interface: there is no interface %lld", where, (long long)index);
		r = add_ip(p, where, v, "address", index);
	}
	return r;
}

static int parse_routes(struct parse *p, yyjson_val *owner)
{
	yyjson_val *list = NULL, *v;
	yyjson_arr_iter it;
	int r = get_list(p, owner, "routes", &list);

	yyjson_arr_iter_init(list, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		struct cniresult_route route = { .dst = doc_str(v, "dst"), .gw = doc_str(v, "gw"), .more = v };

		if (!route.dst || !hwaddr_is_ip(route.dst))
			return err_set(p->e, -EBADMSG, "routes[%zu].dst: \"%s\" is no network", p->res->n_routes, route.dst ? route.dst : "");
		if (p->res->n_routes == CNIRESULT_ITEMS_MAX)
			return err_set(p->e, -EBADMSG, "routes: more than %d", CNIRESULT_ITEMS_MAX);
		if (route.gw && !*route.gw)
			route.gw = NULL;
		*(struct cniresult_route *)arena_push(p->a, &p->res->routes, &p->res->n_routes, sizeof(route)) = route;
	}
	return r;
}

/* 0.1.0 and 0.2.0: one address of each family, each with its routes. */
static int parse_family(struct parse *p, yyjson_val *root, const char *key)
{
	yyjson_val *v = yyjson_obj_get(root, key);
	int r;

	if (!v || yyjson_is_null(v))
		return 0;
	if (!yyjson_is_obj(v))
		return err_set(p->e, -EBADMSG, "%s is no object", key);
	r = add_ip(p, key, v, "ip", -1);
	return r < 0 ? r : parse_routes(p, v);
}

int cniresult_parse(struct arena *a, yyjson_val *v, enum cni_version version, struct cniresult *ret, struct err *e)
{
	struct cniresult res = { 0 };
	struct parse p = { a, &res, e };
	const char *text = doc_str(v, "cniVersion");
	int r;

	if (!yyjson_is_obj(v))
		return err_set(e, -EBADMSG, "no JSON object");
	if (text && *text && cni_version_parse(text, &version) < 0)
		return err_set(e, -EBADMSG, "cniVersion: \"%s\" is unknown", text);
	if (version < CNI_0_3_0) {
		r = parse_family(&p, v, "ip4");
		if (r == 0)
			r = parse_family(&p, v, "ip6");
	} else {
		r = parse_interfaces(&p, v);
		if (r == 0)
			r = parse_ips(&p, v);
		if (r == 0)
			r = parse_routes(&p, v);
	}
	if (r < 0)
		return r;
	res.dns = yyjson_is_obj(yyjson_obj_get(v, "dns")) ? yyjson_obj_get(v, "dns") : NULL;
	*ret = res;
	return 0;
}

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	if (value && *value)
		yyjson_mut_obj_add_strcpy(doc, obj, key, value);
}

static void add_interfaces(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct cniresult *res, enum cni_version version)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "interfaces");

	for (size_t i = 0; i < res->n_interfaces; i++) {
		const struct cniresult_interface *in = &res->interfaces[i];
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_strcpy(doc, v, "name", in->name);
		add_str(doc, v, "mac", in->mac);
		if (version >= CNI_1_1_0 && in->mtu)
			yyjson_mut_obj_add_int(doc, v, "mtu", in->mtu);
		add_str(doc, v, "sandbox", in->sandbox);
		if (version >= CNI_1_1_0) {
			add_str(doc, v, "socketPath", in->socket_path);
			add_str(doc, v, "pciID", in->pci_id);
		}
	}
}

static void add_ips(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct cniresult *res, enum cni_version version)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "ips");

	for (size_t i = 0; i < res->n_ips; i++) {
		const struct cniresult_ip *ip = &res->ips[i];
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		if (version < CNI_1_0_0)
			yyjson_mut_obj_add_str(doc, v, "version", strchr(ip->address, ':') ? "6" : "4");
		if (ip->interface >= 0)
			yyjson_mut_obj_add_int(doc, v, "interface", ip->interface);
		yyjson_mut_obj_add_strcpy(doc, v, "address", ip->address);
		add_str(doc, v, "gateway", ip->gateway);
	}
}

static yyjson_mut_val *route_json(yyjson_mut_doc *doc, const struct cniresult_route *route, enum cni_version version)
{
	static const char *const since_1_1[] = { "mtu", "advmss", "priority", "table", "scope" };
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_strcpy(doc, v, "dst", route->dst);
	add_str(doc, v, "gw", route->gw);
	for (size_t i = 0; version >= CNI_1_1_0 && i < ARRAY_SIZE(since_1_1); i++) {
		yyjson_val *more = yyjson_obj_get(route->more, since_1_1[i]);

		if (yyjson_is_int(more))
			yyjson_mut_obj_add_val(doc, v, since_1_1[i], yyjson_val_mut_copy(doc, more));
	}
	return v;
}

static void add_family(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct cniresult *res, bool v4)
{
	yyjson_mut_val *v, *list = yyjson_mut_arr(doc);
	size_t i = 0;

	while (i < res->n_ips && !strchr(res->ips[i].address, ':') != v4)
		i++;
	if (i == res->n_ips)
		return;
	v = yyjson_mut_obj_add_obj(doc, root, v4 ? "ip4" : "ip6");
	yyjson_mut_obj_add_strcpy(doc, v, "ip", res->ips[i].address);
	add_str(doc, v, "gateway", res->ips[i].gateway);
	for (i = 0; i < res->n_routes; i++)
		if (!strchr(res->routes[i].dst, ':') == v4)
			yyjson_mut_arr_append(list, route_json(doc, &res->routes[i], CNI_0_2_0));
	if (yyjson_mut_arr_size(list))
		yyjson_mut_obj_add_val(doc, v, "routes", list);
}

yyjson_mut_val *cniresult_json(yyjson_mut_doc *doc, const struct cniresult *res, enum cni_version version)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	yyjson_mut_obj_add_str(doc, root, "cniVersion", cni_version_text(version));
	if (version < CNI_0_3_0) {
		add_family(doc, root, res, true);
		add_family(doc, root, res, false);
	} else {
		if (res->n_interfaces)
			add_interfaces(doc, root, res, version);
		if (res->n_ips)
			add_ips(doc, root, res, version);
		list = yyjson_mut_arr(doc);
		for (size_t i = 0; i < res->n_routes; i++)
			yyjson_mut_arr_append(list, route_json(doc, &res->routes[i], version));
		if (res->n_routes)
			yyjson_mut_obj_add_val(doc, root, "routes", list);
	}
	yyjson_mut_obj_add_val(doc, root, "dns", res->dns ? yyjson_val_mut_copy(doc, res->dns) : yyjson_mut_obj(doc));
	return root;
}
