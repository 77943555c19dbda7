/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "base/base64.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "store/kubeconfig.h"

#define AT(type, member)   .offset = offsetof(struct type, member)
#define AT_N(type, member) .offset = offsetof(struct type, member), .n_offset = offsetof(struct type, n_##member)

struct cluster {
	struct object obj;
	const char *server, *ca, *ca_data, *server_name, *proxy;
	bool insecure;
};

struct user {
	struct object obj;
	const char *token, *token_file, *cert, *cert_data, *key, *key_data, *username, *as;
	const char **as_groups;
	size_t n_as_groups;
	struct kubeconfig_exec *exec;
	yyjson_val *auth_provider;
};

struct context {
	struct object obj;
	const char *cluster, *user, *namespace;
};

/* An entry of clusters, users or contexts: a name and one of the above. */
struct named {
	struct object obj;
	const char *name;
	void *is;
};

struct config {
	struct object obj;
	const char *current;
	struct named *clusters, *users, *contexts;
	size_t n_clusters, n_users, n_contexts;
};

static const struct field cluster_fields[] = {
	{ .name = "server", .type = FIELD_STR, AT(cluster, server) },
	{ .name = "certificate-authority", .type = FIELD_STR, AT(cluster, ca) },
	{ .name = "certificate-authority-data", .type = FIELD_STR, AT(cluster, ca_data) },
	{ .name = "tls-server-name", .type = FIELD_STR, AT(cluster, server_name) },
	{ .name = "proxy-url", .type = FIELD_STR, AT(cluster, proxy) },
	{ .name = "insecure-skip-tls-verify", .type = FIELD_BOOL, AT(cluster, insecure) },
};
static TABLE(cluster, cluster, "cluster");

static const struct field env_fields[] = {
	{ .name = "name", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(kubeconfig_env, name) },
	{ .name = "value", .type = FIELD_STR, AT(kubeconfig_env, value) },
};
static TABLE(env, kubeconfig_env, "env");

static const struct field exec_fields[] = {
	{ .name = "apiVersion", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(kubeconfig_exec, api_version) },
	{ .name = "command", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(kubeconfig_exec, command) },
	{ .name = "args", .type = FIELD_STRS, AT_N(kubeconfig_exec, args) },
	{ .name = "env", .type = FIELD_OBJECTS, AT_N(kubeconfig_exec, env), .of = &env },
	{ .name = "installHint", .type = FIELD_STR, AT(kubeconfig_exec, install_hint) },
	{ .name = "interactiveMode", .type = FIELD_STR, AT(kubeconfig_exec, interactive_mode) },
	{ .name = "provideClusterInfo", .type = FIELD_BOOL, AT(kubeconfig_exec, provide_cluster_info) },
};
static TABLE(exec, kubeconfig_exec, "exec");

static const struct field user_fields[] = {
	{ .name = "token", .type = FIELD_STR, AT(user, token) },
	{ .name = "tokenFile", .type = FIELD_STR, AT(user, token_file) },
	{ .name = "client-certificate", .type = FIELD_STR, AT(user, cert) },
	{ .name = "client-certificate-data", .type = FIELD_STR, AT(user, cert_data) },
	{ .name = "client-key", .type = FIELD_STR, AT(user, key) },
	{ .name = "client-key-data", .type = FIELD_STR, AT(user, key_data) },
	{ .name = "username", .type = FIELD_STR, AT(user, username) },
	{ .name = "as", .type = FIELD_STR, AT(user, as) },
	{ .name = "as-groups", .type = FIELD_STRS, AT_N(user, as_groups) },
	{ .name = "exec", .type = FIELD_OBJECT, AT(user, exec), .of = &exec },
	{ .name = "auth-provider", .type = FIELD_JSON, AT(user, auth_provider) },
};
static TABLE(user, user, "user");

static const struct field context_fields[] = {
	{ .name = "cluster", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(context, cluster) },
	{ .name = "user", .type = FIELD_STR, AT(context, user) },
	{ .name = "namespace", .type = FIELD_STR, AT(context, namespace) },
};
static TABLE(context, context, "context");

