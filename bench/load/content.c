/* SPDX-License-Identifier: MIT */
/* content.c -- see content.h. */
#include "bench/load/content.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/lib/mark.h"
#include "bench/lib/rng.h"
#include "bench/load/options.h"

#define LINE_BYTES 64
#define OFFSETS    1024 /* lines that differ; where messages begin */

/* No dot in it: any part of it must do as a line. */
static const char last_line[] =
	"The end of this message is cut so that its size is what was wanted\r\n";
#define LAST_LINE_BYTES (sizeof(last_line) - 1)

static void text_fill(uint8_t *text, size_t n)
{
	static const char letters[] = "etaoinshrdlcumwfgypbvkETAOIN012   ";
	struct rng rng = {.state = 42};
	size_t own = min_size(n, OFFSETS * LINE_BYTES);

	for (size_t i = 0; i < own; i++) {
		size_t at = i % LINE_BYTES;

		text[i] = (uint8_t)letters[rng_u64(&rng) % (sizeof(letters) - 1)];
		if (at == LINE_BYTES - 2)
			text[i] = '\r';
		if (at == LINE_BYTES - 1)
			text[i] = '\n';
	}
	for (size_t i = own; i < n; i += own)
		memcpy(text + i, text, min_size(own, n - i));
}

static int head_make(struct content *content, const struct options *options, struct err *err)
{
	static const char zeros[MARK_DIGEST_DIGITS + 1] =
		"0000000000000000000000000000000000000000000000000000000000000000";
	char *head = (char *)content->head;
	int n = snprintf(head, sizeof(content->head),
		"From: Load <%s>\r\nTo: <%s>\r\nSubject: load\r\n"
		"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%.*s@%s>\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
		"X-Postern-Number: %.*s\r\n%s%s%s\r\n",
		options->from, options->to, MARK_NUMBER_DIGITS, zeros, options->helo,
		MARK_NUMBER_DIGITS, zeros, options->verify ? MARK_DIGEST_FIELD : "",
		options->verify ? zeros : "", options->verify ? "\r\n" : "");

	if (n < 0 || n > CONTENT_HEAD_MAX)
		return err_set(err, "addresses and name are too long");
	content->head_n = (uint32_t)n;
	content->id_at = (uint32_t)(strstr(head, "ID: <") + 5 - head);
	content->number_at =
		(uint32_t)(strstr(head, MARK_NUMBER_FIELD) + strlen(MARK_NUMBER_FIELD) - head);
	if (options->verify)
		content->digest_at = (uint32_t)(strstr(head, MARK_DIGEST_FIELD) +
						strlen(MARK_DIGEST_FIELD) - head);
	return 0;
}

static int rcpt_make(struct content *content, const struct options *options, struct err *err)
{
	uint32_t lines = options->mailboxes + options->recipients;
	const char *percent = strchr(options->to, '%');
	size_t line_max = CONTENT_ADDRESS_MAX + 40, at = 0;

	content->rcpt = malloc(lines * line_max);
	content->rcpt_at = calloc(lines + 1, sizeof(*content->rcpt_at));
	if (!content->rcpt || !content->rcpt_at)
		return err_set(err, "out of memory");
	for (uint32_t i = 0; i < lines; i++) {
		int n = percent ? snprintf(content->rcpt + at, line_max, "RCPT TO:<%.*s%u%s>\r\n",
					  (int)(percent - options->to), options->to,
					  i % options->mailboxes, percent + 1)
				: snprintf(content->rcpt + at, line_max, "RCPT TO:<%s>\r\n",
					  options->to);

		ASSERT(n > 0 && (size_t)n < line_max);
		at += (size_t)n;
		content->rcpt_at[i + 1] = (uint32_t)at;
	}
	return 0;
}

int content_open(struct content *content, const struct options *options, struct err *err)
{
	size_t text_n;

	*content = (struct content){.size_min = CONTENT_SIZE_MIN};
	content->size_max = options->size ? options->size : options->size_max;
	text_n = ((size_t)content->size_max / LINE_BYTES + OFFSETS) * LINE_BYTES;
	content->text = malloc(text_n);
	if (!content->text)
		return err_set(err, "out of memory");
	text_fill(content->text, text_n);
	(void)snprintf(content->ehlo, sizeof(content->ehlo), "EHLO %s\r\n", options->helo);
	(void)snprintf(content->mail, sizeof(content->mail), "MAIL FROM:<%s>\r\n", options->from);
	if (head_make(content, options, err) < 0)
		return -1;
	return rcpt_make(content, options, err);
}

void content_close(struct content *content)
{
	free(content->text);
	free(content->rcpt);
	free(content->rcpt_at);
}

static void digest_put(uint8_t *digits, const struct iovec *body, EVP_MD_CTX *hash)
{
	uint8_t digest[MARK_DIGEST_BYTES];

	ASSERT(EVP_DigestInit_ex2(hash, EVP_sha256(), NULL) == 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT(EVP_DigestUpdate(hash, body[i].iov_base, body[i].iov_len) == 1);
	ASSERT(EVP_DigestFinal_ex(hash, digest, NULL) == 1);
	mark_put_digest(digits, digest);
}

void content_message(const struct content *content, struct message *message, uint64_t number,
	uint32_t size, EVP_MD_CTX *hash)
{
	size_t body = size - content->head_n;
	size_t lines = body / LINE_BYTES, rest = body % LINE_BYTES;

	ASSERT(size >= content->size_min && size <= content->size_max);
	if (rest == 1) { /* too short for a line's end: one line becomes longer */
		lines--;
		rest += LINE_BYTES;
	}
	ASSERT(rest <= LAST_LINE_BYTES);
	message->number = number;
	message->size = size;
	memcpy(message->head, content->head, content->head_n);
	mark_put_number(message->head + content->id_at, number);
	mark_put_number(message->head + content->number_at, number);
	message->pieces[0] = (struct iovec){message->head, content->head_n};
	message->pieces[1] = (struct iovec){
		content->text + number * 769 % OFFSETS * LINE_BYTES, lines * LINE_BYTES};
	message->pieces[2] =
		(struct iovec){(void *)(uintptr_t)(last_line + LAST_LINE_BYTES - rest), rest};
	if (content->digest_at)
		digest_put(message->head + content->digest_at, &message->pieces[1], hash);
}

unsigned content_slice(const struct message *message, uint32_t from, uint32_t to,
	struct iovec pieces[CONTENT_PIECES])
{
	unsigned n = 0;
	size_t start = 0;

	for (unsigned i = 0; i < CONTENT_PIECES; i++) {
		const struct iovec *piece = &message->pieces[i];
		size_t end = start + piece->iov_len;
		size_t low = from > start ? from : start, high = to < end ? to : end;

		if (low < high)
			pieces[n++] = (struct iovec){
				(uint8_t *)piece->iov_base + (low - start), high - low};
		start = end;
	}
	return n;
}

struct span content_rcpt(const struct content *content, uint32_t mailbox, uint32_t n)
{
	uint32_t start = content->rcpt_at[mailbox];

	return span_of(content->rcpt + start, content->rcpt_at[mailbox + n] - start);
}
