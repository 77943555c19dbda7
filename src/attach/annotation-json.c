/* SPDX-License-Identifier: Apache-2.0 */
/* Annotation items written again: with the annotation's keys, and as the runtimeConfig of a delegate. */
#include "attach/annotation.h"

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_str(doc, obj, key, value);
}

static void add_list(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char **v, size_t n)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, obj, key);

	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_add_str(doc, list, v[i]);
}

static void add_ports(yyjson_mut_doc *doc, yyjson_mut_val *obj, const struct annotation_item *item)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, obj, "portMappings");

	for (size_t i = 0; i < item->n_ports; i++) {
		const struct annotation_port *p = &item->ports[i];
		yyjson_mut_val *v = p->null ? yyjson_mut_null(doc) : yyjson_mut_obj(doc);

		yyjson_mut_arr_append(list, v);
		if (p->null)
			continue;
		yyjson_mut_obj_add_int(doc, v, "hostPort", p->host);
		yyjson_mut_obj_add_int(doc, v, "containerPort", p->container);
		add_str(doc, v, "protocol", p->protocol);
		add_str(doc, v, "hostIP", p->host_ip);
	}
}

static void add_bandwidth(yyjson_mut_doc *doc, yyjson_mut_val *obj, const struct annotation_bandwidth *b)
{
	yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, obj, "bandwidth");

	yyjson_mut_obj_add_int(doc, v, "ingressRate", b->ingress_rate);
	yyjson_mut_obj_add_int(doc, v, "ingressBurst", b->ingress_burst);
	yyjson_mut_obj_add_int(doc, v, "egressRate", b->egress_rate);
	yyjson_mut_obj_add_int(doc, v, "egressBurst", b->egress_burst);
}

yyjson_mut_val *annotation_json(yyjson_mut_doc *doc, const struct annotation_item *item)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_str(doc, v, "name", item->name);
	add_str(doc, v, "namespace", item->namespace);
	if (item->n_ips)
		add_list(doc, v, "ips", item->ips, item->n_ips);
	add_str(doc, v, "mac", item->mac);
	add_str(doc, v, "infiniband-guid", item->guid);
	add_str(doc, v, "interface", item->interface);
	add_str(doc, v, "interfaceRequest", item->old_interface);
	if (item->n_ports)
		add_ports(doc, v, item);
	if (item->bandwidth)
		add_bandwidth(doc, v, item->bandwidth);
	add_str(doc, v, "deviceID", item->device_id);
	if (item->cni_args)
		yyjson_mut_obj_add_val(doc, v, "cni-args", yyjson_val_mut_copy(doc, item->cni_args));
	if (item->has_default_route)
		add_list(doc, v, "default-route", item->default_route, item->n_default_route);
	return v;
}

void annotation_runtime_conf(yyjson_mut_doc *doc, const struct annotation_item *item, yyjson_mut_val *obj)
{
	if (item->n_ports)
		add_ports(doc, obj, item);
	if (item->bandwidth)
		add_bandwidth(doc, obj, item->bandwidth);
	if (item->n_ips)
		add_list(doc, obj, "ips", item->ips, item->n_ips);
	add_str(doc, obj, "mac", item->mac);
	add_str(doc, obj, "infinibandGUID", item->guid);
	add_str(doc, obj, "deviceID", item->device_id);
}
