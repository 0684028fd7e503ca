/* SPDX-License-Identifier: MIT */
/* postern-spool.h -- what the files of postern-spool share: the store as it was read, and how it is
 * put on paper. */
#ifndef POSTERN_TOOLS_POSTERN_SPOOL_H
#define POSTERN_TOOLS_POSTERN_SPOOL_H

#include <stdio.h>

#include "spool/store-private.h"

extern const char postern_version[]; /* gateway/version.c */

enum view_state {
	VIEW_STATE_DUE,      /* is tried as soon as the gateway runs */
	VIEW_STATE_DEFERRED, /* waits for its time */
	VIEW_STATE_HELD,     /* by the operator */
	VIEW_STATE_DONE,     /* every recipient is; the record that says "finished" is not there */
	VIEW_STATE_NO_FILE,  /* its large file is missing or has another size */
};

/* A message of the queue and where it stands. */
struct view_message {
	struct spool_item *item;
	uint32_t shard;
	uint64_t seq;
	enum view_state state;
};

struct view_damage {
	char file[3 * STORE_NAME_MAX]; /* below the store's directory */
	uint64_t offset;
	uint64_t n;
	uint64_t id; /* 0: not known */
	const char *what;
	bool tail; /* of a newest batch: the next start cuts it off */
	uint32_t shard;
	uint64_t seq;
};

struct view {
	const char *directory;
	int dir;
	int large;    /* -1: none */
	long held_by; /* pid of the gateway that holds the lock; 0: none */
	uint64_t now_s;
	struct view_message *messages; /* by id */
	size_t messages_n, messages_room;
	struct view_damage *damages;
	size_t damages_n, damages_room;
	uint64_t shards, segments, records, octets, blank, large_files, orphans;
};

/* Reads the whole store, every checksum of it; changes nothing. -1 and err when it cannot be read:
 * no store, no permission, a newer format. view_close() in any case. */
MUST_USE int view_open(struct view *view, const char *directory, struct err *err);
void view_close(struct view *view);
const struct view_message *view_find(const struct view *view, uint64_t id); /* NULL: none */
/* A descriptor to read the message from, with *offset of its first octet. -errno. */
MUST_USE int view_body(
	const struct view *view, const struct view_message *message, uint64_t *offset);

/* Print on stdout. show_body answers 0 or -errno. */
void show_list(const struct view *view, bool json);
MUST_USE int show_message(const struct view *view, const struct view_message *message, bool json);
MUST_USE int show_body(const struct view *view, const struct view_message *message);
void show_verify(const struct view *view, bool json);

#endif
