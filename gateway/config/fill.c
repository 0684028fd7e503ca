/* SPDX-License-Identifier: MIT */
/*
 * fill.c -- from libconfuse's tree to struct config, and the checks that need the whole.
 *
 * Job: defaults, copies of all strings (the tree is freed afterwards), missing keys, counts,
 * listeners that collide, certificates that lack; routes are routes.c's, the fence
 * fence.c's, published policies sts.c's. A check about a section
 * names the line of its closing brace, one about the whole file the last line.
 *
 * Invariants: values passed value_read() while they were parsed, so reading them again cannot
 * fail. Everything a struct config points to hangs in one chain of blocks.
 */
#include "config/config.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/fill-private.h"

void *fill_alloc(struct fill *fill, size_t n)
{
	struct block *block = malloc(sizeof(*block) + n);

	if (!block) {
		err_set(fill->err, "%s:1: out of memory", fill->source->path);
		return NULL;
	}
	block->next = fill->store->blocks;
	fill->store->blocks = block;
	return block->bytes;
}

char *fill_text(struct fill *fill, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = fill_alloc(fill, n);

	if (copy)
		memcpy(copy, text, n);
	return copy;
}

int fill_fail(struct fill *fill, const cfg_t *sec, const char *fmt, ...)
{
	int line = sec && sec != fill->root && sec->line > 0 ? sec->line : fill->source->lines;
	struct err what;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what.text, sizeof(what.text), fmt, ap);
	va_end(ap);
	return err_set(fill->err, "%s:%d: %s", fill->source->path, line > 0 ? line : 1, what.text);
}

static void put_number(void *at, size_t width, uint64_t number)
{
	switch (width) {
	case 1: /* only bool is */
		*(bool *)at = number != 0;
		break;
	case 2:
		*(uint16_t *)at = (uint16_t)number;
		break;
	case 4:
		*(uint32_t *)at = (uint32_t)number;
		break;
	default:
		ASSERT(width == 8);
		*(uint64_t *)at = number;
	}
}

/* Reads a value again that was found good before. NULL only when memory is short. */
static const char *read_text(struct fill *fill, const struct config_key *key, const char *text)
{
	struct value value;
	int rc = value_read(key, fill->source->folder, text, &value, fill->err);

	ASSERT(rc == 0 && !value.none);
	return fill_text(fill, value.text);
}

static int fill_scalar(
	struct fill *fill, const struct config_key *key, const char *text, uint8_t *base)
{
	struct value value;
	int rc = value_read(key, fill->source->folder, text, &value, fill->err);

	ASSERT(rc == 0);
	if (value.none)
		return 0;
	if (key->kind <= VALUE_CHOICE) {
		put_number(base + key->offset, key->width, value.number);
		return 0;
	}
	if (key->kind == VALUE_BUDGET) {
		ASSERT(key->width == sizeof(value.budget));
		memcpy(base + key->offset, &value.budget, sizeof(value.budget));
		return 0;
	}
	*(const char **)(base + key->offset) = fill_text(fill, value.text);
	return *(const char **)(base + key->offset) ? 0 : -1;
}

static int fill_list(struct fill *fill, const struct config_key *key, cfg_opt_t *opt, uint8_t *base)
{
	size_t n = cfg_opt_size(opt);
	const char **array = fill_alloc(fill, n * sizeof(*array));

	if (!array)
		return -1;
	for (size_t i = 0; i < n; i++) {
		array[i] = read_text(fill, key, cfg_opt_getnstr(opt, (unsigned)i));
		if (!array[i])
			return -1;
	}
	*(const char *const **)(base + key->offset) = array;
	*(size_t *)(base + key->offset_n) = n;
	return 0;
}

static int fail_missing(struct fill *fill, const struct config_key *key, const cfg_t *sec)
{
	char label[CONFIG_TITLE_MAX + 32] = "";

	if (sec->title)
		snprintf(label, sizeof(label), "%s \"%s\": ", key->section, sec->title);
	else if (sec != fill->root)
		snprintf(label, sizeof(label), "%s: ", key->section);
	return fill_fail(fill, sec, "%s%s is missing: write %s = %s", label, key->name, key->name,
		key->example);
}

