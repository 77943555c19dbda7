/* SPDX-License-Identifier: Apache-2.0 */
/* What an ask yields beside what is leased: static addresses, the pod's own request, gateways. */
#ifndef KVRAIL_IPAM_GIVEN_H
#define KVRAIL_IPAM_GIVEN_H

#include "ipam/addr.h"
#include "ipam/ipam.h"

/* The address @ip of @range, with the configuration's gateway when it is of the same family. */
void ipam_give_ip(struct arena *a, struct ipam_given *given, const struct ipam_conf *conf,
		  const struct ipam_range *range, const struct store_ip *ip);

/* All that comes from no range: the addresses of the configuration, and those that the pod asks for; of a static one these alone, if any. */
int ipam_give_static(struct arena *a, const struct ipam_ask *ask, struct ipam_given *given, struct err *e);

/* Does the pod ask for an address of @range, one of @ask->conf's? 1: for @ret; 0: no; -EINVAL: for two, or for what is none. */
int ipam_match_request(struct arena *a, const struct ipam_ask *ask, const struct ipam_range *range, struct store_ip *ret, struct err *e);

bool ipam_range_has(const struct ipam_range *range, const struct store_ip *ip);	    /* between first and last */
bool ipam_range_excludes(const struct ipam_range *range, const struct store_ip *ip);

/* -ERANGE: @ip, which the pod asks for, is not among those that @range gives out. */
int ipam_check_request(struct arena *a, const struct ipam_range *range, const struct store_ip *ip, struct err *e);

/* -ENOSPC: @range is exhausted; @holders names some of the @held ones. */
int ipam_exhausted(struct arena *a, const struct ipam_range *range, const char *holders, size_t held, struct err *e);

#endif
