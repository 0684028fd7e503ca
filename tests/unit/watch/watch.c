/* SPDX-License-Identifier: MIT */
/* Unit tests of watch/: what is a downgrade, what is kept, what a restart remembers, the reports. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "watch/watch-private.h"

#define DAY_US 86400000000ull

static uint64_t now_ms, now_us;
static char dir_path[] = "/tmp/postern-watch-XXXXXX";
static int dir = -1;
static struct watch_settings settings;
static struct watch *watch;

static const uint8_t peer_a[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};
static const uint8_t peer_b[16] = {
	[10] = 0xff, [11] = 0xff, [12] = 198, [13] = 51, [14] = 100, [15] = 7};
static const uint8_t peer_6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 2, 3, [15] = 9};

static void open_again(void)
{
	struct err err = {""};

	cr_assert_eq(watch_open(&watch, &settings, dir, &err), 0, "%s", err.text);
}

static void setup(void)
{
	settings = (struct watch_settings){
		.on = true, .days = 10, .entries_max = 100, .enforce_days = 3};
	now_us = 20000 * DAY_US + 5;
	clock_set_for_test(&now_ms, &now_us);
	cr_assert_not_null(mkdtemp(dir_path));
	dir = open(dir_path, O_RDONLY | O_DIRECTORY);
	open_again();
}

static void teardown(void)
{
	struct dirent *entry;
	DIR *list;

	watch_close(watch);
	list = opendir(dir_path);
	while ((entry = readdir(list)) != NULL)
		(void)unlinkat(dir, entry->d_name, 0);
	closedir(list);
	close(dir);
	cr_assert_eq(rmdir(dir_path), 0);
	clock_set_for_test(NULL, NULL);
}

TestSuite(watch, .init = setup, .fini = teardown);

static bool message(const uint8_t *peer, const char *sender, bool tls)
{
	return watch_message(watch, peer, span_str(sender), tls);
}

static json_t *show(const char *domain)
{
	const struct watch_question question = {.domain = domain};
	json_t *shown = watch_show(watch, &question);

	cr_assert_not_null(shown);
	return shown;
}

static size_t list_n(const json_t *shown, const char *name)
{
	return json_array_size(json_object_get(shown, name));
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

Test(watch, a_downgrade_is_clear_after_tls_once_a_day)
{
	static const struct {
		const char *sender;
		const uint8_t *peer;
		bool tls, downgraded;
		unsigned days; /* that pass before */
	} rows[] = {
		{"a.example", peer_a, false, false, 0}, /* never used TLS */
		{"a.example", peer_a, true, false, 0},
		{"a.example", peer_a, false, true, 0},  /* a minute later is late enough */
		{"a.example", peer_a, false, false, 0}, /* told today */
		{"A.EXAMPLE", peer_a, false, true,
			1}, /* and tomorrow again; capitals do not matter */
		{"b.example", peer_b, false, false, 0},
		{"a.example", peer_b, false, false, 0}, /* its domain was told today */
		{"a.example", peer_b, false, true, 1},
		{"c.example", peer_a, false, true, 0}, /* by its network */
		{"", peer_b, false, false, 0},         /* bounces count for networks alone */
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		now_us += rows[i].days * DAY_US;
		cr_expect_eq(message(rows[i].peer, rows[i].sender, rows[i].tls), rows[i].downgraded,
			"row %zu", i);
	}
}

Test(watch, networks_are_24_and_48)
{
	uint8_t near[16], far[16];
	json_t *shown;

	memcpy(near, peer_6, 16);
	near[7] ^= 1; /* in the /48 */
	memcpy(far, peer_6, 16);
	far[5] ^= 1;
	(void)message(peer_6, "", true);
	cr_expect(message(near, "", false));
	cr_expect_not(message(far, "", false));
	shown = show("2001:db8:1::/48");
	cr_expect_eq(list_n(shown, "downgraded"), 1);
	json_decref(shown);
	shown = show("192.0.2.0/24");
	cr_expect_eq(list_n(shown, "clear"), 0);
	json_decref(shown);
}

