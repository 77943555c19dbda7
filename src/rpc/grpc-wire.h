/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's own few bytes on top of HTTP/2: message frames, timeouts, texts of errors. Private to the room. */
#ifndef KVRAIL_RPC_GRPC_WIRE_H
#define KVRAIL_RPC_GRPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define GRPC_HEAD 5 /* a byte "compressed", four of length */

/* One message that comes in pieces; a second one is refused. What a head announces is not believed: memory grows with what came. */
struct grpc_frame {
	uint8_t head[GRPC_HEAD];
	size_t have; /* bytes of the head */
	struct strbuf body;
};

/* Take @n more bytes. -EPROTO: compressed, or more than one message; -EMSGSIZE: a message above @max. */
int grpc_frame_add(struct grpc_frame *f, const void *data, size_t n, size_t max);
bool grpc_frame_whole(const struct grpc_frame *f);

/* Append @msg in its frame. */
void grpc_frame_put(struct strbuf *b, const void *msg, size_t len);

/* "1500m", "20S": at most 8 digits and a unit of H M S m u n; -EINVAL. What is beyond a year is a year. */
int grpc_timeout_parse(const char *s, size_t len, uint64_t *ret_ns);

/* grpc-message: what is no printable ASCII, and %, as %XX. */
void grpc_text_encode(struct strbuf *b, const char *text);
/* The reverse; malformed escapes stay as they are, control characters become '?'. */
void grpc_text_decode(struct strbuf *b, const char *text, size_t len);

#endif
