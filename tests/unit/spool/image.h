/* SPDX-License-Identifier: MIT */
/*
 * image.h -- segments made by hand for the tests of format, meta, scan, recover and store: records
 * put together in memory, written to a directory of the test's own. No ring.
 */
#ifndef POSTERN_TESTS_SPOOL_IMAGE_H
#define POSTERN_TESTS_SPOOL_IMAGE_H

#include <criterion/criterion.h>
#include <errno.h>

#include "spool/store-private.h"

#define IMAGE_MAX            (1u << 18)
#define IMAGE_RECIPIENTS_MAX 8
#define IMAGE_SALT           0x5a17a5e1u
#define IMAGE_READS          8
#define IMAGE_LIMIT_S        120 /* as TEST_LIMIT_S */

struct image {
	uint8_t bytes[IMAGE_MAX];
	size_t n;
	uint32_t salt;
};

/* An envelope whose texts are the caller's. */
struct image_envelope {
	struct smtp_envelope envelope;
	struct smtp_recipient recipients[IMAGE_RECIPIENTS_MAX];
};

struct image_message {
	uint64_t batch;
	uint64_t id;
	uint8_t flags;
	const char *from;
	const char *to;       /* separated by spaces */
	const char *body;     /* in the log, unless large */
	uint64_t large_n;     /* octets of a large one */
	const uint8_t *fates; /* NULL: pending */
};

void image_envelope(struct image_envelope *out, const char *from, const char *to);

void image_begin(struct image *image, uint32_t shard, uint64_t seq);
/* One that is written in pages, and the end of a commit in it. */
void image_begin_pages(struct image *image, uint32_t shard, uint64_t seq);
void image_page(struct image *image);
/* These answer where the record begins. */
size_t image_record(
	struct image *image, struct spool_record *record, struct span meta, struct span body);
size_t image_message(struct image *image, const struct image_message *message);
size_t image_attempt(
	struct image *image, uint64_t batch, uint64_t id, const struct spool_attempt *attempt);
size_t image_finished(struct image *image, uint64_t batch, uint64_t id);

/* A store of the test's own, below a new directory in /tmp. */
extern char image_dir[64];
extern struct spool_settings image_settings;
void image_store_make(void);
void image_store_remove(void);
void image_write(const char *path, struct span bytes); /* path below the store; makes folders */
void image_save(const struct image *image, const char *path);
bool image_exists(const char *path);
/* The whole file, with a NUL behind it, in memory that lasts for IMAGE_READS calls. */
struct span image_read(const char *path);
unsigned image_files(const char *path); /* how many names a folder has */

/* stderr, where events go, is caught in a file of the store; image_log() is what it holds. */
void image_log_catch(void);
const char *image_log(void);

/* Runs `call` in a child that holds the store `image_dir` and waits until it is held; the child
 * ends when image_holder_end() is called. */
pid_t image_holder(void);
void image_holder_end(pid_t pid);

#endif
