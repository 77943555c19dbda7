/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sysctls of a pod's network that a NAD asks for, as the tuning plugin takes them (containernetworking/plugins, plugins/meta/tuning): dots or
 * slashes between the parts, IFNAME for the interface at hand, nothing but net. In a pod's namespace the kernel shows those that are the
 * namespace's own, so that nothing outside it can be changed. They end with the namespace, or when the interface leaves it: no undo.
 */
#ifndef KVRAIL_ATTACH_SYSCTL_H
#define KVRAIL_ATTACH_SYSCTL_H

#include "base/arena.h"
#include "base/err.h"
#include "codec/table.h"

/* The file below /proc/sys of @key: "net.ipv4.conf.IFNAME.arp_filter" is "net/ipv4/conf/net1/arp_filter". -EINVAL: none of the network. */
int sysctl_path(struct arena *a, const char *key, const char *ifname, const char **ret, struct err *e);

/* Set them all in the namespace of the calling thread. The error names the key and the value. */
int sysctl_apply(struct arena *a, const struct pair *sysctls, size_t n, const char *ifname, struct err *e);

#endif
