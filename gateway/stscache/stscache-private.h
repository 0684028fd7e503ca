/* SPDX-License-Identifier: MIT */
/*
 * stscache-private.h -- a domain's entry, the table of them, a fetch under way, the file.
 *
 *	entry has        flight   policy   failure
 *	being fetched    yes      maybe    maybe     cannot be evicted
 *	kept             no       yes      maybe     goes when the policy expires
 *	not now          no       no       yes       goes when another try is allowed
 * An entry with none of the three does not stay.
 */
#ifndef POSTERN_STSCACHE_STSCACHE_PRIVATE_H
#define POSTERN_STSCACHE_STSCACHE_PRIVATE_H

#include "stscache/stscache.h"

#include <pthread.h>

#include "base/counter.h"

#define STSCACHE_DOMAIN_MAX (STS_NAME_MAX - (sizeof(STS_POLICY_HOST_PREFIX) - 1))

/* ---- policy.c ---- */

/*
 * Reads a policy's text and makes what the cache keeps, with one holder. *out is NULL if the text is
 * refused, or (with STS_POLICY_OK) if memory is short. The text is copied.
 */
MUST_USE enum sts_policy_error stscache_policy_new(struct stscache_policy **out, const char *domain,
	const char *id, struct span text, uint64_t fetched_real_s, uint32_t *line);

/* ---- table.c: domains in order, and who is next ---- */

enum stscache_heap { STSCACHE_HEAP_EXPIRY, STSCACHE_HEAP_DUE, STSCACHE_HEAPS };

#define STSCACHE_NO_PLACE SIZE_MAX

/* A fetch that failed. */
struct stscache_failure {
	uint64_t again_ms;
	enum stscache_trouble trouble;
	char id[STS_ID_MAX + 1];
	char why[STSCACHE_WHY_MAX];
};

struct stscache_flight;

struct stscache_entry {
	struct stscache_policy *policy;
	struct stscache_failure *failure;
	struct stscache_flight *flight;
	uint64_t key_ms[STSCACHE_HEAPS];
	size_t place[STSCACHE_HEAPS];
	char domain[];
};

struct stscache_table {
	struct stscache_entry **sorted;
	struct stscache_entry **heaps[STSCACHE_HEAPS];
	size_t n;
	size_t heap_n[STSCACHE_HEAPS];
	size_t cap; /* of each of the arrays */
};

struct stscache_entry *stscache_table_find(const struct stscache_table *table, const char *domain);
/* The index of the first domain behind `name`. */
size_t stscache_table_after(const struct stscache_table *table, const char *name);
/* A new, empty entry; the domain is not in the table. NULL: memory is short. */
MUST_USE struct stscache_entry *stscache_table_add(
	struct stscache_table *table, const char *domain);
/* Takes it out and frees it; policy, failure and flight are NULL by now. */
void stscache_table_remove(struct stscache_table *table, struct stscache_entry *entry);
void stscache_table_free(struct stscache_table *table); /* the table is empty of entries */

/* Puts the entry into the heap with this key, or moves it there. */
void stscache_heap_set(struct stscache_table *table, enum stscache_heap which,
	struct stscache_entry *entry, uint64_t key_ms);
void stscache_heap_drop(
	struct stscache_table *table, enum stscache_heap which, struct stscache_entry *entry);
/* The entry with the smallest key, or NULL. */
struct stscache_entry *stscache_heap_first(
	const struct stscache_table *table, enum stscache_heap which);

/* ---- keep.c: what is kept, what goes; under the mutex ---- */

struct stscache_writer {
	pthread_t thread;
	bool started;
	pthread_cond_t cond;
	bool dirty; /* under the cache's mutex, as the next */
	bool closing;
	uint64_t file_bytes; /* of the last file; the thread's */
};

struct stscache {
	struct stscache_settings settings;
	pthread_mutex_t mutex; /* of all that follows */
	struct stscache_table table;
	uint64_t bytes; /* of kept policies */
	unsigned clients_n;
	struct stscache_facts facts; /* .entries, .enforce, .testing: of kept policies */
	struct stscache_writer writer;
};

