/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was last known of the API server, on disk: an agent that starts while the server is away attaches the pods it knows.
 * {"version": 1, "node": NAME, "state": [...], "pods": [...], "nads": [...]}, an element an object as the informers keep it.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "agent/cluster.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"

#define SNAPSHOT_MAX (64u << 20)

struct snapshot {
	struct arena *arena;
	yyjson_val *lists[COLLECTIONS];
};

static const char *const names[COLLECTIONS] = { "state", "pods", "nads" };

struct snapshot *snapshot_load(const char *state_dir, const char *node)
{
	struct arena *a = arena_new();
	struct snapshot *s = arena_alloc(a, sizeof(*s));
	char path[PATH_MAX], *text = NULL;
	struct err e = { 0 };
	yyjson_val *root;
	size_t len;
	int r;

	s->arena = a;
	snprintf(path, sizeof(path), "%s/snapshot.json", state_dir);
	r = file_read(AT_FDCWD, path, SNAPSHOT_MAX, &text, &len);
	if (r == -ENOENT)
		return snapshot_free(s);
	if (r < 0)
		err_errno(&e, r, "reading %s", path);
	else
		r = doc_parse_json(a, path, text, len, SNAPSHOT_MAX, &root, &e);
	free(text);
	if (r == 0 && (doc_int(root, "version", 0) != 1 || !doc_str(root, "node") || strcmp(doc_str(root, "node"), node)))
		r = err_set(&e, -EINVAL, "%s is of another node or version", path);
	if (r < 0) {
		log_warn("%s: not used; the API server is asked for everything", e.msg);
		return snapshot_free(s);
	}
	for (size_t i = 0; i < COLLECTIONS; i++)
		s->lists[i] = yyjson_obj_get(root, names[i]);
	return s;
}

struct snapshot *snapshot_free(struct snapshot *s)
{
	if (s)
		arena_free(s->arena);
	return NULL;
}

static void object_of(struct arena *a, yyjson_val *v, struct informer_object *ret)
{
	yyjson_val *json = yyjson_obj_get(v, "json");

	*ret = (struct informer_object){
		.namespace = arena_strdup(a, doc_str(v, "namespace")), .name = arena_strdup(a, doc_str(v, "name")),
		.uid = arena_strdup(a, doc_str(v, "uid")), .version = arena_strdup(a, doc_str(v, "version")),
		.json = json ? doc_to_json(a, json, false) : "null",
	};
}

static bool is(yyjson_val *v, const char *key, const char *want)
{
	const char *s = doc_str(v, key);

	return !strcmp(s ? s : "", want ? want : "");
}

bool snapshot_has(const struct snapshot *s, enum collection of)
{
	return s && yyjson_is_arr(s->lists[of]);
}

int snapshot_get(const struct snapshot *s, enum collection of, struct arena *a, const char *ns, const char *name,
		 struct informer_object *ret)
{
	yyjson_val *v;
	size_t i, max;

	if (!snapshot_has(s, of))
		return -EHOSTUNREACH;
	yyjson_arr_foreach(s->lists[of], i, max, v) {
		if (!is(v, "name", name) || !is(v, "namespace", ns))
			continue;
		object_of(a, v, ret);
		return 0;
	}
	return -ENOENT;
}

int snapshot_all(const struct snapshot *s, enum collection of, struct arena *a, struct informer_object **ret, size_t *ret_n)
{
	yyjson_val *v;
	size_t i, max;

	*ret = NULL;
	*ret_n = 0;
	if (!snapshot_has(s, of))
		return -EHOSTUNREACH;
	yyjson_arr_foreach(s->lists[of], i, max, v)
		object_of(a, v, arena_push(a, ret, ret_n, sizeof(**ret)));
	return 0;
}

static void put_string(struct strbuf *b, struct arena *a, const char *key, const char *value)
{
	yyjson_mut_doc *doc = doc_new(a);

	strbuf_addf(b, "\"%s\":%s,", key, doc_mut_to_json(a, yyjson_mut_str(doc, value ? value : ""), false));
}

int snapshot_save(struct cluster *cl, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char path[PATH_MAX];
	int r;

	strbuf_addf(&b, "{\"version\":1,\"node\":\"%s\"", cl->ag->node); /* a node's name is a DNS name: nothing to escape */
	for (size_t i = 0; i < COLLECTIONS; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct informer_object *all;
		size_t n;

		r = watch_all(cl, i, a, &all, &n, e);
		if (r < 0)
			return r;
		strbuf_addf(&b, ",\"%s\":[", names[i]);
		for (size_t k = 0; k < n; k++) {
			strbuf_addf(&b, "%s\n{", k ? "," : "");
			put_string(&b, a, "namespace", all[k].namespace);
			put_string(&b, a, "name", all[k].name);
			put_string(&b, a, "uid", all[k].uid);
			put_string(&b, a, "version", all[k].version);
			strbuf_addf(&b, "\"json\":%s}", all[k].json);
		}
		strbuf_addch(&b, ']');
	}
	strbuf_addstr(&b, "}\n");
	snprintf(path, sizeof(path), "%s/snapshot.json", cl->ag->options->state_dir);
	r = file_write_atomic(AT_FDCWD, path, b.s, b.len, 0600);
	return r < 0 ? err_errno(e, r, "writing %s", path) : 0;
}
