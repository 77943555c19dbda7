/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "device/device.h"
#include "device/early.h"
#include "fabric/cdi.h"

#define BEGIN "kvrail-allocated-"
#define END ".json"

static char *path_of(struct arena *a, const char *dir, const char *pci)
{
	return arena_printf(a, "%s/" BEGIN "%s" END, dir, pci);
}

int early_write(const char *dir, const struct sysroot *root, const char *pci, const char *rdma, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cdi_device device = { .name = pci };
	const struct cdi_spec spec = { .devices = &device, .n_devices = 1 };
	struct chardev *nodes = NULL;
	char *path = path_of(a, dir, pci), *text;
	int r;

	if (rdma)
		chardev_list(root, a, rdma, &nodes, &device.n_nodes);
	device.nodes = nodes;
	text = cdi_render(a, &spec);
	r = file_mkdirs(dir, 0755);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

bool early_exists(const char *dir, const char *pci)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return access(path_of(a, dir, pci), F_OK) == 0;
}

void early_remove(const char *dir, const char *pci)
{
	_cleanup_arena_ struct arena *a = arena_new();

	unlink(path_of(a, dir, pci));
}

void early_clean(const char *dir, unsigned min_age_s, bool (*wanted)(void *arg, const char *pci), void *arg)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *de;
	struct stat st;

	while (d && (de = readdir(d))) {
		size_t len = strlen(de->d_name), b = strlen(BEGIN), t = strlen(END);

		if (len <= b + t || strncmp(de->d_name, BEGIN, b) || strcmp(de->d_name + len - t, END))
			continue;
		if (wanted(arg, arena_strndup(a, de->d_name + b, len - b - t)) || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (time(NULL) - st.st_mtime >= (time_t)min_age_s)
			unlinkat(dirfd(d), de->d_name, 0);
	}
}

static bool no(void *arg, const char *pci)
{
	return false;
}

void device_plugin_leave(const char *cdi_dir)
{
	if (cdi_dir)
		early_clean(cdi_dir, 0, no, NULL);
}
