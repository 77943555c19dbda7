/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: one admission under way. */
#ifndef KVRAIL_CONTROLLER_ADMIT_PRIVATE_H
#define KVRAIL_CONTROLLER_ADMIT_PRIVATE_H

#include "controller/admit.h"
#include "store/kube.h"

struct admission {
	struct arena *a;
	const struct admit_options *o;
	const char *ns, *operation; /* "CREATE" */
	yyjson_val *object;	    /* NULL on DELETE */
	/* filled by the rules */
	yyjson_mut_doc *doc;
	yyjson_mut_val *patch;	  /* JSON patch operations */
	yyjson_mut_val *warnings; /* strings */
};

/* Add an operation to the patch. @path is escaped already. */
void admit_add(struct admission *ad, const char *path, yyjson_mut_val *value);
void admit_warn(struct admission *ad, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The rules. 0; -EINVAL: refused, @e says why; -EAGAIN: it could not be found out. */
int admit_pod(struct admission *ad, struct err *e);
int admit_defaults(struct admission *ad, struct err *e);
int admit_validate(struct admission *ad, struct err *e);

/* admit-cluster.c: the nodes, node states and policies of @namespace, listed. */
int admit_cluster_list(struct kube *k, const char *namespace, struct arena *a, struct admit_cluster *ret, struct err *e);

#endif
