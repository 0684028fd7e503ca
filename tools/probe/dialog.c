/* SPDX-License-Identifier: MIT */
/*
 * dialog.c -- seven protocols up to their TLS, sans-IO: what is said, where a reply ends, what it means.
 *
 *	smtp RFC 3207, imap and pop3 RFC 2595, xmpp RFC 6120 5, ldap RFC 4511 4.14, nntp RFC 4642,
 *	ftp RFC 4217
 *
 * One table has all of it; nothing below knows a command by its name. Replies are read as widely as
 * servers differ (bare LF, any text) and no further: a reply's end decides which octets came in
 * clear behind the go-ahead, so it is exact.
 *
 * What is injected behind the upgrade is harmless and has an answer that the command sent under TLS
 * (SYNC) cannot have. XMPP has no such pair: there any octet that comes unasked is the answer.
 *
 * Rejected: an XML parser (three elements are looked for, and no content is used).
 */
#include "tools/probe/probe-private.h"

#include <stdio.h>

#define CODE_DIGITS 3

/* In commands: '@' stands for the host, '$' for our own name. */
struct step {
	const char *command;
	bool (*put)(struct buf *out, uint8_t id); /* LDAP's, in place of a command */
	uint8_t id;
	bool is;
	bool silent;   /* no reply comes */
	bool optional; /* a bad reply does not end it */
	enum reply_kind kind;
	const char *good; /* how a good reply begins, without regard to capitals */
};

struct protocol {
	const char *name;
	uint16_t port, tls_port;
	const char *offer;  /* the word to look for in a list */
	bool offer_is_word; /* anywhere in a line, and not at its start only */
	struct step steps[DIALOG_STEPS];
};

#define STREAM                                                                                     \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "                               \
	"xmlns:stream='http://etherx.jabber.org/streams' to='@' version='1.0'>"
#define XMPP_TLS "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"

#define SAY(...)                                                                                   \
	{                                                                                          \
		.is = true, __VA_ARGS__                                                            \
	}

