/* SPDX-License-Identifier: MIT */
/*
 * job.c -- one HTTPS request by libcurl: what is set on its handle, and what its end means.
 *
 * Everything that libcurl would do out of kindness is off, whatever the environment says: other
 * protocols, redirects, proxies, cookies, .netrc, compression, kept connections, and looking names up.
 * The host's addresses are planted in a DNS cache that only this job has; a look-up that the cache
 * did not answer is refused (no_lookup). HTTP/1.1 only: for one small text HTTP/2 is more to go wrong.
 */
#include "fetch/fetch-private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define AGENT        "postern"
#define HOST_MAX     253
#define STATUS_FIRST 200
#define STATUS_LAST  599

static const char *const result_texts[FETCH_RESULTS] = {
	[FETCH_OK] = "ok",
	[FETCH_CONNECT] = "connect",
	[FETCH_CERTIFICATE] = "certificate",
	[FETCH_TLS] = "tls",
	[FETCH_TIMEOUT] = "timeout",
	[FETCH_LARGE] = "large",
	[FETCH_HTTP] = "http",
	[FETCH_STOPPED] = "stopped",
	[FETCH_LOCAL] = "local",
};

/* What libcurl 7.88 says, where it is not FETCH_LOCAL. */
static const struct {
	CURLcode code;
	enum fetch_result result;
} code_results[] = {
	{CURLE_OK, FETCH_OK},
	{CURLE_COULDNT_CONNECT, FETCH_CONNECT},
	{CURLE_GOT_NOTHING, FETCH_CONNECT},
	{CURLE_PARTIAL_FILE, FETCH_CONNECT},
	{CURLE_SEND_ERROR, FETCH_CONNECT},
	{CURLE_RECV_ERROR, FETCH_CONNECT},
	{CURLE_PEER_FAILED_VERIFICATION, FETCH_CERTIFICATE},
	{CURLE_SSL_ISSUER_ERROR, FETCH_CERTIFICATE},
	{CURLE_SSL_INVALIDCERTSTATUS, FETCH_CERTIFICATE},
	{CURLE_SSL_CONNECT_ERROR, FETCH_TLS},
	{CURLE_SSL_CIPHER, FETCH_TLS},
	{CURLE_SSL_CLIENTCERT, FETCH_TLS},
	{CURLE_OPERATION_TIMEDOUT, FETCH_TIMEOUT},
	{CURLE_FILESIZE_EXCEEDED, FETCH_LARGE},
	{CURLE_UNSUPPORTED_PROTOCOL, FETCH_HTTP}, /* HTTP/0.9: no status line */
	{CURLE_WEIRD_SERVER_REPLY, FETCH_HTTP},
	{CURLE_BAD_CONTENT_ENCODING, FETCH_HTTP},
	{CURLE_HTTP2, FETCH_HTTP},
};

const char *fetch_result_text(enum fetch_result result)
{
	ASSERT((size_t)result < FETCH_RESULTS);
	return result_texts[result];
}

/* ---- the request, copied ---- */

/* What means nothing but itself in a URL's host. */
static bool host_valid(const char *host)
{
	size_t n = strlen(host);

	if (n == 0 || n > HOST_MAX || host[0] == '.' || host[n - 1] == '.')
		return false;
	return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
	       n;
}

static bool path_valid(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < n; i++)
		if (path[i] <= ' ' || path[i] > '~' || path[i] == '#')
			return false;
	return n > 0 && n <= FETCH_PATH_MAX && path[0] == '/';
}

static bool put_address(struct buf *text, const struct sockaddr_storage *address)
{
	bool is_v6 = address->ss_family == AF_INET6;
	char name[INET6_ADDRSTRLEN];
	const void *from = is_v6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
				 : (const void *)&((const struct sockaddr_in *)address)->sin_addr;

	if (inet_ntop(address->ss_family, from, name, sizeof(name)) == NULL)
		return false;
	return buf_printf(text, is_v6 ? "[%s]" : "%s", name);
}

