/* SPDX-License-Identifier: MIT */
/* Unit tests of config/hop.c and config/routes.c: next hops one by one, and routes together. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

struct hop_case {
	const char *text;
	enum next_hop_kind kind;
	const char *title;
	const char *host;
	unsigned port;
	const char *path;
	unsigned weight;
};

Test(hop, reads)
{
	static const struct hop_case cases[] = {
		{"mx", NEXT_HOP_MX, "mx", "", 25, "", 1},
		{"mx weight=1000", NEXT_HOP_MX, "mx", "", 25, "", 1000},
		{"lmtp:mail.example.org:24", NEXT_HOP_LMTP, "lmtp:mail.example.org:24",
			"mail.example.org", 24, "", 1},
		{"lmtp:localhost:1", NEXT_HOP_LMTP, "lmtp:localhost:1", "localhost", 1, "", 1},
		{"lmtp:unix:1", NEXT_HOP_LMTP_UNIX, "lmtp:unix:1", "", 0, "1", 1},
		{"lmtp:unix:/run/a b:c", NEXT_HOP_LMTP_UNIX, "lmtp:unix:/run/a b:c", "", 0,
			"/run/a b:c", 1},
		{"smtp:192.0.2.1:65535 weight=7", NEXT_HOP_SMTP, "smtp:192.0.2.1:65535",
			"192.0.2.1", 65535, "", 7},
		{"smtp:[2001:db8::1]:25  weight=10", NEXT_HOP_SMTP, "smtp:[2001:db8::1]:25",
			"2001:db8::1", 25, "", 10},
		{"maildir:mail", NEXT_HOP_MAILDIR, "maildir:mail", "", 0, "mail", 1},
		{"maildir:/m x weight=2", NEXT_HOP_MAILDIR, "maildir:/m x", "", 0, "/m x", 2},
		{"maildir:weight=2", NEXT_HOP_MAILDIR, "maildir:weight=2", "", 0, "weight=2", 1},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct hop_case *one = &cases[i];
		struct hop_parts hop;
		struct err err = {""};

		cr_assert_eq(hop_read(one->text, &hop, &err), 0, "%s: %s", one->text, err.text);
		cr_expect_eq(hop.kind, one->kind, "%s", one->text);
		cr_expect(span_equal(hop.title, span_str(one->title)), "%s", one->text);
		cr_expect(span_equal(hop.host, span_str(one->host)), "%s", one->text);
		cr_expect(span_equal(hop.path, span_str(one->path)), "%s", one->text);
		cr_expect_eq(hop.port, one->port, "%s", one->text);
		cr_expect_eq(hop.weight, one->weight, "%s", one->text);
	}
}

#define FORMS                                                                                      \
	"not a next hop: write lmtp:HOST:PORT, lmtp:unix:PATH, smtp:HOST:PORT, mx or maildir:PATH"
#define WEIGHT "weight is not a whole number from 1 to 1000"
#define PORT   "the port is not a whole number from 1 to 65535"

Test(hop, refuses)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{"", FORMS},
		{"mx:25", FORMS},
		{"MX", FORMS},
		{"MX weight=2", FORMS},
		{"example.org", FORMS},
		{"smtps:example.org:465", FORMS},
		{"unix:/run/lmtp", FORMS},
		{" weight=2", FORMS},
		{"mx weight=", WEIGHT},
		{"mx weight=0", WEIGHT},
		{"mx weight=1001", WEIGHT},
		{"mx weight=-1", WEIGHT},
		{"mx weight=4294967297", WEIGHT},
		{"mx  weigh=2", FORMS},
		{"lmtp:example.org", "the port is missing: write lmtp:HOST:24"},
		{"lmtp:example.org:", PORT},
		{"smtp:example.org:0", PORT},
		{"smtp:example.org:65536", PORT},
		{"smtp:example.org:25x", PORT},
		{"smtp:example.org: 25", PORT},
		{"smtp:[::1]", "the port is missing: write smtp:HOST:25"},
		{"smtp:[::1]x:25", "the port is missing: write smtp:HOST:25"},
		{"smtp:[::1", "no \"]\" behind the address: write smtp:[2001:db8::1]:25"},
		{"lmtp:::1:24", "an IPv6 address stands in brackets: write lmtp:[2001:db8::1]:24"},
		{"smtp:[192.0.2.1]:25",
			"what stands in brackets is neither a host name nor a numeric address: "
			"write smtp:mx.example.org:25"},
		{"smtp::25", "the host is neither a host name nor a numeric address: write "
			     "smtp:mx.example.org:25"},
		{"smtp:a_b.example:25",
			"the host is neither a host name nor a numeric address: write "
			"smtp:mx.example.org:25"},
		{"lmtp:192.0.2:24", "the host is neither a host name nor a numeric address: write "
				    "lmtp:mx.example.org:24"},
		{"lmtp:unix:", "the path is missing: write lmtp:unix:PATH"},
		{"maildir:", "the path is missing: write maildir:PATH"},
		{"maildir: weight=3", "the path is missing: write maildir:PATH"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct hop_parts hop;
		struct err err = {""};

		cr_expect_eq(hop_read(cases[i].text, &hop, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message, "%s: %s", cases[i].text, err.text);
	}
}

#define BASE                                                                                       \
	"hostname = a.example listener l { address = \"::1\" port = 25 tls = none }\n"             \
	"policy { relay_domains = { b.example, x.y.c.example } }\n"

/* Each has every relay domain covered, one way or another. */
Test(routes, covers)
{
	static const char *const cases[] = {
		BASE "route r { domains = { \"*\" } next_hops = { mx } }",
		BASE "route r { domains = { b.example, x.y.c.example } next_hops = { mx } }",
		BASE "route r { domains = { b.example, \".c.example\" } next_hops = { mx } }",
		BASE "route r { domains = { \".example\" } next_hops = { mx } }",
		BASE "route r { domains = { b.example } next_hops = { mx } }"
		     "route s { domains = { \".y.c.example\" } next_hops = { mx } }",
		BASE "route r { next_hops = { mx } } relay { routes = \"f\" }",
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct config *config = NULL;
		struct err err = {""};

		cr_expect_eq(parse(&config, cases[i], &err), 0, "%s", err.text);
		config_close(config);
	}
}

