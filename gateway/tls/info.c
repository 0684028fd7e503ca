/* SPDX-License-Identifier: MIT */
/*
 * info.c -- what a handshake came to, for logs and Received: lines: the facts of one that
 * succeeded, the kind of failure of one that did not.
 *
 * Names are IANA's, not OpenSSL's. What the peer chose (SNI, subject) is passed on as it is, cut;
 * whoever logs it escapes it.
 *
 * What is no TLS at all is told apart from TLS that we do not speak: the first is a scanner or an
 * attacker, the second an old sender that will deliver in clear. "wrong version number" is said of
 * records that are none; a version can only be unsupported in a ClientHello that was read.
 */
#include "tls/tls-private.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>

static const struct {
	int nid;
	const char *name;
} groups[] = {
	{NID_X25519, "X25519"},
	{NID_X9_62_prime256v1, "P-256"},
	{NID_secp384r1, "P-384"},
};

static const char *group_name(int nid)
{
	for (size_t i = 0; i < COUNT_OF(groups); i++)
		if (groups[i].nid == nid)
			return groups[i].name;
	return "-";
}

bool tls_text_set(const char **text, const char *words)
{
	static const char none[] = "";
	const char *old = *text;

	*text = words[0] != '\0' ? strdup(words) : none;
	if (old != none)
		free((void *)(uintptr_t)old);
	if (*text != NULL)
		return true;
	*text = none;
	return false;
}

static void subject_fill(struct tls_conn *conn, const X509 *certificate)
{
	char subject[TLS_SUBJECT_MAX];
	BIO *text = BIO_new(BIO_s_mem());
	int n = -1;

	if (text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
				    XN_FLAG_RFC2253) >= 0)
		n = BIO_read(text, subject, TLS_SUBJECT_MAX - 1);
	subject[n > 0 ? n : 0] = '\0';
	(void)tls_text_set(&conn->info.client, subject);
	BIO_free(text);
}

void tls_info_fill(struct tls_conn *conn)
{
	const X509 *certificate = SSL_get0_peer_certificate(conn->ssl);

	conn->info.version = SSL_get_version(conn->ssl);
	conn->info.cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(conn->ssl));
	conn->info.group = group_name((int)SSL_get_negotiated_group(conn->ssl));
	conn->info.resumed = SSL_session_reused(conn->ssl) == 1;
	if (certificate != NULL && !conn->client)
		subject_fill(conn, certificate);
}

/* RFC 8446 6, and what older versions had besides. */
static const char *const alerts[] = {
	[SSL_AD_CLOSE_NOTIFY] = "close_notify",
	[SSL_AD_UNEXPECTED_MESSAGE] = "unexpected_message",
	[SSL_AD_BAD_RECORD_MAC] = "bad_record_mac",
	[SSL_AD_DECRYPTION_FAILED] = "decryption_failed",
	[SSL_AD_RECORD_OVERFLOW] = "record_overflow",
	[SSL_AD_DECOMPRESSION_FAILURE] = "decompression_failure",
	[SSL_AD_HANDSHAKE_FAILURE] = "handshake_failure",
	[SSL_AD_NO_CERTIFICATE] = "no_certificate",
	[SSL_AD_BAD_CERTIFICATE] = "bad_certificate",
	[SSL_AD_UNSUPPORTED_CERTIFICATE] = "unsupported_certificate",
	[SSL_AD_CERTIFICATE_REVOKED] = "certificate_revoked",
	[SSL_AD_CERTIFICATE_EXPIRED] = "certificate_expired",
	[SSL_AD_CERTIFICATE_UNKNOWN] = "certificate_unknown",
	[SSL_AD_ILLEGAL_PARAMETER] = "illegal_parameter",
	[SSL_AD_UNKNOWN_CA] = "unknown_ca",
	[SSL_AD_ACCESS_DENIED] = "access_denied",
	[SSL_AD_DECODE_ERROR] = "decode_error",
	[SSL_AD_DECRYPT_ERROR] = "decrypt_error",
	[SSL_AD_EXPORT_RESTRICTION] = "export_restriction",
	[SSL_AD_PROTOCOL_VERSION] = "protocol_version",
	[SSL_AD_INSUFFICIENT_SECURITY] = "insufficient_security",
	[SSL_AD_INTERNAL_ERROR] = "internal_error",
	[SSL_AD_INAPPROPRIATE_FALLBACK] = "inappropriate_fallback",
	[SSL_AD_USER_CANCELLED] = "user_canceled",
	[SSL_AD_NO_RENEGOTIATION] = "no_renegotiation",
	[SSL_AD_MISSING_EXTENSION] = "missing_extension",
	[SSL_AD_UNSUPPORTED_EXTENSION] = "unsupported_extension",
	[SSL_AD_UNRECOGNIZED_NAME] = "unrecognized_name",
	[SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE] = "bad_certificate_status_response",
	[SSL_AD_UNKNOWN_PSK_IDENTITY] = "unknown_psk_identity",
	[SSL_AD_CERTIFICATE_REQUIRED] = "certificate_required",
	[SSL_AD_NO_APPLICATION_PROTOCOL] = "no_application_protocol",
};

