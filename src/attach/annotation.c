/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "attach/annotation.h"
#include "attach/hwaddr.h"
#include "base/parse.h"
#include "ipam/addr.h"

/* A DNS-1123 label without its limit of 63: [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_label(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || s[0] == '-' || s[n - 1] == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* What Unicode, and with it Go's TrimSpace, calls white space. */
static const char *const spaces[] = {
	" ", "\t", "\n", "\v", "\f", "\r", "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
	"\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
	"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

static size_t space_at(const char *s, size_t n, bool end)
{
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		size_t len = strlen(spaces[i]);

		if (len <= n && !memcmp(end ? s + n - len : s, spaces[i], len))
			return len;
	}
	return 0;
}

static char *trimmed(struct arena *a, const char *s, size_t n)
{
	size_t k;

	while ((k = space_at(s, n, false))) {
		s += k;
		n -= k;
	}
	while ((k = space_at(s, n, true)))
		n -= k;
	return arena_strndup(a, s, n);
}

/* One "[ns/]name[@interface]" after @item->where. */
static int parse_short(struct arena *a, const char *s, const char *pod_namespace, struct annotation_item *item, struct err *e)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s, *sign = strchr(name, '@');

	if (slash && strchr(name, '/'))
		return err_set(e, -EINVAL, "%s, \"%s\": more than one \"/\"; write [namespace/]name[@interface]", item->where, s);
	if (sign && strchr(sign + 1, '@'))
		return err_set(e, -EINVAL, "%s, \"%s\": more than one \"@\"; write [namespace/]name[@interface]", item->where, s);
	item->namespace = slash ? trimmed(a, s, (size_t)(slash - s)) : "";
	item->name = trimmed(a, name, sign ? (size_t)(sign - name) : strlen(name));
	item->interface = sign ? trimmed(a, sign + 1, strlen(sign + 1)) : NULL;
	if (*item->name && !is_label(item->name))
		return err_set(e, -EINVAL,
			       "%s, \"%s\": the name \"%s\" is no DNS-1123 label (a-z, 0-9 and - inside); names with dots need the JSON form",
			       item->where, s, item->name);
	if (*item->namespace && !is_label(item->namespace))
		return err_set(e, -EINVAL, "%s, \"%s\": the namespace \"%s\" is no DNS-1123 label", item->where, s, item->namespace);
	if (!*item->namespace)
		item->namespace = pod_namespace;
	if (item->interface && !*item->interface)
		item->interface = NULL;
	if (item->interface && (strlen(item->interface) > 15 || strpbrk(item->interface, " \t\n\v\f\r/")))
		return err_set(e, -EINVAL, "%s, \"%s\": Linux takes no interface name \"%s\": 1 to 15 bytes, no \"/\", \":\" or space",
			       item->where, s, item->interface);
	return 0;
}

static int parse_comma_list(struct arena *a, const char *text, const char *pod_namespace, struct annotation_item **ret,
			    size_t *ret_n, struct err *e)
{
	struct annotation_item *items = NULL;
	size_t n = 0;

	for (const char *s = text;; s++) {
		size_t len = strcspn(s, ",");
		struct annotation_item *item;
		int r;

		if (n == ANNOTATION_ITEMS_MAX)
			return err_set(e, -E2BIG, "more than %d networks", ANNOTATION_ITEMS_MAX);
		item = arena_push(a, &items, &n, sizeof(*items));
		item->where = arena_printf(a, "network %zu (character %zu)", n, (size_t)(s - text) + 1);
		r = parse_short(a, trimmed(a, s, len), pod_namespace, item, e);
		if (r < 0)
			return r;
		s += len;
		if (!*s)
			break;
	}
	*ret = items;
	*ret_n = n;
	return 0;
}

/* One member's value into the item. */
struct element {
	struct arena *a;
	struct annotation_item *item;
	yyjson_val *v;
	const char *key; /* as documented */
	struct err *e;
};

/* null leaves a string as it was, as in Go. */
static int take_str(struct element *el, const char **ret)
{
	if (yyjson_is_null(el->v))
		return 0;
	if (!yyjson_is_str(el->v))
		return err_set(el->e, -EINVAL, "%s.%s must be a string", el->item->where, el->key);
	*ret = yyjson_get_len(el->v) ? yyjson_get_str(el->v) : NULL;
	return 0;
}

