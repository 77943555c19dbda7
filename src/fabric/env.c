/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "fabric/env_facts.h"

void env_add(struct env_facts *f, const char *library, const char *name, const char *value,
	     const char *why, ...)
{
	struct env_var *v = arena_push(f->arena, &f->vars, &f->n_vars, sizeof(*v));
	va_list ap;

	va_start(ap, why);
	v->why = arena_vprintf(f->arena, why, ap);
	va_end(ap);
	v->library = library;
	v->name = name;
	v->value = value;
}

struct network {
	int family;
	char text[INET6_ADDRSTRLEN + 4]; /* "10.0.132.0/24": host bits cleared */
};

/* The network of "10.0.132.5/24"; without a prefix length the address alone. */
static int network_of(const char *address, struct network *ret)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	const char *slash = strchrnul(address, '/');
	struct network net = { .family = AF_INET };
	uint64_t bits;
	size_t n = 4;

	if ((size_t)(slash - address) >= sizeof(text))
		return -EINVAL;
	memcpy(text, address, (size_t)(slash - address));
	text[slash - address] = '\0';
	if (inet_pton(AF_INET, text, bytes) != 1) {
		if (inet_pton(AF_INET6, text, bytes) != 1)
			return -EINVAL;
		net.family = AF_INET6;
		n = 16;
	}
	bits = n * 8;
	if (*slash && parse_u64(slash + 1, 10, 0, n * 8, &bits) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		size_t kept = bits > i * 8 ? bits - i * 8 : 0;

		if (kept < 8)
			bytes[i] &= (unsigned char)(0xff00 >> kept);
	}
	inet_ntop(net.family, bytes, text, sizeof(text));
	snprintf(net.text, sizeof(net.text), "%s/%u", text, (unsigned)bits);
	*ret = net;
	return 0;
}

static void join(struct strbuf *b, const char *sep, const char *s)
{
	if (b->len)
		strbuf_addstr(b, sep);
	strbuf_addstr(b, s);
}

/* Is @word one of the comma-separated words of @list? */
static bool listed(const struct strbuf *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list->s; p && *p; p = *p ? p + 1 : p) {
		const char *end = strchrnul(p, ',');

		if ((size_t)(end - p) == n && !memcmp(p, word, n))
			return true;
		p = end;
	}
	return false;
}

static bool is_infiniband(const struct env_rail *r)
{
	return r->link_layer && !strcmp(r->link_layer, "InfiniBand");
}

/* mlx5 by its driver, and where that is not told by the kernel's own name for it. */
static bool is_mlx5(const struct env_rail *r)
{
	return !r->soft && !strncmp(r->driver ? r->driver : r->rdma, "mlx5", 4);
}

static void fold_index(struct env_facts *f, const struct env_rail *r, bool first)
{
	if (first)
		f->index = r->gid_index;
	else if (r->gid_index < 0 || f->index < 0)
		f->index = -1;
	else if (r->gid_index != f->index)
		f->index_differs = true;
}

/* GID and address of one RoCE rail. */
static int fold_roce(struct env_facts *f, const struct env_rail *r, struct strbuf *subnets,
		     struct strbuf *measured, struct err *e)
{
	bool first = f->n_roce++ == 0;
	struct network net = { 0 };

	fold_index(f, r, first);
	if (r->gid_index >= 0)
		join(measured, ", ", arena_printf(f->arena, "%s has %d", r->rdma, r->gid_index));
	else
		join(measured, ", ", arena_printf(f->arena, "%s has none", r->rdma));
	if (r->n_addresses && network_of(r->addresses[0], &net) < 0)
		return err_set(e, -EINVAL, "%s: %s is no address", r->ifname, r->addresses[0]);
	if (first)
		f->family = net.family;
	else if (f->family != net.family)
		f->family = 0;
	if (net.family && !listed(subnets, net.text)) {
		join(subnets, ",", net.text);
		f->n_subnets++;
	}
	return 0;
}

/* Shorten @prefix to what it has in common with @name. */
static size_t common(const char *prefix, size_t n, const char *name)
{
	size_t i = 0;

	while (i < n && prefix[i] == name[i])
		i++;
	return i;
}

static int gather(struct env_facts *f, struct err *e)
{
	_cleanup_strbuf_ struct strbuf devices = STRBUF_INIT, ifnames = STRBUF_INIT, subnets = STRBUF_INIT,
				       measured = STRBUF_INIT;
	const char *first = NULL;
	size_t prefix = 0;
	int rc;

	f->all_mlx5 = true;
	for (size_t i = 0; i < f->pod->n_rails; i++) {
		const struct env_rail *r = &f->pod->rails[i];

		join(&ifnames, ",", r->ifname);
		if (!r->rdma)
			continue;
		join(&devices, ",", arena_printf(f->arena, "%s:%u", r->rdma, r->port));
		prefix = first ? common(first, prefix, r->rdma) : strlen(r->rdma);
		first = first ? first : r->rdma;
		f->n_rdma++;
		f->n_soft += r->soft;
		f->all_mlx5 = f->all_mlx5 && is_mlx5(r);
		f->other_driver = f->other_driver || r->soft || (r->driver && !is_mlx5(r));
		if (is_infiniband(r)) {
			f->n_ib++;
			continue;
		}
		rc = fold_roce(f, r, &subnets, &measured, e);
		if (rc < 0)
			return rc;
	}
	if (f->n_roce == 0 || f->index_differs)
		f->index = -1;
	f->all_mlx5 = f->all_mlx5 && f->n_rdma;
	f->devices = arena_strndup(f->arena, devices.s ? devices.s : "", devices.len);
	f->ifnames = arena_strndup(f->arena, ifnames.s ? ifnames.s : "", ifnames.len);
	f->subnets = arena_strndup(f->arena, subnets.s ? subnets.s : "", subnets.len);
	f->measured = arena_strndup(f->arena, measured.s ? measured.s : "", measured.len);
	f->prefix = arena_strndup(f->arena, first ? first : "", prefix);
	return 0;
}

const char *env_same_as_unset(const char *name)
{
	if (!strcmp(name, "UCX_IB_GID_INDEX"))
		return "auto";
	return !strcmp(name, "NCCL_IB_GID_INDEX") || !strcmp(name, "NVSHMEM_IB_GID_INDEX") ? "-1" : NULL;
}

int env_make(struct arena *a, const struct env_pod *pod, struct env_var **ret, size_t *ret_n, struct err *e)
{
	struct env_facts f = { .arena = a, .pod = pod };
	int rc = gather(&f, e);

	if (rc < 0)
		return rc;
	env_ucx(&f);
	env_nccl(&f);
	env_nvshmem(&f);
	env_engine(&f);
	*ret = f.vars;
	*ret_n = f.n_vars;
	return 0;
}
