/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "ipam" object of a network, in Whereabouts' form or that of the static plugin. What Whereabouts ignores
 * without a word because it cannot be (a range_end below range_start, an exclude in another network) is an error
 * here; its keys about API server, leader election, logging and data stores are accepted and mean nothing.
 */
#include <string.h>

#include "base/strbuf.h"
#include "ipam/addr.h"
#include "ipam/pool.h"
#include "store/ip.h"

#define RANGES_MAX 64
#define EXCLUDES_MAX 4096

/* One object and its place in the configuration, for messages. */
struct place {
	struct arena *a;
	yyjson_val *obj;
	const char *path; /* "ipam" or "ipam.ipRanges[1]" */
	struct err *e;
};

static int get_str(const struct place *p, const char *key, const char **ret)
{
	yyjson_val *v = yyjson_obj_get(p->obj, key);

	if (v && !yyjson_is_null(v) && !yyjson_is_str(v))
		return err_set(p->e, -EINVAL, "%s.%s is no string: put it in quotes", p->path, key);
	*ret = yyjson_is_str(v) && yyjson_get_len(v) ? arena_strdup(p->a, yyjson_get_str(v)) : NULL;
	return 0;
}

static int get_list(const struct place *p, const char *key, size_t max, yyjson_val **ret)
{
	yyjson_val *v = yyjson_obj_get(p->obj, key);

	if (v && !yyjson_is_null(v) && !yyjson_is_arr(v))
		return err_set(p->e, -EINVAL, "%s.%s is no list: write it in [ ]", p->path, key);
	if (yyjson_arr_size(v) > max)
		return err_set(p->e, -E2BIG, "%s.%s has %zu elements, %zu is the most", p->path,
			       key, yyjson_arr_size(v), max);
	*ret = v;
	return 0;
}

static int get_ip(const struct place *p, const char *key, struct store_ip *ret, bool *there)
{
	const char *text;
	int r = get_str(p, key, &text);

	if (r < 0)
		return r;
	*there = text;
	if (text && ipam_ip_parse(text, ret) < 0)
		return err_set(p->e, -EINVAL, "%s.%s %s is no IP address", p->path, key, text);
	return 0;
}

/* "first-last/length", or a CIDR whose host bits mean nothing. */
static int parse_cidr(const struct place *p, const char *text, struct ipam_net *net,
		      struct store_ip *first, bool *window)
{
	const char *dash = strchr(text, '-');

	if (ipam_net_parse(dash ? dash + 1 : text, net) < 0)
		return err_set(p->e, -EINVAL,
			       "%s.range %s is no CIDR: write it like 10.0.132.0/24, or 10.0.132.10-10.0.132.20/24 for "
			       "a part of it",
			       p->path, text);
	*window = dash;
	if (!dash)
		return 0;
	if (ipam_ip_parse(arena_strndup(p->a, text, (size_t)(dash - text)), first) < 0)
		return err_set(p->e, -EINVAL, "%s.range %s: %.*s is no IP address", p->path, text,
			       (int)(dash - text), text);
	if (!ipam_net_contains(net, first))
		return err_set(p->e, -EINVAL, "%s.range %s: %.*s is outside %s", p->path, text,
			       (int)(dash - text), text,
			       ipam_net_text(p->a,
					     &(struct ipam_net){ ipam_net_first(net), net->bits }));
	return 0;
}

/*
 * Network and broadcast address are never given out, in IPv6 too, so that /31, /32, /127 and /128 hold no
 * address; a start or end on one of them moves inwards.
 */
