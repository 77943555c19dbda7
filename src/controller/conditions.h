/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions: what is said of an object, and whether that is news. */
#ifndef KVRAIL_CONTROLLER_CONDITIONS_H
#define KVRAIL_CONTROLLER_CONDITIONS_H

#include "api/meta.h"

enum { CONDITION_READY, CONDITION_PROGRESSING, CONDITION_DEGRADED, CONDITIONS };

/*
 * A verdict on an object. From it come the three conditions: Ready with this reason and message; Progressing and Degraded true or
 * false with the same reason and message when true.
 */
struct verdict {
	bool ready, progressing, degraded;
	const char *reason;  /* one CamelCase word */
	const char *message; /* what is so and, when not ready, what to do */
};

/*
 * The conditions for @v, in @a, for a status: lastTransitionTime is that of the condition in @old of the same type and
 * status, else @now. Those in @old of other types are left out: they are somebody else's.
 */
void conditions_make(struct arena *a, const struct verdict *v, int64_t generation, const struct api_condition *old, size_t n_old,
		     const char *now, struct api_condition **ret, size_t *ret_n);

/* Do the conditions of @old say just this already? */
bool conditions_same(const struct api_condition *wanted, size_t n, const struct api_condition *old, size_t n_old);

/*
 * Is @v a turn that people are told of: another answer to "is it Ready", or another reason for it, than @old has? What is only under way
 * is none.
 */
bool conditions_turned(const struct verdict *v, const struct api_condition *old, size_t n_old);

/* As a JSON array. */
yyjson_mut_val *conditions_json(yyjson_mut_doc *doc, const struct api_condition *list, size_t n);

#endif
