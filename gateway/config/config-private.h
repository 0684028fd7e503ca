/* SPDX-License-Identifier: MIT */
/*
 * config-private.h -- what the files of config/ share: the scanner, the table of keys and the
 * reading of one value.
 */
#ifndef POSTERN_CONFIG_CONFIG_PRIVATE_H
#define POSTERN_CONFIG_CONFIG_PRIVATE_H

#include "base/span.h"
#include "config/config.h"

struct cfg_t; /* libconfuse's */

#define CONFIG_FILE_MAX   (32u * 1024 * 1024) /* octets: SETTINGS_DOMAINS_MAX long domains fit */
#define CONFIG_PATH_MAX   4095                /* PATH_MAX without its NUL */
#define CONFIG_SOCKET_MAX 107                 /* sockaddr_un.sun_path without its NUL */
#define CONFIG_TITLE_MAX  64
#define CONFIG_TEXT_MAX   512
#define CONFIG_PLACES_MAX 1024 /* paths whose lines are kept: two a certificate and a few */
#define CONFIG_SHOWN_MAX  60   /* octets of a wrong value that a message repeats */

/* A budget's rate at most, and its burst in seconds of its rate. bpf/rules.h counts in 1/1024 ns: at
 * this rate, times behaved_factor, a unit still takes one of them, and an hour is 2^52. */
#define CONFIG_RATE_MAX          1000000000
#define CONFIG_BURST_SECONDS_MAX 3600

/*
 * Reads a configuration from memory; `text` is written to. `path` names it in messages and is
 * what relative paths start from; nothing is opened. Otherwise as config_open.
 */
MUST_USE int config_parse(
	struct config **out, const char *path, char *text, size_t n, struct err *err);

/*
 * Looks at the text before libconfuse does: blanks comments in place, refuses what its lexer
 * would pass over, misread or stumble on. *lines is the number of the last line. On failure -1
 * and err->text as config_open.
 */
MUST_USE int config_scan(const char *path, char *text, size_t n, int *lines, struct err *err);

enum value_kind {
	VALUE_NUMBER, /* decimal, min to max, times scale */
	VALUE_BOOL,
	VALUE_CHOICE,
	VALUE_BUDGET,   /* "RATE/BURST", or "none"; min and max are the rate's */
	VALUE_HOST,     /* lower-cased */
	VALUE_SNI_NAME, /* host, or "*." and a host; lower-cased */
	VALUE_DOMAIN,   /* lower-cased */
	VALUE_ADDRESS,
	VALUE_ACCOUNT,
	VALUE_ROUTE_DOMAIN, /* domain, "." and a domain, or "*"; lower-cased */
	VALUE_RESOLVER,     /* numeric address, "@" and a port may follow */
	VALUE_NETWORK,      /* as network_parse() takes it */
	VALUE_INTERFACE,
	VALUE_TEXT, /* printable ASCII without quotes, up to CONFIG_TEXT_MAX octets */
	VALUE_PATH, /* made relative to the configuration's folder */
	VALUE_SOCKET,
	VALUE_NEXT_HOP, /* hop.c's; the value's text is its path, "" where it has none */
};

/* A kind whose value names a file or folder. */
static inline bool value_is_path(enum value_kind kind)
{
	return kind >= VALUE_PATH;
}

struct value_choice {
	const char *text;
	uint64_t number;
};

/* A key of the file and where its value goes. */
struct config_key {
	const char *section; /* "" at the top */
	const char *name;
	enum value_kind kind;
	const char *fallback; /* as it would be written, a list with its braces; NULL: none */
	const char *example;  /* not NULL: the key must be there */
	bool empty_is_none;   /* "" stands for NULL */
	uint64_t min, max;
	uint32_t scale;
	const struct value_choice *choices; /* ends with a NULL text */
	size_t offset, width; /* in struct config, or in the struct of a titled section */
	size_t list_max;      /* 0: not a list; else offset is the array's, offset_n its count's */
	size_t offset_n;
};

extern const struct config_key config_keys[];
extern const size_t config_keys_n;

/* Does a reload take its value into use? */
bool config_key_taken(const struct config_key *key);

/* The key's row; NULL if there is none. */
const struct config_key *config_key_find(const char *section, const char *name);

struct value {
	uint64_t number;
	struct fence_budget budget;
	bool none;
	char text[CONFIG_PATH_MAX + 1];
};

/*
 * Reads one value. `folder` is what relative paths start from ("" or ending in '/'). On failure
 * -1 and err->text = "KEY: what is wrong".
 */
MUST_USE int value_read(const struct config_key *key, const char *folder, const char *text,
	struct value *out, struct err *err);

/* A next hop's parts; host, path and title point into the text they were read from. */
struct hop_parts {
	enum next_hop_kind kind;
	struct span title; /* without the weight */
	struct span host;  /* without brackets */
	struct span path;
	uint16_t port;
	uint32_t weight;
};

/* Reads "lmtp:HOST:PORT" and the other forms of postern.conf(5). On failure -1 and err->text says
 * what is wrong and what to write. */
MUST_USE int hop_read(const char *text, struct hop_parts *out, struct err *err);

/* Where the file names which path, in the order of the file. */
struct config_place {
	char *path; /* as in the settings: made relative to the folder */
	int line;
};

struct config_places {
	char *file;
	size_t n;
	struct config_place list[CONFIG_PLACES_MAX];
};

/* A file's text while it is parsed. */
struct config_source {
	const char *path;
	const char *folder; /* of path: "" or ending in '/' */
	int lines;          /* number of the last line */
	struct config_places *places;
};

/* NULL when memory is short. */
MUST_USE struct config_places *config_places_open(const char *file);
void config_places_close(struct config_places *places); /* NULL is fine */

/* Keeps a copy of path. One that finds no room or no memory is not kept: only its line is lost. */
void config_places_add(struct config_places *places, const char *path, int line);

/* config_place's work: false when the text names none of the paths. */
bool config_places_apply(const struct config_places *places, struct err *err);

/*
 * Puts what libconfuse parsed into structs, defaults included, and checks what single values
 * cannot show: missing keys, bounded counts, listeners that collide, certificates that lack.
 * On success source->places belong to *out.
 */
MUST_USE int config_fill(struct config **out, struct cfg_t *root,
	const struct config_source *source, struct err *err);

/* Copies text for a message: cut at CONFIG_SHOWN_MAX, odd octets as '?'. Returns out. */
const char *value_shown(const char *text, char out[CONFIG_SHOWN_MAX + 4]);

#endif