/* "HOST:PORT:ADDRESS,ADDRESS". False: there is no address. */
static bool put_resolve(struct buf *text, const struct fetch_request *request)
{
	size_t taken = 0;

	ASSERT(buf_printf(text, "%s:%u:", request->host, request->port));
	for (size_t i = 0; i < min_size(request->addresses_n, FETCH_ADDRESSES_MAX); i++) {
		const struct sockaddr_storage *address = &request->addresses[i];

		if (address->ss_family != AF_INET && address->ss_family != AF_INET6)
			continue;
		ASSERT(taken == 0 || buf_puts(text, ","));
		ASSERT(put_address(text, address));
		taken++;
	}
	return taken > 0;
}

/* Ends the string that began at the buffer's *at. */
static const char *string_end(struct buf *text, uint32_t *at)
{
	const char *string = (const char *)text->p + *at;

	ASSERT(buf_put(text, span_of("", 1)));
	*at = text->end;
	return string;
}

static const char *put_line(struct buf *text, uint32_t *at, const char *name, const char *value)
{
	if (value == NULL)
		return NULL;
	ASSERT(buf_printf(text, "%s: %s", name, value));
	return string_end(text, at);
}

static bool fill(struct job *job, size_t cap, const struct fetch_request *request)
{
	struct buf text;
	uint32_t at = 0;

	buf_init(&text, job->text, cap);
	ASSERT(buf_printf(&text, "https://%s:%u%s", request->host, request->port, request->path));
	job->url = string_end(&text, &at);
	if (!put_resolve(&text, request))
		return false;
	job->resolve = string_end(&text, &at);
	job->type_line = put_line(&text, &at, "Content-Type", request->content_type);
	job->encoding_line = put_line(&text, &at, "Content-Encoding", request->encoding);
	if (request->post.p != NULL) {
		ASSERT(buf_put(&text, request->post));
		job->post = span_of(job->text + at, request->post.n);
	}
	return true;
}

static size_t length(const char *text)
{
	return text != NULL ? strlen(text) : 0;
}

struct job *job_new(const struct fetch_request *request)
{
	struct job *job;
	size_t cap;

	if (!host_valid(request->host) || !path_valid(request->path) || request->port == 0 ||
		request->post.n > FETCH_POST_MAX)
		return NULL;
	cap = 2 * strlen(request->host) + strlen(request->path) + length(request->content_type) +
	      length(request->encoding) + FETCH_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3) +
	      request->post.n + 256;
	job = calloc(1, sizeof(*job) + cap);
	if (job == NULL)
		return NULL;
	list_init(&job->node);
	job->done = request->done;
	job->ctx = request->ctx;
	job->ms_max = request->ms_max > 0 ? request->ms_max : FETCH_MS_MAX;
	if (fill(job, cap, request))
		return job;
	job_free(job);
	return NULL;
}

/* ---- the handle ---- */

static size_t take_head(char *octets, size_t size, size_t n, void *ctx)
{
	struct job *job = ctx;

	(void)octets;
	job->head_n += size * n;
	job->head_large = job->head_n > FETCH_HEAD_MAX;
	return job->head_large ? 0 : size * n;
}

static size_t take_body(char *octets, size_t size, size_t n, void *ctx)
{
	struct job *job = ctx;

	n *= size;
	if (n > FETCH_BODY_MAX - job->body_n) {
		job->body_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	memcpy(job->body + job->body_n, octets, n);
	job->body_n += n;
	return n;
}

static int no_lookup(void *state, void *reserved, void *ctx)
{
	(void)state;
	(void)reserved;
	(void)ctx;
	return 1;
}

static bool set_bounds(struct job *job)
{
	CURL *easy = job->easy;
	long connect_ms = (long)min_size(job->ms_max, FETCH_CONNECT_MS_MAX);

	return curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)job->ms_max) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)FETCH_BODY_MAX) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HEADERDATA, job) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_WRITEDATA, job) == CURLE_OK;
}

static bool set_tls(struct job *job, const char *ca_file)
{
	CURL *easy = job->easy;

	if (ca_file != NULL && (curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) != CURLE_OK ||
				       curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK))
		return false;
	return curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) ==
		       CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK;
}

static bool set_manners(struct job *job)
{
	CURL *easy = job->easy;

	return curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ==
		       CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_USERAGENT, AGENT) == CURLE_OK;
}