static int set_window(const struct place *p, const struct ipam_net *net, const char *range,
		      const struct store_ip *start, const struct store_ip *end,
		      struct ipam_range *ret)
{
	ret->first = ipam_net_first(net);
	ret->last = ipam_net_last(net);
	if (net->bits >= 127)
		return err_set(p->e, -EINVAL,
			       "%s.range %s has no address to give: its first and last are the network's; use /%d or "
			       "shorter",
			       p->path, range, ipam_ip_is_v4(&net->ip) ? 30 : 126);
	store_ip_next(&ret->first);
	store_ip_prev(&ret->last);
	if (start && !ipam_net_contains(net, start))
		return err_set(p->e, -EINVAL, "%s.range_start %s is outside %s", p->path,
			       ipam_ip_text(p->a, start), ret->cidr);
	if (end && !ipam_net_contains(net, end))
		return err_set(p->e, -EINVAL, "%s.range_end %s is outside %s", p->path,
			       ipam_ip_text(p->a, end), ret->cidr);
	if (start && store_ip_cmp(start, &ret->first) >= 0 && store_ip_cmp(start, &ret->last) <= 0)
		ret->first = *start;
	if (end && store_ip_cmp(end, &ret->first) < 0)
		return err_set(p->e, -EINVAL, "%s.range_end %s is below %s, where the range starts",
			       p->path, ipam_ip_text(p->a, end), ipam_ip_text(p->a, &ret->first));
	if (end && store_ip_cmp(end, &ret->last) <= 0)
		ret->last = *end;
	return 0;
}

static int by_first(const void *x, const void *y)
{
	const struct store_ip *a = *(const struct store_ip(*)[2])x, *b = *(const struct store_ip(*)[2])y;

	return store_ip_cmp(a, b);
}

static int parse_excludes(const struct place *p, const struct ipam_net *net, struct ipam_range *ret)
{
	struct store_ip first = ipam_net_first(net), last = ipam_net_last(net);
	yyjson_val *list, *v;
	size_t i, max;
	int r = get_list(p, "exclude", EXCLUDES_MAX, &list);

	if (r < 0)
		return r;
	yyjson_arr_foreach(list, i, max, v) {
		const char *text = yyjson_get_str(v);
		struct ipam_net out = { .bits = 128 };
		struct store_ip(*e)[2];

		if (!text || (ipam_net_parse(text, &out) < 0 && ipam_ip_parse(text, &out.ip) < 0))
			return err_set(p->e, -EINVAL,
				       "%s.exclude[%zu] %s is neither a CIDR nor an IP address",
				       p->path, i, text ? text : "");
		e = arena_push(p->a, &ret->excludes, &ret->n_excludes, sizeof(*e));
		(*e)[0] = ipam_net_first(&out);
		(*e)[1] = ipam_net_last(&out);
		/* all of IPv6 has IPv4's addresses in it, and is not about them */
		if (ipam_ip_is_v4(&first) != ipam_ip_is_v4(&(*e)[0]) || store_ip_cmp(&(*e)[1], &first) < 0 ||
		    store_ip_cmp(&(*e)[0], &last) > 0)
			return err_set(p->e, -EINVAL,
				       "%s.exclude[%zu] %s is outside %s: take it out or put it right",
				       p->path, i, text, ret->cidr);
	}
	if (ret->n_excludes)
		qsort(ret->excludes, ret->n_excludes, sizeof(*ret->excludes), by_first);
	return 0;
}

static int parse_range(const struct place *p, const char *network_name, struct ipam_range *ret)
{
	struct ipam_range range = { 0 };
	struct store_ip start, end;
	bool has_start, has_end, window = false;
	const char *text;
	struct ipam_net net;
	int r;

	if ((r = get_str(p, "range", &text)) < 0 || (r = get_ip(p, "range_start", &start, &has_start)) < 0 ||
	    (r = get_ip(p, "range_end", &end, &has_end)) < 0)
		return r;
	if (!text)
		return err_set(p->e, -EINVAL, "%s.range is missing: write it like 10.0.132.0/24", p->path);
	r = parse_cidr(p, text, &net, &start, &window);
	if (r < 0)
		return r;
	if (window) {
		end = net.ip;
		has_start = has_end = true;
	}
	net.ip = ipam_net_first(&net);
	range.v4 = ipam_ip_is_v4(&net.ip) && net.bits >= 96;
	range.prefix_len = range.v4 ? net.bits - 96 : net.bits;
	range.cidr = ipam_net_text(p->a, &net);
	range.pool = ipam_pool_name(p->a, network_name, range.cidr);
	if ((r = set_window(p, &net, text, has_start ? &start : NULL, has_end ? &end : NULL, &range)) < 0 ||
	    (r = parse_excludes(p, &net, &range)) < 0)
		return r;
	*ret = range;
	return 0;
}

