/* SPDX-License-Identifier: MIT */
/* reload.c -- what is told of a reload when it has ended: a line in the log, and an answer's text. */
#include "gateway.h"

#include "base/event.h"

const char *reload_tell(const struct err *failed, const char *restart, struct err *text)
{
	struct event event;

	event_open(&event, failed == NULL ? COUNTER_RELOADS : COUNTER_RELOADS_FAILED, "reload");
	event_str(
		&event, failed == NULL ? "result" : "error", failed == NULL ? "ok" : failed->text);
	if (failed == NULL && restart[0] != '\0')
		event_str(&event, "restart_needed", restart);
	event_close(&event);
	if (failed != NULL)
		return failed->text;
	if (restart[0] == '\0')
		return NULL;
	err_set(text, "reloaded; changed as well, but taken by a restart only: %s", restart);
	return text->text;
}
