// SPDX-License-Identifier: Apache-2.0
/*
 * state.c: wanted state in a SQLite file.
 *
 * A rollback journal with synchronous=EXTRA: a change is on the disk, its journal's removal too,
 * before state_put() returns, and a crash at any moment leaves the old value or the new one.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

#include "store/store.h"

#define BUSY_MS 5000

struct state {
	sqlite3 *db;
	char *path;
};

static void statement_free(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
}

static void state_done(struct state **st)
{
	state_free(*st);
}

/* ---- errors --------------------------------------------------------------------------------- */

static int errno_of(sqlite3 *db, int rc)
{
	int sys = sqlite3_system_errno(db);

	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	default:
		return sys ? -sys : -EIO;
	}
}

static int fail(const struct state *st, int rc, struct skep_err *err)
{
	static const struct {
		int rc;
		const char *reason;
	} reasons[] = {
		{-ENOSPC, "the disk is full"},
		{-EROFS, "the file system is read-only"},
		{-EBUSY, "another process holds it"},
		{-EBADMSG, "the file is damaged"},
	};
	int error = errno_of(st->db, rc);
	unsigned i;

	for (i = 0; i < array_size(reasons); i++) {
		if (reasons[i].rc == error)
			return skep_fail(err, error, "%s: %s", st->path, reasons[i].reason);
	}
	return skep_fail(err, error, "%s: %s", st->path, sqlite3_errstr(rc));
}

/* ---- opening -------------------------------------------------------------------------------- */

static int make_dir(const char *path, mode_t mode, struct skep_err *err)
{
	if (mkdir(path, mode) && errno != EEXIST)
		return skep_fail(err, -errno, "cannot make %s: %s", path, strerror(errno));
	return 0;
}

/* Makes a directory and what it stands in. */
static int make_dirs(const char *dir, struct skep_err *err)
{
	cleanup(mem_free) char *path = strdup(dir);
	char *slash;
	int rc = 0;

	if (!path)
		return skep_fail(err, -ENOMEM, "out of memory");
	for (slash = strchr(path, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (*path && slash[1])
			rc = make_dir(path, 0755, err);
		*slash = '/';
	}
	return rc ? rc : make_dir(path, 0700, err);
}

/* SQLite would open what it may not write for reading only, and make a new file readable to all. */
static int make_file(const char *path, struct skep_err *err)
{
	cleanup(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600))
		return skep_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	return 0;
}

/* Return: an SQLite code; SQLITE_CORRUPT where the check says anything but "ok". */
static int check(sqlite3 *db)
{
	cleanup(statement_free) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "pragma quick_check(1)", -1, &st, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return rc;
	return strcmp((const char *)sqlite3_column_text(st, 0), "ok") ? SQLITE_CORRUPT : SQLITE_OK;
}

static int begin(struct state *st)
{
	int rc = sqlite3_open_v2(st->path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
				 NULL);

	if (rc != SQLITE_OK)
		return rc;
	sqlite3_extended_result_codes(st->db, 1);
	sqlite3_busy_timeout(st->db, BUSY_MS);
	rc = check(st->db);
	if (rc != SQLITE_OK)
		return rc;
	return sqlite3_exec(st->db,
			    "pragma journal_mode = delete; pragma synchronous = extra;"
			    "create table if not exists resource(kind text not null, name text not"
			    " null, json text not null, primary key(kind, name)) without rowid",
			    NULL, NULL, NULL);
}

static int rename_beside(const char *path, const char *aside, const char *suffix)
{
	cleanup(mem_free) char *from = NULL, *to = NULL;

	if (asprintf(&from, "%s%s", path, suffix) < 0 || asprintf(&to, "%s%s", aside, suffix) < 0)
		return -ENOMEM;
	return rename(from, to) && errno != ENOENT ? -errno : 0;
}

