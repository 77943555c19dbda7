/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases, and the runs of taken addresses that make the lowest free one a matter of one or two look-ups.
 * Every change of a lease changes the runs of its pool, and of its domain when it overlaps, with it.
 */
#include "store/db.h"
#include "store/ip.h"

enum space { SPACE_POOL, SPACE_DOMAIN };

struct run {
	struct store_ip first, last;
};

static void bind_ip(sqlite3_stmt *q, int i, const struct store_ip *ip)
{
	sqlite3_bind_blob(q, i, ip->b, sizeof(ip->b), SQLITE_STATIC);
}

static int read_ip(sqlite3_stmt *q, int column, struct store_ip *ret)
{
	const void *blob = sqlite3_column_blob(q, column);

	if (!blob || sqlite3_column_bytes(q, column) != sizeof(ret->b))
		return -EBADMSG;
	memcpy(ret->b, blob, sizeof(ret->b));
	return 0;
}

static int read_lease(sqlite3_stmt *q, struct arena *a, struct store_lease *l)
{
	int r = read_ip(q, 1, &l->ip);

	if (r < 0)
		return r;
	l->pool = db_text(a, q, 0);
	l->container = db_text(a, q, 2);
	l->ifname = db_text(a, q, 3);
	l->podref = db_text(a, q, 4);
	l->overlap = sqlite3_column_int(q, 5);
	l->domain = db_text(a, q, 6);
	return 0;
}

/* The run with the greatest first address that is not above @ip; -ENOENT when there is none. */
static int run_below(struct store *s, enum space space, const char *name, const struct store_ip *ip,
		     struct run *ret)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_RUN_AT);
	struct run run;
	int r;

	if (!q)
		return -EIO;
	sqlite3_bind_int(q, 1, space);
	sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
	bind_ip(q, 3, ip);
	r = sqlite3_step(q);
	if (r == SQLITE_DONE)
		return -ENOENT;
	if (r != SQLITE_ROW || read_ip(q, 0, &run.first) < 0 || read_ip(q, 1, &run.last) < 0)
		return -EIO;
	*ret = run;
	return 0;
}

/* 1 and the run when a run covers @ip, else 0. */
static int run_covering(struct store *s, enum space space, const char *name,
			const struct store_ip *ip, struct run *ret)
{
	struct run run;
	int r = run_below(s, space, name, ip, &run);

	if (r == -ENOENT || (r == 0 && store_ip_cmp(&run.last, ip) < 0))
		return 0;
	if (r < 0)
		return r;
	*ret = run;
	return 1;
}

static int run_write(struct store *s, enum db_sql which, enum space space, const char *name,
		     const struct store_ip *first, const struct store_ip *last)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, which);

	if (!q)
		return -EIO;
	sqlite3_bind_int(q, 1, space);
	sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
	bind_ip(q, 3, first);
	if (last)
		bind_ip(q, 4, last);
	return sqlite3_step(q) == SQLITE_DONE ? 0 : -EIO;
}

/* @ip, which is in no run, becomes taken: it joins the runs beside it. */
static int run_add(struct store *s, enum space space, const char *name, const struct store_ip *ip)
{
	struct store_ip before = *ip, after = *ip;
	struct run left, right;
	int joins_left = 0, joins_right = 0, r = 0;

	if (store_ip_prev(&before))
		joins_left = run_covering(s, space, name, &before, &left);
	if (store_ip_next(&after))
		joins_right = run_covering(s, space, name, &after, &right);
	if (joins_left < 0 || joins_right < 0)
		return -EIO;
	if (joins_right)
		r = run_write(s, SQL_RUN_DELETE, space, name, &right.first, NULL);
	if (r < 0)
		return r;
	if (joins_left)
		return run_write(s, SQL_RUN_RESIZE, space, name, &left.first, joins_right ? &right.last : ip);
	return run_write(s, SQL_RUN_INSERT, space, name, ip, joins_right ? &right.last : ip);
}

/* @ip becomes free: its run ends before it, and another begins after it. */
static int run_cut(struct store *s, enum space space, const char *name, const struct store_ip *ip)
{
	struct store_ip before = *ip, after = *ip;
	struct run run;
	int r = run_covering(s, space, name, ip, &run);

	if (r <= 0)
		return r;
	store_ip_prev(&before);
	store_ip_next(&after);
	if (store_ip_cmp(&run.first, ip) == 0)
		r = run_write(s, SQL_RUN_DELETE, space, name, &run.first, NULL);
	else
		r = run_write(s, SQL_RUN_RESIZE, space, name, &run.first, &before);
	if (r == 0 && store_ip_cmp(ip, &run.last) < 0)
		r = run_write(s, SQL_RUN_INSERT, space, name, &after, &run.last);
	return r;
}

