/* SPDX-License-Identifier: MIT */
/*
 * lmdb.c -- looks keys up in an LMDB environment, opened read-only.
 *
 * What another process commits is seen by the next look-up: each begins a read transaction anew. The
 * transactions are made at the start and only renewed then, which takes no system call; a few of
 * them, each with a lock, serve all threads (a look-up takes a microsecond). Between look-ups they
 * hold no snapshot, so a writer can reuse its pages.
 *
 * LMDB's lock file is used as it is, for a reader without a slot in it may read pages that a writer
 * reuses. Only a check by root, before anybody made that file, goes without: the file would be
 * root's and the gateway could not open it.
 *
 * LMDB must not have the same files open twice in a process (closing one gives up the locks of both),
 * so a reload asks lmdb_is_current() first.
 *
 * The map is as large as the data can ever get, so that it need not be moved under a reader when a
 * writer lets the file grow. Who cuts the file short under us kills us (SIGBUS): that is said in the
 * manual page.
 *
 * Non-goals: writing, named databases, looking at values.
 */
#include "policy/lmdb-private.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LMDB_MAP_BYTES (sizeof(size_t) > 4 ? 1ull << 38 : 1ull << 30)
#define LMDB_READERS   16
#define LMDB_PATH_MAX  4200 /* a path of the configuration, "/data.mdb" behind it */

struct reader {
	pthread_mutex_t lock;
	MDB_txn *txn;
};

struct lmdb {
	char *path;
	bool is_file; /* the environment is a file, not a folder */
	dev_t device;
	ino_t inode; /* of the data file */
	MDB_env *env;
	MDB_dbi dbi;
	atomic_uint next;
	struct reader readers[LMDB_READERS];
};

static int stat_data(const char *path, bool is_file, struct stat *st)
{
	char data[LMDB_PATH_MAX];
	int n = snprintf(data, sizeof(data), "%s%s", path, is_file ? "" : "/data.mdb");

	if (n < 0 || (size_t)n >= sizeof(data))
		return -ENAMETOOLONG;
	return stat(data, st) == 0 ? 0 : -errno;
}

static bool has_lock_file(const char *path, bool is_file)
{
	char name[LMDB_PATH_MAX];
	int n = snprintf(name, sizeof(name), "%s%s", path, is_file ? "-lock" : "/lock.mdb");

	return n > 0 && (size_t)n < sizeof(name) && access(name, F_OK) == 0;
}

/* A reset read transaction for each reader. LMDB's code. */
static int open_readers(struct lmdb *lmdb)
{
	for (size_t i = 0; i < LMDB_READERS; i++) {
		struct reader *reader = &lmdb->readers[i];
		int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &reader->txn);

		if (rc != 0) {
			reader->txn = NULL;
			return rc;
		}
		mdb_txn_reset(reader->txn);
	}
	return 0;
}

/* LMDB's code. */
static int open_database(struct lmdb *lmdb)
{
	MDB_txn *txn;
	int dead, rc = mdb_reader_check(lmdb->env, &dead); /* slots of a gateway that was killed */

	if (rc == 0)
		rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? open_readers(lmdb) : rc;
}

/* LMDB's code. */
static int open_env(struct lmdb *lmdb)
{
	unsigned flags = MDB_RDONLY | MDB_NOTLS | (lmdb->is_file ? MDB_NOSUBDIR : 0);
	int rc = mdb_env_create(&lmdb->env);

	if (rc != 0) {
		lmdb->env = NULL;
		return rc;
	}
	if (geteuid() == 0 && !has_lock_file(lmdb->path, lmdb->is_file))
		flags |= MDB_NOLOCK;
	rc = mdb_env_set_mapsize(lmdb->env, LMDB_MAP_BYTES);
	if (rc == 0)
		rc = mdb_env_open(lmdb->env, lmdb->path, flags, 0600);
	return rc == 0 ? open_database(lmdb) : rc;
}

int lmdb_open(struct lmdb **out, const char *path, struct err *err)
{
	struct lmdb *lmdb;
	struct stat st;
	bool is_file;
	int rc;

	if (stat(path, &st) != 0)
		return err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
	is_file = !S_ISDIR(st.st_mode);
	rc = stat_data(path, is_file, &st);
	if (rc != 0)
		return err_set(err, "%s: no LMDB environment: data.mdb: %s", path, strerror(-rc));
	if (!S_ISREG(st.st_mode))
		return err_set(err, "%s: no LMDB environment: not a regular file", path);
	lmdb = calloc(1, sizeof(*lmdb));
	if (!lmdb)
		return err_set(err, "%s: %s", path, strerror(ENOMEM));
	for (size_t i = 0; i < LMDB_READERS; i++)
		pthread_mutex_init(&lmdb->readers[i].lock, NULL);
	lmdb->is_file = is_file;
	lmdb->device = st.st_dev;
	lmdb->inode = st.st_ino;
	lmdb->path = strdup(path);
	rc = lmdb->path ? open_env(lmdb) : ENOMEM;
	if (rc != 0) {
		lmdb_close(lmdb);
		return err_set(
			err, "%s: cannot be opened with its lock file: %s", path, mdb_strerror(rc));
	}
	*out = lmdb;
	return 0;
}

void lmdb_close(struct lmdb *lmdb)
{
	if (!lmdb)
		return;
	for (size_t i = 0; i < LMDB_READERS; i++) {
		if (lmdb->readers[i].txn)
			mdb_txn_abort(lmdb->readers[i].txn);
		pthread_mutex_destroy(&lmdb->readers[i].lock);
	}
	if (lmdb->env)
		mdb_env_close(lmdb->env);
	free(lmdb->path);
	free(lmdb);
}

bool lmdb_is_current(const struct lmdb *lmdb)
{
	struct stat st;

	return stat_data(lmdb->path, lmdb->is_file, &st) == 0 && st.st_dev == lmdb->device &&
	       st.st_ino == lmdb->inode;
}

int lmdb_has(struct lmdb *lmdb, struct span key)
{
	unsigned at = atomic_fetch_add_explicit(&lmdb->next, 1, memory_order_relaxed);
	struct reader *reader = &lmdb->readers[at % LMDB_READERS];
	MDB_val name = {.mv_size = key.n, .mv_data = (void *)(uintptr_t)key.p}, value;
	int rc;

	if (key.n == 0 || key.n > (size_t)mdb_env_get_maxkeysize(lmdb->env))
		return 0;
	pthread_mutex_lock(&reader->lock);
	rc = mdb_txn_renew(reader->txn);
	if (rc == 0) {
		rc = mdb_get(reader->txn, lmdb->dbi, &name, &value);
		mdb_txn_reset(reader->txn);
	}
	pthread_mutex_unlock(&reader->lock);
	if (rc == 0)
		return 1;
	return rc == MDB_NOTFOUND ? 0 : rc > 0 ? -rc : -EIO;
}
