/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its rails: one configuration, or the networks that an annotation names. */
#include <string.h>

#include "attach/attachment.h"
#include "attach/hwaddr.h"
#include "attach/netconf.h"
#include "attach/rail.h"
#include "base/parse.h"

/* What CNI_ARGS ask for: its MAC counts more than the configuration's, as in sriov-cni. */
static int add_args(struct arena *a, const struct request *rq, struct rail *rail, struct err *e)
{
	if (rq->args_mac && !rail->mac_by_runtime) {
		if (hwaddr_parse(rq->args_mac, rail->want.mac, 6) < 0)
			return err_set(e, -EINVAL, "CNI_ARGS: MAC: \"%s\" is no MAC address", rq->args_mac);
		rail->want.has_mac = true;
	}
	return rail->ip ? 0 : rail_want_ips(a, rail, "CNI_ARGS: IP", rq->args_ip, e);
}

/* sriov-cni wants a deviceID, which Multus put there; without Multus the NAD of that name says from which pool. */
static int find_resource(struct arena *a, const struct attach_host *host, const struct request *rq, struct rail *rail,
			 struct err *e)
{
	struct api_nad *nad;
	int r;

	if (rail->device_id || rail->resource)
		return 0;
	r = rq->pod_namespace ? host->network(host->arg, a, rq->pod_namespace, rq->name, &nad, e) : -ENOENT;
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0)
		rail->resource = pairs_get(nad->object.meta->annotations, nad->object.meta->n_annotations, NAD_RESOURCE_NAME);
	if (!rail->resource)
		return err_set(e, -EINVAL,
			       "VF pci addr is required: the configuration %s has neither deviceID nor resourceName, and no network %s%s%s with the "
			       "annotation " NAD_RESOURCE_NAME " is known", rq->name, rq->pod_namespace ? rq->pod_namespace : "",
			       rq->pod_namespace && *rq->pod_namespace ? "/" : "", rq->name);
	return 0;
}

static int single_rail(struct arena *a, const struct attach_host *host, const struct request *rq, struct rail **ret,
		       size_t *ret_n, struct cni_failure *f)
{
	struct rail *rail = arena_alloc(a, sizeof(*rail));
	int r;

	rail->network = rq->pod_namespace ? arena_printf(a, "%s/%s", rq->pod_namespace, rq->name) : rq->name;
	rail->ifname = rq->ifname;
	r = rail_from_conf(a, rq->conf, rail, &f->e);
	if (r == 0)
		r = add_args(a, rq, rail, &f->e);
	if (r == 0)
		r = find_resource(a, host, rq, rail, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	*ret = rail;
	*ret_n = 1;
	return 0;
}

static int rail_from_nad(struct arena *a, const struct api_nad *nad, const struct annotation_item *item, struct rail *rail,
			 struct err *e)
{
	const char *text = nad->spec ? nad->spec->config : NULL;
	yyjson_val *conf;
	int r;

	if (!text || !*text)
		return err_set(e, -EINVAL, "spec.config of the NetworkAttachmentDefinition is empty");
	r = doc_parse_json(a, "spec.config", text, strlen(text), REQUEST_CONF_MAX, &conf, e);
	if (r == 0)
		r = rail_from_conf(a, netconf_with_args(a, conf, item->cni_args), rail, e);
	if (r < 0)
		return r;
	if (!rail->ipam.name)
		rail->ipam.name = item->name;
	if (!rail->resource)
		rail->resource = pairs_get(nad->object.meta->annotations, nad->object.meta->n_annotations, NAD_RESOURCE_NAME);
	if (item->device_id)
		rail->device_id = item->device_id;
	if (!rail->resource && !rail->device_id)
		return err_set(e, -EINVAL, "no annotation " NAD_RESOURCE_NAME " says which VFs it takes, and no deviceID is given");
	return rail_ask(a, rail, item, e);
}

static int parse_networks(struct arena *a, const struct request *rq, yyjson_val *networks, struct annotation_item **ret,
			  size_t *ret_n, struct err *e)
{
	const char *ns = rq->pod_namespace ? rq->pod_namespace : "default";
	int r;

	if (yyjson_is_str(networks))
		r = annotation_parse(a, yyjson_get_str(networks), yyjson_get_len(networks), ns, ret, ret_n, e);
	else
		r = annotation_parse_list(a, networks, ns, ret, ret_n, e);
	if (r == 0)
		r = annotation_check(*ret, *ret_n, e);
	if (r < 0)
		return err_wrap(e, r, "networks");
	if (*ret_n == 0)
		return err_set(e, -EINVAL, "networks: names no network");
	return 0;
}

static int check_names(const struct rail *rails, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (!parse_is_ifname(rails[i].ifname))
			return err_set(e, -EINVAL, "network %s: Linux takes no interface name \"%s\"", rails[i].network, rails[i].ifname);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(rails[i].ifname, rails[k].ifname))
				return err_set(e, -EINVAL, "networks %s and %s: both would be interface %s; ask for another name with \"@\" or "
					       "\"interface\"", rails[k].network, rails[i].network, rails[i].ifname);
	}
	return 0;
}

static int rails_of_networks(struct arena *a, const struct attach_host *host, const struct request *rq, yyjson_val *networks,
			     struct rail **ret, size_t *ret_n, struct err *e)
{
	struct annotation_item *items;
	struct rail *rails;
	size_t n;
	int r = parse_networks(a, rq, networks, &items, &n, e);

	if (r < 0)
		return r;
	rails = arena_alloc(a, n * sizeof(*rails));
	for (size_t i = 0; i < n; i++) {
		struct api_nad *nad;

		rails[i].network = arena_printf(a, "%s/%s", items[i].namespace, items[i].name);
		/* the pod's own interface is number 0, as Multus counts */
		rails[i].ifname = items[i].interface ? items[i].interface : arena_printf(a, "net%zu", i + 1);
		r = host->network(host->arg, a, items[i].namespace, items[i].name, &nad, e);
		if (r == 0)
			r = rail_from_nad(a, nad, &items[i], &rails[i], e);
		if (r < 0)
			return err_wrap(e, r, "network %s", rails[i].network);
	}
	r = check_names(rails, n, e);
	if (r < 0)
		return r;
	*ret = rails;
	*ret_n = n;
	return 0;
}

int rails_of_request(struct arena *a, const struct attach_host *host, const struct request *rq, struct rail **ret,
		     size_t *ret_n, struct cni_failure *f)
{
	yyjson_val *networks = yyjson_obj_get(rq->conf, "networks");
	int r;

	if (!networks)
		return single_rail(a, host, rq, ret, ret_n, f);
	r = rails_of_networks(a, host, rq, networks, ret, ret_n, &f->e);
	if (r < 0) {
		cni_fail_errno(f, r);
		return r == -ENOENT ? (f->code = CNI_INVALID_CONFIG) : f->code;
	}
	return 0;
}