/* Puts a damaged file, and a journal that belongs to it, out of the way. */
static int set_aside(struct state *st, struct skep_err *err)
{
	cleanup(mem_free) char *aside = NULL;
	int rc;

	sqlite3_close(take(st->db));
	if (asprintf(&aside, "%s.bad-%lld", st->path, (long long)time(NULL)) < 0)
		return skep_fail(err, -ENOMEM, "out of memory");
	rc = rename_beside(st->path, aside, "");
	if (!rc)
		rc = rename_beside(st->path, aside, "-journal");
	if (rc)
		return skep_fail(err, rc, "%s is damaged and cannot be set aside: %s", st->path,
				 strerror(-rc));
	skep_fail(err, 0, "%s was damaged: it is now %s, and a new one was begun", st->path, aside);
	return make_file(st->path, err);
}

static bool damaged(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

int state_open(struct state **out, const char *dir, struct skep_err *err)
{
	cleanup(state_done) struct state *st = calloc(1, sizeof(*st));
	int rc;

	if (!st || asprintf(&st->path, "%s/state.db", dir) < 0)
		return skep_fail(err, -ENOMEM, "out of memory");
	rc = make_dirs(dir, err);
	if (!rc)
		rc = make_file(st->path, err);
	if (rc)
		return rc;
	rc = begin(st);
	if (damaged(rc)) {
		rc = set_aside(st, err);
		if (rc)
			return rc;
		rc = begin(st);
	}
	if (rc != SQLITE_OK)
		return fail(st, rc, err);
	*out = take(st);
	return 0;
}

void state_free(struct state *st)
{
	if (!st)
		return;
	sqlite3_close(st->db);
	free(st->path);
	free(st);
}

/* ---- resources ------------------------------------------------------------------------------ */

/* Prepares @sql with kind, name and json as ?1, ?2 and ?3; NULL ones are not bound. */
static int prepare(const struct state *st, sqlite3_stmt **out, const char *sql, const char *kind,
		   const char *name, const char *json)
{
	const char *values[] = {kind, name, json};
	int rc = sqlite3_prepare_v2(st->db, sql, -1, out, NULL);
	unsigned i;

	for (i = 0; i < array_size(values) && rc == SQLITE_OK; i++) {
		if (values[i])
			rc = sqlite3_bind_text(*out, (int)i + 1, values[i], -1, SQLITE_STATIC);
	}
	return rc;
}

int state_put(struct state *st, const char *kind, const char *name, const char *json,
	      struct skep_err *err)
{
	const char *sql = json ? "insert into resource values(?1, ?2, ?3)"
				 " on conflict do update set json = ?3"
			       : "delete from resource where kind = ?1 and name = ?2";
	cleanup(statement_free) sqlite3_stmt *put = NULL;
	int rc = prepare(st, &put, sql, kind, name, json);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(put);
	return rc == SQLITE_DONE ? 0 : fail(st, rc, err);
}

int state_get(struct state *st, const char *kind, const char *name, char **json,
	      struct skep_err *err)
{
	cleanup(statement_free) sqlite3_stmt *get = NULL;
	int rc = prepare(st, &get, "select json from resource where kind = ?1 and name = ?2", kind,
			 name, NULL);
	char *copy;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(get);
	if (rc == SQLITE_DONE)
		return skep_fail(err, -ENOENT, "there is no %s %s", kind, name);
	if (rc != SQLITE_ROW)
		return fail(st, rc, err);
	copy = strdup((const char *)sqlite3_column_text(get, 0) ?: "");
	if (!copy)
		return skep_fail(err, -ENOMEM, "out of memory");
	*json = copy;
	return 0;
}

int state_each(struct state *st, const char *kind,
	       int (*fn)(void *arg, const char *name, const char *json), void *arg,
	       struct skep_err *err)
{
	cleanup(statement_free) sqlite3_stmt *each = NULL;
	int rc = prepare(st, &each, "select name, json from resource where kind = ?1 order by name",
			 kind, NULL, NULL);
	int stop = 0;

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(each);
		if (rc != SQLITE_ROW)
			break;
		stop = fn(arg, (const char *)sqlite3_column_text(each, 0),
			  (const char *)sqlite3_column_text(each, 1));
		if (stop)
			return stop;
	}
	return rc == SQLITE_DONE ? 0 : fail(st, rc, err);
}
