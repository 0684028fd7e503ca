/* SPDX-License-Identifier: MIT */
/*
 * buffers.c -- the provided buffers: two groups, each with one mapping and one table of holders'
 * records. The wide ones are few: they are filled in turn, and what goes round in little memory is
 * still in the processor's caches when it is filled again. An id says which group it is of.
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

#include "base/counter.h"
#include "base/poison.h"

#define BUFFERS_MAX 32768 /* ids from here on are of wide ones */

static struct ring_buffers *group_of(struct ring *ring, uint16_t id)
{
	return id < BUFFERS_MAX ? &ring->buffers : &ring->wide;
}

static uint32_t index_of(uint16_t id)
{
	return id % BUFFERS_MAX;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static uint8_t *memory_of(const struct ring_buffers *buffers, uint16_t id)
{
	return buffers->memory + index_of(id) * (size_t)buffers->bytes;
}

/* The tail lies over the first entry's last member: entries are written member by member. */
static void enter(struct ring_buffers *buffers, uint16_t id)
{
	uint32_t tail = buffers->shared->tail + buffers->unpublished;
	struct io_uring_buf *entries = (struct io_uring_buf *)buffers->shared;
	struct io_uring_buf *entry = &entries[tail & (buffers->count - 1)];

	entry->addr = (uintptr_t)memory_of(buffers, id);
	entry->len = buffers->bytes;
	entry->bid = id;
	buffers->unpublished++;
	POISON(memory_of(buffers, id), buffers->bytes);
}

static void publish(struct ring_buffers *buffers)
{
	uint16_t tail = (uint16_t)(buffers->shared->tail + buffers->unpublished);

	if (buffers->unpublished == 0)
		return;
	io_uring_smp_store_release(&buffers->shared->tail, tail);
	buffers->unpublished = 0;
}

void ring_buffers_publish(struct ring *ring)
{
	publish(&ring->buffers);
	publish(&ring->wide);
}

static int group_open(struct ring *ring, struct ring_buffers *buffers,
	struct ring_patience *patience, struct err *err)
{
	bool wide = buffers == &ring->wide;
	uint32_t count = buffers->count;
	struct io_uring_buf_reg reg = {
		.ring_entries = count, .bgid = wide ? RING_WIDE_GROUP : RING_BUFFER_GROUP};
	int ret;

	ASSERT(count > 0 && count <= BUFFERS_MAX && (count & (count - 1)) == 0);
	buffers->shared = map(count * sizeof(struct io_uring_buf));
	buffers->memory = map((size_t)count * buffers->bytes);
	buffers->table = calloc(count, sizeof(buffers->table[0]));
	buffers->held = calloc(count, sizeof(buffers->held[0]));
	if (!buffers->shared || !buffers->memory || !buffers->table || !buffers->held)
		return err_set(
			err, "no memory for %u receive buffers of %u bytes", count, buffers->bytes);
	reg.ring_addr = (uintptr_t)buffers->shared;
	do {
		ret = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	} while (ring_memory_again(patience, "io_uring_register", ret));
	if (ret == -ENOMEM)
		return ring_memory_short(err, "io_uring_register", -ret);
	if (ret < 0)
		return err_set(err, "the kernel does not take a ring of %u receive buffers: %s",
			count, strerror(-ret));
	for (uint32_t i = 0; i < count; i++) {
		buffers->table[i].id = (uint16_t)(wide ? BUFFERS_MAX + i : i);
		enter(buffers, buffers->table[i].id);
	}
	buffers->free = count;
	publish(buffers);
	return 0;
}

int ring_buffers_open(
	struct ring *ring, uint32_t count, struct ring_patience *patience, struct err *err)
{
	ring->buffers.count = count;
	ring->buffers.bytes = RING_BUFFER_BYTES;
	ring->wide.count = RING_WIDE_BUFFERS;
	ring->wide.bytes = RING_WIDE_BYTES;
	if (group_open(ring, &ring->buffers, patience, err) < 0)
		return -1;
	return group_open(ring, &ring->wide, patience, err);
}

static void group_close(struct ring_buffers *buffers)
{
	if (buffers->memory != NULL) {
		UNPOISON(buffers->memory, (size_t)buffers->count * buffers->bytes);
		munmap(buffers->memory, (size_t)buffers->count * buffers->bytes);
	}
	if (buffers->shared != NULL)
		munmap(buffers->shared, buffers->count * sizeof(struct io_uring_buf));
	free(buffers->table);
	free(buffers->held);
	*buffers = (struct ring_buffers){0};
}

/* After the ring is gone: the kernel fills nothing any more. */
void ring_buffers_close(struct ring *ring)
{
	group_close(&ring->buffers);
	group_close(&ring->wide);
}

void ring_buffers_taken(struct ring *ring, uint16_t id)
{
	struct ring_buffers *buffers = group_of(ring, id);

	ASSERT(index_of(id) < buffers->count && !buffers->held[index_of(id)]);
	buffers->held[index_of(id)] = true;
	buffers->free--;
	if (buffers == &ring->wide)
		count(COUNTER_RING_WIDE);
	UNPOISON(memory_of(buffers, id), buffers->bytes);
}

struct ring_buffer *ring_buffer_of(struct ring *ring, uint32_t flags, int res)
{
	uint16_t id = RING_BUFFER_ID(flags);
	struct ring_buffers *buffers = group_of(ring, id);
	struct ring_buffer *buffer;

	ASSERT((flags & RING_BUFFER) && index_of(id) < buffers->count &&
		buffers->held[index_of(id)]);
	ASSERT(res <= (int)buffers->bytes);
	buffer = &buffers->table[index_of(id)];
	buffer->next = NULL;
	buffer->type = 0;
	buffer->bytes = span_of(memory_of(buffers, id), res > 0 ? (size_t)res : 0);
	return buffer;
}

void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer)
{
	uint16_t id = buffer->id;
	struct ring_buffers *buffers = group_of(ring, id);

	ASSERT(index_of(id) < buffers->count && buffer == &buffers->table[index_of(id)] &&
		buffers->held[index_of(id)]);
	buffers->held[index_of(id)] = false;
	buffers->free++;
	buffer->bytes = (struct span){0};
	enter(buffers, id);
}
