/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as JSON text under (kind, namespace, name). */
#include "store/db.h"

static sqlite3_stmt *bind_key(struct store *s, enum db_sql which, const char *kind, const char *ns,
			      const char *name)
{
	sqlite3_stmt *q = db_stmt(s, which);

	if (!q)
		return NULL;
	sqlite3_bind_text(q, 1, kind, -1, SQLITE_STATIC);
	if (ns)
		sqlite3_bind_text(q, 2, ns, -1, SQLITE_STATIC);
	if (name)
		sqlite3_bind_text(q, 3, name, -1, SQLITE_STATIC);
	return q;
}

static void read_object(sqlite3_stmt *q, struct arena *a, struct store_object *o)
{
	o->kind = db_text(a, q, 0);
	o->namespace = db_text(a, q, 1);
	o->name = db_text(a, q, 2);
	o->json = db_text(a, q, 3);
	o->version = (uint64_t)sqlite3_column_int64(q, 4);
}

/* 1 when something was there to change, 0 when not. */
static int change(struct store *s, const struct store_object *o)
{
	_cleanup_reset_ sqlite3_stmt *q = NULL;

	if (o->json && db_exec(s, SQL_VERSION_NEXT) < 0)
		return -EIO;
	q = bind_key(s, o->json ? SQL_OBJECT_PUT : SQL_OBJECT_DELETE, o->kind,
		     o->namespace ? o->namespace : "", o->name);
	if (q && o->json)
		sqlite3_bind_text(q, 4, o->json, -1, SQLITE_STATIC);
	if (!q || sqlite3_step(q) != SQLITE_DONE)
		return -EIO;
	return sqlite3_changes(s->db) > 0;
}

int store_apply(struct store *s, const struct store_object *changes, size_t n, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	int r = db_exec(s, SQL_SAVEPOINT), changed = 0;

	if (r < 0)
		return db_fail(s, e);
	for (size_t i = 0; i < n && r >= 0; i++) {
		r = change(s, &changes[i]);
		changed += r > 0;
	}
	/* RELEASE of the outermost savepoint is the commit */
	if (r >= 0)
		r = db_exec(s, SQL_SAVEPOINT_RELEASE);
	if (r < 0) {
		r = db_fail(s, e);
		if (!sqlite3_get_autocommit(s->db)) {
			db_exec(s, SQL_SAVEPOINT_ROLLBACK);
			db_exec(s, SQL_SAVEPOINT_RELEASE);
		}
		return r;
	}
	return changed;
}

int store_get(struct store *s, struct arena *a, const char *kind, const char *ns, const char *name,
	      struct store_object *ret, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_reset_ sqlite3_stmt *q = bind_key(s, SQL_OBJECT_GET, kind, ns ? ns : "", name);
	int r = q ? sqlite3_step(q) : SQLITE_ERROR;

	if (r == SQLITE_DONE)
		return err_set(e, -ENOENT, "there is no %s %s%s%s", kind, ns ? ns : "",
			       ns && *ns ? "/" : "", name);
	if (r != SQLITE_ROW)
		return db_fail(s, e);
	read_object(q, a, ret);
	return 0;
}

int store_list(struct store *s, struct arena *a, const char *kind, const char *ns, struct store_object **ret,
	       size_t *ret_n, struct err *e)
{
	_cleanup_unlock_ struct store *locked = db_lock(s);
	_cleanup_reset_ sqlite3_stmt *q =
		bind_key(s, ns ? SQL_OBJECT_LIST_NS : SQL_OBJECT_LIST, kind, ns, NULL);
	struct store_object *objects = NULL;
	size_t n = 0;
	int r = SQLITE_ERROR;

	while (q && (r = sqlite3_step(q)) == SQLITE_ROW) {
		struct store_object *o = arena_push(a, &objects, &n, sizeof(*o));

		read_object(q, a, o);
	}
	if (r != SQLITE_DONE)
		return db_fail(s, e);
	*ret = objects;
	*ret_n = n;
	return 0;
}

int store_put(struct store *s, const char *kind, const char *ns, const char *name, const char *json,
	      struct err *e)
{
	struct store_object o = { .kind = kind, .namespace = ns, .name = name, .json = json };
	int r = store_apply(s, &o, 1, e);

	return r < 0 ? r : 0;
}
