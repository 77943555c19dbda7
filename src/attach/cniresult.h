/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CNI result as value, of whatever version it was printed in, and written again in another. Pure. What other makers' plugins print is
 * taken leniently where it can mean only one thing, and bounded.
 */
#ifndef KVRAIL_ATTACH_CNIRESULT_H
#define KVRAIL_ATTACH_CNIRESULT_H

#include "attach/request.h"

#define CNIRESULT_ITEMS_MAX 256 /* interfaces, addresses, routes: of each */

struct cniresult_interface {
	const char *name, *mac, *sandbox, *socket_path, *pci_id; /* NULL: not told */
	int64_t mtu;
};

struct cniresult_ip {
	const char *address, *gateway; /* CIDR; gateway may be NULL */
	int64_t interface; /* -1: not told */
};

struct cniresult_route {
	const char *dst, *gw; /* gw may be NULL */
	yyjson_val *more; /* the route as it came, for its other members; NULL: none */
};

struct cniresult {
	struct cniresult_interface *interfaces;
	size_t n_interfaces;
	struct cniresult_ip *ips;
	size_t n_ips;
	struct cniresult_route *routes;
	size_t n_routes;
	yyjson_val *dns; /* object or NULL */
};

/* -EBADMSG: no result; @e says what is wrong. A result without cniVersion is taken for @version. */
int cniresult_parse(struct arena *a, yyjson_val *v, enum cni_version version, struct cniresult *ret, struct err *e);

/* In the form of @version. */
yyjson_mut_val *cniresult_json(yyjson_mut_doc *doc, const struct cniresult *res, enum cni_version version);

/* "0.3.1"; -EINVAL. */
int cni_version_parse(const char *text, enum cni_version *ret);

#endif
