/* SPDX-License-Identifier: MIT */
/*
 * name.h -- what may stand in a file as the name of a host or of a mail domain.
 *
 * Job: syntax only, for texts that a person wrote (configuration, recipient list). Names that
 * peers send are judged by smtp/, which follows RFC 5321's grammar instead.
 */
#ifndef POSTERN_CONFIG_NAME_H
#define POSTERN_CONFIG_NAME_H

#include "base/span.h"

#define NAME_OCTETS_MAX  253 /* RFC 1035 2.3.4, as text without the root's dot */
#define NAME_LABEL_MAX   63
#define NAME_CONTROL_END 0x20
#define NAME_DELETE      0x7f

/*
 * True for a host name: labels of ASCII letters, digits and inner hyphens, the last of them not
 * all digits (RFC 1123 2.1), no final dot.
 */
MUST_USE bool name_host_valid(struct span name);

/* As name_host_valid, but labels may also be U-labels in UTF-8 (RFC 6531 3.3). */
MUST_USE bool name_domain_valid(struct span name);

/* True for UTF-8 (RFC 3629) without control characters, U+0080 to U+009F included. */
MUST_USE bool name_text_valid(struct span text);

/* Folds ASCII capitals in place; other octets stay. */
void name_lower(char *text, size_t n);

#endif
