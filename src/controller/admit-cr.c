/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and networks as the SR-IOV operator's webhook admits them: the rules are those of src/api. */
#include <string.h>

#include "api/network.h"
#include "api/policy.h"
#include "controller/admit-private.h"
#include "policy/merge.h"

static bool is(const char *s, const char *word)
{
	return s && !strcmp(s, word);
}

static bool decode(struct admission *ad, const struct api_kind **kind, void **object, struct complaints *c)
{
	*c = (struct complaints){ .arena = ad->a };
	return ad->object && api_decode_value(ad->a, ad->object, kind, object, c) == 0;
}

/* What is absent and has a default that only the webhook knows. */
int admit_defaults(struct admission *ad, struct err *e)
{
	yyjson_val *spec = yyjson_obj_get(ad->object, "spec");
	const struct api_policy *p;
	const struct api_kind *kind;
	struct complaints c;
	void *object;

	/* what does not decode is refused by the validation that follows */
	if (!decode(ad, &kind, &object, &c) || strcmp(kind->kind, "SriovNetworkNodePolicy"))
		return 0;
	p = object;
	if (!yyjson_obj_get(spec, "priority") && p->spec->priority)
		admit_add(ad, "/spec/priority", yyjson_mut_int(ad->doc, *p->spec->priority));
	if (!yyjson_obj_get(spec, "isRdma") || doc_bool(spec, "isRdma", false) != p->spec->is_rdma)
		admit_add(ad, "/spec/isRdma", yyjson_mut_bool(ad->doc, p->spec->is_rdma));
	return 0;
}

static int check_namespace(struct admission *ad, const struct api_kind *kind, const void *object, struct err *e)
{
	const struct api_network *network = object;

	if (is(ad->ns, ad->o->namespace))
		return 0;
	if (is(kind->kind, "SriovNetworkNodePolicy")) {
		admit_warn(ad, "%s is created or updated but not used. Only policy in %s namespace is respected.",
			   network->object.meta->name ? network->object.meta->name : "", ad->o->namespace);
		return 0;
	}
	if (is(kind->kind, "SriovOperatorConfig"))
		return err_set(e, -EINVAL, "only default SriovOperatorConfig in %s namespace is used", ad->o->namespace);
	if ((is(kind->kind, "SriovNetwork") || is(kind->kind, "SriovIBNetwork") || is(kind->kind, "OVSNetwork")) &&
	    network->spec->network_namespace && *network->spec->network_namespace)
		return err_set(e, -EINVAL, ".Spec.NetworkNamespace field can't be specified if the resource is not in the %s namespace",
			       ad->o->namespace);
	return 0;
}

/* The first error, with warnings before it passed on. */
static int say(struct admission *ad, const struct complaints *c, size_t from, struct err *e)
{
	for (size_t i = from; i < c->n; i++) {
		if (c->v[i].warning)
			admit_warn(ad, "%s: %s", c->v[i].path, c->v[i].text);
		else
			return err_set(e, -EINVAL, "%s%s%s", c->v[i].path, *c->v[i].path ? ": " : "", c->v[i].text);
	}
	return 0;
}

/* A policy of the namespace where they count, against what there is. */
static int check_cluster(struct admission *ad, const struct api_kind *kind, const void *object, struct complaints *c, struct err *e)
{
	const struct api_policy *p = object;
	struct admit_cluster cluster;
	size_t before = c->n;
	int r;

	if (!is(kind->kind, "SriovNetworkNodePolicy") || !is(ad->ns, ad->o->namespace) || !ad->o->cluster || !p->object.meta->name)
		return 0;
	r = ad->o->cluster(ad->o->arg, ad->a, &cluster, e);
	if (r < 0)
		return err_wrap(e, -EAGAIN, "whether policy %s goes with the others cannot be found out", p->object.meta->name);
	validate_among(p, cluster.policies, cluster.n_policies, cluster.nodes, cluster.n_nodes, cluster.states, cluster.n_states, c);
	return say(ad, c, before, e);
}

int admit_validate(struct admission *ad, struct err *e)
{
	const struct api_kind *kind;
	struct complaints c;
	void *object;
	bool good;
	int r;

	if (!is(ad->operation, "CREATE") && !is(ad->operation, "UPDATE"))
		return 0;
	if (yyjson_obj_get(yyjson_obj_get(ad->object, "metadata"), "deletionTimestamp"))
		return 0; /* a finalizer must be able to go, whatever the rest says */
	good = decode(ad, &kind, &object, &c);
	if (!good && !complaints_errors(&c))
		return 0; /* a kind that we do not know */
	r = say(ad, &c, 0, e);
	if (r == 0)
		r = check_namespace(ad, kind, object, e);
	return r < 0 ? r : check_cluster(ad, kind, object, &c, e);
}
