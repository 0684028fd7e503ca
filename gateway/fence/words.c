/* SPDX-License-Identifier: MIT */
/* words.c -- reasons, classes and hooks: in words for logs and labels, and for whoever gets a 421. */
#include "fence/fence-private.h"

static const struct {
	const char *word;
	const char *text;
	enum fence_verdict verdict;
} reasons[FENCE_REASONS] = {
	[FENCE_PASS] = {"pass", "welcome", FENCE_VERDICT_PASS},
	[FENCE_ALLOWED] = {"allowed", "welcome", FENCE_VERDICT_PASS},
	[FENCE_BLOCKED] = {"blocked", "your network is not welcome here", FENCE_VERDICT_REFUSE},
	[FENCE_PENALTY] = {"penalty", "too many failed TLS handshakes from your network",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_CONNECTIONS] = {"over_connections", "your network connects too often",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_CONNECTIONS_ALL] = {"over_connections_all", "too many new connections here now",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_OPEN] = {"over_open", "too many connections from your network at a time",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_OPEN_ALL] = {"over_open_all", "too many connections here now",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_PLAIN_BYTES] = {"over_plain_bytes", "your network sends too much without TLS",
		FENCE_VERDICT_PAUSE},
	[FENCE_OVER_PLAIN_BYTES_ALL] = {"over_plain_bytes_all",
		"too much is sent here without TLS now", FENCE_VERDICT_PAUSE},
	[FENCE_OVER_PLAIN_PACKETS] = {"over_plain_packets",
		"your network sends too often without TLS", FENCE_VERDICT_PAUSE},
	[FENCE_OVER_PLAIN_PACKETS_ALL] = {"over_plain_packets_all",
		"too much is sent here without TLS now", FENCE_VERDICT_PAUSE},
	[FENCE_OVER_HANDSHAKES] = {"over_handshakes", "too many TLS handshakes from your network",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_HANDSHAKES_ALL] = {"over_handshakes_all", "too many TLS handshakes here now",
		FENCE_VERDICT_REFUSE},
	[FENCE_OVER_SHAKING] = {"over_shaking",
		"too many unfinished TLS handshakes from your network", FENCE_VERDICT_REFUSE},
	[FENCE_OVER_SHAKING_ALL] = {"over_shaking_all",
		"too many unfinished TLS handshakes here now", FENCE_VERDICT_REFUSE},
	[FENCE_OVER_UPGRADED_BYTES] = {"over_upgraded_bytes", "your network sends too much",
		FENCE_VERDICT_PAUSE},
	[FENCE_OVER_UPGRADED_BYTES_ALL] = {"over_upgraded_bytes_all", "too much is sent here now",
		FENCE_VERDICT_PAUSE},
	[FENCE_SAW_CLIENT_HELLO] = {"saw_client_hello", "TLS without STARTTLS", FENCE_VERDICT_PASS},
	[FENCE_SAW_PLAIN_AFTER_TLS] = {"saw_plain_after_tls", "plaintext after the handshake",
		FENCE_VERDICT_PASS},
	[FENCE_SAW_FRAGMENT] = {"saw_fragment", "a fragment", FENCE_VERDICT_PASS},
	[FENCE_SAW_MALFORMED] = {"saw_malformed", "a malformed packet", FENCE_VERDICT_PASS},
};

static const char *const class_words[FENCE_CLASSES] = {
	[FENCE_NEW] = "new",
	[FENCE_PLAIN] = "plain",
	[FENCE_HANDSHAKE] = "handshake",
	[FENCE_UPGRADED] = "upgraded",
};

static const char *const hook_words[FENCE_HOOKS] = {
	[FENCE_HOOK_CGROUP] = "cgroup",
	[FENCE_HOOK_XDP] = "xdp",
	[FENCE_HOOK_USER] = "user",
};

/* Samples come from a map that others may write to, so every number has a word. */
static const char unknown[] = "unknown";

const char *fence_reason_text(enum fence_reason reason)
{
	return reason < FENCE_REASONS ? reasons[reason].text : unknown;
}

const char *fence_reason_word(enum fence_reason reason)
{
	return reason < FENCE_REASONS ? reasons[reason].word : unknown;
}

enum fence_verdict fence_reason_verdict(enum fence_reason reason)
{
	return reason < FENCE_REASONS ? reasons[reason].verdict : FENCE_VERDICT_PASS;
}

const char *fence_class_word(enum fence_class class)
{
	return class < FENCE_CLASSES ? class_words[class] : unknown;
}

const char *fence_hook_word(enum fence_hook hook)
{
	return hook < FENCE_HOOKS ? hook_words[hook] : unknown;
}
