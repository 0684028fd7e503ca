/* SPDX-License-Identifier: MIT */
/* Unit tests of config/place.c: other rooms' errors get the line of the key. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config-private.h"

static const char text[] = "hostname = a.example\n"
			   "listener l { address = \"::1\" port = 25 }\n"
			   "certificate c {\n"
			   "\tchain = \"cert.pem\"\n"
			   "\tkey = \"/k/key.pem\"\n"
			   "}\n"
			   "policy { relay_domains = { b.example }\n"
			   "\trecipients = \"list\" }\n"
			   "spool { directory = \"list of mail\" }\n"
			   "route r { domains = { \"*\" }\n"
			   " next_hops = { \"maildir:m\" } }\n";

struct place_case {
	const char *before;
	const char *after;
};

Test(place, errors_of_other_rooms)
{
	static const struct place_case cases[] = {
		{"etc/cert.pem: no certificate", "etc/p.conf:4: etc/cert.pem: no certificate"},
		{"cannot open /k/key.pem", "etc/p.conf:5: cannot open /k/key.pem"},
		{"etc/list:7: bad line", "etc/p.conf:8: etc/list:7: bad line"},
		{"spool: cannot make etc/list of mail: no", "etc/p.conf:9: spool: cannot make "
							    "etc/list of mail: no"},
		{"(\"etc/cert.pem\") etc/list", "etc/p.conf:4: (\"etc/cert.pem\") etc/list"},
		{"cert.pem: no", "cert.pem: no"},
		{"etc/cert.pem2: no", "etc/cert.pem2: no"},
		{"/etc/cert.pem: no", "/etc/cert.pem: no"},
		{"xetc/list xetc/list etc/list", "etc/p.conf:8: xetc/list xetc/list etc/list"},
		{"etc/tickets.key: a default has no line",
			"etc/tickets.key: a default has no line"},
		{"", ""},
	};
	char *copy = strdup(text);
	struct config *config = NULL;
	struct err err = {""};

	cr_assert_eq(
		config_parse(&config, "etc/p.conf", copy, strlen(copy), &err), 0, "%s", err.text);
	free(copy);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		err_set(&err, "%s", cases[i].before);
		config_place(config, &err);
		cr_expect_str_eq(err.text, cases[i].after);
	}
	config_close(config);
}

Test(place, paths_beyond_the_bound_are_not_kept)
{
	struct config_places *places = config_places_open("p.conf");
	struct err err;
	char path[32];

	for (int i = 1; i <= CONFIG_PLACES_MAX + 1; i++) {
		snprintf(path, sizeof(path), "f%d", i);
		config_places_add(places, path, i);
	}
	err_set(&err, "f1024 is bad");
	cr_expect(config_places_apply(places, &err));
	cr_expect_str_eq(err.text, "p.conf:1024: f1024 is bad");
	err_set(&err, "f1025 is bad");
	cr_expect_not(config_places_apply(places, &err));
	cr_expect_str_eq(err.text, "f1025 is bad");
	config_places_close(places);
}
