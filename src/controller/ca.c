/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/base64.h"
#include "controller/ca.h"

#define DAY 86400
#define EARLIER 3600 /* valid from: clocks differ */

/* A third of its time is left to renew it in. False too when it cannot be read. */
static bool fresh(const char *pem, time_t now, unsigned *next)
{
	time_t from, until, due;

	if (!pem || x509_validity(pem, &from, &until, NULL) < 0)
		return false;
	due = until - (until - from) / 3;
	if (now >= due)
		return false;
	if (!*next || due - now < (time_t)*next)
		*next = due - now > 30 * DAY ? 30 * DAY : (unsigned)(due - now);
	return true;
}

static bool usable(const struct httpd_pem *p)
{
	return p->cert && p->key && x509_check_pair(p, NULL) == 0;
}

static bool serves(const struct ca_state *s, const char *bundle, const char *const *names)
{
	if (!usable(&s->server))
		return false;
	for (; *names; names++)
		if (x509_verify(s->server.cert, bundle, *names, NULL) < 0)
			return false;
	return true;
}

static int new_ca(struct arena *a, time_t now, struct ca_state *s, struct err *e)
{
	int r = x509_make_ca(a, "kvrail webhooks", now - EARLIER, now + CA_DAYS * (time_t)DAY, &s->ca, e);

	if (r < 0)
		return r;
	s->bundle = x509_prune(a, arena_printf(a, "%s%s", s->ca.cert, s->bundle ? s->bundle : ""), now);
	return 0;
}

static int new_server(struct arena *a, const char *const *names, time_t now, struct ca_state *s, struct err *e)
{
	return x509_make_server(a, &s->ca, names, now - EARLIER, now + CA_SERVER_DAYS * (time_t)DAY, &s->server, e);
}

int ca_next(struct arena *a, const struct ca_state *is, const char *const *names, time_t now, bool trusted, struct ca_state *ret,
	    bool *changed, unsigned *next, struct err *e)
{
	struct ca_state s = *is;
	const char *bundle;
	int r = 0;

	*changed = true;
	*next = 0;
	if (!usable(&s.ca) || !fresh(s.ca.cert, now, next)) {
		r = new_ca(a, now, &s, e);
		/* nothing that works would be cut off: no need to wait */
		if (r == 0 && !serves(&s, s.bundle, names))
			r = new_server(a, names, now, &s, e);
		goto out;
	}
	bundle = x509_prune(a, arena_printf(a, "%s%s", s.ca.cert, s.bundle ? s.bundle : ""), now);
	if (!s.bundle || strcmp(bundle, s.bundle)) { /* one expired, or somebody edited it */
		s.bundle = bundle;
		goto out;
	}
	if (!serves(&s, s.bundle, names) || (trusted && (!fresh(s.server.cert, now, next) || !serves(&s, s.ca.cert, names)))) {
		r = new_server(a, names, now, &s, e);
		goto out;
	}
	*changed = false;
out:
	if (r == 0)
		*ret = s;
	return r;
}

static const struct {
	const char *key;
	size_t offset;
} members[] = {
	{ "ca.crt", offsetof(struct ca_state, ca.cert) },
	{ "ca.key", offsetof(struct ca_state, ca.key) },
	{ "ca-bundle.crt", offsetof(struct ca_state, bundle) },
	{ "tls.crt", offsetof(struct ca_state, server.cert) },
	{ "tls.key", offsetof(struct ca_state, server.key) },
};

void ca_read(struct arena *a, yyjson_val *secret, struct ca_state *ret)
{
	yyjson_val *data = yyjson_obj_get(secret, "data");

	*ret = (struct ca_state){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = doc_str(data, members[i].key);
		char *pem;
		size_t len;

		if (text && base64_decode(a, text, &pem, &len) == 0 && strlen(pem) == len && len)
			*(const char **)((char *)ret + members[i].offset) = pem;
	}
}

yyjson_mut_val *ca_data(struct arena *a, yyjson_mut_doc *doc, const struct ca_state *s)
{
	yyjson_mut_val *data = yyjson_mut_obj(doc);

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *pem = *(const char *const *)((const char *)s + members[i].offset);

		if (pem)
			yyjson_mut_obj_add_str(doc, data, members[i].key, base64_encode(a, pem, strlen(pem)));
	}
	return data;
}
