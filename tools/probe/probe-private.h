/* SPDX-License-Identifier: MIT */
/* probe-private.h -- what a connection is made of: BER, dialogues, octets. */
#ifndef POSTERN_TOOLS_PROBE_PROBE_PRIVATE_H
#define POSTERN_TOOLS_PROBE_PROBE_PRIVATE_H

#include <openssl/ssl.h>

#include "tools/probe/probe.h"

#define PROBE_REPLY_MAX 32768 /* octets of one reply, and of what is kept of a peer */

/* ---- ber.c (X.690 8; RFC 4511 4.1.1, 4.12) ---- */

#define BER_MESSAGE_MAX 128 /* octets of what we send */

/* Octets of the first whole element; 0: more must come; SIZE_MAX: not BER with definite lengths,
 * or longer than PROBE_REPLY_MAX. */
size_t ber_end(struct span octets);

struct ber_message {
	uint32_t id;
	uint8_t operation; /* its tag: 0x78 is an extended response */
	uint32_t result;   /* resultCode, where the operation begins with one; else UINT32_MAX */
	struct span said;  /* diagnosticMessage */
};

/* Reads one LDAPMessage. False: it is none. */
MUST_USE bool ber_message_read(struct span octets, struct ber_message *out);

/* Append an LDAPMessage: the extended request for TLS; a search for the root's entry without any of
 * its attributes; an unbind. False: no room. */
MUST_USE bool ber_starttls_put(struct buf *out, uint8_t id);
MUST_USE bool ber_search_put(struct buf *out, uint8_t id);
MUST_USE bool ber_unbind_put(struct buf *out, uint8_t id);

/* ---- dialog.c ---- */

/* How the end of a reply is known. */
enum reply_kind {
	REPLY_CODE,     /* three digits; a minus sign behind them in all lines but the last */
	REPLY_LINE,     /* one line */
	REPLY_LIST,     /* a line; if it is a good one, lines up to a dot alone follow */
	REPLY_TAGGED,   /* lines up to one that begins with the command's tag */
	REPLY_FEATURES, /* XML up to the end of stream:features */
	REPLY_ELEMENT,  /* XML: one empty element */
	REPLY_MESSAGE,  /* LDAP */
};

enum dialog_step {
	DIALOG_GREETING,
	DIALOG_LIST,    /* what the server can do */
	DIALOG_UPGRADE, /* the go-ahead for TLS */
	DIALOG_HELLO,   /* the first thing under TLS */
	DIALOG_INJECT,  /* harmless, sent in clear behind UPGRADE */
	DIALOG_SYNC,    /* sent under TLS behind an injection: the first answer must be its own */
	DIALOG_QUIT,
	DIALOG_STEPS
};

/* Is there such a step in this protocol? (Without a greeting the client speaks first.) */
bool dialog_has(enum probe_protocol protocol, enum dialog_step step);
/* Does a reply come after it? */
bool dialog_replies(enum probe_protocol protocol, enum dialog_step step);
/* Must it be good? (Some servers cannot list what they can do.) */
bool dialog_optional(enum probe_protocol protocol, enum dialog_step step);

/* What a command needs to know: `host` is whom we talk to, `helo` who we are. */
struct dialog_names {
	const char *host;
	const char *helo;
};

/* Appends the command; false: no room. */
MUST_USE bool dialog_command_put(enum probe_protocol protocol, enum dialog_step step,
	const struct dialog_names *names, struct buf *out);

/* Octets of the first whole reply; 0: more must come; SIZE_MAX: it is not of this protocol. */
size_t dialog_reply_end(enum probe_protocol protocol, enum dialog_step step, struct span octets);
bool dialog_reply_good(enum probe_protocol protocol, enum dialog_step step, struct span reply);
/* Is the upgrade among what the server lists? LDAP has no list: false. */
bool dialog_reply_offers(enum probe_protocol protocol, struct span reply);
/* SMTP: has something on the way made the keyword unreadable, "XXXXXXXA" in its place? */
bool dialog_reply_disguised(enum probe_protocol protocol, struct span reply);
/* The words of a reply worth showing: its first line, or LDAP's message. */
void dialog_reply_text(enum probe_protocol protocol, struct span reply, char *out, size_t n);
/* SMTP: the keywords of an EHLO reply, with blanks between. */
void dialog_keywords(struct span reply, char *out, size_t n);
/* Is what came under TLS, the answer to SYNC perhaps among it, an answer to what was injected? */
bool dialog_leaked(enum probe_protocol protocol, struct span octets);
/* May one say so only after some time without anything, as SYNC has no answer of its own? */
bool dialog_sync_quiet(enum probe_protocol protocol);

/* ---- wire.c ---- */

struct wire {
	int fd;
	SSL *ssl; /* NULL: in clear */
	uint64_t deadline_ms;
	struct buf in;
	uint8_t storage[PROBE_REPLY_MAX];
	char why[PROBE_TEXT_MAX]; /* after a failure */
	bool not_tls;             /* octets in clear came where the handshake's were due */
};

void wire_init(struct wire *wire, uint64_t deadline_ms);
/* All of these: 0, or -errno with wire->why; -ETIMEDOUT at the deadline. */
MUST_USE int wire_connect(struct wire *wire, const struct sockaddr_storage *address);
MUST_USE int wire_send(struct wire *wire, struct span octets);
/* Adds to wire->in; -EPIPE: the peer has closed; -ENOBUFS: in is full. */
MUST_USE int wire_read(struct wire *wire);
/* Takes `ssl` over. -EPROTO: it failed. */
MUST_USE int wire_handshake(struct wire *wire, SSL *ssl);
void wire_close(struct wire *wire);

#endif
