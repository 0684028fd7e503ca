/* SPDX-License-Identifier: MIT */
/*
 * queue.c -- questions to several workers: merging, pages, sums, ends. The program's own files are
 * in no test's link, so the sources are taken in whole; workers, relay and control are doubles.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define relay_query        fake_query
#define relay_answer_free  fake_answer_free
#define control_queue_done fake_done
#define worker_call        fake_call /* the struct's tag, too */
#include "gateway/queue.c"
#include "gateway/queue_json.c"

#define WORKERS_N   3
#define MESSAGES_N  400
#define SCAN_MAX    50 /* messages that a worker looks at in one question */
#define DESTINATION "lmtp:127.0.0.1:24"

struct worker {
	uint64_t ids[MESSAGES_N]; /* rising */
	uint32_t ids_n;
	struct relay_tally tallies[4];
	uint32_t tallies_n;
	unsigned asked;
	bool ended;
	bool spins; /* always says that there is more */
	struct worker_call *call;
};

static struct worker workers[WORKERS_N];
static struct worker *pointers[WORKERS_N];
static struct queue *queue;
static struct relay_item item; /* what every message looks like */
static json_t *answer;
static unsigned answers_n;
static uint64_t answer_token;
static int answers_live; /* relay answers not freed yet */

bool worker_call(struct worker *worker, struct worker_call *call)
{
	if (worker->ended)
		return false;
	atomic_store(&call->done, false);
	worker->call = call;
	return true;
}

void control_queue_done(struct control *control, uint64_t token, json_t *json)
{
	(void)control;
	json_decref(answer);
	answer = json;
	answer_token = token;
	answers_n++;
}

void relay_answer_free(struct relay_answer *out)
{
	for (uint32_t i = 0; i < out->items_n; i++)
		free(out->items[i].recipients);
	free(out->items);
	free(out->tallies);
	*out = (struct relay_answer){0};
	answers_live--;
}

static void item_fill(struct relay_item *out, uint64_t id)
{
	*out = item;
	out->id = id;
	out->recipients = calloc(item.shown_n + 1, sizeof(*out->recipients));
	for (uint32_t i = 0; i < item.shown_n; i++)
		snprintf(out->recipients[i].address, sizeof(out->recipients[i].address),
			"user%u@example.org", i);
}

/* The `relay` is the worker that was asked. */
void relay_query(struct relay *relay, const struct relay_query *query, struct relay_answer *out)
{
	struct worker *worker = (struct worker *)relay;

	answers_live++;
	out->items = calloc(MESSAGES_N, sizeof(*out->items));
	for (uint32_t i = 0; i < worker->ids_n; i++) {
		uint64_t id = worker->ids[i];

		if (id <= query->after || (query->filter.id != 0 && id != query->filter.id))
			continue;
		if (out->scanned == SCAN_MAX ||
			(query->kind == RELAY_QUERY_LIST && out->items_n == query->limit)) {
			out->more = true;
			break;
		}
		out->scanned++;
		out->last = id;
		out->matched++;
		out->states[id % RELAY_STATE_COUNT]++;
		if (query->kind == RELAY_QUERY_LIST || query->kind == RELAY_QUERY_SHOW)
			item_fill(&out->items[out->items_n++], id);
	}
	out->more = out->more || worker->spins;
	if (query->kind == RELAY_QUERY_COUNT && query->after == 0) {
		out->tallies = calloc(worker->tallies_n + 1, sizeof(*out->tallies));
		memcpy(out->tallies, worker->tallies, worker->tallies_n * sizeof(*out->tallies));
		out->tallies_n = worker->tallies_n;
	}
}

/* Lets one worker do what it was asked; false: nothing. */
static bool worker_run(struct worker *worker)
{
	struct worker_call *call = worker->call;

	if (call == NULL)
		return false;
	worker->call = NULL;
	worker->asked++;
	call->run((struct relay *)worker, call);
	atomic_store(&call->done, true);
	queue_turn(queue);
	return true;
}

static void workers_run(void)
{
	bool busy = true;

	for (int i = 0; i < 100 && busy; i++) {
		busy = false;
		for (int k = WORKERS_N - 1; k >= 0; k--)
			busy = worker_run(&workers[k]) || busy;
	}
	cr_assert_not(busy, "the workers are asked without end");
}

