/* SPDX-License-Identifier: MIT */
/*
 * bpf_gcra: a limiter that is one 64-bit word in an LRU hash, moved on by compare-and-swap: no
 * unit is lost or given twice between CPUs; what is pushed out of the table begins anew, so that
 * only a total behind it holds. Proves kernel-notes/bpf-lru-limiter.md.
 */
#include "kbpf.h"
#include "kmaps.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "maps.skel.h"

#define THREADS     2
#define TIMES       200000
#define BURST       100000ull
#define NOW         1000000000ull
#define SOURCE      7
#define FLOOD       (16 * KB_LRU_MAX)
#define FLOOD_FIRST 1000

static struct maps_bpf *maps;

static uint64_t tat(uint32_t source)
{
	uint64_t value = 0;

	return bpf_map_lookup_elem(bpf_map__fd(maps->maps.sources), &source, &value) < 0 ? 0
											 : value;
}

static void bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		kt_diag("not bound to CPU %d", cpu);
}

static void *run(void *arg)
{
	bind_to((int)(intptr_t)arg);
	km_run(maps->progs.gcra, SOURCE, TIMES);
	return NULL;
}

static void at_once(void)
{
	pthread_t threads[THREADS];

	for (intptr_t i = 0; i < THREADS; i++)
		KT_MUST(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		KT_MUST(pthread_join(threads[i], NULL) == 0);
}

static void exact(void)
{
	maps->bss->now = NOW;
	maps->bss->burst = BURST * KB_GCRA_INTERVAL;
	km_run(maps->progs.gcra, SOURCE, 1);
	at_once();
	kt_diag("%ld CPUs, %llu passed, %llu refused, %llu races lost",
		sysconf(_SC_NPROCESSORS_ONLN), (unsigned long long)maps->bss->passed,
		(unsigned long long)maps->bss->refused, (unsigned long long)maps->bss->lost);
	kt_ok(maps->bss->passed + maps->bss->refused == 1 + THREADS * TIMES,
		"every run is counted");
	kt_ok(maps->bss->passed == BURST,
		"of %d units asked for by %d CPUs at once exactly the burst of %llu is given",
		1 + THREADS * TIMES, THREADS, BURST);
	kt_ok(tat(SOURCE) == NOW + BURST * KB_GCRA_INTERVAL, "and the word says so");
	maps->bss->passed = 0;
	maps->bss->now = NOW + 10 * KB_GCRA_INTERVAL;
	at_once();
	kt_ok(maps->bss->passed == 10, "ten intervals later there are ten units");
}

static void pushed_out(void)
{
	maps->bss->passed = 0;
	maps->bss->burst = 3 * KB_GCRA_INTERVAL;
	maps->bss->now = 2 * NOW;
	km_run(maps->progs.gcra, SOURCE, 5);
	kt_ok(maps->bss->passed == 3, "a source with a burst of 3 passes 3 times");
	for (uint32_t i = 0; i < FLOOD; i++)
		km_run(maps->progs.gcra, FLOOD_FIRST + i, 1);
	kt_ok(maps->bss->passed == 3 + FLOOD,
		"%d sources through a table of %d: each has an entry, and passes", FLOOD,
		KB_LRU_MAX);
	kt_ok(tat(SOURCE) == 0, "the first one's has been pushed out");
	maps->bss->passed = 0;
	km_run(maps->progs.gcra, SOURCE, 5);
	kt_ok(maps->bss->passed == 3, "so that it passes 3 times more: eviction fails open");
}

static void behind(void)
{
	maps->bss->passed = 0;
	maps->bss->now = 3 * NOW;
	maps->bss->all_burst = 100 * KB_GCRA_INTERVAL;
	for (uint32_t i = 0; i < FLOOD; i++)
		km_run(maps->progs.gcra, FLOOD_FIRST + i, 1);
	kt_ok(maps->bss->passed == 100, "with a total of 100 behind it the same flood passes 100");
}

int main(void)
{
	maps = km_begin();
	/* A new entry stays with the CPU that made it until that one needs room. */
	bind_to(0);
	exact();
	pushed_out();
	behind();
	maps_bpf__destroy(maps);
	return kt_done();
}
