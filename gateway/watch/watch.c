/* SPDX-License-Identifier: MIT */
/*
 * watch.c -- takes note of handshakes and messages, decides what is a downgrade.
 *
 * A sender that used TLS on an earlier day and comes in clear now is suspected of being downgraded
 * once a day and key. Both its domain and its network are keys: a thief in the middle strips one
 * network's mail, a sender that broke its TLS does it for all of its domain.
 */
#include "watch/watch-private.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/network.h"

#define NETWORK_BITS_V4 (96 + 24)
#define NETWORK_BITS_V6 48
#define BUCKETS_MAX     65536
#define REPORT_INDENT   2

const char *const watch_failure_words[WATCH_FAILURES] = {
	[WATCH_VERSION] = "version",
	[WATCH_CIPHER] = "cipher",
	[WATCH_CERTIFICATE] = "certificate",
	[WATCH_ALERT] = "alert",
	[WATCH_SNI] = "sni",
	[WATCH_TIMEOUT] = "timeout",
	[WATCH_CLOSED] = "closed",
	[WATCH_OTHER] = "other",
};

/* ---- open, close ---- */

static int load(struct watch *watch)
{
	int res = watch->dir < 0 ? -ENOENT : watch_file_read(watch);

	if (res == 0 || res == -ENOENT)
		return 0;
	watch_forget_all(watch);
	watch->since_day = watch_today();
	if (res != -EBADMSG)
		return res;
	(void)renameat(watch->dir, WATCH_FILE, watch->dir, WATCH_FILE_DAMAGED);
	event_text(EVENT_NO_COUNT, "watch_damaged", "set_aside", WATCH_FILE_DAMAGED);
	return 0;
}

int watch_open(
	struct watch **out, const struct watch_settings *settings, int state_dir, struct err *err)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	uint32_t buckets = 64;
	int res;

	while (buckets < settings->entries_max && buckets < BUCKETS_MAX)
		buckets *= 2;
	if (watch != NULL) {
		pthread_mutex_init(&watch->lock, NULL);
		list_init(&watch->senders_seen);
		watch->settings = settings;
		watch->dir = state_dir;
		watch->senders_mask = buckets - 1;
		watch->since_day = watch_today();
		watch->days = calloc(settings->days, sizeof(*watch->days));
		watch->senders = calloc(buckets, sizeof(struct watch_sender *));
	}
	if (watch == NULL || watch->days == NULL || watch->senders == NULL ||
		getrandom(&watch->seed, sizeof(watch->seed), 0) != (ssize_t)sizeof(watch->seed)) {
		err_set(err, "watch: out of memory");
		goto fail;
	}
	res = load(watch);
	if (res != 0) {
		err_set(err, "watch: cannot read the file %s in state_directory: %s", WATCH_FILE,
			strerror(-res));
		watch_forget_all(watch);
		goto fail;
	}
	*out = watch;
	return 0;
fail:
	if (watch != NULL) {
		pthread_mutex_destroy(&watch->lock);
		free(watch->days);
		free(watch->senders);
	}
	free(watch);
	return -1;
}

static void save(struct watch *watch)
{
	bool due;
	int res;

	pthread_mutex_lock(&watch->lock);
	due = watch->dir >= 0 && watch->changed;
	watch->changed = false;
	pthread_mutex_unlock(&watch->lock);
	res = due ? watch_file_write(watch) : 0;
	if (res == 0)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->changed = true;
	pthread_mutex_unlock(&watch->lock);
	event_text(COUNTER_WATCH_ERRORS, "watch_not_saved", "error", strerror(-res));
}

void watch_close(struct watch *watch)
{
	if (watch == NULL)
		return;
	save(watch);
	watch_forget_all(watch);
	pthread_mutex_destroy(&watch->lock);
	free(watch->senders);
	free(watch->days);
	free(watch);
}

/* ---- notes ---- */

static void network_name(const uint8_t peer[WATCH_ADDRESS], char out[WATCH_NAME_MAX + 1])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char text[NETWORK_TEXT_MAX];
	struct network network = {0};

	network.bits =
		memcmp(peer, mapped, sizeof(mapped)) == 0 ? NETWORK_BITS_V4 : NETWORK_BITS_V6;
	memcpy(network.address, peer, network.bits / 8);
	(void)snprintf(out, WATCH_NAME_MAX + 1, "%s", network_text(&network, text));
}

