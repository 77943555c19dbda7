/* SPDX-License-Identifier: Apache-2.0 */
/* IPPool, OverlappingRangeIPReservation and NodeSlicePool, whereabouts.cni.cncf.io/v1alpha1: who holds which address. */
#ifndef KVRAIL_API_IPPOOL_H
#define KVRAIL_API_IPPOOL_H

#include "api/meta.h"

struct api_ip_allocation {
	struct object obj;
	const char *id;	    /* container */
	const char *podref; /* "namespace/name" */
	const char *ifname;
};

struct api_ip_pool_spec {
	struct object obj;
	const char *range;	      /* CIDR */
	struct object_pair *allocations; /* decimal offset from the network's address: struct api_ip_allocation */
	size_t n_allocations;
};

struct api_ip_pool {
	struct api_object object;
	struct api_ip_pool_spec *spec; /* never NULL after decoding */
};

/* The object's name is the address; it stands nowhere else. */
struct api_reservation_spec {
	struct object obj;
	const char *container_id, *podref, *ifname;
};

struct api_reservation {
	struct api_object object;
	struct api_reservation_spec *spec; /* never NULL after decoding */
};

struct api_slice_allocation {
	struct object obj;
	const char *node_name, *slice_range;
};

struct api_slice_pool_spec {
	struct object obj;
	const char *range, *slice_size; /* CIDR; "/24" */
};

struct api_slice_pool_status {
	struct object obj;
	struct api_slice_allocation *allocations;
	size_t n_allocations;
};

struct api_slice_pool {
	struct api_object object;
	struct api_slice_pool_spec *spec;     /* never NULL after decoding */
	struct api_slice_pool_status *status; /* may be NULL */
};

extern const struct table api_ip_pool_table, api_reservation_table, api_slice_pool_table;

#endif
