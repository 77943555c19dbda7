/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a peer: decoded, written again, and decoded to the same. */
#include <stdlib.h>
#include <string.h>

#include "kv/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();

	while (size >= KV_HEADER) {
		struct kv_frame f;
		struct kv_msg m;
		uint8_t *again;
		size_t n;

		if (kv_decode_header(data, &f, NULL) < 0)
			break;
		data += KV_HEADER;
		size -= KV_HEADER;
		if (f.len > size)
			f.len = (uint32_t)size;
		f.payload = data;
		data += f.len;
		size -= f.len;
		if (kv_decode(a, &f, &m, NULL) < 0)
			continue;
		kv_encode(a, &m, &again, &n);
		if (n != KV_HEADER + f.len)
			abort();
		f.payload = again + KV_HEADER;
		if (kv_decode(a, &f, &m, NULL) < 0 || m.type != f.type)
			abort();
		if (m.type == KV_REQUEST || m.type == KV_OFFER)
			(void)kv_layout_check(&m.layout, NULL);
	}
	return 0;
}
