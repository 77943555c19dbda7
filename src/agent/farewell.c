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

/* A folder that is not there is empty. */
static bool is_empty(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool empty = true;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	d = opendir(path);
	while (d && empty && (entry = readdir(d)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	if (d)
		closedir(d);
	return empty;
}

static bool same_file(const char *x, const char *y)
{
	_cleanup_free_ char *tx = NULL, *ty = NULL;
	size_t nx, ny;

	return file_read(AT_FDCWD, x, PROGRAM_MAX, &tx, &nx) == 0 && file_read(AT_FDCWD, y, PROGRAM_MAX, &ty, &ny) == 0 && nx == ny &&
	       !memcmp(tx, ty, nx);
}

static void clean_state(const char *dir)
{
	static const char *const folders[] = { "attach", "spool", "ports" }, *const files[] = { "snapshot.json", "agent.lock" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (!is_empty(dir, folders[i])) {
			log_info("%s/%s is not empty: the state stays, for an agent to come", dir, folders[i]);
			return;
		}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
		rmdir(path);
	}
	rmdir(dir); /* fails where it is a mount point of the container */
}

void farewell_clean(const struct agent_options *o, const char *shim)
{
	char plugin[PATH_MAX];

	snprintf(plugin, sizeof(plugin), "%s/kvrail", o->cni_bin_dir);
	if (shim && same_file(shim, plugin) && unlink(plugin) == 0)
		log_info("removed %s", plugin);
	device_plugin_leave(o->cdi_dir);
	clean_state(o->state_dir);
}