#define P      "etc/p.conf:"
#define LMTP   "next_hops = { \"lmtp:a.example:24\" } "
#define REST   "route rest { domains = { \"*\" } next_hops = { mx } }\n"
#define ROUTED "route r { domains = { b.example } " LMTP

Test(routes, refuses)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{BASE, P "2: no route: write route \"default\" { domains = { \"*\" } next_hops = { "
			 "\"lmtp:127.0.0.1:24\" } }"},
		{BASE "route r {\n" LMTP "\n}\n",
			P "5: route \"r\": domains is missing: write domains = { \"*\" }"},
		{BASE "route r { domains = { \"*\" }\n}\n",
			P "4: route \"r\": next_hops is missing: write next_hops = { "
			  "\"lmtp:127.0.0.1:24\" }"},
		{BASE "route \"r s\" { }", P "3: route: the title \"r s\" is not 1 to 64 letters, "
					     "digits, dots, \"_\" or \"-\""},
		{BASE "route r { next_hops = {\n\"mx\",\n\"smtp:a\" } }", P
			"5: route.next_hops: \"smtp:a\": the port is missing: write smtp:HOST:25"},
		{BASE REST ROUTED "\nca_file = c\n}",
			P "6: route \"r\": ca_file is used by tls = verify and tls = policy only: "
			  "write tls = \"verify\""},
		{BASE REST ROUTED "tls = none tls_name = a.example }",
			P "4: route \"r\": tls_name is set with tls = none: leave one of them out"},
		{BASE REST "route r { domains = { b.example } tls = verify next_hops = { "
			   "\"lmtp:unix:s\" } }",
			P "4: route \"r\": \"lmtp:unix:s\" has no name to verify: write tls_name = "
			  "\"mail.example.org\""},
		{BASE REST "route r { domains = { b.example } next_hops = { mx, \"maildir:m\" } }",
			P "4: route \"r\": \"maildir:m\" stands beside other next hops: give it a "
			  "route of its own"},
		{BASE REST
			"route r { domains = { b.example } next_hops = { mx } cutthrough = yes }",
			P
			"4: route \"r\": cutthrough needs lmtp: or smtp: next hops, and \"mx\" is "
			"none: write cutthrough = no"},
		{BASE REST "route r { domains = { b.example } callout = yes next_hops = { "
			   "\"maildir:m\" } }",
			P "4: route \"r\": callout needs lmtp: or smtp: next hops, and "
			  "\"maildir:m\" is none: write callout = no"},
		{BASE REST ROUTED "}\nroute s { domains = { c.example, B.example } " LMTP "\n}",
			P "6: route \"s\": domain \"b.example\" stands in route \"r\" too: leave "
			  "one of them out"},
		{BASE "route r { domains = { b.example, b.example, \"*\" } " LMTP "}",
			P "3: route \"r\": domain \"b.example\" stands in route \"r\" too: leave "
			  "one of them out"},
		{BASE ROUTED "}", P "2: policy: no route for relay domain \"x.y.c.example\": write "
				    "it or \"*\" in the domains of a route"},
		{BASE "route r { domains = { b.example, \".y.c.example\", \".z.example\" } " LMTP
		      "}\npolicy { relay_domains += c.example\n}",
			P
			"5: policy: no route for relay domain \"c.example\": write it or \"*\" in "
			"the domains of a route"},
		{BASE REST "route w { domains = { w.example }\n"
			   "next_hops = { \"smtp:a.example:25 weight=2\", mx } }",
			P
			"5: route \"w\": weights are used by choose = weight only: write choose = "
			"\"weight\""},
		{BASE REST "spool { stream_bytes = 16385\n segment_bytes = 65536 }",
			P "5: spool: segment_bytes is less than 4 times stream_bytes: write "
			  "segment_bytes = 65540 or more"},
		{BASE REST "relay { retry_seconds_max = 299 }",
			P "4: relay: retry_seconds_max is less than retry_seconds_min: write "
			  "retry_seconds_max = 300 or more"},
		{BASE REST "relay { warn_seconds = 5 expire_seconds = 5 }",
			P "4: relay: warn_seconds is not less than expire_seconds: write "
			  "warn_seconds = 0 for no warnings"},
		{BASE REST "policy { recipients = a recipients_lmdb = b }",
			P "4: policy: recipients and recipients_lmdb are both set: write one of "
			  "them"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct config *config = NULL;
		struct err err = {""};

		cr_expect_eq(parse(&config, cases[i].text, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message, "%s", err.text);
	}
}

