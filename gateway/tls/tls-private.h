/* SPDX-License-Identifier: MIT */
/*
 * tls-private.h -- what the files of this room share; nobody else includes it.
 *
 * One cipher table (suite.c) serves the context (which suites are offered), the derivation (which
 * digest, how many octets) and the kernel (which crypto_info), so that a suite that is offered is
 * always one that the kernel can take.
 *
 * Invariants: a secret is stored only in struct tls_half, only while its direction may still go to the
 * kernel or be re-keyed, there or here, and is wiped when that ends. A connection's SSL object never
 * outlives the moment when records are nobody's but record.c's and the kernel's.
 */
#ifndef POSTERN_TLS_PRIVATE_H
#define POSTERN_TLS_PRIVATE_H

#include <stdatomic.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "base/holders.h"
#include "tls/tls.h"

#define TLS_SECRET_MAX       48 /* SHA-384 */
#define TLS_KEY_MAX          32
#define TLS_IV_SIZE          12
#define TLS_NONCE_SIZE       8 /* explicit nonce of TLS 1.2 AES-GCM */
#define TLS_TAG_SIZE         16
#define TLS_WANT_ANY         ((size_t)1 << 20) /* "no boundary to mind" */
#define TLS_HANDSHAKE_IN_MAX 65536             /* octets a client may send until Finished */
#define TLS_KEYUPDATES_MAX   64                /* a connection; nobody honest comes near */
#define TLS_ALERTS_MAX       8                 /* warning alerts, a connection */
#define TLS_TICKETS_SENT     1                 /* TLS 1.3, after a full handshake */
/* What the server's first flight may need besides the chain: hello, extensions, a 16384-bit RSA
 * signature, Finished, record overhead. */
#define TLS_FLIGHT_BESIDES  3072
#define TLS_CLIENT_LIST_MAX 32768 /* a client certificate chain; longer ones fail the handshake */
#define TLS_CLIENT_TICKET_LEAF_MAX                                                                 \
	2048 /* a client certificate travels in the ticket: larger, no ticket */

/* ---- suite.c ---- */

/* What records are sealed with, whatever the version. */
enum tls_aead { TLS_AEAD_AES_128_GCM, TLS_AEAD_AES_256_GCM, TLS_AEAD_CHACHA20_POLY1305, TLS_AEADS };

struct tls_suite {
	uint16_t id;      /* IANA */
	uint16_t kernel;  /* TLS_CIPHER_* of <linux/tls.h> */
	uint8_t key_n;    /* octets of key */
	uint8_t salt_n;   /* the kernel's salt: the first octets of the IV */
	uint8_t iv_n;     /* the kernel's iv: the other octets of the IV */
	uint8_t nonce_n;  /* octets of explicit nonce in a TLS 1.2 record */
	uint8_t secret_n; /* octets of a traffic secret: the digest's size */
	bool tls13;
	enum tls_aead aead;
	const char *digest;
	const char *name; /* OpenSSL's name, for the lists */
};

const struct tls_suite *tls_suite_find(uint16_t id); /* NULL: not ours */
/* The names of one generation, colon-separated, best first. */
#define TLS_SUITE_LIST_MAX 256
void tls_suite_list(bool tls13, char list[TLS_SUITE_LIST_MAX]);

/* ---- ticket_file.c, tickets.c ---- */

#define TLS_TICKET_KEYS_MAX  3 /* the current one first, then two that still open tickets */
#define TLS_TICKET_NAME_SIZE 16

struct tls_ticket_key {
	uint8_t name[TLS_TICKET_NAME_SIZE];
	uint8_t aes[32];
	uint8_t mac[32];
	uint64_t created_s; /* since 1970 */
};

struct tls_ticket_keys {
	struct tls_ticket_key keys[TLS_TICKET_KEYS_MAX];
	size_t n;
};

/* A file as it was when read, to see whether another stands there now. */
struct tls_ticket_watch {
	char *path;
	struct stat seen;
	uint64_t due_s; /* rotate at this time; 0: never */
};

/* Reads the file, makes it when missing, rotates it when due. */
MUST_USE int tls_ticket_file_load(struct tls_ticket_keys *keys, struct tls_ticket_watch *watch,
	const char *path, uint32_t rotate_s, struct err *err);
MUST_USE int tls_ticket_file_parse(
	struct tls_ticket_keys *keys, struct span text, const char *path, struct err *err);
bool tls_ticket_watch_stale(const struct tls_ticket_watch *watch);

int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int encrypt);

/* ---- material.c, material_pack.c ---- */

struct tls_blob {
	uint8_t *p;
	size_t n;
};

