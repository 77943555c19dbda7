/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours that still know the address at another MAC (a pod that had it before) learn the new one. */
#include <arpa/inet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <linux/if_packet.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "attach/address.h"
#include "attach/hwaddr.h"

/* RFC 5227, section 3: an ARP request for one's own address. */
static int announce_v4(int fd, unsigned index, const unsigned char mac[6], const unsigned char addr[4], struct err *e)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = (int)index, .sll_halen = 6 };
	struct ether_arp arp = { .ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETH_P_IP), .ar_hln = 6, .ar_pln = 4,
					     .ar_op = htons(ARPOP_REQUEST) } };

	memset(to.sll_addr, 0xff, 6);
	memcpy(arp.arp_sha, mac, 6);
	memcpy(arp.arp_spa, addr, 4);
	memcpy(arp.arp_tpa, addr, 4);
	if (fd < 0 || sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_errno(e, -errno, "gratuitous ARP");
	return 0;
}

/* RFC 4861, section 7.2.6: an advertisement to all nodes, with override and the target's link-layer address. The kernel adds the checksum. */
static int announce_v6(unsigned index, const unsigned char mac[6], const unsigned char addr[16], struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 }, to = { .sin6_family = AF_INET6, .sin6_scope_id = index };
	const int hops = 255, out = (int)index;
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr opt;
		unsigned char mac[6];
	} msg = { .na = { .nd_na_hdr.icmp6_type = ND_NEIGHBOR_ADVERT }, .opt = { ND_OPT_TARGET_LINKADDR, 1 } };

	msg.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	memcpy(&msg.na.nd_na_target, addr, 16);
	memcpy(msg.mac, mac, 6);
	memcpy(&from.sin6_addr, addr, 16);
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &out, sizeof(out)) < 0 ||
	    bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    sendto(fd, &msg, sizeof(msg), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_errno(e, -errno, "unsolicited neighbour advertisement");
	return 0;
}

int announce_open(void)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static void *close_it(void *arg)
{
	close((int)(intptr_t)arg);
	return NULL;
}

void announce_close(int fd)
{
	pthread_attr_t detached;
	pthread_t thread;

	if (fd < 0)
		return;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, close_it, (void *)(intptr_t)fd))
		close(fd);
	pthread_attr_destroy(&detached);
}

int announce(int fd, unsigned index, const unsigned char mac[6], const char *address, struct err *e)
{
	unsigned char addr[16];
	unsigned prefix_len;
	int family;

	if (hwaddr_parse_ip(address, &family, addr, &prefix_len) < 0)
		return err_set(e, -EINVAL, "\"%s\" is no address", address);
	return family == AF_INET ? announce_v4(fd, index, mac, addr, e) : announce_v6(index, mac, addr, e);
}