Test(routes, maildir_roots_stand_once)
{
	static const char text[] =
		BASE "route a { domains = { b.example } next_hops = { \"maildir:m\" } }\n"
		     "route b { domains = { c.example } next_hops = { \"maildir:/n\" } }\n"
		     "route c { domains = { \"*\" } next_hops = { \"maildir:/n weight=2\" } }\n"
		     "route d { domains = { d.example } next_hops = { \"maildir:m\" } }\n";
	static const uint32_t indices[] = {0, 1, 1, 0};
	struct config *config = NULL;
	struct err err = {""};

	cr_assert_eq(parse(&config, text, &err), 0, "%s", err.text);
	cr_assert_eq(config->relay.maildirs_n, 2);
	cr_expect_str_eq(config->relay.maildirs[0], "etc/m");
	cr_expect_str_eq(config->relay.maildirs[1], "/n");
	for (size_t i = 0; i < COUNT_OF(indices); i++)
		cr_expect_eq(config->relay.routes[i].next_hops[0].maildir, indices[i]);
	config_close(config);
}

/* `n` routes with a Maildir or the same next hop each. */
static char *many(int n, const char *fmt)
{
	size_t cap = strlen(BASE REST) + (strlen(fmt) + 32) * (size_t)n + 1;
	char *text = malloc(cap);
	size_t at = (size_t)snprintf(text, cap, "%s", BASE REST);

	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, cap - at, fmt, i);
	return text;
}

static void expect_bound(const char *fmt, int max, const char *message)
{
	char *good = many(max, fmt), *bad = many(max + 1, fmt);
	struct config *config = NULL;
	struct err err = {""};

	cr_expect_eq(parse(&config, good, &err), 0, "%s", err.text);
	config_close(config);
	cr_expect_eq(parse(&config, bad, &err), -1);
	cr_expect_str_eq(err.text, message, "%s", err.text);
	free(good);
	free(bad);
}

Test(routes, counts_are_bounded)
{
	expect_bound(
		"route r%1$d { domains = { d%1$d.example } next_hops = { \"maildir:%1$d\" } }\n",
		SETTINGS_MAILDIRS_MAX, P "68: more than 64 different Maildir roots");
	expect_bound("route r%1$d { domains = { d%1$d.example } next_hops = { mx } }\n",
		SETTINGS_ROUTES_MAX - 1, P "1027: more than 1024 routes");
}
