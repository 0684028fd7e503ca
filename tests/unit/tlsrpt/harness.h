/* SPDX-License-Identifier: MIT */
/* harness.h -- a clock that stands, a folder, counts in it; keys; what a report says. */
#ifndef POSTERN_TESTS_TLSRPT_HARNESS_H
#define POSTERN_TESTS_TLSRPT_HARNESS_H

#include <jansson.h>

#include "base/clock.h"
#include "tests/lib/unit.h"
#include "tlsrpt/tlsrpt-private.h"

#define DAY     20000u /* 2024-10-04 */
#define DAY_US  86400000000ull
#define HOUR_US 3600000000ull

extern uint64_t now_us;
extern int dir;
extern struct tlsrpt_settings settings;
extern struct tlsrpt *tlsrpt;

/* For TestSuite(): an empty folder, the noon of DAY, no key. */
void harness_setup(void);
void harness_teardown(void);
/* Opens tlsrpt, with a key's PEM or "". */
void harness_open(const char *pem);
void harness_again(void); /* a restart */

/* A session with a policy of that type, no strings. */
void count_one(const char *domain, enum tlsrpt_policy policy, enum tlsrpt_result result);
/* The report of a day and domain, or fails. The caller's to decref. */
json_t *report_of(const char *domain, uint64_t day);
/* By path, "policies.0.summary"; NULL: not there. */
const json_t *at(const json_t *json, const char *path);
const char *text_at(const json_t *json, const char *path); /* "": not there */
long long number_at(const json_t *json, const char *path); /* -1: not there */

/* PEM, to be freed. bits 0: Ed25519. */
char *key_make(int bits);

#endif