#define NAMED(what)                                                                                              \
	static const struct field named_##what##_fields[] = {                                                    \
		{ .name = "name", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(named, name) },                 \
		{ .name = #what, .type = FIELD_OBJECT, .flags = FIELD_REQUIRED, AT(named, is), .of = &what },    \
	};                                                                                                       \
	static TABLE(named_##what, named, #what)
NAMED(cluster);
NAMED(user);
NAMED(context);

static const struct field config_fields[] = {
	{ .name = "current-context", .type = FIELD_STR, AT(config, current) },
	{ .name = "clusters", .type = FIELD_OBJECTS, AT_N(config, clusters), .of = &named_cluster },
	{ .name = "users", .type = FIELD_OBJECTS, AT_N(config, users), .of = &named_user },
	{ .name = "contexts", .type = FIELD_OBJECTS, AT_N(config, contexts), .of = &named_context },
};
static TABLE(config, config, "kubeconfig");

/* One file of those that are merged. */
struct part {
	const char *file;
	struct config *config;
};

struct parts {
	struct arena *arena;
	struct part *v;
	size_t n;
};

enum list { CLUSTERS, USERS, CONTEXTS };

static const struct named *entries(const struct config *c, enum list which, size_t *ret_n)
{
	*ret_n = which == CLUSTERS ? c->n_clusters : which == USERS ? c->n_users : c->n_contexts;
	return which == CLUSTERS ? c->clusters : which == USERS ? c->users : c->contexts;
}

/* The entry of the first file that has it, and that file. */
static void *find(const struct parts *p, enum list which, const char *name, const char **ret_file)
{
	for (size_t i = 0; i < p->n; i++) {
		size_t n;
		const struct named *v = entries(p->v[i].config, which, &n);

		for (size_t j = 0; j < n; j++) {
			if (strcmp(v[j].name, name))
				continue;
			*ret_file = p->v[i].file;
			return v[j].is;
		}
	}
	return NULL;
}

static const char *all_names(const struct parts *p, enum list which)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < p->n; i++) {
		size_t n;
		const struct named *v = entries(p->v[i].config, which, &n);

		for (size_t j = 0; j < n && b.len < 500; j++)
			strbuf_addf(&b, "%s%s", b.len ? ", " : "", v[j].name);
	}
	return b.len ? arena_strdup(p->arena, b.s) : "none";
}

static const char *all_files(const struct parts *p)
{
	const char *s = p->n ? p->v[0].file : "";

	for (size_t i = 1; i < p->n; i++)
		s = arena_printf(p->arena, "%s, %s", s, p->v[i].file);
	return s;
}

/* A path that a file names, from that file's folder. */
static const char *beside(struct arena *a, const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');

	if (!path || !*path)
		return NULL;
	if (*path == '/' || !slash)
		return path;
	return arena_printf(a, "%.*s/%s", (int)(slash - file), file, path);
}

/* *ret: PEM text of a base64 field, NULL when it is not there. Line breaks in it mean nothing. */
static int pem_data(struct arena *a, const char *place, const char *field, const char *data, const char **ret, struct err *e)
{
	char *flat, *out, *pem;
	size_t len;

	*ret = NULL;
	if (!data || !*data)
		return 0;
	out = flat = arena_strdup(a, data);
	for (const char *s = data; *s; s++)
		if (!strchr(" \r\n\t", *s))
			*out++ = *s;
	*out = '\0';
	if (base64_decode(a, flat, &pem, &len) < 0)
		return err_set(e, -EINVAL, "%s: %s is no base64", place, field);
	if (strlen(pem) != len || !strstr(pem, "-----BEGIN "))
		return err_set(e, -EINVAL, "%s: %s holds no PEM: base64 of text that begins with '-----BEGIN' is wanted", place, field);
	*ret = pem;
	return 0;
}

static const char *given(const char *s)
{
	return s && *s ? s : NULL;
}

