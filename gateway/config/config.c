/* SPDX-License-Identifier: MIT */
/*
 * config.c -- from a file to struct config: reading, libconfuse's part, its messages.
 *
 * Job: hand libconfuse a text that scan.c has been through, check each value at the moment it is
 * parsed (only then is its line known) and turn every message into "FILE:LINE: ...".
 *
 * To libconfuse all values are strings. Numbers, choices and ranges are value.c's: libconfuse's own
 * readers take "010" for eight and cannot say what would have been right.
 *
 * Invariants: libconfuse prints nothing, opens nothing and expands nothing. Its callbacks carry no
 * context, so the reader they serve is a variable of the thread, set for the length of one parse;
 * libconfuse's lexer is global to the process, so only one thread may parse at a time.
 */
#include "config/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config-private.h"

#define SECTION_KEYS_MAX 32 /* keys of one section */
#define READ_BYTES_MIN   16384

struct section {
	const char *name;
	cfg_flag_t flags;
};

#define TITLED (CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES)

static const struct section sections[] = {
	{"listener", TITLED},
	{"certificate", TITLED},
	{"tls", CFGF_NONE},
	{"smtp", CFGF_NONE},
	{"policy", CFGF_NONE},
	{"spool", CFGF_NONE},
	{"route", TITLED},
	{"relay", CFGF_NONE},
	{"fence", CFGF_NONE},
	{"sts", TITLED},
	{"watch", CFGF_NONE},
	{"tlsrpt", CFGF_NONE},
	{"log", CFGF_NONE},
};

struct reader {
	const struct config_source *source;
	struct err *err;
	bool failed; /* the first message stays */
};

static _Thread_local struct reader *reader;

static void PRINTF_LIKE(2, 3) reader_fail(const cfg_t *cfg, const char *fmt, ...)
{
	struct err what;
	va_list ap;
	int line = cfg->line < reader->source->lines ? cfg->line : reader->source->lines;

	if (reader->failed)
		return;
	reader->failed = true;
	va_start(ap, fmt);
	vsnprintf(what.text, sizeof(what.text), fmt, ap);
	va_end(ap);
	err_set(reader->err, "%s:%d: %s", reader->source->path, line, what.text);
}

static bool is_top(const cfg_t *cfg)
{
	return strcmp(cfg->name, "root") == 0;
}

/* libconfuse's messages, two of them in our words, all without the file's odd octets. */
static void take_message(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[ERR_TEXT_MAX], shown[CONFIG_SHOWN_MAX + 4];

	if (strcmp(fmt, "no such option '%s'") == 0) {
		value_shown(va_arg(ap, const char *), shown);
		if (is_top(cfg))
			reader_fail(cfg, "unknown key or section \"%s\"", shown);
		else
			reader_fail(cfg, "unknown key \"%s\" in section %s", shown, cfg->name);
		return;
	}
	if (strcmp(fmt, "found duplicate title '%s'") == 0) {
		value_shown(va_arg(ap, const char *), shown);
		reader_fail(cfg, "another section of this kind has the title \"%s\"", shown);
		return;
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *c = text; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	reader_fail(cfg, "%s", text);
}

/*
 * libconfuse's parse callback for every value. A key of a section counts in def.number, which
 * strings leave free and each section has its own copy of, how often it was set.
 */
static int check_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	const struct config_key *key = config_key_find(is_top(cfg) ? "" : cfg->name, opt->name);
	struct value value;
	struct err err;

	ASSERT(key);
	*(const char **)result = text;
	if (!reader) /* a list's default, read when the root is made */
		return 0;
	if (opt->nvalues <= 1 && opt->def.number++ > 0) {
		reader_fail(cfg, "%s is set a second time", key->name);
		return -1;
	}
	if (key->list_max > 0 && opt->nvalues > key->list_max) {
		reader_fail(cfg, "%s has more than %zu values", key->name, key->list_max);
		return -1;
	}
	if (value_read(key, reader->source->folder, text, &value, &err) != 0) {
		reader_fail(cfg, "%s", err.text);
		return -1;
	}
	if (value_is_path(key->kind) && !value.none && *value.text)
		config_places_add(reader->source->places, value.text, cfg->line);
	return 0;
}

/* The options of a section, from the table of keys. Defaults are fill.c's, but for lists': only
 * libconfuse can tell "= {}" and "+=" from nothing. */
