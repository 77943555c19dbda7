/* SPDX-License-Identifier: Apache-2.0 */
/* One CNI request as value: environment and configuration checked as the reference skeleton does, with its words. */
#ifndef KVRAIL_ATTACH_REQUEST_H
#define KVRAIL_ATTACH_REQUEST_H

#include "attach/attach.h"

#define REQUEST_CONF_MAX (1u << 20)

enum cni_verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_GC, VERB_STATUS };

/* In order of age. */
enum cni_version { CNI_0_1_0, CNI_0_2_0, CNI_0_3_0, CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0, CNI_VERSIONS };

/* What a failed request answers. */
struct cni_failure {
	int code; /* enum cni_code */
	const char *details; /* NULL: none */
	struct err e;
};

/* Set and return @code. @details may be NULL. */
int cni_fail(struct cni_failure *f, int code, const char *details, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The CNI code for a negative errno of the engine; f->e holds the words already. */
int cni_fail_errno(struct cni_failure *f, int r);

struct request_id {
	const char *container, *ifname;
};

struct request {
	enum cni_verb verb;
	const char *container, *ifname, *netns; /* netns NULL: not given */
	const char *pod_namespace, *pod_name, *pod_uid; /* NULL: not given */
	const char *args_mac, *args_ip; /* of CNI_ARGS */
	const char *args; /* all of CNI_ARGS, "" when there are none */
	const char *path; /* CNI_PATH */
	void *caller;	  /* of the environment */
	bool ipam;	  /* called as IPAM plugin */
	const char *within; /* NULL, or the container of the request that waits for this one */
	enum cni_version version;
	const char *name, *type; /* of the configuration */
	yyjson_val *conf;
	yyjson_val *prev_result; /* NULL: none */
	struct request_id *valid; /* GC: attachments to keep */
	size_t n_valid;
};

/* 0, or a CNI code with the words in @f. All of @ret lives in @a. */
int request_parse(struct arena *a, const struct cni_env *env, const char *conf, size_t len, struct request *ret,
		  struct cni_failure *f);

const char *cni_version_text(enum cni_version v);

#endif
