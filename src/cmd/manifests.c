/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/stat.h>

#include "api/network.h"
#include "base/parse.h"
#include "cmd/manifests.h"
#include "ipam/ipam.h"

struct load {
	struct arena *arena;
	bool strict, lenient, any;
	manifests_take take; /* may be NULL */
	void *arg;
	struct manifest *v;
	size_t n, errors, warnings;
};

/* Where a complaint stands: "FILE:LINE: ". */
static const char *place(struct arena *a, const struct doc *d, unsigned line)
{
	return line ? arena_printf(a, "%s:%u", d->source, line) : d->source;
}

static void report(struct load *l, const struct doc *d, unsigned line, bool warning, const char *text)
{
	warning = warning && !l->strict;
	fprintf(stderr, "%s: %s%s\n", place(l->arena, d, line), warning ? "warning: " : "",
		out_plain(l->arena, text));
	if (warning)
		l->warnings++;
	else
		l->errors++;
}

static void unknown_kind(struct load *l, const struct doc *d, unsigned line, const char *version, const char *kind)
{
	const char **names = NULL, *near;
	size_t n = 0;

	for (const struct api_kind *k = api_kinds; k->kind; k++)
		*(const char **)arena_push(l->arena, &names, &n, sizeof(*names)) = k->kind;
	*(const char **)arena_push(l->arena, &names, &n, sizeof(*names)) = NULL;
	near = parse_nearest(kind, names);
	if (near && !strcmp(near, kind)) {
		const struct api_kind *k = api_kind_named(kind);

		report(l, d, line, true, arena_printf(l->arena, "kind %s of %s is none that kvrail knows, that of %s%s%s is: it is left out",
						      kind, version, k->group, *k->group ? "/" : "", k->version));
		return;
	}
	report(l, d, line, true,
	       near ? arena_printf(l->arena, "kind %s is none that kvrail knows, did you mean %s? It is left out", kind, near) :
		      arena_printf(l->arena, "kind %s is none that kvrail knows: it is left out", kind));
}

static bool same(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* A second object of the same name would take the first one's place without a word. */
static void check_twice(struct load *l, const struct manifest *m, struct complaints *c)
{
	const struct api_meta *meta = ((const struct api_object *)m->object)->meta;

	for (size_t i = 0; meta->name && i < l->n; i++) {
		const struct api_meta *other = l->v[i].object ? ((const struct api_object *)l->v[i].object)->meta : NULL;

		if (other && l->v[i].kind == m->kind && same(other->name, meta->name) && same(other->namespace, meta->namespace)) {
			complain(c, false, "metadata.name", "%s is there twice, first in %s:%u: remove or rename one", meta->name,
				 l->v[i].source, l->v[i].line);
			return;
		}
	}
}

/* The address management that the agent does itself: what it would refuse at the first pod is said now. */
static void check_ipam(struct load *l, const struct manifest *m, struct complaints *c)
{
	const struct api_network *network = m->object;
	const char *text = NULL, *type;
	struct ipam_conf conf;
	yyjson_val *ipam;
	struct err e;

	if (!strcmp(m->kind->kind, "SriovNetwork") || !strcmp(m->kind->kind, "SriovIBNetwork") || !strcmp(m->kind->kind, "OVSNetwork"))
		text = network->spec->ipam;
	if (!text || doc_parse_json(l->arena, "ipam", text, strlen(text), DOC_SIZE_MAX, &ipam, NULL) < 0)
		return;
	type = doc_str(ipam, "type");
	if (type && (!strcmp(type, "whereabouts") || !strcmp(type, "static")) && ipam_conf_parse(l->arena, ipam, &conf, &e) < 0)
		complain(c, false, "spec.ipam", "%s", e.msg);
}

/* Rules that are of no kind alone. */
static int check_further(struct load *l, const struct manifest *m, struct complaints *c)
{
	size_t before = c->n;

	check_ipam(l, m, c);
	if (!l->lenient)
		check_twice(l, m, c);
	for (size_t i = before; i < c->n; i++) {
		c->v[i].rule = true;
		c->v[i].line = doc_line(m->doc, c->v[i].path);
	}
	return !l->lenient && c->n > before ? -EINVAL : 0;
}

/* An admission request may come without a name; whoever reads manifests goes by it. */
static int check_nameless(const struct manifest *m, struct complaints *c)
{
	complain(c, false, "metadata.name", "is missing: generateName is for the API server");
	c->v[c->n - 1].line = doc_line(m->doc, "metadata.generateName");
	return -EINVAL;
}

static void one(struct load *l, const struct doc *d)
{
	struct complaints c = { .arena = l->arena, .lenient = l->lenient };
	const char *kind = doc_str(d->root, "kind"), *name = doc_str(yyjson_obj_get(d->root, "metadata"), "name");
	const char *what = kind ? arena_printf(l->arena, "%.63s %.253s: ", kind, name ? name : "(no name)") : "";
	struct manifest m = { .source = d->source, .line = doc_line(d, "kind"), .doc = d, .value = d->root };
	struct complaint *broken = NULL;
	int r = api_decode(l->arena, d, &m.kind, &m.object, &c);

	if (r == -ENOTSUP) {
		m.kind = NULL;
		m.object = NULL;
	}

	if (r == -ENOTSUP && l->any && doc_str(d->root, "apiVersion") && kind && name) {
		*(struct manifest *)arena_push(l->arena, &l->v, &l->n, sizeof(m)) = m;
		return;
	}
	if (r == -ENOTSUP && l->any) {
		report(l, d, m.line, false, arena_printf(l->arena, "%sapiVersion, kind and metadata.name are wanted", what));
		return;
	}
	if (r == -ENOTSUP) {
		unknown_kind(l, d, m.line, doc_str(d->root, "apiVersion"), kind);
		return;
	}
	if (r == 0)
		r = name ? check_further(l, &m, &c) : check_nameless(&m, &c);
	for (size_t i = 0; i < c.n; i++) {
		if (r == 0 && c.v[i].rule && !c.v[i].warning)
			*(struct complaint *)arena_push(l->arena, &broken, &m.n_broken, sizeof(*broken)) = c.v[i];
		else
			report(l, d, c.v[i].line, c.v[i].warning,
			       arena_printf(l->arena, "%s%s%s%s", what, c.v[i].path, *c.v[i].path ? ": " : "", c.v[i].text));
	}
	m.broken = broken;
	if (r == 0)
		*(struct manifest *)arena_push(l->arena, &l->v, &l->n, sizeof(m)) = m;
}

static const char *named(const char *file)
{
	return strcmp(file, "-") ? file : "stdin";
}

static int is_manifest(const struct dirent *d)
{
	static const char *const ends[] = { ".yaml", ".yml", ".json" };
	size_t n = strlen(d->d_name);

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (n > strlen(ends[i]) && !strcmp(d->d_name + n - strlen(ends[i]), ends[i]))
			return d->d_name[0] != '.';
	return 0;
}

/* A folder stands for the manifests in it, in the order of their names. */
static int unfold_folders(struct load *l, const struct cmd_strings *files, struct cmd_strings *ret, struct err *e)
{
	struct dirent **found;
	struct stat st;
	int n;

	*ret = (struct cmd_strings){ 0 };
	for (size_t f = 0; f < files->n; f++) {
		const char *path = files->v[f];

		if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
			*(const char **)arena_push(l->arena, &ret->v, &ret->n, sizeof(*ret->v)) = path;
			continue;
		}
		n = scandir(path, &found, is_manifest, alphasort);
		if (n < 0)
			return err_errno(e, -errno, "cannot read the folder %s", path);
		for (int i = 0; i < n; i++) {
			*(const char **)arena_push(l->arena, &ret->v, &ret->n, sizeof(*ret->v)) =
				arena_printf(l->arena, "%s/%s", path, found[i]->d_name);
			free(found[i]);
		}
		free(found);
		if (n == 0)
			return err_set(e, -ENODATA, "the folder %s has no file that ends in .yaml, .yml or .json", path);
	}
	return 0;
}

