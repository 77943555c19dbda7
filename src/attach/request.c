/* SPDX-License-Identifier: Apache-2.0 */
/* The order of checks and their words are those of containernetworking/cni pkg/skel and pkg/utils. */
#include <string.h>

#include "attach/netconf.h"
#include "attach/request.h"
#include "base/parse.h"
#include "base/strbuf.h"

#define CONTAINER_ID_MAX 200 /* with the interface it names a file */

static const char *const version_texts[CNI_VERSIONS + 1] = { "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

/* Which variables a verb cannot do without. */
enum { NEED_CONTAINER = 1, NEED_NETNS = 2, NEED_IFNAME = 4, NEED_PATH = 8, NEED_ALL = 15 };

static const struct {
	const char *name;
	unsigned needs;
	enum cni_version since;
} verbs[] = {
	[VERB_ADD] = { "ADD", NEED_ALL, CNI_0_1_0 },
	[VERB_DEL] = { "DEL", NEED_CONTAINER | NEED_IFNAME | NEED_PATH, CNI_0_1_0 },
	[VERB_CHECK] = { "CHECK", NEED_ALL, CNI_0_4_0 },
	[VERB_GC] = { "GC", NEED_PATH, CNI_1_1_0 },
	[VERB_STATUS] = { "STATUS", NEED_PATH, CNI_1_1_0 },
};

const char *cni_version_text(enum cni_version v)
{
	return version_texts[v];
}

int cni_fail(struct cni_failure *f, int code, const char *details, const char *fmt, ...)
{
	va_list ap;

	f->code = code;
	f->details = details;
	f->e.code = -EINVAL;
	va_start(ap, fmt);
	vsnprintf(f->e.msg, sizeof(f->e.msg), fmt, ap);
	va_end(ap);
	return code;
}

int cni_fail_errno(struct cni_failure *f, int r)
{
	switch (r) {
	case -ENOSPC: /* a VF or an address may come free */
	case -EBUSY:
	case -EAGAIN:
		f->code = CNI_TRY_AGAIN;
		break;
	case -EINVAL:
	case -EPERM:
	case -ERANGE:
	case -E2BIG:
	case -ENOTSUP:
		f->code = CNI_INVALID_CONFIG;
		break;
	default:
		f->code = CNI_INTERNAL;
	}
	return f->code;
}

static int check_env(struct arena *a, const struct cni_env *env, unsigned needs, struct cni_failure *f)
{
	const struct {
		unsigned bit;
		const char *name, *value;
	} vars[] = {
		{ NEED_CONTAINER, "CNI_CONTAINERID", env->container_id },
		{ NEED_NETNS, "CNI_NETNS", env->netns },
		{ NEED_IFNAME, "CNI_IFNAME", env->ifname },
		{ NEED_PATH, "CNI_PATH", env->path },
	};
	_cleanup_strbuf_ struct strbuf missing = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
		if ((needs & vars[i].bit) && !is_given(vars[i].value))
			strbuf_addf(&missing, "%s%s", missing.len ? "," : "", vars[i].name);
	if (missing.len)
		return cni_fail(f, CNI_INVALID_ENV, NULL, "required env variables [%s] missing", missing.s);
	return 0;
}

static int check_container(const char *id, struct cni_failure *f)
{
	if (!netconf_is_name(id))
		return cni_fail(f, CNI_INVALID_ENV, id, "invalid characters in containerID");
	if (strlen(id) > CONTAINER_ID_MAX)
		return cni_fail(f, CNI_INVALID_ENV, NULL, "containerID is longer than %d bytes", CONTAINER_ID_MAX);
	return 0;
}

static int check_ifname(struct arena *a, const char *s, struct cni_failure *f)
{
	if (strlen(s) > 15)
		return cni_fail(f, CNI_INVALID_ENV, arena_printf(a, "\"%s\": interface name should be less than 16 characters", s),
				"interface name is too long");
	if (!strcmp(s, ".") || !strcmp(s, ".."))
		return cni_fail(f, CNI_INVALID_ENV, NULL, "interface name is . or ..");
	if (!parse_is_ifname(s))
		return cni_fail(f, CNI_INVALID_ENV, s, "interface name contains / or : or whitespace characters");
	return 0;
}

static int check_version(struct arena *a, struct request *rq, struct cni_failure *f)
{
	const char *text = doc_str(rq->conf, "cniVersion");

	if (yyjson_obj_get(rq->conf, "cniVersion") && !text)
		return cni_fail(f, CNI_DECODE, NULL, "error unmarshall network config: cniVersion must be a string");
	if (!is_given(text))
		text = "0.1.0"; /* what the Go library takes a configuration without one for */
	for (size_t i = 0; i < CNI_VERSIONS; i++) {
		if (strcmp(text, version_texts[i]))
			continue;
		rq->version = (enum cni_version)i;
		if (rq->version < verbs[rq->verb].since)
			return cni_fail(f, CNI_INCOMPATIBLE_VERSION, NULL, "config version does not allow %s", verbs[rq->verb].name);
		return 0;
	}
	return cni_fail(f, CNI_INCOMPATIBLE_VERSION,
			arena_printf(a, "config is \"%s\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]",
				     text),
			"incompatible CNI versions");
}

static int check_conf(struct arena *a, const char *conf, size_t len, struct request *rq, struct cni_failure *f)
{
	struct err e;
	int r = doc_parse_json(a, "network config", conf, len, REQUEST_CONF_MAX, &rq->conf, &e);

	if (r < 0)
		return cni_fail(f, CNI_DECODE, NULL, "error unmarshall %s", e.msg);
	if (!yyjson_is_obj(rq->conf))
		return cni_fail(f, CNI_DECODE, NULL, "error unmarshall network config: it is no JSON object");
	rq->name = doc_str(rq->conf, "name");
	rq->type = doc_str(rq->conf, "type");
	rq->prev_result = yyjson_obj_get(rq->conf, "prevResult");
	if (yyjson_is_null(rq->prev_result))
		rq->prev_result = NULL;
	if (!is_given(rq->name))
		return cni_fail(f, CNI_INVALID_CONFIG, NULL, "missing network name");
	if (!netconf_is_name(rq->name))
		return cni_fail(f, CNI_INVALID_CONFIG, arena_strdup(a, rq->name), "invalid characters found in network name");
	if (rq->prev_result && !yyjson_is_obj(rq->prev_result))
		return cni_fail(f, CNI_INVALID_CONFIG, NULL, "prevResult must be an object");
	return check_version(a, rq, f);
}

/* "K=V;K=V". A value may hold a "=". */
static int parse_args(struct arena *a, const char *text, struct request *rq, struct cni_failure *f)
{
	const struct {
		const char *key, **value;
	} known[] = {
		{ "K8S_POD_NAMESPACE", &rq->pod_namespace },
		{ "K8S_POD_NAME", &rq->pod_name },
		{ "K8S_POD_UID", &rq->pod_uid },
		{ "MAC", &rq->args_mac },
		{ "IP", &rq->args_ip },
	};

	for (const char *s = text; *s; s += *s == ';') {
		size_t len = strcspn(s, ";"), key = strcspn(s, "=;");

		if (key == len && len)
			return cni_fail(f, CNI_INVALID_ENV, arena_strndup(a, s, len), "CNI_ARGS: invalid pair, KEY=VALUE;KEY=VALUE is expected");
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (strlen(known[i].key) == key && !memcmp(s, known[i].key, key) && len > key + 1)
				*known[i].value = arena_strndup(a, s + key + 1, len - key - 1);
		s += len;
	}
	return 0;
}

/* The runtime's list of attachments that live: cni.dev/valid-attachments, older libraries say cni.dev/attachments. */
static int parse_valid(struct arena *a, struct request *rq, struct cni_failure *f)
{
	yyjson_val *list = yyjson_obj_get(rq->conf, "cni.dev/valid-attachments"), *v;
	yyjson_arr_iter it;

	if (!list)
		list = yyjson_obj_get(rq->conf, "cni.dev/attachments");
	if (!yyjson_is_arr(list))
		return cni_fail(f, CNI_INVALID_CONFIG, NULL,
				"GC needs the list cni.dev/valid-attachments: without it every attachment would be taken for dead");
	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		struct request_id id = { doc_str(v, "containerID"), doc_str(v, "ifname") };

		if (!id.container || !id.ifname)
			return cni_fail(f, CNI_INVALID_CONFIG, NULL, "cni.dev/valid-attachments[%zu] needs containerID and ifname", rq->n_valid);
		*(struct request_id *)arena_push(a, &rq->valid, &rq->n_valid, sizeof(id)) = id;
	}
	return 0;
}

