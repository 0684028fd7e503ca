/* SPDX-License-Identifier: MIT */
/*
 * boundary.c -- how many octets may be taken from the socket without passing the end of the
 * client's Finished record (kernel-notes/ktls-early-records.md).
 *
 * What the kernel's record layer is to decrypt must still be in the socket when the keys arrive;
 * octets cannot be put back. So reads end at record boundaries: five octets of header, then
 * exactly the body. Three things save calls, each with its proof:
 *   1. Until our flight is out any read is safe: a client cannot make Finished, nor a record under
 *      application keys, without our random and key share.
 *   2. The client's last flight has a least size: Finished is 4 + digest octets in TLS 1.3 and
 *      4 + 12 in TLS 1.2, records and tags have a fixed overhead, and in TLS 1.2 a full handshake
 *      opens with a ClientKeyExchange of at least an X25519 point. Splitting messages over more
 *      records only makes it longer, so that many octets may be read blindly.
 *   3. A ChangeCipherSpec is never last: what must follow it may be read with it.
 * A client that sent anything after its hello before our flight (`eager`) may have sent part of
 * that flight already, so nothing is expected of it. After Finished records are read one by one.
 *
 * Rejected: reading large and handing the rest to OpenSSL first (mixed mode): the kernel's
 * rec_seq could be set, but a partial record at the end could not.
 */
#include "tls/tls-private.h"

#define TYPE_CHANGE_CIPHER_SPEC 20
#define CCS_RECORD              (TLS_RECORD_HEADER + 1)
#define FINISHED_12             (4 + 12)
#define KEY_EXCHANGE_12         (TLS_RECORD_HEADER + 4 + 1 + 32) /* ClientKeyExchange, X25519 */

static void record_ended(const struct tls_framing *framing, struct tls_flight *flight)
{
	if (flight == NULL || !flight->exact)
		return;
	if (flight->ccs_seen)
		flight->after_seen = true;
	if (framing->header[0] == TYPE_CHANGE_CIPHER_SPEC)
		flight->ccs_seen = true;
	else
		flight->other_seen = true;
}

void tls_framing_feed(struct tls_framing *framing, struct tls_flight *flight, struct span bytes)
{
	while (bytes.n > 0) {
		if (framing->header_n < TLS_RECORD_HEADER) {
			struct span head =
				span_take(&bytes, (size_t)TLS_RECORD_HEADER - framing->header_n);

			memcpy(framing->header + framing->header_n, head.p, head.n);
			framing->header_n += (uint8_t)head.n;
			if (framing->header_n < TLS_RECORD_HEADER)
				return;
			framing->body_left = (uint32_t)framing->header[3] << 8 | framing->header[4];
			framing->body_seen = 0;
		} else {
			struct span body = span_take(&bytes, framing->body_left);

			if (framing->body_seen < TLS_NONCE_SIZE)
				memcpy(framing->nonce + framing->body_seen, body.p,
					min_size(body.n, TLS_NONCE_SIZE - framing->body_seen));
			framing->body_seen += (uint32_t)body.n;
			framing->body_left -= (uint32_t)body.n;
		}
		if (framing->body_left == 0) {
			framing->header_n = 0;
			record_ended(framing, flight);
		}
	}
}

void tls_flight_expect(struct tls_flight *flight, const struct tls_suite *suite, bool resumed)
{
	flight->tls12 = !suite->tls13;
	if (suite->tls13) {
		flight->finished_n =
			TLS_RECORD_HEADER + 4 + (size_t)suite->secret_n + 1 + TLS_TAG_SIZE;
		return;
	}
	flight->finished_n =
		TLS_RECORD_HEADER + (size_t)suite->nonce_n + FINISHED_12 + TLS_TAG_SIZE;
	flight->opening_n = resumed ? 0 : KEY_EXCHANGE_12;
}

/* Octets that must come after the records seen so far, up to the end of Finished. */
static size_t flight_least(const struct tls_flight *flight)
{
	if (flight->eager || flight->finished_n == 0 || flight->after_seen)
		return 0;
	if (!flight->tls12)
		return flight->other_seen ? 0 : flight->finished_n;
	if (flight->ccs_seen)
		return flight->finished_n;
	return (flight->other_seen ? 0 : flight->opening_n) + CCS_RECORD + flight->finished_n;
}

size_t tls_framing_want(const struct tls_framing *framing, const struct tls_flight *flight)
{
	struct tls_flight then = *flight;
	size_t least;

	if (framing->header_n < TLS_RECORD_HEADER) {
		least = flight_least(flight);
		return (least > TLS_RECORD_HEADER ? least : TLS_RECORD_HEADER) - framing->header_n;
	}
	record_ended(framing, &then);
	return framing->body_left + flight_least(&then);
}
