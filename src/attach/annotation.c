/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "attach/annotation.h"
#include "attach/hwaddr.h"
#include "base/parse.h"

/* A DNS-1123 label without its limit of 63: [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_label(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || s[0] == '-' || s[n - 1] == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static char *trimmed(struct arena *a, const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return arena_strndup(a, s, n);
}

/* One "[ns/]name[@interface]"; @no and @at (both from 1) say where it stands. */
static int parse_short(struct arena *a, const char *s, size_t no, size_t at, const char *pod_namespace,
		       struct annotation_item *ret, struct err *e)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s, *sign = strchr(name, '@');
	struct annotation_item item = { .namespace = pod_namespace };

	if (slash && strchr(name, '/'))
		return err_set(e, -EINVAL, "network %zu (character %zu), \"%s\": more than one \"/\"; write [namespace/]name[@interface]",
			       no, at, s);
	if (sign && strchr(sign + 1, '@'))
		return err_set(e, -EINVAL, "network %zu (character %zu), \"%s\": more than one \"@\"; write [namespace/]name[@interface]",
			       no, at, s);
	if (slash && slash > s)
		item.namespace = trimmed(a, s, (size_t)(slash - s));
	item.name = trimmed(a, name, sign ? (size_t)(sign - name) : strlen(name));
	if (sign && sign[1])
		item.interface = trimmed(a, sign + 1, strlen(sign + 1));
	if (!is_label(item.name))
		return err_set(e, -EINVAL,
			       "network %zu (character %zu), \"%s\": the name \"%s\" is no DNS-1123 label (a-z, 0-9 and - inside); "
			       "names with dots need the JSON form", no, at, s, item.name);
	if (slash && slash > s && !is_label(item.namespace))
		return err_set(e, -EINVAL, "network %zu (character %zu), \"%s\": the namespace \"%s\" is no DNS-1123 label", no, at,
			       s, item.namespace);
	if (item.interface && !parse_is_ifname(item.interface))
		return err_set(e, -EINVAL,
			       "network %zu (character %zu), \"%s\": Linux takes no interface name \"%s\": 1 to 15 bytes, no \"/\", \":\" or space",
			       no, at, s, item.interface);
	*ret = item;
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
		r = parse_short(a, trimmed(a, s, len), n, (size_t)(s - text) + 1, pod_namespace, item, e);
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

/* A member as Go finds it: the exact key, else one that differs in case only. */
static yyjson_val *member(yyjson_val *obj, const char *key)
{
	yyjson_val *v = yyjson_obj_get(obj, key), *k;
	yyjson_obj_iter it;

	if (v)
		return v;
	yyjson_obj_iter_init(obj, &it);
	while ((k = yyjson_obj_iter_next(&it)))
		if (!strcasecmp(yyjson_get_str(k), key))
			return yyjson_obj_iter_get_val(k);
	return NULL;
}

/* A string member; absent, null and "" give NULL. */
static int get_str(yyjson_val *obj, size_t at, const char *key, const char **ret, struct err *e)
{
	yyjson_val *v = member(obj, key);
	const char *s = NULL;

	if (v && !yyjson_is_null(v)) {
		if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
			return err_set(e, -EINVAL, "[%zu].%s must be a string", at, key);
		s = yyjson_get_len(v) ? yyjson_get_str(v) : NULL;
	}
	*ret = s;
	return 0;
}

static int get_ips(struct arena *a, yyjson_val *obj, size_t at, struct annotation_item *item, struct err *e)
{
	yyjson_val *list = member(obj, "ips"), *v;
	yyjson_arr_iter it;

	if (!list || yyjson_is_null(list))
		return 0;
	if (!yyjson_is_arr(list))
		return err_set(e, -EINVAL, "[%zu].ips must be a list of addresses", at);
	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		const char *s = yyjson_get_str(v);

		if (!s || !hwaddr_is_ip(s))
			return err_set(e, -EINVAL, "[%zu].ips[%zu]: \"%s\" is neither an IP address nor address/prefix", at, item->n_ips,
				       s ? s : "");
		*(const char **)arena_push(a, &item->ips, &item->n_ips, sizeof(s)) = s;
	}
	return 0;
}

static int get_hwaddrs(yyjson_val *obj, size_t at, struct annotation_item *item, struct err *e)
{
	unsigned char raw[8];
	int r = get_str(obj, at, "mac", &item->mac, e);

	if (r == 0)
		r = get_str(obj, at, "infiniband-guid", &item->guid, e);
	if (r < 0)
		return r;
	if (item->mac && hwaddr_parse(item->mac, raw, 6) < 0)
		return err_set(e, -EINVAL, "[%zu].mac: \"%s\" is no MAC address such as 02:00:5e:10:00:01", at, item->mac);
	if (item->guid && hwaddr_parse(item->guid, raw, 8) < 0)
		return err_set(e, -EINVAL, "[%zu].infiniband-guid: \"%s\" is no GUID such as 02:00:5e:ff:fe:10:00:01", at, item->guid);
	return 0;
}

static int parse_element(struct arena *a, yyjson_val *obj, size_t at, const char *pod_namespace,
			 struct annotation_item *ret, struct err *e)
{
	struct annotation_item item = { 0 };
	const char *deprecated = NULL;
	int r;

	if (!yyjson_is_obj(obj))
		return err_set(e, -EINVAL, "[%zu] must be an object with a \"name\"", at);
	r = get_str(obj, at, "name", &item.name, e);
	if (r == 0)
		r = get_str(obj, at, "namespace", &item.namespace, e);
	if (r == 0)
		r = get_str(obj, at, "interface", &item.interface, e);
	if (r == 0)
		r = get_str(obj, at, "interfaceRequest", &deprecated, e);
	if (r == 0)
		r = get_str(obj, at, "deviceID", &item.device_id, e);
	if (r == 0)
		r = get_hwaddrs(obj, at, &item, e);
	if (r == 0)
		r = get_ips(a, obj, at, &item, e);
	if (r < 0)
		return r;
	if (!item.name)
		return err_set(e, -EINVAL, "[%zu].name is missing: the name of a NetworkAttachmentDefinition", at);
	if (!item.namespace)
		item.namespace = pod_namespace;
	if (!item.interface)
		item.interface = deprecated;
	if (item.interface && !parse_is_ifname(item.interface))
		return err_set(e, -EINVAL, "[%zu].interface: Linux takes no interface name \"%s\": 1 to 15 bytes, no \"/\", \":\" or space",
			       at, item.interface);
	item.cni_args = member(obj, "cni-args");
	if (item.cni_args && !yyjson_is_obj(item.cni_args))
		return err_set(e, -EINVAL, "[%zu].cni-args must be an object", at);
	*ret = item;
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
		if (copy[strspn(copy, " \t\r\n")])
			return parse_comma_list(a, copy, pod_namespace, ret, ret_n, e);
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	r = doc_parse_json(a, "networks", copy, len, ANNOTATION_SIZE_MAX, &list, e);
	if (r < 0)
		return r;
	return annotation_parse_list(a, list, pod_namespace, ret, ret_n, e);
}
