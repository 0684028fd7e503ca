/* SPDX-License-Identifier: MIT */
/*
 * kernel_maps.c -- the programs' maps by descriptor: rules, marks, lists, sources, counts, samples.
 *
 * All of it works in the child, which has no capability: bpf(2) asks for one to make a map or to
 * load a program, not to use a map whose descriptor one has. Commands used: update and delete on
 * any thread (single calls; the kernel orders them); look-up, next key and batch look-up on the
 * control thread, which owns the buffers here. Totals and board are mapped and read without a call.
 *
 * An update that the kernel does not take (no memory, a full table) is counted, and the gateway
 * goes on: its own limiter still knows.
 */
#include "fence/kernel-private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/counter.h"

#define BATCH_ENTRIES 1024 /* more than a bucket of a hash ever has */
#define VALUE_BYTES   sizeof(struct fence_source)

struct kernel_batch {
	uint8_t keys[BATCH_ENTRIES][NETWORK_BYTES];
	_Alignas(8) uint8_t values[BATCH_ENTRIES * VALUE_BYTES];
};

static void checked(int res)
{
	if (res != 0)
		count(COUNTER_FENCE_KERNEL_ERRORS);
}

/* ---- opening ---- */

static size_t pages(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) / page * page;
}

static const void *map_mapped(int fd, size_t n)
{
	void *p = mmap(NULL, pages(n), PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int sample_take(void *ctx, void *data, size_t n)
{
	struct fence_kernel *kernel = ctx;

	if (n >= sizeof(struct fence_sample))
		memcpy(&kernel->samples_out[kernel->samples_n++], data,
			sizeof(struct fence_sample));
	return kernel->samples_n < kernel->samples_max ? 0 : -ENOSPC; /* this one is taken */
}

int kernel_maps_open(struct fence_kernel *kernel, struct err *err)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus <= 0)
		return err_set(err, "cannot tell the number of CPUs: %s", strerror(-cpus));
	kernel->cpus = (unsigned)cpus;
	kernel->per_cpu = calloc(kernel->cpus, sizeof(*kernel->per_cpu));
	kernel->batch = calloc(1, sizeof(*kernel->batch));
	if (kernel->per_cpu == NULL || kernel->batch == NULL)
		return err_set(err, "out of memory");
	kernel->totals = map_mapped(kernel->maps[KERNEL_MAP_TOTALS], sizeof(*kernel->totals));
	kernel->board = map_mapped(kernel->maps[KERNEL_MAP_BOARD], sizeof(*kernel->board));
	if (kernel->totals == NULL || kernel->board == NULL)
		return err_set(err, "cannot map the totals or the board: %s", strerror(errno));
	kernel->samples =
		ring_buffer__new(kernel->maps[KERNEL_MAP_SAMPLES], sample_take, kernel, NULL);
	if (kernel->samples == NULL)
		return err_set(err, "cannot map the samples: %s", strerror(errno));
	return 0;
}

void kernel_maps_close(struct fence_kernel *kernel)
{
	ring_buffer__free(kernel->samples);
	if (kernel->totals != NULL)
		munmap((void *)kernel->totals, pages(sizeof(*kernel->totals)));
	if (kernel->board != NULL)
		munmap((void *)kernel->board, pages(sizeof(*kernel->board)));
	free(kernel->per_cpu);
	free(kernel->batch);
	for (size_t i = 0; i < KERNEL_MAPS; i++)
		if (kernel->maps[i] >= 0)
			close(kernel->maps[i]);
}

/* ---- on any thread ---- */

void fence_kernel_rules(struct fence_kernel *kernel, const struct fence_rules *rules)
{
	uint32_t zero = 0;

	checked(bpf_map_update_elem(kernel->maps[KERNEL_MAP_RULES], &zero, rules, BPF_ANY));
}

/* With the lock a mark that is there is written over in its place. */
int fence_kernel_mark(struct fence_kernel *kernel, int fd, enum fence_class class)
{
	struct fence_mark mark = {.class = class};
	int res = bpf_map_update_elem(kernel->maps[KERNEL_MAP_CLASSES], &fd, &mark, BPF_F_LOCK);

	checked(res);
	return res;
}

/* An entry that is to be forgotten need not be there. */
static void until_put(
	struct fence_kernel *kernel, enum kernel_map map, const uint8_t *source, uint64_t until_ns)
{
	int res;

	if (until_ns != 0) {
		checked(bpf_map_update_elem(kernel->maps[map], source, &until_ns, BPF_ANY));
		return;
	}
	res = bpf_map_delete_elem(kernel->maps[map], source);
	checked(res == -ENOENT ? 0 : res);
}

void fence_kernel_behaved(
	struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES], uint64_t until_ns)
{
	until_put(kernel, KERNEL_MAP_BEHAVED, source, until_ns);
}

void fence_kernel_penalty(
	struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES], uint64_t until_ns)
{
	until_put(kernel, KERNEL_MAP_PENALTIES, source, until_ns);
}