static const struct protocol protocols[PROBE_PROTOCOLS] = {
	[PROBE_SMTP] = {"smtp", 25, 465, "STARTTLS", false,
		{
			[DIALOG_GREETING] = SAY(.kind = REPLY_CODE, .good = "220"),
			[DIALOG_LIST] = SAY(.command = "EHLO $\r\n", .kind = REPLY_CODE,
				.good = "250", .optional = true),
			[DIALOG_UPGRADE] =
				SAY(.command = "STARTTLS\r\n", .kind = REPLY_CODE, .good = "220"),
			[DIALOG_HELLO] =
				SAY(.command = "EHLO $\r\n", .kind = REPLY_CODE, .good = "250"),
			[DIALOG_INJECT] = SAY(.command = "NOOP\r\n", .silent = true),
			[DIALOG_SYNC] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "221"),
			[DIALOG_QUIT] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "221"),
		}},
	[PROBE_IMAP] = {"imap", 143, 993, "STARTTLS", true,
		{
			[DIALOG_GREETING] = SAY(.kind = REPLY_LINE, .good = "* OK"),
			[DIALOG_LIST] = SAY(.command = "a CAPABILITY\r\n", .kind = REPLY_TAGGED,
				.good = "a OK"),
			[DIALOG_UPGRADE] = SAY(.command = "b STARTTLS\r\n", .kind = REPLY_TAGGED,
				.good = "b OK"),
			[DIALOG_HELLO] = SAY(.command = "c CAPABILITY\r\n", .kind = REPLY_TAGGED,
				.good = "c OK"),
			[DIALOG_INJECT] = SAY(.command = "i NOOP\r\n", .silent = true),
			[DIALOG_SYNC] = SAY(.command = "q LOGOUT\r\n", .kind = REPLY_TAGGED,
				.good = "q OK"),
			[DIALOG_QUIT] = SAY(.command = "q LOGOUT\r\n", .kind = REPLY_TAGGED,
				.good = "q OK"),
		}},
	[PROBE_POP3] = {"pop3", 110, 995, "STLS", false,
		{
			[DIALOG_GREETING] = SAY(.kind = REPLY_LINE, .good = "+OK"),
			[DIALOG_LIST] = SAY(.command = "CAPA\r\n", .kind = REPLY_LIST,
				.good = "+OK", .optional = true),
			[DIALOG_UPGRADE] =
				SAY(.command = "STLS\r\n", .kind = REPLY_LINE, .good = "+OK"),
			[DIALOG_HELLO] = SAY(.command = "CAPA\r\n", .kind = REPLY_LIST,
				.good = "+OK", .optional = true),
			[DIALOG_INJECT] = SAY(.command = "XPROBE\r\n", .silent = true),
			[DIALOG_SYNC] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_LINE, .good = "+OK"),
			[DIALOG_QUIT] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_LINE, .good = "+OK"),
		}},
	[PROBE_XMPP] = {"xmpp", 5222, 5223, "<starttls", true,
		{
			[DIALOG_LIST] = SAY(.command = STREAM, .kind = REPLY_FEATURES),
			[DIALOG_UPGRADE] = SAY(.command = "<starttls " XMPP_TLS "/>",
				.kind = REPLY_ELEMENT, .good = "<proceed"),
			[DIALOG_HELLO] = SAY(.command = STREAM, .kind = REPLY_FEATURES),
			[DIALOG_INJECT] = SAY(.command = STREAM, .silent = true),
			[DIALOG_QUIT] = SAY(.command = "</stream:stream>", .silent = true),
		}},
	[PROBE_LDAP] = {"ldap", 389, 636, NULL, false,
		{
			[DIALOG_UPGRADE] =
				SAY(.put = ber_starttls_put, .id = 1, .kind = REPLY_MESSAGE),
			[DIALOG_HELLO] = SAY(.put = ber_search_put, .id = 2, .kind = REPLY_MESSAGE),
			[DIALOG_INJECT] = SAY(.put = ber_search_put, .id = 3, .silent = true),
			[DIALOG_SYNC] = SAY(.put = ber_search_put, .id = 4, .kind = REPLY_MESSAGE),
			[DIALOG_QUIT] = SAY(.put = ber_unbind_put, .id = 5, .silent = true),
		}},
	[PROBE_NNTP] = {"nntp", 119, 563, "STARTTLS", false,
		{
			[DIALOG_GREETING] = SAY(.kind = REPLY_CODE, .good = "20"),
			[DIALOG_LIST] = SAY(.command = "CAPABILITIES\r\n", .kind = REPLY_LIST,
				.good = "101", .optional = true),
			[DIALOG_UPGRADE] =
				SAY(.command = "STARTTLS\r\n", .kind = REPLY_CODE, .good = "382"),
			[DIALOG_HELLO] = SAY(.command = "CAPABILITIES\r\n", .kind = REPLY_LIST,
				.good = "101", .optional = true),
			[DIALOG_INJECT] = SAY(.command = "DATE\r\n", .silent = true),
			[DIALOG_SYNC] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "205"),
			[DIALOG_QUIT] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "205"),
		}},
	[PROBE_FTP] = {"ftp", 21, 990, "AUTH", false,
		{
			[DIALOG_GREETING] = SAY(.kind = REPLY_CODE, .good = "220"),
			[DIALOG_LIST] = SAY(.command = "FEAT\r\n", .kind = REPLY_CODE,
				.good = "211", .optional = true),
			[DIALOG_UPGRADE] =
				SAY(.command = "AUTH TLS\r\n", .kind = REPLY_CODE, .good = "234"),
			[DIALOG_HELLO] = SAY(.command = "FEAT\r\n", .kind = REPLY_CODE,
				.good = "211", .optional = true),
			[DIALOG_INJECT] = SAY(.command = "NOOP\r\n", .silent = true),
			[DIALOG_SYNC] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "221"),
			[DIALOG_QUIT] =
				SAY(.command = "QUIT\r\n", .kind = REPLY_CODE, .good = "221"),
		}},
};

