/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "base/parse.h"
#include "cmd/cluster.h"

/* An agent's, of this host, also where only root may look: its commands are not for a cluster then. */
static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? S_ISSOCK(st.st_mode) : errno == EACCES;
}

bool cmd_cluster_is_meant(const struct cluster_options *o)
{
	const char *home = secure_getenv("HOME");
	char path[4096];

	if (is_given(o->kubeconfig) || is_given(o->context))
		return true;
	if (is_given(secure_getenv("KVRAIL_SOCKET")) || is_socket(cmd_socket()))
		return false;
	snprintf(path, sizeof(path), "%s/.kube/config", home ? home : "/root");
	return is_given(secure_getenv("KUBECONFIG")) || is_given(secure_getenv("KUBERNETES_SERVICE_HOST")) || access(path, R_OK) == 0;
}

static void on_warning(const char *text)
{
	fprintf(stderr, "kvrail: warning of the API server: %s\n", text);
}

int cmd_cluster_open(const struct cluster_options *o, const char *manager, struct kube **ret, struct err *e)
{
	return kube_open(&(struct kube_options){ .kubeconfig = o->kubeconfig, .context = o->context, .manager = manager, .warning = on_warning }, ret, e);
}

const char *cmd_cluster_api_version(struct arena *a, const struct cluster_kind *kind)
{
	return *kind->group ? arena_printf(a, "%s/%s", kind->group, kind->version) : kind->version;
}

