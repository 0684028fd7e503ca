/* SPDX-License-Identifier: MIT */
/*
 * file.c -- the counts as a file of lines, words apart by one tab:
 *
 *	postern-tlsrpt 1
 *	domain DAY NAME STATE			(days since 1970; 0: open, 1: sent, 2: not sent)
 *	policy TYPE SUCCESSES			of the domain before it; TYPE and RESULT as in reports
 *	string TEXT				of the policy before it, as are the others
 *	mx TEXT
 *	failure RESULT SESSIONS SENDING_IP MX RECEIVING_IP REASON
 *	end LINES
 *
 * Strings and patterns of a policy stand before its failures. A file without its end, or with a line
 * that is none, is damaged as a whole: it was written to the side, synced and renamed, so it is never
 * half ours. Days that are not kept any more are read and left out.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

#define SLICE          64 /* buckets written under one lock */
#define FILE_BYTES_MAX (TLSRPT_DAYS * (TLSRPT_BYTES_MAX + (8u << 20)))
#define HEAD           "postern-tlsrpt 1"
#define DIGITS_MAX     19
#define SESSIONS_MAX   1000000000000000ull /* of one line, and of lines that come together */

const char *const tlsrpt_policy_words[] = {
	[TLSRPT_NO_POLICY] = "no-policy-found", [TLSRPT_STS] = "sts", [TLSRPT_TLSA] = "tlsa"};

/* ---- write ---- */

struct writer {
	FILE *file;
	uint64_t lines;
};

static void put_row(struct writer *writer, const struct tlsrpt_row *row)
{
	const char *text = row->text;

	fprintf(writer->file, "policy\t%s\t%" PRIu64 "\n", tlsrpt_policy_words[row->policy],
		row->successes);
	for (uint32_t i = 0; i < row->strings_n + row->mx_n; i++, text = tlsrpt_text_next(text))
		fprintf(writer->file, "%s\t%s\n", i < row->strings_n ? "string" : "mx", text);
	writer->lines += 1 + row->strings_n + row->mx_n;
	for (const struct tlsrpt_failure *failure = row->failures; failure != NULL;
		failure = failure->next) {
		fprintf(writer->file, "failure\t%s\t%" PRIu64, tlsrpt_result_text(failure->result),
			failure->sessions);
		text = failure->text;
		for (int i = 0; i < TLSRPT_WORDS; i++, text = tlsrpt_text_next(text))
			fprintf(writer->file, "\t%s", text);
		putc('\n', writer->file);
		writer->lines++;
	}
}

static void put_bucket(struct writer *writer, const struct tlsrpt_day *day, uint32_t bucket)
{
	for (const struct tlsrpt_domain *domain = day->buckets[bucket]; domain != NULL;
		domain = domain->next) {
		fprintf(writer->file, "domain\t%" PRIu32 "\t%s\t%d\n", day->day, domain->name,
			(int)domain->state);
		writer->lines++;
		for (const struct tlsrpt_row *row = domain->rows; row != NULL; row = row->next)
			put_row(writer, row);
	}
}

/* The stream writes to memory, so that no lock is held over I/O. */
static void put_all(struct writer *writer, struct tlsrpt *tlsrpt)
{
	fputs(HEAD "\n", writer->file);
	for (size_t i = 0; i < TLSRPT_DAYS; i++) {
		for (uint32_t at = 0; at < TLSRPT_BUCKETS; at += SLICE) {
			pthread_mutex_lock(&tlsrpt->lock);
			for (uint32_t k = at; k < at + SLICE; k++)
				put_bucket(writer, &tlsrpt->days[i], k);
			pthread_mutex_unlock(&tlsrpt->lock);
		}
	}
	fprintf(writer->file, "end\t%" PRIu64 "\n", writer->lines);
}

int tlsrpt_file_text(struct tlsrpt *tlsrpt, char **text, size_t *n)
{
	struct writer writer = {.file = open_memstream(text, n)};

	if (writer.file == NULL)
		return -ENOMEM;
	put_all(&writer, tlsrpt);
	if (fclose(writer.file) == 0)
		return 0;
	free(*text);
	*text = NULL;
	return -ENOMEM;
}

