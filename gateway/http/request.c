/* SPDX-License-Identifier: MIT */
/*
 * request.c -- a whole head, read by http_parser, then judged.
 *
 * The library knows the grammar; what it lets through and RFC 9112 does not is refused here: no Host or
 * two, a host that is none, a coding beside HTTP/1.0. All is in one piece, so each of its callbacks comes
 * once a field and its octets can be borrowed.
 *
 * The order of refusals is that of what a client should mend first: the form, the version, the host,
 * the method, the content, the target.
 */
#include "http/http.h"

#include <ctype.h>

#include <http_parser.h>

#define PORT_DIGITS_MAX 5

struct reading {
	struct span target;
	struct span name; /* of the field under way */
	struct span host; /* its value */
	unsigned hosts_n; /* how many there were */
	bool coded;       /* Transfer-Encoding was there */
	bool complete;    /* the head is of the right form */
	bool keep_alive;
	bool chunked;
	bool content; /* Content-Length above 0 */
};

/* ---- the library's callbacks ---- */

static int on_url(http_parser *parser, const char *at, size_t n)
{
	struct reading *reading = parser->data;

	reading->target = span_of(at, n);
	return 0;
}

static int on_field(http_parser *parser, const char *at, size_t n)
{
	struct reading *reading = parser->data;

	reading->name = span_of(at, n);
	if (span_is_nocase(reading->name, "Host"))
		reading->hosts_n++;
	if (span_is_nocase(reading->name, "Transfer-Encoding"))
		reading->coded = true;
	return 0;
}

static int on_value(http_parser *parser, const char *at, size_t n)
{
	struct reading *reading = parser->data;

	while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
		n--;
	if (span_is_nocase(reading->name, "Host"))
		reading->host = span_of(at, n);
	return 0;
}

static int on_complete(http_parser *parser)
{
	struct reading *reading = parser->data;

	reading->complete = true;
	reading->keep_alive = http_should_keep_alive(parser) != 0;
	reading->chunked = (parser->flags & F_CHUNKED) != 0;
	reading->content = (parser->flags & F_CONTENTLENGTH) != 0 && parser->content_length > 0;
	return 1; /* no content is looked for */
}

/* ---- parts ---- */

/* "TOKEN " at the front: a method, only not one that anybody knows. */
static bool is_method(struct span head)
{
	size_t n = 0;

	while (n < head.n && (head.p[n] == '\r' || head.p[n] == '\n'))
		span_take(&head, 1);
	while (n < head.n && (isalnum(head.p[n]) || strchr("!#$%&'*+-.^_`|~", head.p[n]) != NULL) &&
		head.p[n] != '\0')
		n++;
	return n > 0 && n < head.n && head.p[n] == ' ';
}

static bool is_name_octet(uint8_t c)
{
	return isalnum(c) || (c != '\0' && strchr("-._~%!$&'()*+,;=", c) != NULL);
}

/* ":" and digits, or nothing. */
static bool is_port(struct span text)
{
	if (text.n == 0)
		return true;
	if (text.p[0] != ':' || text.n > 1 + PORT_DIGITS_MAX)
		return false;
	for (size_t i = 1; i < text.n; i++)
		if (!isdigit(text.p[i]))
			return false;
	return true;
}

