/* SPDX-License-Identifier: MIT */
/*
 * trial.c -- one connection with a purpose: greeting, upgrade, handshake, a hello, good-bye.
 *
 * A trial always ends with facts: how far it came and why no further. The handshake verifies
 * nothing, so that what is wrong with a certificate can be told; certificate.c judges it.
 *
 * The client takes what nobody should offer any more (TLS 1.0, small keys, security level 0): the
 * point is to see it. After the handshake one command is answered before the session is kept: TLS 1.3
 * sends its tickets behind the handshake.
 *
 * Injection: a command rides in the segment of the upgrade's. A server that drops it answers only
 * what comes under TLS.
 */
#include "tools/probe/probe-private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define CIPHERS      "DEFAULT:@SECLEVEL=0"
#define COMMAND_MAX  1024
#define QUIET_MS_MAX 2000 /* how long an answer to what was injected is waited for */
#define HELO_MAX     300

struct trial_run {
	const struct probe_settings *settings;
	const struct probe_wish *wish;
	struct probe_trial *trial;
	struct dialog_names names;
	struct wire wire;
	char helo[HELO_MAX];
};

const char *probe_outcome_text(enum probe_outcome outcome)
{
	static const char *const texts[PROBE_OUTCOMES] = {
		[PROBE_UNTRIED] = "not tried",
		[PROBE_UNREACHED] = "no connection",
		[PROBE_NO_WELCOME] = "no welcome",
		[PROBE_NO_UPGRADE] = "no upgrade",
		[PROBE_NO_TLS] = "handshake failed",
		[PROBE_TLS] = "TLS",
	};

	ASSERT(outcome < PROBE_OUTCOMES);
	return texts[outcome];
}

const char *probe_injection_text(enum probe_injection injection)
{
	static const char *const texts[PROBE_INJECTIONS] = {
		[PROBE_INJECT_UNTRIED] = "not tried",
		[PROBE_INJECT_UNKNOWN] = "could not be found out",
		[PROBE_INJECT_REFUSED] = "refused: the session ended there",
		[PROBE_INJECT_IN_CLEAR] = "answered in clear, before the handshake",
		[PROBE_INJECT_DROPPED] = "dropped: not answered under TLS",
		[PROBE_INJECT_LEAKED] = "LEAKED: answered under TLS",
	};

	ASSERT(injection < PROBE_INJECTIONS);
	return texts[injection];
}

/* ---- who we are ---- */

static bool name_good(const char *name)
{
	if (strchr(name, '.') == NULL)
		return false;
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && *name != '-' && *name != '.')
			return false;
	return true;
}

/* The machine's name if others could know it, else its address as a literal (RFC 5321 4.1.3). */
static void helo_choose(struct trial_run *run)
{
	struct sockaddr_storage own = {0};
	char text[INET6_ADDRSTRLEN] = "127.0.0.1";
	socklen_t n = sizeof(own);
	bool six;

	run->names.helo = run->settings->helo != NULL ? run->settings->helo : run->helo;
	if (run->settings->helo != NULL)
		return;
	if (gethostname(run->helo, sizeof(run->helo)) == 0 && name_good(run->helo))
		return;
	(void)!getsockname(run->wire.fd, (struct sockaddr *)&own, &n);
	six = own.ss_family == AF_INET6;
	if (six)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&own)->sin6_addr, text, sizeof(text));
	else if (own.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&own)->sin_addr, text, sizeof(text));
	snprintf(run->helo, sizeof(run->helo), "[%s%s]", six ? "IPv6:" : "", text);
}

/* ---- talking ---- */

static int command_send(struct trial_run *run, enum dialog_step step, bool and_inject)
{
	uint8_t octets[COMMAND_MAX];
	enum probe_protocol protocol = run->settings->protocol;
	struct buf out;

	buf_init(&out, octets, sizeof(octets));
	if (!dialog_command_put(protocol, step, &run->names, &out) ||
		(and_inject && !dialog_command_put(protocol, DIALOG_INJECT, &run->names, &out)))
		return -ENOBUFS;
	return wire_send(&run->wire, buf_span(&out));
}

/* 0 and the reply, which stands at the front of wire.in until it is dropped. -EBADMSG: it is not of
 * this protocol. */
static int reply_read(struct trial_run *run, enum dialog_step step, struct span *reply)
{
	struct wire *wire = &run->wire;

	for (;;) {
		struct span octets = buf_span(&wire->in);
		size_t end = dialog_reply_end(run->settings->protocol, step, octets);
		int rc;

		if (end == SIZE_MAX) {
			snprintf(wire->why, sizeof(wire->why), "what it says is not %s",
				probe_protocol_text(run->settings->protocol));
			return -EBADMSG;
		}
		if (end > 0) {
			*reply = span_of(octets.p, end);
			return 0;
		}
		rc = wire_read(wire);
		if (rc != 0)
			return rc;
	}
}

