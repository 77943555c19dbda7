/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what the unix server and the TCP server share. */
#ifndef KVRAIL_RPC_HTTPD_PRIVATE_H
#define KVRAIL_RPC_HTTPD_PRIVATE_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "rpc/httpd.h"

/* One over TCP. */
struct httpd_peer {
	TAILQ_ENTRY(httpd_peer) link;
	struct in6_addr address;
	int fd; /* libmicrohttpd's; -1: shut down by us, and in no list any more */
};

struct httpd {
	struct MHD_Daemon *mhd;
	struct MHD_Daemon *retired; /* serves what was open when the certificate changed last */
	httpd_handler handler;
	void *arg;
	size_t max_body;
	atomic_size_t bodies; /* bytes of all that are held now */
	bool tcp, tls;
	unsigned port, max_connections;
	pthread_mutex_t lock; /* of the two below; over TCP only */
	TAILQ_HEAD(, httpd_peer) peers; /* the one whose last request began first is the first */
	unsigned n_peers;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

enum MHD_Result httpd_on_request(void *httpd, struct MHD_Connection *c, const char *url, const char *method,
				 const char *version, const char *data, size_t *len, void **priv);
/* A request begins on @c. */
void httpd_on_begin(struct httpd *h, struct MHD_Connection *c);
void httpd_on_done(void *httpd, struct MHD_Connection *c, void **priv, enum MHD_RequestTerminationCode code);

#endif
