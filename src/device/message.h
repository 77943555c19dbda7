/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol buffers in arenas. Private to the room. */
#ifndef KVRAIL_DEVICE_MESSAGE_H
#define KVRAIL_DEVICE_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/* A message that lives in @a and needs no free; NULL: the bytes are none of its kind. */
void *message_unpack(struct arena *a, const ProtobufCMessageDescriptor *kind, const void *data, size_t len);
/* Its bytes, in @a. */
void *message_pack(struct arena *a, const void *message, size_t *ret_len);

#endif
