/* SPDX-License-Identifier: MIT */
/*
 * value.c -- reads one value of the configuration by what its key's row says.
 *
 * Non-goals: opening what a path names, asking for what a name resolves to. A value that passes
 * here is well-formed; the room that owns the thing says whether it works.
 */
#include "config/config-private.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/network.h"
#include "config/name.h"

#define EXPECTED_MAX  160
#define ACCOUNT_MAX   32 /* useradd(8)'s limit */
#define INTERFACE_MAX 15 /* IFNAMSIZ without its NUL */

const char *value_shown(const char *text, char out[CONFIG_SHOWN_MAX + 4])
{
	size_t n = strlen(text), shown = min_size(n, CONFIG_SHOWN_MAX);

	for (size_t i = 0; i < shown; i++)
		out[i] = (char)(text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
	memcpy(out + shown, n > shown ? "..." : "", n > shown ? 4 : 1);
	return out;
}

static bool read_number(const struct config_key *key, const char *text, struct value *out)
{
	uint64_t number = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)(uint8_t)*text - '0';

		if (*text < '0' || *text > '9' || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	out->number = number * key->scale;
	return number >= key->min && number <= key->max;
}

static bool read_choice(const struct value_choice *choices, const char *text, struct value *out)
{
	for (; choices->text; choices++) {
		if (strcmp(choices->text, text) == 0) {
			out->number = choices->number;
			return true;
		}
	}
	return false;
}

static bool read_bool(const char *text, struct value *out)
{
	static const struct value_choice choices[] = {
		{"true", 1}, {"yes", 1}, {"on", 1}, {"false", 0}, {"no", 0}, {"off", 0}, {NULL, 0}};

	return read_choice(choices, text, out);
}

static bool copy(const char *text, struct value *out)
{
	size_t n = strlen(text);

	if (n >= sizeof(out->text))
		return false;
	memcpy(out->text, text, n + 1);
	return true;
}

static bool read_budget(const struct config_key *key, const char *text, struct value *out)
{
	struct config_key number = {.scale = 1, .min = key->min, .max = key->max};
	const char *slash = strchr(text, '/');

	out->budget = (struct fence_budget){0};
	if (strcmp(text, "none") == 0)
		return true;
	if (!slash || !copy(text, out))
		return false;
	out->text[slash - text] = '\0';
	if (!read_number(&number, out->text, out))
		return false;
	out->budget.rate = out->number;
	number.min = 1;
	number.max = out->budget.rate * CONFIG_BURST_SECONDS_MAX;
	if (!read_number(&number, slash + 1, out))
		return false;
	out->budget.burst = out->number;
	return true;
}

static bool read_name(enum value_kind kind, const char *text, struct value *out)
{
	struct span name = span_str(text);

	if (kind == VALUE_SNI_NAME && strncmp(text, "*.", 2) == 0)
		span_take(&name, 2);
	if (kind == VALUE_DOMAIN ? !name_domain_valid(name) : !name_host_valid(name))
		return false;
	if (!copy(text, out))
		return false;
	name_lower(out->text, strlen(out->text));
	return true;
}

static bool read_address(const char *text, struct value *out)
{
	uint8_t octets[sizeof(struct in6_addr)];

	return (inet_pton(AF_INET, text, octets) == 1 || inet_pton(AF_INET6, text, octets) == 1) &&
	       copy(text, out);
}

static bool read_route_domain(const char *text, struct value *out)
{
	struct span name = span_str(text);

	if (*text == '.')
		span_take(&name, 1);
	if ((strcmp(text, "*") != 0 && !name_domain_valid(name)) || !copy(text, out))
		return false;
	name_lower(out->text, strlen(out->text));
	return true;
}

static bool read_resolver(const char *text, struct value *out)
{
	const char *at = strchr(text, '@');
	struct value port;
	char address[INET6_ADDRSTRLEN];
	size_t n = at ? (size_t)(at - text) : strlen(text);
	static const struct config_key port_key = {
		.kind = VALUE_NUMBER, .min = 1, .max = 65535, .scale = 1};

	if (n >= sizeof(address) || (at && !read_number(&port_key, at + 1, &port)))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	return read_address(address, out) && copy(text, out);
}

static bool read_network(const char *text, struct value *out)
{
	struct network network;

	return network_parse(text, &network) && copy(text, out);
}

/* What the kernel takes as a name (dev_valid_name), and nothing that would spoil a log line. */
static bool read_interface(const char *text, struct value *out)
{
	size_t n = strlen(text);

	if (n == 0 || n > INTERFACE_MAX || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] <= ' ' || text[i] > '~' || strchr("/:\"", text[i]))
			return false;
	}
	return copy(text, out);
}

static bool read_text(const char *text, struct value *out)
{
	size_t n = strlen(text);

	if (n == 0 || n > CONFIG_TEXT_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < ' ' || text[i] > '~' || strchr("\"\\", text[i]))
			return false;
	}
	return copy(text, out);
}

static bool read_account(const char *text, struct value *out)
{
	size_t n = strlen(text);

	if (n == 0 || n > ACCOUNT_MAX || text[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			!strchr("_-.", c))
			return false;
	}
	return copy(text, out);
}

static bool read_path(const char *folder, const char *text, size_t max, struct value *out)
{
	int n;

	if (*text == '\0' || !name_text_valid(span_str(text)))
		return false;
	n = snprintf(out->text, sizeof(out->text), "%s%s", *text == '/' ? "" : folder, text);
	return n > 0 && (size_t)n <= max;
}

