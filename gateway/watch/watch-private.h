/* SPDX-License-Identifier: MIT */
/* watch-private.h -- what is counted, and who may touch it: all of it under watch->lock. */
#ifndef POSTERN_WATCH_PRIVATE_H
#define POSTERN_WATCH_PRIVATE_H

#include <pthread.h>

#include "base/list.h"
#include "watch/watch.h"

#define WATCH_DAY_S        86400
#define WATCH_DAY_BUCKETS  256
#define WATCH_OTHERS       "(others)"
#define WATCH_FILE         "watch"
#define WATCH_FILE_NEW     "watch.new"
#define WATCH_FILE_DAMAGED "watch.damaged"

enum watch_kind {
	WATCH_KIND_DOMAIN = 'd',  /* a recipient's, in a day; a sender's, in the memory */
	WATCH_KIND_HOST = 'h',    /* a name that was asked for by SNI; "-": none */
	WATCH_KIND_NETWORK = 'n', /* a sender's */
};

enum { WATCH_CLEAR, WATCH_TLS, WATCH_WAYS };

/* A name on a day. */
struct watch_row {
	struct watch_row *next; /* in its bucket */
	uint64_t hash;
	uint64_t messages[WATCH_WAYS];
	uint64_t handshakes; /* that were completed */
	uint64_t failures[WATCH_FAILURES];
	uint8_t peers[WATCH_FAILURES][WATCH_ADDRESS]; /* the last one each */
	uint8_t kind;
	char name[];
};

struct watch_day {
	uint32_t day; /* since 1970; 0: not used */
	uint32_t rows_n;
	uint64_t messages[WATCH_WAYS];
	uint64_t handshakes;
	uint64_t failures[WATCH_FAILURES];
	uint64_t downgrades;
	struct watch_row *rows[WATCH_DAY_BUCKETS];
};

struct watch_sender {
	struct list node;          /* in watch->senders_seen, the last one seen at the end */
	struct watch_sender *next; /* in its bucket */
	uint64_t hash;
	uint64_t messages[WATCH_WAYS];
	uint64_t downgrades; /* days on which it came in clear after TLS */
	uint32_t first_day;
	uint32_t days[WATCH_WAYS]; /* the last one each; 0: never */
	uint32_t downgrade_day;
	uint8_t kind;
	char name[];
};

struct watch {
	const struct watch_settings *settings;
	int dir; /* -1: nothing is kept */
	pthread_mutex_t lock;
	uint64_t seed;
	uint32_t since_day;
	bool changed;
	uint32_t reported_day;  /* the newest whose report is written */
	struct watch_day *days; /* [settings->days], by day modulo */
	struct watch_sender **senders;
	uint32_t senders_mask;
	uint32_t senders_n;
	struct list senders_seen;
};

static inline struct watch_sender *watch_sender_of(const struct list *node)
{
	return container_of(node, struct watch_sender, node);
}

/* The day it was last seen. */
static inline uint32_t watch_sender_seen(const struct watch_sender *sender)
{
	return sender->days[WATCH_TLS] > sender->days[WATCH_CLEAR] ? sender->days[WATCH_TLS]
								   : sender->days[WATCH_CLEAR];
}

uint32_t watch_today(void);
/* The day's counts, NULL if none are kept. */
struct watch_day *watch_day_find(struct watch *watch, uint32_t day);
/* The same, made where it is missing (an older day goes for it); NULL: too old. */
struct watch_day *watch_day_get(struct watch *watch, uint32_t day);
/* A day's row of that name, which is clean, or "(others)"'s; NULL: memory is short. */
struct watch_row *watch_row_get(
	struct watch *watch, struct watch_day *day, enum watch_kind kind, const char *name);
/* The sender of that name, made where it is missing; moved to the end of senders_seen. */
struct watch_sender *watch_sender_get(
	struct watch *watch, enum watch_kind kind, const char *name, uint32_t today);
void watch_sender_drop(struct watch *watch, struct watch_sender *sender);
void watch_forget_all(struct watch *watch);

/* A peer's name as it is kept: lower case, printable, cut; "-" for an empty one. */
void watch_name_clean(struct span name, char out[WATCH_NAME_MAX + 1]);

/* ---- file.c ---- */

/* Reads the file into an empty watch. -EBADMSG: it is damaged, and the watch is to be emptied;
 * -ENOENT: there is none. */
MUST_USE int watch_file_read(struct watch *watch);
/* 0 or -errno. Takes the lock itself, for a slice at a time. */
MUST_USE int watch_file_write(struct watch *watch);

#endif