static void setup(void)
{
	struct queue_facts facts = {pointers, WORKERS_N, NULL, AT_FDCWD};
	struct err err;

	memset(workers, 0, sizeof(workers));
	for (int i = 0; i < WORKERS_N; i++)
		pointers[i] = &workers[i];
	item = (struct relay_item){.state = RELAY_STATE_DEFERRED,
		.arrived_real_s = 1700000000,
		.due_real_s = 1700000600,
		.size = 1234,
		.attempts = 3,
		.sender = "a@example.com",
		.recipients_n = 1,
		.shown_n = 1,
		.last = "451 4.3.0 later"};
	cr_assert_eq(queue_open(&queue, &facts, &err), 0);
}

static void teardown(void)
{
	queue_close(queue);
	json_decref(answer);
}

TestSuite(queue, .init = setup, .fini = teardown);

/* Messages first, first + step, ... for one worker. */
static void messages_add(int worker, uint64_t first, uint64_t step, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		workers[worker].ids[workers[worker].ids_n++] = first + i * step;
}

/* Asks and runs to the end; the answer's "queue", borrowed. */
static const json_t *ask(const struct control_queue_request *request)
{
	unsigned before = answers_n;

	cr_assert(queue_ask(queue, request, 7));
	workers_run();
	cr_assert_eq(answers_n, before + 1);
	cr_assert_eq(answer_token, 7);
	cr_assert_eq(answers_live, 0, "answers of the relay were not freed");
	cr_assert(json_is_true(json_object_get(answer, "ok")), "%s",
		json_string_value(json_object_get(answer, "error")));
	return json_object_get(answer, "queue");
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t id_at(const json_t *messages, size_t i)
{
	uint64_t id = 0;
	const char *text = text_at(json_array_get(messages, i), "id");

	cr_assert_not_null(text);
	cr_assert(spool_id_parse(text, &id));
	return id;
}

/* ---- lists ---- */

static const struct {
	const char *name;
	uint32_t n[WORKERS_N];
	uint32_t limit;
	bool interleaved;
} lists[] = {
	{"nothing", {0, 0, 0}, 10, true},
	{"one worker", {0, 3, 0}, 10, true},
	{"exactly a page", {10, 10, 10}, 30, true},
	{"one more than a page", {10, 11, 10}, 30, true},
	{"pages of one", {2, 2, 2}, 1, true},
	{"one after the other", {30, 30, 30}, 20, false},
	{"many", {300, 10, 150}, 100, true},
	{"low ids behind a scan, while another worker fills the page", {200, 60, 0}, 100, false},
	{"over a worker's scan", {200, 200, 200}, 0, true},
};

/* Page by page, every message comes once and in order. */
Test(queue, lists_in_pages)
{
	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		struct control_queue_request request = {
			.action = CONTROL_QUEUE_LIST, .limit = lists[i].limit};
		uint32_t total = 0, seen = 0, pages = 0;
		uint64_t last = 0;
		const char *next;

		memset(workers, 0, sizeof(workers));
		for (int w = 0; w < WORKERS_N; w++) {
			uint64_t first = (uint64_t)w + 1;

			messages_add(w, lists[i].interleaved ? first : first * 1000,
				lists[i].interleaved ? WORKERS_N : 1, lists[i].n[w]);
			total += lists[i].n[w];
		}
		do {
			const json_t *page = ask(&request);
			const json_t *messages = json_object_get(page, "messages");

			cr_assert_leq(json_array_size(messages),
				lists[i].limit ? lists[i].limit : CONTROL_PAGE_MAX);
			for (size_t k = 0; k < json_array_size(messages); k++) {
				cr_assert_gt(id_at(messages, k), last, "%s", lists[i].name);
				last = id_at(messages, k);
				seen++;
			}
			next = text_at(page, "next");
			snprintf(request.after, sizeof(request.after), "%s", next ? next : "");
			cr_assert_lt(pages++, 100, "%s", lists[i].name);
		} while (next != NULL);
		cr_expect_eq(seen, total, "%s: %u of %u", lists[i].name, seen, total);
	}
}

Test(queue, message_in_a_list)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_LIST};
	const json_t *message;

	messages_add(1, 0xabc, 1, 1);
	message = json_array_get(json_object_get(ask(&request), "messages"), 0);
	cr_expect_str_eq(text_at(message, "state"), "deferred");
	cr_expect_str_eq(text_at(message, "sender"), "a@example.com");
	cr_expect_str_eq(text_at(message, "last"), "451 4.3.0 later");
	cr_expect_eq(json_integer_value(json_object_get(message, "arrived_seconds")), 1700000000);
	cr_expect_eq(json_integer_value(json_object_get(message, "due_seconds")), 1700000600);
	cr_expect_eq(json_integer_value(json_object_get(message, "size")), 1234);
	cr_expect_eq(json_integer_value(json_object_get(message, "attempts")), 3);
	cr_expect_str_eq(
		text_at(json_array_get(json_object_get(message, "recipients"), 0), "address"),
		"user0@example.org");
	cr_expect_str_eq(text_at(json_array_get(json_object_get(message, "recipients"), 0), "fate"),
		"pending");
	cr_expect_null(json_object_get(message, "header"), "that is for show");
}

