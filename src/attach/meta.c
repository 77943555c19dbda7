/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "attach/meta.h"
#include "base/file.h"
#include "base/parse.h"

#define FILES_MAX 1024

#define AT(member) .offset = offsetof(struct meta_conf, member)
#define STR(key, member) { .name = key, .type = FIELD_STR, AT(member) }
#define STRS(key, member) { .name = key, .type = FIELD_STRS, AT(member), .n_offset = offsetof(struct meta_conf, n_##member) }

static const struct field meta_fields[] = {
	STR("clusterNetwork", cluster_network),
	{ .name = "delegates", .type = FIELD_JSON, AT(delegates) },
	STRS("defaultNetworks", default_networks),
	STR("confDir", conf_dir),
	STR("cniDir", cni_dir),
	STR("binDir", bin_dir),
	STR("multusNamespace", multus_namespace),
	{ .name = "namespaceIsolation", .type = FIELD_BOOL, AT(namespace_isolation) },
	STR("globalNamespaces", global_namespaces),
	STRS("systemNamespaces", system_namespaces),
	STR("readinessindicatorfile", readiness_file),
	{ .name = "runtimeConfig", .type = FIELD_JSON, AT(runtime) },
};
static TABLE(meta, meta_conf, "configuration");

bool meta_is(const struct request *rq)
{
	if (!rq->type)
		return false;
	if (!strcmp(rq->type, "multus") || !strcmp(rq->type, "multus-shim"))
		return true;
	return !strcmp(rq->type, "kvrail") && (yyjson_obj_get(rq->conf, "clusterNetwork") || yyjson_obj_get(rq->conf, "delegates") ||
					       yyjson_obj_get(rq->conf, "defaultNetworks"));
}

int meta_parse(struct arena *a, yyjson_val *conf, const struct attach_cluster *cluster, struct meta_conf *ret, struct cni_failure *f)
{
	static const char *system[] = { "kube-system" };
	struct complaints c = { .arena = a };
	struct meta_conf mc = { 0 };

	if (table_decode(&meta, a, conf, "", &mc, &c) < 0)
		for (size_t i = 0; i < c.n; i++)
			if (!c.v[i].warning)
				return cni_fail(f, CNI_INVALID_CONFIG, NULL, "%s: %s", c.v[i].path, c.v[i].text);
	if (mc.delegates && (!yyjson_is_arr(mc.delegates) || !yyjson_arr_size(mc.delegates)))
		mc.delegates = NULL;
	if (is_given(mc.cluster_network))
		mc.delegates = NULL; /* as Multus: clusterNetwork wins */
	else if (!mc.delegates)
		return cni_fail(f, CNI_INVALID_CONFIG, NULL,
				"neither clusterNetwork nor delegates says what the default network is: name a configuration, or put one into delegates");
	mc.conf_dir = is_given(mc.conf_dir) ? mc.conf_dir : cluster && cluster->conf_dir ? cluster->conf_dir : "/etc/cni/multus/net.d";
	mc.cni_dir = is_given(mc.cni_dir) ? mc.cni_dir : cluster && cluster->cni_dir ? cluster->cni_dir : "/var/lib/cni/multus";
	mc.bin_dir = is_given(mc.bin_dir) ? mc.bin_dir : cluster && cluster->bin_dirs ? cluster->bin_dirs : "/opt/cni/bin";
	mc.multus_namespace = is_given(mc.multus_namespace) ? mc.multus_namespace : "kube-system";
	mc.global_namespaces = is_given(mc.global_namespaces) ? mc.global_namespaces : "default";
	if (!table_has(&meta, &mc, "systemNamespaces")) {
		mc.system_namespaces = system;
		mc.n_system_namespaces = 1;
	}
	*ret = mc;
	return 0;
}

bool meta_is_system(const struct meta_conf *mc, const char *namespace)
{
	for (size_t i = 0; i < mc->n_system_namespaces; i++)
		if (!strcmp(mc->system_namespaces[i], namespace))
			return true;
	return false;
}

