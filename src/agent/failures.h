/* SPDX-License-Identifier: Apache-2.0 */
/* Pods whose ADD failed and was not made good since: for `kvrail status`. Thread safe. */
#ifndef KVRAIL_AGENT_FAILURES_H
#define KVRAIL_AGENT_FAILURES_H

#include <stdbool.h>

#include "codec/doc.h"

struct failures;

struct failures *failures_new(void);
struct failures *failures_free(struct failures *f); /* NULL is fine; returns NULL */

/*
 * An ADD of the pod that CNI_ARGS (@args, may be NULL) names has ended. @reply is the CNI error object, or NULL: it succeeded. The 32 pods
 * that failed last are kept.
 */
void failures_note(struct failures *f, const char *args, const char *reply);

/* [{"pod": "ns/name", "error": "...", "times": 3, "last": "2026-01-31T09:00:00Z"}]. Pods for which @is_there says no are forgotten. */
yyjson_mut_val *failures_json(struct failures *f, yyjson_mut_doc *doc, bool (*is_there)(void *arg, const char *ns, const char *name), void *arg);

#endif
