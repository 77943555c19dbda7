/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/fields.h"

static const struct field api_meta_table_fields[] = {
	{ .name = "name", .type = FIELD_STR, AT(api_meta, name), .doc = "Name, unique among the kind's objects of a namespace." },
	{ .name = "generateName", .type = FIELD_STR, AT(api_meta, generate_name), .doc = "Prefix of a name that the API server makes." },
	{ .name = "namespace", .type = FIELD_STR, AT(api_meta, namespace), .doc = "Namespace of the object." },
	{ .name = "uid", .type = FIELD_STR, AT(api_meta, uid), .doc = "Set by the API server." },
	{ .name = "resourceVersion", .type = FIELD_STR, AT(api_meta, resource_version), .doc = "Set by the API server." },
	{ .name = "generation", .type = FIELD_INT, AT(api_meta, generation), .format = "int64", .doc = "Set by the API server." },
	{ .name = "creationTimestamp", .type = FIELD_STR, AT(api_meta, creation_timestamp), .doc = "Set by the API server." },
	{ .name = "deletionTimestamp", .type = FIELD_STR, AT(api_meta, deletion_timestamp), .doc = "Set by the API server." },
	{ .name = "deletionGracePeriodSeconds", .type = FIELD_JSON, AT(api_meta, deletion_grace), .doc = "Set by the API server." },
	{ .name = "labels", .type = FIELD_MAP, AT_N(api_meta, labels), .doc = "Labels, for selectors." },
	{ .name = "annotations", .type = FIELD_MAP, AT_N(api_meta, annotations), .doc = "Annotations, for programs." },
	{ .name = "finalizers", .type = FIELD_STRS, AT_N(api_meta, finalizers), .doc = "Who must agree before the object goes." },
	{ .name = "ownerReferences", .type = FIELD_JSON, AT(api_meta, owner_references), .doc = "Objects that this one goes with." },
	{ .name = "managedFields", .type = FIELD_JSON, AT(api_meta, managed_fields), .doc = "Set by the API server." },
	{ .name = "selfLink", .type = FIELD_JSON, AT(api_meta, self_link), .doc = "Obsolete." },
};
TABLE(api_meta_table, api_meta, "ObjectMeta");

const struct table api_empty_table = { "Status", sizeof(struct api_empty), NULL, 0, NULL };

static const struct field api_condition_table_fields[] = {
	{ .name = "type",
	  .type = FIELD_STR,
	  .flags = FIELD_REQUIRED | FIELD_ALWAYS | FIELD_BOUNDED,
	  .min = INT64_MIN,
	  .max = 316,
	  AT(api_condition, type),
	  .pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
	  .doc = "What is told about, such as Ready." },
	{ .name = "status",
	  .type = FIELD_STR,
	  .flags = FIELD_REQUIRED | FIELD_ALWAYS,
	  AT(api_condition, status),
	  ONE_OF("True", "False", "Unknown"),
	  .doc = "Whether it holds." },
	{ .name = "observedGeneration",
	  .type = FIELD_INT,
	  AT_LEAST(0),
	  AT(api_condition, observed_generation),
	  .format = "int64",
	  .doc = "Generation of the object that was looked at." },
	{ .name = "lastTransitionTime",
	  .type = FIELD_STR,
	  .flags = FIELD_REQUIRED | FIELD_ALWAYS,
	  AT(api_condition, last_transition_time),
	  .format = "date-time",
	  .doc = "When status changed last." },
	{ .name = "reason",
	  .type = FIELD_STR,
	  .flags = FIELD_REQUIRED | FIELD_ALWAYS | FIELD_BOUNDED,
	  .min = 1,
	  .max = 1024,
	  AT(api_condition, reason),
	  .pattern = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
	  .doc = "Why, in one word for programs." },
	{ .name = "message",
	  .type = FIELD_STR,
	  .flags = FIELD_REQUIRED | FIELD_ALWAYS | FIELD_BOUNDED,
	  .min = INT64_MIN,
	  .max = 32768,
	  AT(api_condition, message),
	  .doc = "Why, for people." },
};
TABLE(api_condition_table, api_condition, "Condition");

const char *pairs_get(const struct pair *pairs, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(pairs[i].key, key))
			return pairs[i].value;
	return NULL;
}