static int use_cluster(const struct parts *p, const char *name, struct kubeconfig *k, struct err *e)
{
	const char *file = "", *place;
	const struct cluster *c = find(p, CLUSTERS, name, &file);
	yyjson_mut_doc *doc = doc_new(p->arena);
	yyjson_mut_val *info = yyjson_mut_obj(doc);
	int r;

	if (!c)
		return err_set(e, -EINVAL, "%s names cluster '%s', which is not there: there %s %s", k->source, name,
			       strcmp(all_names(p, CLUSTERS), "none") ? "are" : "is", all_names(p, CLUSTERS));
	place = arena_printf(p->arena, "%s: cluster %s", file, name);
	if (!given(c->server))
		return err_set(e, -EINVAL, "%s has no server: https://HOST:PORT is wanted", place);
	k->server = c->server;
	k->proxy = given(c->proxy);
	k->tls.insecure = c->insecure;
	k->tls.server_name = given(c->server_name);
	r = pem_data(p->arena, place, "certificate-authority-data", c->ca_data, &k->tls.ca_pem, e);
	if (r < 0)
		return r;
	if (!k->tls.ca_pem)
		k->tls.ca_file = beside(p->arena, file, c->ca);
	yyjson_mut_obj_add_str(doc, info, "server", c->server);
	if (k->tls.server_name)
		yyjson_mut_obj_add_str(doc, info, "tls-server-name", k->tls.server_name);
	if (c->insecure)
		yyjson_mut_obj_add_bool(doc, info, "insecure-skip-tls-verify", true);
	if (given(c->ca_data))
		yyjson_mut_obj_add_str(doc, info, "certificate-authority-data", c->ca_data);
	k->cluster_json = doc_mut_to_json(p->arena, info, false);
	return 0;
}

/* A command with a slash is looked for from the file's folder, another one in $PATH. */
static const struct kubeconfig_exec *exec_of(struct arena *a, const char *file, const struct kubeconfig_exec *x)
{
	struct kubeconfig_exec *own = arena_memdup(a, x, sizeof(*x));

	if (strchr(x->command, '/'))
		own->command = beside(a, file, x->command);
	return own;
}

static int use_user(const struct parts *p, const char *name, struct kubeconfig *k, struct err *e)
{
	const char *file = "", *place;
	const struct user *u;
	int r;

	if (!given(name))
		return 0;
	u = find(p, USERS, name, &file);
	if (!u)
		return err_set(e, -EINVAL, "%s names user '%s', which is not there: there %s %s", k->source, name,
			       strcmp(all_names(p, USERS), "none") ? "are" : "is", all_names(p, USERS));
	place = arena_printf(p->arena, "%s: user %s", file, name);
	k->token = given(u->token);
	k->token_file = beside(p->arena, file, u->token_file);
	k->as = given(u->as);
	k->as_groups = u->as_groups;
	k->n_as_groups = u->n_as_groups;
	r = pem_data(p->arena, place, "client-certificate-data", u->cert_data, &k->tls.cert_pem, e);
	if (r == 0)
		r = pem_data(p->arena, place, "client-key-data", u->key_data, &k->tls.key_pem, e);
	if (r < 0)
		return r;
	if (!k->tls.cert_pem)
		k->tls.cert_file = beside(p->arena, file, u->cert);
	if (!k->tls.key_pem)
		k->tls.key_file = beside(p->arena, file, u->key);
	if (!(k->tls.cert_pem || k->tls.cert_file) != !(k->tls.key_pem || k->tls.key_file))
		return err_set(e, -EINVAL, "%s has a client %s without its %s", place,
			       k->tls.cert_pem || k->tls.cert_file ? "certificate" : "key",
			       k->tls.cert_pem || k->tls.cert_file ? "key" : "certificate");
	if (u->exec && !given(u->exec->command))
		return err_set(e, -EINVAL, "%s: exec has no command", place);
	if (u->exec)
		k->exec = exec_of(p->arena, file, u->exec);
	if (!k->token && !k->token_file && !k->exec && !k->tls.cert_pem && !k->tls.cert_file &&
	    (given(u->username) || u->auth_provider))
		return err_set(e, -EINVAL,
			       "%s has only %s, which API servers take no more: a token, a client certificate or exec is wanted",
			       place, u->auth_provider ? "an auth-provider" : "a password");
	return 0;
}

