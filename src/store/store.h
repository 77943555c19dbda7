/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a standalone agent keeps: one SQLite file, durable when a call returns. Thread safe.
 * Objects are JSON texts under (kind, namespace, name); leases are the addresses of IP pools.
 */
#ifndef KVRAIL_STORE_STORE_H
#define KVRAIL_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct store;

/* @path: the SQLite file, made if need be; its folder must exist. A file that is damaged or of a newer kvrail is an error that says what to do. */
int store_open_local(const char *path, struct store **ret, struct err *e);
struct store *store_close(struct store *s);

struct store_object {
	const char *kind, *namespace, *name, *json;
	uint64_t version; /* grows with each change of the object */
};

int store_put(struct store *s, const char *kind, const char *ns, const char *name, const char *json,
	      struct err *e);
int store_get(struct store *s, struct arena *a, const char *kind, const char *ns, const char *name,
	      struct store_object *ret, struct err *e); /* -ENOENT */
/* @ns NULL: all. */
int store_list(struct store *s, struct arena *a, const char *kind, const char *ns, struct store_object **ret,
	       size_t *ret_n, struct err *e);
/* Many changes, all or none: json NULL deletes. Returns how many changed something. */
int store_apply(struct store *s, const struct store_object *changes, size_t n, struct err *e);

/* An IP as 16 bytes, IPv4 mapped (::ffff:a.b.c.d), so that ranges compare bytewise. */
struct store_ip {
	unsigned char b[16];
};

struct store_lease {
	const char *pool;	 /* Whereabouts' pool name, "10.0.132.0-24" or "net-10.0.132.0-24" */
	struct store_ip ip;
	const char *container, *ifname, *podref; /* podref "ns/name" */
	bool overlap; /* held against every pool that has the same network_name ("" too), not only its own */
	const char *domain; /* network_name or "" */
};

/*
 * Leases change only inside a transaction: begin, any calls, then commit (durable) or rollback. One at a time;
 * a second caller waits.
 */
int store_lease_begin(struct store *s, struct err *e);
int store_lease_commit(struct store *s, struct err *e);
void store_lease_rollback(struct store *s);
/* The lease of this pod and interface in @pool; -ENOENT. */
int store_lease_find(struct store *s, struct arena *a, const char *pool, const char *podref,
		     const char *ifname, struct store_lease *ret);
/* The lease of @ip in @pool; -ENOENT. */
int store_lease_at(struct store *s, struct arena *a, const char *pool, struct store_ip ip,
		   struct store_lease *ret);
/*
 * The lowest address in [from, to] that no lease of @pool holds, and, when @domain is not NULL, no overlapping lease of that domain. O(log n) in
 * the number of leases. -ENOSPC when there is none.
 */
int store_lease_free_ip(struct store *s, const char *pool, const char *domain, struct store_ip from,
			struct store_ip to, struct store_ip *ret);
int store_lease_put(struct store *s, const struct store_lease *lease, struct err *e); /* -EEXIST when held by another; same podref + ifname: container is refreshed */
/* Release by container and interface (ifname NULL: all of the container). Returns how many, 0 is no error. */
int store_lease_release(struct store *s, const char *container, const char *ifname, struct err *e);
int store_leases(struct store *s, struct arena *a, const char *pool /* NULL: all */, struct store_lease **ret, size_t *ret_n,
		 struct err *e);

#endif
