/* SPDX-License-Identifier: Apache-2.0 */
/* The pod annotation k8s.v1.cni.cncf.io/networks, both of its forms, as Multus reads them. */
#ifndef KVRAIL_ATTACH_ANNOTATION_H
#define KVRAIL_ATTACH_ANNOTATION_H

#include "codec/doc.h"

#define ANNOTATION_SIZE_MAX (256u << 10) /* what Kubernetes allows all annotations of an object together */
#define ANNOTATION_ITEMS_MAX 64

struct annotation_item {
	const char *namespace, *name; /* namespace: the pod's when not given */
	const char *interface;	      /* NULL: to be chosen */
	const char *mac, *guid, *device_id; /* NULL: not asked for */
	const char **ips; /* each an IP, with or without prefix length */
	size_t n_ips;
	yyjson_val *cni_args; /* object or NULL */
};

/*
 * Parse @text: JSON when it holds one of [ { ", else "[ns/]name[@interface],...". The error names the item and
 * what is wrong with it. A blank text has no items. JSON values live in @a.
 */
int annotation_parse(struct arena *a, const char *text, size_t len, const char *pod_namespace,
		     struct annotation_item **ret, size_t *ret_n, struct err *e);

/* The same for a list that is JSON already. */
int annotation_parse_list(struct arena *a, yyjson_val *list, const char *pod_namespace, struct annotation_item **ret,
			  size_t *ret_n, struct err *e);

#endif