const char *tls_conn_alert(const struct tls_conn *conn)
{
	if (conn->failure != TLS_FAILURE_ALERT)
		return "";
	if (conn->alert >= COUNT_OF(alerts) || alerts[conn->alert] == NULL)
		return "unknown";
	return alerts[conn->alert];
}

/* Nothing of the handshake was understood yet, or a record is none. */
static bool is_garbage(const struct tls_conn *conn, int reason)
{
	return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
	       reason == SSL_R_HTTPS_PROXY_REQUEST || SSL_get_state(conn->ssl) == TLS_ST_BEFORE;
}

static enum tls_failure failure_of(struct tls_conn *conn, unsigned long code)
{
	int reason = ERR_GET_REASON(code);

	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return TLS_FAILURE_OTHER;
	if (reason >= SSL_AD_REASON_OFFSET) {
		conn->alert = (uint8_t)(reason - SSL_AD_REASON_OFFSET);
		return TLS_FAILURE_ALERT;
	}
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_VERSION_TOO_HIGH:
	case SSL_R_UNKNOWN_PROTOCOL:
	case SSL_R_BAD_PROTOCOL_VERSION_NUMBER:
	case SSL_R_INAPPROPRIATE_FALLBACK:
		return TLS_FAILURE_VERSION;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_GROUPS:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
		return TLS_FAILURE_CIPHER;
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return TLS_FAILURE_CERTIFICATE;
	default:
		return is_garbage(conn, reason) ? TLS_FAILURE_GARBAGE : TLS_FAILURE_OTHER;
	}
}

/* OpenSSL's reason says no more than that: the result of the verification says why. */
static const char *certificate_text(struct tls_conn *conn)
{
	long result = SSL_get_verify_result(conn->ssl);
	char text[128];

	snprintf(text, sizeof(text), "certificate verify failed: %s",
		X509_verify_cert_error_string(result));
	return tls_text_set(&conn->failure_made, text) ? conn->failure_made
						       : "certificate verify failed";
}

void tls_failure_fill(struct tls_conn *conn)
{
	unsigned long code = ERR_peek_error();

	if (conn->failure != TLS_FAILURE_NONE)
		return;
	conn->failure = code != 0 ? failure_of(conn, code) : TLS_FAILURE_OTHER;
	if (conn->failure_text == NULL && conn->failure == TLS_FAILURE_CERTIFICATE)
		conn->failure_text = certificate_text(conn);
	if (conn->failure_text == NULL && code != 0)
		conn->failure_text = ERR_reason_error_string(code);
	/* close_notify in place of a handshake message leaves no error behind. */
	if (conn->failure_text == NULL && conn->ssl != NULL &&
		(SSL_get_shutdown(conn->ssl) & SSL_RECEIVED_SHUTDOWN)) {
		conn->failure = TLS_FAILURE_ALERT;
		conn->failure_text = "close notify";
	}
}
