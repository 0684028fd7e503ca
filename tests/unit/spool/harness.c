/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "tests/unit/spool/harness.h"

#include <dirent.h>
#include <unistd.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define WALK_FDS_MAX 16

struct ring *ring;
struct spool *spool;
char root[64];

static unsigned fds_before;

static unsigned fds_n(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

void harness_open(uint64_t memory_bytes_max, bool durable)
{
	const struct ring_settings ring_settings = {64, 8, 4, 4};
	struct spool_settings settings = {
		.maildir = root, .durable = durable, .memory_bytes_max = memory_bytes_max};
	struct err err = {0};
	int root_fd;

	if (root[0] == '\0') {
		snprintf(root, sizeof(root), "/tmp/postern-spool-XXXXXX");
		cr_assert(mkdtemp(root) != NULL);
	}
	cr_assert(ring_open(&ring, &ring_settings, &err) == 0, "%s", err.text);
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(root_fd >= 0);
	cr_assert(spool_open(&spool, &settings, root_fd, "mx.example.org", ring, 0, 1, &err) == 0,
		"%s", err.text);
	close(root_fd);
	fds_before = fds_n();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void harness_close(void)
{
	turns_until_idle();
	cr_expect(spool->blocks.live == 0, "blocks are left");
	cr_expect(fds_n() == fds_before, "%u descriptors, %u before", fds_n(), fds_before);
	spool_close(spool);
	ring_close(ring);
	(void)nftw(root, remove_one, WALK_FDS_MAX, FTW_DEPTH | FTW_PHYS);
}

/* ---- mails ---- */

static void on_ready(struct spool_owner *owner)
{
	container_of(owner, struct mail, owner)->ready_n++;
}

static void on_committed(struct spool_owner *owner, int res)
{
	struct mail *mail = container_of(owner, struct mail, owner);

	mail->committed_n++;
	mail->committed = res;
	mail->message = NULL;
}

static void on_spliced(struct spool_owner *owner, int res)
{
	struct mail *mail = container_of(owner, struct mail, owner);

	mail->spliced_n++;
	mail->spliced = res;
}

static void recipient_add(struct mail *mail, struct span text)
{
	struct smtp_recipient *recipient = &mail->recipients[mail->envelope.recipients_n++];
	const uint8_t *at = memrchr(text.p, '@', text.n);

	cr_assert(mail->envelope.recipients_n <= MAIL_RECIPIENTS_MAX);
	*recipient = (struct smtp_recipient){.address.text = text, .address.local = text};
	if (at != NULL) {
		recipient->address.local.n = (size_t)(at - text.p);
		recipient->address.domain =
			span_of(at + 1, text.n - recipient->address.local.n - 1);
	}
	list_push_back(&mail->envelope.recipients, &recipient->node);
}

void mail_init(struct mail *mail, const char *addresses)
{
	*mail = (struct mail){
		.owner = {.ready = on_ready, .committed = on_committed, .spliced = on_spliced}};
	list_init(&mail->envelope.recipients);
	while (*addresses != '\0') {
		size_t n = strcspn(addresses, " ");

		recipient_add(mail, span_of(addresses, n));
		addresses += n + (addresses[n] == ' ');
	}
	spool_id(spool, mail->id);
}

void mail_begin(struct mail *mail, const char *addresses)
{
	mail_init(mail, addresses);
	mail->message = spool_begin(spool, &mail->owner, &mail->envelope, mail->id, span_str(HEAD));
	cr_assert(mail->message != NULL);
}

void mail_append(struct mail *mail, struct span bytes)
{
	while (bytes.n > 0) {
		unsigned ready = mail->ready_n;
		enum spool_step step = spool_append(mail->message, &bytes);

		cr_assert(step != SPOOL_STEP_FAIL, "error %d", spool_error(mail->message));
		while (step == SPOOL_STEP_WAIT && mail->ready_n == ready)
			turn();
	}
}

int mail_commit(struct mail *mail)
{
	spool_commit(mail->message);
	while (mail->committed_n == 0)
		turn();
	return mail->committed;
}

int mail_splice(struct mail *mail, int fd, uint64_t n)
{
	unsigned before = mail->spliced_n;

	spool_splice(mail->message, fd, n);
	cr_assert(mail->spliced_n == before, "called back from inside the call");
	while (mail->spliced_n == before)
		turn();
	return mail->spliced;
}

/* ---- turns ---- */

static void stop(void *ctx)
{
	ring_stop(ctx);
}

void turn(void)
{
	ring_run(ring, stop, ring);
}

void turns_until(const struct mail *mail, enum spool_state state)
{
	while (mail->message->state != state)
		turn();
}

void turns_until_idle(void)
{
	while (!spool_idle(spool))
		turn();
}

/* ---- octets and files ---- */

uint8_t pattern_octet(uint64_t n)
{
	return (uint8_t)(n * 31 + n / 251 + n / 65537);
}

struct span pattern(uint64_t from, size_t n)
{
	uint8_t *p = malloc(n);

	cr_assert(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = pattern_octet(from + i);
	return span_of(p, n);
}

static unsigned files;

static int file_count(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	files += type == FTW_F && S_ISREG(st->st_mode);
	return 0;
}

unsigned files_n(void)
{
	files = 0;
	(void)nftw(root, file_count, WALK_FDS_MAX, FTW_PHYS);
	return files;
}

const char *below_root(const char *path)
{
	static char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return full;
}

/* The only file of a directory; its size. */
static size_t only_file(const char *path, int *fd, struct stat *st)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	unsigned n = 0;

	cr_assert(dir != NULL, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		*fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		cr_assert(*fd >= 0 && fstat(*fd, st) == 0);
	}
	closedir(dir);
	cr_assert(n == 1, "%s holds %u files", path, n);
	return (size_t)st->st_size;
}

void box_holds(const char *box, struct span body)
{
	char path[PATH_MAX];
	struct stat st;
	uint8_t *p;
	size_t n;
	int fd = -1;

	snprintf(path, sizeof(path), "%s/%s/new", root, box);
	n = only_file(path, &fd, &st);
	cr_expect((st.st_mode & 07777) == 0600, "mode %o", st.st_mode & 07777);
	cr_assert(n == strlen(HEAD) + body.n, "%s: %zu octets, not %zu", path, n,
		strlen(HEAD) + body.n);
	p = malloc(n);
	cr_assert(p != NULL && pread(fd, p, n, 0) == (ssize_t)n);
	close(fd);
	cr_expect(memcmp(p, HEAD, strlen(HEAD)) == 0, "another head");
	cr_expect(span_equal(span_of(p + strlen(HEAD), body.n), body), "another body");
	free(p);
	snprintf(path, sizeof(path), "%s/%s", root, box);
	cr_assert(stat(path, &st) == 0);
	cr_expect((st.st_mode & 07777) == 0700, "mailbox of mode %o", st.st_mode & 07777);
}