static int take_name(struct element *el)
{
	return take_str(el, &el->item->name);
}

static int take_namespace(struct element *el)
{
	return take_str(el, &el->item->namespace);
}

static int take_interface(struct element *el)
{
	return take_str(el, &el->item->interface);
}

static int take_old_interface(struct element *el)
{
	return take_str(el, &el->item->old_interface);
}

static int take_device(struct element *el)
{
	return take_str(el, &el->item->device_id);
}

static int take_mac(struct element *el)
{
	return take_str(el, &el->item->mac);
}

static int take_guid(struct element *el)
{
	return take_str(el, &el->item->guid);
}

static int want_list(struct element *el, const char *of)
{
	if (yyjson_is_null(el->v) || yyjson_is_arr(el->v))
		return 0;
	return err_set(el->e, -EINVAL, "%s.%s must be a list of %s", el->item->where, el->key, of);
}

static int take_ips(struct element *el)
{
	struct annotation_item *item = el->item;
	int r = want_list(el, "addresses");
	yyjson_arr_iter it;
	yyjson_val *v;

	item->ips = NULL;
	item->n_ips = 0;
	yyjson_arr_iter_init(el->v, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		const char *s = yyjson_is_null(v) ? "" : yyjson_get_str(v);

		if (!s)
			return err_set(el->e, -EINVAL, "%s.ips[%zu] must be a string", item->where, item->n_ips);
		*(const char **)arena_push(el->a, &item->ips, &item->n_ips, sizeof(s)) = s;
	}
	return r;
}

static int take_default_route(struct element *el)
{
	struct annotation_item *item = el->item;
	int r = want_list(el, "gateway addresses");
	yyjson_arr_iter it;
	yyjson_val *v;

	item->has_default_route = !yyjson_is_null(el->v);
	item->default_route = NULL;
	item->n_default_route = 0;
	yyjson_arr_iter_init(el->v, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		const char *s = yyjson_is_null(v) ? "" : yyjson_get_str(v);
		struct store_ip ip;

		if (s && *s) /* an empty one is none, and no error */
			s = !strchr(s, '/') && hwaddr_is_ip(s) && ipam_ip_parse(s, &ip) == 0 ? ipam_ip_text(el->a, &ip) : NULL;
		if (!s)
			return err_set(el->e, -EINVAL, "%s.default-route[%zu]: \"%s\" is no IP address", item->where, item->n_default_route,
				       yyjson_is_str(v) ? yyjson_get_str(v) : "");
		*(const char **)arena_push(el->a, &item->default_route, &item->n_default_route, sizeof(s)) = s;
	}
	return r;
}

/* The members of both objects, @later's where both have one: what Go makes of a key that comes twice. */
static int merge(struct element *el, yyjson_val *first, yyjson_val *later, yyjson_val **ret)
{
	yyjson_mut_doc *doc = doc_new(el->a);
	yyjson_mut_val *v = yyjson_val_mut_copy(doc, first);
	yyjson_obj_iter it;
	yyjson_val *k;
	char *text;

	yyjson_obj_iter_init(later, &it);
	while ((k = yyjson_obj_iter_next(&it)))
		yyjson_mut_obj_put(v, yyjson_val_mut_copy(doc, k), yyjson_val_mut_copy(doc, yyjson_obj_iter_get_val(k)));
	text = doc_mut_to_json(el->a, v, false);
	return doc_parse_json_repeated(el->a, el->key, text, strlen(text), 2 * ANNOTATION_SIZE_MAX, ret, el->e);
}

static int take_cni_args(struct element *el)
{
	struct annotation_item *item = el->item;

	if (yyjson_is_null(el->v)) {
		item->cni_args = NULL;
		return 0;
	}
	if (!yyjson_is_obj(el->v))
		return err_set(el->e, -EINVAL, "%s.cni-args must be an object", item->where);
	if (item->cni_args)
		return merge(el, item->cni_args, el->v, &item->cni_args);
	item->cni_args = el->v;
	return 0;
}

/* A member of an object within the item: integers and strings, with the place in messages. */
struct part {
	const char *key;
	int64_t *number;
	const char **text;
};

