/* SPDX-License-Identifier: MIT */
/*
 * buffers.c -- the provided buffers: one group, one mapping, one table of holders' records.
 *
 * A buffer is either free (the kernel may fill it) or held (a completion gave it out). Releases are
 * entered into the shared ring at once and published together, once a turn, before the kernel is
 * entered. Under AddressSanitizer a free buffer is poisoned: touching it after release is caught.
 *
 * Not done: incremental consumption of one buffer by several receives (kernel 6.12): a buffer is
 * sized for one TLS record, and 6.1 must work the same way.
 */
#include "ring/ring-private.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/poison.h"

#define BUFFERS_MAX 32768

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static uint8_t *memory_of(const struct ring_buffers *buffers, uint16_t id)
{
	return buffers->memory + (size_t)id * RING_BUFFER_BYTES;
}

/* The tail lies over the first entry's last member: entries are written member by member. */
static void enter(struct ring_buffers *buffers, uint16_t id)
{
	uint32_t tail = buffers->shared->tail + buffers->unpublished;
	struct io_uring_buf *entries = (struct io_uring_buf *)buffers->shared;
	struct io_uring_buf *entry = &entries[tail & (buffers->count - 1)];

	entry->addr = (uintptr_t)memory_of(buffers, id);
	entry->len = RING_BUFFER_BYTES;
	entry->bid = id;
	buffers->unpublished++;
	POISON(memory_of(buffers, id), RING_BUFFER_BYTES);
}

void ring_buffers_publish(struct ring *ring)
{
	struct ring_buffers *buffers = &ring->buffers;
	uint16_t tail = (uint16_t)(buffers->shared->tail + buffers->unpublished);

	if (buffers->unpublished == 0)
		return;
	io_uring_smp_store_release(&buffers->shared->tail, tail);
	buffers->unpublished = 0;
}

int ring_buffers_open(
	struct ring *ring, uint32_t count, struct ring_patience *patience, struct err *err)
{
	struct ring_buffers *buffers = &ring->buffers;
	struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = RING_BUFFER_GROUP};
	int ret;

	ASSERT(count > 0 && count <= BUFFERS_MAX && (count & (count - 1)) == 0);
	buffers->count = count;
	buffers->shared = map(count * sizeof(struct io_uring_buf));
	buffers->memory = map((size_t)count * RING_BUFFER_BYTES);
	buffers->table = calloc(count, sizeof(buffers->table[0]));
	buffers->held = calloc(count, sizeof(buffers->held[0]));
	if (!buffers->shared || !buffers->memory || !buffers->table || !buffers->held)
		return err_set(err, "no memory for %u receive buffers of %d bytes", count,
			RING_BUFFER_BYTES);
	reg.ring_addr = (uintptr_t)buffers->shared;
	do {
		ret = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	} while (ring_memory_again(patience, "io_uring_register", ret));
	if (ret == -ENOMEM)
		return ring_memory_short(err, "io_uring_register", -ret);
	if (ret < 0)
		return err_set(err, "the kernel does not take a ring of %u receive buffers: %s",
			count, strerror(-ret));
	for (uint32_t id = 0; id < count; id++) {
		buffers->table[id].id = (uint16_t)id;
		enter(buffers, (uint16_t)id);
	}
	buffers->free = count;
	ring_buffers_publish(ring);
	return 0;
}

/* After the ring is gone: the kernel fills nothing any more. */
void ring_buffers_close(struct ring *ring)
{
	struct ring_buffers *buffers = &ring->buffers;

	if (buffers->memory != NULL) {
		UNPOISON(buffers->memory, (size_t)buffers->count * RING_BUFFER_BYTES);
		munmap(buffers->memory, (size_t)buffers->count * RING_BUFFER_BYTES);
	}
	if (buffers->shared != NULL)
		munmap(buffers->shared, buffers->count * sizeof(struct io_uring_buf));
	free(buffers->table);
	free(buffers->held);
	*buffers = (struct ring_buffers){0};
}

void ring_buffers_taken(struct ring *ring, uint16_t id)
{
	struct ring_buffers *buffers = &ring->buffers;

	ASSERT(id < buffers->count && !buffers->held[id]);
	buffers->held[id] = true;
	buffers->free--;
	UNPOISON(memory_of(buffers, id), RING_BUFFER_BYTES);
}

struct ring_buffer *ring_buffer_of(struct ring *ring, uint32_t flags, int res)
{
	struct ring_buffers *buffers = &ring->buffers;
	uint16_t id = RING_BUFFER_ID(flags);
	struct ring_buffer *buffer;

	ASSERT((flags & RING_BUFFER) && id < buffers->count && buffers->held[id]);
	ASSERT(res <= RING_BUFFER_BYTES);
	buffer = &buffers->table[id];
	buffer->next = NULL;
	buffer->type = 0;
	buffer->bytes = span_of(memory_of(buffers, id), res > 0 ? (size_t)res : 0);
	return buffer;
}

void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer)
{
	struct ring_buffers *buffers = &ring->buffers;
	uint16_t id = buffer->id;

	ASSERT(id < buffers->count && buffer == &buffers->table[id] && buffers->held[id]);
	buffers->held[id] = false;
	buffers->free++;
	buffer->bytes = (struct span){0};
	enter(buffers, id);
}
