/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over unix sockets: a server (one reply, or a stream of them), and a client of calls with one reply. HTTP/2 is
 * nghttp2's; messages are bytes here, what they mean is the caller's business (protobuf-c).
 * Not done, as no kubelet asks for it: TLS, compression, requests that are streams.
 */
#ifndef KVRAIL_RPC_GRPC_H
#define KVRAIL_RPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

#define GRPC_MESSAGE_MAX (16u << 20) /* as the kubelet's own clients of PodResources allow */

/* Status codes, grpc/doc/statuscodes.md. */
enum grpc_status {
	GRPC_OK, GRPC_CANCELLED, GRPC_UNKNOWN, GRPC_INVALID_ARGUMENT, GRPC_DEADLINE_EXCEEDED, GRPC_NOT_FOUND, GRPC_ALREADY_EXISTS,
	GRPC_PERMISSION_DENIED, GRPC_RESOURCE_EXHAUSTED, GRPC_FAILED_PRECONDITION, GRPC_ABORTED, GRPC_OUT_OF_RANGE, GRPC_UNIMPLEMENTED,
	GRPC_INTERNAL, GRPC_UNAVAILABLE, GRPC_DATA_LOSS, GRPC_UNAUTHENTICATED,
};

const char *grpc_status_name(int status); /* "NotFound"; "status 99" texts are "Unknown" */

/*
 * One call at the server. A handler gets it with one reference, which ends with grpc_finish(): at once, or later and from any thread.
 */
struct grpc_call;

/*
 * Queue one message to the caller (copied). A stream may send many; otherwise once, before grpc_finish(). -EPIPE: the caller is gone or
 * gave up; -ENOBUFS: it does not read and has more than GRPC_MESSAGE_MAX bytes waiting. Thread safe.
 */
int grpc_send(struct grpc_call *call, const void *msg, size_t len);
/* End the call and the reference; @message (may be NULL) is for people. Thread safe. */
void grpc_finish(struct grpc_call *call, enum grpc_status status, const char *message);
/* Whether the caller still waits. Thread safe. */
bool grpc_alive(struct grpc_call *call);

/* Called in the server's thread with no lock held: must not block. @msg is valid during the call only. */
typedef void (*grpc_handler)(void *arg, struct grpc_call *call, const void *msg, size_t len);

struct grpc_method {
	const char *path; /* "/v1beta1.DevicePlugin/Allocate" */
	grpc_handler handler;
};

struct grpc_server;

/* One thread for all sockets of the server. */
int grpc_server_start(struct grpc_server **ret, struct err *e);
/* Closes all and ends the thread. Every call must have been finished by then. NULL is fine; returns NULL. */
struct grpc_server *grpc_server_stop(struct grpc_server *s);
/*
 * Serve @methods (ended by a NULL path; must outlive it) on a unix socket at @path, 0600. What is there is replaced, by rename,
 * so that there is no moment without a socket. -ENAMETOOLONG: longer than a socket's address can be (107 bytes).
 */
int grpc_server_listen(struct grpc_server *s, const char *path, const struct grpc_method *methods, void *arg, struct err *e);
/* No longer; its connections are closed, the socket is removed if it is still ours. Waits for a handler that runs; not to be called from one. */
void grpc_server_unlisten(struct grpc_server *s, const char *path);

/* Whether the socket at @path is the one that listens here: the kubelet removes what it finds when it starts. */
bool grpc_server_listens(struct grpc_server *s, const char *path);

/*
 * One call with one reply, within @timeout_ms. The reply (at most @max bytes) is in @a. Errors: -ENOTCONN nobody listens at @path;
 * -ETIMEDOUT; -EPROTO what came is no gRPC; -EMSGSIZE a reply above @max; -EREMOTEIO: the server refused, *status (may be NULL) and @e say
 * how. @e begins with the method.
 */
int grpc_unary(const char *path, const char *method, const void *msg, size_t len, unsigned timeout_ms, size_t max,
	       struct arena *a, void **ret, size_t *ret_len, int *status, struct err *e);

#endif
