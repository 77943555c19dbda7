/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP client of one server (libcurl): TLS, HTTP/2 where the server speaks it, connections that are used again.
 * Thread safe; a call blocks its caller. Each call that runs has a connection of its own, so that a stream whose reader is
 * slow holds up nobody.
 */
#ifndef KVRAIL_RPC_HTTP_H
#define KVRAIL_RPC_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Files are read again with each new connection. Of a pair at most one is set; texts are PEM. */
struct http_tls {
	const char *ca_file, *ca_pem; /* neither: what the system trusts */
	const char *cert_file, *cert_pem, *key_file, *key_pem; /* the client's own; NULL: none */
	const char *server_name; /* the name that the certificate must have, when not the one in the URL */
	bool insecure;		 /* take any certificate */
};

struct http_options {
	const char *url;   /* "https://10.0.0.1:6443[/prefix]"; requests' targets are appended */
	const char *proxy; /* URL; NULL: as the environment says (https_proxy, no_proxy), none for a loopback address */
	const char *agent; /* User-Agent */
	struct http_tls tls;
	unsigned max_calls;  /* at once, streams not counted; a further one waits. 0: 8 */
	unsigned connect_ms; /* 0: 10000 */
};

struct http;

int http_open(const struct http_options *o, struct http **ret, struct err *e);
struct http *http_close(struct http *h); /* no call may be running; NULL is fine, returns NULL */

/* Another certificate of our own from now on: connections made before are used no more. */
int http_set_cert(struct http *h, const char *cert_pem, const char *key_pem, struct err *e);
/* Use no connection made before now: a file that they were made with has changed. */
void http_renew(struct http *h);

/* Stops the call that runs with it, and every later one, from any thread: they return -ECANCELED. */
struct http_cancel;

struct http_cancel *http_cancel_new(void);
struct http_cancel *http_cancel_free(struct http_cancel *c); /* NULL is fine; returns NULL */
void http_cancel(struct http_cancel *c);
bool http_is_cancelled(struct http_cancel *c); /* false for NULL */
/* Sleep, or less when it is cancelled. @c NULL just sleeps. */
void http_cancel_sleep(struct http_cancel *c, unsigned ms);

struct http_request {
	const char *method, *target; /* "/api/v1/pods?limit=1": escaped by the caller */
	const char *const *headers;  /* "Name: value", NULL-terminated; may be NULL */
	const char *body;	     /* NULL: none */
	size_t len;
	unsigned timeout_ms; /* from here to the last byte; 0: none */
	unsigned idle_ms;    /* without a byte; 0: none */
	unsigned begin_ms;   /* until the reply begins; 0: idle_ms */
	size_t max_body;     /* of what is kept in the reply; 0: 16 MiB */
	bool stream;	     /* runs long: does not count against max_calls */
	bool once; /* must not be sent a second time, whatever happened to the connection */
	/* The body of a 2xx reply, as it comes, in the caller's thread, instead of keeping it. Its non-zero return ends the call and is returned. */
	int (*data)(void *arg, const char *p, size_t n);
	/* Once, when a 2xx reply has begun; may be NULL. */
	void (*begun)(void *arg);
	/* Each header of the reply, name in lower case; may be NULL. */
	void (*header)(void *arg, const char *name, const char *value);
	void *arg;
	struct http_cancel *cancel; /* may be NULL */
};

struct http_reply {
	int status;
	int retry_after_s; /* -1: not said */
	bool sent;	   /* the server may have seen the request; set in failures too */
	char *body;	   /* NUL-terminated, never NULL after success */
	size_t len;
};

/*
 * 0 when there is a reply, whatever its status. Else, with @ret->sent saying how far it went:
 *   -EHOSTUNREACH  no address, nobody listens
 *   -ETIMEDOUT     timeout_ms, idle_ms or connect_ms
 *   -ECONNRESET    the connection broke, or the body was cut
 *   -EKEYREJECTED  the server's certificate is not one to trust
 *   -ENOKEY        a CA, certificate or key of our own cannot be used
 *   -EFBIG         more than max_body
 *   -ECANCELED, or what @data returned
 */
int http_do(struct http *h, const struct http_request *rq, struct http_reply *ret, struct err *e);
void http_reply_free(struct http_reply *r);
#define _cleanup_reply_ _cleanup_(http_reply_free)

/* @s with every byte escaped that may not stand in a path segment or a query value; freed by the caller. */
char *http_escape(const char *s);

#endif