/* Texts of the worst kind: the page gets shorter, the answer never too long. */
Test(queue, page_that_would_not_fit)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_LIST};
	const json_t *page;
	uint32_t seen = 0;
	const char *next;

	memset(item.sender, '\x01', sizeof(item.sender) - 1);
	memset(item.last, '\x02', sizeof(item.last) - 1);
	item.shown_n = 40;
	messages_add(0, 1, 1, 100);
	do {
		page = ask(&request);
		cr_assert_lt(json_dumpb(answer, NULL, 0, 0), CONTROL_ANSWER_MAX);
		cr_assert_gt(json_array_size(json_object_get(page, "messages")), 0);
		seen += (uint32_t)json_array_size(json_object_get(page, "messages"));
		next = text_at(page, "next");
		snprintf(request.after, sizeof(request.after), "%s", next ? next : "");
	} while (next != NULL);
	cr_expect_eq(seen, 100);
}

/* ---- show ---- */

static const struct {
	const char *name;
	const char *octets;
	const char *header; /* NULL: none could be read */
} shown[] = {
	{"header and body", "A: 1\r\nB: 2\r\n\r\nbody\r\n", "A: 1\r\nB: 2\r\n"},
	{"LF only", "A: 1\n\nbody\n", "A: 1\n"},
	{"header only", "A: 1\r\n", "A: 1\r\n"},
	{"not UTF-8", "A: \xff\r\n\r\nx", "A: \\xff\r\n"},
	{"empty line cut off", "A: 1\r\n\r", "A: 1\r\n\r"},
	{"nothing", "", NULL},
	{"no file", NULL, NULL},
};

Test(queue, show)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_SHOW};
	char path[] = "/tmp/queue.XXXXXX";
	int fd = mkstemp(path);
	const json_t *message;

	spool_id_text(0xabc, request.id);
	messages_add(2, 0xabb, 1, 3);
	snprintf(item.path, sizeof(item.path), "%s", path);
	snprintf(item.envid, sizeof(item.envid), "env");
	item.offset = 5;
	item.tries_n = 2;
	snprintf(item.tries[1].text, sizeof(item.tries[1].text), "250 ok");
	for (size_t i = 0; i < COUNT_OF(shown); i++) {
		const char *octets = shown[i].octets;

		if (octets == NULL)
			snprintf(item.path, sizeof(item.path), "/tmp/queue.none");
		item.size = octets != NULL ? strlen(octets) : 9;
		cr_assert_eq(ftruncate(fd, 0), 0);
		cr_assert_eq(pwrite(fd, "xxxxx", 5, 0), 5);
		cr_assert_geq(pwrite(fd, octets ? octets : "", octets ? item.size : 0, 5), 0);
		message = ask(&request);
		cr_expect_str_eq(text_at(message, "envid"), "env");
		cr_expect_str_eq(
			text_at(json_array_get(json_object_get(message, "tries"), 1), "text"),
			"250 ok");
		if (shown[i].header == NULL)
			cr_expect(json_is_null(json_object_get(message, "header")), "%s",
				shown[i].name);
		else
			cr_expect_str_eq(
				text_at(message, "header"), shown[i].header, "%s", shown[i].name);
	}
	close(fd);
	unlink(path);
}

Test(queue, show_with_a_header_without_end_and_many_recipients)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_SHOW};
	char path[] = "/tmp/queue.XXXXXX";
	int fd = mkstemp(path);
	const json_t *message;

	cr_assert_eq(ftruncate(fd, 10 << 20), 0); /* NULs: none of them ends the text */
	snprintf(item.path, sizeof(item.path), "%s", path);
	item.size = 10 << 20;
	item.recipients_n = item.shown_n = 50000;
	messages_add(0, 5, 1, 1);
	spool_id_text(5, request.id);
	message = ask(&request);
	cr_expect_eq(strlen(text_at(message, "header")), QUEUE_HEADER_MAX);
	cr_expect_eq(json_integer_value(json_object_get(message, "recipients_total")), 50000);
	cr_expect_gt(json_array_size(json_object_get(message, "recipients")), 1000);
	cr_expect_lt(json_dumpb(answer, NULL, 0, 0), CONTROL_ANSWER_MAX);
	close(fd);
	unlink(path);
}

