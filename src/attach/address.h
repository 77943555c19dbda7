/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, routes and sysctls of an interface in the pod's namespace (of the calling thread). */
#ifndef KVRAIL_ATTACH_ADDRESS_H
#define KVRAIL_ATTACH_ADDRESS_H

#include "ipam/ipam.h"
#include "linux/rtnl.h"

/*
 * Before the interface goes up: it tells its neighbours when it does (arp_notify, ndisc_notify), answers ARP only for its own
 * addresses (arp_ignore, arp_announce: several rails may share one subnet), and takes replies that another rail's route would
 * have taken (rp_filter 2 where it was 1). A sysctl that this kernel lacks is left out.
 */
void address_sysctls(const char *ifname);

/* All of @given (each with its source route, see source-route.h), then the routes of @conf. */
int address_add(struct nl *nl, unsigned index, const char *ifname, const struct ipam_given *given, const struct ipam_conf *conf,
		struct err *e);

/* Before the interface leaves: what in the namespace would stay behind when it goes. */
void address_forget(struct nl *nl, unsigned index, const char **addresses, size_t n);

/* -ENOENT, naming it, when one of @addresses ("10.0.132.5/24") is not on the link. */
int address_check(struct nl *nl, struct arena *a, unsigned index, const char **addresses, size_t n, struct err *e);

/*
 * A socket for announcements in this namespace, and its end: closing a packet socket waits for an RCU grace period (15 ms were
 * seen, a third of an ADD and DEL), so a thread of its own does that.
 */
int announce_open(void);
void announce_close(int fd);
/* Tell the link about an address: a gratuitous ARP request, or an unsolicited neighbour advertisement. @fd from announce_open(). */
int announce(int fd, unsigned index, const unsigned char mac[6], const char *address, struct err *e);

#endif
