/* SPDX-License-Identifier: Apache-2.0 */
/* What one rail shall be: a plugin's configuration, the network it belongs to and what the pod asked for, in one value. */
#ifndef KVRAIL_ATTACH_RAIL_H
#define KVRAIL_ATTACH_RAIL_H

#include "attach/annotation.h"
#include "attach/request.h"

#define RAIL_UNSET (-1)

/* Settings: RAIL_UNSET is "leave it as it is". */
struct rail_want {
	bool has_mac;
	unsigned char mac[6];
	bool has_guid;
	uint64_t guid; /* InfiniBand: of node and port */
	int vlan, vlan_qos, vlan_proto;	 /* ETH_P_8021Q, ETH_P_8021AD */
	int64_t min_rate, max_rate;	 /* Mbit/s */
	int spoofchk, trust, link_state; /* IFLA_VF_LINK_STATE_* */
	int64_t mtu;
	bool rdma; /* a plugin "rdma" is in the chain: the device must be there and in the pod's namespace alone */
};

struct rail {
	const char *network; /* "ns/name" of the NAD, else the configuration's name */
	const char *ifname;
	const char *resource, *device_id; /* one of them is given */
	struct rail_want want;
	struct ipam_conf ipam;
	const char *ip; /* requested: one, or several with commas between; or NULL */
	const struct pair *sysctls; /* of tuning: checked, and set when the interface is in the pod */
	size_t n_sysctls;
	bool mac_by_runtime; /* the MAC is one of runtimeConfig, which counts more than CNI_ARGS */
};

/*
 * The rails of an ADD: one for a plugin's configuration of type sriov, ib-sriov or kvrail; with "networks" (the
 * annotation's value) one for each network named there, net1, net2, ... unless the pod asked for other names. 0 or a CNI code.
 */
int rails_of_request(struct arena *a, const struct attach_host *host, const struct request *rq, struct rail **ret,
		     size_t *ret_n, struct cni_failure *f);

/*
 * A rail from @conf: a plugin's configuration or a list with "plugins", of which one makes the interface and "rdma" and "tuning" (mtu, mac,
 * sysctl) add to it. @rail comes with .network and .ifname set. Negative errno.
 */
int rail_from_conf(struct arena *a, yyjson_val *conf, struct rail *rail, struct err *e);

/* Ask for @text ("c2:11:22:33:44:55:66:77") as GUID; @key is for messages. NULL and "": nothing. */
int rail_want_guid(struct rail *rail, const char *key, const char *text, struct err *e);

/* Ask for the addresses of @list, with commas between; @key is for messages. NULL: nothing. -EINVAL: one is none. Both in @a. */
int rail_want_ips(struct arena *a, struct rail *rail, const char *key, const char *list, struct err *e);

/* What the annotation asks of @rail: MAC, GUID, addresses. @item is one that annotation_parse() gave. */
int rail_ask(struct arena *a, struct rail *rail, const struct annotation_item *item, struct err *e);

/* Is this a type that makes an interface here? */
bool rail_is_type(const char *type);

#endif
