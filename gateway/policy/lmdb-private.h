/* SPDX-License-Identifier: MIT */
/* lmdb-private.h -- recipients in an LMDB environment that others write: keys as recipients.c forms
 * addresses. */
#ifndef POSTERN_POLICY_LMDB_PRIVATE_H
#define POSTERN_POLICY_LMDB_PRIVATE_H

#include "base/span.h"

struct lmdb;

/* A folder with data.mdb and lock.mdb, or a file with its lock beside it. -1 and err. */
MUST_USE int lmdb_open(struct lmdb **out, const char *path, struct err *err);
void lmdb_close(struct lmdb *lmdb); /* nobody looks anything up; NULL is fine */

/* Are the files at its path still the ones that are open? */
MUST_USE bool lmdb_is_current(const struct lmdb *lmdb);

/* Any thread. 1: the key is there; 0: it is not; -errno: it cannot be said. */
MUST_USE int lmdb_has(struct lmdb *lmdb, struct span key);

#endif