Test(queue, show_of_a_message_that_is_not_there)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_SHOW, .id = "ABC"};

	cr_expect(json_is_null(ask(&request)));
}

Test(queue, ids_that_are_none)
{
	static const char *const texts[] = {"x", "-1", "FFFFFFFFFFFFFFFFF", " 1"};

	for (size_t i = 0; i < 2 * COUNT_OF(texts); i++) {
		struct control_queue_request request = {.action = CONTROL_QUEUE_SHOW};

		snprintf(
			i % 2 ? request.id : request.after, sizeof(request.id), "%s", texts[i / 2]);
		cr_assert(queue_ask(queue, &request, 7));
		cr_expect_str_eq(
			text_at(answer, "error"), "that is no queue id", "%s", texts[i / 2]);
	}
	cr_expect_eq(workers[0].asked, 0);
}

/* An id of 0 must never become a filter that matches everything. */
Test(queue, zero_is_no_id)
{
	static const char *const texts[] = {"0", "0000000000000000"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct control_queue_request request = {.action = CONTROL_QUEUE_DELETE};

		snprintf(request.id, sizeof(request.id), "%s", texts[i]);
		cr_assert(queue_ask(queue, &request, 7));
		cr_expect_str_eq(text_at(answer, "error"), "that is no queue id", "%s", texts[i]);
	}
	cr_expect_eq(workers[0].asked, 0);
}

/* ---- sums ---- */

static void tally_set(int worker, const char *destination, uint64_t ready, uint64_t deferred,
	uint64_t oldest, bool down)
{
	struct relay_tally *tally = &workers[worker].tallies[workers[worker].tallies_n++];

	snprintf(tally->destination, sizeof(tally->destination), "%s", destination);
	tally->messages[RELAY_STATE_READY] = ready;
	tally->messages[RELAY_STATE_DEFERRED] = deferred;
	tally->recipients = 10 * (ready + deferred);
	tally->oldest_real_s = oldest;
	tally->down = down;
	tally->due_real_s = down ? oldest + 5 : 0;
	snprintf(tally->last, sizeof(tally->last), "%s", down ? "down" : "fine");
}

static json_int_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

Test(queue, tallies_are_summed_over_workers)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_TALLY};
	const json_t *sum, *list, *first;

	tally_set(0, "lmtp:a", 1, 2, 900, false);
	tally_set(0, "lmtp:b", 1, 0, 0, false);
	tally_set(1, "lmtp:c", 4, 0, 700, false);
	tally_set(2, "lmtp:a", 3, 4, 800, true);
	for (int i = 0; i < WORKERS_N; i++)
		messages_add(i, 4, 4, 120); /* all in the state 4 % 4 */
	sum = ask(&request);
	list = json_object_get(sum, "destinations");
	cr_expect_eq(number_at(sum, "matched"), 360);
	cr_expect_eq(number_at(json_object_get(sum, "states"), "active"), 360);
	cr_expect_eq(number_at(sum, "oldest_seconds"), 700);
	cr_expect(json_is_null(json_object_get(sum, "other")));
	cr_assert_eq(json_array_size(list), 3);
	first = json_array_get(list, 0);
	cr_expect_str_eq(text_at(first, "destination"), "lmtp:a");
	cr_expect_eq(number_at(first, "ready"), 4);
	cr_expect_eq(number_at(first, "deferred"), 6);
	cr_expect_eq(number_at(first, "recipients"), 100);
	cr_expect_eq(number_at(first, "oldest_seconds"), 800);
	cr_expect(json_is_true(json_object_get(first, "down")));
	cr_expect_str_eq(text_at(first, "last"), "down");
	cr_expect_str_eq(text_at(json_array_get(list, 1), "destination"), "lmtp:c");
	cr_expect_str_eq(text_at(json_array_get(list, 2), "destination"), "lmtp:b");
}

