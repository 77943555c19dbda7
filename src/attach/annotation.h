/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod annotations k8s.v1.cni.cncf.io/networks and v1.multus-cni.io/default-network, both of their forms. Parsing takes and
 * refuses what Multus does (its pkg/k8sclient and Go's decoder); what it takes and no pod could use is told by annotation_check().
 */
#ifndef KVRAIL_ATTACH_ANNOTATION_H
#define KVRAIL_ATTACH_ANNOTATION_H

#include "codec/doc.h"

#define ANNOTATION_NETWORKS "k8s.v1.cni.cncf.io/networks"
#define ANNOTATION_DEFAULT_NETWORK "v1.multus-cni.io/default-network"
#define ANNOTATION_NETWORK_STATUS "k8s.v1.cni.cncf.io/network-status"

#define ANNOTATION_SIZE_MAX (256u << 10) /* what Kubernetes allows all annotations of an object together */
#define ANNOTATION_ITEMS_MAX 64

struct annotation_port {
	bool null; /* the list's element was */
	int64_t host, container;
	const char *protocol, *host_ip; /* NULL: not given */
};

struct annotation_bandwidth {
	int64_t ingress_rate, ingress_burst, egress_rate, egress_burst;
};

struct annotation_item {
	const char *where; /* "network 2 (character 9)", "[1]": for messages */
	const char *namespace, *name; /* namespace: the pod's when not given; name may be "" */
	const char *interface;	      /* NULL: to be chosen */
	const char *old_interface;    /* "interfaceRequest", of old annotations; @interface has it too where that was not given */
	const char *mac, *guid, *device_id; /* NULL: not asked for */
	const char **ips; /* each an IP, with or without prefix length */
	size_t n_ips;
	struct annotation_port *ports;
	size_t n_ports;
	struct annotation_bandwidth *bandwidth; /* or NULL */
	bool has_default_route;
	const char **default_route; /* gateways, as Go writes addresses; "" an empty one */
	size_t n_default_route;
	yyjson_val *cni_args; /* object or NULL */
};

/*
 * Parse @text: JSON when it holds one of [ { ", else "[ns/]name[@interface],...". The error names the item and
 * what is wrong with it. An empty text has no items. JSON values live in @a.
 */
int annotation_parse(struct arena *a, const char *text, size_t len, const char *pod_namespace,
		     struct annotation_item **ret, size_t *ret_n, struct err *e);

/* The same for a list that is JSON already. */
int annotation_parse_list(struct arena *a, yyjson_val *list, const char *pod_namespace, struct annotation_item **ret,
			  size_t *ret_n, struct err *e);

/* -EINVAL: an item that was parsed and that no ADD can do: no name, an interface name that Linux does not take, a MAC of eight bytes. */
int annotation_check(const struct annotation_item *items, size_t n, struct err *e);

/* An item with the annotation's own keys. */
yyjson_mut_val *annotation_json(yyjson_mut_doc *doc, const struct annotation_item *item);

/* Add what the item asks of the runtimeConfig (capabilities portMappings, bandwidth, ips, mac, infinibandGUID, deviceID) to @obj. */
void annotation_runtime_conf(yyjson_mut_doc *doc, const struct annotation_item *item, yyjson_mut_val *obj);

#endif
