/* SPDX-License-Identifier: MIT */
/*
 * sts_kept_json.c -- the control socket's questions about what state_directory remembers of TLS with
 * others: counts for reports.
 *
 * What a configuration does without is told as "on": false, with nothing below it: no error, for a script
 * may ask any gateway. Lists come in pieces that fit an answer; "next" is the name to go on behind, and
 * what comes and goes meanwhile moves nothing else. The names of the keys are an interface that scripts
 * use (posternctl --json): add, never rename.
 */
#include "gateway.h"

#include <jansson.h>

#include "base/clock.h"
#include "control/control.h"
#include "tlsrpt/tlsrpt.h"

#define PIECE_OCTETS (CONTROL_ANSWER_MAX - 4096) /* of a list; the rest is for what is around it */

static const char *text_or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static size_t min_limit(uint32_t asked, size_t max)
{
	return asked > 0 ? min_size(asked, max) : max;
}

/* Takes what does not fit an answer off the list's end. True: something was. One entry stays. */
static bool list_cut(json_t *list)
{
	size_t octets = 0, n = json_array_size(list), i = 0;

	for (; i < n; i++) {
		octets += json_dumpb(json_array_get(list, i), NULL, 0, JSON_COMPACT) + 1;
		if (octets > PIECE_OCTETS && i > 0)
			break;
	}
	while (json_array_size(list) > i)
		(void)json_array_remove(list, json_array_size(list) - 1);
	return i < n;
}

/* ---- report ---- */

/* A report is one domain's; its policies name it. */
static json_t *domain_of(const json_t *report)
{
	const json_t *policies = json_object_get(report, "policies");
	const json_t *policy = json_object_get(json_array_get(policies, 0), "policy");

	return json_object_get(policy, "policy-domain");
}

json_t *sts_report_json(const struct sts_facts *facts, const struct control_sts_request *request)
{
	struct tlsrpt *tlsrpt = facts->state->tlsrpt;
	const struct tlsrpt_question question = {.day = request->day,
		.domain = text_or_null(request->domain),
		.after = text_or_null(request->after),
		.limit = min_limit(request->limit, CONTROL_STS_REPORTS_MAX)};
	json_t *reports = tlsrpt != NULL ? tlsrpt_show(tlsrpt, &question) : json_array();
	json_t *next = NULL;
	char day[CLOCK_DAY_TEXT];
	bool more;

	clock_day_text(request->day != 0 ? request->day
					 : (uint32_t)(clock_real_us() / 1000000 / CLOCK_DAY_S),
		day);
	more = json_array_size(reports) == question.limit;
	more = list_cut(reports) || more;
	if (more && question.domain == NULL)
		next = domain_of(json_array_get(reports, json_array_size(reports) - 1));
	return json_pack("{s:b, s:s, s:s?, s:O?, s:o}", "on", tlsrpt != NULL, "day", day, "from",
		tlsrpt != NULL ? tlsrpt_from(tlsrpt) : NULL, "next", next, "reports", reports);
}
