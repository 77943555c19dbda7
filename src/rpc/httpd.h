/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 server on a unix socket (libmicrohttpd, one thread a request): handlers run top to bottom and may block. */
#ifndef KVRAIL_RPC_HTTPD_H
#define KVRAIL_RPC_HTTPD_H

#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct httpd;
struct httpd_stream; /* a reply that is written piece by piece */

struct httpd_request {
	struct arena *arena; /* lives as long as the request */
	const char *method, *path;
	const char *body;
	size_t body_len;
	uid_t uid; /* of the peer, SO_PEERCRED */
	pid_t pid;
	struct httpd_stream *stream;
	void *priv;
};

/* Value of a query parameter or NULL. */
const char *httpd_query(const struct httpd_request *rq, const char *name);

struct httpd_reply {
	int status; /* 200, 400, ... */
	const char *content_type, *body; /* in the request's arena */
	size_t len;
};

typedef void (*httpd_handler)(void *arg, struct httpd_request *rq, struct httpd_reply *reply);

/*
 * Listen on @path (folder 0700 made if need be, socket 0600). -EADDRINUSE when a live server answers there; a stale socket of a dead one is replaced.
 * Bodies above @max_body get 413, more than @max_connections wait.
 */
int httpd_start(const char *path, size_t max_body, unsigned max_connections, httpd_handler handler, void *arg,
		struct httpd **ret, struct err *e);
struct httpd *httpd_stop(struct httpd *h); /* waits for running handlers */

/* Inside a handler: send a part of the reply now (chunked, status 200, application/x-ndjson). Returns -EPIPE when the client is gone. */
int httpd_send(struct httpd_request *rq, const char *data, size_t len);

/* Client side: one request over a unix socket. @part (may be NULL) gets the body's lines as they come; else the whole body is returned. */
int http_unix(const char *socket_path, const char *method, const char *target, const char *body, size_t len, size_t max_reply,
	      int (*line)(void *arg, const char *line, size_t len), void *arg, struct arena *a, int *status, char **reply,
	      struct err *e);

#endif
