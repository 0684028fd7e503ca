/* SPDX-License-Identifier: MIT */
/* signals: what the program at the cgroup says about the look of a session's segments. */
#include <string.h>

#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

#define HELLO "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03"
#define NONE  FENCE_REASONS

struct look {
	const char *name;
	enum fence_class class;
	const char *octets;
	size_t n; /* 0: of the text */
	enum fence_reason want;
};

/* clang-format off */
static const struct look looks[] = {
	{"a ClientHello in plaintext", FENCE_PLAIN, HELLO, 11, FENCE_SAW_CLIENT_HELLO},
	{"a ClientHello of TLS 1.0 to 1.3", FENCE_PLAIN, "\x16\x03\x03\x00\xf8\x01", 6, FENCE_SAW_CLIENT_HELLO},
	{"a ClientHello's first five octets", FENCE_PLAIN, HELLO, 5, NONE},
	{"a ServerHello", FENCE_PLAIN, "\x16\x03\x03\x00\xf8\x02\x00", 7, NONE},
	{"application data in plaintext", FENCE_PLAIN, "\x17\x03\x03\x00\xf8\x01\x00", 7, NONE},
	{"something like a record of SSL 2", FENCE_PLAIN, "\x16\x02\x03\x00\xf8\x01\x00", 7, NONE},
	{"a command in plaintext", FENCE_PLAIN, "EHLO client.example\r\n", 0, NONE},
	{"a ClientHello where one is awaited", FENCE_HANDSHAKE, HELLO, 11, NONE},
	{"a command while shaking hands", FENCE_HANDSHAKE, "QUIT\r\n", 0, NONE},
	{"a ClientHello after the handshake", FENCE_UPGRADED, HELLO, 11, NONE},
	{"a command after the handshake", FENCE_UPGRADED, "EHLO client.example\r\n", 0, FENCE_SAW_PLAIN_AFTER_TLS},
	{"a short command after the handshake", FENCE_UPGRADED, "QUIT\r\n", 0, FENCE_SAW_PLAIN_AFTER_TLS},
	{"the shortest line", FENCE_UPGRADED, "x\r\n", 0, FENCE_SAW_PLAIN_AFTER_TLS},
	{"an empty line", FENCE_UPGRADED, "\r\n", 0, NONE},
	{"a line end of one octet", FENCE_UPGRADED, "QUIT\n", 0, NONE},
	{"no line end", FENCE_UPGRADED, "EHLO client.example", 0, NONE},
	{"a record after the handshake", FENCE_UPGRADED, "\x17\x03\x03\x00\x06""abcd\r\n", 11, NONE},
	{"a line that begins with a tab", FENCE_UPGRADED, "\tQUIT\r\n", 0, NONE},
	{"a line with a control octet among its first eight", FENCE_UPGRADED, "EHLO ab\x01""c\r\n", 0, NONE},
	{"a line with an 8-bit octet among its first eight", FENCE_UPGRADED, "EHLO\xc3\xa4\r\n", 0, NONE},
	{"a line with a control octet after its first eight", FENCE_UPGRADED, "EHLO abc\x01""d\r\n", 0, FENCE_SAW_PLAIN_AFTER_TLS},
	{"two lines", FENCE_UPGRADED, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", 0, FENCE_SAW_PLAIN_AFTER_TLS},
};
/* clang-format on */

static enum fence_reason signal_since(const struct rig_counts *before, size_t n)
{
	enum fence_reason found = NONE;

	for (int class = 0; class < FENCE_CLASSES; class ++)
		for (int i = FENCE_SAW_CLIENT_HELLO; i < FENCE_REASONS; i++)
			if (rig_packets_since(before, class, i) == 1 && found == NONE &&
				rig_bytes_since(before, class, i) == n)
				found = (enum fence_reason)i;
			else if (rig_packets_since(before, class, i) != 0)
				return FENCE_PASS; /* one too many: no test wants this */
	return found;
}

static enum fence_reason look(enum fence_class class, const char *octets, size_t n)
{
	struct rig_counts before;
	enum fence_reason reason;
	struct pair pair = sockets_connect(sockets_client("192.0.2.1"), &reason);

	rig_mark(pair.server, class);
	rig_counts(&before);
	KT_MUST(sockets_send(&pair, octets, n, class) == FENCE_PASS);
	sockets_shut(&pair);
	return signal_since(&before, n);
}

/* A ClientHello is looked for in a session's first segments only. */
static void test_looks(void)
{
	for (int before = 0; before < 6; before++) {
		struct rig_counts counts;
		enum fence_reason reason;
		struct pair pair = sockets_connect(sockets_client("192.0.2.1"), &reason);

		for (int i = 0; i < before; i++)
			KT_MUST(sockets_send(&pair, "NOOP\r\n", 6, FENCE_PLAIN) == FENCE_PASS);
		rig_counts(&counts);
		KT_MUST(sockets_send(&pair, HELLO, 11, FENCE_PLAIN) == FENCE_PASS);
		kt_ok(signal_since(&counts, 11) == (before < 4 ? FENCE_SAW_CLIENT_HELLO : NONE),
			"a ClientHello after %d segments", before);
		sockets_shut(&pair);
	}
}

static int test(void)
{
	const struct fence_rules rules = {
		.abi = FENCE_ABI, .bits_v4 = 32, .bits_v6 = 64, .piece = 1};
	char line[513];

	rig_open();
	sockets_open();
	rig_reset(&rules);
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
		kt_ok(look(looks[i].class, looks[i].octets,
			      looks[i].n ? looks[i].n : strlen(looks[i].octets)) == looks[i].want,
			"%s", looks[i].name);
	test_looks();
	memset(line, 'a', sizeof(line));
	memcpy(line + 510, "\r\n", 2);
	kt_ok(look(FENCE_UPGRADED, line, 512) == FENCE_SAW_PLAIN_AFTER_TLS, "a line of 512 octets");
	memcpy(line + 511, "\r\n", 2);
	kt_ok(look(FENCE_UPGRADED, line, 513) == NONE, "a line of 513 octets");
	sockets_close();
	rig_close();
	return kt_done();
}

int main(void)
{
	return ground_run(test);
}
