/* SPDX-License-Identifier: Apache-2.0 */
/* The API server's refusals (kind Status) as errnos and words. */
#include <string.h>

#include "store/kube-private.h"

static const char *what(struct arena *a, const struct kube_ask *q)
{
	const struct kube_ref *r = q->ref;

	if (!r)
		return arena_printf(a, "%s %s", q->method, q->target);
	return arena_printf(a, "%s%s%s%s%s%s", r->plural, *r->group ? "." : "", r->group, r->name ? " " : "", r->name ? r->name : "",
			    r->namespace ? arena_printf(a, " in %s", r->namespace) : "");
}

/* Neither the object nor anything of its kind. */
static int no_such_kind(struct kube *k, const struct kube_ask *q, struct err *e)
{
	const struct kube_ref *r = q->ref;

	if (!r || !*r->group)
		return err_set(e, -ENOENT, "the API server %s knows no %s", k->config->server, r ? r->plural : q->target);
	return err_set(e, -ENOENT,
		       "the API server %s knows no %s.%s/%s: its CRD is missing; install it with 'kubectl apply -k deploy/'",
		       k->config->server, r->plural, r->group, r->version);
}

/* Who owns which field, for a server-side apply that another manager's fields stand against. */
static int apply_conflict(struct arena *a, const struct kube_ask *q, yyjson_val *causes, struct err *e)
{
	const char *list = "";
	yyjson_val *c;
	size_t i, max;

	yyjson_arr_foreach(causes, i, max, c) {
		const char *owner = doc_str(c, "message"), *field = doc_str(c, "field");

		if (owner && field && i < 10)
			list = arena_printf(a, "%s%s%s: %s", list, *list ? "; " : "", *field == '.' ? field + 1 : field, owner);
	}
	return err_set(e, -ESTALE, "%s: %zu field%s belong%s to another manager (%s)", what(a, q), max, max == 1 ? "" : "s",
		       max == 1 ? "s" : "", list);
}

static int conflict(struct arena *a, const struct kube_ask *q, yyjson_val *status, const char *text, struct err *e)
{
	const char *reason = doc_str(status, "reason");
	yyjson_val *causes = yyjson_obj_get(yyjson_obj_get(status, "details"), "causes");
	const char *first = doc_str(yyjson_arr_get_first(causes), "reason");

	if (reason && !strcmp(reason, "AlreadyExists"))
		return err_set(e, -EEXIST, "%s", text);
	if (first && !strcmp(first, "FieldManagerConflict"))
		return apply_conflict(a, q, causes, e);
	return err_set(e, -ESTALE, "%s", text);
}

/*
 * A JSON patch whose test did not hold and an object that breaks a rule both come as 422; the first names no cause and no
 * object. (apiserver: jsonPatcher.applyPatchToCurrentObject makes a bare StatusUnprocessableEntity.)
 */
static int invalid(const struct kube_ask *q, yyjson_val *status, const char *text, struct err *e)
{
	bool bare = !yyjson_obj_get(yyjson_obj_get(status, "details"), "causes");

	if (bare && q->type && !strcmp(q->type, "application/json-patch+json"))
		return err_set(e, -ESTALE, "the patch does not fit the object as it is now: %s", text);
	return err_set(e, -EINVAL, "%s", text);
}

int kube_refused(struct kube *k, const struct kube_ask *q, const struct http_reply *reply, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *status = NULL;
	const char *text;
	size_t n;

	doc_parse_json(a, "status", reply->body, reply->len, KUBE_OBJECT_MAX, &status, NULL);
	text = doc_str(status, "message");
	if (!text || !*text) {
		text = arena_strndup(a, reply->body, 300);
		n = strlen(text);
		while (n && strchr(" \r\n", text[n - 1]))
			n--;
		text = n ? arena_strndup(a, text, n) : "no reason is given";
	}
	switch (reply->status) {
	case 400:
	case 405:
	case 413:
	case 415:
		return err_set(e, -EINVAL, "%s: %s", what(a, q), text);
	case 401:
		return err_set(e, -EACCES, "the API server %s does not know us (%s): %s", k->config->server, k->config->source,
			       kube_cred_doubt(k, a));
	case 403:
		return err_set(e, -EPERM, "%s (%s)", text, k->config->source);
	case 404:
		if (!doc_str(yyjson_obj_get(status, "details"), "name"))
			return no_such_kind(k, q, e);
		return err_set(e, -ENOENT, "%s", text);
	case 409:
		return conflict(a, q, status, text, e);
	case 410:
		return err_set(e, -ENODATA, "%s: %s", what(a, q), text);
	case 422:
		return invalid(q, status, text, e);
	default:
		if (reply->status == 429 || reply->status >= 500)
			return err_set(e, -EHOSTUNREACH, "the API server %s is not able to answer (%d): %s%s", k->config->server, reply->status, text,
				       !q->repeatable && reply->status >= 500 ? "; whether the change was made is not known" : "");
		return err_set(e, -EPROTO, "%s: the server %s answered with status %d: %s", what(a, q), k->config->server, reply->status, text);
	}
}
