/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that an informer keeps: one block of memory each, in order. */
#include <string.h>

#include "store/kube-private.h"

static char *put(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *out = memcpy(*at, s, n);

	*at += n;
	return out;
}

static const char *text(const char *s)
{
	return s ? s : "";
}

struct kube_entry *kube_entry_new(const char *ns, const char *name, const char *uid, const char *version, const char *json)
{
	size_t n = strlen(text(ns)) + strlen(text(name)) + strlen(text(uid)) + strlen(text(version)) + strlen(text(json)) + 5;
	struct kube_entry *e = malloc(sizeof(*e) + n);
	char *at = (char *)(e + 1);

	if (!e)
		abort();
	e->o.namespace = put(&at, text(ns));
	e->o.name = put(&at, text(name));
	e->o.uid = put(&at, text(uid));
	e->o.version = put(&at, text(version));
	e->o.json = put(&at, text(json));
	return e;
}

static int compare(const struct informer_object *o, const char *ns, const char *name)
{
	int r = strcmp(o->namespace, ns);

	return r ? r : strcmp(o->name, name);
}

size_t kube_cache_find(const struct kube_cache *c, const char *ns, const char *name, bool *found)
{
	size_t low = 0, high = c->n;

	*found = false;
	/* a list comes in order, nearly: look at the end first */
	if (c->n && compare(&c->v[c->n - 1]->o, ns, name) < 0)
		return c->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int r = compare(&c->v[middle]->o, ns, name);

		if (r == 0) {
			*found = true;
			return middle;
		}
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct kube_entry *kube_cache_put(struct kube_cache *c, struct kube_entry *e)
{
	struct kube_entry *old;
	bool found;
	size_t at = kube_cache_find(c, e->o.namespace, e->o.name, &found);

	if (found) {
		old = c->v[at];
		c->v[at] = e;
		return old;
	}
	if (c->n == c->size) {
		c->size = c->size ? c->size * 2 : 16;
		c->v = reallocarray(c->v, c->size, sizeof(*c->v));
		if (!c->v)
			abort();
	}
	memmove(c->v + at + 1, c->v + at, (c->n - at) * sizeof(*c->v));
	c->v[at] = e;
	c->n++;
	return NULL;
}

struct kube_entry *kube_cache_take(struct kube_cache *c, const char *ns, const char *name)
{
	struct kube_entry *e;
	bool found;
	size_t at = kube_cache_find(c, ns, name, &found);

	if (!found)
		return NULL;
	e = c->v[at];
	c->n--;
	memmove(c->v + at, c->v + at + 1, (c->n - at) * sizeof(*c->v));
	return e;
}

void kube_cache_free(struct kube_cache *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i]);
	free(c->v);
	*c = (struct kube_cache){ 0 };
}

void kube_cache_diff(const struct kube_cache *was, const struct kube_cache *is,
		     void (*event)(void *arg, enum informer_event what, const struct informer_object *was,
				   const struct informer_object *is),
		     void *arg)
{
	size_t i = 0, j = 0;

	while (i < was->n || j < is->n) {
		const struct informer_object *old = i < was->n ? &was->v[i]->o : NULL, *new = j < is->n ? &is->v[j]->o : NULL;
		int r = !old ? 1 : !new ? -1 : compare(old, new->namespace, new->name);
		bool other = r == 0 && strcmp(old->uid, new->uid);

		if (r < 0 || other)
			event(arg, INFORMER_DELETED, old, NULL);
		if (r > 0 || other)
			event(arg, INFORMER_ADDED, NULL, new);
		else if (r == 0 && strcmp(old->json, new->json))
			event(arg, INFORMER_CHANGED, old, new);
		i += r <= 0;
		j += r >= 0;
	}
}
