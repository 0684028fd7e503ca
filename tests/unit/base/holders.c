/* SPDX-License-Identifier: MIT */
/* Unit tests of base/holders.h: the last one knows, and nobody holds what is gone. */
#include "base/holders.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

#define THREADS 4
#define ROUNDS  20000

Test(holders, the_last_one_is_told)
{
	struct holders holders;

	holders_init(&holders);
	holders_add(&holders);
	holders_add(&holders);
	cr_expect_not(holders_drop(&holders));
	cr_expect_not(holders_drop(&holders));
	cr_expect(holders_drop(&holders));
}

/* Each thread holds one and takes and drops further ones; exactly one drop is the last. */
static void *hold_and_drop(void *arg)
{
	struct holders *holders = arg;
	uintptr_t last = 0;

	for (int i = 0; i < ROUNDS; i++) {
		holders_add(holders);
		last += holders_drop(holders);
	}
	last += holders_drop(holders);
	return (void *)last;
}

Test(holders, threads)
{
	struct holders holders;
	pthread_t threads[THREADS];
	uintptr_t last = 0;

	holders_init(&holders);
	for (int i = 1; i < THREADS; i++)
		holders_add(&holders);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, hold_and_drop, &holders), 0);
	for (int i = 0; i < THREADS; i++) {
		void *told;

		cr_assert_eq(pthread_join(threads[i], &told), 0);
		last += (uintptr_t)told;
	}
	cr_expect_eq(last, 1);
}

static void gone(struct holders *holders)
{
	holders_init(holders);
	(void)!holders_drop(holders);
}

Test(holders, nobody_is_added_to_none, .signal = SIGABRT)
{
	struct holders holders;

	gone(&holders);
	holders_add(&holders);
}

Test(holders, nobody_drops_none, .signal = SIGABRT)
{
	struct holders holders;

	gone(&holders);
	(void)!holders_drop(&holders);
}