int tlsrpt_file_write(struct tlsrpt *tlsrpt)
{
	char *text = NULL;
	size_t n = 0;
	int res = tlsrpt_file_text(tlsrpt, &text, &n);

	if (res == 0)
		res = replace_file(tlsrpt->dir, TLSRPT_FILE, TLSRPT_FILE_NEW, span_of(text, n));
	free(text);
	return res;
}

/* ---- read ---- */

struct reader {
	struct tlsrpt *tlsrpt;
	uint64_t lines;
	/* Where lines belong to: */
	struct tlsrpt_day *day; /* NULL: not kept */
	struct tlsrpt_domain *domain;
	struct tlsrpt_row *row;
	bool domain_seen, policy_seen;
	/* A policy whose strings are being read, not yet made a row of: */
	bool open;
	enum tlsrpt_policy policy;
	uint64_t successes;
	uint32_t strings_n, mx_n;
	struct tlsrpt_block block;
};

static bool take_line(struct span *rest, struct span *line)
{
	const uint8_t *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;

	if (end == NULL)
		return false;
	*line = span_take(rest, (size_t)(end - rest->p));
	span_take(rest, 1);
	for (size_t i = 0; i < line->n; i++) {
		if (line->p[i] != '\t' && (line->p[i] < ' ' || line->p[i] > '~'))
			return false;
	}
	return true;
}

/* What stands before the next tab. False: there is nothing more, not even an empty word. */
static bool take_word(struct span *line, struct span *word)
{
	const uint8_t *tab = line->n > 0 ? memchr(line->p, '\t', line->n) : NULL;

	if (line->p == NULL)
		return false;
	if (tab == NULL) {
		*word = *line;
		*line = (struct span){0};
		return true;
	}
	*word = span_take(line, (size_t)(tab - line->p));
	span_take(line, 1);
	return true;
}

static bool take_text(struct span *line, struct span *text)
{
	return take_word(line, text) && text->n <= TLSRPT_TEXT_MAX;
}

static bool take_number(struct span *line, uint64_t max, uint64_t *out)
{
	struct span word;

	*out = 0;
	if (!take_word(line, &word) || word.n == 0 || word.n > DIGITS_MAX)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(word.p[i] - '0');
	}
	return *out <= max;
}

static bool is_over(const struct span *line)
{
	return line->p == NULL;
}

static void sessions_add(uint64_t *sum, uint64_t sessions)
{
	*sum = sessions < SESSIONS_MAX - *sum ? *sum + sessions : SESSIONS_MAX;
}

/* The policy is complete: its failures, the next one or its domain's end follow. */
static void policy_close(struct reader *reader)
{
	if (!reader->open)
		return;
	reader->open = false;
	reader->row = NULL;
	if (reader->domain == NULL)
		return;
	reader->row = tlsrpt_row_get(reader->day, reader->domain, reader->policy, reader->strings_n,
		reader->mx_n, &reader->block);
	if (reader->row != NULL)
		sessions_add(&reader->row->successes, reader->successes);
}

static bool read_domain(struct reader *reader, struct span line)
{
	struct span word;
	char name[STS_NAME_MAX + 1];
	uint64_t day, state;

	policy_close(reader);
	if (!take_number(&line, UINT32_MAX, &day) || !take_word(&line, &word) ||
		!tlsrpt_name_clean(word, name) || !take_number(&line, TLSRPT_STATES - 1, &state) ||
		!is_over(&line))
		return false;
	reader->day = tlsrpt_day_get(reader->tlsrpt, (uint32_t)day);
	reader->domain = NULL;
	reader->domain_seen = true;
	reader->policy_seen = false;
	if (reader->day != NULL)
		reader->domain = tlsrpt_domain_get(reader->tlsrpt, reader->day, name);
	if (reader->domain != NULL)
		reader->domain->state = (enum tlsrpt_state)state;
	return true;
}

static bool read_policy(struct reader *reader, struct span line)
{
	struct span word;
	size_t i = 0;

	policy_close(reader);
	if (!reader->domain_seen || !take_word(&line, &word) ||
		!take_number(&line, SESSIONS_MAX, &reader->successes) || !is_over(&line))
		return false;
	while (i <= TLSRPT_TLSA && !span_equal(word, span_str(tlsrpt_policy_words[i])))
		i++;
	if (i > TLSRPT_TLSA)
		return false;
	reader->policy = (enum tlsrpt_policy)i;
	reader->strings_n = reader->mx_n = reader->block.n = 0;
	reader->open = reader->policy_seen = true;
	return true;
}

