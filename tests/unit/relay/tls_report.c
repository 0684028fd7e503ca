/* SPDX-License-Identifier: MIT */
/* Unit tests of relay/tls_report_send.c: places that reports go to by POST. */
#include <criterion/criterion.h>

#include "relay/tls_report-private.h"

static const struct {
	const char *uri, *host, *path; /* host NULL: refused */
	uint16_t port;
} uris[] = {
	{"https://reports.example.org/v1/tls", "reports.example.org", "/v1/tls", 443},
	{"HTTPS://Reports.Example.org", "Reports.Example.org", "/", 443},
	{"https://reports.example.org:8443/x?a=b&c=%2F", "reports.example.org", "/x?a=b&c=%2F",
		8443},
	{"https://reports.example.org?a=b", "reports.example.org", "/?a=b", 443},
	{"https://reports.example.org/a#part", "reports.example.org", "/a", 443},
	{"https://reports.example.org#part", "reports.example.org", "/", 443},
	{"http://reports.example.org/", NULL, NULL, 0},
	{"https://", NULL, NULL, 0},
	{"https:///path", NULL, NULL, 0},
	{"https://user@reports.example.org/", NULL, NULL, 0},
	{"https://user:pw@reports.example.org/", NULL, NULL, 0},
	{"https://[2001:db8::1]/", NULL, NULL, 0},
	{"https://reports.example.org:/", NULL, NULL, 0},
	{"https://reports.example.org:0/", NULL, NULL, 0},
	{"https://reports.example.org:65536/", NULL, NULL, 0},
	{"https://reports.example.org:99999999999999999999/", NULL, NULL, 0},
	{"https://reports.example.org:4 3/", NULL, NULL, 0},
	{"https://reports.exa mple.org/", NULL, NULL, 0},
	{"https://%6eope.example.org/", NULL, NULL, 0},
};

Test(tls_report, places)
{
	char host[RELAY_HOST_MAX], path[REPORT_URI_MAX];
	uint16_t port;

	for (size_t i = 0; i < COUNT_OF(uris); i++) {
		bool good = report_uri_read(span_str(uris[i].uri), host, &port, path);

		cr_expect(good == (uris[i].host != NULL), "%s", uris[i].uri);
		if (!good || uris[i].host == NULL)
			continue;
		cr_expect_str_eq(host, uris[i].host);
		cr_expect_str_eq(path, uris[i].path, "%s: %s", uris[i].uri, path);
		cr_expect_eq(port, uris[i].port);
	}
}

Test(tls_report, places_that_are_too_long)
{
	static char uri[4096];
	char host[RELAY_HOST_MAX], path[REPORT_URI_MAX];
	uint16_t port;

	memset(uri, 'a', sizeof(uri) - 1);
	memcpy(uri, "https://", 8);
	cr_expect_not(report_uri_read(span_str(uri), host, &port, path), "host");
	memcpy(uri, "https://a/", 10);
	cr_expect_not(report_uri_read(span_str(uri), host, &port, path), "path");
	cr_expect(report_uri_read(span_of(uri, 9 + REPORT_URI_MAX - 1), host, &port, path));
	cr_expect_eq(strlen(path), REPORT_URI_MAX - 1);
	cr_expect_not(report_uri_read(span_of(uri, 9 + REPORT_URI_MAX), host, &port, path));
}