static void reply_keep(struct trial_run *run, struct span reply, char *out)
{
	dialog_reply_text(run->settings->protocol, reply, out, PROBE_TEXT_MAX);
}

/* The trial ends here. */
static void stop(struct trial_run *run, enum probe_outcome outcome, int rc, const char *why)
{
	run->trial->outcome = outcome;
	run->trial->timed_out = rc == -ETIMEDOUT;
	run->trial->inconclusive = rc == -ETIMEDOUT;
	snprintf(run->trial->why, sizeof(run->trial->why), "%s", why);
}

/* False: no welcome; `outcome` is what that makes of the trial. */
static bool greeting_read(struct trial_run *run, enum probe_outcome outcome)
{
	enum probe_protocol protocol = run->settings->protocol;
	struct span reply;
	int rc;

	if (!dialog_has(protocol, DIALOG_GREETING))
		return true;
	rc = reply_read(run, DIALOG_GREETING, &reply);
	if (rc != 0) {
		stop(run, outcome, rc, run->wire.why);
		return false;
	}
	reply_keep(run, reply, run->trial->greeting);
	if (!dialog_reply_good(protocol, DIALOG_GREETING, reply)) {
		stop(run, outcome, 0, run->trial->greeting);
		return false;
	}
	buf_drop(&run->wire.in, reply.n);
	return true;
}

/* False: it does not talk to us. */
static bool list_read(struct trial_run *run)
{
	enum probe_protocol protocol = run->settings->protocol;
	struct probe_trial *trial = run->trial;
	struct span reply = {0};
	int rc;

	if (!dialog_has(protocol, DIALOG_LIST))
		return true;
	rc = command_send(run, DIALOG_LIST, false);
	if (rc == 0)
		rc = reply_read(run, DIALOG_LIST, &reply);
	if (rc != 0) {
		stop(run, PROBE_NO_WELCOME, rc, run->wire.why);
		return false;
	}
	reply_keep(run, reply, trial->said);
	if (!dialog_reply_good(protocol, DIALOG_LIST, reply) &&
		!dialog_optional(protocol, DIALOG_LIST)) {
		stop(run, PROBE_NO_WELCOME, 0, trial->said);
		return false;
	}
	trial->offered = dialog_reply_offers(protocol, reply);
	trial->disguised = dialog_reply_disguised(protocol, reply);
	buf_drop(&run->wire.in, reply.n);
	return true;
}

/* Asks for TLS, offered or not: an offer may have been taken out on the way. */
static bool upgrade(struct trial_run *run)
{
	enum probe_protocol protocol = run->settings->protocol;
	struct probe_trial *trial = run->trial;
	struct span reply = {0};
	int rc;

	if (!greeting_read(run, PROBE_NO_WELCOME) || !list_read(run))
		return false;
	rc = command_send(run, DIALOG_UPGRADE, run->wish->inject);
	if (rc == 0)
		rc = reply_read(run, DIALOG_UPGRADE, &reply);
	if (rc != 0) {
		stop(run, dialog_has(protocol, DIALOG_LIST) ? PROBE_NO_UPGRADE : PROBE_NO_WELCOME,
			rc, run->wire.why);
		return false;
	}
	reply_keep(run, reply, trial->said);
	if (!dialog_reply_good(protocol, DIALOG_UPGRADE, reply)) {
		stop(run, PROBE_NO_UPGRADE, 0, trial->said);
		return false;
	}
	if (!dialog_has(protocol, DIALOG_LIST)) /* no list to be in: it does it, so it offers it */
		trial->offered = true;
	buf_drop(&run->wire.in, reply.n);
	trial->early = buf_len(&run->wire.in) > 0;
	return true;
}

/* ---- handshake ---- */

/* OpenSSL's callback: a session came; keeps the newest. */
static int session_came(SSL *ssl, SSL_SESSION *session)
{
	struct probe_trial *trial = SSL_get_app_data(ssl);

	SSL_SESSION_free(trial->session);
	trial->session = session;
	return 1;
}