static int decode(struct parts *p, const struct kubeconfig_text *t, struct err *e)
{
	struct complaints c = { .arena = p->arena };
	struct part *part;
	struct doc *docs;
	size_t n;
	int r;

	r = doc_parse(p->arena, t->file, t->text, t->len, &docs, &n, e);
	if (r < 0)
		return r;
	if (n > 1)
		return err_set(e, -EINVAL, "%s: %zu documents, a kubeconfig is one", t->file, n);
	part = arena_push(p->arena, &p->v, &p->n, sizeof(*part));
	part->file = t->file;
	part->config = arena_alloc(p->arena, sizeof(*part->config));
	if (!n)
		return 0;
	if (!yyjson_is_obj(docs[0].root))
		return err_set(e, -EINVAL, "%s: this is no kubeconfig (it has 'clusters:', 'users:' and 'contexts:')", t->file);
	if (table_decode(&config, p->arena, docs[0].root, "", part->config, &c) == 0)
		return 0;
	for (size_t i = 0; i < c.n; i++) {
		if (c.v[i].warning)
			continue;
		return err_set(e, -EINVAL, "%s:%u: %s: %s", t->file, doc_line(&docs[0], c.v[i].path), c.v[i].path, c.v[i].text);
	}
	return err_set(e, -EINVAL, "%s: this is no kubeconfig", t->file);
}

static int use_context(const struct parts *p, const char *name, struct kubeconfig *k, struct err *e)
{
	const char *file = NULL;
	const struct context *c;
	int r;

	for (size_t i = 0; i < p->n && !given(name); i++)
		name = p->v[i].config->current;
	if (!given(name))
		return err_set(e, -ENOENT, "%s: no current-context is set; choose one of its contexts: %s", all_files(p),
			       all_names(p, CONTEXTS));
	c = find(p, CONTEXTS, name, &file);
	if (!c)
		return err_set(e, -ENOENT, "%s: there is no context '%s', its contexts: %s", all_files(p), name, all_names(p, CONTEXTS));
	k->source = arena_printf(p->arena, "%s, context %s", file, name);
	k->namespace = given(c->namespace) ? c->namespace : "default";
	r = use_cluster(p, c->cluster, k, e);
	return r < 0 ? r : use_user(p, c->user, k, e);
}

int kubeconfig_parse(struct arena *a, const struct kubeconfig_text *texts, size_t n, const char *context_name,
		     struct kubeconfig **ret, struct err *e)
{
	struct kubeconfig *k = arena_alloc(a, sizeof(*k));
	struct parts p = { .arena = a };
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = decode(&p, &texts[i], e);
	if (r == 0)
		r = use_context(&p, context_name, k, e);
	if (r < 0)
		return r;
	*ret = k;
	return 0;
}

/* A file of our own that a TLS library would only say "error" about. */
static int check_file(const struct kubeconfig *k, const char *what, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (!path)
		return 0;
	r = file_read(AT_FDCWD, path, KUBECONFIG_MAX, &text, NULL);
	if (r < 0)
		return err_set(e, r, "%s: its %s %s cannot be read: %s", k->source, what, path, strerror(-r));
	if (!strstr(text, "-----BEGIN "))
		return err_set(e, -EINVAL, "%s: its %s %s holds no PEM", k->source, what, path);
	return 0;
}

static int check_files(const struct kubeconfig *k, struct err *e)
{
	int r = k->tls.insecure ? 0 : check_file(k, "certificate-authority", k->tls.ca_file, e);

	if (r == 0)
		r = check_file(k, "client-certificate", k->tls.cert_file, e);
	return r < 0 ? r : check_file(k, "client-key", k->tls.key_file, e);
}

