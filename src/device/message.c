/* SPDX-License-Identifier: Apache-2.0 */
#include "device/message.h"

static void *take(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void leave(void *arena, void *p)
{
}

void *message_unpack(struct arena *a, const ProtobufCMessageDescriptor *kind, const void *data, size_t len)
{
	ProtobufCAllocator from = { .alloc = take, .free = leave, .allocator_data = a };

	return protobuf_c_message_unpack(kind, &from, len, data);
}

void *message_pack(struct arena *a, const void *message, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *p = arena_alloc(a, len);

	*ret_len = protobuf_c_message_pack(message, p);
	return p;
}
