/* SPDX-License-Identifier: MIT */
/*
 * tls.h -- TLS, the server's side and the client's, sans-IO but for setsockopt(2): handshake in user
 * space by OpenSSL, then, where asked, the record layer handed to the kernel (kTLS); else it is here,
 * our own for TLS 1.3 and OpenSSL's for TLS 1.2.
 *
 * The only room that sees OpenSSL. Four parts:
 *   material  what was read from files: chains, keys, ticket keys. The privileged parent reads it
 *             (tls_material_load) and hands it to the worker process as bytes (pack, unpack), so
 *             that the files stay readable by the parent only.
 *   context   built from material, shared by all workers, counted, replaced whole at a reload;
 *             connections keep the one they began with.
 *   client    what connections to next hops share.
 *   conn      one connection, of either side; used by one thread.
 *
 * Counted here: KeyUpdates handled and refused, because nobody else sees them all. Handshakes,
 * planted directions and record errors are the caller's to count, who logs them.
 *
 * Bytes before keys: octets of a record after the handshake must stay in the socket if the kernel
 * is to have them. tls_conn_want() says how many octets the caller may read next; during the
 * handshake, and after it as long as RX is meant for the kernel, the answer never reaches past the
 * record that is due (kernel-notes/ktls-early-records.md).
 */
#ifndef POSTERN_TLS_TLS_H
#define POSTERN_TLS_TLS_H

#include "base/buf.h"
#include "config/settings.h"

#define TLS_RECORD_HEADER 5
#define TLS_RECORD_MAX    (TLS_RECORD_HEADER + 16384 + 256) /* RFC 8446 5.2; TLS 1.2 AEAD fits */
#define TLS_PLAIN_MAX     16384
#define TLS_FLIGHT_MAX                                                                             \
	16384 /* the server's first flight; chains that need more are refused at load */
#define TLS_NAME_MAX 255

/* ---- material ---- */

struct tls_material;

/*
 * Reads what the settings name and checks it: chains parse, keys fit their certificates, flights
 * fit, dates (expired: a warning event, not an error). Makes or rotates the ticket key file when
 * due (mode 0600, replaced by rename). -1 and err naming the file on failure.
 */
MUST_USE int tls_material_load(
	struct tls_material **out, const struct tls_settings *settings, struct err *err);

/* Is it time to rotate ticket keys (or did the file change)? Then the parent loads again. */
bool tls_material_stale(const struct tls_material *material);

/* One self-describing block for the way to the worker process; to be wiped by the caller. */
MUST_USE int tls_material_pack(const struct tls_material *material, uint8_t **block, size_t *n);
MUST_USE int tls_material_unpack(struct tls_material **out, struct span block, struct err *err);
void tls_material_free(struct tls_material *material); /* wipes */

/* What TLSA records are made of: SHA-256 of the public keys (SubjectPublicKeyInfo) of a chain's first
 * certificate and of its last, which issued the others. */
struct tls_pins {
	bool known;  /* there is such a chain */
	bool issued; /* it has more than one certificate */
	uint8_t leaf[32];
	uint8_t issuer[32];
};

/* What an operator wants to know of the certificate of settings->certificates[i]. */
struct tls_certificate_facts {
	char key_type[48];   /* "ECDSA P-256", "RSA 2048"; "" if unknown */
	int64_t not_after_s; /* seconds since 1970; 0: unknown */
	struct tls_pins now;
	struct tls_pins next; /* of settings' next_chain */
};

void tls_material_describe(
	const struct tls_material *material, size_t i, struct tls_certificate_facts *out);

/* One certificate of a chain, as TLSA records compare it. The spans point into the material. */
struct tls_member {
	struct span der;
	struct span spki; /* SubjectPublicKeyInfo, DER */
	uint8_t der_sha256[32];
	uint8_t der_sha512[64];
	uint8_t spki_sha256[32];
	uint8_t spki_sha512[64];
};

#define TLS_CHAIN_MAX 8 /* certificates in a chain */

/* The chain of settings->certificates[i], the leaf first; returns how many members were written. */
MUST_USE size_t tls_material_chain(
	const struct tls_material *material, size_t i, struct tls_member out[TLS_CHAIN_MAX]);

/* ---- what a client that verifies would say ---- */

/* Certificates of CAs: those of the system and, where ca_file is not NULL, those in it. For the
 * process that may open files. */
struct tls_trust;

