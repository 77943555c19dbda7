/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 connection that carries gRPC calls: bytes in, bytes out, no socket, no clock, no lock. Server and client side.
 * Private to the room. Not thread safe: the server's lock is held around all of it.
 */
#ifndef KVRAIL_RPC_GRPC_CONN_H
#define KVRAIL_RPC_GRPC_CONN_H

#include <sys/types.h>

#include "rpc/grpc-wire.h"
#include "rpc/grpc.h"

#define GRPC_CALLS_MAX 64 /* open at once on one connection */

struct grpc_conn;

/* A call: one stream of the connection. Two may hold it: the connection, while the stream is open, and who answers it. */
struct grpc_call {
	unsigned refs;
	struct grpc_conn *conn; /* NULL: the stream is closed */
	struct grpc_call *next; /* of the connection */
	int32_t id;
	void *owner;	   /* the server that it is of: for grpc_send() */
	char *path;	   /* server: the method */
	bool ready;	   /* server: the request is whole and was not handed over yet */
	bool refused;	   /* server: answered before it was whole */
	uint64_t timeout;  /* server: ns that the caller gives, 0: no limit */
	uint64_t deadline; /* server: set from .timeout by who has a clock; 0: none */
	int http_status;   /* client; 0: none came */
	int status;	   /* client: grpc-status, -1: none came; server: what to send at the end */
	struct strbuf text; /* client: grpc-message, decoded; server: to send, encoded */
	bool grpc;	   /* content-type was application/grpc */
	int bad;	   /* negative errno: what came is no message that we take */
	uint32_t reset;	   /* HTTP/2 error code that closed the stream */
	struct grpc_frame in;
	struct strbuf out;
	size_t out_done;   /* bytes of .out that are sent */
	bool begun, end, sent_end;
};

struct grpc_conn *grpc_conn_new(bool server, size_t max_message);
/* Ends all calls on it (their .conn is NULL then). NULL is fine; returns NULL. */
struct grpc_conn *grpc_conn_free(struct grpc_conn *c);

/* Bytes that came. -EPROTO: no HTTP/2, close the connection after what grpc_conn_out() still gives. */
int grpc_conn_in(struct grpc_conn *c, const void *data, size_t n);
/* The next bytes to send, valid until the next call; 0: none now. -EPROTO: close. */
ssize_t grpc_conn_out(struct grpc_conn *c, const uint8_t **ret);
/* Neither side has anything more to say. */
bool grpc_conn_done(const struct grpc_conn *c);

/* Server: the next request that is whole, with a reference for the caller; NULL: none. */
struct grpc_call *grpc_conn_ready(struct grpc_conn *c);
/* Server: calls that are open; the first of a list by .next. */
struct grpc_call *grpc_conn_calls(struct grpc_conn *c);

/* Client: begin a call, with a reference for the caller. NULL: no memory, or the connection is closing. */
struct grpc_call *grpc_conn_request(struct grpc_conn *c, const char *method, const void *msg, size_t len, unsigned timeout_ms);

/* Server: queue a message; end the call. -EPIPE when the stream is closed or was ended. */
int grpc_call_send(struct grpc_call *call, const void *msg, size_t len);
int grpc_call_end(struct grpc_call *call, int status, const char *message);
struct grpc_call *grpc_call_unref(struct grpc_call *call); /* returns NULL */

#endif
