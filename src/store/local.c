/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local store: one SQLite file in WAL mode. synchronous=FULL syncs the log at each commit: with less, a
 * power cut may take back a commit that was already answered, and with it an address that a pod now uses.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/db.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 5000 /* another process, say an administrator's sqlite3, holds the file */

/*
 * Runs are the maximal runs of taken addresses of a pool (space 0, name its pool) and of a domain of
 * overlapping pools (space 1, name its network_name): the lowest free address is the one after the run
 * that covers the first, however many leases there are. Leases and runs change in one transaction.
 */
static const char schema[] =
	"CREATE TABLE counter(n INTEGER NOT NULL);"
	"INSERT INTO counter VALUES(0);"
	"CREATE TABLE objects(kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,"
	" version INTEGER NOT NULL, PRIMARY KEY(kind, namespace, name)) WITHOUT ROWID;"
	"CREATE TABLE leases(pool TEXT NOT NULL, ip BLOB NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,"
	" podref TEXT NOT NULL, overlap INTEGER NOT NULL, domain TEXT NOT NULL, PRIMARY KEY(pool, ip)) WITHOUT ROWID;"
	"CREATE INDEX leases_pod ON leases(podref, ifname, pool);"
	"CREATE INDEX leases_container ON leases(container, ifname);"
	"CREATE TABLE runs(space INTEGER NOT NULL, name TEXT NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,"
	" PRIMARY KEY(space, name, first)) WITHOUT ROWID;";

#define LEASE_COLUMNS "pool, ip, container, ifname, podref, overlap, domain"

static const char *const sql[SQL_COUNT] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_SAVEPOINT] = "SAVEPOINT change",
	[SQL_SAVEPOINT_RELEASE] = "RELEASE change",
	[SQL_SAVEPOINT_ROLLBACK] = "ROLLBACK TO change",
	[SQL_VERSION_NEXT] = "UPDATE counter SET n = n + 1",
	[SQL_OBJECT_PUT] =
		"INSERT INTO objects VALUES(?1, ?2, ?3, ?4, (SELECT n FROM counter)) ON CONFLICT DO UPDATE"
		" SET json = excluded.json, version = excluded.version WHERE json IS NOT excluded.json",
	[SQL_OBJECT_GET] =
		"SELECT kind, namespace, name, json, version FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
	[SQL_OBJECT_LIST] =
		"SELECT kind, namespace, name, json, version FROM objects WHERE kind = ?1 ORDER BY namespace, name",
	[SQL_OBJECT_LIST_NS] =
		"SELECT kind, namespace, name, json, version FROM objects WHERE kind = ?1 AND namespace = ?2 ORDER BY name",
	[SQL_OBJECT_DELETE] = "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
	/* without the hint SQLite walks the pool, which is in the order asked for */
	[SQL_LEASE_OF_POD] =
		"SELECT " LEASE_COLUMNS
		" FROM leases INDEXED BY leases_pod WHERE podref = ?2 AND ifname = ?3 AND pool = ?1"
		" ORDER BY ip LIMIT 1",
	[SQL_LEASE_AT] = "SELECT " LEASE_COLUMNS " FROM leases WHERE pool = ?1 AND ip = ?2",
	[SQL_LEASE_INSERT] =
		"INSERT INTO leases(" LEASE_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_LEASE_REFRESH] =
		"UPDATE leases SET container = ?3, overlap = ?4, domain = ?5 WHERE pool = ?1 AND ip = ?2",
	[SQL_LEASE_DELETE] = "DELETE FROM leases WHERE pool = ?1 AND ip = ?2",
	[SQL_LEASES_OF_CONTAINER] = "SELECT " LEASE_COLUMNS " FROM leases WHERE container = ?1",
	[SQL_LEASES_OF_INTERFACE] =
		"SELECT " LEASE_COLUMNS " FROM leases WHERE container = ?1 AND ifname = ?2",
	[SQL_LEASES] = "SELECT " LEASE_COLUMNS " FROM leases ORDER BY pool, ip",
	[SQL_LEASES_OF_POOL] = "SELECT " LEASE_COLUMNS " FROM leases WHERE pool = ?1 ORDER BY ip",
	[SQL_RUN_AT] =
		"SELECT first, last FROM runs WHERE space = ?1 AND name = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1",
	[SQL_RUN_INSERT] = "INSERT INTO runs VALUES(?1, ?2, ?3, ?4)",
	[SQL_RUN_RESIZE] = "UPDATE runs SET last = ?4 WHERE space = ?1 AND name = ?2 AND first = ?3",
	[SQL_RUN_DELETE] = "DELETE FROM runs WHERE space = ?1 AND name = ?2 AND first = ?3",
};

static int damaged(const char *path, const char *what, struct err *e)
{
	return err_set(e, -EBADMSG,
		       "%s is damaged (%s): stop kvrail, move it and the files %s-wal and %s-shm away, delete the pods that "
		       "have addresses, then start again; networks and policies must be applied again",
		       path, what, path, path);
}

