/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent keeps of root. NET_ADMIN: links, RDMA and VFs; NET_RAW: gratuitous ARP; SYS_ADMIN: setns(2) and a fresh
 * sysfs in it; SYS_PTRACE: to open /proc/PID/ns/net of a pod that runs as another user. The rest is dropped, from the
 * bounding set too, so that nothing it executes gets it back.
 */
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/state.h"

static const unsigned kept[] = { CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_SYS_PTRACE };

static bool keeps(unsigned cap)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i] == cap)
			return true;
	return false;
}

int agent_drop_privileges(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, -errno, "no_new_privs");
	if (syscall(SYS_capget, &head, caps) < 0)
		return err_errno(e, -errno, "reading the capabilities");
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!keeps(cap) && prctl(PR_CAPBSET_READ, cap) == 1)
			prctl(PR_CAPBSET_DROP, cap); /* EPERM without SETPCAP: nothing to drop from then */
	for (unsigned i = 0; i < 64; i++) {
		if (keeps(i))
			continue;
		caps[i / 32].permitted &= ~(1u << i % 32);
		caps[i / 32].effective &= ~(1u << i % 32);
	}
	caps[0].inheritable = caps[1].inheritable = 0;
	if (syscall(SYS_capset, &head, caps) < 0)
		return err_errno(e, -errno, "dropping capabilities");
	return 0;
}
