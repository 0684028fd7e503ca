/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"

struct asked {
	char host[300];
	void (*done)(void *ctx, const struct fetch_answer *answer);
	void *ctx;
};

struct stscache *rig_cache;
struct stscache_client *rig_client;
unsigned rig_wakes;
bool rig_refuses;
uint64_t rig_ms, rig_real_us;
static struct asked asked[RIG_ASKED_MAX];
static size_t asked_n;
static char dir_path[64];
static int dir_fd = -1;

static bool fake_start(struct fetch *fetch, const struct fetch_request *request)
{
	cr_assert(fetch == NULL && request->port == 443 && request->post.p == NULL);
	cr_assert_str_eq(request->path, "/.well-known/mta-sts.txt");
	cr_assert(request->addresses_n > 0 && asked_n < RIG_ASKED_MAX);
	if (rig_refuses)
		return false;
	asked[asked_n].done = request->done;
	asked[asked_n].ctx = request->ctx;
	snprintf(asked[asked_n++].host, sizeof(asked[0].host), "%s", request->host);
	return true;
}

static void woken(void *ctx)
{
	(void)ctx;
	rig_wakes++;
}

void rig_open(int state_dir, uint32_t entries_max)
{
	const struct stscache_settings settings = {
		.state_dir = state_dir, .entries_max = entries_max, .start = fake_start};
	struct err err;

	if (rig_real_us == 0) {
		rig_ms = 1000000;
		rig_real_us = RIG_START_S * 1000000ull;
	}
	clock_set_for_test(&rig_ms, &rig_real_us);
	cr_assert(stscache_open(&rig_cache, &settings, &err) == 0, "%s", err.text);
	cr_assert(stscache_client_open(&rig_client, rig_cache, woken, NULL, &err) == 0);
}

void rig_close(void)
{
	const struct rig_answer stopped = {.result = FETCH_STOPPED};

	while (asked_n > 0)
		rig_end(0, &stopped);
	stscache_turn(rig_client);
	stscache_client_close(rig_client);
	stscache_close(rig_cache);
}

void rig_pass(uint64_t seconds)
{
	rig_ms += seconds * 1000;
	rig_real_us += seconds * 1000000;
}

size_t rig_asked(void)
{
	return asked_n;
}

const char *rig_asked_host(size_t i)
{
	return asked[i].host;
}

void rig_end(size_t i, const struct rig_answer *answer)
{
	struct asked one = asked[i];
	struct fetch_answer said = {.result = answer->result, .status = answer->status};

	cr_assert(i < asked_n);
	memmove(asked + i, asked + i + 1, (--asked_n - i) * sizeof(asked[0]));
	said.content_type = span_str(answer->type != NULL ? answer->type : "");
	said.body = span_str(answer->body != NULL ? answer->body : "");
	snprintf(said.why, sizeof(said.why), "%s", fetch_result_text(answer->result));
	one.done(one.ctx, &said);
}

static void count_answer(struct stscache_question *question)
{
	((struct rig_question *)question)->answered++;
}

static void begin(struct rig_question *question, const char *id, struct sts_record *record)
{
	memset(question, 0, sizeof(*question));
	question->q.answered = count_answer;
	memset(record, 0, sizeof(*record));
	snprintf(record->id, sizeof(record->id), "%s", id != NULL ? id : "");
}

enum stscache_reply rig_ask(struct rig_question *question, const char *domain, const char *id)
{
	struct sts_record record;

	begin(question, id, &record);
	return stscache_ask(rig_client, &question->q, domain,
		id != NULL ? STSCACHE_TXT_ID : STSCACHE_TXT_ABSENT, &record);
}

enum stscache_reply rig_refresh(struct rig_question *question, const char *domain, const char *id)
{
	struct sts_record record;

	begin(question, id, &record);
	return stscache_refresh(rig_client, &question->q, domain,
		id != NULL ? STSCACHE_TXT_ID : STSCACHE_TXT_ABSENT, &record);
}

void rig_fetch(struct rig_question *question)
{
	struct sockaddr_storage address = {.ss_family = AF_INET};

	stscache_fetch(rig_client, &question->q, &address, 1);
}

void rig_release(struct rig_question *question)
{
	stscache_policy_release(question->q.policy);
	question->q.policy = NULL;
}

void rig_learn(const char *domain, const char *id, const char *text)
{
	const struct rig_answer answer = {FETCH_OK, 200, "text/plain", text};
	struct rig_question question;

	cr_assert_eq(rig_ask(&question, domain, id), STSCACHE_ADDRESS);
	rig_fetch(&question);
	rig_end(rig_asked() - 1, &answer);
	stscache_turn(rig_client);
	cr_assert_eq(question.answered, 1);
	rig_release(&question);
}

static void remove_dir(void)
{
	static const char *const names[] = {
		"sts-policies", "sts-policies.new", "sts-policies.damaged"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		unlinkat(dir_fd, names[i], 0);
	rmdir(dir_path);
}

int rig_dir(void)
{
	if (dir_fd >= 0)
		return dir_fd;
	snprintf(dir_path, sizeof(dir_path), "/tmp/postern-stscache-XXXXXX");
	cr_assert(mkdtemp(dir_path) != NULL);
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(dir_fd >= 0);
	atexit(remove_dir);
	return dir_fd;
}

const char *rig_path(const char *name)
{
	static char path[128];

	rig_dir();
	snprintf(path, sizeof(path), "%s/%s", dir_path, name);
	return path;
}