int db_fail(struct store *s, struct err *e)
{
	int cause = sqlite3_system_errno(s->db);

	switch (sqlite3_errcode(s->db)) {
	case SQLITE_FULL:
		return err_set(e, -ENOSPC,
			       "%s: no space left on its disk: free some and try again; nothing was changed",
			       s->path);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return damaged(s->path, sqlite3_errmsg(s->db), e);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(e, -EBUSY, "%s is held by another process: end it and try again", s->path);
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return err_errno(e, cause ? -cause : -EACCES, "%s cannot be written", s->path);
	case SQLITE_NOMEM:
		return err_set(e, -ENOMEM, "%s: out of memory", s->path);
	case SQLITE_IOERR:
		if (cause == ENOSPC)
			return err_set(e, -ENOSPC,
				       "%s: no space left on its disk: free some and try again; nothing was changed",
				       s->path);
		return err_errno(e, cause ? -cause : -EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	default:
		return err_set(e, -EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	}
}

sqlite3_stmt *db_stmt(struct store *s, enum db_sql which)
{
	if (!s->stmts[which])
		sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &s->stmts[which], NULL);
	if (s->stmts[which]) {
		sqlite3_reset(s->stmts[which]);
		sqlite3_clear_bindings(s->stmts[which]);
	}
	return s->stmts[which];
}

int db_exec(struct store *s, enum db_sql which)
{
	_cleanup_reset_ sqlite3_stmt *q = db_stmt(s, which);

	return q && sqlite3_step(q) == SQLITE_DONE ? 0 : -EIO;
}

const char *db_text(struct arena *a, sqlite3_stmt *q, int column)
{
	const char *text = (const char *)sqlite3_column_text(q, column);

	return arena_strdup(a, text ? text : "");
}

/* One value of a pragma or query that yields one, as text of the caller's arena; NULL on failure. */
static const char *ask(struct store *s, struct arena *a, const char *query)
{
	sqlite3_stmt *q = NULL;
	const char *answer = NULL;

	if (sqlite3_prepare_v2(s->db, query, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
		answer = db_text(a, q, 0);
	sqlite3_finalize(q);
	return answer;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(s->stmts[i]);
	sqlite3_close(s->db);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
	return NULL;
}

static void store_closep(struct store **s)
{
	store_close(*s);
}

static struct store *store_new(const char *path)
{
	struct store *s = calloc(1, sizeof(*s));
	pthread_mutexattr_t attr;

	if (!s || !(s->path = strdup(path)))
		abort();
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return s;
}

static int open_db(struct store *s, const char *path, struct err *e)
{
	/* without CREATE: the file is there or something is wrong; the mutex is ours */
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return db_fail(s, e);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	return 0;
}

static int sync_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	_cleanup_close_ int fd = -1;
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash)
		slash[slash == folder] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

/*
 * Make the file beside its place and rename it: a store.db that is there was once whole, so that an empty or
 * short one is damage and not a beginning. What a lost store.db left behind in its log belongs to no file.
 */
static int create_db(const char *path, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_(store_closep) struct store *s = NULL;
	const char *fresh = arena_printf(a, "%s.new", path);
	_cleanup_close_ int fd = -1;
	int r;

	unlink(arena_printf(a, "%s-journal", fresh));
	unlink(arena_printf(a, "%s-wal", path));
	unlink(arena_printf(a, "%s-shm", path));
	unlink(fresh);
	fd = open(fresh, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "%s cannot be made", path);
	s = store_new(fresh);
	r = open_db(s, fresh, e);
	if (r < 0)
		return r;
	if (sqlite3_exec(s->db,
			 arena_printf(a, "PRAGMA synchronous=FULL; BEGIN; %s PRAGMA user_version=%d; COMMIT",
				      schema, SCHEMA_VERSION),
			 NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(s, e);
	if (rename(fresh, path) < 0)
		return err_errno(e, -errno, "%s cannot be made", path);
	r = sync_folder(path);
	return r < 0 ? err_errno(e, r, "%s cannot be made durable", path) : 0;
}

static int check_db(struct store *s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *answer = ask(s, a, "PRAGMA user_version");
	int version;

	if (!answer)
		return db_fail(s, e);
	version = atoi(answer);
	if (version > SCHEMA_VERSION)
		return err_set(e, -ENOTSUP,
			       "%s was written by a newer kvrail (its format is %d, this program knows %d): start that "
			       "version, or move the file away",
			       s->path, version, SCHEMA_VERSION);
	if (version < 1)
		return damaged(s->path, "it is no store of kvrail", e);
	answer = ask(s, a, "PRAGMA quick_check(1)");
	if (!answer)
		return db_fail(s, e);
	if (strcmp(answer, "ok"))
		return damaged(s->path, answer, e);
	answer = ask(s, a, "PRAGMA journal_mode=WAL");
	if (!answer || sqlite3_exec(s->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(s, e);
	if (strcmp(answer, "wal"))
		return err_set(e, -EIO,
			       "%s: its file system cannot hold SQLite's write-ahead log: choose a local disk",
			       s->path);
	return 0;
}

int store_open_local(const char *path, struct store **ret, struct err *e)
{
	_cleanup_(store_closep) struct store *s = NULL;
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_errno(e, -errno, "%s cannot be read", path);
		r = create_db(path, e);
	} else if (st.st_size == 0) {
		r = damaged(path, "it is empty", e);
	}
	if (r < 0)
		return r;
	s = store_new(path);
	r = open_db(s, path, e);
	if (r == 0)
		r = check_db(s, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}
