/* SPDX-License-Identifier: MIT */
/*
 * memory.c -- a ring for which the kernel has no memory at first, or never.
 *
 * The kernel is played by a thread: a seccomp filter hands it this thread's calls of
 * io_uring_setup or io_uring_register(PBUF_RING), of which it lets the first ones fail and the rest
 * go to the real kernel. It was made before the filter, so the filter is not its own.
 */
#include <linux/io_uring.h>
#include <pthread.h>
#include <seccomp.h>
#include <semaphore.h>
#include <sys/resource.h>

#include "tests/unit/ring/harness.h"

#define PATIENCE_MS 5000 /* as in gateway/ring/memory.c */
#define FOR_EVER    UINT32_MAX

TestSuite(memory, .timeout = TEST_LIMIT_S);

struct shortage {
	int call;
	int error;
	uint32_t times;
	uint32_t after; /* calls that go well before */
};

static struct {
	const struct shortage *shortage;
	scmp_filter_ctx filter;
	sem_t loaded;
	int fd;
	uint32_t calls;
} kernel;

static void *kernel_play(void *arg)
{
	struct seccomp_notif *question;
	struct seccomp_notif_resp *answer;

	(void)arg;
	sem_wait(&kernel.loaded);
	cr_assert(seccomp_notify_alloc(&question, &answer) == 0);
	for (;;) {
		uint32_t nth;

		memset(question, 0, sizeof(*question));
		if (seccomp_notify_receive(kernel.fd, question) != 0)
			return NULL;
		nth = kernel.calls++;
		*answer = (struct seccomp_notif_resp){.id = question->id};
		if (nth >= kernel.shortage->after &&
			nth - kernel.shortage->after < kernel.shortage->times)
			answer->error = -kernel.shortage->error;
		else
			answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		if (seccomp_notify_respond(kernel.fd, answer) != 0)
			return NULL;
	}
}

/* From here on this thread's kernel is short of memory. */
static void shortage_begin(const struct shortage *shortage)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	pthread_t thread;
	int ret;

	kernel.shortage = shortage;
	kernel.filter = filter;
	cr_assert(sem_init(&kernel.loaded, 0, 0) == 0);
	cr_assert(pthread_create(&thread, NULL, kernel_play, NULL) == 0);
	if (shortage->call == SCMP_SYS(io_uring_register))
		ret = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, shortage->call, 1,
			SCMP_A1(SCMP_CMP_EQ, IORING_REGISTER_PBUF_RING));
	else
		ret = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, shortage->call, 0);
	cr_assert(ret == 0);
	cr_assert(seccomp_load(filter) == 0);
	kernel.fd = seccomp_notify_fd(filter);
	cr_assert(kernel.fd >= 0);
	sem_post(&kernel.loaded);
}

/* It is waited for and said once. */
static void passes(const struct shortage *shortage)
{
	const struct ring_settings settings = {.entries = 8, .buffers = 8};
	struct err err = {.text = ""};

	shortage_begin(shortage);
	cr_assert(ring_open(&ring, &settings, &err) == 0, "%s", err.text);
	cr_assert(eq(u32, kernel.calls,
		shortage->times + (shortage->call == SCMP_SYS(io_uring_register) ? 3 : 2)));
	cr_assert(eq(i64, counter_sum(COUNTER_RING_MEMORY_WAITS), 1));
	ring_close(ring);
}

Test(memory, a_shortage_passes_for_the_probes_ring_after_one_try)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_setup), ENOMEM, 1, 0});
}

Test(memory, a_shortage_passes_for_the_probes_ring_after_some)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_setup), ENOMEM, 4, 0});
}

Test(memory, a_shortage_passes_for_the_ring_itself)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_setup), ENOMEM, 3, 1});
}

Test(memory, a_shortage_passes_for_a_kernel_that_says_try_again)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_setup), EAGAIN, 2, 0});
}

Test(memory, a_shortage_passes_for_the_probes_buffers)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_register), ENOMEM, 2, 0});
}

Test(memory, a_shortage_passes_for_the_rings_buffers)
{
	passes(&(const struct shortage){SCMP_SYS(io_uring_register), ENOMEM, 2, 1});
}

struct lasting {
	const char *name;
	struct shortage shortage;
	rlim_t limit;
	const char *must_say[4];
};

static const struct lasting locked = {"a limit", {SCMP_SYS(io_uring_setup), ENOMEM, FOR_EVER, 0},
	64 * 1024,
	{"io_uring_setup: Cannot allocate memory", "RLIMIT_MEMLOCK is 64 KiB", "LimitMEMLOCK",
		"memory cgroup"}};
static const struct lasting buffers = {"a limit, met by the last of the ring's parts",
	{SCMP_SYS(io_uring_register), ENOMEM, FOR_EVER, 1}, 64 * 1024,
	{"io_uring_register: Cannot allocate memory", "RLIMIT_MEMLOCK is 64 KiB"}};

static void lasts(const struct lasting *lasting)
{
	const struct ring_settings settings = {.entries = 8, .buffers = 8};
	const struct rlimit limit = {lasting->limit, lasting->limit};
	uint64_t began = clock_ms();
	struct err err = {.text = ""};
	uint64_t took;

	cr_assert(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	shortage_begin(&lasting->shortage);
	cr_assert(eq(int, ring_open(&ring, &settings, &err), -1));
	took = clock_ms() - began;
	cr_assert(ring == NULL);
	for (size_t i = 0; i < COUNT_OF(lasting->must_say) && lasting->must_say[i]; i++)
		cr_assert(strstr(err.text, lasting->must_say[i]) != NULL, "%s: \"%s\" lacks \"%s\"",
			lasting->name, err.text, lasting->must_say[i]);
	cr_assert(strchr(err.text, '\n') == NULL && strlen(err.text) < ERR_TEXT_MAX - 1);
	cr_assert(took >= PATIENCE_MS && took < 2 * PATIENCE_MS, "one patience for all: %lu ms",
		(unsigned long)took);
	cr_assert(kernel.calls < 40, "pauses grow: %u calls", kernel.calls);
	cr_assert(counter_sum(COUNTER_RING_MEMORY_WAITS) == 1);
}

Test(memory, one_that_stays_ends_with_what_to_do)
{
	lasts(&locked);
}

Test(memory, one_that_meets_the_buffers_ends_so_too)
{
	lasts(&buffers);
}

Test(memory, other_errors_are_not_waited_for)
{
	static const struct shortage full = {SCMP_SYS(io_uring_setup), EMFILE, FOR_EVER, 0};
	struct ring_features features;
	struct err err = {.text = ""};

	shortage_begin(&full);
	cr_assert(eq(int, ring_probe(&features, &err), -1));
	cr_assert(eq(u32, kernel.calls, 1));
	cr_assert(eq(i64, counter_sum(COUNTER_RING_MEMORY_WAITS), 0));
}