void fence_kernel_forget(struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES])
{
	until_put(kernel, KERNEL_MAP_SOURCES, source, 0);
	until_put(kernel, KERNEL_MAP_BEHAVED, source, 0);
	until_put(kernel, KERNEL_MAP_PENALTIES, source, 0);
}

void fence_kernel_net(
	struct fence_kernel *kernel, const struct network *network, const struct fence_net *net)
{
	struct fence_net_key key = {.bits = network->bits};
	int res;

	memcpy(key.address, network->address, sizeof(key.address));
	if (net->action != 0) {
		checked(bpf_map_update_elem(kernel->maps[KERNEL_MAP_NETS], &key, net, BPF_ANY));
		return;
	}
	res = bpf_map_delete_elem(kernel->maps[KERNEL_MAP_NETS], &key);
	checked(res == -ENOENT ? 0 : res);
}

const struct fence_board *fence_kernel_board(const struct fence_kernel *kernel)
{
	return kernel->board;
}

const struct fence_totals *fence_kernel_totals(const struct fence_kernel *kernel)
{
	return kernel->totals;
}

/* ---- the lists that were there ---- */

/* All keys, so that what is visited may be taken away. NULL: none, or no memory. */
static struct fence_net_key *nets_keys(struct fence_kernel *kernel, size_t *n)
{
	int fd = kernel->maps[KERNEL_MAP_NETS];
	struct fence_net_key *keys = calloc(FENCE_NETS_MAX, sizeof(*keys));

	*n = 0;
	while (keys != NULL && *n < FENCE_NETS_MAX &&
		bpf_map_get_next_key(fd, *n > 0 ? &keys[*n - 1] : NULL, &keys[*n]) == 0)
		(*n)++;
	return keys;
}

void fence_kernel_nets_each(struct fence_kernel *kernel,
	void (*visit)(void *ctx, const struct network *network, const struct fence_net *net),
	void *ctx)
{
	int fd = kernel->maps[KERNEL_MAP_NETS];
	uint64_t now = fence_now_ns();
	size_t n;
	struct fence_net_key *keys = nets_keys(kernel, &n);

	for (size_t i = 0; i < n; i++) {
		struct network network = {.bits = (uint8_t)keys[i].bits};
		struct fence_net net;

		if (bpf_map_lookup_elem(fd, &keys[i], &net) != 0 ||
			net.origin != FENCE_ORIGIN_OPERATOR ||
			(net.until_ns != 0 && net.until_ns <= now))
			continue;
		memcpy(network.address, keys[i].address, sizeof(network.address));
		visit(ctx, &network, &net);
	}
	free(keys);
}

void kernel_maps_nets_clean(struct fence_kernel *kernel)
{
	int fd = kernel->maps[KERNEL_MAP_NETS];
	size_t n;
	struct fence_net_key *keys = nets_keys(kernel, &n);

	for (size_t i = 0; i < n; i++) {
		struct fence_net net;

		if (bpf_map_lookup_elem(fd, &keys[i], &net) == 0 &&
			net.origin != FENCE_ORIGIN_OPERATOR)
			checked(bpf_map_delete_elem(fd, &keys[i]));
	}
	free(keys);
}

/* ---- sources ---- */

/* A hash is read bucket by bucket, from bucket *from on: entries that come and go meanwhile do no harm.
 * False: it has more than were visited, n_max and what is left of a batch, and *from is the next. */
static bool hash_some(struct fence_kernel *kernel, enum kernel_map map, size_t value_bytes,
	uint32_t *from, uint64_t n_max,
	void (*visit)(void *ctx, const uint8_t *source, const void *value), void *ctx)
{
	struct kernel_batch *batch = kernel->batch;
	uint64_t visited = 0;
	int res;

	ASSERT(value_bytes <= VALUE_BYTES);
	do {
		uint32_t n = BATCH_ENTRIES;

		if (visited >= n_max)
			return false;
		res = bpf_map_lookup_batch(kernel->maps[map], *from == 0 ? NULL : from, from,
			batch->keys, batch->values, &n, NULL);
		if (res != 0 && res != -ENOENT)
			break;
		for (uint32_t i = 0; i < n; i++)
			visit(ctx, batch->keys[i], batch->values + i * value_bytes);
		visited += n;
	} while (res == 0);
	*from = 0;
	return true;
}

static void hash_each(struct fence_kernel *kernel, enum kernel_map map, size_t value_bytes,
	void (*visit)(void *ctx, const uint8_t *source, const void *value), void *ctx)
{
	uint32_t from = 0;

	(void)hash_some(kernel, map, value_bytes, &from, UINT64_MAX, visit, ctx);
}

struct sources_visit {
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state);
	void *ctx;
};

static void sources_visit(void *ctx, const uint8_t *source, const void *value)
{
	const struct sources_visit *to = ctx;
	struct fence_source state;

	memcpy(&state, value, sizeof(state));
	to->visit(to->ctx, source, &state);
}

bool fence_kernel_sources_some(struct fence_kernel *kernel, uint32_t *from, uint64_t n_max,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state),
	void *ctx)
{
	struct sources_visit to = {visit, ctx};

	return hash_some(kernel, KERNEL_MAP_SOURCES, sizeof(struct fence_source), from, n_max,
		sources_visit, &to);
}

