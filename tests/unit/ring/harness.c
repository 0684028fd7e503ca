/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "tests/unit/ring/harness.h"

struct ring *ring;

void harness_open(uint32_t entries, uint32_t buffers)
{
	const struct ring_settings settings = {
		.entries = entries,
		.buffers = buffers,
		.iowq_bounded = 2,
		.iowq_unbounded = 2,
	};
	struct err err = {0};

	cr_assert(ring_open(&ring, &settings, &err) == 0, "%s", err.text);
}

void harness_close(void)
{
	ring_close(ring);
	ring = NULL;
}

void step_done(struct op *op, int res, uint32_t flags)
{
	struct step *step = container_of(op, struct step, op);

	step->res = res;
	step->flags = flags;
	step->calls++;
	step->was_armed = op->armed;
	if (flags & RING_BUFFER) {
		cr_assert(step->held_n < STEP_HELD_MAX);
		step->held[step->held_n++] = ring_buffer_of(ring, flags, res);
	}
	ring_stop(ring);
}

void step_init(struct step *step)
{
	*step = (struct step){.op.done = step_done};
}

void step_wait_calls(struct step *step, unsigned calls)
{
	while (step->calls < calls)
		ring_run(ring, NULL, NULL);
}

int step_wait(struct step *step)
{
	while (step->op.armed)
		ring_run(ring, NULL, NULL);
	return step->res;
}

int step_cancel(struct step *step)
{
	struct step cancel;

	step_init(&cancel);
	ring_cancel(ring, &cancel.op, &step->op);
	while (step->op.armed || cancel.op.armed)
		ring_run(ring, NULL, NULL);
	return step->res;
}

static bool run_over;

static void run_timer_fire(struct wheel_timer *timer)
{
	(void)timer;
	run_over = true;
	ring_stop(ring);
}

void run_for_ms(uint64_t ms)
{
	struct wheel_timer timer;

	run_over = false;
	wheel_timer_init(&timer, run_timer_fire);
	wheel_set(ring_wheel(ring), &timer, clock_ms() + ms);
	while (!run_over)
		ring_run(ring, NULL, NULL);
}

void release_first(struct step *step)
{
	cr_assert(step->held_n > 0);
	ring_buffer_release(ring, step->held[0]);
	step->held_n--;
	memmove(step->held, step->held + 1, step->held_n * sizeof(step->held[0]));
}

bool holds(const struct ring_buffer *buffer, const char *text)
{
	return span_equal(buffer->bytes, span_str(text));
}

void pair_open(int pair[2])
{
	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
}

void put(int fd, const char *text)
{
	cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

void put_descriptor(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {
		.msg_iov = &(struct iovec){(char[]){"fd"}, 2},
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	cr_assert(sendmsg(fd, &msg, 0) == 2);
}
