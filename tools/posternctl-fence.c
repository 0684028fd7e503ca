/* SPDX-License-Identifier: MIT */
/*
 * posternctl-fence.c -- the fence commands: what they take, what is asked of the gateway.
 *
 * A list longer than one answer is asked for piece by piece. Networks are looked at here, before the
 * gateway is asked, so that a mistake is told as one: a prefix that is very short, and one of IPv6
 * that has all of IPv4 in it, was hardly meant and needs --force.
 */
#include <stdlib.h>
#include <string.h>

#include "base/network.h"
#include "tools/posternctl.h"

#define TOP_LIMIT        20      /* sources when nothing is said */
#define NETWORKS_MAX     1000000 /* of all pieces of a list; more is no answer of a gateway */
#define BITS_MIN_V4      8       /* shorter prefixes need --force */
#define BITS_MIN_V6      16
#define BITS_OF_V4_BEGIN 96 /* of an IPv4 network in 128 bits */

enum words { WORDS_NONE, WORDS_NETWORK, WORDS_ADDRESS };

static const struct action {
	const char *word;
	enum words words;
	bool limit, by, for_s, force; /* options that it takes */
	void (*put)(const json_t *fence);
} actions[] = {
	{"status", WORDS_NONE, false, false, false, false, show_fence},
	{"top", WORDS_NONE, true, true, false, false, show_sources},
	{"list", WORDS_NONE, false, false, false, false, NULL},
	{"samples", WORDS_NONE, true, false, false, false, show_samples},
	{"explain", WORDS_ADDRESS, false, false, false, false, show_explained},
	{"allow", WORDS_NETWORK, false, false, true, true, NULL},
	{"block", WORDS_NETWORK, false, false, true, true, NULL},
	{"unblock", WORDS_NETWORK, false, false, false, false, NULL},
	{"forget", WORDS_ADDRESS, false, false, false, false, NULL},
};

/* ---- options ---- */

const char *fence_option_form(const char *name)
{
	if (strcmp(name, "for") == 0)
		return "numbers with s, m, h or d, as 90s or 1d12h";
	return "penalty, connections, open, octets, handshakes or refusals";
}

bool fence_option(struct options *options, const char *name, const char *value)
{
	/* What a person says, and what the gateway is asked for. */
	static const struct {
		const char *said, *order;
	} rows[] = {{"refusals", "refused"}, {"refused", "refused"}, {"open", "open"},
		{"octets", "bytes"}, {"bytes", "bytes"}, {"connections", "connections"},
		{"handshakes", "handshakes"}, {"penalty", "penalty"}};

	if (strcmp(name, "for") == 0)
		return time_parse(value, &options->for_s);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (strcmp(rows[i].said, value) != 0)
			continue;
		options->by = rows[i].order;
		return true;
	}
	return false;
}

/* ---- asking ---- */

static json_t *request_make(const struct options *options, const struct action *action)
{
	json_t *request = json_object();
	uint32_t limit = options->limit;

	if (limit == 0 && action->by)
		limit = TOP_LIMIT;
	if (limit != 0)
		json_object_set_new(request, "limit", json_integer(limit));
	if (options->by != NULL)
		json_object_set_new(request, "order", json_string(options->by));
	if (options->for_s != 0)
		json_object_set_new(request, "seconds", json_integer((json_int_t)options->for_s));
	if (action->words != WORDS_NONE)
		json_object_set_new(request, action->words == WORDS_ADDRESS ? "address" : "network",
			json_string(options->words[2]));
	return request;
}

/* ---- looking ---- */

static int look_run(const struct options *options, const struct action *action)
{
	json_t *fence;
	int result =
		ask_part(options, "fence", action->word, request_make(options, action), &fence);

	if (result != EXIT_OK)
		return result;
	if (options->json)
		json_put(fence);
	else
		action->put(fence);
	json_decref(fence);
	return EXIT_OK;
}

static int list_run(const struct options *options)
{
	json_t *networks = json_array(), *root, *piece = NULL, *next = NULL;
	size_t got;
	int result;

	do {
		json_t *request = json_object();

		if (json_is_integer(next))
			json_object_set(request, "from", next);
		got = json_array_size(networks);
		json_decref(piece);
		result = ask_part(options, "fence", "list", request, &piece);
		json_array_extend(networks, json_object_get(piece, "networks"));
		next = json_object_get(piece, "next");
		/* A piece without an entry, but with a next one, would go on for ever. */
	} while (result == EXIT_OK && json_is_integer(next) && json_array_size(networks) > got &&
		 got < NETWORKS_MAX);
	root = json_pack("{s:O}", "networks", networks);
	if (result == EXIT_OK && options->json)
		json_put(root);
	else if (result == EXIT_OK)
		show_networks(networks);
	json_decref(root);
	json_decref(piece);
	json_decref(networks);
	return result;
}

/* ---- changing ---- */