MUST_USE int tls_trust_open(struct tls_trust **out, const char *ca_file, struct err *err);
void tls_trust_close(struct tls_trust *trust);

/*
 * A client asks for `sni` ("": it sends none) and compares with `name`: is every certificate that it
 * may be shown (one a key type) in date, valid for the name (DNS names only, RFC 6125) and issued
 * below a CA of `trust`? -1 and err, a sentence that names the certificate's section and the fault.
 */
MUST_USE int tls_material_verify(const struct tls_material *material, struct tls_trust *trust,
	const char *sni, const char *name, struct err *err);
/* Is settings->certificates[i] among those that it may be shown? */
bool tls_material_serves(const struct tls_material *material, size_t i, const char *sni);

void tls_sha256(struct span bytes, uint8_t digest[32]);

/* ---- what the kernel can ---- */

struct tls_kernel {
	bool tx; /* TLS ULP present, TX keys taken */
	bool rx; /* RX sound: kernel >= 6.2-class behaviour or multishot recvmsg used by the caller
		  */
	bool rx_spins_on_partial; /* Linux 6.1: see kernel-notes; auto then means TX only */
	bool rekey;               /* TLS 1.3 keys may be replaced (6.14) */
	bool no_pad;              /* TLS_RX_EXPECT_NO_PAD */
	char why[128];            /* when tx is false: what is missing, for a person */
};

/* Tries on a loopback socket pair once at start (also loads the module when privileged). */
void tls_kernel_probe(struct tls_kernel *kernel);

/* ---- context ---- */

struct tls_context;

/* kernel: what tls_kernel_probe() found; where it takes no keys (NULL: neither), or settings->ktls is
 * off, secrets are not listened for, and no connection of the context goes to the kernel. */
MUST_USE int tls_context_open(struct tls_context **out, const struct tls_settings *settings,
	const struct tls_kernel *kernel, const struct tls_material *material, struct err *err);
struct tls_context *tls_context_hold(struct tls_context *context); /* +1, any thread */
void tls_context_release(struct tls_context *context);             /* -1; frees at 0 */

/* "OpenSSL 3.0.22 ...", of the library in use. */
const char *tls_library_version(void);

/* ---- connection ---- */

struct tls_conn;

enum tls_step {
	TLS_STEP_MORE, /* input used up, more needed; output may hold bytes to send */
	TLS_STEP_DONE, /* handshake complete */
	TLS_STEP_FAIL, /* output may hold an alert; send it and close */
};

enum tls_failure {
	TLS_FAILURE_NONE,
	TLS_FAILURE_VERSION,     /* no version in common: the peer's are too old, or all too new */
	TLS_FAILURE_CIPHER,      /* no suite, group or signature algorithm in common */
	TLS_FAILURE_ALERT,       /* the peer sent a fatal alert */
	TLS_FAILURE_GARBAGE,     /* what came is no TLS */
	TLS_FAILURE_CERTIFICATE, /* client's side: the server's was refused */
	TLS_FAILURE_OTHER,
};

struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* IANA name, "TLS_AES_128_GCM_SHA256" */
	const char *group;   /* "X25519", "P-256"; "-" if unknown */
	bool resumed;
	const char *sni;    /* lower case; "" if none; as long as the connection */
	bool sni_stranger;  /* server: no certificate of ours has that name */
	const char *client; /* subject of a client certificate (RFC 4514 form, cut); "" if none */
};

/*
 * kernel: what tls_kernel_probe found (NULL: nothing); mode: how far to go. Without RX in the
 * kernel tls_conn_want() is large after the handshake. Returns NULL when memory is short.
 */
MUST_USE struct tls_conn *tls_conn_open(
	struct tls_context *context, const struct tls_kernel *kernel, enum ktls_mode mode);
void tls_conn_close(struct tls_conn *conn); /* wipes secrets, frees; sends nothing */

/* Octets the caller may take from the socket next (>= 1; may be more than any buffer holds). Ask
 * again after each step: a read that was sized earlier must not be in flight when output goes. */
size_t tls_conn_want(const struct tls_conn *conn);

/* Feeds all of *in (never more than tls_conn_want() said; nothing is left of it but after FAIL);
 * appends to out (TLS_FLIGHT_MAX free at the start). */
