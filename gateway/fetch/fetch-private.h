/* SPDX-License-Identifier: MIT */
/* fetch-private.h -- one request: a job, its strings, its handles of libcurl. */
#ifndef POSTERN_FETCH_FETCH_PRIVATE_H
#define POSTERN_FETCH_FETCH_PRIVATE_H

#include "fetch/fetch.h"

#include <curl/curl.h>

#include "base/buf.h"
#include "base/list.h"

struct job {
	struct list node; /* of fetch's waiting or active */
	void (*done)(void *ctx, const struct fetch_answer *answer);
	void *ctx;
	uint32_t ms_max;
	/* point into text */
	const char *url;
	const char *resolve;
	const char *type_line; /* NULL: none, as the next */
	const char *encoding_line;
	struct span post;
	/* from job_begin() on */
	CURL *easy;
	CURLSH *share; /* its DNS cache: nobody else's addresses are in it */
	struct curl_slist *resolves;
	struct curl_slist *headers;
	uint8_t *body; /* FETCH_BODY_MAX */
	size_t body_n;
	size_t head_n;
	bool body_large;
	bool head_large;
	char error[CURL_ERROR_SIZE];
	char text[]; /* strings and the post's octets */
};

/* Copies the request. NULL: it cannot be asked for, or memory is short. */
MUST_USE struct job *job_new(const struct fetch_request *request);
/* Makes its handle, ready for the multi handle. False: memory is short. */
MUST_USE bool job_begin(struct job *job, const char *ca_file);
/* Tells the requester what came of it; job->easy is in no multi handle any more. */
void job_end(struct job *job, CURLcode code);
/* The same for one that did not end by itself. */
void job_end_as(struct job *job, enum fetch_result result, const char *why);
void job_free(struct job *job);

#endif
