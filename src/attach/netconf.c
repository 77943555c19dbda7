/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "attach/cniresult.h"
#include "attach/netconf.h"
#include "base/parse.h"

bool netconf_is_name(const char *s)
{
	if (!isascii((unsigned char)*s) || !isalnum((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!isascii((unsigned char)*s) || (!isalnum((unsigned char)*s) && !strchr("_.-", *s)))
			return false;
	return true;
}

enum kind { STRING, BOOLEAN, OBJECT, STRINGS, BOOLEANS };

static bool is_kind(yyjson_val *v, enum kind kind)
{
	yyjson_arr_iter items;
	yyjson_obj_iter members;
	yyjson_val *item, *key;

	switch (kind) {
	case STRING:
		return yyjson_is_str(v);
	case BOOLEAN:
		return yyjson_is_bool(v);
	case OBJECT:
		return yyjson_is_obj(v);
	case STRINGS:
		yyjson_arr_iter_init(v, &items);
		while ((item = yyjson_arr_iter_next(&items)))
			if (!yyjson_is_str(item))
				return false;
		return yyjson_is_arr(v);
	default:
		yyjson_obj_iter_init(v, &members);
		while ((key = yyjson_obj_iter_next(&members)))
			if (!yyjson_is_bool(yyjson_obj_iter_get_val(key)))
				return false;
		return yyjson_is_obj(v);
	}
}

/* The members that every plugin's configuration may have, of the type that the Go library decodes: another one fails there, too. */
static int check_members(const char *source, yyjson_val *obj, struct err *e)
{
	static const struct {
		const char *in, *key; /* in: NULL or an object within */
		enum kind kind;
		const char *want;
	} members[] = {
		{ NULL, "cniVersion", STRING, "a string" },
		{ NULL, "name", STRING, "a string" },
		{ NULL, "type", STRING, "a string" },
		{ NULL, "disableCheck", BOOLEAN, "true or false" },
		{ NULL, "disableGC", BOOLEAN, "true or false" },
		{ NULL, "capabilities", BOOLEANS, "an object like {\"mac\": true}" },
		{ NULL, "ipam", OBJECT, "an object like {\"type\": \"host-local\"}" },
		{ "ipam", "type", STRING, "a string" },
		{ NULL, "dns", OBJECT, "an object like {\"nameservers\": [\"10.0.0.1\"]}" },
		{ "dns", "nameservers", STRINGS, "a list of strings" },
		{ "dns", "domain", STRING, "a string" },
		{ "dns", "search", STRINGS, "a list of strings" },
		{ "dns", "options", STRINGS, "a list of strings" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *in = members[i].in;
		yyjson_val *v = yyjson_obj_get(in ? yyjson_obj_get(obj, in) : obj, members[i].key);

		if (members[i].kind == BOOLEAN && is_given(doc_str(obj, "type")))
			continue; /* of lists only */
		if (v && !yyjson_is_null(v) && !is_kind(v, members[i].kind))
			return err_set(e, -EINVAL, "%s: %s%s%s must be %s", source, in ? in : "", in ? "." : "", members[i].key, members[i].want);
	}
	return 0;
}

static int get_plugins(const char *source, yyjson_val *list, struct netconf *nc, struct err *e)
{
	yyjson_arr_iter it;
	yyjson_val *v;

	if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
		return err_set(e, -EINVAL, "%s: it has neither \"type\" nor a list \"plugins\"", source);
	if (yyjson_arr_size(list) > NETCONF_PLUGINS_MAX)
		return err_set(e, -E2BIG, "%s: plugins: %zu, more than %d", source, yyjson_arr_size(list), NETCONF_PLUGINS_MAX);
	yyjson_arr_iter_init(list, &it);
	while ((v = yyjson_arr_iter_next(&it))) {
		int r = check_members(source, v, e);

		if (r < 0)
			return err_wrap(e, r, "plugins[%zu]", nc->n_plugins);
		if (!is_given(doc_str(v, "type")))
			return err_set(e, -EINVAL, "%s: plugins[%zu].type is missing", source, nc->n_plugins);
		nc->plugins[nc->n_plugins++] = v;
	}
	return 0;
}

/* The highest of a list's "cniVersions" that is known here, else its "cniVersion". */
static int get_version(const char *source, struct netconf *nc, struct err *e)
{
	yyjson_val *list = yyjson_obj_get(nc->root, "cniVersions"), *v;
	const char *text = doc_str(nc->root, "cniVersion");
	bool found = false;
	yyjson_arr_iter it;

	nc->version = CNI_0_1_0; /* what the Go library takes a configuration without one for */
	if (nc->list && yyjson_is_arr(list)) {
		yyjson_arr_iter_init(list, &it);
		while ((v = yyjson_arr_iter_next(&it))) {
			enum cni_version version;

			if (!yyjson_is_str(v) || cni_version_parse(yyjson_get_str(v), &version) < 0 || (found && version < nc->version))
				continue;
			nc->version = version;
			found = true;
		}
	}
	if (found || !is_given(text))
		return 0;
	if (cni_version_parse(text, &nc->version) < 0)
		return err_set(e, -EINVAL, "%s: cniVersion: \"%s\" is unknown; 0.1.0 to 1.1.0 are known", source, text);
	return 0;
}

int netconf_from_value(const char *source, yyjson_val *root, struct netconf *ret, struct err *e)
{
	struct netconf nc = { .root = root, .name = doc_str(root, "name"), .disable_check = doc_bool(root, "disableCheck", false),
			      .disable_gc = doc_bool(root, "disableGC", false) };
	int r = 0;

	if (!yyjson_is_obj(root))
		return err_set(e, -EINVAL, "%s: it is no JSON object", source);
	r = check_members(source, root, e);
	if (r < 0)
		return r;
	if (is_given(doc_str(root, "type"))) {
		nc.plugins[nc.n_plugins++] = root;
	} else {
		nc.list = true;
		r = get_plugins(source, yyjson_obj_get(root, "plugins"), &nc, e);
	}
	if (r == 0)
		r = get_version(source, &nc, e);
	if (r < 0)
		return r;
	nc.name = is_given(nc.name) ? nc.name : NULL;
	if (nc.name && !netconf_is_name(nc.name))
		return err_set(e, -EINVAL, "%s: name: \"%s\" has other characters than a-z, A-Z, 0-9, \"_\", \".\" and \"-\"", source, nc.name);
	*ret = nc;
	return 0;
}

int netconf_parse(struct arena *a, const char *source, const char *text, size_t len, struct netconf *ret, struct err *e)
{
	yyjson_val *root;
	int r;

	if (len > NETCONF_SIZE_MAX)
		return err_set(e, -E2BIG, "%s: %zu bytes, more than %u", source, len, NETCONF_SIZE_MAX);
	r = doc_parse_json(a, source, text, len, NETCONF_SIZE_MAX, &root, e);
	return r < 0 ? r : netconf_from_value(source, root, ret, e);
}

const char *netconf_type(const struct netconf *nc, size_t plugin)
{
	return doc_str(nc->plugins[plugin], "type");
}

/* Set a member, in place of one that is there. */
static void put(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, yyjson_mut_val *value)
{
	yyjson_mut_obj_put(obj, yyjson_mut_strcpy(doc, key), value);
}

static void put_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	put(doc, obj, key, yyjson_mut_strcpy(doc, value));
}

/* The object @key of @obj, made when it is not there or another thing. */
static yyjson_mut_val *object_of(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key)
{
	yyjson_mut_val *v = yyjson_mut_obj_get(obj, key);

	if (!yyjson_mut_is_obj(v)) {
		v = yyjson_mut_obj(doc);
		put(doc, obj, key, v);
	}
	return v;
}

static void inject(yyjson_mut_doc *doc, yyjson_mut_val *plugin, const char *device_id, yyjson_val *cni_args)
{
	yyjson_mut_val *cni;
	yyjson_obj_iter it;
	yyjson_val *k;

	if (device_id) {
		put_str(doc, plugin, "deviceID", device_id);
		put_str(doc, plugin, "pciBusID", device_id);
	}
	if (!cni_args)
		return;
	cni = object_of(doc, object_of(doc, plugin, "args"), "cni");
	yyjson_obj_iter_init(cni_args, &it);
	while ((k = yyjson_obj_iter_next(&it)))
		put(doc, cni, yyjson_get_str(k), yyjson_val_mut_copy(doc, yyjson_obj_iter_get_val(k)));
}

/* Into each plugin of a list, else into the plugin itself. */
static void inject_all(yyjson_mut_doc *doc, yyjson_mut_val *root, bool list, const char *device_id, yyjson_val *cni_args)
{
	yyjson_mut_arr_iter it;
	yyjson_mut_val *v;

	if (!list) {
		inject(doc, root, device_id, cni_args);
		return;
	}
	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(root, "plugins"), &it);
	while ((v = yyjson_mut_arr_iter_next(&it)))
		inject(doc, v, device_id, cni_args);
}

char *netconf_final(struct arena *a, const struct netconf *nc, const char *name, const char *device_id, yyjson_val *cni_args)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_val_mut_copy(doc, nc->root);

	if (!nc->name && name)
		put_str(doc, root, "name", name);
	inject_all(doc, root, nc->list, device_id, cni_args);
	return doc_mut_to_json(a, root, false);
}

