/* SPDX-License-Identifier: MIT */
/*
 * fetch.c -- the thread, its queue, and libcurl's multi handle that only the thread touches.
 *
 * fetch_start() puts a job behind the waiting ones and wakes the thread (curl_multi_wakeup() is the one
 * call of libcurl that is allowed from elsewhere). The thread takes as many as may be under way, runs
 * them, and calls done with no lock held: a callee may start another request.
 * The mutex guards the queue, the flag and the sums; jobs under way are the thread's alone.
 */
#include "fetch/fetch-private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"

#define POLL_MS    1000 /* at most; libcurl's own deadlines make it shorter */
#define TROUBLE_MS 100  /* between tries when libcurl cannot even wait */

struct fetch {
	pthread_t thread;
	CURLM *multi;
	char *ca_file;
	struct list active; /* the thread's */
	unsigned active_n;
	pthread_mutex_t mutex; /* of what follows */
	struct list waiting;
	unsigned waiting_n;
	size_t post_bytes; /* of waiting and active ones */
	bool stopping;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

/* Never undone: another user of the process's OpenSSL is still there. */
static void global_init(void)
{
	global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void forget(struct fetch *fetch, struct job *job)
{
	pthread_mutex_lock(&fetch->mutex);
	fetch->post_bytes -= job->post.n;
	pthread_mutex_unlock(&fetch->mutex);
	job_free(job);
}

static void begin(struct fetch *fetch, struct job *job)
{
	if (!job_begin(job, fetch->ca_file) ||
		curl_multi_add_handle(fetch->multi, job->easy) != CURLM_OK) {
		job_end_as(job, FETCH_LOCAL, "memory is short");
		forget(fetch, job);
		return;
	}
	list_push_back(&fetch->active, &job->node);
	fetch->active_n++;
}

static void remove_active(struct fetch *fetch, struct job *job)
{
	(void)curl_multi_remove_handle(fetch->multi, job->easy);
	list_remove(&job->node);
	fetch->active_n--;
}

static struct job *take_waiting(struct fetch *fetch)
{
	struct job *job = NULL;

	pthread_mutex_lock(&fetch->mutex);
	if (!list_empty(&fetch->waiting)) {
		job = container_of(list_pop_front(&fetch->waiting), struct job, node);
		fetch->waiting_n--;
	}
	pthread_mutex_unlock(&fetch->mutex);
	return job;
}

static bool is_stopping(struct fetch *fetch)
{
	bool stopping;

	pthread_mutex_lock(&fetch->mutex);
	stopping = fetch->stopping;
	pthread_mutex_unlock(&fetch->mutex);
	return stopping;
}

/* True: some ended, and there is room for waiting ones. */
static bool reap(struct fetch *fetch)
{
	CURLMsg *message;
	bool any = false;
	int left;

	while ((message = curl_multi_info_read(fetch->multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		char *private = NULL;
		struct job *job;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		job = (struct job *)(void *)private;
		remove_active(fetch, job);
		job_end(job, code);
		forget(fetch, job);
		any = true;
	}
	return any;
}

static void run(struct fetch *fetch)
{
	struct job *job;
	int running;

	while (fetch->active_n < FETCH_JOBS_MAX && (job = take_waiting(fetch)) != NULL)
		begin(fetch, job);
	(void)curl_multi_perform(fetch->multi, &running);
	if (reap(fetch))
		return;
	if (curl_multi_poll(fetch->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
		(void)poll(NULL, 0, TROUBLE_MS);
}

static void stop(struct fetch *fetch)
{
	struct job *job;

	while (!list_empty(&fetch->active)) {
		job = container_of(fetch->active.next, struct job, node);
		remove_active(fetch, job);
		job_end_as(job, FETCH_STOPPED, "the gateway stops");
		forget(fetch, job);
	}
	while ((job = take_waiting(fetch)) != NULL) {
		job_end_as(job, FETCH_STOPPED, "the gateway stops");
		forget(fetch, job);
	}
}

static void *thread_main(void *ctx)
{
	struct fetch *fetch = ctx;

	while (!is_stopping(fetch))
		run(fetch);
	stop(fetch);
	return NULL;
}

/* Signals are for the threads that wait for them; SIGPIPE of a lost connection is for nobody. */
static int start_thread(struct fetch *fetch)
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	result = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (result != 0)
		return -result;
	result = pthread_create(&fetch->thread, NULL, thread_main, fetch);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result == 0)
		pthread_setname_np(fetch->thread, "fetch");
	return -result;
}

static void destroy(struct fetch *fetch)
{
	if (fetch->multi != NULL)
		curl_multi_cleanup(fetch->multi);
	pthread_mutex_destroy(&fetch->mutex);
	free(fetch->ca_file);
	free(fetch);
}

int fetch_open(struct fetch **out, const char *ca_file, struct err *err)
{
	struct fetch *fetch;
	int result;

	*out = NULL;
	pthread_once(&global_once, global_init);
	if (global_result != CURLE_OK)
		return err_set(
			err, "libcurl does not start: %s", curl_easy_strerror(global_result));
	if (ca_file != NULL && access(ca_file, R_OK) != 0)
		return err_set(err, "%s: cannot read: %s", ca_file, strerror(errno));
	fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return err_set(err, "out of memory");
	pthread_mutex_init(&fetch->mutex, NULL);
	list_init(&fetch->active);
	list_init(&fetch->waiting);
	fetch->multi = curl_multi_init();
	fetch->ca_file = ca_file != NULL ? strdup(ca_file) : NULL;
	if (fetch->multi == NULL || (ca_file != NULL && fetch->ca_file == NULL))
		result = -ENOMEM;
	else
		result = start_thread(fetch);
	if (result != 0) {
		destroy(fetch);
		return err_set(err, "cannot start the fetch thread: %s", strerror(-result));
	}
	*out = fetch;
	return 0;
}

static bool enqueue(struct fetch *fetch, struct job *job)
{
	bool taken;

	pthread_mutex_lock(&fetch->mutex);
	taken = !fetch->stopping && fetch->waiting_n < FETCH_WAITING_MAX &&
		job->post.n <= FETCH_POSTS_MAX - fetch->post_bytes;
	if (taken) {
		list_push_back(&fetch->waiting, &job->node);
		fetch->waiting_n++;
		fetch->post_bytes += job->post.n;
		/* Under the mutex: fetch_close() cannot end the handle meanwhile. */
		(void)curl_multi_wakeup(fetch->multi);
	}
	pthread_mutex_unlock(&fetch->mutex);
	return taken;
}

bool fetch_start(struct fetch *fetch, const struct fetch_request *request)
{
	struct job *job = job_new(request);

	if (job == NULL)
		return false;
	if (enqueue(fetch, job))
		return true;
	count(COUNTER_FETCH_FULL);
	job_free(job);
	return false;
}

void fetch_close(struct fetch *fetch)
{
	if (fetch == NULL)
		return;
	pthread_mutex_lock(&fetch->mutex);
	fetch->stopping = true;
	(void)curl_multi_wakeup(fetch->multi);
	pthread_mutex_unlock(&fetch->mutex);
	pthread_join(fetch->thread, NULL);
	destroy(fetch);
}
