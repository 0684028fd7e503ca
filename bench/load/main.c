/* SPDX-License-Identifier: MIT */
/*
 * main.c -- postern-load: sends mail as fast as, or exactly as fast as, it is told, and measures.
 *
 * Starts the workers, shows progress, waits, adds up, reports. SIGINT and SIGTERM end the run early
 * and the report is of what was done; a second one ends the program.
 *
 * Exit codes: 0 everything was accepted, 1 something failed, 2 the command line or the machine (memory,
 * descriptors) does not allow the run.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/lib/context.h"
#include "bench/load/report.h"
#include "bench/load/worker.h"

#define PROGRESS_MS 500
#define LOOK_MS     20
#define FILES_EXTRA 64
#define EXIT_ALL    0
#define EXIT_SOME   1
#define EXIT_CANNOT 2

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	(void)number;
	if (++signals > 1)
		_exit(EXIT_SOME);
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int files_raise(const struct options *options, struct err *err)
{
	rlim_t want = (options->idle ? options->idle : options->concurrency) + FILES_EXTRA;
	struct rlimit limit;
	rlim_t allowed;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_set(err, "getrlimit: %s", strerror(errno));
	if (limit.rlim_cur >= want)
		return 0;
	allowed = limit.rlim_max;
	limit.rlim_cur = want;
	if (limit.rlim_max < want)
		limit.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_set(err,
			"%lu open files are needed and %lu are allowed: raise ulimit -n, or "
			"use several processes with fewer connections each",
			(unsigned long)want, (unsigned long)allowed);
	return 0;
}

static void *worker_main(void *arg)
{
	worker_run(arg);
	return NULL;
}

/* ---- while it runs ---- */

struct view {
	uint64_t next_ns;
	uint64_t last_ns;
	uint64_t last_accepted;
	uint64_t hold_until_ns;
	bool shown;
};

static void progress(struct run *run, struct worker *workers, struct view *view)
{
	const struct options *options = run->options;
	uint64_t accepted = 0, failed = 0, now = clock_ns();
	int64_t open = 0;

	if (options->quiet || !isatty(STDERR_FILENO) || now < view->next_ns)
		return;
	for (unsigned i = 0; i < options->threads; i++) {
		accepted +=
			options->idle ? (uint64_t)workers[i].stats.held : workers[i].stats.accepted;
		failed += stats_failed(&workers[i].stats);
		open += workers[i].stats.open;
	}
	report_progress(stderr, options, accepted, failed, open,
		(double)(now - run->start_ns) / 1e9,
		(double)(accepted - view->last_accepted) * 1e9 /
			(double)(now - (view->last_ns ? view->last_ns : run->start_ns)));
	view->last_accepted = accepted;
	view->last_ns = now;
	view->next_ns = now + PROGRESS_MS * 1000000ull;
	view->shown = true;
}

/* Idle sessions are held from when the last one is open. */
static void hold(struct run *run, struct worker *workers, struct view *view)
{
	const struct options *options = run->options;
	uint64_t opened = 0, failed = 0;

	if (!options->idle)
		return;
	for (unsigned i = 0; i < options->threads; i++) {
		opened += workers[i].stats.sessions;
		failed += stats_failed(&workers[i].stats);
	}
	if (!view->hold_until_ns && opened + failed >= options->idle) {
		if (view->shown)
			report_progress_end(stderr);
		if (failed == 0)
			(void)fprintf(stderr, "postern-load: all sessions are open, holding\n");
		else
			(void)fprintf(stderr,
				"postern-load: %llu of %u sessions are open, holding\n",
				(unsigned long long)opened, options->idle);
		view->hold_until_ns = clock_ns() + (uint64_t)(options->hold_seconds * 1e9);
	}
	if ((view->hold_until_ns && clock_ns() >= view->hold_until_ns) || run->stop)
		run->release = true;
}

static void watch(struct run *run, struct worker *workers)
{
	const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
	struct view view = {0};
	unsigned joined = 0;

	while (joined < run->options->threads) {
		struct timespec until;

		if (signals)
			run->stop = true;
		progress(run, workers, &view);
		hold(run, workers, &view);
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += look.tv_nsec;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		joined += pthread_timedjoin_np(workers[joined].thread, NULL, &until) == 0;
	}
	if (view.shown)
		report_progress_end(stderr);
}

/* ---- the run ---- */

static int threads_start(struct run *run, struct worker *workers, struct err *err)
{
	int error;

	for (unsigned i = 0; i < run->options->threads; i++)
		if (worker_open(&workers[i], run, i, err) < 0)
			return -1;
	run->start_ns = clock_ns();
	for (unsigned i = 0; i < run->options->threads; i++) {
		error = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
		if (error) {
			(void)fprintf(stderr, "postern-load: thread: %s\n", strerror(error));
			_exit(EXIT_CANNOT); /* the others run already and would have to be ended */
		}
	}
	return 0;
}

static int run_all(const struct options *options, struct run *run, struct err *err)
{
	struct worker *workers = calloc(options->threads, sizeof(*workers));
	struct stats *sum = malloc(sizeof(*sum));
	double seconds;
	int result = -1;

	if (!workers || !sum) {
		err_set(err, "out of memory");
		goto out;
	}
	if (threads_start(run, workers, err) < 0)
		goto out;
	watch(run, workers);
	seconds = (double)(clock_ns() - run->start_ns) / 1e9;
	stats_init(sum);
	for (unsigned i = 0; i < options->threads; i++) {
		stats_merge(sum, &workers[i].stats);
		worker_close(&workers[i]);
	}
	if (report_write(stdout, options, sum, seconds) < 0)
		err_set(err, "the report could not be written");
	else
		result = stats_failed(sum) == 0 && sum->lost == 0 ? EXIT_ALL : EXIT_SOME;
out:
	free(workers);
	free(sum);
	return result;
}

static int load(const struct options *options, struct err *err)
{
	const struct context_settings tls = {.version = options->tls_version,
		.cipher = options->cipher,
		.groups = options->groups,
		.resume = options->resume,
		.many_idle = options->idle > 0};
	struct content content = {0};
	struct run run = {.options = options, .content = &content};
	int result = -1;

	if (files_raise(options, err) < 0)
		return -1;
	if (options->tls != TLS_NONE && context_client(&run.context, &tls, err) < 0)
		return -1;
	if (content_open(&content, options, err) == 0)
		result = run_all(options, &run, err);
	content_close(&content);
	SSL_CTX_free(run.context);
	return result;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct options options;
	struct err err = {""};
	int result;

	switch (options_read(&options, argc, argv)) {
	case ARGS_DONE:
		return EXIT_ALL;
	case ARGS_WRONG:
		return EXIT_CANNOT;
	case ARGS_RUN:
		break;
	}
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	result = load(&options, &err);
	if (result >= 0)
		return result;
	(void)fprintf(stderr, "postern-load: %s\n", err.text);
	return EXIT_CANNOT;
}