/* An entry that decides still, or again. */
static void decides_put(FILE *out, const json_t *listed)
{
	bool allow = strcmp(show_string_of(listed, "action"), "allow") == 0;
	bool operator= strcmp(show_string_of(listed, "origin"), "operator") == 0;

	if (!json_is_object(listed))
		return;
	fprintf(out, "%s by ", allow ? "allowed" : "blocked");
	show_clean(out, show_string_of(listed, "network"));
	fprintf(out, " of %s\n", operator? "an operator" : "the configuration");
}

static void change_put(
	const struct options *options, const struct action *action, const json_t *fence)
{
	const json_t *listed = json_object_get(fence, "listed");
	char span[32] = "";

	if (options->for_s != 0)
		show_span_format(span, sizeof(span), (json_int_t)options->for_s);
	if (strcmp(action->word, "forget") == 0) {
		show_forgotten(fence);
		if (json_is_object(listed)) {
			printf("it is still ");
			decides_put(stdout, listed);
		}
		return;
	}
	show_clean(stdout, show_string_of(fence, "network"));
	if (strcmp(action->word, "unblock") == 0)
		printf(": the entry or penalty is gone\n");
	else
		printf(" is %s%s%s\n", action->word[0] == 'a' ? "allowed" : "blocked",
			span[0] != '\0' ? " for " : " for good", span);
	if (strcmp(action->word, "unblock") == 0 && json_is_object(listed)) {
		printf("it is now ");
		decides_put(stdout, listed);
	}
}

static int change_run(const struct options *options, const struct action *action)
{
	json_t *fence;
	int result =
		ask_part(options, "fence", action->word, request_make(options, action), &fence);
	const json_t *listed = json_object_get(fence, "listed");
	bool found = show_number_of(fence, "matched") > 0;

	if (result != EXIT_OK)
		return result;
	if (options->json)
		json_put(fence);
	else if (found)
		change_put(options, action, fence);
	if (!found) {
		result = EXIT_NOTHING;
		fprintf(stderr, "posternctl: %s: %s%s", options->words[2],
			strcmp(action->word, "forget") == 0
				? "nothing was known of it"
				: "no entry of an operator's, no penalty",
			json_is_object(listed) ? "; it is " : "\n");
		decides_put(stderr, listed);
	}
	json_decref(fence);
	return result;
}

/* ---- the command ---- */

static const struct action *action_find(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (strcmp(actions[i].word, word) == 0)
			return &actions[i];
	return NULL;
}

static bool is_short(const struct network *network)
{
	static const uint8_t v4[NETWORK_BYTES] = {[10] = 0xff, [11] = 0xff};
	struct network all_v4 = {.bits = BITS_OF_V4_BEGIN};

	memcpy(all_v4.address, v4, sizeof(v4));
	if (network->bits >= BITS_OF_V4_BEGIN && network_has(&all_v4, network->address))
		return network->bits < BITS_OF_V4_BEGIN + BITS_MIN_V4;
	return network->bits < BITS_MIN_V6 || network_has(network, v4);
}

/* EXIT_OK: the word is what the action needs. */
static int network_check(const struct options *options, const struct action *action)
{
	const char *word = options->words[2];
	struct network network;

	if (action->words == WORDS_ADDRESS &&
		(strchr(word, '/') != NULL || !network_parse(word, &network)))
		return usage_wrong("an IPv4 or IPv6 address is needed, not ", word);
	if (!network_parse(word, &network))
		return usage_wrong("a network is ADDRESS or ADDRESS/BITS with zeros after the "
				   "prefix, not ",
			word);
	if (action->force && !options->force && is_short(&network))
		return usage_wrong("so much of the Internet needs --force: ", word);
	return EXIT_OK;
}

/* EXIT_OK: words and options make sense together. */
static int words_check(const struct options *options, const struct action *action)
{
	int words_n = options->words_n > 2 ? options->words_n - 2 : 0;

	if (options->limit != 0 && !action->limit)
		return usage_wrong("--limit does not go with fence ", action->word);
	if (options->by != NULL && !action->by)
		return usage_wrong("--by does not go with fence ", action->word);
	if (options->for_s != 0 && !action->for_s)
		return usage_wrong("--for does not go with fence ", action->word);
	if (options->force && !action->force)
		return usage_wrong("--force does not go with fence ", action->word);
	if (action->words == WORDS_NONE && words_n > 0)
		return usage_wrong("not understood: ", options->words[2]);
	if (action->words == WORDS_NETWORK && words_n != 1)
		return usage_wrong("one network is needed by fence ", action->word);
	if (action->words == WORDS_ADDRESS && words_n != 1)
		return usage_wrong("one address is needed by fence ", action->word);
	return action->words == WORDS_NONE ? EXIT_OK : network_check(options, action);
}

int fence_run(struct options *options)
{
	const char *word = options->words_n > 1 ? options->words[1] : "status";
	const struct action *action = action_find(word);
	int result;

	if (action == NULL)
		return usage_wrong("there is no command fence ", word);
	result = words_check(options, action);
	if (result != EXIT_OK)
		return result;
	if (action->put != NULL)
		return look_run(options, action);
	return action->words == WORDS_NONE ? list_run(options) : change_run(options, action);
}
