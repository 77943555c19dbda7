/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "agent/cniconf.h"
#include "base/file.h"
#include "base/log.h"
#include "codec/doc.h"

#define CONF_MAX (1u << 20)
#define PROGRAM_MAX (64u << 20)
#define OUR_TYPE "kvrail"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

/* As Multus chooses it: names in order, files of its own left out. */
static bool may_be_master(const struct cniconf_place *p, const char *name)
{
	return (ends_with(name, ".conf") || ends_with(name, ".conflist")) && strcmp(name, p->name) && strncmp(name, "00-multus", 9);
}

static bool is_ours(const char *text, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *v;

	return doc_parse_json(a, "conf", text, len, CONF_MAX, &v, NULL) == 0 && doc_str(v, "type") && !strcmp(doc_str(v, "type"), OUR_TYPE);
}

/* Another file of ours, under a name that an option gave before, is no default network either. */
static bool file_is_ours(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(AT_FDCWD, path, CONF_MAX, &text, &len) == 0 && is_ours(text, len);
}

int cniconf_master(const struct cniconf_place *p, struct arena *a, const char **ret, struct err *e)
{
	DIR *d = opendir(p->dir);
	const char *first = NULL;
	struct dirent *entry;

	if (!d)
		return err_errno(e, -errno, "the default network's configuration is looked for in %s", p->dir);
	while ((entry = readdir(d))) {
		const char *name = entry->d_name;

		if (may_be_master(p, name) && (!first || strcmp(name, first) < 0) && !file_is_ours(arena_printf(a, "%s/%s", p->dir, name)))
			first = arena_strdup(a, name);
	}
	closedir(d);
	if (!first)
		return err_set(e, -ENOENT, "no default network: %s has no other .conf or .conflist file; install a network plugin (flannel, Calico, ...)",
			       p->dir);
	*ret = arena_printf(a, "%s/%s", p->dir, first);
	return 0;
}

/* "1.0.0" -> 10000; 0 when it is no version. */
static unsigned version_number(const char *s)
{
	unsigned a, b, c;

	return s && sscanf(s, "%3u.%3u.%3u", &a, &b, &c) == 3 ? a * 10000 + b * 100 + c : 0;
}

static void add_capabilities(yyjson_mut_doc *doc, yyjson_mut_val *to, yyjson_val *plugin)
{
	yyjson_val *key, *value;
	size_t i, max;

	yyjson_obj_foreach(yyjson_obj_get(plugin, "capabilities"), i, max, key, value)
		if (yyjson_is_true(value) && !yyjson_mut_obj_get(to, yyjson_get_str(key)))
			yyjson_mut_obj_add_bool(doc, to, yyjson_get_str(key), true);
}

int cniconf_text(struct arena *a, const char *path, const char *master, size_t len, char **ret, struct err *e)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *capabilities = yyjson_mut_obj(doc);
	const char *version;
	yyjson_val *m, *plugin;
	size_t i, max;
	int r = doc_parse_json(a, path, master, len, CONF_MAX, &m, e);

	if (r < 0)
		return r;
	if (!doc_str(m, "type") && !yyjson_is_arr(yyjson_obj_get(m, "plugins")))
		return err_set(e, -EINVAL, "%s is no network configuration: it has neither type nor plugins", path);
	version = doc_str(m, "cniVersion");
	if (version_number(version) < 400) /* older ones have no CHECK, and results of another form; libcni converts */
		version = "0.4.0";
	add_capabilities(doc, capabilities, m);
	yyjson_arr_foreach(yyjson_obj_get(m, "plugins"), i, max, plugin)
		add_capabilities(doc, capabilities, plugin);
	yyjson_mut_obj_add_strcpy(doc, v, "cniVersion", version);
	yyjson_mut_obj_add_str(doc, v, "name", "kvrail");
	yyjson_mut_obj_add_str(doc, v, "type", OUR_TYPE);
	yyjson_mut_obj_add_strcpy(doc, v, "clusterNetwork", path);
	if (yyjson_mut_obj_size(capabilities))
		yyjson_mut_obj_add_val(doc, v, "capabilities", capabilities);
	*ret = arena_printf(a, "%s\n", doc_mut_to_json(a, v, true));
	return 0;
}

int cniconf_put(const struct cniconf_place *p, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *master = NULL, *old = NULL;
	const char *path, *own = arena_printf(a, "%s/%s", p->dir, p->name);
	size_t len, old_len = 0;
	char *text;
	int r = cniconf_master(p, a, &path, e);

	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, path, CONF_MAX, &master, &len);
	if (r < 0)
		return err_errno(e, r, "reading %s", path);
	r = cniconf_text(a, path, master, len, &text, e);
	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, own, CONF_MAX, &old, &old_len);
	if (r == 0 && !strcmp(old, text))
		return 0;
	if (r == 0 && old_len && !is_ours(old, old_len))
		return err_set(e, -EEXIST, "%s is there and not kvrail's: remove it, or name another file with --cni-conf-name", own);
	r = file_write_atomic(AT_FDCWD, own, text, strlen(text), 0600);
	if (r < 0)
		return err_errno(e, r, "writing %s", own);
	log_info("%s: pods' default network is %s", own, path);
	return 0;
}

int cniconf_remove(const struct cniconf_place *p, struct err *e)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", p->dir, p->name);
	if (!file_is_ours(path))
		return 0;
	r = file_unlink(AT_FDCWD, path);
	return r < 0 ? err_errno(e, r, "removing %s", path) : 0;
}

int cniconf_install(const char *from, const char *dir, const char *name, struct err *e)
{
	_cleanup_free_ char *program = NULL, *old = NULL;
	char path[PATH_MAX];
	size_t len, old_len = 0;
	int r;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	r = file_read(AT_FDCWD, from, PROGRAM_MAX, &program, &len);
	if (r < 0)
		return err_errno(e, r, "reading %s", from);
	if (file_read(AT_FDCWD, path, PROGRAM_MAX, &old, &old_len) == 0 && old_len == len && !memcmp(old, program, len))
		return 0;
	r = file_mkdirs(dir, 0755);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, program, len, 0755);
	if (r < 0)
		return err_errno(e, r, "installing %s", path);
	log_info("installed %s", path);
	return 0;
}