static int take_parts(struct element *el, yyjson_val *obj, const char *place, const struct part *parts, size_t n)
{
	yyjson_obj_iter it;
	yyjson_val *k;

	yyjson_obj_iter_init(obj, &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		yyjson_val *v = yyjson_obj_iter_get_val(k);
		size_t i = 0;

		while (i < n && strcasecmp(parts[i].key, yyjson_get_str(k)))
			i++;
		if (i == n || yyjson_is_null(v))
			continue;
		if (parts[i].number ? !yyjson_is_int(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX) : !yyjson_is_str(v))
			return err_set(el->e, -EINVAL, "%s.%s.%s must be %s", el->item->where, place, parts[i].key,
				       parts[i].number ? "a whole number" : "a string");
		if (parts[i].number)
			*parts[i].number = yyjson_get_sint(v);
		else
			*parts[i].text = yyjson_get_len(v) ? yyjson_get_str(v) : NULL;
	}
	return 0;
}

static int take_ports(struct element *el)
{
	struct annotation_item *item = el->item;
	int r = want_list(el, "objects with hostPort and containerPort");
	yyjson_arr_iter it;
	yyjson_val *v;

	item->ports = NULL;
	item->n_ports = 0;
	yyjson_arr_iter_init(el->v, &it);
	while (r == 0 && (v = yyjson_arr_iter_next(&it))) {
		struct annotation_port *port = arena_push(el->a, &item->ports, &item->n_ports, sizeof(*port));
		const struct part parts[] = { { "hostPort", &port->host, NULL }, { "containerPort", &port->container, NULL },
					      { "protocol", NULL, &port->protocol }, { "hostIP", NULL, &port->host_ip } };
		char place[40];

		snprintf(place, sizeof(place), "portMappings[%zu]", item->n_ports - 1);
		port->null = yyjson_is_null(v);
		if (!port->null && !yyjson_is_obj(v))
			return err_set(el->e, -EINVAL, "%s.%s must be an object", item->where, place);
		r = take_parts(el, v, place, parts, ARRAY_SIZE(parts));
	}
	return r;
}

static int take_bandwidth(struct element *el)
{
	struct annotation_bandwidth b = el->item->bandwidth ? *el->item->bandwidth : (struct annotation_bandwidth){ 0 };
	const struct part parts[] = { { "ingressRate", &b.ingress_rate, NULL }, { "ingressBurst", &b.ingress_burst, NULL },
				      { "egressRate", &b.egress_rate, NULL }, { "egressBurst", &b.egress_burst, NULL } };
	int r;

	if (yyjson_is_null(el->v)) {
		el->item->bandwidth = NULL;
		return 0;
	}
	if (!yyjson_is_obj(el->v))
		return err_set(el->e, -EINVAL, "%s.bandwidth must be an object", el->item->where);
	r = take_parts(el, el->v, "bandwidth", parts, ARRAY_SIZE(parts));
	if (r == 0)
		el->item->bandwidth = arena_memdup(el->a, &b, sizeof(b));
	return r;
}

/* "ipam-claim-reference" is of the specification 1.3; Multus, and so we, leave it alone as any unknown key. */
static const struct {
	const char *key;
	int (*take)(struct element *el);
} members[] = {
	{ "name", take_name }, { "namespace", take_namespace }, { "interface", take_interface }, { "interfaceRequest", take_old_interface },
	{ "ips", take_ips }, { "mac", take_mac }, { "infiniband-guid", take_guid }, { "portMappings", take_ports },
	{ "bandwidth", take_bandwidth }, { "deviceID", take_device }, { "cni-args", take_cni_args }, { "default-route", take_default_route },
};