struct tls_certificate {
	char *title;
	char **names; /* lower case */
	size_t names_n;
	struct tls_blob chain[TLS_CHAIN_MAX]; /* DER, the leaf first */
	size_t chain_n;
	struct tls_blob next[TLS_CHAIN_MAX]; /* the chain to come; not served */
	size_t next_n;
	struct tls_blob key; /* PKCS#8, DER: wiped */
};

struct tls_material {
	struct tls_certificate *certificates;
	size_t certificates_n;
	struct tls_ticket_keys tickets;
	struct tls_ticket_watch watch;
};

/* Reads a whole small file. The caller wipes and frees. */
MUST_USE int tls_file_read(
	struct tls_blob *blob, const char *path, struct stat *st, size_t n_max, struct err *err);
void tls_blob_free(struct tls_blob *blob); /* wipes */
/* OpenSSL's newest complaint as text; clears its queue. */
const char *tls_openssl_why(void);
/* The certificate of a blob; NULL: damaged. */
X509 *tls_blob_x509(const struct tls_blob *der);

/* ---- context.c ---- */

struct tls_context_name {
	char *name;
	SSL_CTX *set;
};

struct tls_context {
	struct holders holders;
	atomic_bool ktls_absent; /* an ULP attach said ENOENT: do not try again */
	struct tls_ticket_keys tickets;
	EVP_CIPHER *ticket_cipher;
	EVP_CIPHER *aeads[TLS_AEADS]; /* NULL: OpenSSL as it is configured has none */
	EVP_KDF *hkdf;
	EVP_KDF *prf;
	BIO_METHOD *bio;
	SSL_CTX **sets; /* one for each set of certificates that share names; [0] is the default */
	size_t sets_n;
	struct tls_context_name *names; /* sorted */
	size_t names_n;
	bool heard;  /* secrets are heard, and the key schedule is witness.c's */
	bool kernel; /* connections may go to the kernel */
};

/* One without sets, counted once; NULL and err. kernel: NULL is one that takes no keys. */
MUST_USE struct tls_context *tls_context_new(
	const struct tls_kernel *kernel, enum ktls_mode mode, struct err *err);
/* An SSL_CTX for it, which is the caller's; NULL and err. */
MUST_USE SSL_CTX *tls_context_set_new(
	const struct tls_context *context, const SSL_METHOD *method, struct err *err);
/* What both sides have in common: versions, suites, groups, modes. -1: OpenSSL refused. */
MUST_USE int tls_context_protocol(SSL_CTX *ctx, uint16_t version_min);
/* The certificates for a name (lower case); NULL: unknown, the default serves. */
SSL_CTX *tls_context_find(const struct tls_context *context, const char *name);

/* ---- boundary.c ---- */

struct tls_framing {
	uint8_t header[TLS_RECORD_HEADER];
	uint8_t header_n; /* 0: between two records */
	uint32_t body_left;
	uint32_t body_seen;
	uint8_t nonce[TLS_NONCE_SIZE]; /* the first octets of the last record's body */
};

/* What is known of the client's last flight, to say how much of it must still come. */
struct tls_flight {
	bool exact;        /* our flight is out: from now on Finished may come */
	bool eager;        /* the client sent more than its hello: expect nothing */
	bool tls12;        /* ChangeCipherSpec is part of the flight, not decoration */
	bool ccs_seen;     /* a ChangeCipherSpec record ended */
	bool other_seen;   /* a record of another type ended */
	bool after_seen;   /* a record after ChangeCipherSpec ended */
	size_t opening_n;  /* octets of records before ChangeCipherSpec, at least */
	size_t finished_n; /* octets of the record with Finished, at least; 0: unknown */
};

void tls_framing_feed(struct tls_framing *framing, struct tls_flight *flight, struct span bytes);
size_t tls_framing_want(const struct tls_framing *framing, const struct tls_flight *flight);
void tls_flight_expect(struct tls_flight *flight, const struct tls_suite *suite, bool resumed);

/* ---- conn.c ---- */

struct tls_keys {
	uint8_t key[TLS_KEY_MAX];
	uint8_t iv[TLS_IV_SIZE];
};

enum tls_direction { TLS_DIRECTION_TX, TLS_DIRECTION_RX };

static inline unsigned tls_direction_bit(enum tls_direction direction)
{
	return direction == TLS_DIRECTION_TX ? TLS_KTLS_TX : TLS_KTLS_RX;
}

enum { TLS_HEARD_KEY = 1, TLS_HEARD_IV = 2, TLS_HEARD_BOTH = 3 };

struct tls_half {
	uint8_t secret[TLS_SECRET_MAX]; /* TLS 1.3 traffic secret now in force */
	uint8_t secret_n;               /* 0: none */
	uint8_t keys_heard;             /* TLS_HEARD_*: which of the keys are the secret's */
	struct tls_keys keys;           /* TLS 1.3 */
	uint64_t records;               /* read or written under the keys now in force */
	EVP_CIPHER_CTX *cipher;  /* record.c: with the keys now in force; NULL: not needed yet */
	uint8_t iv[TLS_IV_SIZE]; /* and their IV */
	struct tls_framing framing;
};

