/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server (libmicrohttpd). On a unix socket, one thread a request: handlers run top to bottom and may block.
 * Over TCP, with or without TLS, on a few threads: for scrapers, probes and webhooks.
 */
#ifndef KVRAIL_RPC_HTTPD_H
#define KVRAIL_RPC_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct httpd;

struct httpd_request {
	struct arena *arena; /* lives as long as the request */
	const char *method, *path; /* path without the query */
	const char *body;	   /* NUL-terminated */
	size_t body_len;
	uid_t uid; /* of the peer, SO_PEERCRED; over TCP (uid_t)-1 and -1 */
	pid_t pid;
	void *connection;
};

/* Value of a query parameter or NULL. */
const char *httpd_query(const struct httpd_request *rq, const char *name);

struct httpd_reply {
	int status;			 /* 200, 400, ... */
	const char *content_type, *body; /* in the request's arena; NULL: application/json, empty */
	int fd; /* when not -1: the reply is what is read from this pipe until its end; the server closes it */
};

/* Set the reply's status and body at once. */
void httpd_say(struct httpd_reply *reply, int status, const char *body);

/* Runs in a thread of its own. */
typedef void (*httpd_handler)(void *arg, struct httpd_request *rq, struct httpd_reply *reply);

/*
 * Listen on @path (0600; its folder is made 0700 if need be). -EADDRINUSE when a live server
 * answers there; a dead one's socket is replaced. A body above @max_body gets 413; one above
 * 64 KiB gets 503 while the server holds 32 MiB of bodies. Above @max_connections a caller waits.
 */
int httpd_start(const char *path, size_t max_body, unsigned max_connections, httpd_handler handler, void *arg,
		struct httpd **ret, struct err *e);

/* A certificate, followed by those that lead to its CA, and its private key, all PEM. */
struct httpd_pem {
	const char *cert, *key;
};

/*
 * The same on @address: "HOST:PORT", ":PORT" for all addresses, "[::1]:PORT"; port 0 takes a free one. With @tls it speaks
 * HTTPS (TLS 1.2 and 1.3). Anybody can connect: a connection that is idle for half a minute is closed, one address gets a quarter
 * of @max_connections, one that is too many, of its address or of all, takes the place of the one whose last request is the longest
 * ago, and handlers run on a few threads, so they must not wait. -EINVAL for an address or a certificate that cannot be
 * used, with the reason.
 */
int httpd_start_tcp(const char *address, const struct httpd_pem *tls, size_t max_body, unsigned max_connections,
		    httpd_handler handler, void *arg, struct httpd **ret, struct err *e);
/* The TCP port that it listens on. */
unsigned httpd_port(const struct httpd *h);
/*
 * Show another certificate from now on, without refusing a connection in between; those that are open go on. When it cannot be
 * used (-EINVAL) the old one stays. One caller at a time.
 */
int httpd_set_tls(struct httpd *h, const struct httpd_pem *tls, struct err *e);

/* Removes the socket, waits for running handlers; NULL is fine, returns NULL. */
struct httpd *httpd_stop(struct httpd *h);

/*
 * Client: one request over a unix socket. With @line each line of the body is handed over as it comes
 * (its non-zero return stops and is returned), else the whole body is put in *reply ("" when empty).
 * -ENOTCONN when nobody answers there; -EFBIG for more than @max_reply bytes or, with @line, a line longer than that.
 */
int http_unix(const char *socket_path, const char *method, const char *target, const char *body,
	      size_t len, size_t max_reply, int (*line)(void *arg, const char *line, size_t len),
	      void *arg, struct arena *a, int *status, char **reply, struct err *e);

#endif
