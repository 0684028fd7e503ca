/* SPDX-License-Identifier: MIT */
/* image.c -- see image.h. */
#include "image.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "tests/lib/unit.h"

char image_dir[64];
struct spool_settings image_settings;
static int holder_pipe[2];

void image_envelope(struct image_envelope *out, const char *from, const char *to)
{
	memset(out, 0, sizeof(*out));
	out->envelope.reverse_path.text = span_str(from);
	list_init(&out->envelope.recipients);
	while (*to != '\0') {
		struct smtp_recipient *recipient = &out->recipients[out->envelope.recipients_n++];
		size_t n = strcspn(to, " ");

		recipient->address.text = span_of(to, n);
		list_push_back(&out->envelope.recipients, &recipient->node);
		to += n + (to[n] == ' ');
	}
}

void image_begin(struct image *image, uint32_t shard, uint64_t seq)
{
	struct spool_segment_header header = {
		.version = 1, .shard = shard, .seq = seq, .created_s = 1700000000};

	memset(image, 0, sizeof(*image));
	image->salt = header.salt = IMAGE_SALT;
	spool_segment_header_write(image->bytes, &header);
	image->n = SPOOL_SEGMENT_HEADER;
}

void image_begin_pages(struct image *image, uint32_t shard, uint64_t seq)
{
	struct spool_segment_header header = {.version = SPOOL_FORMAT_VERSION,
		.shard = shard,
		.seq = seq,
		.created_s = 1700000000,
		.salt = IMAGE_SALT,
		.page = SPOOL_PAGE};

	memset(image, 0, sizeof(*image));
	image->salt = IMAGE_SALT;
	spool_segment_header_write(image->bytes, &header);
	image->n = SPOOL_PAGE;
}

void image_page(struct image *image)
{
	image->n = (image->n + SPOOL_PAGE - 1) / SPOOL_PAGE * SPOOL_PAGE;
	cr_assert(image->n <= IMAGE_MAX);
}

size_t image_record(
	struct image *image, struct spool_record *record, struct span meta, struct span body)
{
	size_t at = image->n;

	record->meta_n = (uint32_t)meta.n;
	record->payload_crc = crc32c(crc32c(0, meta), body);
	record->salt = image->salt;
	cr_assert(at + SPOOL_RECORD_HEADER + meta.n + body.n + 8 < IMAGE_MAX);
	spool_record_write(image->bytes + at, record);
	memcpy(image->bytes + at + SPOOL_RECORD_HEADER, meta.p, meta.n);
	if (body.n > 0)
		memcpy(image->bytes + at + SPOOL_RECORD_HEADER + meta.n, body.p, body.n);
	image->n += spool_record_bytes(record);
	return at;
}

size_t image_message(struct image *image, const struct image_message *message)
{
	struct spool_record record = {
		.type = SPOOL_RECORD_MESSAGE,
		.flags = message->flags,
		.batch = message->batch,
		.id = message->id,
		.real_s = 1700000001,
	};
	struct span body = span_str(message->body != NULL ? message->body : "");
	struct image_envelope envelope;
	uint8_t meta[4096];
	struct span written;

	image_envelope(&envelope, message->from, message->to);
	written = span_of(meta, spool_meta_bytes(&envelope.envelope));
	cr_assert(written.n <= sizeof(meta));
	spool_meta_write(meta, &envelope.envelope, message->fates, NULL);
	record.body_n = message->flags & SPOOL_FLAG_LARGE ? message->large_n : body.n;
	return image_record(image, &record, written, body);
}

size_t image_attempt(
	struct image *image, uint64_t batch, uint64_t id, const struct spool_attempt *attempt)
{
	struct spool_record record = {
		.type = SPOOL_RECORD_ATTEMPT,
		.batch = batch,
		.id = id,
		.real_s = 1700000002,
		.due_s = attempt->due_real_s,
	};
	uint8_t meta[4096];
	struct span written = span_of(meta, spool_attempt_meta_bytes(attempt));

	cr_assert(written.n <= sizeof(meta));
	spool_attempt_meta_write(meta, attempt);
	return image_record(image, &record, written, span_str(""));
}

size_t image_finished(struct image *image, uint64_t batch, uint64_t id)
{
	struct spool_record record = {.type = SPOOL_RECORD_FINISHED, .batch = batch, .id = id};

	return image_record(image, &record, span_str(""), span_str(""));
}

/* ---- files ---- */

void image_store_make(void)
{
	snprintf(image_dir, sizeof(image_dir), "/tmp/postern-image-XXXXXX");
	cr_assert_not_null(mkdtemp(image_dir));
	image_settings = (struct spool_settings){.directory = image_dir, .durable = true};
}

void image_store_remove(void)
{
	cr_assert_eq(unit_remove_tree(image_dir), 0);
}

static const char *below(const char *path)
{
	static char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", image_dir, path);
	return whole;
}

void image_write(const char *path, struct span bytes)
{
	const char *slash = strchr(path, '/');
	char folder[64];
	FILE *file;

	if (slash != NULL) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		cr_assert(mkdir(below(folder), 0700) == 0 || errno == EEXIST);
	}
	file = fopen(below(path), "w");
	cr_assert_not_null(file, "%s: %s", path, strerror(errno));
	cr_assert_eq(fwrite(bytes.p, 1, bytes.n, file), bytes.n);
	cr_assert_eq(fclose(file), 0);
}

void image_save(const struct image *image, const char *path)
{
	image_write(path, span_of(image->bytes, image->n));
}

bool image_exists(const char *path)
{
	return access(below(path), F_OK) == 0;
}

struct span image_read(const char *path)
{
	static uint8_t *kept[IMAGE_READS];
	static unsigned next;
	FILE *file = fopen(below(path), "r");
	uint8_t *bytes = malloc(IMAGE_MAX * 2);
	size_t n;

	free(kept[next % IMAGE_READS]);
	kept[next++ % IMAGE_READS] = bytes;

	cr_assert_not_null(file, "%s: %s", path, strerror(errno));
	n = fread(bytes, 1, IMAGE_MAX * 2 - 1, file);
	bytes[n] = '\0';
	fclose(file);
	return span_of(bytes, n);
}

unsigned image_files(const char *path)
{
	DIR *dir = opendir(below(path));
	unsigned n = 0;

	cr_assert_not_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

void image_log_catch(void)
{
	int fd = open(below("log"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);

	cr_assert(fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	close(fd);
}

const char *image_log(void)
{
	return (const char *)image_read("log").p;
}

/* ---- another process ---- */

static void hold(int ready, int end)
{
	struct store *store;
	struct err err;
	char c;

	if (store_open(&store, &image_settings, false, 0, 0, &err) == 0)
		(void)!write(ready, "x", 1);
	(void)!read(end, &c, 1);
	_exit(0);
}

pid_t image_holder(void)
{
	int ready[2];
	pid_t pid;
	char c;

	cr_assert(pipe(ready) == 0 && pipe(holder_pipe) == 0);
	pid = fork();
	if (pid == 0) {
		close(holder_pipe[1]);
		hold(ready[1], holder_pipe[0]);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1, "the other process did not get the store");
	close(ready[0]);
	return pid;
}

void image_holder_end(pid_t pid)
{
	int status;

	close(holder_pipe[1]);
	close(holder_pipe[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
}
