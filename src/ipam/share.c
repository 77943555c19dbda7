/* SPDX-License-Identifier: Apache-2.0 */
#include "ipam/ipam.h"

static unsigned __int128 number(struct store_ip ip)
{
	unsigned __int128 v = 0;

	for (size_t i = 0; i < sizeof(ip.b); i++)
		v = v << 8 | ip.b[i];
	return v;
}

static struct store_ip address(unsigned __int128 v)
{
	struct store_ip ip;

	for (size_t i = sizeof(ip.b); i--; v >>= 8)
		ip.b[i] = (unsigned char)v;
	return ip;
}

int ipam_share(struct arena *a, const struct ipam_conf *conf, unsigned part, unsigned of,
	       struct ipam_conf *ret, struct err *e)
{
	struct ipam_range *ranges = arena_memdup(a, conf->ranges, conf->n_ranges * sizeof(*ranges));

	for (size_t i = 0; of > 1 && i < conf->n_ranges; i++) {
		struct ipam_range *r = &ranges[i];
		unsigned __int128 first = number(r->first), step = (number(r->last) - first) / of;

		if (step == 0)
			return err_set(e, -ENOSPC,
				       "the range %s is too small to be shared by %u hosts",
				       r->cidr, of);
		if (part < of) /* the last part ends where the range ends */
			r->last = address(first + step * part - 1);
		r->first = address(first + step * (part - 1));
	}
	*ret = *conf;
	ret->ranges = ranges;
	return 0;
}
