/* SPDX-License-Identifier: MIT */
/*
 * rig.h -- what the tests of tls/ share: certificates made at run time, a real OpenSSL client over
 * memory, the wire between it and a tls_conn, a setsockopt(2) that notes what it is given, and the
 * record layer of the kernel's side out of bare AEADs.
 *
 * The record layer here is written from the RFCs on the kernel's own structs, apart from the
 * gateway's derivation, so that both being wrong in the same way is unlikely.
 */
#ifndef POSTERN_TESTS_UNIT_TLS_RIG_H
#define POSTERN_TESTS_UNIT_TLS_RIG_H

#include <openssl/ssl.h>

#include "tls/tls-private.h"

#define RIG_BYTES_MAX 262144

/* ---- files ---- */

/* A directory that goes away with the test process' end; the same one all the time. */
const char *rig_dir(void);
const char *rig_path(const char *name); /* in rig_dir(); valid for the process */
void rig_write(const char *name, const char *text, size_t n);

enum rig_key { RIG_EC, RIG_RSA, RIG_ED25519, RIG_P384, RIG_P521, RIG_RSA_PSS, RIG_ED448 };

/* Writes NAME.crt (with `extra` more certificates of padding_n octets each) and NAME.key. */
void rig_certificate(const char *name, enum rig_key type, int days, int extra, size_t padding_n);
X509 *rig_certificate_read(const char *name);
EVP_PKEY *rig_key_read(const char *name);

/* ---- settings and context ---- */

#define RIG_CERTIFICATES_MAX 4

struct rig_settings {
	struct tls_settings tls;
	struct certificate_settings certificates[RIG_CERTIFICATES_MAX];
	const char *names[RIG_CERTIFICATES_MAX][4];
};

/* The certificate "default" (EC), TLS 1.2 and newer, tickets. */
void rig_settings(struct rig_settings *settings);
/* One more, from NAME.crt and NAME.key; names end with NULL. */
void rig_settings_add(struct rig_settings *settings, const char *name, const char *const *names);
struct tls_context *rig_context(const struct rig_settings *settings);
/* A server with one certificate, from NAME.crt and NAME.key, which are there. */
struct tls_context *rig_server(const char *name, enum ktls_mode ktls);
/* As where OpenSSL lacks the AEADs for it: records of TLS 1.3 stay OpenSSL's, as those of TLS 1.2. */
void rig_openssl_records(struct tls_context *context);
/* The error text of a load that must fail. */
const char *rig_load_error(const struct rig_settings *settings);

extern const struct tls_kernel rig_kernel_all; /* everything works */

/* ---- one connection ---- */

struct wire {
	uint8_t p[RIG_BYTES_MAX];
	size_t start, end;
};

struct rig {
	SSL_CTX *client_ctx;
	SSL *client;
	struct tls_conn *conn;
	struct wire up; /* client to server, not read yet */
	uint8_t out_storage[2 * TLS_FLIGHT_MAX];
	struct buf out;
	enum tls_step step;
	size_t reads; /* from `up`, during the handshake */
	size_t chunk; /* read at most so many octets at once; 0: as many as wanted */
};

/* A client context: version exactly `version`, or 0: 1.2 and 1.3. suite: OpenSSL's name or NULL. */
SSL_CTX *rig_client_ctx(uint16_t version, const char *suite);
void rig_open(struct rig *rig, struct tls_context *context, const struct tls_kernel *kernel,
	enum ktls_mode mode, SSL_CTX *client_ctx, const char *sni, SSL_SESSION *session);
/* Steps both until the server says DONE or FAIL or nobody has anything to say. */
enum tls_step rig_handshake(struct rig *rig);
/* As above, with `behind` sent by the client together with its last flight. */
enum tls_step rig_handshake_behind(struct rig *rig, const char *behind);
/* Moves what the client has written to `up`, what the server has put out to the client. */
void rig_pump(struct rig *rig);
void rig_give_client(struct rig *rig, const void *p, size_t n);
/* Plaintext for the server out of `up` by tls_conn_read; stops when n octets came. */
enum tls_io rig_server_read(struct rig *rig, void *plain, size_t cap, size_t *n);
void rig_server_write(struct rig *rig, const void *plain, size_t n);
void rig_client_write(struct rig *rig, const void *plain, size_t n);
size_t rig_client_read(struct rig *rig, void *plain, size_t cap);
/* After a handshake: lets the client take tickets and gives its session. */
SSL_SESSION *rig_session(struct rig *rig);
void rig_close(struct rig *rig); /* frees client_ctx too */

/* ---- setsockopt ---- */

#define RIG_CALLS_MAX 32

struct rig_call {
	int level, name;
	uint8_t value[64];
	unsigned n;
};

extern struct rig_call rig_calls[RIG_CALLS_MAX];
extern size_t rig_calls_n;

/* From now on calls are noted; call number `fail_at` (from 0) fails with `error`. -1: none. */
void rig_setsockopt(int fail_at, int error);
const struct rig_call *rig_call_last(int level, int name); /* NULL: none */

/* ---- the kernel's record layer ---- */

struct krecord {
	uint16_t version, type;
	uint8_t key[32], salt[4], iv[12];
	size_t key_n;
	uint64_t sequence;
};

void krecord_load(struct krecord *layer, const struct rig_call *call);
/* The record with its header; returns its size. */
size_t krecord_seal(struct krecord *layer, uint8_t type, const void *plain, size_t n, uint8_t *out);
/* Takes one record off *in. The content's size, -1 when the tag is wrong; *type as inside. */
long krecord_open(struct krecord *layer, struct span *in, uint8_t *type, uint8_t *plain);

/* All suites of the table: the list a client needs, in both versions. */
struct rig_suite {
	uint16_t version;
	const char *name; /* OpenSSL's */
	const char *iana;
	bool rsa;
};

extern const struct rig_suite rig_suites[];
extern const size_t rig_suites_n;

#endif
