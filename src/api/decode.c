/* SPDX-License-Identifier: Apache-2.0 */
/* Documents into objects and back. */
#include <string.h>

#include "api/fields.h"

/* RFC 1123 subdomain, as the API server wants names of these kinds. */
static bool is_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 253 || strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool edge = i == 0 || i == n - 1 || s[i - 1] == '.' || s[i + 1] == '.';

		if (edge ? s[i] == '-' : false)
			return false;
		if (s[i] == '.' && (i == 0 || i == n - 1 || s[i + 1] == '.'))
			return false;
	}
	return true;
}

static void check_meta(const struct api_meta *m, struct complaints *c)
{
	if (!m->name && m->generate_name)
		return;
	if (!m->name || !*m->name)
		complain(c, false, "metadata.name", "is missing");
	else if (!is_name(m->name))
		complain(c, false, "metadata.name",
			 "\"%.60s\" is no name: lower case letters, digits, '-' and '.', a letter or digit at both ends",
			 m->name);
}

/* metadata and most specs are there even when the input had none, so that nobody need test for NULL. */
static void fill(const struct table *t, struct arena *a, char *object)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->fields[i];
		void **at = (void **)(object + f->offset);

		if (f->type == FIELD_OBJECT && (f->flags & FIELD_ALWAYS) && !*at)
			*at = arena_alloc(a, f->of->size);
	}
}

/* apiVersion and kind; -EINVAL with a complaint when they are not there. */
static int identify(yyjson_val *v, const struct api_kind **ret, struct complaints *c)
{
	const char *version = doc_str(v, "apiVersion"), *kind = doc_str(v, "kind"), *slash;
	const struct api_kind *k;

	if (!yyjson_is_obj(v))
		complain(c, false, "", "not a mapping: an object with apiVersion and kind is wanted");
	else if (!kind)
		complain(c, false, "kind", "is missing: which kind of object is this?");
	else if (!version)
		complain(c, false, "apiVersion", "is missing");
	if (!kind || !version)
		return -EINVAL;
	k = api_kind_find(version, kind);
	if (!k)
		return -ENOTSUP;
	slash = strchr(version, '/');
	if (strcmp(slash ? slash + 1 : version, k->version)) {
		complain(c, false, "apiVersion", "\"%.60s\" is not %s%s%s", version, k->group,
			 *k->group ? "/" : "", k->version);
		return -EINVAL;
	}
	*ret = k;
	return 0;
}

/* Rules of the kind. Returns -EINVAL when one is broken that the reader does not forgive. */
static int check_rules(const struct api_kind *k, const void *object, struct complaints *c)
{
	size_t before = c->n, errors = complaints_errors(c);

	if (k->validate)
		k->validate(object, c);
	for (size_t i = before; i < c->n; i++)
		c->v[i].rule = true;
	return !c->lenient && complaints_errors(c) > errors ? -EINVAL : 0;
}

int api_decode_value(struct arena *a, yyjson_val *v, const struct api_kind **ret_kind, void **ret,
		     struct complaints *c)
{
	const struct api_kind *k;
	struct api_object *object;
	size_t before = complaints_errors(c);
	int r = identify(v, &k, c);
	bool formed;

	if (r < 0)
		return r;
	object = arena_alloc(a, k->table->size);
	if (table_decode(k->table, a, v, "", object, c) < 0)
		return -EINVAL;
	fill(k->table, a, (char *)object);
	table_defaults(k->table, a, object);
	if (k->admit)
		k->admit(a, object);
	check_meta(object->meta, c);
	formed = complaints_errors(c) == before;
	if (check_rules(k, object, c) < 0 || !formed)
		return -EINVAL;
	*ret_kind = k;
	*ret = object;
	return 0;
}

/* Telling a line means parsing again: in a large file only for the first few. */
#define LARGE (1u << 20)
#define FEW 10

int api_decode(struct arena *a, const struct doc *d, const struct api_kind **ret_kind, void **ret,
	       struct complaints *c)
{
	size_t before = c->n;
	int r = api_decode_value(a, d->root, ret_kind, ret, c);

	for (size_t i = before; i < c->n; i++)
		if (d->len < LARGE || i - before < FEW)
			c->v[i].line = doc_line(d, c->v[i].path);
	return r;
}

yyjson_mut_val *api_encode(const struct api_kind *k, yyjson_mut_doc *doc, const void *object)
{
	return table_encode(k->table, doc, object);
}

static bool is_list(yyjson_val *root)
{
	const char *kind = doc_str(root, "kind");
	size_t n = kind ? strlen(kind) : 0;

	return n >= 4 && !strcmp(kind + n - 4, "List") && yyjson_is_arr(yyjson_obj_get(root, "items"));
}

/* An array of objects, as `kubectl get -o json` prints them too. */
static yyjson_val *items_of(yyjson_val *root, const char **prefix)
{
	*prefix = is_list(root) ? "items" : "";
	return is_list(root) ? yyjson_obj_get(root, "items") : yyjson_is_arr(root) ? root : NULL;
}

/* An API server leaves kind and apiVersion out of what a list of one kind holds. */
static yyjson_val *typed(struct arena *a, yyjson_val *list, yyjson_val *item)
{
	const char *version = doc_str(list, "apiVersion"), *kind = doc_str(list, "kind");
	size_t n = kind ? strlen(kind) - strlen("List") : 0;
	yyjson_alc alc = doc_alc(a);
	yyjson_mut_doc *doc;
	yyjson_mut_val *v;

	if (!n || !version || !yyjson_is_obj(item) || (yyjson_obj_get(item, "kind") && yyjson_obj_get(item, "apiVersion")))
		return item;
	doc = doc_new(a);
	v = yyjson_val_mut_copy(doc, item);
	if (!yyjson_obj_get(item, "kind"))
		yyjson_mut_obj_add_strncpy(doc, v, "kind", kind, n);
	if (!yyjson_obj_get(item, "apiVersion"))
		yyjson_mut_obj_add_strcpy(doc, v, "apiVersion", version);
	return yyjson_doc_get_root(yyjson_mut_val_imut_copy(v, &alc));
}

void api_unfold(struct arena *a, const struct doc *docs, size_t n, struct doc **ret, size_t *ret_n)
{
	struct doc *out = NULL;
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const char *prefix;
		yyjson_val *items = items_of(docs[i].root, &prefix), *item;
		size_t j, max;

		if (!items) {
			*(struct doc *)arena_push(a, &out, &count, sizeof(*out)) = docs[i];
			continue;
		}
		yyjson_arr_foreach(items, j, max, item) {
			struct doc *d = arena_push(a, &out, &count, sizeof(*d));

			*d = docs[i];
			d->root = typed(a, docs[i].root, item);
			d->at = arena_printf(a, "%s[%zu]", prefix, j);
		}
	}
	*ret = out;
	*ret_n = count;
}
