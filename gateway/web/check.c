/* SPDX-License-Identifier: MIT */
/*
 * check.c -- before anything is published or a certificate is changed: would senders still deliver?
 *
 * What a policy promises is looked at with a sender's eyes (RFC 8461 4.1, 4.2): is this MX one of its
 * names, does it offer TLS, is the certificate that it shows good for the name. The same for the policy's
 * host, where it is ours: a policy that cannot be fetched is not renewed. TLSA records (RFC 7672) are those
 * that the operator says are published; one that matches is enough.
 *
 * Whether DNS really says so, and what other MXes of the domain do, is not looked at: this must work
 * without a network. The faults that all domains share are looked for once.
 */
#include "web/web-private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"

#define TLSA_OCTETS_MAX 512 /* of one record */
#define TLSA_MAX        16
#define HEX_SHA256      65

struct looking {
	const struct web_check *check;
	struct tls_trust *trust;
	bool serves;       /* there is an https listener */
	struct err shared; /* what is wrong for every domain; "" */
};

/* ---- policies ---- */

static bool offers(const struct web_check *check, enum listener_protocol protocol)
{
	for (size_t i = 0; i < check->listeners_n; i++)
		if (check->listeners[i].protocol == protocol &&
			check->listeners[i].tls != LISTENER_TLS_NONE)
			return true;
	return false;
}

static int verify(const struct looking *looking, const char *sni, const char *name, struct err *err)
{
	const struct web_check *check = looking->check;

	if (check->material == NULL)
		return err_set(err, "there is no certificate");
	return tls_material_verify(check->material, looking->trust, sni, name, err);
}

/* With the MX itself: the same for every policy. */
static void shared_find(struct looking *looking)
{
	const struct web_check *check = looking->check;
	const char *name = check->hostname;
	struct err why;

	if (!offers(check, LISTENER_SMTP))
		err_set(&looking->shared,
			"no listener for mail offers TLS, which senders must then use: write tls = "
			"\"starttls\"");
	else if (verify(looking, name, name, &why) != 0)
		err_set(&looking->shared,
			"%s; senders would not deliver: use one of a CA that they know", why.text);
	else if (verify(looking, "", name, &why) != 0)
		err_set(&looking->shared,
			"%s, for clients without SNI; senders among them would not deliver: use one of a "
			"CA that they know, with this name",
			why.text);
}

/* -1 and err: what a sender that obeys the policy would stumble over. */
static int policy_look(
	const struct looking *looking, const struct sts_settings *sts, struct err *err)
{
	const char *hostname = looking->check->hostname;
	char host[STS_NAME_MAX + sizeof(STS_POLICY_HOST_PREFIX)];
	struct err why;
	bool listed = false;

	for (size_t i = 0; i < sts->mx_n && !listed; i++)
		listed = sts_mx_match(span_str(sts->mx[i]), span_str(hostname));
	if (!listed)
		return err_set(err,
			"hostname %s is none of its mx; senders would not deliver here: add it to mx",
			hostname);
	if (looking->shared.text[0] != '\0') {
		*err = looking->shared;
		return -1;
	}
	snprintf(host, sizeof(host), STS_POLICY_HOST_PREFIX "%s", sts->domain);
	if (looking->serves && verify(looking, host, host, &why) != 0)
		return err_set(err,
			"%s; senders could not fetch the policy: use one of a CA that they know, with "
			"this name",
			why.text);
	return 0;
}

static void warn(const struct sts_settings *sts, const char *why)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "sts_warning");
	event_str(&event, "domain", sts->domain);
	event_str(&event, "mode", sts_mode_text((enum sts_mode)sts->mode));
	event_str(&event, "why", why);
	event_close(&event);
}

static int policies_check(struct looking *looking, struct err *err)
{
	const struct web_check *check = looking->check;
	struct err why;

	shared_find(looking);
	for (size_t i = 0; i < check->sts_n; i++) {
		const struct sts_settings *sts = &check->sts[i];

		if (sts->mode == STS_MODE_NONE || policy_look(looking, sts, &why) == 0)
			continue;
		if (sts->mode == STS_MODE_ENFORCE)
			return err_set(err,
				"sts \"%s\": mode = enforce cannot be published: %s, or write mode = "
				"\"testing\"",
				sts->domain, why.text);
		warn(sts, why.text);
	}
	return 0;
}