MUST_USE enum tls_step tls_conn_handshake(struct tls_conn *conn, struct span *in, struct buf *out);
enum tls_failure tls_conn_failure(const struct tls_conn *conn);
/* OpenSSL's reason for the log, "no shared cipher"; "" if none. */
const char *tls_conn_failure_text(const struct tls_conn *conn);
/* The peer's alert as RFC 8446 6 has it, "unknown_ca"; "" if that was not the failure. */
const char *tls_conn_alert(const struct tls_conn *conn);
const struct tls_info *tls_conn_info(const struct tls_conn *conn); /* after DONE */

/* ---- the client's side, for relaying ---- */

/*
 * What connections to some next hops share: CA certificates and how far to verify. Counted like a
 * context; any thread. Suites and versions are those of the server's side (TLS 1.2 and 1.3, AEAD).
 * No client certificate, no tickets offered yet.
 */
struct tls_client;

/*
 * ca_file: PEM; NULL: the system's store, which is read when `verify` is set. verify: what
 * tls_client_conn_open() does by itself: TLS_CHECK_PKIX, else TLS_CHECK_NONE. Who means to open
 * connections by tls_client_conn_to() with a check that needs CAs sets it, too. kernel, mode: as
 * tls_context_open() has them. -1 and err naming the file.
 */
MUST_USE int tls_client_open(struct tls_client **out, const char *ca_file, bool verify,
	const struct tls_kernel *kernel, enum ktls_mode mode, struct err *err);
struct tls_client *tls_client_hold(struct tls_client *client);
void tls_client_release(struct tls_client *client);

/* How far the server's certificate is looked at. */
enum tls_check {
	TLS_CHECK_NONE, /* any will do (RFC 7435) */
	TLS_CHECK_TELL, /* as PKIX, but any will do: tls_conn_verdict() has the result */
	TLS_CHECK_PKIX, /* the chain must lead to a CA, the name must match (RFC 6125) */
	TLS_CHECK_DANE, /* a TLSA record must match (RFC 7671, RFC 7672 3): no CA counts */
};

#define TLS_TLSA_MAX 64 /* records for a connection */

/* Usage 2 or 3, selector 0 or 1, matching type 0, 1 or 2. */
struct tls_tlsa {
	uint8_t usage;
	uint8_t selector;
	uint8_t matching;
	struct span data;
};

/* Whom a connection is to. All is copied. */
struct tls_client_peer {
	enum tls_check check;
	/* SNI (left out when it is a numeric address) and what a certificate must be for; wildcards
	 * count as the leftmost label only. For DANE the TLSA base domain. */
	const char *name;
	const char *other_name;      /* DANE with usage 2: a second one that will do; NULL: none */
	const struct tls_tlsa *tlsa; /* DANE; those that OpenSSL cannot use are left out */
	size_t tlsa_n;
};

/*
 * A connection as the client; all calls on struct tls_conn work as for a server, but:
 * tls_conn_handshake() is first called with empty input and then has the ClientHello in `out`;
 * at DONE *in may still hold octets that the server sent behind its Finished (tickets, a greeting):
 * they are tls_conn_read()'s to take;
 * only TX is ever wanted in the kernel, so that tls_conn_want() is large throughout and
 * tls_conn_read() works to the end; tls_conn_failure_text() says why a certificate was refused.
 * NULL when memory is short, or when there is nothing to compare a certificate with: no name, one
 * that is too long, for DANE no record that is usable.
 */
MUST_USE struct tls_conn *tls_client_conn_to(struct tls_client *client,
	const struct tls_kernel *kernel, enum ktls_mode mode, const struct tls_client_peer *peer);
/* The same by the client's own `verify`. With a certificate that has no DNS names at all, the
 * subject's common name counts. */
MUST_USE struct tls_conn *tls_client_conn_open(struct tls_client *client,
	const struct tls_kernel *kernel, enum ktls_mode mode, const char *name);

/* What the check of the server's certificate found, whether it mattered or not; as fine as RFC 8460
 * 4.3.1 tells failures apart. */
enum tls_verdict {
	TLS_VERDICT_NONE, /* not looked at, or not come so far */
	TLS_VERDICT_GOOD,
	TLS_VERDICT_NAME, /* for another host */
	TLS_VERDICT_EXPIRED,
	TLS_VERDICT_UNTRUSTED, /* no chain to a CA that we trust, or a broken one */
	TLS_VERDICT_NO_MATCH,  /* no TLSA record is the certificate's, or its chain's */
	TLS_VERDICT_OTHER,
};
enum tls_verdict tls_conn_verdict(const struct tls_conn *conn);
/* OpenSSL's sentence for it, "certificate has expired"; "" if NONE or GOOD. */
const char *tls_conn_verdict_text(const struct tls_conn *conn);

