/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "api/fields.h"
#include "api/ippool.h"
#include "base/parse.h"

static const struct field api_ip_allocation_table_fields[] = {
	{ .name = "id", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_ip_allocation, id), .doc = "Container that holds the address." },
	{ .name = "podref", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_ip_allocation, podref),
	  .doc = "Its pod, \"namespace/name\"." },
	{ .name = "ifname", .type = FIELD_STR, AT(api_ip_allocation, ifname), .doc = "Its interface." },
};
static TABLE(api_ip_allocation_table, api_ip_allocation, "IPAllocation");

static const struct field api_ip_pool_spec_table_fields[] = {
	{ .name = "range", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_ip_pool_spec, range),
	  .doc = "CIDR of the pool, such as \"10.0.132.0/24\"." },
	{ .name = "allocations", .type = FIELD_OBJECT_MAP, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT_N(api_ip_pool_spec, allocations),
	  .of = &api_ip_allocation_table, .doc = "Addresses that are held, by their offset from the first of the range." },
};
static TABLE(api_ip_pool_spec_table, api_ip_pool_spec, "IPPoolSpec");

static const struct field api_ip_pool_table_fields[] = {
	OBJECT_FIELDS(api_ip_pool),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_ip_pool, spec), .of = &api_ip_pool_spec_table,
	  .doc = "A range and its addresses." },
};
TABLE(api_ip_pool_table, api_ip_pool, "IPPool");

static const struct field api_reservation_spec_table_fields[] = {
	{ .name = "containerid", .type = FIELD_STR, AT(api_reservation_spec, container_id), .doc = "Old; no longer written." },
	{ .name = "podref", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_reservation_spec, podref),
	  .doc = "Pod that holds the address, \"namespace/name\"." },
	{ .name = "ifname", .type = FIELD_STR, AT(api_reservation_spec, ifname), .doc = "Its interface." },
};
static TABLE(api_reservation_spec_table, api_reservation_spec, "OverlappingRangeIPReservationSpec");

static const struct field api_reservation_table_fields[] = {
	OBJECT_FIELDS(api_reservation),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_reservation, spec),
	  .of = &api_reservation_spec_table, .doc = "Who holds the address that is the object's name." },
};
TABLE(api_reservation_table, api_reservation, "OverlappingRangeIPReservation");

static const struct field api_slice_pool_spec_table_fields[] = {
	{ .name = "range", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_slice_pool_spec, range),
	  .doc = "CIDR that is cut into slices." },
	{ .name = "sliceSize", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_slice_pool_spec, slice_size),
	  .doc = "Prefix length of a slice, such as \"/26\"." },
};
static TABLE(api_slice_pool_spec_table, api_slice_pool_spec, "NodeSlicePoolSpec");

static const struct field api_slice_allocation_table_fields[] = {
	{ .name = "nodeName", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_slice_allocation, node_name),
	  .doc = "Node of the slice; empty when nobody has it." },
	{ .name = "sliceRange", .type = FIELD_STR, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT(api_slice_allocation, slice_range),
	  .doc = "CIDR of the slice." },
};
static TABLE(api_slice_allocation_table, api_slice_allocation, "NodeSliceAllocation");

static const struct field api_slice_pool_status_table_fields[] = {
	{ .name = "allocations", .type = FIELD_OBJECTS, .flags = FIELD_REQUIRED | FIELD_ALWAYS, AT_N(api_slice_pool_status, allocations),
	  .of = &api_slice_allocation_table, .doc = "All slices." },
};
static TABLE(api_slice_pool_status_table, api_slice_pool_status, "NodeSlicePoolStatus");

static const struct field api_slice_pool_table_fields[] = {
	OBJECT_FIELDS(api_slice_pool),
	{ .name = "spec", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(api_slice_pool, spec), .of = &api_slice_pool_spec_table,
	  .doc = "The range and how it is cut." },
	{ .name = "status", .type = FIELD_OBJECT, AT(api_slice_pool, status), .of = &api_slice_pool_status_table, .doc = "Who has which slice." },
};
TABLE(api_slice_pool_table, api_slice_pool, "NodeSlicePool");

/* "10.0.0.0/24" or "fd00::/64"; *ret_most is the longest prefix of the family. */
static bool is_cidr(const char *s, uint64_t *ret_prefix, uint64_t *ret_most)
{
	char address[INET6_ADDRSTRLEN] = "";
	const char *slash = s ? strchr(s, '/') : NULL;
	unsigned char raw[16];

	if (!slash || (size_t)(slash - s) >= sizeof(address))
		return false;
	memcpy(address, s, (size_t)(slash - s));
	*ret_most = strchr(address, ':') ? 128 : 32;
	return inet_pton(*ret_most == 128 ? AF_INET6 : AF_INET, address, raw) == 1 &&
	       parse_u64(slash + 1, 10, 0, *ret_most, ret_prefix) == 0;
}

void api_ip_pool_validate(const void *object, struct complaints *c)
{
	const struct api_ip_pool_spec *s = ((const struct api_ip_pool *)object)->spec;
	uint64_t prefix, most;

	if (!is_cidr(s->range, &prefix, &most))
		complain(c, false, "spec.range", "\"%.60s\" is no CIDR such as \"10.0.132.0/24\"",
			 s->range ? s->range : "");
	for (size_t i = 0; i < s->n_allocations; i++) {
		const char *key = s->allocations[i].key;

		if (!*key || strlen(key) > 39 || strspn(key, "0123456789") != strlen(key))
			complain(c, false, arena_printf(c->arena, "spec.allocations.%s", key),
				 "\"%.60s\" is no decimal offset from the first address of the range", key);
	}
}

void api_slice_pool_validate(const void *object, struct complaints *c)
{
	const struct api_slice_pool_spec *s = ((const struct api_slice_pool *)object)->spec;
	const char *size = s->slice_size ? s->slice_size : "";
	uint64_t prefix, most, length;

	if (!is_cidr(s->range, &prefix, &most))
		complain(c, false, "spec.range", "\"%.60s\" is no CIDR such as \"10.0.0.0/16\"",
			 s->range ? s->range : "");
	else if (parse_u64(size + (*size == '/'), 10, prefix, most, &length) < 0)
		complain(c, false, "spec.sliceSize",
			 "\"%.40s\" is no prefix length from %llu (all of the range) to %llu", size,
			 (unsigned long long)prefix, (unsigned long long)most);
}
