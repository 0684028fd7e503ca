/* SPDX-License-Identifier: MIT */
/* answer.c -- the head of an answer (RFC 9112 4, RFC 9110 6.6.1). */
#include "http/http.h"

#include <time.h>

static const struct {
	enum http_code code;
	const char *reason;
} reasons[] = {
	{HTTP_CODE_OK, "OK"},
	{HTTP_CODE_BAD_REQUEST, "Bad Request"},
	{HTTP_CODE_NOT_FOUND, "Not Found"},
	{HTTP_CODE_METHOD_NOT_ALLOWED, "Method Not Allowed"},
	{HTTP_CODE_REQUEST_TIMEOUT, "Request Timeout"},
	{HTTP_CODE_LENGTH_REQUIRED, "Length Required"},
	{HTTP_CODE_CONTENT_TOO_LARGE, "Content Too Large"},
	{HTTP_CODE_URI_TOO_LONG, "URI Too Long"},
	{HTTP_CODE_MISDIRECTED, "Misdirected Request"},
	{HTTP_CODE_FIELDS_TOO_LARGE, "Request Header Fields Too Large"},
	{HTTP_CODE_NOT_IMPLEMENTED, "Not Implemented"},
	{HTTP_CODE_UNAVAILABLE, "Service Unavailable"},
	{HTTP_CODE_VERSION_NOT_SUPPORTED, "HTTP Version Not Supported"},
};

const char *http_reason(enum http_code code)
{
	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "";
}

/* IMF-fixdate, RFC 9110 5.6.7. */
static bool date_write(uint64_t now_s, struct buf *out)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t time = (time_t)now_s;
	struct tm tm;

	if (gmtime_r(&time, &tm) == NULL)
		return true; /* no date can be told: RFC 9110 6.6.1 lets it away */
	return buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
		tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

bool http_answer_write(const struct http_answer *answer, struct buf *out)
{
	if (!buf_printf(out, "HTTP/1.1 %d %s\r\n", answer->code, http_reason(answer->code)) ||
		!date_write(answer->now_s, out))
		return false;
	if (answer->code == HTTP_CODE_METHOD_NOT_ALLOWED && !buf_puts(out, "Allow: GET, HEAD\r\n"))
		return false;
	if (answer->cache_control != NULL &&
		!buf_printf(out, "Cache-Control: %s\r\n", answer->cache_control))
		return false;
	return buf_printf(out,
		"Content-Type: %s\r\nContent-Length: %llu\r\nX-Content-Type-Options: nosniff\r\n"
		"Connection: %s\r\n\r\n",
		answer->media_type, (unsigned long long)answer->content_n,
		answer->keep_alive ? "keep-alive" : "close");
}