Test(watch, nothing_without_a_watch)
{
	cr_expect_not(watch_message(NULL, peer_a, span_str("a"), false));
	watch_recipient(NULL, span_str("a"), true);
	watch_handshake_done(NULL, "");
	watch_handshake_failed(NULL, peer_a, "", WATCH_OTHER);
	watch_save(NULL, "o", "c");
	watch_close(NULL);
	cr_expect_eq(watch_calm_days(NULL, NULL, NULL, NULL), 0);
}

static void fill(void)
{
	(void)message(peer_a, "a.example", true);
	watch_recipient(watch, span_str("Ours.Example"), true);
	(void)message(peer_a, "a.example", false);
	watch_recipient(watch, span_str("ours.example"), false);
	(void)message(peer_b, "b.example", false);
	watch_handshake_done(watch, "mx.ours.example");
	watch_handshake_failed(watch, peer_b, "mx.ours.example", WATCH_CERTIFICATE);
	watch_handshake_failed(watch, peer_b, "", WATCH_VERSION);
}

static void check_filled(const char *when)
{
	json_t *shown = show(NULL), *day = json_array_get(json_object_get(shown, "days"), 0);
	json_t *host = json_array_get(json_object_get(shown, "hosts"), 0);
	json_t *domain = json_array_get(json_object_get(shown, "domains"), 0);

	cr_expect_str_eq(
		json_string_value(json_object_get(shown, "since")), "2024-10-04", "%s", when);
	cr_expect_eq(number(day, "tls"), 1, "%s", when);
	cr_expect_eq(number(day, "clear"), 2, "%s", when);
	cr_expect_eq(number(day, "handshakes"), 1, "%s", when);
	cr_expect_eq(number(day, "downgrades"), 1, "%s", when);
	cr_expect_eq(number(json_object_get(day, "failures"), "certificate"), 1, "%s", when);
	cr_expect_eq(list_n(shown, "hosts"), 2, "%s", when);
	cr_expect_str_eq(json_string_value(json_object_get(host, "host")), "mx.ours.example");
	cr_expect_eq(number(json_object_get(host, "failures"), "certificate"), 1, "%s", when);
	cr_expect_eq(list_n(shown, "domains"), 1, "%s", when);
	cr_expect_str_eq(json_string_value(json_object_get(domain, "domain")), "ours.example");
	cr_expect_eq(number(domain, "tls") * 10 + number(domain, "clear"), 11, "%s", when);
	cr_expect_eq(list_n(shown, "downgraded"), 2, "%s", when); /* domain and network */
	cr_expect_eq(list_n(shown, "clear"), 2, "%s", when);
	json_decref(shown);
}

Test(watch, a_restart_remembers)
{
	fill();
	check_filled("before");
	watch_close(watch);
	open_again();
	check_filled("after");
	now_us += DAY_US;
	cr_expect(message(peer_b, "a.example", false), "it used TLS before the restart");
}

Test(watch, damage_is_set_aside)
{
	static const char *const texts[] = {"", "postern-watch 2 1 1\nend 0\n",
		"postern-watch 1 1 1\n", "postern-watch 1 1 1\nend 1\n",
		"postern-watch 1 1 1\nday 5 1 1\nend 1\n",
		"postern-watch 1 1 1\nrow 5 x a 1\nend 1\n",
		"postern-watch 1 1 1\nsender d \nend 1\n",
		"postern-watch 1 1 1\nsender d a 1 1 1 1 1 1 99999999999999999999\nend 1\n",
		"postern-watch 1 99999999999 1\nend 0\n", "postern-watch 1 1 1\nend 0"};

	for (size_t i = 0; i < COUNT_OF(texts) - 1; i++) {
		int fd;

		watch_close(watch);
		fd = openat(dir, WATCH_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		cr_assert_eq(write(fd, texts[i], strlen(texts[i])), (ssize_t)strlen(texts[i]));
		close(fd);
		(void)unlinkat(dir, WATCH_FILE_DAMAGED, 0);
		open_again();
		cr_expect_eq(faccessat(dir, WATCH_FILE_DAMAGED, F_OK, 0), 0, "text %zu", i);
		cr_expect_eq(watch->senders_n, 0, "text %zu", i);
		cr_expect_not(message(peer_a, "a.example", true));
	}
}

Test(watch, the_memory_is_bounded)
{
	char name[32];

	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(name, sizeof(name), "d%u.example", i);
		(void)message(peer_a, name, true);
		watch_recipient(watch, span_str(name), true);
	}
	cr_expect_eq(watch->senders_n, settings.entries_max);
	cr_expect_leq(watch_day_find(watch, 20000)->rows_n, WATCH_ROWS_MAX + 1);
	cr_expect_eq(
		watch_row_get(watch, watch_day_find(watch, 20000), WATCH_KIND_DOMAIN, WATCH_OTHERS)
			->messages[WATCH_TLS],
		5000 - WATCH_ROWS_MAX);
	now_us += DAY_US;
	cr_expect(message(peer_a, "d4999.example", false), "the newest are kept");
	cr_expect_not(message(peer_b, "d1.example", false), "the oldest are not");
}