bool fence_kernel_source(struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES],
	struct fence_source *state, uint64_t *behaved_until_ns, uint64_t *penalty_until_ns)
{
	*behaved_until_ns = 0;
	*penalty_until_ns = 0;
	memset(state, 0, sizeof(*state));
	(void)bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_BEHAVED], source, behaved_until_ns);
	(void)bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_PENALTIES], source, penalty_until_ns);
	return bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_SOURCES], source, state) == 0;
}

struct standing_visit {
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty);
	void *ctx;
	bool penalty;
};

static void standing_visit(void *ctx, const uint8_t *source, const void *value)
{
	const struct standing_visit *to = ctx;
	uint64_t until_ns;

	memcpy(&until_ns, value, sizeof(until_ns));
	to->visit(to->ctx, source, until_ns, to->penalty);
}

void fence_kernel_standings_each(struct fence_kernel *kernel,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty),
	void *ctx)
{
	struct standing_visit behaved = {visit, ctx, false};
	struct standing_visit penalties = {visit, ctx, true};

	hash_each(kernel, KERNEL_MAP_BEHAVED, sizeof(uint64_t), standing_visit, &behaved);
	hash_each(kernel, KERNEL_MAP_PENALTIES, sizeof(uint64_t), standing_visit, &penalties);
}

bool fence_kernel_penalties_some(struct fence_kernel *kernel, uint32_t *from, uint64_t n_max,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty),
	void *ctx)
{
	struct standing_visit to = {visit, ctx, true};

	return hash_some(
		kernel, KERNEL_MAP_PENALTIES, sizeof(uint64_t), from, n_max, standing_visit, &to);
}

struct entries {
	uint64_t n;
	uint64_t now; /* 0: entries have no end */
};

static void entries_count(void *ctx, const uint8_t *source, const void *value)
{
	struct entries *entries = ctx;
	uint64_t until;

	(void)source;
	memcpy(&until, value, sizeof(until));
	if (entries->now == 0 || until > entries->now)
		entries->n++;
}

/* The kernel keeps no count of a hash's entries: a bounded part is gone through, and *partial set
 * where there is more. */
static uint64_t entries_n(struct fence_kernel *kernel, enum kernel_map map, size_t value_bytes,
	uint64_t now, bool *partial)
{
	struct entries entries = {.now = now};
	uint32_t from = 0;

	*partial = !hash_some(
		kernel, map, value_bytes, &from, FENCE_SIZES_MAX, entries_count, &entries);
	return entries.n;
}

void fence_kernel_sizes(struct fence_kernel *kernel, struct fence_status *out)
{
	uint64_t now = fence_now_ns();

	out->sources_kernel = entries_n(
		kernel, KERNEL_MAP_SOURCES, sizeof(struct fence_source), 0, &out->sources_partial);
	out->behaved =
		entries_n(kernel, KERNEL_MAP_BEHAVED, sizeof(uint64_t), now, &out->behaved_partial);
	out->penalties = entries_n(
		kernel, KERNEL_MAP_PENALTIES, sizeof(uint64_t), now, &out->penalties_partial);
}

/* A source whose state is not at rest may lose an update: before anything is attached there is none. */
static void gauge_reset(
	void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state)
{
	struct fence_kernel *kernel = ctx;
	struct fence_source idle = *state;

	memset(idle.gauge, 0, sizeof(idle.gauge));
	checked(bpf_map_update_elem(kernel->maps[KERNEL_MAP_SOURCES], source, &idle, BPF_EXIST));
}

void kernel_maps_gauges_reset(struct fence_kernel *kernel)
{
	uint32_t from = 0;

	(void)fence_kernel_sources_some(kernel, &from, UINT64_MAX, gauge_reset, kernel);
}

/* ---- counts and samples ---- */

void fence_kernel_counts(
	struct fence_kernel *kernel, struct fence_count out[FENCE_CLASSES][FENCE_REASONS])
{
	for (uint32_t key = 0; key < FENCE_CLASSES * FENCE_REASONS; key++) {
		struct fence_count *sum = &out[key / FENCE_REASONS][key % FENCE_REASONS];

		*sum = (struct fence_count){0};
		if (bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_COUNTS], &key, kernel->per_cpu) !=
			0)
			continue;
		for (unsigned cpu = 0; cpu < kernel->cpus; cpu++) {
			sum->packets += kernel->per_cpu[cpu].packets;
			sum->bytes += kernel->per_cpu[cpu].bytes;
		}
	}
}

int fence_kernel_samples_fd(const struct fence_kernel *kernel)
{
	return ring_buffer__epoll_fd(kernel->samples);
}

size_t fence_kernel_samples(struct fence_kernel *kernel, struct fence_sample *out, size_t n)
{
	if (n == 0)
		return 0;
	kernel->samples_out = out;
	kernel->samples_n = 0;
	kernel->samples_max = n;
	(void)ring_buffer__consume(kernel->samples);
	kernel->samples_out = NULL;
	return kernel->samples_n;
}
