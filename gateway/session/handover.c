/* SPDX-License-Identifier: MIT */
/*
 * handover.c -- receiving handed to the kernel's record layer when a long message comes (ktls = auto).
 *
 * A short message costs less in user space, where its commands and its octets come by one receive and
 * are opened by one call; from SESSION_WIDE_MIN on the kernel costs less
 * (kernel-notes/ktls-break-even.md). So a session begins in user space, and keys go to the kernel when
 * receives become wide, which ends the multishot one anyway:
 *
 *	a record has come in part	one receive of what is left of it, to the octet, as octets that
 *					were taken out of the socket cannot be put back
 *	between two records		the keys are planted; all that comes then is the kernel's
 *
 * Sending stays in user space: replies are short. Where a reply is still being sent, or a KeyUpdate is
 * owed, wide receives go on in user space, and the next one tries again.
 */
#include "session/session-private.h"

/* Is the kernel to have it, sooner or later? */
static bool is_due(const struct session *session)
{
	return session->tls_up && (session->planted & TLS_KTLS_RX) == 0 &&
	       session->worker->facts.config->tls.ktls == KTLS_MODE_AUTO &&
	       session_wide_wanted(session);
}

size_t session_handover_want(const struct session *session)
{
	size_t n = session->tls_up ? tls_conn_want(session->tls) : SIZE_MAX;

	/* A header's size is a record's that has not begun. */
	return is_due(session) && n != TLS_RECORD_HEADER ? n : SIZE_MAX;
}

bool session_handover(struct session *session)
{
	if (!is_due(session) || session->recv.armed || session->cancel.armed ||
		session->held != NULL || session->send.armed ||
		(tls_conn_ktls_wanted(session->tls) & TLS_KTLS_RX) == 0)
		return true;
	if (session_plant(session, TLS_KTLS_RX))
		return true;
	session_kill(session, SESSION_END_TLS_RECORD);
	return false;
}
