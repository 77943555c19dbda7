/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests into a cluster, by server-side apply, and out of it. */
#include <string.h>

#include "base/clock.h"
#include "cmd/cluster.h"
#include "cmd/manifests.h"

#define WAIT_MS	   500
#define WAIT_TRIES 20
#define MANAGER "kvrail-apply" /* another than the controller's: what a person wrote stays that person's */

struct target {
	struct cluster_kind kind;
	struct kube_ref ref;
	const char *name; /* for messages */
};

struct job {
	struct cmd_run *run;
	const struct apply_options *o;
	struct kube *k;
	yyjson_mut_doc *doc;
	yyjson_mut_val *done; /* for --output */
	bool failed, made_crds;
};

/* One line for a person, or one entry for a program. */
static void tell(struct job *j, const struct target *t, const char *result, const char *why)
{
	yyjson_mut_val *v;

	if (j->run->output == OUT_TABLE) {
		if (why)
			fprintf(stderr, "%s: %s\n", t->name, out_plain(j->run->arena, why));
		else
			printf("%s %s\n", t->name, result);
		fflush(stdout);
		return;
	}
	v = yyjson_mut_arr_add_obj(j->doc, j->done);
	yyjson_mut_obj_add_strcpy(j->doc, v, "kind", t->kind.kind);
	if (t->ref.namespace)
		yyjson_mut_obj_add_strcpy(j->doc, v, "namespace", t->ref.namespace);
	yyjson_mut_obj_add_strcpy(j->doc, v, "name", t->ref.name);
	yyjson_mut_obj_add_strcpy(j->doc, v, "result", result);
	if (why)
		yyjson_mut_obj_add_strcpy(j->doc, v, "error", why);
}

static int target_of(struct job *j, const struct manifest *m, struct target *ret, struct err *e)
{
	yyjson_val *meta = yyjson_obj_get(m->value, "metadata");
	const char *ns = doc_str(meta, "namespace");
	int r = cmd_cluster_kind_of(j->run, j->k, doc_str(m->value, "apiVersion"), doc_str(m->value, "kind"), &ret->kind, e);

	if (r < 0)
		return r;
	if (ns && j->o->namespace && strcmp(ns, j->o->namespace))
		return err_set(e, -EINVAL, "its namespace is %s, --namespace asks for %s", ns, j->o->namespace);
	ns = ns && *ns ? ns : j->o->namespace ? j->o->namespace : kube_namespace(j->k);
	ret->ref = (struct kube_ref){ ret->kind.group, ret->kind.version, ret->kind.plural, ret->kind.namespaced ? ns : NULL,
				      doc_str(meta, "name"), NULL };
	ret->name = cmd_cluster_object_name(j->run->arena, &ret->kind, ret->ref.name);
	return 0;
}

static const char *version_of(yyjson_val *v)
{
	const char *s = doc_str(yyjson_obj_get(v, "metadata"), "resourceVersion");

	return s ? s : "";
}

/* What apply sends: the manifest, in its namespace, without what the server sets. */
static char *body_of(struct arena *a, const struct manifest *m, const struct target *t)
{
	static const char *const set_there[] = { "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink" };
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_val_mut_copy(doc, m->value), *meta = yyjson_mut_obj_get(v, "metadata");

	for (size_t i = 0; i < ARRAY_SIZE(set_there); i++)
		yyjson_mut_obj_remove_key(meta, set_there[i]);
	yyjson_mut_obj_remove_key(v, "status");
	if (t->ref.namespace) {
		yyjson_mut_obj_remove_key(meta, "namespace");
		yyjson_mut_obj_add_strcpy(doc, meta, "namespace", t->ref.namespace);
	}
	return doc_mut_to_json(a, v, false);
}

static int apply_one(struct job *j, const struct manifest *m, const struct target *t, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_val *before = NULL, *after = NULL;
	bool there;
	int r = kube_get(j->k, a, &t->ref, &before, e);

	if (r < 0 && r != -ENOENT)
		return r;
	there = r == 0;
	r = kube_patch(j->k, a, &t->ref, j->o->force ? KUBE_PATCH_APPLY_FORCE : KUBE_PATCH_APPLY, body_of(a, m, t), &after, e);
	if (r == -ESTALE)
		return err_append(e, r, "; leave those fields out of the manifest, or take them over with --force");
	if (r == 0)
		tell(j, t, !there ? "created" : strcmp(version_of(before), version_of(after)) ? "changed" : "unchanged", NULL);
	return r;
}