static void make_keys(const char *section, cfg_opt_t out[SECTION_KEYS_MAX])
{
	const cfg_opt_t end = CFG_END();
	size_t n = 0;

	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *key = &config_keys[i];
		cfg_opt_t one = CFG_STR_CB(key->name, NULL, CFGF_NODEFAULT, check_value);
		cfg_opt_t list = CFG_STR_LIST_CB(key->name, (char *)(uintptr_t)key->fallback,
			(key->fallback ? CFGF_NONE : CFGF_NODEFAULT), check_value);

		if (strcmp(key->section, section) != 0)
			continue;
		ASSERT(n < SECTION_KEYS_MAX - 1);
		out[n++] = key->list_max > 0 ? list : one;
	}
	out[n] = end;
}

static cfg_t *make_root(void)
{
	cfg_opt_t keys[COUNT_OF(sections)][SECTION_KEYS_MAX];
	cfg_opt_t top[SECTION_KEYS_MAX];
	const cfg_opt_t end = CFG_END();
	size_t n = 0;
	cfg_t *root;

	make_keys("", top);
	while (top[n].name)
		n++;
	ASSERT(n + COUNT_OF(sections) < SECTION_KEYS_MAX);
	for (size_t i = 0; i < COUNT_OF(sections); i++) {
		cfg_opt_t section =
			CFG_SEC((char *)(uintptr_t)sections[i].name, keys[i], sections[i].flags);

		make_keys(sections[i].name, keys[i]);
		top[n++] = section;
	}
	top[n] = end;
	root = cfg_init(top, CFGF_NONE);
	if (root)
		cfg_set_error_function(root, take_message);
	return root;
}

/* libconfuse over the scanned text. */
static int parse_text(
	cfg_t *root, const struct config_source *source, char *text, size_t n, struct err *err)
{
	struct reader self = {.source = source, .err = err};
	FILE *file = fmemopen(text, n, "r");
	int rc;

	root->filename = strdup(source->path);
	if (!file || !root->filename) {
		if (file)
			fclose(file);
		return err_set(err, "%s:1: out of memory", source->path);
	}
	reader = &self;
	rc = cfg_parse_fp(root, file);
	if (rc != CFG_SUCCESS)
		reader_fail(root, "syntax error");
	reader = NULL;
	fclose(file);
	return rc == CFG_SUCCESS ? 0 : -1;
}

int config_parse(struct config **out, const char *path, char *text, size_t n, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	struct config_source source = {
		.path = path, .folder = folder, .places = config_places_open(path)};
	cfg_t *root = NULL;
	int rc = -1;

	if (config_scan(path, text, n, &source.lines, err) != 0)
		goto out;
	root = make_root();
	if (!root || !folder || !source.places) {
		err_set(err, "%s:1: out of memory", path);
		goto out;
	}
	if (parse_text(root, &source, text, n, err) == 0)
		rc = config_fill(out, root, &source, err);
out:
	if (rc != 0)
		config_places_close(source.places);
	cfg_free(root);
	free(folder);
	return rc;
}

/* Room for more octets behind n; *text stays as it is on failure. */
static int grow(char **text, size_t *cap)
{
	size_t more = *cap > 0 ? *cap * 2 : READ_BYTES_MIN;
	char *moved = realloc(*text, more);

	if (!moved)
		return -ENOMEM;
	*text = moved;
	*cap = more;
	return 0;
}

/*
 * Reads all of fd into *text, which is the caller's to free on failure too. -errno, E2BIG when
 * there are more than CONFIG_FILE_MAX octets.
 */
static int read_all(int fd, char **text, size_t *n)
{
	size_t cap = 0;

	while (*n <= CONFIG_FILE_MAX) {
		ssize_t got;

		if (*n == cap && grow(text, &cap) != 0)
			return -ENOMEM;
		got = read(fd, *text + *n, cap - *n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		*n += (size_t)got;
	}
	return -E2BIG;
}

/* Reads the file's text, the caller's to free on failure too. */
static int read_file(const char *path, char **text, size_t *n, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return err_set(err, "%s:1: cannot be opened: %s", path, strerror(errno));
	rc = read_all(fd, text, n);
	close(fd);
	if (rc == -E2BIG)
		return err_set(err, "%s:1: larger than %u octets", path, CONFIG_FILE_MAX);
	if (rc != 0)
		return err_set(err, "%s:1: cannot be read: %s", path, strerror(-rc));
	return 0;
}

int config_open(struct config **out, const char *path, struct err *err)
{
	char *text = NULL;
	size_t n = 0;
	int rc = read_file(path, &text, &n, err);

	if (rc == 0)
		rc = config_parse(out, path, text, n, err);
	free(text);
	return rc;
}
