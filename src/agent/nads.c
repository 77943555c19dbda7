/* SPDX-License-Identifier: Apache-2.0 */
/* Networks, from the watched NetworkAttachmentDefinitions. */
#include <string.h>

#include "agent/cluster.h"
#include "base/strbuf.h"

#define NAMED_MAX 10

static int unknown(struct cluster *cl, struct arena *a, const char *ns, const char *name, struct err *e)
{
	_cleanup_strbuf_ struct strbuf there = STRBUF_INIT;
	struct informer_object *all;
	size_t n, found = 0;

	if (watch_all(cl, OF_NADS, a, &all, &n, NULL) < 0)
		n = 0;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i].namespace, ns))
			continue;
		if (found++ < NAMED_MAX)
			strbuf_addf(&there, "%s%s", there.len ? ", " : "", all[i].name);
	}
	if (found > NAMED_MAX)
		strbuf_addf(&there, " and %zu more", found - NAMED_MAX);
	return err_set(e, -ENOENT, "there is no network %s/%s; namespace %s has %s", ns, name, ns, there.len ? there.s : "none");
}

/* The object is built, not decoded: what is kept of it are these two texts. */
static struct api_nad *nad_of(struct arena *a, const char *ns, const char *name, yyjson_val *v)
{
	struct api_nad *nad = arena_alloc(a, sizeof(*nad));
	struct api_meta *meta = arena_alloc(a, sizeof(*meta));
	struct pair *resource;

	meta->name = arena_strdup(a, name);
	meta->namespace = arena_strdup(a, ns);
	if (doc_str(v, "resource")) {
		resource = arena_push(a, &meta->annotations, &meta->n_annotations, sizeof(*resource));
		*resource = (struct pair){ NAD_RESOURCE_NAME, doc_str(v, "resource") };
	}
	nad->object = (struct api_object){ .api_version = "k8s.cni.cncf.io/v1", .kind = "NetworkAttachmentDefinition", .meta = meta };
	nad->spec = arena_alloc(a, sizeof(*nad->spec));
	nad->spec->config = doc_str(v, "config");
	return nad;
}

/* Asked of the server itself: a NAD may be younger than the last event. */
static int fetch(struct cluster *cl, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	const struct kube_ref ref = { .group = "k8s.cni.cncf.io", .version = "v1", .plural = "network-attachment-definitions",
				      .namespace = ns, .name = name };
	struct err why = { 0 };
	const char *kept;
	yyjson_val *v;
	int r = kube_get(cl->kube, a, &ref, &v, &why);

	if (r == -ENOENT || kube_is_away(r))
		return unknown(cl, a, ns, name, e);
	if (r < 0)
		return err_set(e, r, "network %s/%s: %s", ns, name, why.msg);
	kept = watch_keep_nad(cl, a, v);
	r = doc_parse_json(a, name, kept, strlen(kept), DOC_SIZE_MAX, &v, e);
	if (r == 0)
		*ret = nad_of(a, ns, name, v);
	return r;
}

int nad_lookup(void *agent, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	struct cluster *cl = ((struct agent *)agent)->cluster;
	struct informer_object o;
	yyjson_val *v;
	int r = watch_get(cl, OF_NADS, a, ns, name, &o, e);

	if (r == -ENOENT || r == -EHOSTUNREACH)
		return fetch(cl, a, ns, name, ret, e);
	if (r == 0)
		r = doc_parse_json(a, name, o.json, strlen(o.json), DOC_SIZE_MAX, &v, e);
	if (r == 0)
		*ret = nad_of(a, ns, name, v);
	return r;
}
