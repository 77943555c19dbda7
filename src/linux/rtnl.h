/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink: links, addresses, routes, and the PF's side of its VFs. Kernel: net/core/rtnetlink.c. */
#ifndef KVRAIL_LINUX_RTNL_H
#define KVRAIL_LINUX_RTNL_H

#include <net/if.h>
#include <netinet/in.h>

#include "base/arena.h"
#include "linux/nl.h"

struct rtnl_link {
	unsigned index, flags /* IFF_* */, mtu, min_mtu, max_mtu;
	uint16_t type; /* ARPHRD_* */
	uint8_t operstate;
	char name[IFNAMSIZ];
	unsigned char mac[32];
	unsigned mac_len;
	unsigned char perm_mac[6]; /* IFLA_PERM_ADDRESS (Linux 5.6); zero: not told */
	const char *kind;	 /* "veth", "dummy", ... or NULL */
	const char **alt_names;
	size_t n_alt_names;
	const char *parent_dev; /* PCI address, IFLA_PARENT_DEV_NAME, or NULL */
};

int rtnl_open(struct nl **ret, struct err *e); /* nl_open(NETLINK_ROUTE) */

/* All links / one by name (or altname) / one by index. -ENODEV when it is not there. */
int rtnl_links(struct nl *nl, struct arena *a, struct rtnl_link **ret, size_t *ret_n, struct err *e);
int rtnl_link(struct nl *nl, struct arena *a, const char *name, struct rtnl_link *ret, struct err *e);
int rtnl_link_by_index(struct nl *nl, struct arena *a, unsigned index, struct rtnl_link *ret, struct err *e);

int rtnl_set_up(struct nl *nl, unsigned index, bool up, struct err *e);
int rtnl_set_mtu(struct nl *nl, unsigned index, unsigned mtu, struct err *e);
int rtnl_set_mac(struct nl *nl, unsigned index, const unsigned char mac[6], struct err *e);
int rtnl_set_name(struct nl *nl, unsigned index, const char *name, struct err *e);

/*
 * Move the link into the namespace behind @netns_fd, as @new_name (NULL keeps the name), in one message. -EEXIST when a
 * name is taken there: if only @new_name is, the link is there already under its old one.
 */
int rtnl_move(struct nl *nl, unsigned index, int netns_fd, const char *new_name, struct err *e);
/* The same as one of @stem0, @stem1, ... that is free there: the kernel chooses. -EINVAL: @stem has more than 13 bytes. */
int rtnl_move_numbered(struct nl *nl, unsigned index, int netns_fd, const char *stem, struct err *e);

/* What tests make: a pair of links (-EEXIST), and a further name of a link, as udev gives them (-EEXIST). */
int rtnl_add_veth(struct nl *nl, const char *name, const char *peer, struct err *e);
int rtnl_add_altname(struct nl *nl, unsigned index, const char *name, struct err *e);

struct rtnl_addr {
	int family;		   /* AF_INET, AF_INET6 */
	unsigned char addr[16];	   /* network order; 4 bytes for AF_INET */
	uint8_t prefix_len, scope;
	uint32_t flags;		   /* IFA_F_* */
	unsigned index;		   /* of its link; filled in by rtnl_addrs() */
};

/* Adding what is there is success. IPv6 addresses are added without duplicate address detection (IFA_F_NODAD). */
int rtnl_add_addr(struct nl *nl, unsigned index, const struct rtnl_addr *addr, struct err *e);
/* Of one link, or with @index 0 of all. */
int rtnl_addrs(struct nl *nl, struct arena *a, unsigned index, struct rtnl_addr **ret, size_t *ret_n, struct err *e);

struct rtnl_route {
	int family;
	unsigned char dst[16];
	uint8_t dst_len;
	bool has_gateway;
	unsigned char gateway[16];
	uint32_t mtu, advmss, priority, table; /* 0: kernel's choice */
	int scope;			       /* -1: kernel's choice */
};

int rtnl_add_route(struct nl *nl, unsigned index, const struct rtnl_route *route, struct err *e);
/* Take every default route of the family in the main table by this link away; *ret_n (may be NULL) counts them. None there is success. */
int rtnl_del_default_routes(struct nl *nl, unsigned index, int family, unsigned *ret_n, struct err *e);
/* Packets from the address @from look into @table first (ip rule); net/core/fib_rules.c. Adding what is there, deleting what is not, is success. */
int rtnl_add_rule(struct nl *nl, const struct rtnl_addr *from, uint32_t table, struct err *e);
int rtnl_del_rule(struct nl *nl, const struct rtnl_addr *from, uint32_t table, struct err *e);
/* Index of the link that carries a default route, 0 when there is none. */
int rtnl_default_route(struct nl *nl, unsigned *ret_index, struct err *e);

/* The PF's settings of one VF, IFLA_VFINFO_LIST. Which fields the driver reported is in @has. */
struct rtnl_vf {
	uint32_t id;
	unsigned char mac[6];
	uint16_t vlan;
	uint8_t qos;
	uint16_t vlan_proto; /* ETH_P_8021Q or ETH_P_8021AD */
	uint32_t min_rate, max_rate; /* Mbit/s */
	bool spoofchk, trust;
	uint32_t link_state; /* IFLA_VF_LINK_STATE_* */
	uint64_t node_guid, port_guid;
	bool has_spoofchk, has_trust, has_link_state, has_rate, has_guid;
};

/*
 * All that the PF reports, by one request: a driver may ask its firmware for each. Does not fail with many VFs (asks without statistics, and
 * by dump on EMSGSIZE). An index that is no PF's gives none.
 */
int rtnl_vfs(struct nl *nl, struct arena *a, unsigned pf_index, struct rtnl_vf **ret, size_t *ret_n, struct err *e);
/* One of them by its id; NULL: it is not reported. */
const struct rtnl_vf *rtnl_vf_of(const struct rtnl_vf *vfs, size_t n, unsigned id);
int rtnl_vf_set_mac(struct nl *nl, unsigned pf_index, unsigned vf, const unsigned char mac[6], struct err *e);
int rtnl_vf_set_vlan(struct nl *nl, unsigned pf_index, unsigned vf, uint16_t vlan, uint8_t qos, uint16_t proto, struct err *e);
int rtnl_vf_set_rate(struct nl *nl, unsigned pf_index, unsigned vf, uint32_t min, uint32_t max, struct err *e);
int rtnl_vf_set_spoofchk(struct nl *nl, unsigned pf_index, unsigned vf, bool on, struct err *e);
int rtnl_vf_set_trust(struct nl *nl, unsigned pf_index, unsigned vf, bool on, struct err *e);
/* IFLA_VF_LINK_STATE_AUTO, _ENABLE, _DISABLE; igb has none: -EOPNOTSUPP. */
int rtnl_vf_set_link_state(struct nl *nl, unsigned pf_index, unsigned vf, uint32_t state, struct err *e);
/* A request each, as do_setvfinfo() (net/core/rtnetlink.c) goes no further than the node GUID; the first may be set when this fails. */
int rtnl_vf_set_guid(struct nl *nl, unsigned pf_index, unsigned vf, uint64_t node_guid, uint64_t port_guid, struct err *e);

#endif
