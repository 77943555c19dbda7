/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware addresses and IP texts as annotations and configurations write them. */
#ifndef KVRAIL_ATTACH_HWADDR_H
#define KVRAIL_ATTACH_HWADDR_H

#include <stdbool.h>
#include <stddef.h>

#define MAC_TEXT 18

/*
 * @n bytes (6: a MAC, 8: an EUI-64 or GUID, 20: of IP over InfiniBand) in one of the forms 00:11:22:aa:bb:cc, 00-11-22-aa-bb-cc and
 * 0011.22aa.bbcc, or without separators: what Go's ParseMAC takes. -EINVAL for any other text.
 */
int hwaddr_parse(const char *text, unsigned char *ret, size_t n);
/* Any of the three lengths: what Go's ParseMAC takes. */
bool hwaddr_is_mac(const char *text);
void hwaddr_format_mac(const unsigned char mac[6], char ret[MAC_TEXT]);

/* An IPv4 or IPv6 address, with or without "/prefix". */
bool hwaddr_is_ip(const char *text);
/* Family, address (4 or 16 bytes) and prefix length (whole address when there is none). -EINVAL. */
int hwaddr_parse_ip(const char *text, int *family, unsigned char addr[16], unsigned *prefix_len);

#endif