int fill_section(struct fill *fill, const char *section, cfg_t *sec, void *base)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *key = &config_keys[i];
		cfg_opt_t *opt;
		int rc = 0;

		if (strcmp(key->section, section) != 0)
			continue;
		opt = cfg_getopt(sec, key->name);
		if (cfg_opt_size(opt) == 0 && key->example)
			return fail_missing(fill, key, sec);
		if (key->kind == VALUE_NEXT_HOP)
			rc = fill_next_hops(fill, key, opt, base);
		else if (key->list_max > 0)
			rc = fill_list(fill, key, opt, base);
		else if (cfg_opt_size(opt) > 0)
			rc = fill_scalar(fill, key, cfg_opt_getstr(opt), base);
		else if (key->fallback)
			rc = fill_scalar(fill, key, key->fallback, base);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int fill_title(struct fill *fill, cfg_t *sec)
{
	char shown[CONFIG_SHOWN_MAX + 4];
	size_t n = strlen(sec->title);

	if (n > 0 && n <= CONFIG_TITLE_MAX &&
		strspn(sec->title, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-") == n)
		return 0;
	return fill_fail(fill, sec,
		"%s: the title \"%s\" is not 1 to %d letters, digits, dots, \"_\" or \"-\"",
		sec->name, value_shown(sec->title, shown), CONFIG_TITLE_MAX);
}

/* Two listeners of one address would share its connections by SO_REUSEPORT, unnoticed. */
static bool same_socket(const struct listener_settings *a, const struct listener_settings *b)
{
	int family_a = strchr(a->address, ':') ? AF_INET6 : AF_INET;
	int family_b = strchr(b->address, ':') ? AF_INET6 : AF_INET;
	uint8_t octets_a[sizeof(struct in6_addr)], octets_b[sizeof(struct in6_addr)];
	int rc;

	if (a->port != b->port || family_a != family_b)
		return false;
	rc = inet_pton(family_a, a->address, octets_a) + inet_pton(family_b, b->address, octets_b);
	ASSERT(rc == 2);
	return memcmp(octets_a, octets_b, family_a == AF_INET ? 4 : 16) == 0;
}

static int fill_listeners(struct fill *fill)
{
	struct config *config = &fill->store->config;
	size_t n = cfg_size(fill->root, "listener");

	if (n == 0)
		return fill_fail(fill, NULL,
			"no listener: write listener \"smtp\" { address = \"127.0.0.1\" port = 25 }");
	for (size_t i = 0; i < n; i++) {
		cfg_t *sec = cfg_getnsec(fill->root, "listener", (unsigned)i);
		struct listener_settings *listener = &config->listeners[i];

		if (i == SETTINGS_LISTENERS_MAX)
			return fill_fail(
				fill, sec, "more than %d listeners", SETTINGS_LISTENERS_MAX);
		if (fill_title(fill, sec) != 0 ||
			fill_section(fill, "listener", sec, listener) != 0)
			return -1;
		listener->title = fill_text(fill, sec->title);
		if (!listener->title)
			return -1;
		for (size_t k = 0; k < i; k++) {
			if (same_socket(&config->listeners[k], listener))
				return fill_fail(fill, sec,
					"listener \"%s\": same address and port as listener \"%s\"",
					listener->title, config->listeners[k].title);
		}
		config->listeners_n++;
	}
	return 0;
}

static int fill_certificates(struct fill *fill)
{
	size_t n = cfg_size(fill->root, "certificate");
	struct certificate_settings *array = fill_alloc(fill, n * sizeof(*array));

	if (!array)
		return -1;
	for (size_t i = 0; i < n; i++) {
		cfg_t *sec = cfg_getnsec(fill->root, "certificate", (unsigned)i);

		if (i == SETTINGS_CERTIFICATES_MAX)
			return fill_fail(
				fill, sec, "more than %d certificates", SETTINGS_CERTIFICATES_MAX);
		memset(&array[i], 0, sizeof(array[i]));
		if (fill_title(fill, sec) != 0 ||
			fill_section(fill, "certificate", sec, &array[i]) != 0)
			return -1;
		array[i].title = fill_text(fill, sec->title);
		if (!array[i].title)
			return -1;
	}
	fill->store->config.tls.certificates = array;
	fill->store->config.tls.certificates_n = n;
	return 0;
}

/* Where TLS is offered, clients without SNI (most senders) need a certificate too. */
static int check_certificates(struct fill *fill)
{
	const struct config *config = &fill->store->config;
	const struct listener_settings *with_tls = NULL;

	for (size_t i = 0; i < config->listeners_n && !with_tls; i++) {
		if (config->listeners[i].tls != LISTENER_TLS_NONE)
			with_tls = &config->listeners[i];
	}
	if (!with_tls)
		return 0;
	for (size_t i = 0; i < config->tls.certificates_n; i++) {
		if (config->tls.certificates[i].names_n == 0)
			return 0;
	}
	return fill_fail(fill, NULL,
		"no certificate for listener \"%s\": write certificate \"default\" "
		"{ chain = \"cert.pem\" key = \"key.pem\" }, without names",
		with_tls->title);
}

/* Settings that bound each other. */
static int check_numbers(struct fill *fill)
{
	const struct config *config = &fill->store->config;
	const struct spool_settings *spool = &config->spool;
	const struct relay_settings *relay = &config->relay;

	if (config->policy.recipients && config->policy.recipients_lmdb)
		return fill_fail(fill, cfg_getsec(fill->root, "policy"),
			"policy: recipients and recipients_lmdb are both set: write one of them");
	if (spool->segment_bytes < (uint64_t)spool->stream_bytes * SEGMENT_STREAMS_MIN)
		return fill_fail(fill, cfg_getsec(fill->root, "spool"),
			"spool: segment_bytes is less than %d times stream_bytes: write "
			"segment_bytes = %llu or more",
			SEGMENT_STREAMS_MIN,
			(unsigned long long)spool->stream_bytes * SEGMENT_STREAMS_MIN);
	if (relay->retry_ms_max < relay->retry_ms_min)
		return fill_fail(fill, cfg_getsec(fill->root, "relay"),
			"relay: retry_seconds_max is less than retry_seconds_min: write "
			"retry_seconds_max = %u or more",
			relay->retry_ms_min / 1000);
	if (relay->warn_ms >= relay->expire_ms)
		return fill_fail(fill, cfg_getsec(fill->root, "relay"),
			"relay: warn_seconds is not less than expire_seconds: write warn_seconds = "
			"0 for no warnings");
	return 0;
}

static int fill_all(struct fill *fill)
{
	static const char *const single[] = {
		"tls", "smtp", "policy", "spool", "relay", "fence", "watch", "tlsrpt", "log"};
	struct config *config = &fill->store->config;

	if (fill_section(fill, "", fill->root, config) != 0)
		return -1;
	for (size_t i = 0; i < COUNT_OF(single); i++) {
		if (fill_section(fill, single[i], cfg_getsec(fill->root, single[i]), config) != 0)
			return -1;
	}
	if (config->main.group && !config->main.user)
		return fill_fail(fill, NULL, "group is set without user: write user = \"postern\"");
	config->relay.hostname = config->smtp.hostname;
	if (check_numbers(fill) != 0)
		return -1;
	if (fill_listeners(fill) != 0 || fill_certificates(fill) != 0 ||
		check_certificates(fill) != 0 || fill_fence(fill) != 0)
		return -1;
	if (fill_routes(fill) != 0)
		return -1;
	return fill_sts(fill);
}

int config_fill(
	struct config **out, cfg_t *root, const struct config_source *source, struct err *err)
{
	struct fill fill = {.root = root, .source = source, .err = err};

	fill.store = calloc(1, sizeof(*fill.store));
	if (!fill.store)
		return err_set(err, "%s:1: out of memory", source->path);
	if (fill_all(&fill) != 0) {
		config_close(&fill.store->config);
		return -1;
	}
	fill.store->places = source->places;
	*out = &fill.store->config;
	return 0;
}

void config_place(const struct config *config, struct err *err)
{
	(void)config_places_apply(container_of(config, const struct store, config)->places, err);
}

void config_close(struct config *config)
{
	struct store *store = config ? container_of(config, struct store, config) : NULL;

	if (!store)
		return;
	while (store->blocks) {
		struct block *block = store->blocks;

		store->blocks = block->next;
		free(block);
	}
	config_places_close(store->places);
	free(store);
}
