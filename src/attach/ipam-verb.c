/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whereabouts' own job: addresses for an interface that another plugin makes. macvlan, bridge and their like execute it in turn, with
 * their whole configuration on stdin, and want back a result without interfaces.
 */
#include <string.h>

#include "attach/engine.h"
#include "ipam/addr.h"

static int parse(struct arena *a, const struct attach_engine *en, const struct request *rq, struct ipam_conf *ret, struct cni_failure *f)
{
	struct ipam_conf whole;
	int r = ipam_conf_parse(a, yyjson_obj_get(rq->conf, "ipam"), &whole, &f->e);

	whole.name = rq->name;
	if (r == 0)
		r = ipam_share(a, &whole, en->host.share_part, en->host.share_of, ret, &f->e);
	if (r < 0) {
		err_wrap(&f->e, r, "ipam");
		return cni_fail_errno(f, r);
	}
	return 0;
}

/* As Whereabouts: what the pod asks for (Multus' "ips") is static, beside what the ranges give. */
static int add_args(struct arena *a, const char *list, struct ipam_conf *conf, struct err *e)
{
	for (const char *s = list ? list : ""; *s; s += *s == ',') {
		const char *text = arena_strndup(a, s, strcspn(s, ","));
		struct ipam_net net;

		if (ipam_net_parse(text, &net) < 0)
			return err_set(e, -EINVAL, "CNI_ARGS: IP: %s is no address with a prefix length: write it like 10.0.132.5/24", text);
		*(struct ipam_static *)arena_push(a, &conf->addresses, &conf->n_addresses, sizeof(*conf->addresses)) =
			(struct ipam_static){ .address = ipam_net_text(a, &net) };
		s += strlen(text);
	}
	return 0;
}

static int add(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f)
{
	struct cniresult res = { 0 };
	struct ipam_given *given;
	struct ipam_conf conf;
	int r = parse(a, en, rq, &conf, f);

	if (r)
		return r;
	if (!rq->pod_name)
		return cni_fail(f, CNI_INVALID_ENV, NULL, "CNI_ARGS: K8S_POD_NAME is missing: addresses belong to a pod");
	r = add_args(a, rq->args_ip, &conf, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	r = ipam_allocate(en->host.ipam, a, rq->container, arena_printf(a, "%s/%s", rq->pod_namespace ? rq->pod_namespace : "", rq->pod_name),
			  &(struct ipam_ask){ .conf = &conf, .ifname = rq->ifname }, 1, &given, &f->e);
	if (r < 0)
		return cni_fail_errno(f, r);
	for (size_t i = 0; i < given[0].n_ips; i++)
		*(struct cniresult_ip *)arena_push(a, &res.ips, &res.n_ips, sizeof(*res.ips)) =
			(struct cniresult_ip){ .address = given[0].ips[i].address, .gateway = given[0].ips[i].gateway, .interface = -1 };
	for (size_t i = 0; i < conf.n_routes; i++)
		*(struct cniresult_route *)arena_push(a, &res.routes, &res.n_routes, sizeof(*res.routes)) =
			(struct cniresult_route){ .dst = conf.routes[i].dst, .gw = conf.routes[i].gw };
	res.dns = yyjson_is_obj(conf.dns) ? conf.dns : NULL;
	*reply = doc_mut_to_json(a, cniresult_json(doc_new(a), &res, rq->version), false);
	return 0;
}

int ipam_verb(struct attach_engine *en, struct arena *a, const struct request *rq, char **reply, struct cni_failure *f)
{
	int r;

	switch (rq->verb) {
	case VERB_ADD:
		return add(en, a, rq, reply, f);
	case VERB_DEL:
		r = ipam_release(en->host.ipam, rq->container, &rq->ifname, 1, &f->e);
		/* the API server is away: its reconciliation takes what belongs to no pod */
		return r < 0 && r != -EHOSTUNREACH ? cni_fail_errno(f, r) : 0;
	case VERB_CHECK:
	case VERB_GC: /* attachments of this configuration are another plugin's; the pools are cleaned by whom their pods outlive */
	case VERB_STATUS:
		return 0;
	}
	return cni_fail(f, CNI_INTERNAL, NULL, "verb %d", rq->verb);
}
