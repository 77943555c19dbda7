/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: connections and how a call takes one. */
#ifndef KVRAIL_RPC_HTTP_PRIVATE_H
#define KVRAIL_RPC_HTTP_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>

#include "rpc/http.h"

/* A connection, idle or in use: a multi handle of its own, so that another thread can wake its poll. */
struct http_slot {
	CURLM *multi;
	CURL *easy;
	struct http_slot *next;
	unsigned generation;
	uint64_t idle_ns; /* since when */
};

/* A PEM in memory that libcurl reads by path: its GnuTLS backend takes files only. */
struct http_pem {
	int fd;
	char path[32]; /* "" when there is none */
};

struct http {
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct http_slot *idle; /* last used first */
	unsigned running, max_calls, connect_ms, generation;
	char *url;	  /* with the server_name as host, when there is one */
	char *connect_to; /* "NAME:PORT:HOST:PORT" then, else NULL */
	char *proxy, *agent;
	char *ca_file, *cert_file, *key_file;
	struct http_pem ca, cert, key;
	struct http_pem last_cert, last_key; /* those before: a handshake may be reading them */
	bool insecure, loopback;
};

struct http_cancel {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool cancelled;
	CURLM *running; /* to be woken */
};

/* A connection for one call: -ETIMEDOUT when all are in use for so long. */
int http_take(struct http *h, bool stream, unsigned timeout_ms, struct http_slot **ret, struct err *e);
/* @broken: it is not used again. */
void http_put(struct http *h, struct http_slot *s, bool stream, bool broken);

#endif
