/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/sysroot.h"

/*
 * What the kernel means by an errno of a write to these attributes (drivers/pci/pci-sysfs.c, iov.c; the drivers'
 * sriov_configure). An attribute that is not there is @absent.
 */
static const struct meaning {
	const char *attr;
	int code;
	bool absent;
	const char *text;
} meanings[] = {
	{ "sriov_numvfs", -ENOENT, true, "the device offers no SR-IOV: switch it on in its firmware and in the BIOS" },
	{ "sriov_numvfs", -ENOENT, false, "no driver is bound to the PF, or its driver cannot make VFs" },
	{ "sriov_numvfs", -ERANGE, false, "more VFs than sriov_totalvfs" },
	{ "sriov_numvfs", -EINVAL, false, "no number of VFs, or VFs are assigned to a guest" },
	{ "sriov_numvfs", -EBUSY, false, "VFs are enabled already (write 0 first), or the PF is in reset" },
	{ "sriov_numvfs", -ENOMEM, false, "no room for the VFs' memory or bus numbers: switch on SR-IOV and decoding above 4G "
					  "in the BIOS, or boot with pci=realloc" },
	{ "sriov_numvfs", -EIO, false, "the device reports different InitialVFs and TotalVFs" },
	{ "sriov_numvfs", -ENOSPC, false, "the PF has not enough MSI-X interrupts or queues for so many VFs" },
	{ "sriov_numvfs", -EPERM, false, "more VFs than the driver or the firmware allows" },
	{ "sriov_numvfs", -EAGAIN, false, "the driver is busy with another operation: try again" },
	{ "sriov_numvfs", -EOPNOTSUPP, false, "the driver cannot make so many VFs in its present mode" },
	{ "sriov_vf_msix_count", -EBUSY, false, "a driver is bound to the VF: unbind it first" },
	{ "sriov_vf_msix_count", -EOPNOTSUPP, false, "the PF's driver cannot share out MSI-X vectors" },
	{ "bind", -ENOENT, true, "the driver is not loaded" },
	{ "bind", -ENODEV, false, "no such device, or the driver does not take it" },
	{ "bind", -EBUSY, false, "the device has another driver" },
	{ "unbind", -ENOENT, true, "the driver is not loaded" },
	{ "unbind", -ENODEV, false, "the device is not bound to this driver" },
};

static const char *meaning_of(const char *path, int code, bool absent)
{
	const char *slash = strrchr(path, '/');
	const char *attr = slash ? slash + 1 : path;

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
		const struct meaning *m = &meanings[i];

		if (strcmp(m->attr, attr) == 0 && m->code == code && m->absent == absent)
			return m->text;
	}
	return code == -EROFS ? "sysfs is mounted read-only here" : NULL;
}

static int write_error(const char *path, const char *value, int code, bool absent, struct err *e)
{
	const char *means = meaning_of(path, code, absent);
	size_t n = strcspn(value, "\n");

	err_errno(e, code, "cannot write \"%.*s\" to sys/%s", (int)(n < 64 ? n : 64), value, path);
	return means ? err_append(e, code, " (%s)", means) : code;
}

int sysfs_write(const struct sysroot *r, const char *value, struct err *e, const char *fmt, ...)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	size_t len = strlen(value);
	ssize_t n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (n >= (ssize_t)sizeof(path))
		return err_errno(e, -ENAMETOOLONG, "sys/%.64s...", path);
	/* a plain file of a recorded tree keeps the tail of what it held otherwise */
	fd = file_open_beneath(sysroot_fd(r), path, O_WRONLY | O_NOCTTY | O_NONBLOCK | (sysroot_is_live(r) ? 0 : O_TRUNC), 0);
	if (fd < 0)
		return write_error(path, value, fd, true, e);
	n = write(fd, value, len);
	if (n < 0)
		return write_error(path, value, -errno, false, e);
	return (size_t)n == len ? 0 : write_error(path, value, -EIO, false, e);
}
