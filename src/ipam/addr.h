/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks as text: read leniently, written as Go's net package does, since names are made of them. */
#ifndef KVRAIL_IPAM_ADDR_H
#define KVRAIL_IPAM_ADDR_H

#include "store/store.h"

/* A network as it was written: @ip keeps its host bits. @bits of the 128 of an IPv4-mapped or IPv6 address. */
struct ipam_net {
	struct store_ip ip;
	unsigned bits;
};

/* IPv4 with leading zeros in its (decimal) parts, or IPv6; the whole of @s. -EINVAL. */
int ipam_ip_parse(const char *s, struct store_ip *ret);
int ipam_net_parse(const char *cidr, struct ipam_net *ret);

bool ipam_ip_is_v4(const struct store_ip *ip);
/* "10.0.132.1", "2001:db8::1": lower case, the longest run of zeros shortened (RFC 5952). */
const char *ipam_ip_text(struct arena *a, const struct store_ip *ip);
/* With its prefix length, that of the family: "10.0.132.1/24". */
const char *ipam_net_text(struct arena *a, const struct ipam_net *net);

/* The first and the last address of the network. */
struct store_ip ipam_net_first(const struct ipam_net *net);
struct store_ip ipam_net_last(const struct ipam_net *net);
bool ipam_net_contains(const struct ipam_net *net, const struct store_ip *ip);

/* As numbers of 128 bits. */
__extension__ typedef unsigned __int128 ipam_number;
ipam_number ipam_ip_number(const struct store_ip *ip);
struct store_ip ipam_number_ip(ipam_number n);

#endif