/* Every member in the order of the text: keys are found whatever their case, and the last of several wins. */
static int take_members(struct arena *a, yyjson_val *obj, struct annotation_item *item, struct err *e)
{
	yyjson_obj_iter it;
	yyjson_val *k;

	yyjson_obj_iter_init(obj, &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
			struct element el = { a, item, yyjson_obj_iter_get_val(k), members[i].key, e };
			int r;

			if (strcasecmp(members[i].key, yyjson_get_str(k)))
				continue;
			r = members[i].take(&el);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int parse_element(struct arena *a, yyjson_val *obj, size_t at, const char *pod_namespace,
			 struct annotation_item *item, struct err *e)
{
	int r;

	item->where = arena_printf(a, "[%zu]", at);
	if (!yyjson_is_obj(obj))
		return err_set(e, -EINVAL, "[%zu] must be an object with a \"name\"", at);
	r = take_members(a, obj, item, e);
	if (r < 0)
		return r;
	if (item->mac && !hwaddr_is_mac(item->mac))
		return err_set(e, -EINVAL, "[%zu].mac: \"%s\" is no MAC address such as 02:00:5e:10:00:01", at, item->mac);
	if (item->guid && !hwaddr_is_mac(item->guid))
		return err_set(e, -EINVAL, "[%zu].infiniband-guid: \"%s\" is no GUID such as 02:00:5e:ff:fe:10:00:01", at, item->guid);
	for (size_t i = 0; i < item->n_ips; i++)
		if (!hwaddr_is_ip(item->ips[i]))
			return err_set(e, -EINVAL, "[%zu].ips[%zu]: \"%s\" is neither an IP address nor address/prefix", at, i, item->ips[i]);
	item->name = item->name ? item->name : "";
	item->namespace = item->namespace ? item->namespace : pod_namespace;
	item->interface = item->interface ? item->interface : item->old_interface;
	return 0;
}

int annotation_parse_list(struct arena *a, yyjson_val *list, const char *pod_namespace, struct annotation_item **ret,
			  size_t *ret_n, struct err *e)
{
	struct annotation_item *items = NULL;
	yyjson_arr_iter it;
	yyjson_val *v;
	size_t n = 0;

	if (!yyjson_is_arr(list))
		return err_set(e, -EINVAL, "must be a list of objects: [{\"name\": ...}]");
	if (yyjson_arr_size(list) > ANNOTATION_ITEMS_MAX)
		return err_set(e, -E2BIG, "%zu networks, more than %d", yyjson_arr_size(list), ANNOTATION_ITEMS_MAX);
	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		struct annotation_item *item = arena_push(a, &items, &n, sizeof(*items));
		int r = parse_element(a, v, n - 1, pod_namespace, item, e);

		if (r < 0)
			return r;
	}
	*ret = items;
	*ret_n = n;
	return 0;
}

int annotation_parse(struct arena *a, const char *text, size_t len, const char *pod_namespace,
		     struct annotation_item **ret, size_t *ret_n, struct err *e)
{
	yyjson_val *list;
	char *copy;
	int r;

	if (len > ANNOTATION_SIZE_MAX)
		return err_set(e, -E2BIG, "%zu bytes, more than Kubernetes allows annotations (%u)", len, ANNOTATION_SIZE_MAX);
	if (memchr(text, '\0', len))
		return err_set(e, -EINVAL, "holds a NUL byte");
	copy = arena_strndup(a, text, len);
	if (!strpbrk(copy, "[{\"")) {
		if (*copy)
			return parse_comma_list(a, copy, pod_namespace, ret, ret_n, e);
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	r = doc_parse_json_repeated(a, "networks", copy, len, ANNOTATION_SIZE_MAX, &list, e);
	if (r < 0)
		return r;
	return annotation_parse_list(a, list, pod_namespace, ret, ret_n, e);
}

int annotation_check(const struct annotation_item *items, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct annotation_item *item = &items[i];
		unsigned char raw[8];

		if (!*item->name)
			return err_set(e, -EINVAL, "%s: name is missing: it says which NetworkAttachmentDefinition is meant", item->where);
		if (item->interface && !parse_is_ifname(item->interface))
			return err_set(e, -EINVAL, "%s: Linux takes no interface name \"%s\": 1 to 15 bytes, no \"/\", \":\" or space",
				       item->where, item->interface);
		if (item->mac && hwaddr_parse(item->mac, raw, 6) < 0)
			return err_set(e, -EINVAL, "%s: mac: \"%s\" is no MAC address such as 02:00:5e:10:00:01", item->where, item->mac);
		if (item->guid && hwaddr_parse(item->guid, raw, 8) < 0)
			return err_set(e, -EINVAL, "%s: infiniband-guid: \"%s\" is no GUID such as 02:00:5e:ff:fe:10:00:01", item->where,
				       item->guid);
	}
	return 0;
}