static SSL *ssl_make(struct trial_run *run)
{
	const struct probe_wish *wish = run->wish;
	const char *host = run->names.host;
	uint8_t numeric[sizeof(struct in6_addr)];
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;
	bool good;

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(
		ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ctx, session_came);
	SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	good = SSL_CTX_set_cipher_list(ctx, CIPHERS) == 1 &&
	       SSL_CTX_set_min_proto_version(
		       ctx, wish->version != 0 ? wish->version : TLS1_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, wish->version) == 1;
	if (good)
		ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (ssl == NULL)
		return NULL;
	good = SSL_set_app_data(ssl, run->trial) == 1;
	if (inet_pton(AF_INET, host, numeric) != 1 && inet_pton(AF_INET6, host, numeric) != 1)
		good = good && SSL_set_tlsext_host_name(ssl, host) == 1;
	if (wish->session != NULL)
		good = good && SSL_set_session(ssl, wish->session) == 1;
	if (good)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

static void group_name(SSL *ssl, char *out, size_t n)
{
	EVP_PKEY *key = NULL;
	char group[32] = "";
	const char *type;

	out[0] = '\0';
	if (SSL_get_peer_tmp_key(ssl, &key) != 1)
		return;
	type = EVP_PKEY_get0_type_name(key);
	if (EVP_PKEY_is_a(key, "EC") &&
		EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1)
		snprintf(out, n, "%s",
			strcmp(group, "prime256v1") == 0  ? "P-256"
			: strcmp(group, "secp384r1") == 0 ? "P-384"
			: strcmp(group, "secp521r1") == 0 ? "P-521"
							  : group);
	else if (EVP_PKEY_is_a(key, "DH"))
		snprintf(out, n, "DH %d", EVP_PKEY_get_bits(key));
	else
		snprintf(out, n, "%s", type != NULL ? type : "");
	EVP_PKEY_free(key);
}

/* With which algorithm the server proved that the key is its own. */
static void signature_name(SSL *ssl, char *out, size_t n)
{
	int type = NID_undef, digest = NID_undef;
	const char *name;

	out[0] = '\0';
	if (SSL_get_peer_signature_type_nid(ssl, &type) != 1 || type == NID_undef)
		return;
	name = type == EVP_PKEY_EC        ? "ECDSA"
	       : type == EVP_PKEY_RSA_PSS ? "RSA-PSS"
					  : OBJ_nid2sn(type);
	if (SSL_get_peer_signature_nid(ssl, &digest) == 1 && digest != NID_undef)
		snprintf(out, n, "%s %s", name, OBJ_nid2sn(digest));
	else
		snprintf(out, n, "%s", name);
}

static void facts_take(struct probe_trial *trial, SSL *ssl)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	const char *name = cipher != NULL ? SSL_CIPHER_standard_name(cipher) : NULL;

	trial->outcome = PROBE_TLS;
	trial->resumed = SSL_session_reused(ssl) == 1;
	snprintf(trial->version, sizeof(trial->version), "%s", SSL_get_version(ssl));
	snprintf(trial->cipher, sizeof(trial->cipher), "%s", name != NULL ? name : "unknown");
	group_name(ssl, trial->group, sizeof(trial->group));
	signature_name(ssl, trial->signature, sizeof(trial->signature));
	trial->forward_secret = cipher != NULL && (SSL_CIPHER_get_kx_nid(cipher) != NID_kx_rsa ||
							  SSL_version(ssl) == TLS1_3_VERSION);
	trial->aead = cipher != NULL && SSL_CIPHER_is_aead(cipher) == 1;
}

static bool handshake(struct trial_run *run)
{
	struct probe_trial *trial = run->trial;
	uint64_t began = clock_ms();
	SSL *ssl = ssl_make(run);
	int rc;

	if (ssl == NULL) {
		stop(run, PROBE_NO_TLS, 0, "this machine's OpenSSL cannot try that");
		trial->inconclusive = true; /* nothing is known of the peer */
		return false;
	}
	rc = wire_handshake(&run->wire, ssl);
	if (rc != 0) {
		stop(run, PROBE_NO_TLS, rc, run->wire.why);
		trial->early |= run->wire.not_tls && !run->settings->implicit_tls;
		return false;
	}
	trial->handshake_ms = (uint32_t)(clock_ms() - began);
	facts_take(trial, ssl);
	return true;
}

/* ---- under TLS ---- */

/* The first words; what fails here leaves a reason, and the handshake stands. */
static void hello(struct trial_run *run)
{
	enum probe_protocol protocol = run->settings->protocol;
	struct span reply = {0};
	int rc;

	if (run->settings->implicit_tls && !greeting_read(run, PROBE_TLS))
		return;
	if (!dialog_has(protocol, DIALOG_HELLO))
		return;
	rc = command_send(run, DIALOG_HELLO, false);
	if (rc == 0)
		rc = reply_read(run, DIALOG_HELLO, &reply);
	if (rc != 0) {
		stop(run, PROBE_TLS, rc, run->wire.why);
		return;
	}
	if (!dialog_reply_good(protocol, DIALOG_HELLO, reply) &&
		!dialog_optional(protocol, DIALOG_HELLO))
		reply_keep(run, reply, run->trial->why);
	else if (protocol == PROBE_SMTP)
		dialog_keywords(reply, run->trial->extensions, sizeof(run->trial->extensions));
	buf_drop(&run->wire.in, reply.n);
	(void)!command_send(run, DIALOG_QUIT, false);
}

