/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#include "provision/identity.h"

/* FNV-1a, then the finalizer of MurmurHash3, which lets every bit of the input change every bit of the result. */
static uint64_t hash(const char *identity, const char *pci, unsigned vf)
{
	uint64_t h = 0xcbf29ce484222325;
	const char *const parts[] = { identity ? identity : "", pci };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (const char *s = parts[i]; *s; s++)
			h = (h ^ (unsigned char)*s) * 0x100000001b3;
		h = (h ^ '/') * 0x100000001b3;
	}
	h = (h ^ vf) * 0x100000001b3;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
	return h ^ h >> 33;
}

/* Locally administered, unicast (IEEE 802, bits 1 and 0 of the first byte). */
static unsigned char local_unicast(uint64_t byte)
{
	return (unsigned char)((byte & 0xfc) | 0x02);
}

char *identity_mac(struct arena *a, const char *identity, const char *pci, unsigned vf)
{
	uint64_t h = hash(identity, pci, vf);

	return arena_printf(a, "%02x:%02x:%02x:%02x:%02x:%02x", local_unicast(h >> 40),
			    (unsigned)(h >> 32 & 0xff), (unsigned)(h >> 24 & 0xff),
			    (unsigned)(h >> 16 & 0xff), (unsigned)(h >> 8 & 0xff), (unsigned)(h & 0xff));
}

char *identity_guid(struct arena *a, const char *identity, const char *pci, unsigned vf)
{
	uint64_t h = hash(identity, pci, vf);

	return arena_printf(a, "%02x%02x:%04x:%04x:%04x", local_unicast(h >> 56), (unsigned)(h >> 48 & 0xff),
			    (unsigned)(h >> 32 & 0xffff), (unsigned)(h >> 16 & 0xffff), (unsigned)(h & 0xffff));
}
