/* SPDX-License-Identifier: MIT */
/*
 * http.h -- HTTP/1.1 (and 1.0) as a server of a few small files needs it: request heads, answers' heads.
 *
 * Job: sans-IO, the only user of http_parser. A head is scanned as its octets come, which bounds it
 * and finds its end, and is read once, when it is whole: method, path, host, whether the connection
 * may go on, or the status that refuses it (RFC 9110, RFC 9112).
 * Non-goals: bodies (a request that has one is refused), HTTP/2, ranges, conditions, compression,
 * what a path means.
 * Invariants: no allocation, no clock; the scan looks at each octet once and keeps none; what is
 * refused does not depend on how the octets were cut. Whatever is ambiguous to somebody on the way
 * (bare CR, folded lines, two Hosts, a length beside a coding) is refused, never guessed.
 * Rejected: feeding http_parser as octets come. Its limits are global, a folded line is joined
 * silently, and a struct of a library would stand in each connection.
 */
#ifndef POSTERN_HTTP_HTTP_H
#define POSTERN_HTTP_HTTP_H

#include "base/buf.h"

#define HTTP_LINE_MAX  2048 /* octets of the request line, its end included */
#define HTTP_FIELD_MAX 8192 /* octets of all field lines, the empty one included */
#define HTTP_LINES_MAX 64   /* field lines */
#define HTTP_BLANK_MAX 8    /* octets of empty lines before the request, RFC 9112 2.2 */
#define HTTP_HEAD_MAX  (HTTP_BLANK_MAX + HTTP_LINE_MAX + HTTP_FIELD_MAX)
#define HTTP_HOST_MAX  255

/* Statuses that are used here; each has its reason phrase. */
enum http_code {
	HTTP_CODE_OK = 200,
	HTTP_CODE_BAD_REQUEST = 400,
	HTTP_CODE_NOT_FOUND = 404,
	HTTP_CODE_METHOD_NOT_ALLOWED = 405,
	HTTP_CODE_REQUEST_TIMEOUT = 408,
	HTTP_CODE_LENGTH_REQUIRED = 411,
	HTTP_CODE_CONTENT_TOO_LARGE = 413,
	HTTP_CODE_URI_TOO_LONG = 414,
	HTTP_CODE_MISDIRECTED = 421,
	HTTP_CODE_FIELDS_TOO_LARGE = 431,
	HTTP_CODE_NOT_IMPLEMENTED = 501,
	HTTP_CODE_UNAVAILABLE = 503,
	HTTP_CODE_VERSION_NOT_SUPPORTED = 505,
};

/* "Not Found"; "" for others than those above. */
const char *http_reason(enum http_code code);

/* ---- the scan ---- */

/* Zero at first, and for each further request of a connection. */
struct http_scan {
	uint32_t n;       /* octets seen */
	uint32_t begin;   /* of them, empty lines before the request */
	uint32_t line_at; /* where the line under way begins */
	uint32_t first_n; /* the request line with its end; 0: not seen whole yet */
	uint16_t lines;   /* field lines seen whole */
	bool cr;          /* the last octet was a CR */
	bool blank;       /* the request line has had a space */
};

enum http_step {
	HTTP_STEP_MORE,
	HTTP_STEP_DONE, /* the head is whole: scan->n octets */
	HTTP_STEP_BAD,  /* *code says why; nothing behind can be told apart any more */
};

/* Looks at the octets of *in up to the head's end and takes them off. */
MUST_USE enum http_step http_scan(struct http_scan *scan, struct span *in, enum http_code *code);
/* Has a request begun? (Empty lines are none.) */
bool http_scan_begun(const struct http_scan *scan);

/* ---- the request ---- */

enum http_verb { HTTP_VERB_GET, HTTP_VERB_HEAD };

struct http_request {
	enum http_verb verb;
	bool keep_alive;
	bool absolute;    /* the target named the host, RFC 9112 3.2.2 */
	bool plain;       /* and its scheme is not https */
	uint8_t minor;    /* of the version: HTTP/1.minor */
	struct span path; /* of the head, without the query; "/..." */
	char host[HTTP_HOST_MAX +
		  1]; /* lower case, no port, no final dot; "": HTTP/1.0 without one */
};

/*
 * Reads a head that http_scan() found whole. HTTP_CODE_OK, or the status that refuses it; then *request
 * is void but for `verb` and `keep_alive`: an answer to HEAD has no content, and only 405
 * without content lets a connection go on.
 */
MUST_USE enum http_code http_request_read(struct span head, struct http_request *request);

/* ---- the answer ---- */

#define HTTP_ANSWER_MAX 512 /* octets of an answer's head */

struct http_answer {
	enum http_code code; /* 405 brings Allow along */
	bool keep_alive;
	uint64_t now_s;            /* for Date: seconds since 1970 */
	const char *media_type;    /* of the content */
	const char *cache_control; /* NULL: none is said */
	uint64_t content_n;        /* octets of content (of what GET would bring, for HEAD) */
};

/* Appends status line, fields and the empty line. False: no room; HTTP_ANSWER_MAX is always enough
 * where media_type and cache_control have no more than 100 octets together. */
MUST_USE bool http_answer_write(const struct http_answer *answer, struct buf *out);

#endif