static bool read_string(struct reader *reader, struct span line)
{
	struct span text;

	if (!reader->open || reader->mx_n > 0 || reader->strings_n == TLSRPT_STRINGS_MAX ||
		!take_text(&line, &text) || !is_over(&line))
		return false;
	reader->strings_n++;
	tlsrpt_block_add(&reader->block, text);
	return true;
}

static bool read_mx(struct reader *reader, struct span line)
{
	struct span text;

	if (!reader->open || reader->mx_n == TLSRPT_MX_MAX || !take_text(&line, &text) ||
		!is_over(&line))
		return false;
	reader->mx_n++;
	tlsrpt_block_add(&reader->block, text);
	return true;
}

static bool read_failure(struct reader *reader, struct span line)
{
	enum tlsrpt_result result = TLSRPT_SUCCESS + 1;
	struct tlsrpt_failure *failure = NULL;
	struct span word;
	uint64_t sessions;

	policy_close(reader);
	if (!reader->policy_seen || !take_word(&line, &word) ||
		!take_number(&line, SESSIONS_MAX, &sessions))
		return false;
	while (result < TLSRPT_RESULTS && !span_equal(word, span_str(tlsrpt_result_text(result))))
		result++;
	if (result == TLSRPT_RESULTS)
		return false;
	reader->block.n = 0;
	for (int i = 0; i < TLSRPT_WORDS; i++) {
		if (!take_text(&line, &word))
			return false;
		tlsrpt_block_add(&reader->block, word);
	}
	if (reader->row != NULL && is_over(&line))
		failure = tlsrpt_failure_get(reader->day, reader->row, result, &reader->block);
	if (failure != NULL)
		sessions_add(&failure->sessions, sessions);
	return is_over(&line);
}

static const struct {
	const char *word;
	bool (*read)(struct reader *reader, struct span line);
} kinds[] = {
	{"domain", read_domain},
	{"policy", read_policy},
	{"string", read_string},
	{"mx", read_mx},
	{"failure", read_failure},
};

static bool read_line(struct reader *reader, struct span word, struct span line)
{
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		if (span_equal(word, span_str(kinds[i].word)))
			return kinds[i].read(reader, line);
	}
	return false;
}

static bool read_lines(struct reader *reader, struct span text)
{
	struct span line, word;
	uint64_t told;

	if (!take_line(&text, &line) || !span_equal(line, span_str(HEAD)))
		return false;
	while (take_line(&text, &line) && take_word(&line, &word)) {
		if (span_equal(word, span_str("end"))) {
			policy_close(reader);
			return take_number(&line, UINT64_MAX, &told) && told == reader->lines &&
			       is_over(&line) && text.n == 0;
		}
		if (!read_line(reader, word, line))
			return false;
		reader->lines++;
	}
	return false;
}

bool tlsrpt_file_parse(struct tlsrpt *tlsrpt, struct span text)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	bool good;

	if (reader == NULL)
		return false;
	reader->tlsrpt = tlsrpt;
	good = read_lines(reader, text);
	free(reader);
	return good;
}

static int read_all(int fd, char *bytes, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t more = read(fd, bytes + got, n - got);

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return -errno;
		if (more == 0)
			return -EBADMSG; /* it shrinks under our hands */
		got += (size_t)more;
	}
	return 0;
}

int tlsrpt_file_read(struct tlsrpt *tlsrpt)
{
	int fd = openat(tlsrpt->dir, TLSRPT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *bytes = NULL;
	struct stat st;
	int res = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		res = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (size_t)st.st_size > FILE_BYTES_MAX)
		res = -EBADMSG;
	else if ((bytes = malloc((size_t)st.st_size)) == NULL)
		res = -ENOMEM;
	if (res == 0)
		res = read_all(fd, bytes, (size_t)st.st_size);
	if (res == 0 && !tlsrpt_file_parse(tlsrpt, span_of(bytes, (size_t)st.st_size)))
		res = -EBADMSG;
	free(bytes);
	close(fd);
	return res;
}
