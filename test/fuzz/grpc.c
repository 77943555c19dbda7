/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a peer, to the server's side of a connection and to the client's; what is whole is answered. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/grpc-conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct grpc_conn *c)
{
	const uint8_t *p;

	for (int i = 0; i < 1000 && grpc_conn_out(c, &p) > 0; i++)
		;
}

/* In pieces, as a socket may give them. */
static void feed(struct grpc_conn *c, const uint8_t *data, size_t size)
{
	while (size) {
		size_t n = size > 61 ? 61 : size;
		struct grpc_call *call;

		if (grpc_conn_in(c, data, n) < 0)
			return;
		data += n;
		size -= n;
		while ((call = grpc_conn_ready(c))) {
			if (call->in.body.len > 100000 || !call->path)
				abort();
			grpc_call_send(call, data, size);
			if (call->in.body.len % 2)
				grpc_call_end(call, GRPC_NOT_FOUND, "100% \xc3\xa4");
			grpc_call_unref(call);
		}
		drain(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct grpc_conn *server = grpc_conn_new(true, 100000), *client = grpc_conn_new(false, 100000);
	struct grpc_call *call = grpc_conn_request(client, "/a.B/C", "xyz", 3, 1000);
	uint64_t ns;

	drain(server);
	feed(server, data, size);
	grpc_conn_free(server);
	drain(client);
	feed(client, data, size);
	grpc_conn_free(client);
	if (call->conn)
		abort();
	grpc_call_unref(call);
	if (size)
		grpc_timeout_parse((const char *)data, size, &ns);
	return 0;
}