static struct watch_day *today_get(struct watch *watch)
{
	watch->changed = true;
	return watch_day_get(watch, watch_today());
}

void watch_handshake_done(struct watch *watch, const char *sni)
{
	char name[WATCH_NAME_MAX + 1];
	struct watch_day *day;
	struct watch_row *row;

	if (watch == NULL)
		return;
	watch_name_clean(span_str(sni), name);
	pthread_mutex_lock(&watch->lock);
	day = today_get(watch);
	if (day != NULL) {
		day->handshakes++;
		row = watch_row_get(watch, day, WATCH_KIND_HOST, name);
		if (row != NULL)
			row->handshakes++;
	}
	pthread_mutex_unlock(&watch->lock);
}

void watch_handshake_failed(struct watch *watch, const uint8_t peer[WATCH_ADDRESS], const char *sni,
	enum watch_failure why)
{
	char name[WATCH_NAME_MAX + 1];
	struct watch_day *day;
	struct watch_row *row;

	if (watch == NULL)
		return;
	watch_name_clean(span_str(sni), name);
	pthread_mutex_lock(&watch->lock);
	day = today_get(watch);
	if (day != NULL) {
		day->failures[why]++;
		row = watch_row_get(watch, day, WATCH_KIND_HOST, name);
		if (row != NULL) {
			row->failures[why]++;
			memcpy(row->peers[why], peer, WATCH_ADDRESS);
		}
	}
	pthread_mutex_unlock(&watch->lock);
}

/* True: it used TLS on an earlier day, and this is the first mail in clear of the day. */
static bool sender_note(
	struct watch *watch, enum watch_kind kind, const char *name, uint32_t today, bool tls)
{
	struct watch_sender *sender = watch_sender_get(watch, kind, name, today);

	if (sender == NULL)
		return false;
	sender->messages[tls]++;
	sender->days[tls] = today;
	if (tls || sender->days[WATCH_TLS] == 0 || sender->downgrade_day == today)
		return false;
	sender->downgrade_day = today;
	sender->downgrades++;
	return true;
}

bool watch_message(
	struct watch *watch, const uint8_t peer[WATCH_ADDRESS], struct span sender, bool tls)
{
	char domain[WATCH_NAME_MAX + 1], network[WATCH_NAME_MAX + 1];
	uint32_t today = watch_today();
	bool downgraded = false;
	struct watch_day *day;

	if (watch == NULL)
		return false;
	watch_name_clean(sender, domain);
	network_name(peer, network);
	pthread_mutex_lock(&watch->lock);
	day = today_get(watch);
	if (day != NULL) {
		day->messages[tls]++;
		downgraded = sender_note(watch, WATCH_KIND_NETWORK, network, today, tls);
		if (sender.n > 0)
			downgraded |= sender_note(watch, WATCH_KIND_DOMAIN, domain, today, tls);
		day->downgrades += downgraded;
	}
	pthread_mutex_unlock(&watch->lock);
	return downgraded;
}

void watch_recipient(struct watch *watch, struct span domain, bool tls)
{
	char name[WATCH_NAME_MAX + 1];
	struct watch_day *day;
	struct watch_row *row;

	if (watch == NULL)
		return;
	watch_name_clean(domain, name);
	pthread_mutex_lock(&watch->lock);
	day = today_get(watch);
	row = day == NULL ? NULL : watch_row_get(watch, day, WATCH_KIND_DOMAIN, name);
	if (row != NULL)
		row->messages[tls]++;
	pthread_mutex_unlock(&watch->lock);
}

/* ---- once a minute ---- */

/* Whoever was quiet for longer than days are kept goes; they stand in the order of being seen. */
static void forget_old(struct watch *watch)
{
	uint32_t today = watch_today();

	pthread_mutex_lock(&watch->lock);
	while (!list_empty(&watch->senders_seen)) {
		struct watch_sender *sender = watch_sender_of(watch->senders_seen.next);

		if (watch_sender_seen(sender) + watch->settings->days >= today)
			break;
		watch_sender_drop(watch, sender);
		watch->changed = true;
	}
	pthread_mutex_unlock(&watch->lock);
}