static int delete_one(struct job *j, const struct manifest *m, const struct target *t, struct err *e)
{
	int r = kube_delete(j->k, &t->ref, NULL, NULL, -1, e);

	if (r == -ENOENT && m) {
		tell(j, t, "was not there", NULL);
		return 0;
	}
	if (r == 0)
		tell(j, t, "deleted", NULL);
	return r;
}

/* The API server serves a kind a moment after its CRD was made. */
static int with_patience(struct job *j, const struct manifest *m, struct target *t,
			 int (*one)(struct job *j, const struct manifest *m, const struct target *t, struct err *e), struct err *e)
{
	int r, tries = 0;

	do {
		if (tries)
			clock_sleep_ms(WAIT_MS);
		e->msg[0] = '\0';
		r = target_of(j, m, t, e);
		if (r == 0)
			r = one(j, m, t, e);
	} while (r == -ENOENT && j->made_crds && tries++ < WAIT_TRIES);
	if (r == 0 && !strcmp(t->kind.kind, "CustomResourceDefinition"))
		j->made_crds = true;
	return r;
}

/* A failure of one object does not keep the others from it; one of the way there does. */
static int settle(struct job *j, const struct target *t, int r, const struct err *e)
{
	if (r >= 0)
		return 0;
	if (kube_is_away(r) || r == -EACCES || r == -EKEYREJECTED)
		return r;
	tell(j, t, "failed", e->msg);
	j->failed = true;
	return 0;
}

static int finish(struct job *j, int r)
{
	if (j->run->output != OUT_TABLE)
		out_value(j->run, j->done);
	return r < 0 ? r : j->failed ? CMD_FAILED : CMD_OK;
}

static int open_job(struct job *j, struct cmd_run *run, const struct apply_options *o, struct err *e)
{
	*j = (struct job){ .run = run, .o = o, .doc = doc_new(run->arena) };
	j->done = yyjson_mut_arr(j->doc);
	return cmd_cluster_open(&o->cluster, MANAGER, &j->k, e);
}

static int each_manifest(struct job *j, bool backwards, int (*one)(struct job *j, const struct manifest *m, const struct target *t, struct err *e),
			 struct err *e)
{
	struct manifest *m;
	size_t n;
	int r = manifests_load_any(j->run, &j->o->files, j->o->strict, &m, &n, e);

	if (r < 0)
		return err_append(e, r, "; nothing was changed");
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct manifest *this = &m[backwards ? n - 1 - i : i];
		const char *name = doc_str(yyjson_obj_get(this->value, "metadata"), "name");
		struct target t = { .kind.kind = doc_str(this->value, "kind"), .ref.name = name,
				    .name = arena_printf(j->run->arena, "%s:%u: %s %s", this->source, this->line, doc_str(this->value, "kind"), name) };

		r = settle(j, &t, with_patience(j, this, &t, one, e), e);
	}
	if (r == 0)
		e->msg[0] = '\0';
	return r;
}

int apply_to_cluster(struct cmd_run *run, const struct apply_options *o, struct err *e)
{
	struct job j;
	int r = open_job(&j, run, o, e);

	if (r < 0)
		return r;
	r = finish(&j, each_manifest(&j, false, apply_one, e));
	kube_close(j.k);
	return r;
}

static int delete_named(struct job *j, struct err *e)
{
	struct cluster_args args;
	int r = cmd_cluster_args(j->run, j->k, 1, &args, e);

	for (size_t i = 0; i < args.n_names && r == 0; i++) {
		struct target t = { .kind = args.kind, .name = cmd_cluster_object_name(j->run->arena, &args.kind, args.names[i]) };

		t.ref = (struct kube_ref){ args.kind.group, args.kind.version, args.kind.plural,
					   !args.kind.namespaced ? NULL : j->o->namespace ? j->o->namespace : kube_namespace(j->k), args.names[i], NULL };
		r = settle(j, &t, delete_one(j, NULL, &t, e), e);
	}
	if (r == 0)
		e->msg[0] = '\0';
	return r;
}

int delete_from_cluster(struct cmd_run *run, const struct apply_options *o, struct err *e)
{
	struct job j;
	int r = open_job(&j, run, o, e);

	if (r < 0)
		return r;
	/* what came last may stand on what came first */
	r = finish(&j, o->files.n ? each_manifest(&j, true, delete_one, e) : delete_named(&j, e));
	kube_close(j.k);
	return r;
}