Test(watch, old_days_and_senders_are_forgotten)
{
	json_t *shown;

	fill();
	now_us += settings.days * DAY_US;
	(void)message(peer_6, "", true);
	watch_save(watch, "o", "c");
	cr_expect_gt(watch->senders_n, 1, "the last day still counts");
	now_us += DAY_US;
	watch_save(watch, "o", "c");
	cr_expect_eq(watch->senders_n, 1);
	shown = show(NULL);
	cr_expect_eq(list_n(shown, "days"), 1);
	json_decref(shown);
}

/* The order of senders on disk says nothing: the quiet ones must still go first. */
Test(watch, senders_are_in_order_after_a_restart)
{
	char name[32];

	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "d%u.example", i);
		now_us += DAY_US / 8;
		(void)message(peer_a, name, true);
	}
	watch_close(watch);
	open_again();
	now_us = 20000 * DAY_US + 12 * DAY_US;
	watch_save(watch, "o", "c");
	for (const struct list *node = watch->senders_seen.next; node != &watch->senders_seen;
		node = node->next)
		cr_assert_geq(watch_sender_seen(watch_sender_of(node)), 20002);
	cr_expect_gt(watch->senders_n, 10);
}

Test(watch, a_clock_that_goes_back_harms_nothing)
{
	fill();
	now_us -= settings.days * DAY_US;
	fill();
	now_us += settings.days * DAY_US;
	check_filled("back again");
}

Test(watch, names_are_cleaned)
{
	char long_name[300], out[WATCH_NAME_MAX + 1];
	json_t *shown;

	memset(long_name, 'A', sizeof(long_name));
	watch_name_clean(span_of(long_name, sizeof(long_name)), out);
	cr_expect_eq(strlen(out), WATCH_NAME_MAX);
	watch_handshake_done(watch, "mx \n\"\xc3\xa9.example");
	watch_close(watch);
	open_again();
	shown = show(NULL);
	cr_expect_str_eq(json_string_value(json_object_get(
				 json_array_get(json_object_get(shown, "hosts"), 0), "host")),
		"mx??\"??.example");
	json_decref(shown);
}

static bool is_ours(void *ctx, const char *host)
{
	return strcmp(host, ctx) == 0;
}

/* The worst first, the rest counted; of one domain, its own days and hosts. */
Test(watch, lists_are_bounded_and_the_worst_comes_first)
{
	char ours[] = "mx.ours.example";
	const struct watch_question first = {.limit = 1};
	const struct watch_question domain = {
		.domain = "ours.example", .is_host = is_ours, .ctx = ours};
	json_t *shown, *one;

	fill();
	for (unsigned i = 0; i < 5; i++)
		watch_recipient(watch, span_str("theirs.example"), true);
	for (unsigned i = 0; i < 5; i++)
		watch_handshake_done(watch, "mx.theirs.example");
	now_us += DAY_US;
	watch_handshake_failed(watch, peer_a, ours, WATCH_CERTIFICATE);
	shown = watch_show(watch, &first);
	one = json_array_get(json_object_get(shown, "domains"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(one, "domain")), "ours.example");
	cr_expect_eq(list_n(shown, "domains") * 10 + (size_t)number(shown, "domains_total"), 12);
	one = json_array_get(json_object_get(shown, "hosts"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(one, "host")), "mx.ours.example");
	cr_expect_str_eq(json_string_value(json_object_get(
				 json_object_get(one, "last_peers"), "certificate")),
		"192.0.2.1", "the newest day's");
	cr_expect_eq(list_n(shown, "hosts") * 10 + (size_t)number(shown, "hosts_total"), 13);
	cr_expect_eq(list_n(shown, "clear") * 10 + (size_t)number(shown, "clear_total"), 12);
	json_decref(shown);
	shown = watch_show(watch, &domain);
	one = json_array_get(json_object_get(shown, "days"), 1);
	cr_expect_eq(number(one, "tls") * 10 + number(one, "clear"), 11);
	cr_expect_eq(number(one, "handshakes"), 1);
	cr_expect_eq(json_object_size(json_object_get(one, "failures")), 1);
	cr_expect_null(json_object_get(one, "downgrades"));
	cr_expect_eq(list_n(shown, "domains") * 10 + list_n(shown, "hosts"), 11);
	json_decref(shown);
}