static const struct step *step_of(enum probe_protocol protocol, enum dialog_step step)
{
	ASSERT(protocol < PROBE_PROTOCOLS && step < DIALOG_STEPS);
	return &protocols[protocol].steps[step];
}

/* ---- the table asked ---- */

bool probe_protocol_read(const char *text, enum probe_protocol *protocol)
{
	for (size_t i = 0; i < PROBE_PROTOCOLS; i++) {
		if (strcmp(protocols[i].name, text) == 0) {
			*protocol = (enum probe_protocol)i;
			return true;
		}
	}
	return false;
}

const char *probe_protocol_text(enum probe_protocol protocol)
{
	ASSERT(protocol < PROBE_PROTOCOLS);
	return protocols[protocol].name;
}

uint16_t probe_protocol_port(enum probe_protocol protocol, bool implicit_tls)
{
	ASSERT(protocol < PROBE_PROTOCOLS);
	return implicit_tls ? protocols[protocol].tls_port : protocols[protocol].port;
}

bool dialog_has(enum probe_protocol protocol, enum dialog_step step)
{
	return step_of(protocol, step)->is;
}

bool dialog_replies(enum probe_protocol protocol, enum dialog_step step)
{
	return step_of(protocol, step)->is && !step_of(protocol, step)->silent;
}

bool dialog_optional(enum probe_protocol protocol, enum dialog_step step)
{
	return step_of(protocol, step)->optional;
}

bool dialog_sync_quiet(enum probe_protocol protocol)
{
	return !step_of(protocol, DIALOG_SYNC)->is;
}

bool dialog_command_put(enum probe_protocol protocol, enum dialog_step which,
	const struct dialog_names *names, struct buf *out)
{
	const struct step *step = step_of(protocol, which);
	bool fits = true;

	if (step->put != NULL)
		return step->put(out, step->id);
	for (const char *c = step->command; c != NULL && *c != '\0' && fits; c++) {
		if (*c == '@' || *c == '$')
			fits = buf_puts(out, *c == '@' ? names->host : names->helo);
		else
			fits = buf_put(out, span_of(c, 1));
	}
	return fits;
}

/* ---- where a reply ends ---- */

static const uint8_t *find(struct span octets, const char *text)
{
	return octets.n > 0 ? memmem(octets.p, octets.n, text, strlen(text)) : NULL;
}

static bool begins(struct span octets, const char *text)
{
	size_t n = strlen(text);

	return octets.n >= n && strncasecmp((const char *)octets.p, text, n) == 0;
}

/* Takes a line with its end off the front; false: none is whole. */
static bool line_take(struct span *octets, struct span *line)
{
	const uint8_t *end = octets->n > 0 ? memchr(octets->p, '\n', octets->n) : NULL;

	if (end == NULL)
		return false;
	*line = span_take(octets, (size_t)(end - octets->p) + 1);
	return true;
}

static struct span line_text(struct span line)
{
	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	return line;
}

static bool has_code(struct span line)
{
	if (line.n < CODE_DIGITS)
		return false;
	for (size_t i = 0; i < CODE_DIGITS; i++)
		if (line.p[i] < '0' || line.p[i] > '9')
			return false;
	return true;
}

static size_t code_end(struct span octets)
{
	struct span rest = octets, line, first;

	if (!line_take(&rest, &first))
		return 0;
	if (!has_code(first))
		return SIZE_MAX;
	if (first.p[CODE_DIGITS] != '-')
		return octets.n - rest.n;
	while (line_take(&rest, &line)) {
		if (has_code(line) && memcmp(line.p, first.p, CODE_DIGITS) == 0 &&
			line.p[CODE_DIGITS] != '-')
			return octets.n - rest.n;
	}
	return 0;
}