static int find_verb(const char *command, enum cni_verb *ret, struct cni_failure *f)
{
	for (size_t i = 0; is_given(command) && i < ARRAY_SIZE(verbs); i++) {
		if (!strcmp(command, verbs[i].name)) {
			*ret = (enum cni_verb)i;
			return 0;
		}
	}
	if (!is_given(command))
		return cni_fail(f, CNI_INVALID_ENV, NULL, "required env variables [CNI_COMMAND] missing");
	return cni_fail(f, CNI_INVALID_ENV, NULL, "unknown CNI_COMMAND: %s", command);
}

int request_parse(struct arena *a, const struct cni_env *env, const char *conf, size_t len, struct request *ret,
		  struct cni_failure *f)
{
	struct request rq = { 0 };
	int r = find_verb(env->command, &rq.verb, f);

	if (r == 0)
		r = check_env(a, env, verbs[rq.verb].needs, f);
	if (r == 0)
		r = check_conf(a, conf, len, &rq, f);
	if (r == 0 && is_given(env->container_id))
		r = check_container(env->container_id, f);
	if (r == 0 && is_given(env->ifname))
		r = check_ifname(a, env->ifname, f);
	if (r == 0 && is_given(env->args))
		r = parse_args(a, env->args, &rq, f);
	if (r == 0 && rq.verb == VERB_GC)
		r = parse_valid(a, &rq, f);
	if (r)
		return r;
	rq.container = arena_strdup(a, env->container_id);
	rq.ifname = arena_strdup(a, env->ifname);
	rq.args = arena_strdup(a, is_given(env->args) ? env->args : "");
	rq.path = arena_strdup(a, is_given(env->path) ? env->path : "");
	rq.caller = env->caller;
	rq.ipam = env->plugin && !strcmp(env->plugin, "whereabouts");
	rq.within = is_given(env->within) ? arena_strdup(a, env->within) : NULL;
	rq.netns = is_given(env->netns) ? arena_strdup(a, env->netns) : NULL;
	*ret = rq;
	return 0;
}