/* A limit names the largest ones; the others are one row. */
Test(queue, tallies_over_the_limit)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_TALLY, .limit = 1};
	const json_t *sum, *other;

	tally_set(0, "lmtp:a", 1, 2, 900, false);
	tally_set(0, "lmtp:b", 9, 0, 950, false);
	tally_set(1, "lmtp:c", 4, 0, 700, false);
	sum = ask(&request);
	other = json_object_get(sum, "other");
	cr_assert_eq(json_array_size(json_object_get(sum, "destinations")), 1);
	cr_expect_str_eq(
		text_at(json_array_get(json_object_get(sum, "destinations"), 0), "destination"),
		"lmtp:b");
	cr_expect_eq(number_at(sum, "other_destinations"), 2);
	cr_expect_eq(number_at(other, "ready"), 5);
	cr_expect_eq(number_at(other, "deferred"), 2);
	cr_expect_eq(number_at(other, "oldest_seconds"), 700);
	cr_expect_eq(number_at(sum, "oldest_seconds"), 700);
}

/* ---- changes, and ends ---- */

/* A worker that could not look at all in one go is asked again until it could. */
Test(queue, change_goes_through_all_messages)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_HOLD, .all = true};

	messages_add(0, 1, 1, 3 * SCAN_MAX);
	messages_add(1, 1000, 1, 1);
	cr_expect_eq(number_at(ask(&request), "matched"), 3 * SCAN_MAX + 1);
	cr_expect_eq(workers[0].asked, 3);
	cr_expect_eq(workers[1].asked, 1);
}

/* A worker that says "more" without getting on is not believed. */
Test(queue, worker_that_spins)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_RETRY, .all = true};
	struct control_queue_request list = {.action = CONTROL_QUEUE_LIST};

	workers[1].spins = true;
	messages_add(1, 1, 1, 5);
	cr_expect_eq(number_at(ask(&request), "matched"), 5);
	cr_expect_leq(workers[1].asked, 2);
	workers[1].ids_n = 0;
	cr_expect_eq(json_array_size(json_object_get(ask(&list), "messages")), 0);
}

static const struct {
	bool ended[WORKERS_N];
} ends[] = {{{true, false, false}}, {{false, false, true}}, {{true, true, true}}};

Test(queue, worker_that_has_ended)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_LIST};

	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		unsigned before = answers_n;

		for (int w = 0; w < WORKERS_N; w++)
			workers[w].ended = ends[i].ended[w];
		cr_assert(queue_ask(queue, &request, 7));
		workers_run();
		cr_expect_eq(answers_n, before + 1);
		cr_expect_not_null(strstr(text_at(answer, "error"), "stopping"));
	}
}

/* It ends between two rounds: what it has answered is taken, and its end is said. */
Test(queue, worker_that_ends_between_rounds)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_HOLD, .all = true};

	messages_add(0, 1, 1, 2 * SCAN_MAX);
	cr_assert(queue_ask(queue, &request, 7));
	workers[0].ended = true;
	workers_run();
	cr_expect_eq(answers_n, 1);
	cr_expect_not_null(strstr(text_at(answer, "error"), "stopping"));
}

Test(queue, too_many_questions)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_LIST};
	struct worker_call *calls[QUEUE_QUESTIONS_MAX][WORKERS_N];

	for (size_t i = 0; i < QUEUE_QUESTIONS_MAX; i++) {
		cr_assert(queue_ask(queue, &request, i));
		for (int w = 0; w < WORKERS_N; w++)
			calls[i][w] = workers[w].call;
	}
	cr_expect_not(queue_ask(queue, &request, 99));
	for (size_t i = QUEUE_QUESTIONS_MAX; i-- > 0;) {
		for (int w = 0; w < WORKERS_N; w++) {
			cr_expect_eq(answers_n, QUEUE_QUESTIONS_MAX - 1 - i);
			workers[w].call = calls[i][w];
			cr_assert(worker_run(&workers[w]));
		}
		cr_expect_eq(answer_token, i);
	}
	cr_expect(queue_ask(queue, &request, 99));
	workers_run();
	cr_expect_eq(answer_token, 99);
}

/* The end of the process: a call that was done is freed, nobody is answered. */
Test(queue, close_with_an_open_question)
{
	struct control_queue_request request = {.action = CONTROL_QUEUE_LIST};

	messages_add(0, 1, 1, 5);
	cr_assert(queue_ask(queue, &request, 7));
	for (int w = 0; w < WORKERS_N; w++) {
		workers[w].call->run((struct relay *)&workers[w], workers[w].call);
		atomic_store(&workers[w].call->done, true);
	}
	queue_close(queue);
	queue = NULL;
	cr_expect_eq(answers_n, 0);
	cr_expect_eq(answers_live, 0);
}
