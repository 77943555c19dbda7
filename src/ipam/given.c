/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipam/given.h"
#include "store/ip.h"

static void give(struct arena *a, struct ipam_given *given, const char *address, const char *gateway, bool v4)
{
	struct ipam_ip *ip = arena_push(a, &given->ips, &given->n_ips, sizeof(*ip));

	*ip = (struct ipam_ip){ address, gateway, v4 };
}

/* A gateway of the other family is no gateway of this address. */
static const char *gateway_for(const struct ipam_conf *conf, bool v4)
{
	return conf->gateway && (strchr(conf->gateway, ':') == NULL) == v4 ? conf->gateway : NULL;
}

void ipam_give_ip(struct arena *a, struct ipam_given *given, const struct ipam_conf *conf,
		  const struct ipam_range *range, const struct store_ip *ip)
{
	struct ipam_net net = { *ip, range->v4 ? range->prefix_len + 96 : range->prefix_len };

	give(a, given, ipam_net_text(a, &net), gateway_for(conf, range->v4), range->v4);
}

int ipam_match_request(struct arena *a, const struct ipam_ask *ask, struct store_ip *ip,
		       const struct ipam_range **ret, struct err *e)
{
	struct ipam_net asked;

	if (ipam_net_parse(ask->requested, &asked) < 0 && ipam_ip_parse(ask->requested, &asked.ip) < 0)
		return err_set(e, -EINVAL,
			       "address %s, which the pod asks for on %s, is no IP address",
			       ask->requested, ask->ifname);
	for (size_t i = 0; i < ask->conf->n_ranges; i++) {
		struct ipam_net net;

		if (ipam_net_parse(ask->conf->ranges[i].cidr, &net) == 0 &&
		    ipam_net_contains(&net, &asked.ip)) {
			*ip = asked.ip;
			*ret = &ask->conf->ranges[i];
			return 0;
		}
	}
	return err_set(e, -ERANGE,
		       "address %s, which the pod asks for on %s, is outside the network's range %s",
		       ask->requested, ask->ifname,
		       ask->conf->n_ranges ? ask->conf->ranges[0].cidr : "");
}

/* The static plugin: an address that the pod asks for takes the place of those configured. */
static int from_request(struct arena *a, const struct ipam_ask *ask, struct ipam_given *given, struct err *e)
{
	struct ipam_net asked, net;
	const char *gateway = NULL;
	bool v4, whole = ipam_net_parse(ask->requested, &asked) == 0;

	if (!whole && ipam_ip_parse(ask->requested, &asked.ip) < 0)
		return err_set(e, -EINVAL,
			       "address %s, which the pod asks for on %s, is no IP address",
			       ask->requested, ask->ifname);
	for (size_t i = 0; i < ask->conf->n_addresses; i++) {
		if (ipam_net_parse(ask->conf->addresses[i].address, &net) < 0 ||
		    !ipam_net_contains(&net, &asked.ip))
			continue;
		gateway = ask->conf->addresses[i].gateway;
		if (!whole)
			asked.bits = net.bits;
		whole = true;
		break;
	}
	if (!whole)
		return err_set(e, -EINVAL,
			       "address %s, which the pod asks for on %s, has no prefix length: write it like %s/24",
			       ask->requested, ask->ifname, ask->requested);
	v4 = ipam_ip_is_v4(&asked.ip);
	give(a, given, ipam_net_text(a, &asked), gateway, v4);
	return 0;
}

int ipam_give_static(struct arena *a, const struct ipam_ask *ask, struct ipam_given *given, struct err *e)
{
	const struct ipam_conf *conf = ask->conf;

	if (!conf || !conf->type)
		return 0;
	if (ask->requested && !strcmp(conf->type, "static"))
		return from_request(a, ask, given, e);
	for (size_t i = 0; i < conf->n_addresses; i++)
		give(a, given, conf->addresses[i].address, conf->addresses[i].gateway, !strchr(conf->addresses[i].address, ':'));
	return 0;
}

bool ipam_range_has(const struct ipam_range *range, const struct store_ip *ip)
{
	return store_ip_cmp(&range->first, ip) <= 0 && store_ip_cmp(ip, &range->last) <= 0;
}

bool ipam_range_excludes(const struct ipam_range *range, const struct store_ip *ip)
{
	for (size_t i = 0; i < range->n_excludes; i++)
		if (store_ip_cmp(&range->excludes[i][0], ip) <= 0 &&
		    store_ip_cmp(ip, &range->excludes[i][1]) <= 0)
			return true;
	return false;
}

int ipam_check_request(struct arena *a, const struct ipam_range *range, const struct store_ip *ip, struct err *e)
{
	if (ipam_range_has(range, ip) && !ipam_range_excludes(range, ip))
		return 0;
	return err_set(e, -ERANGE,
		       "address %s, which the pod asks for, is not among those that range %s gives out (%s to %s%s)",
		       ipam_ip_text(a, ip), range->cidr, ipam_ip_text(a, &range->first),
		       ipam_ip_text(a, &range->last),
		       range->n_excludes ? ", without what it excludes" : "");
}

int ipam_exhausted(struct arena *a, const struct ipam_range *range, const char *holders, size_t held, struct err *e)
{
	return err_set(e, -ENOSPC,
		       "range %s (%s to %s%s) has no free address left: %zu held%s%s; delete pods or widen the range",
		       range->cidr, ipam_ip_text(a, &range->first), ipam_ip_text(a, &range->last),
		       range->n_excludes ? ", without what it excludes" : "", held,
		       held ? ", by " : "", held ? holders : "");
}