static void report_name(uint32_t day, char name[WATCH_REPORT_NAME])
{
	char text[CLOCK_DAY_TEXT];

	clock_day_text(day, text);
	(void)snprintf(name, WATCH_REPORT_NAME, "watch-%s.json", text);
}

static void report_write(struct watch *watch, uint32_t day, json_t *report)
{
	char name[WATCH_REPORT_NAME];
	int fd;

	report_name(day, name);
	fd = openat(watch->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || json_dumpfd(report, fd, JSON_INDENT(REPORT_INDENT)) != 0)
		event_text(COUNTER_WATCH_ERRORS, "watch_report_failed", "file", name);
	if (fd >= 0)
		close(fd);
	report_name(day - watch->settings->days, name);
	(void)unlinkat(watch->dir, name, 0);
}

void watch_save(struct watch *watch, const char *organization, const char *contact)
{
	uint32_t yesterday = watch_today() - 1;

	if (watch == NULL)
		return;
	forget_old(watch);
	save(watch);
	if (watch->dir < 0 || watch->reported_day >= yesterday)
		return;
	for (uint32_t day = yesterday - watch->settings->days + 2; day <= yesterday; day++) {
		json_t *report = day > watch->reported_day
					 ? watch_report(watch, day, organization, contact)
					 : NULL;

		if (report != NULL)
			report_write(watch, day, report);
		json_decref(report);
	}
	pthread_mutex_lock(&watch->lock);
	watch->reported_day = yesterday;
	watch->changed = true;
	pthread_mutex_unlock(&watch->lock);
}

/* ---- for who wants to enforce ---- */

static bool is_broken(const struct watch_row *row)
{
	return row->failures[WATCH_VERSION] > 0 || row->failures[WATCH_CIPHER] > 0 ||
	       row->failures[WATCH_CERTIFICATE] > 0 || row->failures[WATCH_SNI] > 0;
}

/* Such failures of the day, summed into *last. True: there were none. */
static bool is_calm(struct watch *watch, uint32_t day, bool (*matches)(void *ctx, const char *host),
	void *ctx, struct watch_break *last)
{
	const struct watch_day *found = watch_day_find(watch, day);

	*last = (struct watch_break){0};
	for (size_t i = 0; found != NULL && i < WATCH_DAY_BUCKETS; i++) {
		for (const struct watch_row *row = found->rows[i]; row != NULL; row = row->next) {
			if (row->kind != WATCH_KIND_HOST || !is_broken(row) ||
				(strcmp(row->name, "-") != 0 &&
					strcmp(row->name, WATCH_OTHERS) != 0 &&
					!matches(ctx, row->name)))
				continue;
			last->day = day;
			last->failures[WATCH_VERSION] += row->failures[WATCH_VERSION];
			last->failures[WATCH_CIPHER] += row->failures[WATCH_CIPHER];
			last->failures[WATCH_CERTIFICATE] += row->failures[WATCH_CERTIFICATE];
			last->failures[WATCH_SNI] += row->failures[WATCH_SNI];
		}
	}
	return last->day == 0;
}

uint32_t watch_calm_days(struct watch *watch, bool (*matches)(void *ctx, const char *host),
	void *ctx, struct watch_break *last)
{
	uint32_t today = watch_today(), calm = 0;
	struct watch_break today_last = {0}, before = {0};

	if (last != NULL)
		*last = today_last;
	if (watch == NULL)
		return 0;
	pthread_mutex_lock(&watch->lock);
	(void)is_calm(watch, today, matches, ctx, &today_last);
	while (calm + 1 < watch->settings->days && today - calm - 1 > watch->since_day &&
		is_calm(watch, today - calm - 1, matches, ctx, &before))
		calm++;
	/* The first day of the watch is no whole one, but what failed on it failed. */
	if (before.day == 0 && calm + 1 < watch->settings->days)
		(void)is_calm(watch, today - calm - 1, matches, ctx, &before);
	pthread_mutex_unlock(&watch->lock);
	if (last != NULL)
		*last = today_last.day != 0 ? today_last : before;
	return calm;
}