/* What record.c remembers from one call to the next. */
struct tls_record {
	uint8_t *held;      /* from malloc(): a record that came in part, or what `plain` is in */
	struct span plain;  /* opened, and not handed out yet */
	uint8_t message[4]; /* header of the handshake message that has come in part */
	uint8_t message_n;  /* octets of it; 0: between two messages */
	uint32_t message_left;
	uint32_t messages_n; /* octets of such messages, a connection */
	uint8_t empty_n;     /* records without content in a row */
	bool update_owed; /* a KeyUpdate asked for one of ours: it goes before what is sent next */
	bool notified;    /* close_notify or an alert went out: nothing goes after it */
	bool eof;         /* close_notify came */
};

struct tls_conn {
	struct tls_context *context;
	SSL *ssl;    /* NULL: records are made and opened by record.c, or in the kernel */
	bool client; /* we are the client: boundaries are not minded, RX stays here */
	struct span *in;
	struct buf *out;
	const struct tls_suite *suite; /* after DONE */
	struct tls_half half[2];
	struct tls_record record;
	struct tls_flight flight;
	unsigned may;     /* TLS_KTLS_*: directions that may still go to the kernel */
	unsigned planted; /* TLS_KTLS_* */
	bool rekey;
	bool no_pad;
	bool done;
	bool failed;
	bool ulp;
	bool reply_pending; /* a KeyUpdate reply is on its way */
	bool closing;       /* close_notify is on its way in place of a reply */
	bool sni_known;
	bool ticketless;
	uint32_t handshake_in;
	uint16_t keyupdates;
	uint16_t alerts;
	enum tls_check check; /* client: of the server's certificate */
	int verify_level;     /* of the keys and digests in its chain, as OpenSSL has them */
	int verify_error;     /* X509_V_*: what the check found; -1: nothing yet */
	enum tls_failure failure;
	uint8_t alert; /* of TLS_FAILURE_ALERT */
	const char *failure_text;
	const char *failure_made; /* a text that was made up; "" if none */
	struct tls_info info;
};

/* tls_conn_open() for either side; the client's has no name yet. */
MUST_USE struct tls_conn *tls_conn_new(struct tls_context *context, const struct tls_kernel *kernel,
	enum ktls_mode mode, bool client);
/* The directions are lost to the kernel: their secrets go, unless record.c needs them. */
void tls_conn_give_up(struct tls_conn *conn, unsigned directions);
void tls_conn_ssl_free(struct tls_conn *conn);    /* says nothing to the peer */
void tls_half_keys_forget(struct tls_half *half); /* the kernel has them; the secret stays */

/* ---- record.c ---- */

/* After a TLS 1.3 handshake: keys and suite are at hand. Then no SSL object is needed any more. */
MUST_USE bool tls_record_possible(const struct tls_conn *conn);
/* As tls_conn_read() has it. After FAIL `failure` and its text are set, and an alert is in `out`. */
MUST_USE enum tls_io tls_record_read(struct tls_conn *conn, struct span *in, uint8_t *plain,
	size_t cap, size_t *n, struct buf *out);
/* One record of up to TLS_PLAIN_MAX octets, for which there is room, and for a KeyUpdate before it. */
MUST_USE bool tls_record_write(struct tls_conn *conn, struct span plain, struct buf *out);
void tls_record_shutdown(struct tls_conn *conn, struct buf *out);
/* Nothing is half read and nothing waits: RX may go to the kernel. */
bool tls_record_between(const struct tls_conn *conn);
/* Its keys for the directions (TLS_KTLS_*) are wiped, what waits to be read is dropped. */
void tls_record_close(struct tls_conn *conn, unsigned directions);

/* ---- witness.c ---- */

/* Once a process does it; any thread. -1: OpenSSL refuses. */
MUST_USE int tls_witness_open(void);
/* Opens it, and says whether its function is worth asking where nobody hears. */
MUST_USE bool tls_witness_computes(void);
/* Who hears what is derived in this thread from now on, by tls_conn_derived(); NULL: nobody. */
void tls_witness_for(struct tls_conn *conn);

/* ---- mac.c ---- */

/* HMAC as a provider offers it. False: the genuine one is not of OpenSSL's default provider. */
MUST_USE bool tls_mac_open(void);
extern const OSSL_DISPATCH tls_mac_functions[];

/* ---- hkdf.c ---- */

struct tls_hash; /* SHA-256 or SHA-384 */

