/* SPDX-License-Identifier: MIT */
/*
 * store.h -- the spool's directory: made, locked, recovered. For the parent and the control thread;
 * no ring.
 *
 *	DIR/lock		flock(2)ed by the gateway that holds the store; its text is the pid
 *	DIR/NNN/SEQ.seg		shard NNN (decimal), segment SEQ (16 hexadecimal digits, rising)
 *	DIR/large/ID		octets of a message that was too long for the log
 *	DIR/aside/		what the recovery could not read, each with a .why file
 *
 * The parent opens the directory and holds the lock as long as it lives; its children inherit the
 * descriptors and recover the store each time one starts. All names are used relative to the open
 * directory, so that it may lie below folders that the child's user cannot enter.
 */
#ifndef POSTERN_SPOOL_STORE_H
#define POSTERN_SPOOL_STORE_H

#include "config/settings.h"

struct store;

/*
 * Makes DIR (0700, owned by uid:gid when privileged) and what is in it, takes the lock. -1 and err:
 * held by another ("... is in use by pid 4711"), not writable, not a directory. The lock's owner
 * is the open file description: it survives a fork and goes with its last holder.
 */
MUST_USE int store_open(struct store **out, const struct spool_settings *settings, bool privileged,
	uint32_t uid, uint32_t gid, struct err *err);
/* Closes descriptors; the lock goes when every process that has it has closed it. */
void store_close(struct store *store);

/* The open directory, for reading; stays the store's. */
int store_directory(const struct store *store);

struct store_found {
	uint64_t messages; /* still in the queue */
	uint64_t bytes;    /* of them */
	uint64_t segments;
	uint64_t cut;     /* segments with an unacknowledged tail that was cut off */
	uint64_t aside;   /* records set aside */
	uint64_t orphans; /* large files that no record names, removed */
};

/*
 * Reads every segment and builds the queue for `workers` workers, before spool_open(). Runs as the
 * child's user. -1 and err when the directory cannot be read or a segment has a newer format; what
 * is merely damaged is set aside with an event that names file, offset and queue id.
 */
MUST_USE int store_recover(
	struct store *store, uint32_t workers, struct store_found *found, struct err *err);

#endif
