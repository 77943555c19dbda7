/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the connection, its statements, and SQLite's failures in words. */
#ifndef KVRAIL_STORE_DB_H
#define KVRAIL_STORE_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "store/store.h"

enum db_sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVEPOINT,
	SQL_SAVEPOINT_RELEASE,
	SQL_SAVEPOINT_ROLLBACK,
	SQL_VERSION_NEXT,
	SQL_OBJECT_PUT,
	SQL_OBJECT_GET,
	SQL_OBJECT_LIST,
	SQL_OBJECT_LIST_NS,
	SQL_OBJECT_DELETE,
	SQL_LEASE_OF_POD,
	SQL_LEASE_AT,
	SQL_LEASE_INSERT,
	SQL_LEASE_REFRESH,
	SQL_LEASE_DELETE,
	SQL_LEASES_OF_CONTAINER,
	SQL_LEASES_OF_INTERFACE,
	SQL_LEASES,
	SQL_LEASES_OF_POOL,
	SQL_RUN_AT,
	SQL_RUN_INSERT,
	SQL_RUN_RESIZE,
	SQL_RUN_DELETE,
	SQL_COUNT,
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[SQL_COUNT]; /* prepared when first used */
	char *path;
	pthread_mutex_t lock; /* recursive: held from store_lease_begin() to commit or rollback */
	bool leasing;	      /* inside a lease transaction */
};

/* The statement, reset and without bindings; NULL when SQLite cannot prepare it (db_fail() says why). */
sqlite3_stmt *db_stmt(struct store *s, enum db_sql which);
/* Run a statement that yields no row. */
int db_exec(struct store *s, enum db_sql which);
/* The connection's last failure as a negative errno, in words that name the file and the way out. */
int db_fail(struct store *s, struct err *e);
/* A text column, in @a; "" for NULL. */
const char *db_text(struct arena *a, sqlite3_stmt *q, int column);

/* For cleanup attributes: the lock of a store. */
static inline struct store *db_lock(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	return s;
}

static inline void db_unlockp(struct store **s)
{
	pthread_mutex_unlock(&(*s)->lock);
}
#define _cleanup_unlock_ __attribute__((unused)) _cleanup_(db_unlockp)

/* For cleanup attributes: a statement that was stepped keeps its read lock until it is reset. */
static inline void db_resetp(sqlite3_stmt **q)
{
	sqlite3_reset(*q);
}
#define _cleanup_reset_ _cleanup_(db_resetp)

#endif
