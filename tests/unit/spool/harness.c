/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "tests/unit/spool/harness.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/lib/unit.h"

struct ring *ring;
struct spool *spool;
struct store *store;
struct reading reading;
char root[64];
struct store_found found;
struct spool_settings settings = {
	.directory = root,
	.durable = true,
	.memory_bytes_max = 64u << 20,
	.stream_bytes = 256u << 10,
	.segment_bytes = 4u << 20,
	.messages_max = 1000000,
};

static unsigned fds_before;
static uint64_t stopped_ms;

static void on_arrived(struct spool_reader *reader, struct spool_entry *entry)
{
	(void)reader;
	cr_assert(reading.arrived_n < ARRIVED_MAX);
	reading.arrived[reading.arrived_n++] = entry;
}

static bool on_cut(struct spool_reader *reader, struct spool_cut *cut)
{
	(void)reader;
	if (reading.cuts)
		reading.cut = cut;
	return reading.cuts;
}

static void store_begin(uint32_t worker, uint32_t workers)
{
	struct err err = {0};

	cr_assert(store_open(&store, &settings, false, 0, 0, &err) == 0, "%s", err.text);
	cr_assert(store_recover(store, workers, &found, &err) == 0, "%s", err.text);
	cr_assert(spool_open(&spool, &settings, store, ring, worker, workers, &err) == 0, "%s",
		err.text);
	reading.arrived_n = 0;
	reading.reader = (struct spool_reader){.arrived = on_arrived, .cut = on_cut};
	spool_read(spool, &reading.reader);
	spool_start(spool);
}

void harness_open(void)
{
	const struct ring_settings ring_settings = {64, 8, 4, 4};
	struct err err = {0};

	if (root[0] == '\0') {
		snprintf(root, sizeof(root), "/tmp/postern-spool-XXXXXX");
		cr_assert(mkdtemp(root) != NULL);
	}
	fds_before = unit_fds_n();
	cr_assert(ring_open(&ring, &ring_settings, &err) == 0, "%s", err.text);
	store_begin(0, 1);
}

static void store_end(void)
{
	turns_until_idle();
	cr_expect(spool->blocks.live == spool->kept_blocks, "blocks are left");
	spool_close(spool);
	store_close(store);
}

void harness_reopen(uint32_t worker, uint32_t workers)
{
	store_end();
	store_begin(worker, workers);
}

void harness_close(void)
{
	clock_set_for_test(NULL, NULL);
	store_end();
	ring_close(ring);
	cr_expect(
		unit_fds_n() == fds_before, "%u descriptors, %u before", unit_fds_n(), fds_before);
	cr_expect(counter_sum(COUNTER_SPOOL_SEGMENTS) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_BYTES) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_MESSAGES) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_FAILING) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_MEMORY_BYTES) == 0);
	(void)unit_remove_tree(root);
}

/* ---- mails ---- */

static void on_ready(struct spool_owner *owner)
{
	container_of(owner, struct mail, owner)->ready_n++;
}

static void on_committed(struct spool_owner *owner, int res, const struct smtp_verdict *verdict)
{
	struct mail *mail = container_of(owner, struct mail, owner);

	mail->committed_n++;
	mail->committed = res;
	mail->message = NULL;
	if (verdict != NULL) {
		mail->verdict = *verdict;
		snprintf(mail->text, sizeof(mail->text), "%s %s", verdict->enhanced, verdict->text);
	}
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
	mail->envelope.reverse_path.text = span_str("s@example.net");
	while (*addresses != '\0') {
		size_t n = strcspn(addresses, " ");

		recipient_add(mail, span_of(addresses, n));
		addresses += n + (addresses[n] == ' ');
	}
	mail->id = spool_id(spool);
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
	cr_assert(mail->committed_n == 0, "called back from inside the call");
	while (mail->committed_n == 0)
		turn();
	return mail->committed;
}

struct spool_entry *mail_send(const char *addresses, struct span body)
{
	struct spool_entry *entry;
	struct mail mail;