/* The first line, and if it is a good one all up to a dot alone; or up to a line that begins so. */
static size_t lines_end(struct span octets, const struct step *step)
{
	bool tagged = step->kind == REPLY_TAGGED, more = true;
	struct span rest = octets, line, text;

	for (bool first = true; more && line_take(&rest, &line); first = false) {
		text = line_text(line);
		if (tagged)
			more = !(text.n >= 2 && text.p[0] == step->good[0] && text.p[1] == ' ');
		else if (first)
			more = step->kind == REPLY_LIST && begins(text, step->good);
		else
			more = !span_equal(text, span_str("."));
	}
	return more ? 0 : octets.n - rest.n;
}

static size_t features_end(struct span octets)
{
	static const char *const ends[] = {
		"</stream:features>", "<stream:features/>", "</stream:stream>"};
	size_t end = 0;

	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		const uint8_t *at = find(octets, ends[i]);
		size_t n = at != NULL ? (size_t)(at - octets.p) + strlen(ends[i]) : 0;

		if (n > 0 && (end == 0 || n < end))
			end = n;
	}
	return end;
}

/* An empty element, in either form. */
static size_t element_end(struct span octets)
{
	const uint8_t *end = octets.n > 0 ? memchr(octets.p, '>', octets.n) : NULL;
	const uint8_t *close;
	struct span rest;

	if (end == NULL)
		return 0;
	rest = span_of(end, octets.n - (size_t)(end - octets.p));
	if (end > octets.p && end[-1] == '/')
		return (size_t)(end - octets.p) + 1;
	close = find(rest, "</");
	if (close == NULL)
		return 0;
	end = memchr(close, '>', rest.n - (size_t)(close - rest.p));
	return end != NULL ? (size_t)(end - octets.p) + 1 : 0;
}

size_t dialog_reply_end(enum probe_protocol protocol, enum dialog_step which, struct span octets)
{
	const struct step *step = step_of(protocol, which);

	switch (step->kind) {
	case REPLY_CODE:
		return code_end(octets);
	case REPLY_LINE:
	case REPLY_LIST:
	case REPLY_TAGGED:
		return lines_end(octets, step);
	case REPLY_FEATURES:
	case REPLY_ELEMENT:
		if (octets.n > 0 && octets.p[0] != '<')
			return SIZE_MAX;
		return step->kind == REPLY_FEATURES ? features_end(octets) : element_end(octets);
	case REPLY_MESSAGE:
		break;
	}
	return ber_end(octets);
}

/* ---- what a reply means ---- */

static struct span last_line(struct span reply)
{
	struct span line = {0};

	while (line_take(&reply, &line))
		;
	return line;
}

bool dialog_reply_good(enum probe_protocol protocol, enum dialog_step which, struct span reply)
{
	const struct step *step = step_of(protocol, which);
	struct ber_message message;

	switch (step->kind) {
	case REPLY_TAGGED:
		return begins(last_line(reply), step->good);
	case REPLY_FEATURES:
		return find(reply, "<stream:features") != NULL;
	case REPLY_MESSAGE:
		return ber_message_read(reply, &message) && message.id == step->id &&
		       (which != DIALOG_UPGRADE || message.result == 0);
	case REPLY_CODE:
	case REPLY_LINE:
	case REPLY_LIST:
	case REPLY_ELEMENT:
		break;
	}
	return begins(reply, step->good);
}

/* A line of a list without its code and the blanks before its first word. */
static struct span line_words(struct span line)
{
	line = line_text(line);
	if (has_code(line))
		span_take(&line, CODE_DIGITS + 1);
	while (line.n > 0 && line.p[0] == ' ')
		span_take(&line, 1);
	return line;
}

static struct span word_take(struct span *words)
{
	struct span word = *words;

	for (word.n = 0; word.n < words->n && words->p[word.n] != ' '; word.n++)
		;
	span_take(words, word.n);
	while (words->n > 0 && words->p[0] == ' ')
		span_take(words, 1);
	return word;
}

