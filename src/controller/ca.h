/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The webhooks' certificates: an own CA and a server's certificate that it signed, shared by the replicas in a Secret. Renewed
 * without a gap: a new CA is first only trusted beside the old one (the bundle), and signs the server's next certificate when the API server
 * was told the bundle. Pure.
 */
#ifndef KVRAIL_CONTROLLER_CA_H
#define KVRAIL_CONTROLLER_CA_H

#include "codec/doc.h"
#include "rpc/x509.h"

#define CA_DAYS 730
#define CA_SERVER_DAYS 90

/* What the Secret holds; members NULL or unusable when it is new or damaged. */
struct ca_state {
	struct httpd_pem ca, server;
	const char *bundle; /* what clients shall trust: the CA, and its predecessors until they expire */
};

/*
 * What the state must become at @now for a server of these @names; @trusted: clients were told the present bundle. *changed is false when all is
 * well. Each call does one step; *next: in how many seconds another one is due.
 */
int ca_next(struct arena *a, const struct ca_state *is, const char *const *names, time_t now, bool trusted, struct ca_state *ret,
	    bool *changed, unsigned *next, struct err *e);

/* The Secret's data, and back. */
void ca_read(struct arena *a, yyjson_val *secret, struct ca_state *ret);
yyjson_mut_val *ca_data(struct arena *a, yyjson_mut_doc *doc, const struct ca_state *s);

#endif
