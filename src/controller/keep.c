/* SPDX-License-Identifier: Apache-2.0 */
/* What is watched, and what is kept of it. */
#include <string.h>

#include "controller/addresses.h"
#include "controller/world.h"

static void copy(yyjson_mut_doc *doc, yyjson_mut_val *to, yyjson_val *from, const char *key)
{
	yyjson_val *v = yyjson_obj_get(from, key);

	if (v)
		yyjson_mut_obj_add_val(doc, to, key, yyjson_val_mut_copy(doc, v));
}

/* @from without the members of @without, a NULL-terminated list. */
static yyjson_mut_val *all_but(yyjson_mut_doc *doc, yyjson_val *from, const char *const *without)
{
	yyjson_mut_val *to = yyjson_mut_obj(doc);
	yyjson_val *key, *value;
	size_t i, max;

	yyjson_obj_foreach(from, i, max, key, value) {
		const char *const *w = without;

		while (*w && strcmp(*w, yyjson_get_str(key)))
			w++;
		if (!*w)
			yyjson_mut_obj_add_val(doc, to, yyjson_get_str(key), yyjson_val_mut_copy(doc, value));
	}
	return to;
}

/* Labels, and whether the node's kubelet reports. */
static const char *keep_node(void *arg, struct arena *a, yyjson_val *obj)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *condition;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);
	bool ready = false;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(obj, "status"), "conditions"), i, max, condition) {
		const char *type = doc_str(condition, "type"), *status = doc_str(condition, "status");

		ready |= type && status && !strcmp(type, "Ready") && !strcmp(status, "True");
	}
	copy(doc, v, meta, "name");
	copy(doc, v, meta, "labels");
	yyjson_mut_obj_add_bool(doc, v, "ready", ready);
	return doc_mut_to_json(a, v, false);
}

static const char *keep_namespace(void *arg, struct arena *a, yyjson_val *obj)
{
	return yyjson_obj_get(yyjson_obj_get(obj, "metadata"), "deletionTimestamp") ? "{\"going\":true}" : "{}";
}

/* The configuration only of NADs that came from a network: it is compared with what the network says. */
static const char *keep_nad(void *arg, struct arena *a, yyjson_val *obj)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *annotations = yyjson_obj_get(meta, "annotations");
	const char *owner = doc_str(annotations, WORLD_OWNER_REF), *resource = doc_str(annotations, NAD_RESOURCE_NAME);
	const char *selector = doc_str(annotations, "k8s.v1.cni.cncf.io/nodeSelector");
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	if (owner) {
		yyjson_mut_obj_add_str(doc, v, "owner", owner);
		copy(doc, v, yyjson_obj_get(obj, "spec"), "config");
		copy(doc, v, meta, "ownerReferences");
	}
	if (resource)
		yyjson_mut_obj_add_str(doc, v, "resource", resource);
	if (selector)
		yyjson_mut_obj_add_str(doc, v, "nodeSelector", selector);
	return doc_mut_to_json(a, v, false);
}

static yyjson_mut_val *keep_meta(yyjson_mut_doc *doc, yyjson_val *meta)
{
	static const char *const without[] = { "managedFields", "labels", NULL };

	return all_but(doc, meta, without);
}

/* Ports without their VFs: nothing is decided on a single VF here. */
static const char *keep_state(void *arg, struct arena *a, yyjson_val *obj)
{
	static const char *const whole[] = { "metadata", "status", NULL }, *const no_interfaces[] = { "interfaces", NULL },
		   *const no_vfs[] = { "Vfs", NULL };
	yyjson_val *status = yyjson_obj_get(obj, "status"), *port;
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = all_but(doc, obj, whole), *kept, *ports;
	size_t i, max;

	yyjson_mut_obj_add_val(doc, v, "metadata", keep_meta(doc, yyjson_obj_get(obj, "metadata")));
	if (status) {
		kept = all_but(doc, status, no_interfaces);
		ports = yyjson_mut_obj_add_arr(doc, kept, "interfaces");
		yyjson_arr_foreach(yyjson_obj_get(status, "interfaces"), i, max, port)
			yyjson_mut_arr_add_val(ports, all_but(doc, port, no_vfs));
		yyjson_mut_obj_add_val(doc, v, "status", kept);
	}
	return doc_mut_to_json(a, v, false);
}

/* The other kinds are small and are kept whole. */
static const char *const names[WORLD_KINDS] = {
	[WORLD_NADS] = "NetworkAttachmentDefinition",
	[WORLD_POLICIES] = "SriovNetworkNodePolicy",
	[WORLD_POOLS] = "SriovNetworkPoolConfig",
	[WORLD_CONFIGS] = "SriovOperatorConfig",
	[WORLD_STATES] = "SriovNetworkNodeState",
	[WORLD_NODES] = "Node",
	[WORLD_SRIOV_NETWORKS] = "SriovNetwork",
	[WORLD_IB_NETWORKS] = "SriovIBNetwork",
	[WORLD_OVS_NETWORKS] = "OVSNetwork",
	[WORLD_RAIL_POLICIES] = "RailPolicy",
	[WORLD_RAIL_NODES] = "RailNode",
};

struct world_collection world_collection(enum world_kind kind, const char *namespace)
{
	struct world_collection c = { 0 };
	const struct api_kind *k = names[kind] ? api_kind_named(names[kind]) : NULL;

	if (k)
		c.ref = (struct kube_ref){ .group = k->group, .version = k->version, .plural = k->plural };
	switch (kind) {
	case WORLD_NADS:
		c.keep = keep_nad;
		break;
	case WORLD_NODES:
		c.keep = keep_node;
		break;
	case WORLD_NAMESPACES:
		c.ref = (struct kube_ref){ .group = "", .version = "v1", .plural = "namespaces" };
		c.keep = keep_namespace;
		break;
	case WORLD_PODS:
		c.ref = (struct kube_ref){ .group = "", .version = "v1", .plural = "pods" };
		c.keep = addresses_keep_pod;
		break;
	case WORLD_STATES:
		c.keep = keep_state;
		c.ref.namespace = namespace;
		break;
	case WORLD_POLICIES:
	case WORLD_POOLS:
	case WORLD_CONFIGS:
	case WORLD_RAIL_POLICIES:
	case WORLD_RAIL_NODES:
		c.ref.namespace = namespace;
		break;
	default:
		break;
	}
	return c;
}
