/* SPDX-License-Identifier: Apache-2.0 */
/* CustomResourceDefinitions, apiextensions.k8s.io/v1, from the tables. */
#include <stdio.h>

#include "api/meta.h"

static void add_names(yyjson_mut_doc *doc, yyjson_mut_val *spec, const struct api_kind *k)
{
	yyjson_mut_val *names = yyjson_mut_obj_add_obj(doc, spec, "names"), *shorts;

	yyjson_mut_obj_add_str(doc, names, "kind", k->kind);
	yyjson_mut_obj_add_str(doc, names, "listKind", k->list_kind);
	yyjson_mut_obj_add_str(doc, names, "plural", k->plural);
	yyjson_mut_obj_add_str(doc, names, "singular", k->singular);
	if (!k->short_names)
		return;
	shorts = yyjson_mut_obj_add_arr(doc, names, "shortNames");
	for (const char *const *s = k->short_names; *s; s++)
		yyjson_mut_arr_add_str(doc, shorts, *s);
}

/* The API server knows metadata better than any schema, and wants no more said of it. */
static yyjson_mut_val *object_schema(const struct api_kind *k, yyjson_mut_doc *doc)
{
	yyjson_mut_val *schema = table_schema(k->table, doc), *metadata;

	metadata = yyjson_mut_obj_get(yyjson_mut_obj_get(schema, "properties"), "metadata");
	yyjson_mut_obj_remove_key(metadata, "properties");
	yyjson_mut_obj_remove_key(metadata, "description");
	yyjson_mut_obj_add_str(doc, schema, "description", k->doc);
	return schema;
}

yyjson_mut_val *api_crd(const struct api_kind *k, yyjson_mut_doc *doc)
{
	yyjson_mut_val *crd = yyjson_mut_obj(doc), *metadata, *spec, *version, *schema;
	char name[256]; /* a DNS subdomain */

	yyjson_mut_obj_add_str(doc, crd, "apiVersion", "apiextensions.k8s.io/v1");
	yyjson_mut_obj_add_str(doc, crd, "kind", "CustomResourceDefinition");
	metadata = yyjson_mut_obj_add_obj(doc, crd, "metadata");
	snprintf(name, sizeof(name), "%s.%s", k->plural, k->group);
	yyjson_mut_obj_add_strcpy(doc, metadata, "name", name);
	spec = yyjson_mut_obj_add_obj(doc, crd, "spec");
	yyjson_mut_obj_add_str(doc, spec, "group", k->group);
	add_names(doc, spec, k);
	yyjson_mut_obj_add_str(doc, spec, "scope", k->namespaced ? "Namespaced" : "Cluster");
	version = yyjson_mut_arr_add_obj(doc, yyjson_mut_obj_add_arr(doc, spec, "versions"));
	yyjson_mut_obj_add_str(doc, version, "name", k->version);
	yyjson_mut_obj_add_true(doc, version, "served");
	yyjson_mut_obj_add_true(doc, version, "storage");
	if (k->status_path)
		yyjson_mut_obj_add_obj(doc, yyjson_mut_obj_add_obj(doc, version, "subresources"),
				       k->status_path);
	if (k->columns)
		yyjson_mut_obj_add_val(doc, version, "additionalPrinterColumns", k->columns(doc));
	schema = yyjson_mut_obj_add_obj(doc, version, "schema");
	yyjson_mut_obj_add_val(doc, schema, "openAPIV3Schema", object_schema(k, doc));
	return crd;
}