static int add_range(const struct place *p, struct ipam_conf *conf)
{
	struct ipam_range *range = arena_push(p->a, &conf->ranges, &conf->n_ranges, sizeof(*range));
	int r = parse_range(p, conf->network_name, range);

	if (r < 0)
		return r;
	for (size_t i = 0; i + 1 < conf->n_ranges; i++)
		if (!strcmp(conf->ranges[i].pool, range->pool))
			return err_set(p->e, -EINVAL,
				       "%s.range %s is in the list twice: an interface gets one address of each range",
				       p->path, range->cidr);
	return 0;
}

/* The range beside the list comes first. */
static int parse_ranges(const struct place *p, struct ipam_conf *conf)
{
	yyjson_val *list, *v;
	size_t i, max;
	const char *text;
	int r;

	if ((r = get_str(p, "range", &text)) < 0 || (r = get_list(p, "ipRanges", RANGES_MAX, &list)) < 0)
		return r;
	if (text && (r = add_range(p, conf)) < 0)
		return r;
	yyjson_arr_foreach(list, i, max, v) {
		struct place at = { p->a, v, arena_printf(p->a, "%s.ipRanges[%zu]", p->path, i), p->e };

		if (!yyjson_is_obj(v))
			return err_set(p->e, -EINVAL, "%s is no object: write {\"range\": ...}", at.path);
		r = add_range(&at, conf);
		if (r < 0)
			return r;
	}
	if (conf->n_ranges == 0)
		return err_set(p->e, -EINVAL, "%s.range is missing: write it like 10.0.132.0/24", p->path);
	return 0;
}

static int parse_addresses(const struct place *p, struct ipam_conf *conf)
{
	yyjson_val *list, *v;
	size_t i, max;
	int r = get_list(p, "addresses", RANGES_MAX, &list);

	if (r < 0)
		return r;
	yyjson_arr_foreach(list, i, max, v) {
		struct place at = { p->a, v, arena_printf(p->a, "%s.addresses[%zu]", p->path, i), p->e };
		struct ipam_static *s;
		const char *text;
		struct ipam_net net;
		struct store_ip gateway;
		bool has_gateway;

		if ((r = get_str(&at, "address", &text)) < 0 ||
		    (r = get_ip(&at, "gateway", &gateway, &has_gateway)) < 0)
			return r;
		if (!text || ipam_net_parse(text, &net) < 0)
			return err_set(p->e, -EINVAL,
				       "%s.address %s is no address with a prefix length: write it like 10.0.132.5/24",
				       at.path, text ? text : "(missing)");
		s = arena_push(p->a, &conf->addresses, &conf->n_addresses, sizeof(*s));
		s->address = ipam_net_text(p->a, &net);
		s->gateway = has_gateway ? ipam_ip_text(p->a, &gateway) : NULL;
	}
	return 0;
}

static int get_number(const struct place *p, const char *key, int64_t *ret)
{
	yyjson_val *v = yyjson_obj_get(p->obj, key);

	*ret = -1;
	if (!v || yyjson_is_null(v))
		return 0;
	if (!yyjson_is_int(v) || yyjson_get_sint(v) < 0 || yyjson_get_sint(v) > UINT32_MAX)
		return err_set(p->e, -EINVAL, "%s.%s is no number from 0 to %u", p->path, key, UINT32_MAX);
	*ret = yyjson_get_sint(v);
	return 0;
}

