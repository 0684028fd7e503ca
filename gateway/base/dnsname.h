/* SPDX-License-Identifier: MIT */
/*
 * dnsname.h -- host names in the data of DNS records.
 */
#ifndef POSTERN_BASE_DNSNAME_H
#define POSTERN_BASE_DNSNAME_H

#include "base/span.h"

#define DNS_NAME_MAX  253 /* octets of a name as text, without the root's dot: RFC 1035 2.3.4 */
#define DNS_LABEL_MAX 63

/*
 * A whole name in wire format (RFC 1035 3.1, without compression: libunbound gives none), as text in
 * lower case with dots; "" for the root. False: it is none, or has octets that no host's name has.
 */
MUST_USE bool dns_name_read(struct span wire, char out[DNS_NAME_MAX + 1]);

#endif