int store_lease_begin(struct store *s, struct err *e)
{
	db_lock(s);
	if (s->leasing || db_exec(s, SQL_BEGIN) < 0) {
		int r = s->leasing ? err_set(e, -EBUSY, "a lease transaction is open in this thread")
				   : db_fail(s, e);

		pthread_mutex_unlock(&s->lock);
		return r;
	}
	s->leasing = true;
	return 0;
}

void store_lease_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db)) /* some failures roll back by themselves */
		db_exec(s, SQL_ROLLBACK);
	s->leasing = false;
	pthread_mutex_unlock(&s->lock);
}

int store_lease_commit(struct store *s, struct err *e)
{
	/* a transaction that SQLite has given up must not pass for a durable one */
	int r = sqlite3_get_autocommit(s->db)
			? err_set(e, -EIO, "%s: the transaction failed before", s->path)
			: 0;

	if (r == 0 && db_exec(s, SQL_COMMIT) < 0)
		r = db_fail(s, e);
	if (r < 0) {
		store_lease_rollback(s);
		return r;
	}
	s->leasing = false;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* One lease or -ENOENT of a query with its first parameters bound. */
static int one_lease(struct store *s, struct arena *a, sqlite3_stmt *q, struct store_lease *ret)
{
	struct store_lease lease;
	int r = sqlite3_step(q);

	if (r == SQLITE_DONE)
		return -ENOENT;
	if (r != SQLITE_ROW || read_lease(q, a, &lease) < 0)
		return -EIO;
	*ret = lease;
	return 0;
}

int store_lease_find(struct store *s, struct arena *a, const char *pool, const char *podref,
		     const char *ifname, struct store_lease *ret)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_LEASE_OF_POD);

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, pool, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, podref, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 3, ifname, -1, SQLITE_STATIC);
	return one_lease(s, a, q, ret);
}

int store_lease_at(struct store *s, struct arena *a, const char *pool, struct store_ip ip,
		   struct store_lease *ret)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_LEASE_AT);

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, pool, -1, SQLITE_STATIC);
	bind_ip(q, 2, &ip);
	return one_lease(s, a, q, ret);
}

/*
 * Each step leaves one whole run behind. Overlapping leases of the pool are in the domain's runs too, so that
 * only leases of this pool that were made without overlap, lying between those, cost another step.
 */
int store_lease_free_ip(struct store *s, const char *pool, const char *domain, struct store_ip from,
			struct store_ip to, struct store_ip *ret)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	struct store_ip ip = from;

	while (store_ip_cmp(&ip, &to) <= 0) {
		struct run run;
		int r = 0;

		if (domain)
			r = run_covering(s, SPACE_DOMAIN, domain, &ip, &run);
		if (r == 0)
			r = run_covering(s, SPACE_POOL, pool, &ip, &run);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret = ip;
			return 0;
		}
		ip = run.last;
		if (!store_ip_next(&ip))
			break;
	}
	return -ENOSPC;
}

static int held(struct store *s, const struct store_lease *l, const char *where, struct err *e)
{
	return err_set(e, -EEXIST, "an address of %s is held in %s already", l->pool, where);
}

static int insert(struct store *s, const struct store_lease *l)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_LEASE_INSERT);
	int r;

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, l->pool, -1, SQLITE_STATIC);
	bind_ip(q, 2, &l->ip);
	sqlite3_bind_text(q, 3, l->container, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 4, l->ifname, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 5, l->podref, -1, SQLITE_STATIC);
	sqlite3_bind_int(q, 6, l->overlap);
	sqlite3_bind_text(q, 7, l->domain, -1, SQLITE_STATIC);
	if (sqlite3_step(q) != SQLITE_DONE)
		return -EIO;
	r = run_add(s, SPACE_POOL, l->pool, &l->ip);
	if (r == 0 && l->overlap)
		r = run_add(s, SPACE_DOMAIN, l->domain, &l->ip);
	return r;
}

