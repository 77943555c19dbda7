/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kv/transport.h"

const struct kv_transport *const kv_transports[] = { &kv_verbs, &kv_tcp, &kv_ucx, NULL };

static int no_describe(struct kv_endpoint *ep, struct arena *a, struct kv_bytes *ret, struct err *e)
{
	*ret = (struct kv_bytes){ (const uint8_t *)"", 0 };
	return 0;
}

static int no_connect(struct kv_endpoint *ep, const struct kv_bytes *peer, struct err *e)
{
	return 0;
}

static int no_read(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "transport %s cannot read: use --op write", ep->ops.name);
}

static int no_write(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "transport %s cannot write: use --op read", ep->ops.name);
}

static int no_plain(struct kv_endpoint *ep, uint64_t size, uint64_t count, struct kv_done *ret, const char **ret_what,
		    struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "transport %s has no bare path to compare with", ep->ops.name);
}

static int no_path(struct kv_endpoint *ep, struct arena *a, struct kv_path *ret, struct err *e)
{
	*ret = (struct kv_path){ .via = "unknown" };
	return 0;
}

static void no_close(struct kv_endpoint *ep)
{
	free(ep);
}

const struct kv_transport *kv_transport_find(const char *name)
{
	for (size_t i = 0; kv_transports[i]; i++)
		if (!strcmp(kv_transports[i]->name, name))
			return kv_transports[i];
	return NULL;
}

int kv_endpoint_open(const char *transport, const struct kv_config *c, struct kv_endpoint **ret, struct err *e)
{
	const struct kv_transport *t = kv_transport_find(transport);
	struct kv_endpoint *ep;
	int r;

	if (!t)
		return err_set(e, -EINVAL, "transport %s is not known", transport);
	r = t->open(c, &ep, e);
	if (r < 0)
		return r;
	ep->config = *c;
	ep->ops = (struct kv_transport){
		.name = t->name,
		.doc = t->doc,
		.open = t->open,
		.describe = t->describe ? t->describe : no_describe,
		.connect = t->connect ? t->connect : no_connect,
		.read = t->read ? t->read : no_read,
		.write = t->write ? t->write : no_write,
		.plain = t->plain ? t->plain : no_plain,
		.path = t->path ? t->path : no_path,
		.close = t->close ? t->close : no_close,
	};
	*ret = ep;
	return 0;
}

struct kv_endpoint *kv_endpoint_close(struct kv_endpoint *ep)
{
	if (ep)
		ep->ops.close(ep);
	return NULL;
}