yyjson_val *netconf_with_args(struct arena *a, yyjson_val *conf, yyjson_val *cni_args)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_val_mut_copy(doc, conf);
	yyjson_alc alc = doc_alc(a);

	if (!cni_args)
		return conf;
	inject_all(doc, root, yyjson_mut_is_arr(yyjson_mut_obj_get(root, "plugins")), NULL, cni_args);
	return yyjson_doc_get_root(yyjson_mut_val_imut_copy(root, &alc));
}

/* Of the capability arguments those that the plugin declares. */
static void put_runtime(yyjson_mut_doc *doc, yyjson_mut_val *plugin, yyjson_val *capabilities, yyjson_val *runtime)
{
	yyjson_mut_val *rc = yyjson_mut_obj(doc);
	yyjson_obj_iter it;
	yyjson_val *k;

	yyjson_obj_iter_init(capabilities, &it);
	while ((k = yyjson_obj_iter_next(&it))) {
		yyjson_val *arg = yyjson_obj_get(runtime, yyjson_get_str(k));

		if (arg && yyjson_is_true(yyjson_obj_iter_get_val(k)))
			put(doc, rc, yyjson_get_str(k), yyjson_val_mut_copy(doc, arg));
	}
	if (yyjson_mut_obj_size(rc))
		put(doc, plugin, "runtimeConfig", rc);
}

char *netconf_stdin(struct arena *a, const struct netconf *nc, size_t plugin, yyjson_val *prev_result, yyjson_val *runtime,
		    yyjson_mut_val *extra)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_val_mut_copy(doc, nc->plugins[plugin]), *k;
	yyjson_mut_obj_iter it;

	if (nc->name)
		put_str(doc, v, "name", nc->name);
	put_str(doc, v, "cniVersion", cni_version_text(nc->version));
	if (prev_result)
		put(doc, v, "prevResult", yyjson_val_mut_copy(doc, prev_result));
	put_runtime(doc, v, yyjson_obj_get(nc->plugins[plugin], "capabilities"), runtime);
	yyjson_mut_obj_iter_init(extra, &it);
	while ((k = yyjson_mut_obj_iter_next(&it)))
		put(doc, v, yyjson_mut_get_str(k), yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_iter_get_val(k)));
	return doc_mut_to_json(a, v, false);
}
