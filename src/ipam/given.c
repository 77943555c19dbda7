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

/* The range of the network that @ip is of: the first; NULL: of none. */
static const struct ipam_range *range_of(const struct ipam_conf *conf, const struct store_ip *ip)
{
	for (size_t i = 0; i < conf->n_ranges; i++) {
		struct ipam_net net;

		if (ipam_net_parse(conf->ranges[i].cidr, &net) == 0 && ipam_net_contains(&net, ip))
			return &conf->ranges[i];
	}
	return NULL;
}

/* An address that the pod asks for. */
struct asked {
	const char *text;
	struct ipam_net net;
	bool whole; /* with its prefix length */
};

static int parse_asked(struct arena *a, const struct ipam_ask *ask, struct asked **ret, size_t *ret_n, struct err *e)
{
	struct asked *v = NULL;
	size_t n = 0;

	for (const char *s = ask->requested ? ask->requested : ""; *s; s += *s == ',') {
		size_t len = strcspn(s, ",");
		struct asked *it = arena_push(a, &v, &n, sizeof(*it));

		it->text = arena_strndup(a, s, len);
		it->whole = ipam_net_parse(it->text, &it->net) == 0;
		if (!it->whole && ipam_ip_parse(it->text, &it->net.ip) < 0)
			return err_set(e, -EINVAL, "address %s, which the pod asks for on %s, is no IP address", it->text, ask->ifname);
		s += len;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

int ipam_match_request(struct arena *a, const struct ipam_ask *ask, const struct ipam_range *range, struct store_ip *ret, struct err *e)
{
	const struct asked *match = NULL;
	struct asked *asked;
	size_t n;
	int r = parse_asked(a, ask, &asked, &n, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (range_of(ask->conf, &asked[i].net.ip) != range)
			continue;
		if (match)
			return err_set(e, -EINVAL, "addresses %s and %s, which the pod asks for on %s, are both of range %s, which gives it one",
				       match->text, asked[i].text, ask->ifname, range->cidr);
		match = &asked[i];
	}
	if (match)
		*ret = match->net.ip;
	return match != NULL;
}

/* One that no range has. Like a configured one that it is beside, it has that one's gateway, and its prefix length when it names none. */
static int give_asked(struct arena *a, const struct ipam_ask *ask, struct asked *asked, struct ipam_given *given, struct err *e)
{
	const char *gateway = NULL;
	struct ipam_net net;

	for (size_t i = 0; i < ask->conf->n_addresses; i++) {
		if (ipam_net_parse(ask->conf->addresses[i].address, &net) < 0 || !ipam_net_contains(&net, &asked->net.ip))
			continue;
		gateway = ask->conf->addresses[i].gateway;
		if (!asked->whole)
			asked->net.bits = net.bits;
		asked->whole = true;
		break;
	}
	if (!asked->whole)
		return err_set(e, -EINVAL, "address %s, which the pod asks for on %s, has no prefix length: write it like %s/24", asked->text,
			       ask->ifname, asked->text);
	give(a, given, ipam_net_text(a, &asked->net), gateway, ipam_ip_is_v4(&asked->net.ip));
	return 0;
}

int ipam_give_static(struct arena *a, const struct ipam_ask *ask, struct ipam_given *given, struct err *e)
{
	const struct ipam_conf *conf = ask->conf;
	struct asked *asked;
	size_t n;
	int r;

	if (!conf || !conf->type)
		return 0;
	r = parse_asked(a, ask, &asked, &n, e);
	/* the static plugin: those that the pod asks for take the place of those configured */
	for (size_t i = 0; r == 0 && (n == 0 || strcmp(conf->type, "static")) && i < conf->n_addresses; i++)
		give(a, given, conf->addresses[i].address, conf->addresses[i].gateway, !strchr(conf->addresses[i].address, ':'));
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!range_of(conf, &asked[i].net.ip))
			r = give_asked(a, ask, &asked[i], given, e);
	return r;
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