static bool line_offers(enum probe_protocol protocol, struct span words)
{
	const struct protocol *of = &protocols[protocol];

	do {
		if (!span_is_nocase(word_take(&words), of->offer))
			continue;
		/* FTP lists AUTH with what it takes; servers write TLS, TLS-C, SSL;TLS-P; */
		return protocol != PROBE_FTP || find(words, "TLS") != NULL;
	} while (of->offer_is_word && words.n > 0);
	return false;
}

bool dialog_reply_offers(enum probe_protocol protocol, struct span reply)
{
	struct span line;

	if (protocols[protocol].offer == NULL)
		return false;
	if (protocol == PROBE_XMPP)
		return find(reply, protocols[protocol].offer) != NULL;
	/* the first line is a greeting but in IMAP, where "* CAPABILITY" begins what counts */
	if (protocol != PROBE_IMAP && !line_take(&reply, &line))
		return false;
	while (line_take(&reply, &line)) {
		if (protocol == PROBE_IMAP && !begins(line, "* CAPABILITY "))
			continue;
		if (line_offers(protocol, line_words(line)))
			return true;
	}
	return false;
}

bool dialog_reply_disguised(enum probe_protocol protocol, struct span reply)
{
	struct span line;

	if (protocol != PROBE_SMTP || !line_take(&reply, &line))
		return false;
	while (line_take(&reply, &line)) {
		struct span words = line_words(line), word = word_take(&words);

		/* at least STARTTLS less one letter: some firewalls leave the last one free */
		if (begins(word, "XXXXXXX"))
			return true;
	}
	return false;
}

void dialog_reply_text(enum probe_protocol protocol, struct span reply, char *out, size_t n)
{
	struct span rest = reply, line = reply;
	struct ber_message message;
	char said[PROBE_TEXT_MAX];

	if (protocol == PROBE_LDAP && ber_message_read(reply, &message)) {
		probe_clean(said, sizeof(said), message.said);
		snprintf(out, n, "resultCode %u %s", message.result, said);
		return;
	}
	(void)!line_take(&rest, &line);
	probe_clean(out, n, line_text(line));
}

void dialog_keywords(struct span reply, char *out, size_t n)
{
	struct span line;
	uint8_t text[PROBE_TEXT_MAX];
	struct buf words;

	buf_init(&words, text, sizeof(text));
	(void)!line_take(&reply, &line); /* the greeting */
	while (line_take(&reply, &line)) {
		if (buf_len(&words) > 0)
			(void)!buf_puts(&words, ", ");
		if (!buf_put(&words, line_words(line)))
			break;
	}
	probe_clean(out, n, buf_span(&words));
}

/* ---- what was injected ---- */

static bool line_begins_somewhere(struct span octets, const char *text)
{
	struct span line;

	while (line_take(&octets, &line))
		if (begins(line, text))
			return true;
	return false;
}

static bool message_is_there(struct span octets, uint32_t id)
{
	struct ber_message message;
	size_t end = ber_end(octets);

	for (; end > 0 && end != SIZE_MAX; end = ber_end(octets)) {
		if (ber_message_read(span_take(&octets, end), &message) && message.id == id)
			return true;
	}
	return false;
}

bool dialog_leaked(enum probe_protocol protocol, struct span octets)
{
	size_t end;

	if (protocol == PROBE_IMAP)
		return line_begins_somewhere(octets, "i ");
	if (protocol == PROBE_LDAP)
		return message_is_there(octets, step_of(protocol, DIALOG_INJECT)->id);
	if (dialog_sync_quiet(protocol))
		return octets.n > 0;
	/* two answers to one question, and the first is not the one that was due */
	end = dialog_reply_end(protocol, DIALOG_SYNC, octets);
	if (end == 0 || end == SIZE_MAX || dialog_reply_good(protocol, DIALOG_SYNC, octets))
		return false;
	span_take(&octets, end);
	end = dialog_reply_end(protocol, DIALOG_SYNC, octets);
	return end > 0 && end != SIZE_MAX;
}