static bool read_kind(
	const struct config_key *key, const char *folder, const char *text, struct value *out)
{
	switch (key->kind) {
	case VALUE_NUMBER:
		return read_number(key, text, out);
	case VALUE_BOOL:
		return read_bool(text, out);
	case VALUE_CHOICE:
		return read_choice(key->choices, text, out);
	case VALUE_BUDGET:
		return read_budget(key, text, out);
	case VALUE_HOST:
	case VALUE_SNI_NAME:
	case VALUE_DOMAIN:
		return read_name(key->kind, text, out);
	case VALUE_ADDRESS:
		return read_address(text, out);
	case VALUE_ROUTE_DOMAIN:
		return read_route_domain(text, out);
	case VALUE_RESOLVER:
		return read_resolver(text, out);
	case VALUE_NETWORK:
		return read_network(text, out);
	case VALUE_INTERFACE:
		return read_interface(text, out);
	case VALUE_TEXT:
		return read_text(text, out);
	case VALUE_ACCOUNT:
		return read_account(text, out);
	case VALUE_PATH:
		return read_path(folder, text, CONFIG_PATH_MAX, out);
	case VALUE_SOCKET:
		return read_path(folder, text, CONFIG_SOCKET_MAX, out);
	case VALUE_NEXT_HOP:
		break; /* read_next_hop's */
	}
	ASSERT(!"a kind without a reader");
	return false;
}

/* What would have been right, to follow "is not". */
static void expected(const struct config_key *key, char out[EXPECTED_MAX])
{
	static const char *const texts[] = {
		[VALUE_BOOL] = "true or false",
		[VALUE_HOST] = "a host name such as mx.example.org",
		[VALUE_SNI_NAME] = "a host name such as mx.example.org or *.example.org",
		[VALUE_DOMAIN] = "a mail domain such as example.org",
		[VALUE_ADDRESS] = "a numeric IPv4 or IPv6 address such as 192.0.2.1",
		[VALUE_ROUTE_DOMAIN] = "a mail domain such as example.org, .example.org for all "
				       "below it, or *",
		[VALUE_RESOLVER] = "a numeric address such as 192.0.2.1 or 192.0.2.1@53",
		[VALUE_NETWORK] = "a network or address such as 192.0.2.0/24, without bits "
				  "behind its prefix",
		[VALUE_INTERFACE] = "the name of a network interface",
		[VALUE_TEXT] = "printable ASCII of at most 512 octets, without \" and \\",
		[VALUE_ACCOUNT] = "the name of an account",
		[VALUE_PATH] = "a path of at most 4095 octets of text",
		[VALUE_SOCKET] = "a path of at most 107 octets of text, its folder included",
	};
	size_t n;

	if (key->kind == VALUE_NUMBER) {
		snprintf(out, EXPECTED_MAX, "a whole number from %llu to %llu",
			(unsigned long long)key->min, (unsigned long long)key->max);
		return;
	}
	if (key->kind == VALUE_BUDGET) {
		snprintf(out, EXPECTED_MAX,
			"none, nor a rate from %llu to %llu and a burst from 1 to %d times as "
			"much, such as 50/500",
			(unsigned long long)key->min, (unsigned long long)key->max,
			CONFIG_BURST_SECONDS_MAX);
		return;
	}
	if (key->kind != VALUE_CHOICE) {
		snprintf(out, EXPECTED_MAX, "%s", texts[key->kind]);
		return;
	}
	n = (size_t)snprintf(out, EXPECTED_MAX, "one of");
	for (const struct value_choice *choice = key->choices; choice->text; choice++)
		n += (size_t)snprintf(out + n, EXPECTED_MAX - n, "%s %s",
			choice == key->choices ? "" : ",", choice->text);
	ASSERT(n < EXPECTED_MAX);
}

/* A next hop says what is wrong with it in its own words. */
static int read_next_hop(const char *folder, const char *text, struct value *out, struct err *err)
{
	static const char *const texts[] = {
		[NEXT_HOP_LMTP_UNIX] = "the socket's path is not text of at most 107 octets, its "
				       "folder included",
		[NEXT_HOP_MAILDIR] = "the path is not text of at most 4095 octets",
	};
	struct hop_parts hop;
	char path[CONFIG_PATH_MAX + 1];

	out->text[0] = '\0';
	if (hop_read(text, &hop, err) != 0)
		return -1;
	if (hop.path.n == 0)
		return 0;
	if (hop.path.n < sizeof(path)) {
		memcpy(path, hop.path.p, hop.path.n);
		path[hop.path.n] = '\0';
		if (read_path(folder, path,
			    hop.kind == NEXT_HOP_MAILDIR ? CONFIG_PATH_MAX : CONFIG_SOCKET_MAX,
			    out))
			return 0;
	}
	return err_set(err, "%s", texts[hop.kind]);
}

int value_read(const struct config_key *key, const char *folder, const char *text,
	struct value *out, struct err *err)
{
	char shown[CONFIG_SHOWN_MAX + 4], right[EXPECTED_MAX];
	struct err what;

	if (key->kind == VALUE_NEXT_HOP) {
		out->none = false;
		if (read_next_hop(folder, text, out, &what) == 0)
			return 0;
		return err_set(err, "%s.%s: \"%s\": %s", key->section, key->name,
			value_shown(text, shown), what.text);
	}
	out->none = key->empty_is_none && *text == '\0';
	if (out->none || read_kind(key, folder, text, out))
		return 0;
	expected(key, right);
	return err_set(err, "%s%s%s: \"%s\" is not %s", key->section, *key->section ? "." : "",
		key->name, value_shown(text, shown), right);
}