bool meta_allows(const struct meta_conf *mc, const char *pod_namespace, const char *namespace)
{
	size_t len = strlen(namespace);

	if (!mc->namespace_isolation || !strcmp(pod_namespace, namespace))
		return true;
	for (const char *s = mc->global_namespaces; *s; s += *s == ',') {
		size_t n;

		s += strspn(s, " \t");
		n = strcspn(s, ", \t");
		if (n == len && !memcmp(s, namespace, n))
			return true;
		s += strcspn(s, ",");
	}
	return false;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static bool has_end(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && !strcmp(s + n - k, end);
}

/* The configuration files of a folder, sorted. @ends: NULL-terminated. */
static size_t list_files(struct arena *a, const char *dir, const char *const *ends, char ***ret)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *entry;
	char **names = NULL;
	size_t n = 0;

	while (d && n < FILES_MAX && (entry = readdir(d)))
		for (const char *const *end = ends; *end; end++)
			if (has_end(entry->d_name, *end))
				*(char **)arena_push(a, &names, &n, sizeof(*names)) = arena_printf(a, "%s/%s", dir, entry->d_name);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	return n;
}

static int append_file(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *list, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	yyjson_val *v;
	size_t len;
	int r = file_read(AT_FDCWD, path, NETCONF_SIZE_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "%s", path);
	r = doc_parse_json(a, path, text, len, NETCONF_SIZE_MAX, &v, e);
	if (r == 0)
		yyjson_mut_arr_append(list, yyjson_val_mut_copy(doc, v));
	return r;
}

/* libcni's chaining: what NAME/ beside the list's file holds is appended to its plugins. */
static int chain(struct arena *a, const char *path, struct netconf *nc, struct err *e)
{
	static const char *const ends[] = { ".conf", NULL };
	const char *slash = strrchr(path, '/');
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root, *list;
	char **files, *text;
	size_t n;

	if (!nc->list || !nc->name || !slash || !has_end(path, ".conflist") || doc_bool(nc->root, "loadOnlyInlinedPlugins", false))
		return 0;
	n = list_files(a, arena_printf(a, "%.*s/%s", (int)(slash - path), path, nc->name), ends, &files);
	if (n == 0)
		return 0;
	root = yyjson_val_mut_copy(doc, nc->root);
	list = yyjson_mut_obj_get(root, "plugins");
	for (size_t i = 0; i < n; i++) {
		int r = append_file(a, doc, list, files[i], e);

		if (r < 0)
			return r;
	}
	text = doc_mut_to_json(a, root, false);
	return netconf_parse(a, path, text, strlen(text), nc, e);
}

static int load_file(struct arena *a, const char *path, struct netconf *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, NETCONF_SIZE_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "%s", path);
	r = netconf_parse(a, path, text, len, ret, e);
	return r < 0 ? r : chain(a, path, ret, e);
}

static int load_by_name(struct arena *a, const char *conf_dir, const char *name, struct netconf *ret, struct err *e)
{
	static const char *const ends[] = { ".conf", ".json", ".conflist", NULL };
	char **files;
	size_t n = list_files(a, conf_dir, ends, &files);

	for (size_t i = 0; i < n; i++) {
		struct netconf nc;

		/* a broken file of another network is none of ours */
		if (load_file(a, files[i], &nc, NULL) == 0 && nc.name && !strcmp(nc.name, name)) {
			*ret = nc;
			return 0;
		}
	}
	return err_set(e, -ENOENT, "no configuration is named \"%s\" among the %zu in %s", name, n, conf_dir);
}

int meta_load(struct arena *a, const char *conf_dir, const char *name, struct netconf *ret, struct err *e)
{
	static const char *const ends[] = { ".conf", ".conflist", NULL };
	struct stat st;
	char **files;

	if (!strchr(name, '/'))
		return load_by_name(a, conf_dir, name, ret, e);
	if (stat(name, &st) < 0)
		return err_errno(e, -errno, "%s", name);
	if (!S_ISDIR(st.st_mode))
		return load_file(a, name, ret, e);
	if (list_files(a, name, ends, &files) == 0)
		return err_set(e, -ENOENT, "%s holds no .conf and no .conflist", name);
	return load_file(a, files[0], ret, e);
}
