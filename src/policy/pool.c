/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/pool.h"

static bool in_values(const struct api_requirement *r, const char *value)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (!strcmp(r->values[i], value))
			return true;
	return false;
}

static bool holds(const struct api_requirement *r, const struct pair *labels, size_t n_labels)
{
	const char *value = pairs_get(labels, n_labels, r->key);

	if (!strcmp(r->operator, "Exists"))
		return value;
	if (!strcmp(r->operator, "DoesNotExist"))
		return !value;
	if (!strcmp(r->operator, "In"))
		return value && in_values(r, value);
	return !strcmp(r->operator, "NotIn") && !(value && in_values(r, value));
}

/* As the API server's label selectors want it: an operator of theirs, with values or without. */
static int check(const struct api_pool_config *pool, struct err *e)
{
	const struct api_label_selector *s = pool->spec->node_selector;

	for (size_t i = 0; s && i < s->n_match_expressions; i++) {
		const struct api_requirement *r = &s->match_expressions[i];
		bool valued = !strcmp(r->operator, "In") || !strcmp(r->operator, "NotIn");

		if (!valued && strcmp(r->operator, "Exists") && strcmp(r->operator, "DoesNotExist"))
			return err_set(e, -EINVAL, "pool %s: nodeSelector: \"%s\" is no operator, so that no pool counts: use In, NotIn, Exists "
				       "or DoesNotExist", pool->object.meta->name, r->operator);
		if (valued == !r->n_values)
			return err_set(e, -EINVAL, "pool %s: nodeSelector: %s of %s %s, so that no pool counts", pool->object.meta->name,
				       r->operator, r->key, valued ? "needs values" : "takes no values");
	}
	return 0;
}

bool pool_selects(const struct api_label_selector *s, const struct pair *labels, size_t n_labels)
{
	for (size_t i = 0; s && i < s->n_match_labels; i++) {
		const char *value = pairs_get(labels, n_labels, s->match_labels[i].key);

		if (!value || strcmp(value, s->match_labels[i].value))
			return false;
	}
	for (size_t i = 0; s && i < s->n_match_expressions; i++)
		if (!holds(&s->match_expressions[i], labels, n_labels))
			return false;
	return true;
}

int pool_rdma_mode(const struct api_pool_config **pools, size_t n, const struct pair *labels,
		   size_t n_labels, const char **ret, struct err *e)
{
	const struct api_pool_config *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct api_pool_config_spec *spec = pools[i]->spec;
		const char *offload = spec->ovs_hardware_offload ? spec->ovs_hardware_offload->name : NULL;

		if (offload && *offload)
			continue;
		if (check(pools[i], e) < 0)
			return -EINVAL;
		if (!pool_selects(spec->node_selector, labels, n_labels))
			continue;
		if (found)
			return err_set(e, -EEXIST,
				       "two pools select the node, %s and %s, so that neither counts: "
				       "narrow one's nodeSelector",
				       found->object.meta->name, pools[i]->object.meta->name);
		found = pools[i];
	}
	*ret = found ? found->spec->rdma_mode : NULL;
	return 0;
}
