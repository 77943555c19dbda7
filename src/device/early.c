/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "device/device.h"
#include "device/early.h"
#include "fabric/cdi.h"
#include "linux/pci.h"

#define OURS "kvrail-" /* begins the name of each specification of ours */
#define BEGIN OURS "allocated-"
#define SPEC_MAX (4u << 20)
#define END ".json"

static char *path_of(struct arena *a, const char *dir, const char *pci)
{
	return arena_printf(a, "%s/" BEGIN "%s" END, dir, pci);
}

int early_write(const char *dir, const struct sysroot *root, const char *pci, const char *rdma, bool told, struct err *e)
{
	static const struct timespec old[2]; /* 1970 */
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
	if (r == 0 && told)
		utimensat(AT_FDCWD, path, old, AT_SYMLINK_NOFOLLOW); /* else it stays a minute longer */
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

bool early_exists(const char *dir, const char *pci)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return access(path_of(a, dir, pci), F_OK) == 0;
}

bool early_superseded(const char *dir, const char *pci)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		_cleanup_free_ char *text = NULL;
		size_t n = strlen(de->d_name), len;

		if (strncmp(de->d_name, OURS, strlen(OURS)) || !strncmp(de->d_name, BEGIN, strlen(BEGIN)) || n < strlen(END) ||
		    strcmp(de->d_name + n - strlen(END), END) || file_read(dirfd(d), de->d_name, SPEC_MAX, &text, &len) < 0)
			continue;
		found = cdi_names(text, len, &pci, 1);
	}
	return found;
}

void early_remove(const char *dir, const char *pci)
{
	_cleanup_arena_ struct arena *a = arena_new();

	unlink(path_of(a, dir, pci));
}

int early_write_env(const char *dir, const char *pci, struct arena *a, const char **ret, struct err *e)
{
	static const char text[] = "# no rail of kvrail was attached to this pod: there is nothing to set\n";
	char *path = arena_printf(a, "%s/%s.env", dir, pci);
	int r = 0;

	if (access(path, F_OK) < 0) {
		r = file_mkdirs(dir, 0755);
		if (r == 0)
			r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
	}
	if (r < 0)
		return err_errno(e, r, "%s", path);
	*ret = path;
	return 0;
}

void early_clean(enum early_kind kind, const char *dir, unsigned min_age_s, bool (*wanted)(void *arg, const char *pci), void *arg)
{
	const char *begin = kind == EARLY_CDI ? BEGIN : "", *end = kind == EARLY_CDI ? END : ".env";
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *de;
	struct stat st;

	while (d && (de = readdir(d))) {
		size_t len = strlen(de->d_name), b = strlen(begin), t = strlen(end);
		struct pci_addr addr;
		const char *pci;

		if (len <= b + t || strncmp(de->d_name, begin, b) || strcmp(de->d_name + len - t, end))
			continue;
		pci = arena_strndup(a, de->d_name + b, len - b - t);
		if (pci_parse(pci, &addr) < 0 || wanted(arg, pci) || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
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
		early_clean(EARLY_CDI, cdi_dir, 0, no, NULL);
}