/* Files between @separators; of several, those that are not there are passed over, as kubectl does it. */
static int load_files(struct arena *a, const char *list, const char *separators, const char *context_name,
		      struct kubeconfig **ret, struct err *e)
{
	struct kubeconfig_text *texts = NULL;
	size_t n = 0;
	char *next, *words = arena_strdup(a, list);
	bool several = strpbrk(list, separators);
	int r;

	for (char *file = strtok_r(words, separators, &next); file; file = strtok_r(NULL, separators, &next)) {
		_cleanup_free_ char *text = NULL;
		struct kubeconfig_text *t;
		size_t len;

		r = file_read(AT_FDCWD, file, KUBECONFIG_MAX, &text, &len);
		if (r == -ENOENT && several)
			continue;
		if (r < 0)
			return err_errno(e, r, "the kubeconfig %s cannot be read", file);
		t = arena_push(a, &texts, &n, sizeof(*t));
		*t = (struct kubeconfig_text){ file, arena_memdup(a, text, len + 1), len };
	}
	if (!n)
		return err_set(e, -ENOENT, "none of the kubeconfigs %s is there", list);
	r = kubeconfig_parse(a, texts, n, context_name, ret, e);
	return r < 0 ? r : check_files(*ret, e);
}

int kubeconfig_in_cluster(struct arena *a, const char *folder, struct kubeconfig **ret, struct err *e)
{
	const char *host = secure_getenv("KUBERNETES_SERVICE_HOST"), *port = secure_getenv("KUBERNETES_SERVICE_PORT");
	_cleanup_free_ char *ns = NULL;
	struct kubeconfig *k = arena_alloc(a, sizeof(*k));

	k->token_file = arena_printf(a, "%s/token", folder);
	if (!given(host) || !given(port) || access(k->token_file, F_OK) < 0)
		return err_set(e, -ENOENT, "this is no pod with a service account: KUBERNETES_SERVICE_HOST and %s are wanted",
			       k->token_file);
	k->source = arena_printf(a, "the service account in %s", folder);
	k->server = arena_printf(a, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
	k->tls.ca_file = arena_printf(a, "%s/ca.crt", folder);
	k->namespace = "default";
	if (file_read(AT_FDCWD, arena_printf(a, "%s/namespace", folder), 256, &ns, NULL) == 0 && ns[strcspn(ns, " \n")] == '\0' && *ns)
		k->namespace = arena_strdup(a, ns);
	*ret = k;
	return check_files(k, e);
}

int kubeconfig_load(struct arena *a, const char *path, const char *context_name, struct kubeconfig **ret, struct err *e)
{
	const char *list = given(secure_getenv("KUBECONFIG")), *home = given(secure_getenv("HOME"));
	int r;

	if (given(path))
		return load_files(a, path, "", context_name, ret, e);
	if (list)
		return load_files(a, list, ":", context_name, ret, e);
	r = given(context_name) ? -ENOENT : kubeconfig_in_cluster(a, KUBE_SERVICE_ACCOUNT, ret, e);
	if (r != -ENOENT)
		return r;
	path = arena_printf(a, "%s/.kube/config", home ? home : "/root");
	if (access(path, F_OK) < 0)
		return err_set(e, -ENOENT,
			       "no cluster is named: there is no %s, $KUBECONFIG is not set and this is no pod with a service account; "
			       "give --kubeconfig FILE",
			       path);
	return load_files(a, path, "", context_name, ret, e);
}

int64_t kubeconfig_token_expiry(const char *token)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *dot = strchr(token, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;
	char *part, *json;
	yyjson_val *v;
	size_t len;

	if (!end || end - dot > 16384)
		return 0;
	part = arena_strndup(a, dot + 1, (size_t)(end - dot - 1));
	for (char *s = part; *s; s++)
		*s = *s == '-' ? '+' : *s == '_' ? '/' : *s;
	while (strlen(part) % 4)
		part = arena_printf(a, "%s=", part);
	if (base64_decode(a, part, &json, &len) < 0 || doc_parse_json(a, "token", json, len, 16384, &v, NULL) < 0)
		return 0;
	return doc_int(v, "exp", 0);
}