/* ---- user-space record layer, after DONE, until planted ---- */

enum tls_io {
	TLS_IO_OK,      /* *n octets given */
	TLS_IO_MORE,    /* needs more input */
	TLS_IO_EOF,     /* close_notify came */
	TLS_IO_REFUSED, /* a KeyUpdate that the kernel's TX key cannot follow: send close_notify and
			   close */
	TLS_IO_FAIL,    /* bad record or fatal alert; out of tls_conn_write/shutdown is void */
};

/* Takes ciphertext off *in, gives up to cap octets of plaintext. Post-handshake messages are
 * handled inside; their answers (KeyUpdate) are appended to `out`. Call until MORE. */
MUST_USE enum tls_io tls_conn_read(struct tls_conn *conn, struct span *in, uint8_t *plain,
	size_t cap, size_t *n, struct buf *out);

/* Encrypts as much of *plain as fits into out (whole records); what is left stays in *plain. */
MUST_USE enum tls_io tls_conn_write(struct tls_conn *conn, struct span *plain, struct buf *out);

/* Room that `n` plaintext octets take in out at most. */
size_t tls_conn_write_room(size_t n);

/* Appends close_notify (user space). */
void tls_conn_shutdown(struct tls_conn *conn, struct buf *out);

/* ---- kernel record layer ---- */

enum { TLS_KTLS_TX = 1, TLS_KTLS_RX = 2 };

/* The directions that mode and kernel call for on this connection now; 0: stay in user space. RX is
 * not among them while a record is half read or plaintext waits in tls_conn_read(), nothing is
 * while a KeyUpdate is owed (the next tls_conn_write() sends it). */
unsigned tls_conn_ktls_wanted(const struct tls_conn *conn);

/*
 * Validate, plant, switch: attaches the ULP to fd and plants the keys of `directions`, a part of
 * what tls_conn_ktls_wanted() says; at once after the handshake or later. The caller
 * has sent all output, has no receive outstanding on fd, and has read nothing beyond the last
 * record. Returns the mask that is in the kernel now; 0: nothing planted, user space goes on;
 * -errno: a direction was planted and another failed, or the socket is gone: close.
 */
MUST_USE int tls_conn_plant(struct tls_conn *conn, int fd, unsigned directions);
unsigned tls_conn_planted(const struct tls_conn *conn);

/* A seam for tests: replaces setsockopt(2). */
typedef int tls_setsockopt_fn(int fd, int level, int name, const void *value, unsigned n);
void tls_setsockopt_for_test(tls_setsockopt_fn *fn);

enum tls_control {
	TLS_CONTROL_IGNORE, /* nothing to do (warning alert, ticket-less handshake message) */
	TLS_CONTROL_EOF,    /* close_notify */
	TLS_CONTROL_REPLY,  /* send *reply as a record of type reply->type, then
			       tls_conn_control_sent() */
	TLS_CONTROL_REFUSED, /* a KeyUpdate that the kernel cannot follow: tls_conn_shutdown(), close */
	TLS_CONTROL_FAIL, /* close at once */
};

struct tls_control_record {
	uint8_t type; /* ContentType: 21 alert, 22 handshake */
	uint8_t n;
	uint8_t bytes[8];
};

/*
 * A control record of `type` arrived through recvmsg on a kTLS RX socket. KeyUpdate (RFC
 * 8446 4.6.3) re-keys RX here where the kernel can. Where it cannot, the answer is REPLY with
 * close_notify, and tls_conn_control_sent() then says -ESHUTDOWN: a clean close; read no more. With TX in
 * user space it is REFUSED.
 * After REPLY nothing else may be sent before the reply is out and tls_conn_control_sent() was
 * called.
 *
 * With TX alone in the kernel a KeyUpdate that asks for an answer ends tls_conn_read() with REFUSED.
 */
MUST_USE enum tls_control tls_conn_control(struct tls_conn *conn, int fd, uint8_t type,
	struct span body, struct tls_control_record *reply);
/* The reply went out under the old key: re-keys TX after a KeyUpdate. 0 or -errno: close. */
MUST_USE int tls_conn_control_sent(struct tls_conn *conn, int fd);

/* The close_notify record for a kTLS TX socket. */
struct tls_control_record tls_close_notify(void);

#endif
