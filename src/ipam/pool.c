/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipam/pool.h"
#include "store/ip.h"

/* A decimal key, without sign, space or superfluous zero: another spelling of an offset would be another key. */
static bool parse_offset(const char *s, ipam_number *ret)
{
	const ipam_number most = ~(ipam_number)0;
	ipam_number n = 0;

	if (!*s || (*s == '0' && s[1]))
		return false;
	for (; *s; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (digit > 9 || n > (most - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = n;
	return true;
}

const char *ipam_offset(struct arena *a, const struct ipam_net *net, const struct store_ip *ip)
{
	ipam_number n = ipam_ip_number(ip) - ipam_ip_number(&net->ip);
	char text[40];
	size_t at = sizeof(text) - 1;

	text[at] = '\0';
	do {
		text[--at] = (char)('0' + (int)(n % 10));
		n /= 10;
	} while (n);
	return arena_strdup(a, text + at);
}

/* As Whereabouts normalizes: a text that ends in ':' gets a '0', ':' and '/' become '-'. */
static char *normal(struct arena *a, const char *text)
{
	size_t len = strlen(text);
	char *s = arena_printf(a, "%s%s", text, len && text[len - 1] == ':' ? "0" : "");

	for (char *c = s; *c; c++)
		if (*c == ':' || *c == '/')
			*c = '-';
	return s;
}

static const char *in_domain(struct arena *a, const char *network_name, const char *name)
{
	return network_name && *network_name ? arena_printf(a, "%s-%s", network_name, name) : name;
}

const char *ipam_pool_name(struct arena *a, const char *network_name, const char *cidr)
{
	return in_domain(a, network_name, normal(a, cidr));
}

const char *ipam_reservation_name(struct arena *a, const char *network_name, const struct store_ip *ip)
{
	return in_domain(a, network_name, normal(a, ipam_ip_text(a, ip)));
}

const char *ipam_pool_domain(struct arena *a, const char *name, const char *range)
{
	const char *suffix = normal(a, range);
	size_t len = strlen(name), tail = strlen(suffix);

	if (!strcmp(name, suffix))
		return "";
	if (len > tail + 1 && name[len - tail - 1] == '-' && !strcmp(name + len - tail, suffix))
		return arena_strndup(a, name, len - tail - 1);
	return name;
}

static const char *text_of(struct arena *a, yyjson_val *obj, const char *key)
{
	const char *s = doc_str(obj, key);

	return s ? arena_strdup(a, s) : "";
}

static int by_ip(const void *x, const void *y)
{
	return store_ip_cmp(&((const struct ipam_entry *)x)->ip, &((const struct ipam_entry *)y)->ip);
}

static void decode_entries(struct arena *a, yyjson_val *allocations, struct ipam_pool *p)
{
	struct store_ip last = ipam_net_last(&p->net);
	ipam_number base = ipam_ip_number(&p->net.ip), most = ipam_ip_number(&last) - base;
	yyjson_val *key, *v;
	size_t i, max;

	p->entries = arena_alloc(a, yyjson_obj_size(allocations) * sizeof(*p->entries));
	yyjson_obj_foreach(allocations, i, max, key, v) {
		struct ipam_entry *entry = &p->entries[p->n];
		ipam_number offset;

		if (!parse_offset(yyjson_get_str(key), &offset) || offset > most || !yyjson_is_obj(v)) {
			p->n_bad++;
			continue;
		}
		*entry = (struct ipam_entry){ ipam_number_ip(base + offset), arena_strdup(a, yyjson_get_str(key)), text_of(a, v, "id"),
					      text_of(a, v, "podref"), text_of(a, v, "ifname") };
		p->n++;
	}
	if (p->n)
		qsort(p->entries, p->n, sizeof(*p->entries), by_ip);
}

int ipam_pool_decode(struct arena *a, yyjson_val *obj, struct ipam_pool *ret, struct err *e)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *spec = yyjson_obj_get(obj, "spec");
	yyjson_val *annotations = yyjson_obj_get(meta, "annotations"), *allocations = yyjson_obj_get(spec, "allocations");
	struct ipam_pool p = { text_of(a, meta, "name"), text_of(a, meta, "uid"), text_of(a, meta, "resourceVersion"),
			       .range = text_of(a, spec, "range") };

	if (!*p.name)
		return err_set(e, -EINVAL, "an IPPool has no name");
	if (ipam_net_parse(p.range, &p.net) < 0)
		return err_set(e, -EINVAL, "IPPool %s: spec.range \"%.60s\" is no CIDR such as 10.0.132.0/24: delete the pool, or put it right",
			       p.name, p.range);
	p.domain = ipam_pool_domain(a, p.name, p.range);
	p.annotated = yyjson_is_obj(annotations);
	p.marked = yyjson_is_str(yyjson_obj_get(annotations, IPAM_OVERLAPS));
	p.managed = yyjson_arr_size(yyjson_obj_get(meta, "managedFields"));
	p.bare = !yyjson_is_obj(allocations);
	decode_entries(a, allocations, &p);
	*ret = p;
	return 0;
}

int ipam_reservation_decode(struct arena *a, yyjson_val *obj, struct ipam_reservation *ret, struct err *e)
{
	yyjson_val *meta = yyjson_obj_get(obj, "metadata"), *spec = yyjson_obj_get(obj, "spec");
	struct ipam_reservation r = { text_of(a, meta, "name"), text_of(a, meta, "uid"), text_of(a, spec, "podref"),
				      text_of(a, spec, "ifname") };

	if (!*r.name)
		return err_set(e, -EINVAL, "an OverlappingRangeIPReservation has no name");
	*ret = r;
	return 0;
}

bool ipam_reservation_is_of(const struct ipam_reservation *r, const char *podref, const char *ifname)
{
	return !strcmp(r->podref, podref) && (!*r->ifname || !strcmp(r->ifname, ifname));
}

const struct ipam_entry *ipam_pool_at(const struct ipam_pool *p, const struct store_ip *ip)
{
	struct ipam_entry key = { .ip = *ip };

	return p->n ? bsearch(&key, p->entries, p->n, sizeof(*p->entries), by_ip) : NULL;
}

bool ipam_nets_overlap(const struct ipam_net *a, const struct ipam_net *b)
{
	return ipam_net_contains(a, &b->ip) || ipam_net_contains(b, &a->ip);
}

bool ipam_pool_is_full(const struct ipam_pool *p)
{
	struct store_ip first = ipam_net_first(&p->net), last = ipam_net_last(&p->net);
	ipam_number span = ipam_ip_number(&last) - ipam_ip_number(&first); /* one less than there are: all addresses of IPv6 fit */

	/* neither the network's own address nor the last one */
	return span > 1 ? p->n >= span - 1 : p->n > span;
}
