/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "ipam/addr.h"
#include "store/ip.h"

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

bool ipam_ip_is_v4(const struct store_ip *ip)
{
	return !memcmp(ip->b, mapped, sizeof(mapped));
}

/* Digits of @base at *s up to @max; leading zeros as many as there are. */
static int number(const char **s, int base, unsigned max, unsigned *ret)
{
	unsigned v = 0;
	const char *p = *s;

	for (; base == 16 ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p); p++) {
		int digit = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;

		v = v * (unsigned)base + (unsigned)digit;
		if (v > max)
			return -ERANGE;
	}
	if (p == *s)
		return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

static int parse_v4(const char *s, unsigned char *ret)
{
	for (int i = 0; i < 4; i++) {
		unsigned v;

		if ((i && *s++ != '.') || number(&s, 10, 255, &v) < 0)
			return -EINVAL;
		ret[i] = (unsigned char)v;
	}
	return *s ? -EINVAL : 0;
}

static int parse_v6(const char *s, unsigned char *ret)
{
	unsigned char out[16] = { 0 };
	int n = 0, gap = -1;

	if (s[0] == ':' && s[1] == ':') {
		gap = 0;
		s += 2;
	}
	while (*s) {
		unsigned v;
		const char *group = s;

		if (n == 16)
			return -EINVAL;
		/* an IPv4 address may take the place of the last two groups */
		if (strchr(s, '.') && !strchr(s, ':')) {
			if (n > 12 || parse_v4(s, out + n) < 0)
				return -EINVAL;
			n += 4;
			break;
		}
		if (number(&s, 16, 0xffff, &v) < 0)
			return -EINVAL;
		out[n++] = (unsigned char)(v >> 8);
		out[n++] = (unsigned char)v;
		if (!*s)
			break;
		if (*s++ != ':' || group == s)
			return -EINVAL;
		if (*s == ':') {
			if (gap >= 0)
				return -EINVAL;
			gap = n;
			s++;
		} else if (!*s) {
			return -EINVAL;
		}
	}
	if (gap < 0 ? n != 16 : n == 16)
		return -EINVAL;
	if (gap >= 0) {
		memmove(out + 16 - (n - gap), out + gap, (size_t)(n - gap));
		memset(out + gap, 0, (size_t)(16 - n));
	}
	memcpy(ret, out, sizeof(out));
	return 0;
}

int ipam_ip_parse(const char *s, struct store_ip *ret)
{
	struct store_ip ip = { { 0 } };

	if (strchr(s, ':')) {
		if (parse_v6(s, ip.b) < 0)
			return -EINVAL;
	} else {
		memcpy(ip.b, mapped, sizeof(mapped));
		if (parse_v4(s, ip.b + 12) < 0)
			return -EINVAL;
	}
	*ret = ip;
	return 0;
}

int ipam_net_parse(const char *cidr, struct ipam_net *ret)
{
	const char *slash = strchr(cidr, '/');
	_cleanup_free_ char *address = NULL;
	struct ipam_net net;
	unsigned bits;

	if (!slash)
		return -EINVAL;
	address = strndup(cidr, (size_t)(slash - cidr));
	if (!address || ipam_ip_parse(address, &net.ip) < 0)
		return -EINVAL;
	slash++;
	if (number(&slash, 10, strchr(address, ':') ? 128 : 32, &bits) < 0 || *slash)
		return -EINVAL;
	net.bits = strchr(address, ':') ? bits : bits + 96;
	*ret = net;
	return 0;
}

const char *ipam_ip_text(struct arena *a, const struct store_ip *ip)
{
	const unsigned char *b = ip->b;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int best = -1, best_len = 1;

	if (ipam_ip_is_v4(ip))
		return arena_printf(a, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
	for (int i = 0; i < 16; i += 2) {
		int len = 0;

		while (i + 2 * len < 16 && !b[i + 2 * len] && !b[i + 2 * len + 1])
			len++;
		if (len > best_len) {
			best = i;
			best_len = len;
		}
	}
	for (int i = 0; i < 16; i += 2) {
		if (i == best) {
			strbuf_addstr(&text, "::");
			i += 2 * best_len - 2;
			continue;
		}
		strbuf_addf(&text, "%s%x", i && i != best + 2 * best_len ? ":" : "", b[i] << 8 | b[i + 1]);
	}
	return arena_strdup(a, text.s);
}

const char *ipam_net_text(struct arena *a, const struct ipam_net *net)
{
	bool v4 = ipam_ip_is_v4(&net->ip) && net->bits >= 96;

	return arena_printf(a, "%s/%u", ipam_ip_text(a, &net->ip), v4 ? net->bits - 96 : net->bits);
}

/* The bits of byte @i that belong to the network. */
static unsigned char mask(const struct ipam_net *net, unsigned i)
{
	unsigned bits = net->bits > 8 * i ? net->bits - 8 * i : 0;

	return bits >= 8 ? 0xff : (unsigned char)(0xff00 >> bits);
}

struct store_ip ipam_net_first(const struct ipam_net *net)
{
	struct store_ip ip = net->ip;

	for (unsigned i = 0; i < sizeof(ip.b); i++)
		ip.b[i] &= mask(net, i);
	return ip;
}

struct store_ip ipam_net_last(const struct ipam_net *net)
{
	struct store_ip ip = net->ip;

	for (unsigned i = 0; i < sizeof(ip.b); i++)
		ip.b[i] |= (unsigned char)~mask(net, i);
	return ip;
}

bool ipam_net_contains(const struct ipam_net *net, const struct store_ip *ip)
{
	struct store_ip first = ipam_net_first(net), last = ipam_net_last(net);

	return store_ip_cmp(&first, ip) <= 0 && store_ip_cmp(ip, &last) <= 0;
}

ipam_number ipam_ip_number(const struct store_ip *ip)
{
	ipam_number n = 0;

	for (size_t i = 0; i < sizeof(ip->b); i++)
		n = n << 8 | ip->b[i];
	return n;
}

struct store_ip ipam_number_ip(ipam_number n)
{
	struct store_ip ip;

	for (size_t i = sizeof(ip.b); i-- > 0; n >>= 8)
		ip.b[i] = (unsigned char)n;
	return ip;
}