static int load_all(struct load *l, const struct cmd_strings *given, struct manifest **ret, size_t *ret_n, struct err *e)
{
	struct cmd_strings unfolded, *files = &unfolded;
	size_t n, documents = 0;
	struct doc *docs;
	int r = unfold_folders(l, given, files, e);

	if (r < 0)
		return r;
	for (size_t f = 0; f < files->n; f++) {
		r = doc_load(l->arena, files->v[f], &docs, &n, e);
		if (r < 0)
			return r;
		api_unfold(l->arena, docs, n, &docs, &n);
		documents += n;
		for (size_t i = 0; i < n; i++)
			if (!l->take || !l->take(l->arg, &docs[i]))
				one(l, &docs[i]);
	}
	if (documents == 0)
		return err_set(e, -ENODATA, "%s: no object in %s", files->n == 1 ? named(files->v[0]) : "-f",
			       files->n == 1 ? "it" : "any of the files");
	if (l->errors)
		return err_set(e, -EINVAL, "%zu error%s in the input", l->errors, l->errors == 1 ? "" : "s");
	*ret = l->v;
	*ret_n = l->n;
	return 0;
}

int manifests_load(struct cmd_run *run, const struct cmd_strings *files, bool strict, struct manifest **ret, size_t *ret_n,
		   struct err *e)
{
	return load_all(&(struct load){ .arena = run->arena, .strict = strict }, files, ret, ret_n, e);
}

int manifests_load_any(struct cmd_run *run, const struct cmd_strings *files, bool strict, struct manifest **ret, size_t *ret_n,
		       struct err *e)
{
	return load_all(&(struct load){ .arena = run->arena, .strict = strict, .any = true }, files, ret, ret_n, e);
}

int manifests_load_lenient(struct cmd_run *run, const struct cmd_strings *files, struct manifest **ret, size_t *ret_n,
			   struct err *e)
{
	return load_all(&(struct load){ .arena = run->arena, .lenient = true }, files, ret, ret_n, e);
}

int manifests_load_taking(struct cmd_run *run, const struct cmd_strings *files, manifests_take take, void *arg, struct manifest **ret,
			  size_t *ret_n, struct err *e)
{
	return load_all(&(struct load){ .arena = run->arena, .lenient = true, .take = take, .arg = arg }, files, ret, ret_n, e);
}

bool manifest_counts(const struct manifest *m, const char *namespace)
{
	const char *own = ((const struct api_object *)m->object)->meta->namespace;

	return !m->kind->namespaced || !own || !*own || !namespace || !strcmp(own, namespace);
}

const void **manifests_of(struct arena *a, const struct manifest *m, size_t n, const char *kind, const char *namespace, size_t *ret_n)
{
	const void **v = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(m[i].kind->kind, kind) && manifest_counts(&m[i], namespace))
			*(const void **)arena_push(a, &v, ret_n, sizeof(*v)) = m[i].object;
	return v;
}
