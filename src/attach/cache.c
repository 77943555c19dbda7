/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: containernetworking/cni libcni/api.go (cachedInfo); multus-cni pkg/types/types.go (DelegateNetConf) and pkg/multus. */
#include <fcntl.h>
#include <string.h>

#include "attach/cache.h"
#include "base/base64.h"
#include "base/file.h"

#define DELEGATES_MAX 128
#define IPS_MAX 64

static void add_args(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *args)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (const char *s = args; *s; s += *s == ';') {
		size_t n = strcspn(s, ";"), key = strcspn(s, "=;");

		if (key < n) {
			yyjson_mut_val *pair = yyjson_mut_arr_add_arr(doc, list);

			yyjson_mut_arr_add_strncpy(doc, pair, s, key);
			yyjson_mut_arr_add_strncpy(doc, pair, s + key + 1, n - key - 1);
		}
		s += n;
	}
	if (yyjson_mut_arr_size(list))
		yyjson_mut_obj_add_val(doc, root, "cniArgs", list);
}

char *cache_text(struct arena *a, const struct cache_entry *entry)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, root, "kind", "cniCacheV1");
	yyjson_mut_obj_add_str(doc, root, "containerId", entry->container);
	yyjson_mut_obj_add_str(doc, root, "config", base64_encode(a, entry->config, strlen(entry->config)));
	yyjson_mut_obj_add_str(doc, root, "ifName", entry->ifname);
	yyjson_mut_obj_add_str(doc, root, "networkName", entry->network);
	if (entry->netns)
		yyjson_mut_obj_add_str(doc, root, "netns", entry->netns);
	add_args(doc, root, entry->args ? entry->args : "");
	if (yyjson_obj_size(entry->runtime))
		yyjson_mut_obj_add_val(doc, root, "capabilityArgs", yyjson_val_mut_copy(doc, entry->runtime));
	yyjson_mut_obj_add_val(doc, root, "result", yyjson_val_mut_copy(doc, entry->result));
	return doc_mut_to_json(a, root, false);
}

yyjson_val *cache_parse(struct arena *a, const char *text, size_t len)
{
	yyjson_val *root, *result;

	if (doc_parse_json(a, "result cache", text, len, CACHE_SIZE_MAX, &root, NULL) < 0)
		return NULL;
	/* before "cniCacheV1" the file was the result itself */
	if (!doc_str(root, "kind"))
		return yyjson_is_obj(root) ? root : NULL;
	result = yyjson_obj_get(root, "result");
	return !strcmp(doc_str(root, "kind"), "cniCacheV1") && yyjson_is_obj(result) ? result : NULL;
}

/* NULL: a part of it would lead elsewhere. */
static char *cache_path(struct arena *a, const char *cni_dir, const char *network, const char *container, const char *ifname)
{
	if (!netconf_is_name(network) || strchr(container, '/') || strchr(ifname, '/'))
		return NULL;
	return arena_printf(a, "%s/results/%s-%s-%s", cni_dir, network, container, ifname);
}

int cache_write(const char *cni_dir, const struct cache_entry *entry, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *path = cache_path(a, cni_dir, entry->network, entry->container, entry->ifname), *text = cache_text(a, entry);
	int r;

	if (!path)
		return err_set(e, -EINVAL, "network name \"%s\" cannot be part of a file's name", entry->network);
	r = file_mkdirs(arena_printf(a, "%s/results", cni_dir), 0700);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

yyjson_val *cache_read(struct arena *a, const char *cni_dir, const char *network, const char *container, const char *ifname)
{
	char *path = cache_path(a, cni_dir, network, container, ifname);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!path || file_read(AT_FDCWD, path, CACHE_SIZE_MAX, &text, &len) < 0)
		return NULL;
	return cache_parse(a, text, len);
}

int cache_remove(const char *cni_dir, const char *network, const char *container, const char *ifname, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *path = cache_path(a, cni_dir, network, container, ifname);
	int r = path ? file_unlink(AT_FDCWD, path) : 0;

	return r < 0 && r != -ENOTDIR ? err_errno(e, r, "%s", path) : 0;
}

static int parse_delegate(struct arena *a, yyjson_val *v, size_t at, struct scratch_delegate *ret, struct err *e)
{
	struct scratch_delegate d = { .ifname = doc_str(v, "ifnameRequest"), .mac = doc_str(v, "macRequest"),
				      .guid = doc_str(v, "infinibandGUIDRequest"), .device_id = doc_str(v, "deviceID") };
	const char *bytes = doc_str(v, "Bytes");
	yyjson_arr_iter it;
	yyjson_val *ip;
	char *conf;

	if (!bytes || base64_decode(a, bytes, &conf, &d.conf_len) < 0)
		return err_set(e, -EBADMSG, "[%zu].Bytes: no base64 of a configuration", at);
	d.conf = conf;
	d.ifname = d.ifname && *d.ifname ? d.ifname : NULL;
	if (d.ifname && (strlen(d.ifname) > 15 || strchr(d.ifname, '/')))
		return err_set(e, -EBADMSG, "[%zu].ifnameRequest: \"%s\" is no interface name", at, d.ifname);
	yyjson_arr_iter_init(yyjson_obj_get(v, "ipRequest"), &it);
	while ((ip = yyjson_arr_iter_next(&it)))
		if (yyjson_is_str(ip) && d.n_ips < IPS_MAX)
			*(const char **)arena_push(a, &d.ips, &d.n_ips, sizeof(*d.ips)) = yyjson_get_str(ip);
	*ret = d;
	return 0;
}

int scratch_parse(struct arena *a, const char *text, size_t len, struct scratch_delegate **ret, size_t *ret_n, struct err *e)
{
	struct scratch_delegate *list = NULL;
	yyjson_arr_iter it;
	yyjson_val *root, *v;
	size_t n = 0;
	int r = doc_parse_json(a, "Multus' scratch file", text, len, CACHE_SIZE_MAX, &root, e);

	if (r < 0)
		return -EBADMSG;
	if (!yyjson_is_arr(root) || yyjson_arr_size(root) > DELEGATES_MAX)
		return err_set(e, -EBADMSG, "Multus' scratch file: no list of at most %d delegates", DELEGATES_MAX);
	yyjson_arr_iter_init(root, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		r = parse_delegate(a, v, n, arena_push(a, &list, &n, sizeof(*list)), e);
		if (r < 0)
			return err_wrap(e, r, "Multus' scratch file");
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

bool scratch_is_there(struct arena *a, const char *cni_dir, const char *container)
{
	return access(arena_printf(a, "%s/%s", cni_dir, container), F_OK) == 0;
}

int scratch_read(struct arena *a, const char *cni_dir, const char *container, struct scratch_delegate **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, arena_printf(a, "%s/%s", cni_dir, container), CACHE_SIZE_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "%s/%s", cni_dir, container);
	return scratch_parse(a, text, len, ret, ret_n, e);
}

int scratch_remove(const char *cni_dir, const char *container, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char *path = arena_printf(a, "%s/%s", cni_dir, container);
	int r = file_unlink(AT_FDCWD, path);

	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}
