/* SPDX-License-Identifier: Apache-2.0 */
/* How the tables of this room are written. Internal to the room. */
#ifndef KVRAIL_API_FIELDS_H
#define KVRAIL_API_FIELDS_H

#include "api/meta.h"

/* Where a field lives in its struct; AT_N: an array whose count is n_MEMBER. */
#define AT(type, member)   .offset = offsetof(struct type, member)
#define AT_N(type, member) .offset = offsetof(struct type, member), .n_offset = offsetof(struct type, n_##member)

#define AT_LEAST(n)   .flags = FIELD_BOUNDED, .min = (n), .max = INT64_MAX
#define BETWEEN(a, b) .flags = FIELD_BOUNDED, .min = (a), .max = (b)
#define ONE_OF(...)   .words = (const char *const[]){ __VA_ARGS__, NULL }

/* The members that every top-level object begins with. */
#define OBJECT_FIELDS(owner)                                                                                   \
	{ .name = "apiVersion", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(owner, object.api_version),       \
	  .doc = "Group and version of the object's schema." },                                               \
	{ .name = "kind", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(owner, object.kind),                    \
	  .doc = "Kind of the object." },                                                                     \
	{ .name = "metadata", .type = FIELD_OBJECT, .flags = FIELD_ALWAYS, AT(owner, object.meta),             \
	  .of = &api_meta_table, .doc = "Standard object metadata." }

extern const struct table api_meta_table, api_empty_table, api_condition_table;
extern const struct table api_ovs_bridge_table, api_ovs_interface_table;

void api_policy_admit(struct arena *a, void *object);
void api_policy_validate(const void *object, struct complaints *c);
/* Warns of a port that the SR-IOV operator's list has not; NULL and "" are any. */
void api_nic_check(const char *vendor, const char *device, struct complaints *c);
void api_network_validate(const void *object, struct complaints *c);
void api_ovs_network_validate(const void *object, struct complaints *c);
void api_nad_validate(const void *object, struct complaints *c);
void api_nodestate_validate(const void *object, struct complaints *c);
void api_pool_config_validate(const void *object, struct complaints *c);
void api_operator_config_validate(const void *object, struct complaints *c);
void api_ip_pool_validate(const void *object, struct complaints *c);
void api_slice_pool_validate(const void *object, struct complaints *c);

/* A status member that the schema knows nothing of. */
struct api_empty {
	struct object obj;
};

#endif