static int parse_routes(const struct place *p, struct ipam_conf *conf)
{
	yyjson_val *list, *v;
	size_t i, max;
	int r = get_list(p, "routes", EXCLUDES_MAX, &list);

	if (r < 0)
		return r;
	yyjson_arr_foreach(list, i, max, v) {
		struct place at = { p->a, v, arena_printf(p->a, "%s.routes[%zu]", p->path, i), p->e };
		struct ipam_route *route = arena_push(p->a, &conf->routes, &conf->n_routes, sizeof(*route));
		const char *dst;
		struct ipam_net net;
		struct store_ip gw;
		bool has_gw;

		if ((r = get_str(&at, "dst", &dst)) < 0 || (r = get_ip(&at, "gw", &gw, &has_gw)) < 0 ||
		    (r = get_number(&at, "mtu", &route->mtu)) < 0 ||
		    (r = get_number(&at, "advmss", &route->advmss)) < 0 ||
		    (r = get_number(&at, "priority", &route->priority)) < 0 ||
		    (r = get_number(&at, "table", &route->table)) < 0 ||
		    (r = get_number(&at, "scope", &route->scope)) < 0)
			return r;
		if (!dst || ipam_net_parse(dst, &net) < 0)
			return err_set(p->e, -EINVAL,
				       "%s.dst %s is no CIDR: write it like 10.0.0.0/8", at.path,
				       dst ? dst : "(missing)");
		route->dst = ipam_net_text(p->a, &net);
		route->gw = has_gw ? ipam_ip_text(p->a, &gw) : NULL;
	}
	return 0;
}

static int parse_rest(const struct place *p, struct ipam_conf *conf)
{
	yyjson_val *overlapping = yyjson_obj_get(p->obj, "enable_overlapping_ranges");
	struct store_ip gateway;
	bool has_gateway;
	int r = get_ip(p, "gateway", &gateway, &has_gateway);

	if (r < 0)
		return r;
	if (has_gateway)
		conf->gateway = ipam_ip_text(p->a, &gateway);
	if (overlapping && !yyjson_is_null(overlapping) && !yyjson_is_bool(overlapping))
		return err_set(p->e, -EINVAL,
			       "%s.enable_overlapping_ranges is neither true nor false", p->path);
	conf->overlapping = !yyjson_is_false(overlapping);
	r = get_str(p, "node_slice_size", &conf->node_slice);
	if (r < 0)
		return r;
	conf->dns = yyjson_obj_get(p->obj, "dns");
	if (yyjson_is_null(conf->dns))
		conf->dns = NULL;
	if (conf->dns && !yyjson_is_obj(conf->dns))
		return err_set(p->e, -EINVAL, "%s.dns is no object: write {\"nameservers\": [...]}", p->path);
	return 0;
}

int ipam_conf_parse(struct arena *a, yyjson_val *ipam, struct ipam_conf *ret, struct err *e)
{
	struct place p = { a, ipam, "ipam", e };
	struct ipam_conf conf = { .overlapping = true };
	int r;

	if (ipam && !yyjson_is_null(ipam) && !yyjson_is_obj(ipam))
		return err_set(e, -EINVAL,
			       "ipam is no object: write {\"type\": \"whereabouts\", \"range\": ...}");
	r = get_str(&p, "type", &conf.type);
	if (r < 0)
		return r;
	if (!conf.type) {
		*ret = conf;
		return 0;
	}
	if (strcmp(conf.type, "whereabouts") && strcmp(conf.type, "static"))
		return err_set(e, -ENOTSUP,
			       "ipam.type %s is not known here: use whereabouts or static",
			       conf.type);
	if ((r = get_str(&p, "network_name", &conf.network_name)) < 0 || (r = parse_rest(&p, &conf)) < 0 ||
	    (r = parse_addresses(&p, &conf)) < 0 || (r = parse_routes(&p, &conf)) < 0)
		return r;
	if (!strcmp(conf.type, "whereabouts") && (r = parse_ranges(&p, &conf)) < 0)
		return r;
	*ret = conf;
	return 0;
}
