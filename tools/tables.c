/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is made from the field tables of src/api: the CustomResourceDefinitions in deploy/crds and the
 * page docs/reference.md.
 *
 *	tables write ROOT	(ninja -C build generate)
 *	tables check ROOT	exits 1 and names the files that are not what the tables say
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "api/meta.h"
#include "base/file.h"
#include "base/strbuf.h"

#define NOTE "made from the tables in src/api by `ninja -C build generate`; edit those"

static bool check;
static int wrong;

static void put(const char *root, const char *path, const struct strbuf *text)
{
	_cleanup_free_ char *whole = NULL, *old = NULL;
	size_t len = 0;

	if (asprintf(&whole, "%s/%s", root, path) < 0)
		abort();
	if (file_read(AT_FDCWD, whole, 1 << 24, &old, &len) == 0 && len == text->len && !memcmp(old, text->s, len))
		return;
	if (!check && file_write_atomic(AT_FDCWD, whole, text->s, text->len, 0644) == 0) {
		printf("wrote %s\n", path);
		return;
	}
	fprintf(stderr, check ? "%s is not what the tables say: run ninja -C build generate\n" : "cannot write %s\n", path);
	wrong++;
}

static void crd(const char *root, const struct api_kind *k)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_addf(&b, "# SPDX-License-Identifier: Apache-2.0\n# %s\n%s\n", NOTE, doc_mut_to_yaml(a, api_crd(k, doc_new(a))));
	put(root, arena_printf(a, "deploy/crds/%s_%s.yaml", k->group, k->plural), &b);
}

static const char *type_of(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
		return "boolean";
	case FIELD_INT:
		return "integer";
	case FIELD_STR:
		return "string";
	case FIELD_OBJECT:
		return "mapping";
	case FIELD_STRS:
		return "list of strings";
	case FIELD_OBJECTS:
		return "list of mappings";
	case FIELD_MAP:
		return "mapping to strings";
	case FIELD_BOOL_MAP:
		return "mapping to booleans";
	case FIELD_OBJECT_MAP:
		return "mapping to mappings";
	case FIELD_INT_OR_STR:
		return "integer or string";
	case FIELD_JSON:
		return "any";
	}
	return "";
}

/* A cell of a table: '|' would end it. */
static void cell(struct strbuf *b, const char *s)
{
	for (; *s; s++)
		strbuf_addf(b, *s == '|' ? "\\%c" : "%c", *s);
}

static void allowed(struct strbuf *b, const struct field *f)
{
	const char *unit = f->type == FIELD_STR ? " bytes" : f->type == FIELD_INT ? "" : " items";

	for (size_t i = 0; f->words && f->words[i]; i++)
		strbuf_addf(b, "%s`%s`", i ? ", " : "", *f->words[i] ? f->words[i] : "\"\"");
	if (f->flags & FIELD_BOUNDED) {
		if (f->min != INT64_MIN && f->max != INT64_MAX)
			strbuf_addf(b, "%" PRId64 " to %" PRId64 "%s", f->min, f->max, unit);
		else if (f->min != INT64_MIN)
			strbuf_addf(b, "at least %" PRId64 "%s", f->min, unit);
		else
			strbuf_addf(b, "at most %" PRId64 "%s", f->max, unit);
	}
	if (f->pattern) {
		strbuf_addstr(b, f->flags & FIELD_BOUNDED ? ", `" : "`");
		cell(b, f->pattern);
		strbuf_addch(b, '`');
	}
}

static void rows(struct strbuf *b, const struct table *t, const char *prefix)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->fields[i];
		const char *path = arena_printf(a, "%s%s", prefix, f->name), *inside = "";

		if (!*prefix && strcmp(f->name, "spec") && strcmp(f->name, "status"))
			continue;
		strbuf_addf(b, "| `%s`%s | %s | ", path, f->flags & FIELD_REQUIRED ? " *" : "", type_of(f));
		if (f->dflt)
			cell(b, f->dflt);
		strbuf_addstr(b, " | ");
		allowed(b, f);
		strbuf_addstr(b, " | ");
		cell(b, f->doc ? f->doc : "");
		strbuf_addstr(b, " |\n");
		if (f->type == FIELD_OBJECTS)
			inside = "[]";
		else if (f->type == FIELD_OBJECT_MAP)
			inside = ".KEY";
		if (f->of)
			rows(b, f->of, arena_printf(a, "%s%s.", path, inside));
	}
}

static void reference(const char *root)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_addf(&b, "# Objects\n<!-- %s -->\n\n", NOTE);
	strbuf_addstr(&b, "Every kind that kvrail reads, with every field. `*`: the field must be given. Unknown fields are kept, with a\n"
			  "warning; `kvrail validate --strict` refuses them. Before an object is stored, absent fields get their\n"
			  "defaults, a policy without priority gets 99, and the VFs of an InfiniBand policy are RDMA (`isRdma: true`)\n"
			  "unless its deviceType is vfio-pci.\n");
	for (const struct api_kind *k = api_kinds; k->kind; k++) {
		strbuf_addf(&b, "\n## %s\n`%s%s%s`. %s\n", k->kind, k->group, *k->group ? "/" : "", k->version, k->doc);
		if (!k->crd)
			continue;
		strbuf_addstr(&b, "\n| field | type | default | allowed | |\n| --- | --- | --- | --- | --- |\n");
		rows(&b, k->table, "");
	}
	put(root, "docs/reference.md", &b);
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[1], "write") && strcmp(argv[1], "check"))) {
		fprintf(stderr, "usage: tables write|check ROOT\n");
		return 2;
	}
	check = !strcmp(argv[1], "check");
	for (const struct api_kind *k = api_kinds; k->kind; k++)
		if (k->crd)
			crd(argv[2], k);
	reference(argv[2]);
	return wrong ? 1 : 0;
}
