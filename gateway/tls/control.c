/* SPDX-License-Identifier: MIT */
/*
 * control.c -- what arrives on a kTLS socket besides data: alerts and KeyUpdate.
 *
 * The kernel hands such a record out by recvmsg with its type; it has checked the tag, nothing
 * else. So parsing is strict: an alert is two octets, a KeyUpdate (RFC 8446 4.6.3) is five and
 * alone in its record, and everything else is an error: a server gets no other message after the
 * handshake (no renegotiation, no post-handshake authentication).
 *
 * A KeyUpdate on a kernel that cannot re-key ends the session: what follows it cannot be read.
 * The close is clean, because TX still works: close_notify goes out in the reply's place, or, where TX is
 * user space's, as its caller's last word.
 */
#include "tls/tls-private.h"

#include <errno.h>

#include "base/counter.h"

enum { TYPE_ALERT = 21, TYPE_HANDSHAKE = 22 };
enum { ALERT_WARNING = 1, ALERT_CLOSE_NOTIFY = 0, ALERT_USER_CANCELED = 90 };
enum { KEY_UPDATE = 24, KEY_UPDATE_SIZE = 5 };
enum { UPDATE_NOT_REQUESTED = 0, UPDATE_REQUESTED = 1 };

struct tls_control_record tls_close_notify(void)
{
	return (struct tls_control_record){
		.type = TYPE_ALERT, .n = 2, .bytes = {ALERT_WARNING, ALERT_CLOSE_NOTIFY}};
}

/* In TLS 1.3 the level says nothing (RFC 8446 6); in TLS 1.2 warnings may be passed over. */
static enum tls_control handle_alert(struct tls_conn *conn, struct span body)
{
	if (body.n != 2)
		return TLS_CONTROL_FAIL;
	if (body.p[1] == ALERT_CLOSE_NOTIFY)
		return TLS_CONTROL_EOF;
	if (body.p[1] != ALERT_USER_CANCELED && (conn->suite->tls13 || body.p[0] != ALERT_WARNING))
		return TLS_CONTROL_FAIL;
	return ++conn->alerts > TLS_ALERTS_MAX ? TLS_CONTROL_FAIL : TLS_CONTROL_IGNORE;
}

static bool parse_key_update(struct span body, bool *requested)
{
	static const uint8_t head[] = {KEY_UPDATE, 0, 0, 1};

	if (body.n != KEY_UPDATE_SIZE || memcmp(body.p, head, sizeof(head)) != 0 ||
		body.p[4] > UPDATE_REQUESTED)
		return false;
	*requested = body.p[4] == UPDATE_REQUESTED;
	return true;
}

static enum tls_control close_cleanly(struct tls_conn *conn, struct tls_control_record *reply)
{
	count(COUNTER_TLS_KEYUPDATE_REFUSED);
	conn->closing = true;
	if ((conn->planted & TLS_KTLS_TX) == 0)
		return TLS_CONTROL_REFUSED;
	*reply = tls_close_notify();
	return TLS_CONTROL_REPLY;
}

static enum tls_control answer(struct tls_conn *conn, struct tls_control_record *reply)
{
	/* One answer serves all requests that came before it went out. */
	if (conn->reply_pending)
		return TLS_CONTROL_IGNORE;
	/* TX is still in user space: a KeyUpdate goes before the next data. */
	if ((conn->planted & TLS_KTLS_TX) == 0 && conn->ssl == NULL) {
		conn->record.update_owed = true;
		return TLS_CONTROL_IGNORE;
	}
	if ((conn->planted & TLS_KTLS_TX) == 0)
		return SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1
			       ? TLS_CONTROL_IGNORE
			       : TLS_CONTROL_FAIL;
	conn->reply_pending = true;
	*reply = (struct tls_control_record){.type = TYPE_HANDSHAKE,
		.n = KEY_UPDATE_SIZE,
		.bytes = {KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED}};
	return TLS_CONTROL_REPLY;
}

static enum tls_control handle_handshake(
	struct tls_conn *conn, int fd, struct span body, struct tls_control_record *reply)
{
	bool requested;

	if (!conn->suite->tls13 || !parse_key_update(body, &requested) ||
		++conn->keyupdates > TLS_KEYUPDATES_MAX)
		return TLS_CONTROL_FAIL;
	if (!conn->rekey)
		return close_cleanly(conn, reply);
	if (tls_ktls_rekey(conn, fd, TLS_DIRECTION_RX) != 0)
		return TLS_CONTROL_FAIL;
	count(COUNTER_TLS_KEYUPDATE);
	return requested ? answer(conn, reply) : TLS_CONTROL_IGNORE;
}

enum tls_control tls_conn_control(struct tls_conn *conn, int fd, uint8_t type, struct span body,
	struct tls_control_record *reply)
{
	enum tls_control control = TLS_CONTROL_FAIL;

	ASSERT((conn->planted & TLS_KTLS_RX) != 0);
	if (conn->closing)
		return TLS_CONTROL_IGNORE;
	if (type == TYPE_ALERT)
		control = handle_alert(conn, body);
	else if (type == TYPE_HANDSHAKE)
		control = handle_handshake(conn, fd, body, reply);
	if (control == TLS_CONTROL_FAIL)
		conn->failed = true;
	return control;
}

int tls_conn_control_sent(struct tls_conn *conn, int fd)
{
	int result;

	if (conn->closing)
		return -ESHUTDOWN;
	ASSERT(conn->reply_pending);
	conn->reply_pending = false;
	result = tls_ktls_rekey(conn, fd, TLS_DIRECTION_TX);
	if (result != 0)
		conn->failed = true;
	return result;
}
