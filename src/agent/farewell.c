/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/cluster.h"
#include "agent/farewell.h"
#include "base/file.h"
#include "base/log.h"
#include "device/device.h"

#define PROGRAM_MAX (64u << 20)

static bool being_deleted(yyjson_val *object)
{
	return doc_str(yyjson_obj_get(object, "metadata"), "deletionTimestamp") != NULL;
}

bool farewell_is_for_good(struct agent *ag)
{
	const struct kube_ref ref = { .group = "apps", .version = "v1", .plural = "daemonsets", .namespace = ag->options->namespace,
				      .name = ag->options->daemonset };
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e = { 0 };
	yyjson_val *v = NULL;
	int r = kube_get(ag->cluster->kube, a, &ref, &v, &e);

	if (r == -ENOENT || r == -EPERM || r == -EACCES || (r == 0 && being_deleted(v))) {
		log_info("DaemonSet %s/%s is gone: kvrail leaves this node", ref.namespace, ref.name);
		return true;
	}
	if (r < 0)
		log_warn("whether this is a restart cannot be found out, so it is taken for one: %s", e.msg);
	return false;
}

/* How many entries a folder has; one that is not there has none. */
static size_t count(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	d = opendir(path);
	while (d && (entry = readdir(d)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	if (d)
		closedir(d);
	return n;
}

static bool same_file(const char *x, const char *y)
{
	_cleanup_free_ char *tx = NULL, *ty = NULL;
	size_t nx, ny;

	return file_read(AT_FDCWD, x, PROGRAM_MAX, &tx, &nx) == 0 && file_read(AT_FDCWD, y, PROGRAM_MAX, &ty, &ny) == 0 && nx == ny &&
	       !memcmp(tx, ty, nx);
}

/*
 * Has a pod a rail, or is it not known? Pods without one are nothing to stay for: their default network's own plugin, which
 * the runtime calls again, detaches them.
 */
static bool has_rails(const char *dir)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_val *all = attach_list_dir(dir, doc_new(a), NULL), *at;
	size_t i, max;

	yyjson_mut_arr_foreach(all, i, max, at)
		if (yyjson_mut_arr_size(yyjson_mut_obj_get(at, "rails")))
			return true;
	return yyjson_mut_arr_size(all) < count(dir, "attach"); /* a journal that cannot be read may have one */
}

static void clean_folder(const char *dir, const char *name)
{
	char folder[PATH_MAX], path[2 * PATH_MAX];
	struct dirent *entry;
	DIR *d;

	snprintf(folder, sizeof(folder), "%s/%s", dir, name);
	d = opendir(folder);
	while (d && (entry = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(folder);
}

static void clean_state(const char *dir)
{
	static const char *const files[] = { "snapshot.json", "agent.lock" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	clean_folder(dir, "attach");
	clean_folder(dir, "spool");
	clean_folder(dir, "ports");
	rmdir(dir); /* fails where it is a mount point of the container */
}

void farewell_clean(const struct agent_options *o, const char *shim)
{
	char plugin[PATH_MAX];

	if (has_rails(o->state_dir) || count(o->state_dir, "spool") || count(o->state_dir, "ports")) {
		log_warn("pods have rails, or ports are provisioned: the plugin and %s stay, for an agent to come", o->state_dir);
		return;
	}
	snprintf(plugin, sizeof(plugin), "%s/kvrail", o->cni_bin_dir);
	if (shim && same_file(shim, plugin) && unlink(plugin) == 0)
		log_info("removed %s", plugin);
	device_plugin_leave(o->cdi_dir);
	clean_state(o->state_dir);
}