/* Waits for an answer under TLS to what was sent in clear. */
static enum probe_injection answer_look(struct trial_run *run)
{
	enum probe_protocol protocol = run->settings->protocol;
	struct wire *wire = &run->wire;
	uint64_t soon = clock_ms() + QUIET_MS_MAX;
	int rc = 0;

	if (!dialog_sync_quiet(protocol) && command_send(run, DIALOG_SYNC, false) != 0)
		return PROBE_INJECT_REFUSED;
	if (soon < wire->deadline_ms && dialog_sync_quiet(protocol))
		wire->deadline_ms = soon;
	while (rc == 0) {
		struct span octets = buf_span(&wire->in);
		size_t end = 0;

		if (dialog_leaked(protocol, octets))
			return PROBE_INJECT_LEAKED;
		if (!dialog_sync_quiet(protocol))
			end = dialog_reply_end(protocol, DIALOG_SYNC, octets);
		if (end == SIZE_MAX)
			return PROBE_INJECT_UNKNOWN;
		if (end > 0 && dialog_reply_good(protocol, DIALOG_SYNC, octets))
			return PROBE_INJECT_DROPPED;
		if (end > 0 && soon < wire->deadline_ms)
			wire->deadline_ms = soon; /* for a second answer */
		rc = wire_read(wire);
	}
	if (rc == -ETIMEDOUT)
		return dialog_sync_quiet(protocol) ? PROBE_INJECT_DROPPED : PROBE_INJECT_UNKNOWN;
	return buf_len(&wire->in) == 0 ? PROBE_INJECT_REFUSED : PROBE_INJECT_UNKNOWN;
}

static enum probe_injection injection_judge(struct trial_run *run)
{
	const struct probe_trial *trial = run->trial;

	switch (trial->outcome) {
	case PROBE_TLS:
		return answer_look(run);
	case PROBE_NO_TLS:
		if (trial->early)
			return PROBE_INJECT_IN_CLEAR;
		return trial->inconclusive ? PROBE_INJECT_UNKNOWN : PROBE_INJECT_REFUSED;
	case PROBE_NO_UPGRADE:
		return trial->inconclusive ? PROBE_INJECT_UNKNOWN : PROBE_INJECT_REFUSED;
	case PROBE_UNTRIED:
	case PROBE_UNREACHED:
	case PROBE_NO_WELCOME:
	case PROBE_OUTCOMES:
		break;
	}
	return PROBE_INJECT_UNKNOWN;
}

static int run_it(struct trial_run *run, const struct sockaddr_storage *address,
	struct probe_chain *chain, struct err *err)
{
	struct probe_trial *trial = run->trial;
	uint64_t began = clock_ms();
	int rc = wire_connect(&run->wire, address);
	bool go;

	if (rc != 0) {
		stop(run, PROBE_UNREACHED, rc, run->wire.why);
		return 0;
	}
	trial->connect_ms = (uint32_t)(clock_ms() - began);
	helo_choose(run);
	go = run->settings->implicit_tls || upgrade(run);
	go = go && handshake(run);
	rc = 0;
	if (go && chain != NULL)
		rc = probe_chain_read(chain, run->wire.ssl, run->settings, run->names.host, err);
	if (run->wish->inject)
		trial->injection = injection_judge(run);
	else if (go)
		hello(run);
	if (go && trial->session == NULL)
		trial->session = SSL_get1_session(run->wire.ssl);
	return rc;
}

int probe_trial_run(const struct probe_settings *settings, const struct sockaddr_storage *address,
	const char *host, const struct probe_wish *wish, struct probe_trial *trial,
	struct probe_chain *chain, struct err *err)
{
	struct trial_run run = {
		.settings = settings, .wish = wish, .trial = trial, .names = {.host = host}};
	int rc;

	memset(trial, 0, sizeof(*trial));
	wire_init(&run.wire, clock_ms() + settings->timeout_ms);
	rc = run_it(&run, address, chain, err);
	wire_close(&run.wire);
	return rc;
}

void probe_trial_free(struct probe_trial *trial)
{
	SSL_SESSION_free(trial->session);
	trial->session = NULL;
}