const char *cmd_cluster_object_name(struct arena *a, const struct cluster_kind *kind, const char *name)
{
	char *word = arena_strdup(a, kind->kind);

	for (char *c = word; *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	return arena_printf(a, "%s%s%s/%s", word, *kind->group ? "." : "", kind->group, name);
}

static void of_api(const struct api_kind *k, struct cluster_kind *ret)
{
	*ret = (struct cluster_kind){ k->kind, k->plural, k->group, k->version, k->namespaced };
}

static bool is_called(yyjson_val *resource, const char *name)
{
	static const char *const keys[] = { "name", "singularName", "kind" };
	yyjson_val *v;
	size_t i, max;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (is_given(doc_str(resource, keys[i])) && !strcasecmp(doc_str(resource, keys[i]), name))
			return true;
	yyjson_arr_foreach(yyjson_obj_get(resource, "shortNames"), i, max, v)
		if (yyjson_is_str(v) && !strcasecmp(yyjson_get_str(v), name))
			return true;
	return false;
}

/* What a group calls @name (@exact_kind: its kind alone); -ENOENT. */
static int find_in(struct cmd_run *run, struct kube *k, const char *group, const char *version, const char *name, bool exact_kind,
		   struct cluster_kind *ret, struct err *e)
{
	yyjson_val *v, *resource;
	size_t i, max;
	int r = kube_raw(k, run->arena, "GET",
			 *group ? arena_printf(run->arena, "/apis/%s/%s", group, version) : arena_printf(run->arena, "/api/%s", version), NULL, &v, e);

	if (r < 0)
		return r;
	yyjson_arr_foreach(yyjson_obj_get(v, "resources"), i, max, resource) {
		const char *plural = doc_str(resource, "name"), *kind = doc_str(resource, "kind");

		if (!plural || !kind || strchr(plural, '/'))
			continue;
		if (exact_kind ? strcmp(kind, name) != 0 : !is_called(resource, name))
			continue;
		*ret = (struct cluster_kind){ kind, plural, arena_strdup(run->arena, group), arena_strdup(run->arena, version),
					      doc_bool(resource, "namespaced", false) };
		return 0;
	}
	return -ENOENT;
}

/* Look through all that the server has. */
static int discover(struct cmd_run *run, struct kube *k, const char *name, const char *group, struct cluster_kind *ret, struct err *e)
{
	yyjson_val *v, *g;
	size_t i, max;
	int r = -ENOENT;

	if (!group) {
		r = find_in(run, k, "", "v1", name, false, ret, e);
		if (r != -ENOENT)
			return r;
	}
	r = kube_raw(k, run->arena, "GET", "/apis", NULL, &v, e);
	if (r < 0)
		return r;
	yyjson_arr_foreach(yyjson_obj_get(v, "groups"), i, max, g) {
		const char *one = doc_str(g, "name"), *version = doc_str(yyjson_obj_get(g, "preferredVersion"), "version");

		if (!one || !version || (group && strcmp(group, one)))
			continue;
		/* a group whose own server is away hides no other */
		r = find_in(run, k, one, version, name, false, ret, NULL);
		if (r == 0)
			return 0;
	}
	return -ENOENT;
}

static int unknown(struct cmd_run *run, struct kube *k, const char *name, struct err *e)
{
	const char **names = NULL, *near;
	size_t n = 0;

	for (const struct api_kind *a = api_kinds; a->kind; a++)
		*(const char **)arena_push(run->arena, &names, &n, sizeof(*names)) = a->plural;
	*(const char **)arena_push(run->arena, &names, &n, sizeof(*names)) = NULL;
	near = parse_nearest(name, names);
	return err_set(e, -EINVAL, "%s has no kind '%s'%s%s%s", kube_server(k), name, near ? ", did you mean " : "", near ? near : "",
		       near ? "?" : "");
}

int cmd_cluster_kind(struct cmd_run *run, struct kube *k, const char *name, struct cluster_kind *ret, struct err *e)
{
	const char *dot = strchr(name, '.');
	const char *word = dot ? arena_strndup(run->arena, name, (size_t)(dot - name)) : name;
	const struct api_kind *known = api_kind_named(word);
	int r;

	if (known && (!dot || !strcmp(known->group, dot + 1))) {
		of_api(known, ret);
		return 0;
	}
	r = discover(run, k, word, dot ? dot + 1 : NULL, ret, e);
	return r == -ENOENT ? unknown(run, k, name, e) : r;
}

int cmd_cluster_kind_of(struct cmd_run *run, struct kube *k, const char *api_version, const char *kind, struct cluster_kind *ret, struct err *e)
{
	const char *slash = strchr(api_version, '/');
	const char *group = slash ? arena_strndup(run->arena, api_version, (size_t)(slash - api_version)) : "";
	const char *version = slash ? slash + 1 : api_version;
	const struct api_kind *known = api_kind_find(api_version, kind);
	int r;

	if (known && !strcmp(known->version, version)) {
		of_api(known, ret);
		return 0;
	}
	r = find_in(run, k, group, version, kind, true, ret, e);
	return r == -ENOENT ? err_set(e, -ENOENT, "%s has no kind %s of %s: is its CRD installed?", kube_server(k), kind, api_version) : r;
}

const char *cmd_cluster_age(struct arena *a, const char *timestamp)
{
	struct tm tm = { 0 };
	long s;

	if (!timestamp || !strptime(timestamp, "%Y-%m-%dT%H:%M:%S", &tm))
		return "<unknown>";
	s = (long)(time(NULL) - timegm(&tm));
	s = s < 0 ? 0 : s;
	return s < 120 ? arena_printf(a, "%lds", s) : s < 7200 ? arena_printf(a, "%ldm", s / 60) :
	       s < 172800 ? arena_printf(a, "%ldh", s / 3600) : arena_printf(a, "%ldd", s / 86400);
}

int cmd_cluster_args(struct cmd_run *run, struct kube *k, size_t min_names, struct cluster_args *ret, struct err *e)
{
	const char *word = run->args[0], *slash = strchr(word, '/');
	int r;

	*ret = (struct cluster_args){ 0 };
	r = cmd_cluster_kind(run, k, slash ? arena_strndup(run->arena, word, (size_t)(slash - word)) : word, &ret->kind, e);
	if (r < 0)
		return r;
	for (size_t i = slash ? 0 : 1; i < run->n_args; i++) {
		const char *name = run->args[i], *at = strchr(name, '/');

		if (slash && (!at || (size_t)(at - name) != (size_t)(slash - word) || strncmp(name, word, (size_t)(at - name))))
			return err_set(e, -EINVAL, "'%s': objects of one kind are wanted, as %s", name, word);
		*(const char **)arena_push(run->arena, &ret->names, &ret->n_names, sizeof(*ret->names)) = slash ? at + 1 : name;
	}
	if (ret->n_names < min_names)
		return err_set(e, -EINVAL, "name an object: %s NAME", word);
	return 0;
}

yyjson_val *cmd_cluster_condition(yyjson_val *object, const char *type)
{
	yyjson_val *c;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(object, "status"), "conditions"), i, max, c)
		if (doc_str(c, "type") && !strcasecmp(doc_str(c, "type"), type))
			return c;
	return NULL;
}
