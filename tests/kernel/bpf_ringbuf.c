/* SPDX-License-Identifier: MIT */
/*
 * bpf_ringbuf: samples come in order; a full ring refuses new ones and keeps the old; there is
 * room again once they are read. Proves kernel-notes/bpf-ring-buffer.md.
 */
#include "kbpf.h"
#include "kmaps.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.skel.h"

/* A record has a head of 8 octets before it. */
#define RECORD_BYTES (8 + sizeof(struct kb_sample))

static uint64_t numbers[2 * KB_RING_BYTES / RECORD_BYTES];
static unsigned numbers_n;
static unsigned stop_after;

static int take(void *context, void *data, size_t bytes)
{
	const struct kb_sample *sample = data;

	(void)context;
	KT_MUST(bytes == sizeof *sample && numbers_n < sizeof numbers / sizeof *numbers);
	numbers[numbers_n++] = sample->number;
	return stop_after && numbers_n == stop_after ? -1 : 0;
}

static bool rising(uint64_t first, unsigned n)
{
	bool good = numbers_n == n;

	for (unsigned i = 0; i < numbers_n; i++)
		good = good && numbers[i] == first + i;
	return good;
}

static bool readable(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return poll(&entry, 1, 0) == 1;
}

static void without_capabilities(struct maps_bpf *maps, int fd)
{
	pid_t child;
	int status;

	km_run(maps->progs.sample, 0, 5);
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		struct ring_buffer *ring;

		kb_drop_to(0);
		numbers_n = 0;
		ring = ring_buffer__new(fd, take, NULL, NULL);
		_exit(!ring ? 1 : ring_buffer__consume(ring) == 5 ? 0 : 2);
	}
	KT_MUST(waitpid(child, &status, 0) == child);
	kt_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"a process without capabilities maps and reads it by descriptor (%d)",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int main(void)
{
	struct maps_bpf *maps = km_begin();
	int fd = bpf_map__fd(maps->maps.samples);
	struct ring_buffer *ring = ring_buffer__new(fd, take, NULL, NULL);
	unsigned room = KB_RING_BYTES / RECORD_BYTES;

	KT_MUST(ring != NULL);
	kt_ok(!readable(fd), "an empty ring is not readable");
	km_run(maps->progs.sample, 0, 10);
	kt_ok(readable(fd), "with samples in it poll() calls it readable");
	KT_MUST(ring_buffer__consume(ring) == 10);
	kt_ok(rising(0, 10), "they come in the order in which they were put in");
	kt_ok(!readable(fd), "then it is empty");

	numbers_n = 0;
	km_run(maps->progs.sample, 0, 2 * KB_RING_BYTES / RECORD_BYTES - 10);
	kt_diag("%u octets: %llu samples of %zu refused", KB_RING_BYTES,
		(unsigned long long)maps->bss->no_room, RECORD_BYTES);
	kt_ok(maps->bss->no_room > 0, "reserve says NULL when it is full, and the program counts");
	stop_after = 3;
	kt_ok(ring_buffer__consume(ring) == -1 && rising(10, 3),
		"a reader may stop in the middle: the callback's error ends the turn");
	stop_after = 0;
	KT_MUST(ring_buffer__consume(ring) >= 0);
	kt_ok(numbers_n >= room - 1 && numbers_n <= room && rising(10, numbers_n),
		"what was in it (%u of at most %u) is whole: new ones were refused, no old one lost",
		numbers_n, room);

	numbers_n = 0;
	maps->bss->no_room = 0;
	km_run(maps->progs.sample, 0, 1);
	KT_MUST(ring_buffer__consume(ring) == 1);
	kt_ok(maps->bss->no_room == 0 && numbers_n == 1, "there is room again once it is read");
	without_capabilities(maps, fd);
	ring_buffer__free(ring);
	maps_bpf__destroy(maps);
	return kt_done();
}