/* By one of OpenSSL's names for it; NULL: not computed here. */
const struct tls_hash *tls_hash_find(struct span name);
const char *tls_hash_name(const struct tls_hash *hash);
size_t tls_hash_n(const struct tls_hash *hash); /* octets of a digest */
size_t tls_hash_block_n(const struct tls_hash *hash);

#define TLS_HASH_BLOCK 128
#define TLS_HASH_STATE 256

/* HMAC of a text that comes in pieces. The owner wipes it. */
struct tls_hmac {
	const struct tls_hash *hash;
	uint64_t state[TLS_HASH_STATE / 8];
	uint8_t block[TLS_HASH_BLOCK]; /* the key and the inner pad */
};

/* Sets a key, no longer than a block of the hash, and begins. All: false when OpenSSL refuses. */
MUST_USE bool tls_hmac_key(struct tls_hmac *hmac, const struct tls_hash *hash, struct span key);
MUST_USE bool tls_hmac_begin(struct tls_hmac *hmac); /* anew, with the same key */
MUST_USE bool tls_hmac_add(struct tls_hmac *hmac, struct span text);
MUST_USE bool tls_hmac_end(struct tls_hmac *hmac, uint8_t *out); /* then begin, or wipe */
/* The key is no longer than a block of the hash; out has room for a digest. False: OpenSSL refuses. */
MUST_USE bool tls_hmac(
	const struct tls_hash *hash, struct span key, struct span text, uint8_t *out);

/* What OpenSSL's TLS13-KDF is asked. A span without octets and address was not given. */
struct tls_hkdf {
	const struct tls_hash *hash;
	bool extract; /* of `key` with what `salt`, the secret before, derives; not: expand `key` */
	struct span key, salt;
	struct span prefix, label, data;
};

/* False: not computed here, or a request that makes no sense; ask OpenSSL's own. */
MUST_USE bool tls_hkdf(const struct tls_hkdf *asked, uint8_t *out, size_t n);

/* ---- hooks.c ---- */

BIO_METHOD *tls_conn_bio_new(void);
void tls_conn_message(
	int written, int version, int type, const void *p, size_t n, SSL *ssl, void *arg);
/* OpenSSL has derived something in a call for this connection (TLS 1.3), and uses it from now on. */
void tls_conn_derived(
	struct tls_conn *conn, struct span label, struct span from, struct span result);
int tls_conn_client_hello(SSL *ssl, int *alert, void *arg);
int tls_conn_servername(SSL *ssl, int *alert, void *arg);
int tls_conn_client_certificate(X509_STORE_CTX *store, void *arg);

/* ---- info.c ---- */

/* Texts of a connection that most have not, or are short: each in memory of its own, or the "" that all
 * share. Sets a new one; false, and "", where memory is short. Zeroed ones are to be set to "" first. */
#define TLS_SUBJECT_MAX 128
bool tls_text_set(const char **text, const char *words);
void tls_info_fill(struct tls_conn *conn);
void tls_failure_fill(struct tls_conn *conn);

/* ---- derive.c ---- */

/* RFC 8446 7.1, empty context. -1: OpenSSL refused. */
MUST_USE int tls_derive_label(EVP_KDF *hkdf, const struct tls_suite *suite, const uint8_t *secret,
	const char *label, uint8_t *out, size_t n);
MUST_USE int tls_derive_keys(
	EVP_KDF *hkdf, const struct tls_suite *suite, const uint8_t *secret, struct tls_keys *keys);
/* The secret after a KeyUpdate, in place (RFC 8446 7.2). */
MUST_USE int tls_derive_next(EVP_KDF *hkdf, const struct tls_suite *suite, uint8_t *secret);
/* RFC 5246 6.3 for AEAD suites. */
MUST_USE int tls_derive_block(EVP_KDF *prf, const struct tls_suite *suite, struct span master,
	const uint8_t client_random[32], const uint8_t server_random[32], struct tls_keys *client,
	struct tls_keys *server);

/* ---- ktls.c ---- */

/* The kernel's crypto_info of any suite: info, iv, key, salt, rec_seq, without gaps. */
struct tls_crypto {
	uint8_t bytes[4 + TLS_IV_SIZE + TLS_KEY_MAX + 8];
	size_t n;
};

void tls_crypto_fill(struct tls_crypto *crypto, const struct tls_suite *suite,
	const struct tls_keys *keys, const uint8_t nonce[TLS_NONCE_SIZE], uint64_t sequence);
/* Keys of a new TLS 1.3 secret for a direction that is planted. 0 or -errno. */
MUST_USE int tls_ktls_rekey(struct tls_conn *conn, int fd, enum tls_direction direction);
/* setsockopt(2) or the test's. 0 or -errno. */
MUST_USE int tls_setsockopt(int fd, int level, int name, const void *value, size_t n);
MUST_USE int tls_ulp_attach(int fd);

#endif
