/* SPDX-License-Identifier: MIT */
/* rig.h -- a cache with a hand on its clock, and in place of fetch/ a list of what it asked for. */
#ifndef POSTERN_TESTS_STSCACHE_RIG_H
#define POSTERN_TESTS_STSCACHE_RIG_H

#include "stscache/stscache-private.h"

#define RIG_START_S   1800000000
#define RIG_ASKED_MAX 4096
#define RIG_DAY_S     86400

#define POLICY(mode, age) "version: STSv1\nmode: " mode "\nmx: mx.example.org\nmax_age: " age "\n"
#define ENFORCE           POLICY("enforce", "604800")

struct rig_answer {
	enum fetch_result result;
	uint16_t status;
	const char *type;
	const char *body;
};

struct rig_question {
	struct stscache_question q; /* first */
	unsigned answered;
};

extern struct stscache *rig_cache;
extern struct stscache_client *rig_client;
extern unsigned rig_wakes;
extern bool rig_refuses; /* what fetch_start() would refuse */
extern uint64_t rig_ms, rig_real_us;

/* entries_max 0: as many as there may be. state_dir -1: no file. */
void rig_open(int state_dir, uint32_t entries_max);
void rig_close(void);
/* Both clocks. */
void rig_pass(uint64_t seconds);

size_t rig_asked(void); /* fetches that were begun and not ended */
const char *rig_asked_host(size_t i);
/* Ends the i-th of them. */
void rig_end(size_t i, const struct rig_answer *answer);

/* A question about the TXT record with this id; NULL: no record. */
enum stscache_reply rig_ask(struct rig_question *question, const char *domain, const char *id);
enum stscache_reply rig_refresh(struct rig_question *question, const char *domain, const char *id);
/* With one address. */
void rig_fetch(struct rig_question *question);
void rig_release(struct rig_question *question);
/* Asks, fetches, ends it with the text, turns; what was obeyed is released. */
void rig_learn(const char *domain, const char *id, const char *text);

/* A directory of the test's own, opened; its name, and a file in it. */
int rig_dir(void);
const char *rig_path(const char *name);

#endif
