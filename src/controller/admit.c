/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <string.h>

#include "base/base64.h"
#include "controller/admit-private.h"

#define WARNING_MAX 256 /* characters, to which API servers cut when a response has many warnings (apiserver, filters/warning.go) */

void admit_add(struct admission *ad, const char *path, yyjson_mut_val *value)
{
	yyjson_mut_val *op = yyjson_mut_arr_add_obj(ad->doc, ad->patch);

	yyjson_mut_obj_add_str(ad->doc, op, "op", "add");
	yyjson_mut_obj_add_strcpy(ad->doc, op, "path", path);
	yyjson_mut_obj_add_val(ad->doc, op, "value", value);
}

void admit_warn(struct admission *ad, const char *fmt, ...)
{
	va_list ap;
	const char *text;

	va_start(ap, fmt);
	text = arena_vprintf(ad->a, fmt, ap);
	va_end(ap);
	yyjson_mut_arr_add_str(ad->doc, ad->warnings, arena_cut(ad->a, text, WARNING_MAX));
}

static bool is_review(yyjson_val *v)
{
	const char *version = doc_str(v, "apiVersion"), *kind = doc_str(v, "kind");

	return version && kind && !strcmp(version, "admission.k8s.io/v1") && !strcmp(kind, "AdmissionReview");
}

static void say_no(struct admission *ad, yyjson_mut_val *response, int code, const char *message)
{
	yyjson_mut_val *status = yyjson_mut_obj_add_obj(ad->doc, response, "status");

	yyjson_mut_obj_add_int(ad->doc, status, "code", code);
	yyjson_mut_obj_add_str(ad->doc, status, "message", message);
}

static enum admit_verdict answer(struct admission *ad, int r, const struct err *e, yyjson_mut_val *response)
{
	enum admit_verdict verdict = ADMIT_UNCHANGED;
	const char *patch;

	yyjson_mut_obj_add_bool(ad->doc, response, "allowed", r == 0);
	if (r < 0) {
		verdict = r == -EAGAIN ? ADMIT_FAILED : ADMIT_DENIED;
		say_no(ad, response, r == -EAGAIN ? 503 : 422, e->msg);
	} else if (yyjson_mut_arr_size(ad->patch)) {
		verdict = ADMIT_CHANGED;
		patch = doc_mut_to_json(ad->a, ad->patch, false);
		yyjson_mut_obj_add_str(ad->doc, response, "patchType", "JSONPatch");
		yyjson_mut_obj_add_str(ad->doc, response, "patch", base64_encode(ad->a, patch, strlen(patch)));
	}
	if (yyjson_mut_arr_size(ad->warnings))
		yyjson_mut_obj_add_val(ad->doc, response, "warnings", ad->warnings);
	return verdict;
}

int admit_review(struct arena *a, const struct admit_options *o, enum admit_path path, const char *body, size_t len, const char **ret,
		 enum admit_verdict *verdict, struct err *e)
{
	static int (*const rules[])(struct admission *, struct err *) = { admit_pod, admit_defaults, admit_validate };
	struct admission ad = { .a = a, .o = o };
	yyjson_mut_val *review, *response;
	yyjson_val *v, *request;
	const char *uid;
	int r;

	r = doc_parse_json(a, "AdmissionReview", body, len, ADMIT_BODY_MAX, &v, e);
	if (r < 0)
		return -EINVAL;
	request = yyjson_obj_get(v, "request");
	uid = doc_str(request, "uid");
	if (!is_review(v) || !uid)
		return err_set(e, -EINVAL, "the body is no AdmissionReview of admission.k8s.io/v1 with a request");
	ad.ns = doc_str(request, "namespace");
	ad.operation = doc_str(request, "operation");
	ad.object = yyjson_obj_get(request, "object");
	ad.ns = ad.ns ? ad.ns : "";
	ad.operation = ad.operation ? ad.operation : "";
	ad.object = yyjson_is_obj(ad.object) ? ad.object : NULL;
	ad.doc = doc_new(a);
	ad.patch = yyjson_mut_arr(ad.doc);
	ad.warnings = yyjson_mut_arr(ad.doc);
	r = rules[path](&ad, e);
	review = yyjson_mut_obj(ad.doc);
	yyjson_mut_obj_add_str(ad.doc, review, "apiVersion", "admission.k8s.io/v1");
	yyjson_mut_obj_add_str(ad.doc, review, "kind", "AdmissionReview");
	response = yyjson_mut_obj_add_obj(ad.doc, review, "response");
	yyjson_mut_obj_add_str(ad.doc, response, "uid", uid);
	*verdict = answer(&ad, r, e, response);
	*ret = doc_mut_to_json(a, review, false);
	return 0;
}