bool stscache_policy_live(const struct stscache_policy *policy);
/* Takes the caller's count; replaces what was kept. A failure stays: it was of another id. */
void stscache_keep(
	struct stscache *cache, struct stscache_entry *entry, struct stscache_policy *policy);
/* An entry for the domain, NULL: no room can be made, or memory is short. */
MUST_USE struct stscache_entry *stscache_make(struct stscache *cache, const char *domain);
/* Something of the entry changed: gives it its place, or removes it. */
void stscache_settle(struct stscache *cache, struct stscache_entry *entry);
/* Notes a failure; no memory for that: it is forgotten. */
void stscache_fail(struct stscache *cache, struct stscache_entry *entry, const char *id,
	enum stscache_trouble trouble, const char *why);
/* Forgets some of what is over. */
void stscache_sweep(struct stscache *cache);
/* Forgets everything. */
void stscache_empty(struct stscache *cache);

/* ---- flight.c: a fetch, from STSCACHE_ADDRESS to its end ---- */

struct stscache_flight {
	struct stscache *cache;
	struct stscache_entry *entry;
	struct list waiting;     /* questions */
	char id[STS_ID_MAX + 1]; /* of the TXT record that began it */
	char domain[STS_NAME_MAX + 1];
};

struct stscache_client {
	struct stscache *cache;
	void (*wake)(void *ctx);
	void *ctx;
	struct list answered; /* under the mutex */
	struct list turning;
};

MUST_USE struct stscache_flight *stscache_flight_new(
	struct stscache *cache, struct stscache_entry *entry, const char *id);
/* The asker went away before it brought addresses. Under the mutex. */
void stscache_flight_give_up(struct stscache_flight *flight);
/* Sets the question's outcome out of what is kept. Under the mutex. */
void stscache_answer(struct stscache_question *question, struct stscache_policy *policy,
	const struct stscache_failure *failure);

/* ---- file.c: the form of the file ---- */

#define STSCACHE_FILE     "sts-policies"
#define STSCACHE_FILE_MAX ((uint64_t)STSCACHE_BYTES_MAX + 4096)
#define STSCACHE_LINE_MAX 400 /* octets of a record's first line, with its end */

struct stscache_record {
	char domain[STS_NAME_MAX + 1];
	char id[STS_ID_MAX + 1];
	uint64_t fetched_real_s;
	struct span text; /* points into the file's octets */
};

struct stscache_reader {
	struct span rest;
	uint64_t n;                    /* records so far */
	char before[STS_NAME_MAX + 1]; /* the last domain: they ascend */
	bool begun;
	const char *why; /* DAMAGED: a few words */
};

enum stscache_step { STSCACHE_RECORD, STSCACHE_END, STSCACHE_DAMAGED };

MUST_USE enum stscache_step stscache_file_next(
	struct stscache_reader *reader, struct stscache_record *record);
/* Each appends to out; false: no room (STSCACHE_LINE_MAX and the text are enough). */
MUST_USE bool stscache_file_head(struct buf *out);
MUST_USE bool stscache_file_record(const struct stscache_record *record, struct buf *out);
MUST_USE bool stscache_file_end(uint64_t n, struct buf *out);

/* Could this be a mail domain that has a policy host? Lower case only. */
MUST_USE bool stscache_domain_valid(struct span domain);

/* ---- writer.c: the file itself, and the thread that writes it ---- */

MUST_USE int stscache_load(struct stscache *cache, struct err *err);
/* Writes the file now. Not under the mutex, by one thread at a time. 0 or -errno. */
MUST_USE int stscache_save(struct stscache *cache);
MUST_USE int stscache_writer_start(struct stscache *cache, struct err *err);
/* Something that the file should know changed. Under the mutex. */
void stscache_writer_note(struct stscache *cache);
/* Joins the thread; it writes first what is new. */
void stscache_writer_stop(struct stscache *cache);

#endif
