/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/pool.h"

static bool in_values(yyjson_val *values, const char *value)
{
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(values, i, max, v)
		if (yyjson_is_str(v) && !strcmp(yyjson_get_str(v), value))
			return true;
	return false;
}

static bool holds(yyjson_val *expression, const struct pair *labels, size_t n_labels)
{
	const char *key = doc_str(expression, "key"), *op = doc_str(expression, "operator");
	const char *value = key ? pairs_get(labels, n_labels, key) : NULL;
	yyjson_val *values = yyjson_obj_get(expression, "values");

	if (!key || !op)
		return false;
	if (!strcmp(op, "Exists"))
		return value;
	if (!strcmp(op, "DoesNotExist"))
		return !value;
	if (!strcmp(op, "In"))
		return value && in_values(values, value);
	return !strcmp(op, "NotIn") && !(value && in_values(values, value));
}

bool pool_selects(yyjson_val *selector, const struct pair *labels, size_t n_labels)
{
	yyjson_val *key, *v;
	size_t i, max;

	yyjson_obj_foreach(yyjson_obj_get(selector, "matchLabels"), i, max, key, v) {
		const char *value = pairs_get(labels, n_labels, yyjson_get_str(key));

		if (!value || !yyjson_is_str(v) || strcmp(value, yyjson_get_str(v)))
			return false;
	}
	yyjson_arr_foreach(yyjson_obj_get(selector, "matchExpressions"), i, max, v)
		if (!holds(v, labels, n_labels))
			return false;
	return true;
}

int pool_rdma_mode(yyjson_val **pools, size_t n, const struct pair *labels, size_t n_labels, const char **ret, struct err *e)
{
	yyjson_val *found = NULL;

	for (size_t i = 0; i < n; i++) {
		yyjson_val *spec = yyjson_obj_get(pools[i], "spec");
		const char *offload = doc_str(yyjson_obj_get(spec, "ovsHardwareOffloadConfig"), "name");

		if ((offload && *offload) || !pool_selects(yyjson_obj_get(spec, "nodeSelector"), labels, n_labels))
			continue;
		if (found)
			return err_set(e, -EEXIST, "two pools select the node, %s and %s, so that neither counts: narrow one's nodeSelector",
				       doc_str(yyjson_obj_get(found, "metadata"), "name"), doc_str(yyjson_obj_get(pools[i], "metadata"), "name"));
		found = pools[i];
	}
	*ret = doc_str(yyjson_obj_get(found, "spec"), "rdmaMode");
	return 0;
}