Test(watch, calm_days)
{
	char ours[] = "mx.ours.example";
	struct watch_break last;

	cr_expect_eq(
		watch_calm_days(watch, is_ours, ours, &last), 0, "there has been no watch yet");
	now_us += 5 * DAY_US;
	cr_expect_eq(
		watch_calm_days(watch, is_ours, ours, &last), 4, "whole days behind the first");
	watch_handshake_failed(watch, peer_a, "mx.other.example", WATCH_CERTIFICATE);
	watch_handshake_failed(watch, peer_a, ours, WATCH_TIMEOUT);
	now_us += DAY_US;
	cr_expect_eq(watch_calm_days(watch, is_ours, ours, &last), 5, "neither is a reason");
	cr_expect_eq(last.day, 0);
	watch_handshake_failed(watch, peer_a, ours, WATCH_CERTIFICATE);
	cr_expect_eq(watch_calm_days(watch, is_ours, ours, &last), 5, "today is not over");
	cr_expect_eq(last.day, 20006, "but what fails today is told: %u", last.day);
	cr_expect_eq(last.failures[WATCH_CERTIFICATE], 1);
	cr_expect_eq(last.failures[WATCH_TIMEOUT], 0);
	now_us += DAY_US;
	cr_expect_eq(watch_calm_days(watch, is_ours, ours, &last), 0);
	now_us += DAY_US;
	cr_expect_eq(watch_calm_days(watch, is_ours, ours, &last), 1);
	cr_expect_eq(last.day, 20006);
	watch_handshake_failed(watch, peer_a, "", WATCH_VERSION);
	now_us += DAY_US;
	cr_expect_eq(
		watch_calm_days(watch, is_ours, ours, &last), 0, "who gave no name may be theirs");
}

Test(watch, the_report_of_a_day)
{
	json_t *report, *policies, *read;
	json_int_t failed = 0;
	char path[128];
	size_t i;
	json_t *one;

	fill();
	watch_save(watch, "Ours", "postmaster@ours.example");
	cr_expect_eq(faccessat(dir, "watch-2024-10-04.json", F_OK, 0), -1, "the day is not over");
	cr_expect_null(watch_report(watch, 19999, "Ours", "c"));
	report = watch_report(watch, 20000, "Ours", "postmaster@ours.example");
	cr_assert_not_null(report);
	cr_expect_str_eq(json_string_value(json_object_get(report, "x-side")), "receiver");
	cr_expect_str_eq(json_string_value(json_object_get(
				 json_object_get(report, "date-range"), "start-datetime")),
		"2024-10-04T00:00:00Z");
	policies = json_object_get(report, "policies");
	cr_expect_eq(json_array_size(policies), 3); /* a domain, a host, no name */
	json_array_foreach(policies, i, one)
	{
		failed += number(json_object_get(one, "summary"), "total-failure-session-count");
	}
	cr_expect_eq(failed, 3);
	now_us += DAY_US;
	watch_save(watch, "Ours", "postmaster@ours.example");
	(void)snprintf(path, sizeof(path), "%s/watch-2024-10-04.json", dir_path);
	read = json_load_file(path, 0, NULL);
	cr_assert_not_null(read);
	cr_expect(json_equal(read, report));
	cr_assert_eq(unlinkat(dir, "watch-2024-10-04.json", 0), 0);
	watch_save(watch, "Ours", "postmaster@ours.example");
	cr_expect_eq(faccessat(dir, "watch-2024-10-04.json", F_OK, 0), -1, "once");
	json_decref(read);
	json_decref(report);
}
