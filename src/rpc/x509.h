/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates: an own CA, and servers' certificates signed by it. ECDSA on P-256, PEM in and out. */
#ifndef KVRAIL_RPC_X509_H
#define KVRAIL_RPC_X509_H

#include <time.h>

#include "rpc/httpd.h"

/* A CA named @cn that signs servers' certificates only (it cannot make further CAs), valid between the two times. */
int x509_make_ca(struct arena *a, const char *cn, time_t from, time_t until, struct httpd_pem *ret, struct err *e);

/*
 * A certificate for a server of these names, DNS names and IP addresses, NULL-terminated; the first is its common name. Signed by @ca.
 * -EINVAL when @ca's text cannot be used.
 */
int x509_make_server(struct arena *a, const struct httpd_pem *ca, const char *const *names, time_t from, time_t until,
		     struct httpd_pem *ret, struct err *e);

/* When the first certificate of @pem is valid. -EINVAL when there is none. */
int x509_validity(const char *pem, time_t *from, time_t *until, struct err *e);

/* Would a client that trusts @bundle (one or more certificates) take @server's certificate as @name's, now? -EINVAL says why not. */
int x509_verify(const char *server, const char *bundle, const char *name, struct err *e);

/* Do certificate and key belong together and can both be read? -EINVAL says what is wrong. */
int x509_check_pair(const struct httpd_pem *pem, struct err *e);

/* @bundle without the certificates that are expired at @now or cannot be read, and without duplicates. */
const char *x509_prune(struct arena *a, const char *bundle, time_t now);

#endif
