/* SPDX-License-Identifier: MIT */
/*
 * text.c -- what strangers said, made fit to print, and the list of findings.
 *
 * Only ASCII from blank to tilde passes: no control character reaches a terminal, no half of a
 * character reaches JSON. Tabs and line ends inside a text become one '?' each like the rest.
 */
#include "tools/probe/probe.h"

#include <stdio.h>

#define PRINTABLE_FIRST 0x20
#define PRINTABLE_LAST  0x7e

void probe_clean(char *out, size_t n, struct span octets)
{
	static const char more[] = "...";
	size_t kept;

	ASSERT(n >= sizeof(more));
	kept = min_size(octets.n, n - 1);
	for (size_t i = 0; i < kept; i++) {
		uint8_t c = octets.p[i];

		out[i] = (char)(c >= PRINTABLE_FIRST && c <= PRINTABLE_LAST ? c : '?');
	}
	out[kept] = '\0';
	if (kept < octets.n)
		memcpy(out + n - sizeof(more), more, sizeof(more));
}

const char *probe_severity_text(enum probe_severity severity)
{
	static const char *const texts[PROBE_SEVERITIES] = {
		[PROBE_NOTE] = "note",
		[PROBE_OBJECTION] = "objection",
		[PROBE_REFUSAL] = "refusal",
	};

	ASSERT(severity < PROBE_SEVERITIES);
	return texts[severity];
}

void probe_finding_add(struct probe_findings *findings, enum probe_severity severity,
	const char *code, const char *host, const char *sender, const char *what, ...)
{
	struct probe_finding *finding = &findings->items[findings->n];
	char text[PROBE_SENTENCE_MAX];
	va_list ap;

	if (severity > findings->worst)
		findings->worst = severity;
	if (findings->n == PROBE_FINDINGS_MAX) {
		findings->dropped_n++;
		return;
	}
	findings->n++;
	finding->severity = severity;
	finding->code = code;
	finding->sender = sender;
	probe_clean(finding->host, sizeof(finding->host), span_str(host));
	va_start(ap, what);
	vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	probe_clean(finding->what, sizeof(finding->what), span_str(text));
}
