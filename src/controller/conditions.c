/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "controller/conditions.h"

#define MESSAGE_MAX 2048 /* the schema allows 32768; nobody reads them */

static const char *const types[CONDITIONS] = { "Ready", "Progressing", "Degraded" };

static const struct api_condition *find(const struct api_condition *list, size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].type && !strcmp(list[i].type, type))
			return &list[i];
	return NULL;
}

static bool streq(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

void conditions_make(struct arena *a, const struct verdict *v, int64_t generation, const struct api_condition *old, size_t n_old,
		     const char *now, struct api_condition **ret, size_t *ret_n)
{
	const bool on[CONDITIONS] = { v->ready, v->progressing, v->degraded };

	for (size_t i = 0; i < CONDITIONS; i++) {
		struct api_condition *c = arena_push(a, ret, ret_n, sizeof(*c));
		const struct api_condition *was = find(old, n_old, types[i]);
		bool tells = i == CONDITION_READY || on[i];

		*c = (struct api_condition){
			.type = types[i],
			.status = on[i] ? "True" : "False",
			.reason = tells ? v->reason : i == CONDITION_PROGRESSING ? "Settled" : "AsExpected",
			.message = tells ? arena_cut(a, v->message, MESSAGE_MAX) : "",
			.observed_generation = generation,
		};
		c->last_transition_time = was && streq(was->status, c->status) ? was->last_transition_time : now;
	}
}

bool conditions_same(const struct api_condition *wanted, size_t n, const struct api_condition *old, size_t n_old)
{
	for (size_t i = 0; i < n; i++) {
		const struct api_condition *was = find(old, n_old, wanted[i].type);

		if (!was || !streq(was->status, wanted[i].status) || !streq(was->reason, wanted[i].reason) ||
		    !streq(was->message, wanted[i].message) || was->observed_generation != wanted[i].observed_generation)
			return false;
	}
	return true;
}

bool conditions_turned(const struct verdict *v, const struct api_condition *old, size_t n_old)
{
	const struct api_condition *was = find(old, n_old, types[CONDITION_READY]);

	if (v->progressing && !v->degraded)
		return false;
	return !was || !streq(was->status, v->ready ? "True" : "False") || !streq(was->reason, v->reason);
}

yyjson_mut_val *conditions_json(yyjson_mut_doc *doc, const struct api_condition *list, size_t n)
{
	yyjson_mut_val *array = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *c = yyjson_mut_arr_add_obj(doc, array);

		yyjson_mut_obj_add_str(doc, c, "type", list[i].type);
		yyjson_mut_obj_add_str(doc, c, "status", list[i].status);
		yyjson_mut_obj_add_int(doc, c, "observedGeneration", list[i].observed_generation);
		yyjson_mut_obj_add_str(doc, c, "lastTransitionTime", list[i].last_transition_time);
		yyjson_mut_obj_add_str(doc, c, "reason", list[i].reason);
		yyjson_mut_obj_add_str(doc, c, "message", list[i].message);
	}
	return array;
}
