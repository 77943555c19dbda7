/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/cache.h"
#include "attach/delegate.h"

int delegate_parse(struct arena *a, const char *source, const char *text, const char *runtime, struct delegate *ret, struct err *e)
{
	struct delegate d = { .text = text };
	int r = netconf_parse(a, source, text, strlen(text), &d.conf, e);

	if (r == 0 && runtime && *runtime)
		r = doc_parse_json(a, "capability arguments", runtime, strlen(runtime), NETCONF_SIZE_MAX, &d.runtime, e);
	if (r == 0 && !d.conf.name)
		r = err_set(e, -EINVAL, "%s: name is missing", source);
	if (r < 0)
		return r;
	*ret = d;
	return 0;
}

static int run_one(struct arena *a, struct delegate *d, const char *command, size_t plugin, yyjson_val *prev_result, yyjson_mut_val *extra,
		   char **ret_out, struct cni_failure *f)
{
	char *conf = netconf_stdin(a, &d->conf, plugin, prev_result, d->runtime, extra);

	d->call.command = command;
	return plugin_run(a, netconf_type(&d->conf, plugin), &d->call, conf, ret_out, f);
}

static int parse_result(struct arena *a, const char *type, const char *out, enum cni_version version, yyjson_val **ret_value,
			struct cniresult *ret, struct cni_failure *f)
{
	struct err why;
	int n = (int)strcspn(out, "\n");

	if (!*out)
		return cni_fail(f, CNI_INTERNAL, NULL, "plugin \"%s\" succeeded and printed no result", type);
	if (doc_parse_json(a, "result", out, strlen(out), PLUGIN_STDOUT_MAX, ret_value, &why) < 0 ||
	    cniresult_parse(a, *ret_value, version, ret, &why) < 0)
		return cni_fail(f, CNI_DECODE, NULL, "plugin \"%s\" printed no CNI result: %s; it began with \"%.*s\"", type, why.msg, n > 80 ? 80 : n, out);
	return 0;
}

static int cache_result(const struct delegate *d, yyjson_val *result, struct err *e)
{
	const struct cache_entry entry = { .network = d->conf.name, .container = d->call.container, .ifname = d->call.ifname,
					   .netns = d->call.netns, .config = d->text, .args = d->call.args, .runtime = d->runtime,
					   .result = result };

	return cache_write(d->cni_dir, &entry, e);
}

int delegate_cache(struct arena *a, const struct delegate *d, const struct cniresult *res, struct err *e)
{
	char *text = doc_mut_to_json(a, cniresult_json(doc_new(a), res, d->conf.version), false);
	yyjson_val *value;
	int r = doc_parse_json(a, "result", text, strlen(text), CACHE_SIZE_MAX, &value, e);

	return r < 0 ? r : cache_result(d, value, e);
}

int delegate_add(struct arena *a, struct delegate *d, struct cniresult *ret, struct cni_failure *f)
{
	struct cniresult result = { 0 };
	yyjson_val *value = NULL;

	for (size_t i = 0; i < d->conf.n_plugins; i++) {
		char *out;
		int r = run_one(a, d, "ADD", i, value, NULL, &out, f);

		if (r == 0)
			r = parse_result(a, netconf_type(&d->conf, i), out, d->conf.version, &value, &result, f);
		if (r)
			return r;
	}
	if (cache_result(d, value, &f->e) < 0) {
		f->details = NULL;
		return f->code = CNI_IO;
	}
	*ret = result;
	return 0;
}

static yyjson_val *cached(struct arena *a, const struct delegate *d)
{
	return d->conf.version < CNI_0_4_0 ? NULL : cache_read(a, d->cni_dir, d->conf.name, d->call.container, d->call.ifname);
}

int delegate_del(struct arena *a, struct delegate *d, struct cni_failure *f)
{
	yyjson_val *prev = cached(a, d);
	int first = 0;

	for (size_t i = d->conf.n_plugins; i-- > 0;) {
		struct cni_failure why = { 0 };
		char *out;
		int r = run_one(a, d, "DEL", i, prev, NULL, &out, &why);

		if (r && (!first || f->e.code == -ENOENT)) {
			first = r;
			*f = why;
		}
	}
	if (!first && cache_remove(d->cni_dir, d->conf.name, d->call.container, d->call.ifname, &f->e) < 0) {
		f->details = NULL;
		first = f->code = CNI_IO;
	}
	return first;
}

int delegate_check(struct arena *a, struct delegate *d, struct cni_failure *f)
{
	yyjson_val *prev = cached(a, d);

	if (d->conf.version < CNI_0_4_0 || d->conf.disable_check)
		return 0;
	if (!prev)
		return cni_fail(f, CNI_UNKNOWN_CONTAINER, NULL, "network %s: no result of the ADD is cached in %s/results", d->conf.name, d->cni_dir);
	for (size_t i = 0; i < d->conf.n_plugins; i++) {
		char *out;
		int r = run_one(a, d, "CHECK", i, prev, NULL, &out, f);

		if (r)
			return r;
	}
	return 0;
}

int delegate_status(struct arena *a, struct delegate *d, struct cni_failure *f)
{
	for (size_t i = 0; d->conf.version >= CNI_1_1_0 && i < d->conf.n_plugins; i++) {
		char *out;
		int r = run_one(a, d, "STATUS", i, NULL, NULL, &out, f);

		if (r)
			return r;
	}
	return 0;
}

int delegate_gc(struct arena *a, struct delegate *d, const struct request_id *valid, size_t n, struct cni_failure *f)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *extra = yyjson_mut_obj(doc), *list = yyjson_mut_arr(doc);
	int first = 0;

	if (d->conf.version < CNI_1_1_0 || d->conf.disable_gc)
		return 0;
	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_str(doc, v, "containerID", valid[i].container);
		yyjson_mut_obj_add_str(doc, v, "ifname", valid[i].ifname);
	}
	yyjson_mut_obj_add_val(doc, extra, "cni.dev/valid-attachments", list);
	yyjson_mut_obj_add_val(doc, extra, "cni.dev/attachments", yyjson_mut_val_mut_copy(doc, list));
	for (size_t i = 0; i < d->conf.n_plugins; i++) {
		struct cni_failure why = { 0 };
		char *out;
		int r = run_one(a, d, "GC", i, NULL, extra, &out, &why);

		if (r && !first) {
			first = r;
			*f = why;
		}
	}
	return first;
}
