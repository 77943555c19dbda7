/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "attach/hwaddr.h"
#include "base/parse.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hwaddr_parse(const char *text, unsigned char *ret, size_t n)
{
	size_t group = strchr(text, '.') ? 2 : strpbrk(text, "-:") ? 1 : n; /* bytes between two separators */
	char sep = group == 2 ? '.' : strchr(text, '-') ? '-' : ':';
	unsigned char out[20];

	for (size_t i = 0; i < n; i++) {
		int high, low;

		if (i && i % group == 0 && *text++ != sep)
			return -EINVAL;
		high = hex_digit(*text);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		out[i] = (unsigned char)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return -EINVAL;
	memcpy(ret, out, n);
	return 0;
}

bool hwaddr_is_mac(const char *text)
{
	unsigned char raw[20];

	return hwaddr_parse(text, raw, 6) == 0 || hwaddr_parse(text, raw, 8) == 0 || hwaddr_parse(text, raw, 20) == 0;
}

void hwaddr_format_mac(const unsigned char mac[6], char ret[MAC_TEXT])
{
	snprintf(ret, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

int hwaddr_parse_ip(const char *text, int *family, unsigned char addr[16], unsigned *prefix_len)
{
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchrnul(text, '/');
	size_t n = (size_t)(slash - text);
	int af = memchr(text, ':', n) ? AF_INET6 : AF_INET;
	uint64_t len = af == AF_INET ? 32 : 128;
	unsigned char out[16] = { 0 };

	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(af, host, out) != 1 || (*slash && parse_u64(slash + 1, 10, 0, len, &len) < 0))
		return -EINVAL;
	memcpy(addr, out, sizeof(out));
	*family = af;
	*prefix_len = (unsigned)len;
	return 0;
}

bool hwaddr_is_ip(const char *text)
{
	unsigned char addr[16];
	unsigned prefix_len;
	int family;

	return hwaddr_parse_ip(text, &family, addr, &prefix_len) == 0;
}
