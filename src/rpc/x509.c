/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <string.h>

#include "rpc/x509.h"

#define SERIAL_BYTES 16
#define BUNDLE_MAX 16 /* certificates of a bundle that are looked at */

struct pair {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

static void pair_free(struct pair *p)
{
	if (p->crt)
		gnutls_x509_crt_deinit(p->crt);
	if (p->key)
		gnutls_x509_privkey_deinit(p->key);
}
#define _cleanup_pair_ _cleanup_(pair_free)

static int failed(int r, const char *what, struct err *e)
{
	return err_set(e, r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s: %s", what, gnutls_strerror(r));
}

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text) };
}

static int load(const struct httpd_pem *pem, struct pair *ret, struct err *e)
{
	gnutls_datum_t cert = datum(pem->cert), key = datum(pem->key);
	int r;

	r = gnutls_x509_crt_init(&ret->crt);
	if (r == 0)
		r = gnutls_x509_crt_import(ret->crt, &cert, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return failed(r, "reading the certificate", e);
	r = gnutls_x509_privkey_init(&ret->key);
	if (r == 0)
		r = gnutls_x509_privkey_import2(ret->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	return r < 0 ? failed(r, "reading the private key", e) : 0;
}

static int make(struct pair *ret, time_t from, time_t until, const char *cn, struct err *e)
{
	unsigned char serial[SERIAL_BYTES];
	int r;

	r = gnutls_x509_privkey_init(&ret->key);
	if (r == 0)
		r = gnutls_x509_privkey_generate(ret->key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (r == 0)
		r = gnutls_x509_crt_init(&ret->crt);
	if (r == 0)
		r = gnutls_x509_crt_set_version(ret->crt, 3);
	if (r == 0)
		r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x40); /* positive, and of full length */
	if (r == 0)
		r = gnutls_x509_crt_set_serial(ret->crt, serial, sizeof(serial));
	if (r == 0)
		r = gnutls_x509_crt_set_activation_time(ret->crt, from);
	if (r == 0)
		r = gnutls_x509_crt_set_expiration_time(ret->crt, until);
	/* X.520 bounds a common name to 64 bytes; who a server is stands in its alternative names */
	if (r == 0)
		r = gnutls_x509_crt_set_dn_by_oid(ret->crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn,
						  (unsigned)strnlen(cn, 64));
	if (r == 0)
		r = gnutls_x509_crt_set_key(ret->crt, ret->key);
	return r < 0 ? failed(r, "making a certificate", e) : 0;
}

static int set_key_id(struct pair *p)
{
	unsigned char id[64];
	size_t len = sizeof(id);
	int r = gnutls_x509_crt_get_key_id(p->crt, GNUTLS_KEYID_USE_SHA1, id, &len);

	return r < 0 ? r : gnutls_x509_crt_set_subject_key_id(p->crt, id, len);
}

static int set_authority(gnutls_x509_crt_t crt, gnutls_x509_crt_t ca)
{
	unsigned char id[64];
	size_t len = sizeof(id);
	int r = gnutls_x509_crt_get_subject_key_id(ca, id, &len, NULL);

	return r < 0 ? r : gnutls_x509_crt_set_authority_key_id(crt, id, len);
}

static int out(struct arena *a, struct pair *p, struct httpd_pem *ret, struct err *e)
{
	gnutls_datum_t cert = { 0 }, key = { 0 };
	int r = gnutls_x509_crt_export2(p->crt, GNUTLS_X509_FMT_PEM, &cert);

	if (r == 0)
		r = gnutls_x509_privkey_export2_pkcs8(p->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &key);
	if (r == 0) {
		ret->cert = arena_strndup(a, (char *)cert.data, cert.size);
		ret->key = arena_strndup(a, (char *)key.data, key.size);
	}
	gnutls_free(cert.data);
	gnutls_free(key.data);
	return r < 0 ? failed(r, "writing a certificate", e) : 0;
}

int x509_make_ca(struct arena *a, const char *cn, time_t from, time_t until, struct httpd_pem *ret, struct err *e)
{
	_cleanup_pair_ struct pair p = { 0 };
	int r = make(&p, from, until, cn, e);

	if (r < 0)
		return r;
	r = gnutls_x509_crt_set_basic_constraints(p.crt, 1, 0);
	if (r == 0)
		r = gnutls_x509_crt_set_key_usage(p.crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	if (r == 0)
		r = set_key_id(&p);
	if (r == 0)
		r = gnutls_x509_crt_sign2(p.crt, p.crt, p.key, GNUTLS_DIG_SHA256, 0);
	return r < 0 ? failed(r, "signing the CA", e) : out(a, &p, ret, e);
}

static int add_name(gnutls_x509_crt_t crt, const char *name)
{
	unsigned char ip[16];

	if (inet_pton(AF_INET, name, ip) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip, 4, GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, name, ip) == 1)
		return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip, 16, GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

int x509_make_server(struct arena *a, const struct httpd_pem *ca, const char *const *names, time_t from, time_t until,
		     struct httpd_pem *ret, struct err *e)
{
	_cleanup_pair_ struct pair signer = { 0 }, p = { 0 };
	int r = load(ca, &signer, e);

	if (r < 0)
		return err_wrap(e, r, "the CA");
	r = make(&p, from, until, names[0], e);
	if (r < 0)
		return r;
	for (const char *const *name = names; r == 0 && *name; name++)
		r = add_name(p.crt, *name);
	if (r == 0)
		r = gnutls_x509_crt_set_basic_constraints(p.crt, 0, -1);
	if (r == 0)
		r = gnutls_x509_crt_set_key_usage(p.crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r == 0)
		r = gnutls_x509_crt_set_key_purpose_oid(p.crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (r == 0)
		r = set_key_id(&p);
	if (r == 0)
		r = set_authority(p.crt, signer.crt);
	if (r == 0)
		r = gnutls_x509_crt_sign2(p.crt, signer.crt, signer.key, GNUTLS_DIG_SHA256, 0);
	return r < 0 ? failed(r, "signing a server's certificate", e) : out(a, &p, ret, e);
}

int x509_validity(const char *pem, time_t *from, time_t *until, struct err *e)
{
	_cleanup_pair_ struct pair p = { 0 };
	gnutls_datum_t text = datum(pem);
	int r = gnutls_x509_crt_init(&p.crt);

	if (r == 0)
		r = gnutls_x509_crt_import(p.crt, &text, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return failed(r, "reading the certificate", e);
	*from = gnutls_x509_crt_get_activation_time(p.crt);
	*until = gnutls_x509_crt_get_expiration_time(p.crt);
	return 0;
}

int x509_check_pair(const struct httpd_pem *pem, struct err *e)
{
	gnutls_certificate_credentials_t cred;
	gnutls_datum_t cert = datum(pem->cert), key = datum(pem->key);
	int r = gnutls_certificate_allocate_credentials(&cred);

	if (r < 0)
		return failed(r, "credentials", e);
	r = gnutls_certificate_set_x509_key_mem(cred, &cert, &key, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_free_credentials(cred);
	return r < 0 ? failed(r, "the certificate and its key cannot be used", e) : 0;
}

/* The certificates of a bundle; those that cannot be read end it. */
static unsigned read_bundle(const char *bundle, gnutls_x509_crt_t *list)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	unsigned n = 0;

	for (const char *p = bundle; n < BUNDLE_MAX && (p = strstr(p, begin));) {
		const char *stop = strstr(p, end);
		gnutls_datum_t text = { .data = (unsigned char *)(uintptr_t)p };

		if (!stop)
			break;
		stop += sizeof(end) - 1;
		text.size = (unsigned)(stop - p);
		p = stop;
		if (gnutls_x509_crt_init(&list[n]) < 0)
			break;
		if (gnutls_x509_crt_import(list[n], &text, GNUTLS_X509_FMT_PEM) < 0)
			gnutls_x509_crt_deinit(list[n]); /* one bad entry does not hide the others */
		else
			n++;
	}
	return n;
}

int x509_verify(const char *server, const char *bundle, const char *name, struct err *e)
{
	_cleanup_pair_ struct pair p = { 0 };
	gnutls_x509_crt_t trusted[BUNDLE_MAX];
	gnutls_datum_t text = datum(server);
	unsigned n = read_bundle(bundle, trusted), status = 0;
	int r = gnutls_x509_crt_init(&p.crt);

	if (r == 0)
		r = gnutls_x509_crt_import(p.crt, &text, GNUTLS_X509_FMT_PEM);
	if (r == 0)
		r = gnutls_x509_crt_verify(p.crt, trusted, (int)n, 0, &status);
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(trusted[i]);
	if (r < 0)
		return failed(r, "verifying the certificate", e);
	if (status & GNUTLS_CERT_EXPIRED)
		return err_set(e, -EINVAL, "the certificate is expired");
	if (status)
		return err_set(e, -EINVAL, "the certificate is not signed by a CA of the bundle (%u certificates, status 0x%x)", n, status);
	if (!gnutls_x509_crt_check_hostname(p.crt, name))
		return err_set(e, -EINVAL, "the certificate is not for %s", name);
	return 0;
}

const char *x509_prune(struct arena *a, const char *bundle, time_t now)
{
	gnutls_x509_crt_t list[BUNDLE_MAX];
	unsigned n = read_bundle(bundle, list);
	const char *ret = "";

	for (unsigned i = 0; i < n; i++) {
		gnutls_datum_t pem = { 0 };
		bool again = false;

		for (unsigned k = 0; k < i; k++)
			again |= gnutls_x509_crt_equals(list[k], list[i]) != 0;
		if (again || gnutls_x509_crt_get_expiration_time(list[i]) <= now ||
		    gnutls_x509_crt_export2(list[i], GNUTLS_X509_FMT_PEM, &pem) < 0)
			continue;
		ret = arena_printf(a, "%s%.*s", ret, (int)pem.size, (char *)pem.data);
		gnutls_free(pem.data);
	}
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(list[i]);
	return ret;
}