/* uri-host [":" port], RFC 9110 7.2. Nothing is looked up with it, so an address is a name like any. */
static bool host_take(struct span text, char host[HTTP_HOST_MAX + 1])
{
	const uint8_t *bracket =
		text.n > 0 && text.p[0] == '[' ? memchr(text.p, ']', text.n) : NULL;
	struct span name;
	size_t n = 0;

	if (bracket != NULL) {
		name = span_take(&text, (size_t)(bracket - text.p) + 1);
		for (size_t i = 1; i + 1 < name.n; i++)
			if (!isxdigit(name.p[i]) && name.p[i] != ':' && name.p[i] != '.')
				return false;
	} else {
		while (n < text.n && is_name_octet(text.p[n]))
			n++;
		name = span_take(&text, n);
	}
	if (!is_port(text))
		return false;
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (name.n == 0 || name.n > HTTP_HOST_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		host[i] = (char)tolower(name.p[i]);
	host[name.n] = '\0';
	return true;
}

static struct span url_part(struct span target, const struct http_parser_url *url, unsigned part)
{
	if ((url->field_set & 1u << part) == 0)
		return span_of(target.p, 0);
	return span_of(target.p + url->field_data[part].off, url->field_data[part].len);
}

/* "https://host/path": the host counts, not the field's (RFC 9112 3.2.2). */
static enum http_code absolute_take(struct span target, struct http_request *request)
{
	struct http_parser_url url;

	http_parser_url_init(&url);
	if (http_parser_parse_url((const char *)target.p, target.n, 0, &url) != 0 ||
		(url.field_set & (1u << UF_USERINFO | 1u << UF_FRAGMENT)) != 0 ||
		(url.field_set & 1u << UF_SCHEMA) == 0 ||
		!host_take(url_part(target, &url, UF_HOST), request->host))
		return HTTP_CODE_BAD_REQUEST;
	request->absolute = true;
	request->plain = !span_is_nocase(url_part(target, &url, UF_SCHEMA), "https");
	request->path = url_part(target, &url, UF_PATH);
	if (request->path.n == 0)
		request->path = span_str("/");
	return HTTP_CODE_OK;
}

static enum http_code target_take(struct span target, struct http_request *request)
{
	const uint8_t *query;

	if (memchr(target.p, '#', target.n) != NULL)
		return HTTP_CODE_BAD_REQUEST;
	if (target.p[0] != '/')
		return absolute_take(target, request);
	query = memchr(target.p, '?', target.n);
	request->path = span_of(target.p, query != NULL ? (size_t)(query - target.p) : target.n);
	return HTTP_CODE_OK;
}

/* ---- the whole ---- */

static enum http_code content_check(const struct reading *reading, unsigned minor)
{
	if (reading->coded && minor == 0) /* RFC 9112 6.1: its framing is faulty */
		return HTTP_CODE_BAD_REQUEST;
	if (reading->coded)
		return reading->chunked ? HTTP_CODE_LENGTH_REQUIRED : HTTP_CODE_NOT_IMPLEMENTED;
	return reading->content ? HTTP_CODE_CONTENT_TOO_LARGE : HTTP_CODE_OK;
}

static enum http_code judge(
	const http_parser *parser, const struct reading *reading, struct http_request *request)
{
	enum http_code code;

	if (parser->http_major != 1)
		return HTTP_CODE_VERSION_NOT_SUPPORTED;
	request->minor = (uint8_t)(parser->http_minor > 9 ? 9 : parser->http_minor);
	if (reading->hosts_n > 1 || (reading->hosts_n == 0 && request->minor > 0) ||
		(reading->hosts_n == 1 && !host_take(reading->host, request->host)))
		return HTTP_CODE_BAD_REQUEST;
	request->keep_alive = reading->keep_alive && !reading->coded && !reading->content;
	if (parser->method != HTTP_GET && parser->method != HTTP_HEAD)
		return HTTP_CODE_METHOD_NOT_ALLOWED;
	code = content_check(reading, request->minor);
	return code != HTTP_CODE_OK ? code : target_take(reading->target, request);
}

enum http_code http_request_read(struct span head, struct http_request *request)
{
	static const struct http_parser_settings settings = {
		.on_url = on_url,
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_complete,
	};
	struct reading reading = {0};
	struct http_parser parser;
	enum http_code code = HTTP_CODE_BAD_REQUEST;

	*request = (struct http_request){0};
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &reading;
	(void)http_parser_execute(&parser, &settings, (const char *)head.p, head.n);
	if (reading.complete)
		code = judge(&parser, &reading, request);
	else if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD && is_method(head))
		code = HTTP_CODE_NOT_IMPLEMENTED;
	else if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD)
		return code;
	if (code != HTTP_CODE_OK && code != HTTP_CODE_METHOD_NOT_ALLOWED)
		request->keep_alive = false;
	request->verb = parser.method == HTTP_HEAD ? HTTP_VERB_HEAD : HTTP_VERB_GET;
	return code;
}