static int refresh(struct store *s, const struct store_lease *old, const struct store_lease *l)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_LEASE_REFRESH);
	bool moved = old->overlap != l->overlap || strcmp(old->domain, l->domain) != 0;
	int r = 0;

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, l->pool, -1, SQLITE_STATIC);
	bind_ip(q, 2, &l->ip);
	sqlite3_bind_text(q, 3, l->container, -1, SQLITE_STATIC);
	sqlite3_bind_int(q, 4, l->overlap);
	sqlite3_bind_text(q, 5, l->domain, -1, SQLITE_STATIC);
	if (sqlite3_step(q) != SQLITE_DONE)
		return -EIO;
	if (moved && old->overlap)
		r = run_cut(s, SPACE_DOMAIN, old->domain, &old->ip);
	if (r == 0 && moved && l->overlap)
		r = run_add(s, SPACE_DOMAIN, l->domain, &l->ip);
	return r;
}

int store_lease_put(struct store *s, const struct store_lease *lease, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_arena_ struct arena *a = arena_new();
	struct store_lease l = *lease, old;
	struct run run;
	bool there, claimed;
	int r;

	if (!s->leasing)
		return err_set(e, -EINVAL, "leases change only inside a transaction");
	if (!l.domain)
		l.domain = "";
	r = store_lease_at(s, a, l.pool, l.ip, &old);
	if (r < 0 && r != -ENOENT)
		return db_fail(s, e);
	there = r == 0;
	if (there && (strcmp(old.podref, l.podref) || strcmp(old.ifname, l.ifname)))
		return held(s, &l, "this pool", e);
	claimed = there && old.overlap && !strcmp(old.domain, l.domain);
	if (l.overlap && !claimed) {
		r = run_covering(s, SPACE_DOMAIN, l.domain, &l.ip, &run);
		if (r > 0)
			return held(s, &l, "an overlapping pool", e);
		if (r < 0)
			return db_fail(s, e);
	}
	r = there ? refresh(s, &old, &l) : insert(s, &l);
	return r < 0 ? db_fail(s, e) : 0;
}

static int collect(struct store *s, struct arena *a, sqlite3_stmt *q, struct store_lease **ret, size_t *ret_n)
{
	struct store_lease *leases = NULL;
	size_t n = 0;
	int r;

	while ((r = sqlite3_step(q)) == SQLITE_ROW) {
		struct store_lease *l = arena_push(a, &leases, &n, sizeof(*l));

		if (read_lease(q, a, l) < 0)
			return -EIO;
	}
	if (r != SQLITE_DONE)
		return -EIO;
	*ret = leases;
	*ret_n = n;
	return 0;
}

static int delete(struct store *s, const struct store_lease *l)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, SQL_LEASE_DELETE);
	int r;

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, l->pool, -1, SQLITE_STATIC);
	bind_ip(q, 2, &l->ip);
	if (sqlite3_step(q) != SQLITE_DONE)
		return -EIO;
	r = run_cut(s, SPACE_POOL, l->pool, &l->ip);
	if (r == 0 && l->overlap)
		r = run_cut(s, SPACE_DOMAIN, l->domain, &l->ip);
	return r;
}

int store_lease_release(struct store *s, const char *container, const char *ifname, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_reset_ sqlite3_stmt *q = NULL;
	struct store_lease *leases;
	size_t n;

	if (!s->leasing)
		return err_set(e, -EINVAL, "leases change only inside a transaction");
	q = db_stmt(s, ifname ? SQL_LEASES_OF_INTERFACE : SQL_LEASES_OF_CONTAINER);
	if (!q)
		return db_fail(s, e);
	sqlite3_bind_text(q, 1, container, -1, SQLITE_STATIC);
	if (ifname)
		sqlite3_bind_text(q, 2, ifname, -1, SQLITE_STATIC);
	if (collect(s, a, q, &leases, &n) < 0)
		return db_fail(s, e);
	for (size_t i = 0; i < n; i++)
		if (delete(s, &leases[i]) < 0)
			return db_fail(s, e);
	return (int)n;
}

int store_leases(struct store *s, struct arena *a, const char *pool, struct store_lease **ret,
		 size_t *ret_n, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, pool ? SQL_LEASES_OF_POOL : SQL_LEASES);

	if (!q)
		return db_fail(s, e);
	if (pool)
		sqlite3_bind_text(q, 1, pool, -1, SQLITE_STATIC);
	return collect(s, a, q, ret, ret_n) < 0 ? db_fail(s, e) : 0;
}