static bool set_place(struct job *job)
{
	CURL *easy = job->easy;

	job->resolves = curl_slist_append(NULL, job->resolve);
	return job->resolves != NULL &&
	       curl_share_setopt(job->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK &&
	       curl_easy_setopt(easy, CURLOPT_SHARE, job->share) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_RESOLVE, job->resolves) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, no_lookup) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_URL, job->url) == CURLE_OK;
}

static bool add_header(struct job *job, const char *line)
{
	struct curl_slist *longer;

	if (line == NULL)
		return true;
	longer = curl_slist_append(job->headers, line);
	if (longer != NULL)
		job->headers = longer;
	return longer != NULL;
}

static bool set_post(struct job *job)
{
	CURL *easy = job->easy;

	if (job->post.p == NULL)
		return true;
	/* "Expect:" without a value: libcurl must not wait for a 100 that few servers send. */
	return add_header(job, job->type_line) && add_header(job, job->encoding_line) &&
	       add_header(job, "Expect:") && curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_POSTFIELDS, job->post.p) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)job->post.n) == CURLE_OK &&
	       curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->headers) == CURLE_OK;
}

bool job_begin(struct job *job, const char *ca_file)
{
	job->body = malloc(FETCH_BODY_MAX);
	job->share = curl_share_init();
	job->easy = curl_easy_init();
	if (job->body == NULL || job->share == NULL || job->easy == NULL)
		return false;
	return curl_easy_setopt(job->easy, CURLOPT_ERRORBUFFER, job->error) == CURLE_OK &&
	       curl_easy_setopt(job->easy, CURLOPT_PRIVATE, job) == CURLE_OK && set_bounds(job) &&
	       set_tls(job, ca_file) && set_manners(job) && set_place(job) && set_post(job);
}

/* ---- its end ---- */

/* A line above libcurl's own bound (100 KiB) comes as a lack of memory once the request is out. */
static bool is_long_line(const struct job *job, CURLcode code)
{
	long sent = 0;

	return code == CURLE_OUT_OF_MEMORY &&
	       curl_easy_getinfo(job->easy, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK && sent > 0;
}

static enum fetch_result result_of(const struct job *job, CURLcode code)
{
	if (job->body_large)
		return FETCH_LARGE;
	if (job->head_large || is_long_line(job, code))
		return FETCH_HTTP;
	for (size_t i = 0; i < COUNT_OF(code_results); i++)
		if (code_results[i].code == code)
			return code_results[i].result;
	return FETCH_LOCAL;
}

/* The peer has a hand in libcurl's texts. */
static void set_why(struct fetch_answer *answer, const char *why)
{
	size_t n = min_size(strlen(why), sizeof(answer->why) - 1);

	for (size_t i = 0; i < n; i++)
		answer->why[i] = why[i] >= ' ' && why[i] <= '~' ? why[i] : '?';
	answer->why[n] = '\0';
}

void job_end_as(struct job *job, enum fetch_result result, const char *why)
{
	struct fetch_answer answer = {.result = result};

	set_why(&answer, why);
	job->done(job->ctx, &answer);
}

static const char *why_of(const struct job *job, CURLcode code)
{
	if (job->body_large || code == CURLE_FILESIZE_EXCEEDED)
		return "the answer is too large";
	if (job->head_large || is_long_line(job, code))
		return "the answer's head is too large";
	return job->error[0] != '\0' ? job->error : curl_easy_strerror(code);
}

void job_end(struct job *job, CURLcode code)
{
	struct fetch_answer answer = {.result = result_of(job, code)};
	const char *type = NULL;
	long status = 0;

	if (answer.result != FETCH_OK) {
		job_end_as(job, answer.result, why_of(job, code));
		return;
	}
	if (curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
		status < STATUS_FIRST || status > STATUS_LAST) {
		job_end_as(job, FETCH_HTTP, "the answer's status is none");
		return;
	}
	answer.status = (uint16_t)status;
	if (curl_easy_getinfo(job->easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL)
		answer.content_type = span_str(type);
	answer.body = span_of(job->body, job->body_n);
	job->done(job->ctx, &answer);
}

void job_free(struct job *job)
{
	curl_easy_cleanup(job->easy);
	if (job->share != NULL)
		curl_share_cleanup(job->share);
	curl_slist_free_all(job->resolves);
	curl_slist_free_all(job->headers);
	free(job->body);
	free(job);
}