/* ---- TLSA records ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "3 1 1 HEX", blanks in HEX or not, into the record's octets. */
static bool tlsa_parse(const char *text, struct buf *out)
{
	for (int i = 0; i < 3; i++) {
		char *end;
		unsigned long value = strtoul(text, &end, 10);
		uint8_t octet = (uint8_t)value;

		if (!isdigit((unsigned char)text[0]) || value > UINT8_MAX || *end != ' ' ||
			!buf_put(out, span_of(&octet, 1)))
			return false;
		text = end + strspn(end, " ");
	}
	while (text[0] != '\0') {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);
		uint8_t octet;

		if (low < 0)
			return false;
		octet = (uint8_t)(high << 4 | low);
		if (!buf_put(out, span_of(&octet, 1)))
			return false;
		text += 2;
		text += strspn(text, " ");
	}
	return true;
}

static int tlsa_read(const struct certificate_settings *certificate, struct buf *octets,
	struct span *records, struct err *err)
{
	for (size_t i = 0; i < certificate->tlsa_n && i < TLSA_MAX; i++) {
		uint32_t begin = octets->end;
		struct sts_tlsa tlsa;
		enum sts_tlsa_use use;

		if (!tlsa_parse(certificate->tlsa[i], octets))
			return err_set(err,
				"certificate \"%s\": tlsa: \"%s\" is not a record such as \"3 1 1 HEX\"",
				certificate->title, certificate->tlsa[i]);
		records[i] = span_of(octets->p + begin, octets->end - begin);
		use = sts_tlsa_read(records[i], &tlsa);
		if (use != STS_TLSA_USABLE)
			return err_set(err, "certificate \"%s\": tlsa: \"%.40s...\": %s",
				certificate->title, certificate->tlsa[i], sts_tlsa_use_text(use));
	}
	return 0;
}

static void chain_of(const struct tls_material *material, size_t i, struct tls_member *members,
	struct sts_certificate *chain, size_t *n)
{
	*n = tls_material_chain(material, i, members);
	for (size_t k = 0; k < *n; k++)
		chain[k] = (struct sts_certificate){
			.der = members[k].der,
			.spki = members[k].spki,
			.der_sha256 = span_of(members[k].der_sha256, 32),
			.der_sha512 = span_of(members[k].der_sha512, 64),
			.spki_sha256 = span_of(members[k].spki_sha256, 32),
			.spki_sha512 = span_of(members[k].spki_sha512, 64),
		};
}

static void hex_of(const uint8_t digest[32], char text[HEX_SHA256])
{
	for (int i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static int tlsa_match(
	const struct web_check *check, size_t i, const struct sts_tlsa_set *set, struct err *err)
{
	const struct certificate_settings *certificate = &check->certificates[i];
	struct tls_member members[TLS_CHAIN_MAX];
	struct sts_certificate chain[TLS_CHAIN_MAX];
	char hex[HEX_SHA256];
	size_t n, depth;

	chain_of(check->material, i, members, chain, &n);
	if (sts_tlsa_match_chain(set, chain, n, &depth) != NULL)
		return 0;
	hex_of(members[0].spki_sha256, hex);
	return err_set(err,
		"certificate \"%s\": %s matches none of its tlsa records; senders that use DANE would not "
		"deliver: publish 3 1 1 %s, wait until the old ones have expired everywhere, and add it "
		"to tlsa",
		certificate->title, certificate->chain, hex);
}

static int tlsa_check(const struct web_check *check, size_t i, struct err *err)
{
	const struct certificate_settings *certificate = &check->certificates[i];
	struct span records[TLSA_MAX];
	struct sts_tlsa_set set;
	struct buf octets;
	uint8_t *storage = malloc(TLSA_MAX * TLSA_OCTETS_MAX);
	int res;

	if (storage == NULL)
		return err_set(err, "out of memory");
	buf_init(&octets, storage, TLSA_MAX * TLSA_OCTETS_MAX);
	res = tlsa_read(certificate, &octets, records, err);
	if (res == 0) {
		(void)!sts_tlsa_set_read(records, min_size(certificate->tlsa_n, TLSA_MAX), &set);
		res = tlsa_match(check, i, &set, err);
	}
	free(storage);
	return res;
}

/* ---- all ---- */

int web_check(const struct web_check *check, struct err *err)
{
	struct looking looking = {.check = check, .serves = offers(check, LISTENER_HTTPS)};
	int res;

	for (size_t i = 0; check->material != NULL && i < check->certificates_n; i++)
		if (check->certificates[i].tlsa_n > 0 && tlsa_check(check, i, err) != 0)
			return -1;
	if (check->sts_n == 0)
		return 0;
	if (tls_trust_open(&looking.trust, check->ca_file, err) != 0)
		return -1;
	res = policies_check(&looking, err);
	tls_trust_close(looking.trust);
	return res;
}
