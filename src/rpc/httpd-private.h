/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what the unix server and the TCP server share. */
#ifndef KVRAIL_RPC_HTTPD_PRIVATE_H
#define KVRAIL_RPC_HTTPD_PRIVATE_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/un.h>

#include "rpc/httpd.h"

struct httpd {
	struct MHD_Daemon *mhd;
	struct MHD_Daemon *retired; /* serves what was open when the certificate changed last */
	httpd_handler handler;
	void *arg;
	size_t max_body;
	atomic_size_t bodies; /* bytes of all that are held now */
	bool tcp, tls;
	unsigned port, max_connections;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

enum MHD_Result httpd_on_request(void *httpd, struct MHD_Connection *c, const char *url, const char *method,
				 const char *version, const char *data, size_t *len, void **priv);
void httpd_on_done(void *httpd, struct MHD_Connection *c, void **priv, enum MHD_RequestTerminationCode code);

#endif
