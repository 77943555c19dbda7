/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "agent/container.h"

int container_open_sysctls(struct err *e)
{
	struct statvfs s;

	if (statvfs("/proc/sys", &s) < 0 || !(s.f_flag & ST_RDONLY))
		return 0;
	if (mount(NULL, "/proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		return 0;
	return err_errno(e, -errno, "/proc/sys is read-only, so that ARP settings of rails cannot be made; the container needs the capability "
			 "SYS_ADMIN and appArmorProfile Unconfined, as deploy/ has them");
}