	mail_begin(&mail, addresses);
	mail_append(&mail, body);
	cr_assert(mail_commit(&mail) == 0, "%d", mail.committed);
	entry = spool_find(spool, mail.id);
	cr_assert(entry != NULL);
	return entry;
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

/* ---- the queue ---- */

void attempt(struct spool_entry *entry, uint32_t n, uint8_t fate, const char *text)
{
	struct spool_fate_change changes[MAIL_RECIPIENTS_MAX];
	const struct spool_attempt what = {
		.next_hop = "smtp:mx.example.net:25 [192.0.2.1]",
		.text = text,
		.changes = changes,
		.changes_n = n,
		.due_real_s = 4711,
		.counts = true,
	};

	for (uint32_t i = 0; i < n; i++)
		changes[i] = (struct spool_fate_change){.recipient = i, .fate = fate};
	spool_attempt(spool, entry, &what);
}

void finish(struct spool_entry *entry)
{
	attempt(entry, entry->recipients_n, SPOOL_FATE_DELIVERED, "250 2.0.0 ok");
	spool_finish(spool, entry);
}

/* ---- turns ---- */

static void stop(void *ctx)
{
	spool_turn(spool);
	ring_stop(ctx);
}

void turn(void)
{
	spool_turn(spool);
	ring_run(ring, stop, ring);
}

void turns_until(const struct mail *mail, enum spool_state state)
{
	while (mail->message->state != state)
		turn();
}

void turns_until_idle(void)
{
	spool_turn(spool);
	while (!spool_idle(spool))
		turn();
}

void clock_stop(void)
{
	stopped_ms = clock_ms();
	clock_set_for_test(&stopped_ms, NULL);
}

static void nothing(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

void clock_move(uint64_t ms)
{
	struct op op = {.done = nothing};

	stopped_ms += ms;
	ring_soon(ring, &op); /* something for the turn to end with */
	while (op.armed)
		turn();
}

/* ---- octets and files ---- */

uint8_t pattern_octet(uint64_t n)
{
	return (uint8_t)(n * 31 + n / 251 + n / 65537);
}

/* Known to the leak checker by this list. */
static struct kept {
	struct kept *next;
	uint8_t bytes[];
} * kept;

struct span pattern(uint64_t from, size_t n)
{
	struct kept *keep = malloc(sizeof(*keep) + n);

	cr_assert(keep != NULL);
	keep->next = kept;
	kept = keep;
	for (size_t i = 0; i < n; i++)
		keep->bytes[i] = pattern_octet(from + i);
	return span_of(keep->bytes, n);
}

static unsigned files;
static uint64_t disk;

static int file_count(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	files += type == FTW_F && S_ISREG(st->st_mode);
	disk += (uint64_t)st->st_blocks * 512;
	return 0;
}

unsigned files_n(const char *path)
{
	files = 0;
	(void)nftw(below_root(path), file_count, UNIT_WALK_FDS_MAX, FTW_PHYS);
	return files;
}

uint64_t disk_bytes(void)
{
	disk = 0;
	(void)nftw(root, file_count, UNIT_WALK_FDS_MAX, FTW_PHYS);
	return disk;
}

const char *below_root(const char *path)
{
	static char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return full;
}

void entry_holds(const struct spool_entry *entry, struct span body)
{
	size_t n = strlen(HEAD) + body.n;
	uint8_t *p = malloc(n + 1);
	uint64_t offset;
	char path[64];
	int fd;

	cr_assert(p != NULL);
	cr_expect(entry->size == n, "size %zu, not %zu", (size_t)entry->size, n);
	spool_body_place(entry, path, sizeof(path), &offset);
	fd = open(below_root(path), O_RDONLY | O_CLOEXEC);
	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	cr_assert(pread(fd, p, n, (off_t)offset) == (ssize_t)n, "%s at %zu", path, (size_t)offset);
	close(fd);
	cr_expect(memcmp(p, HEAD, strlen(HEAD)) == 0, "another head");
	cr_expect(span_equal(span_of(p + strlen(HEAD), body.n), body), "another body");
	free(p);
}

void segment_becomes(const struct spool_segment *segment, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && segment != NULL);
	cr_assert(dup3(fd, segment->fd, O_CLOEXEC) >= 0);
	close(fd);
}

void head_becomes(const char *path)
{
	segment_becomes(spool->logs[0]->head, path);
}
