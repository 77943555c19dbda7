/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of kvrail explain share: a pod of a manifest, and what would become of it. */
#ifndef KVRAIL_CMD_EXPLAIN_H
#define KVRAIL_CMD_EXPLAIN_H

#include "attach/nets.h"
#include "cmd/manifests.h"

/* A container's request of an extended resource. */
struct explain_request {
	const char *container, *resource;
	uint64_t count;
};

struct explain_pod {
	const char *what; /* "Pod llm/decode-0", "LeaderWorkerSet llm/x (leader)" */
	struct attach_pod pod;
	struct explain_request *requests;
	size_t n_requests;
	const char *warning; /* about how it is made; NULL: none */
};

/*
 * The pods that an object is or makes: a Pod, what has spec.template (Deployment, StatefulSet, Job, ...), a LeaderWorkerSet, an
 * LLMInferenceService. Appended to *list; false: it is none of these.
 */
bool explain_pods_of(struct arena *a, yyjson_val *object, const char *default_namespace, struct explain_pod **list, size_t *n);

/* The same of a JSON file that is an array of such objects. */
bool explain_pods_of_document(struct arena *a, const struct doc *d, const char *default_namespace, struct explain_pod **list, size_t *n);

#endif
