/* SPDX-License-Identifier: MIT */
/*
 * dns.h -- a DNS server of a few lines on loopback, in a thread, for the tests of resolve.c. It
 * answers from dns_records and says NXDOMAIN to the rest; names of which a record has the type 0 fail
 * (SERVFAIL) or are never answered.
 */
#ifndef POSTERN_TESTS_RELAY_DNS_H
#define POSTERN_TESTS_RELAY_DNS_H

#include <stddef.h>

/* The address and port to ask, "127.0.0.1@PORT". */
const char *dns_open(void);
void dns_close(void);

/* Questions seen so far. */
unsigned dns_questions(void);

#endif
